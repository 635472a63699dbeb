// graphql-sse, in its distinct connections mode: the same timeline where no WebSocket gets through.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient } from 'graphql-sse';
import { Mailroom } from './mailroom.ts';
import { ADD_NOTE, CREATE_DEAL, TIMELINE, notesOf, type CreateDealData, type TimelineData } from './shapes.ts';

let mailroom: Mailroom;
before(async () => { mailroom = await Mailroom.start(); });
after(async () => { await mailroom.remove(); });

test('queries, refusals and a timeline through a restart', async () => {
  const { accessToken } = await mailroom.logIn();
  const client = createClient({
    url: mailroom.url,
    headers: { authorization: `Bearer ${accessToken}` },
    retryAttempts: 100,
    retry: () => new Promise((resolve) => setTimeout(resolve, 50)),
  });
  const first = async <T>(query: string) => {
    for await (const result of client.iterate<T>({ query })) return result;
    throw new Error('no answer');
  };
  const answer = await first<{ viewer: { name: string } }>('{ viewer { name } }');
  assert.equal(answer.data?.viewer.name, 'Ada Berg');
  const refused = await first('{ viewer { nothing } }');
  assert.equal(refused.errors?.[0]?.extensions?.['code'], 'GRAPHQL_VALIDATION_FAILED');

  const { createDeal } = await mailroom.ask<CreateDealData>(accessToken, CREATE_DEAL, { input: { title: 'Followed' } });
  const itemId = createDeal.deal.id;
  type Start = { deal: { timeline: { liveCursor: string } } };
  const start = await mailroom.ask<Start>(accessToken, 'query ($id: ID!) { deal(id: $id) { timeline(last: 1) { liveCursor } } }', { id: itemId });
  const heard: string[] = [];
  let cursor = start.deal.timeline.liveCursor;
  const variables = { itemId, get after() { return cursor; } };
  const done = new Promise<void>((resolve, reject) => {
    client.subscribe<TimelineData>({ query: TIMELINE, variables }, {
      next: ({ data, errors }) => {
        const event = data?.timeline;
        if (errors || !event) return reject(new Error(JSON.stringify(errors)));
        cursor = event.cursor;
        if (event.__typename !== 'EntryAdded' || event.entry.text === undefined) return;
        heard.push(event.entry.text);
        if (heard.length === 20) resolve();
      },
      error: reject,
      complete: () => {},
    });
  });
  const note = (text: string) => mailroom.ask(accessToken, ADD_NOTE, { input: { itemId, text } });
  for (let n = 0; n < 10; n += 1) await note(`note ${n}`);
  await mailroom.stopServer('SIGKILL');
  await mailroom.startServer();
  for (let n = 10; n < 20; n += 1) await note(`note ${n}`);
  await done;
  client.dispose();
  const wanted = await notesOf((query, of) => mailroom.ask(accessToken, query, of), itemId);
  assert.deepEqual(heard, wanted);
});
