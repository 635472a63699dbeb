// graphql-ws: a person logs in, saves and moves mail, and follows a timeline through restarts of the server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient, type Client } from 'graphql-ws';
import WebSocket from 'ws';
import { Mailroom } from './mailroom.ts';
import { ADD_NOTE, CREATE_DEAL, TIMELINE, notesOf, type CreateDealData, type TimelineData } from './shapes.ts';

let mailroom: Mailroom;
before(async () => { mailroom = await Mailroom.start(); });
after(async () => { await mailroom.remove(); });

/** A client as README.md shows it: the token is asked for anew with each connection. */
function client(refreshToken: string): Client {
  let refresh = refreshToken;
  return createClient({
    url: mailroom.socketUrl,
    webSocketImpl: WebSocket,
    retryAttempts: 100,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 50)),
    shouldRetry: () => true,
    connectionParams: async () => {
      type Refreshed = { refreshLogIn: { accessToken: string | null; refreshToken: string } };
      const query = 'mutation ($input: RefreshLogInInput!) { refreshLogIn(input: $input) { accessToken refreshToken userErrors { code } } }';
      let { refreshLogIn: pair } = await mailroom.ask<Refreshed>(undefined, query, { input: { refreshToken: refresh } });
      // The server died before its answer came: the token was used, and who uses it again has to log in.
      if (pair.accessToken === null) pair = await mailroom.logIn();
      refresh = pair.refreshToken;
      return { authorization: `Bearer ${pair.accessToken}` };
    },
  });
}

async function once<T>(on: Client, query: string, variables: Record<string, unknown> = {}): Promise<T> {
  for await (const result of on.iterate<T>({ query, variables })) {
    assert.equal(result.errors, undefined, JSON.stringify(result));
    assert.ok(result.data);
    return result.data;
  }
  throw new Error('no answer');
}

test('a person logs in, saves a mail, moves it and undoes that', async () => {
  const { refreshToken } = await mailroom.logIn();
  const ws = client(refreshToken);
  type Emails = { emails: { nodes: { id: string; subject: string; outcome: string; links: { item: { id: string; __typename: string } }[] }[] } };
  const emails = async () => (await once<Emails>(ws, '{ emails(first: 10) { nodes { id subject outcome links { item { __typename id } } } } }')).emails.nodes;
  const find = async (subject: string) => {
    const found = (await emails()).find((email) => email.subject === subject);
    assert.ok(found, subject);
    return found;
  };
  const client_mail = await find('Ten machines');
  assert.equal(client_mail.outcome, 'SAVED');
  assert.ok(client_mail.links.some((link) => link.item.__typename === 'Lead'));
  const news = await find('Monthly news');
  assert.equal(news.outcome, 'AUTOMATIC');

  const deal = async (title: string) => (await once<CreateDealData>(ws, CREATE_DEAL, { input: { title } })).createDeal.deal.id;
  const [first, second] = [await deal('First'), await deal('Second')];
  type Save = { saveEmail: { email: { outcome: string }; userErrors: unknown[] } };
  const save = 'mutation ($input: SaveEmailInput!) { saveEmail(input: $input) { email { outcome } userErrors { code message } } }';
  const saved = await once<Save>(ws, save, { input: { emailId: news.id, target: { itemId: first } } });
  assert.deepEqual(saved.saveEmail.userErrors, []);
  type Relink = { relinkEmail: { change: { id: string }; userErrors: unknown[] } };
  const relink = 'mutation ($input: RelinkEmailInput!) { relinkEmail(input: $input) { change { id } userErrors { code message } } }';
  const moved = await once<Relink>(ws, relink, { input: { emailId: news.id, fromItemId: first, toItemId: second } });
  assert.deepEqual(moved.relinkEmail.userErrors, []);
  assert.ok((await find('Monthly news')).links.some((link) => link.item.id === second));
  const undo = 'mutation ($input: UndoRelinkInput!) { undoRelink(input: $input) { userErrors { code message } } }';
  await once(ws, undo, { input: { changeId: moved.relinkEmail.change.id } });
  assert.ok((await find('Monthly news')).links.some((link) => link.item.id === first));
  await ws.dispose();
});

test('a timeline is followed through restarts and crashes of the server, each entry once', async () => {
  const { refreshToken } = await mailroom.logIn();
  // A log-in of its own: where a crash swallows the answer to a refresh, the one that it belongs to is over.
  const { accessToken } = await mailroom.logIn();
  const { createDeal } = await mailroom.ask<CreateDealData>(accessToken, CREATE_DEAL, { input: { title: 'Followed' } });
  const itemId = createDeal.deal.id;
  const ws = client(refreshToken);
  type Start = { deal: { timeline: { liveCursor: string } } };
  const start = await mailroom.ask<Start>(accessToken, 'query ($id: ID!) { deal(id: $id) { timeline(last: 1) { liveCursor } } }', { id: itemId });
  const heard: string[] = [];
  let cursor = start.deal.timeline.liveCursor;
  let connected = 0;
  ws.on('connected', () => { connected += 1; });
  let settled: (() => void) | undefined;
  const LAST = 'the last note';
  const done = new Promise<void>((resolve) => { settled = resolve; });
  // The variables are read again with each connection: `after` is where the client stands by then.
  const variables = { itemId, get after() { return cursor; } };
  const stop = ws.subscribe<TimelineData>({ query: TIMELINE, variables }, {
    next: ({ data, errors }) => {
      assert.equal(errors, undefined);
      const event = data?.timeline;
      assert.ok(event && event.__typename !== 'Gap', JSON.stringify(event));
      cursor = event.cursor;
      if (event.__typename === 'EntryAdded' && event.entry.text !== undefined) {
        heard.push(event.entry.text);
        if (event.entry.text === LAST) settled?.();
      }
    },
    error: (error) => { throw error; },
    complete: () => {},
  });
  const note = async (text: string) => {
    const input = { itemId, text, idempotencyKey: text };
    for (;;) {
      // A note that was lost with its answer is made once all the same.
      try { await mailroom.ask(accessToken, ADD_NOTE, { input }); return; } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  for (let round = 0; round < 4; round += 1) {
    const writing = (async () => { for (let n = 0; n < 15; n += 1) await note(`note ${round}.${n}`); })();
    await new Promise((resolve) => setTimeout(resolve, 60));
    await mailroom.stopServer(round % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
    await mailroom.startServer();
    await writing;
  }
  await note(LAST);
  await done;
  stop();
  await ws.dispose();
  const wanted = await notesOf((query, of) => mailroom.ask(accessToken, query, of), itemId);
  assert.equal(wanted.length, 61);
  assert.deepEqual(heard, wanted, 'every note once, in the order of the table');
  assert.ok(connected >= 2, `${connected} connections`);
});
