// What reading timelines is measured beside in Node: graphql-yoga over the very database that Mailroom was asked about.
// One prepared, joined statement for each page; the resolvers find all that they need in its rows. It knows no rights
// and seals no ids.
//   NODE_ENV=production DATABASE_URL=postgresql:///... node yoga.mjs [--jit]
import { createServer } from 'node:http';
import { useGraphQlJit } from '@envelop/graphql-jit';
import { createSchema, createYoga } from 'graphql-yoga';
import pg from 'pg';

// The part of Mailroom's schema that is asked for, with the same types and interfaces.
const typeDefs = /* GraphQL */ `
  scalar Cursor
  scalar DateTime
  type Query { lead(id: ID!): Lead }
  interface Item { id: ID!  title: String! }
  type Lead implements Item {
    id: ID!
    title: String!
    timeline(first: Int, after: Cursor): TimelineConnection!
  }
  type TimelineConnection { edges: [TimelineEdge!]! }
  type TimelineEdge { cursor: Cursor!  node: TimelineEntry! }
  interface TimelineEntry { id: ID!  item: Item!  at: DateTime!  actor: User }
  type EmailReceived implements TimelineEntry { id: ID!  item: Item!  at: DateTime!  actor: User  email: Email! }
  type User { id: ID!  name: String!  address: String!  timeZone: String! }
  enum Direction { INCOMING OUTGOING }
  enum Outcome { SAVED SKIPPED }
  type Address { name: String  address: String! }
  type Email {
    id: ID!
    direction: Direction!
    outcome: Outcome!
    subject: String!
    preview: String!
    from: Address
    receivedAt: DateTime!
    messageId: String
    version: Int!
  }
`;

const PAGE = {
  name: 'page',
  rowMode: 'array',
  text: `SELECT t.position, t.at, i.id, i.title, u.id, u.name, u.address, u.time_zone, e.id, e.direction, e.outcome,
    e.subject, e.preview, e.from_name, e.from_address, e.received_at, g.message_id_header, e.version
    FROM timeline_entries t JOIN items i ON i.id = t.item_id JOIN users u ON u.id = t.actor_id
    JOIN emails e ON e.id = t.email_id JOIN messages g ON g.id = e.message_id
    WHERE t.item_id = $1 AND t.position > $2 ORDER BY t.position LIMIT $3`,
};

/** Microseconds since 1970, as decimal digits, in RFC 3339; the benchmark's times are whole milliseconds. */
const time = (micros) => new Date(Number(micros) / 1e3).toISOString();

/** An edge of a row. */
function edge([
  position, at, item, title, user, name, address, timeZone, email, direction, outcome, subject, preview,
  fromName, fromAddress, receivedAt, messageId, version,
]) {
  return {
    cursor: position,
    node: {
      __typename: 'EmailReceived',
      id: position,
      at: time(at),
      item: { __typename: 'Lead', id: item, title },
      actor: { id: user, name, address, timeZone },
      email: {
        id: email,
        direction,
        outcome,
        subject,
        preview,
        from: fromAddress === null ? null : { name: fromName, address: fromAddress },
        receivedAt: time(receivedAt),
        messageId,
        version: Number(version),
      },
    },
  };
}

// As many as Mailroom reads by.
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 });

const resolvers = {
  Query: { lead: (_root, { id }) => ({ id }) },
  Lead: {
    timeline: async ({ id }, { first, after }) => {
      const { rows } = await pool.query({ ...PAGE, values: [id, after ?? 0, first ?? 50] });
      return { edges: rows.map(edge) };
    },
  },
};

// Its own serializer knows no scalars beside GraphQL's five, and our times and cursors are such.
const plugins = process.argv.includes('--jit') ? [useGraphQlJit()] : [];
const yoga = createYoga({
  schema: createSchema({ typeDefs, resolvers }),
  plugins,
  logging: false,
  graphiql: false,
  landingPage: false,
  cors: false,
  multipart: false,
});
const server = createServer(yoga);
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
