// What following timelines is measured beside in Node: graphql-ws over ws, with graphql-yoga's publish and subscribe over
// Redis. A note is asked for over HTTP, published, and told to all who follow its item. It knows no rights and stores
// nothing.
//   NODE_ENV=production REDIS_URL=redis://... node follow.mjs
import { createServer } from 'node:http';
import { createRedisEventTarget } from '@graphql-yoga/redis-event-target';
import { createPubSub } from '@graphql-yoga/subscription';
import { useServer } from 'graphql-ws/use/ws';
import { createSchema, createYoga } from 'graphql-yoga';
import { Redis } from 'ioredis';
import { WebSocketServer } from 'ws';

// The part of Mailroom's schema that is asked for, with the same types.
const typeDefs = /* GraphQL */ `
  scalar Cursor
  scalar DateTime
  type Query { version: String! }
  type Mutation { addNote(input: AddNoteInput!): AddNotePayload! }
  type Subscription { timeline(itemId: ID!): TimelineEvent! }
  input AddNoteInput { itemId: ID!  text: String! }
  type AddNotePayload { entry: NoteAdded  userErrors: [UserError!]! }
  type UserError { message: String! }
  interface TimelineEntry { id: ID!  at: DateTime! }
  type NoteAdded implements TimelineEntry { id: ID!  at: DateTime!  text: String! }
  union TimelineEvent = EntryAdded | CaughtUp
  type EntryAdded { entry: TimelineEntry!  cursor: Cursor! }
  type CaughtUp { cursor: Cursor! }
`;

const publishClient = new Redis(process.env.REDIS_URL);
const subscribeClient = new Redis(process.env.REDIS_URL);
const pubSub = createPubSub({ eventTarget: createRedisEventTarget({ publishClient, subscribeClient }) });
let last = 0;

/** `CaughtUp`, then each event of an item. */
function follow(itemId) {
  const events = pubSub.subscribe('timeline', itemId);
  // It listens from here on.
  const begun = events.next();
  // Redis answers in order: with this answer it has our subscription. (A client that listens may not send PING.)
  const caughtUp = subscribeClient.subscribe('caught-up').then(() => ({
    done: false,
    value: { __typename: 'CaughtUp', cursor: String(last) },
  }));
  const first = [caughtUp, begun];
  return {
    next: () => first.shift() ?? events.next(),
    return: () => events.return(),
    [Symbol.asyncIterator]() { return this; },
  };
}

const schema = createSchema({
  typeDefs,
  resolvers: {
    Query: { version: () => '1' },
    Mutation: {
      addNote: (_root, { input: { itemId, text } }) => {
        last += 1;
        const entry = { __typename: 'NoteAdded', id: `note-${last}`, at: new Date().toISOString(), text };
        pubSub.publish('timeline', itemId, { __typename: 'EntryAdded', cursor: String(last), entry });
        return { entry, userErrors: [] };
      },
    },
    Subscription: {
      timeline: { subscribe: (_root, { itemId }) => follow(itemId), resolve: (event) => event },
    },
  },
});

const yoga = createYoga({ schema, logging: false, graphiql: false, landingPage: false, cors: false, multipart: false });
const server = createServer(yoga);
server.keepAliveTimeout = 60_000;
useServer({ schema }, new WebSocketServer({ server, path: '/graphql' }));
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
