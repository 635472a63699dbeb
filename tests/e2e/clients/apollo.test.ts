// Apollo Client: persisted queries over HTTP, subscriptions over graphql-ws, and a cache by id.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { getMainDefinition } from '@apollo/client/utilities';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { Mailroom } from './mailroom.ts';
import { ADD_NOTE, CREATE_DEAL, TIMELINE, type AddNoteData, type CreateDealData, type TimelineData } from './shapes.ts';

let mailroom: Mailroom;
before(async () => { mailroom = await Mailroom.start(); });
after(async () => { await mailroom.remove(); });

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

test('queries by hash, mutations, the cache, errors and a live timeline', async () => {
  const { accessToken } = await mailroom.logIn();
  const authorization = `Bearer ${accessToken}`;
  const bodies: { query?: string; extensions?: { persistedQuery?: unknown } }[] = [];
  const http = new HttpLink({
    uri: mailroom.url,
    headers: { authorization },
    fetch: (uri, options) => {
      bodies.push(JSON.parse(String(options?.body)));
      return fetch(String(uri), options);
    },
  });
  const sockets = createClient({ url: mailroom.socketUrl, webSocketImpl: WebSocket, connectionParams: { authorization } });
  const link = ApolloLink.split(
    ({ query }) => {
      const definition = getMainDefinition(query);
      return definition.kind === 'OperationDefinition' && definition.operation === 'subscription';
    },
    new GraphQLWsLink(sockets),
    new PersistedQueryLink({ sha256 }).concat(http),
  );
  const client = new ApolloClient({ link, cache: new InMemoryCache() });

  const viewer = gql`query Viewer { viewer { id name } }`;
  type Viewer = { viewer: { id: string; name: string } };
  for (const policy of ['network-only', 'network-only'] as const) {
    const { data } = await client.query<Viewer>({ query: viewer, fetchPolicy: policy });
    assert.equal(data?.viewer.name, 'Ada Berg');
  }
  // Unknown, then sent with its document, then by the hash alone.
  assert.deepEqual(bodies.map((body) => body.query !== undefined), [false, true, false]);
  assert.ok(bodies.every((body) => body.extensions?.persistedQuery !== undefined));

  const { data: made } = await client.mutate<CreateDealData>({ mutation: gql(CREATE_DEAL), variables: { input: { title: 'Before' } } });
  const deal = made?.createDeal.deal;
  assert.ok(deal);
  const query = gql`query Deal($id: ID!) { deal(id: $id) { id title version viewerCan { update } } }`;
  type Deal = { deal: { id: string; title: string } | null };
  const read = await client.query<Deal>({ query, variables: { id: deal.id } });
  assert.equal(read.data?.deal?.title, 'Before');
  // What a mutation answers goes into the cache by its id.
  const update = gql`mutation Update($input: UpdateDealInput!) { updateDeal(input: $input) { deal { id title } userErrors { code message field } } }`;
  await client.mutate({ mutation: update, variables: { input: { dealId: deal.id, title: 'After' } } });
  const cached = await client.query<Deal>({ query, variables: { id: deal.id }, fetchPolicy: 'cache-only' });
  assert.equal(cached.data?.deal?.title, 'After');
  // A bad id is null; a bad document an error with a code.
  const absent = await client.query<Deal>({ query, variables: { id: 'Deal_nothing' } });
  assert.equal(absent.data?.deal, null);
  await assert.rejects(client.query({ query: gql`{ viewer { nothing } }` }), (error) => {
    assert.ok(CombinedGraphQLErrors.is(error), String(error));
    return error.errors[0]?.extensions?.['code'] === 'GRAPHQL_VALIDATION_FAILED';
  });

  const heard: string[] = [];
  await new Promise<void>((resolve, reject) => {
    client.subscribe<TimelineData>({ query: gql(TIMELINE), variables: { itemId: deal.id } }).subscribe({
      next: ({ data, error }) => {
        const event = data?.timeline;
        if (error || !event) return reject(error ?? new Error('no event'));
        heard.push(event.__typename);
        if (event.__typename === 'CaughtUp') {
          const input = { itemId: deal.id, text: 'live' };
          client.mutate<AddNoteData>({ mutation: gql(ADD_NOTE), variables: { input } }).catch(reject);
        } else {
          assert.ok(event.__typename === 'EntryAdded' && event.entry.text === 'live', JSON.stringify(event));
          resolve();
        }
      },
      error: reject,
    });
  });
  assert.deepEqual(heard, ['CaughtUp', 'EntryAdded']);
  client.stop();
  await sockets.dispose();
});
