// graphql-transport-ws: what PROTOCOL.md of npm graphql-ws demands of a server, first in raw frames,
// then with that package's own client.
import WebSocket from 'ws';
import { CloseCode, GRAPHQL_TRANSPORT_WS_PROTOCOL, createClient } from 'graphql-ws';
import { Report, expect } from './report.mjs';

const PATIENCE_MS = 5_000;
const QUERY = '{ __typename }';

/** A socket whose messages and end can be awaited. */
class Talk {
  static async open(url, protocol = GRAPHQL_TRANSPORT_WS_PROTOCOL) {
    const talk = new Talk();
    talk.messages = [];
    talk.end = null;
    talk.woken = () => {};
    talk.socket = new WebSocket(url, protocol);
    talk.socket.on('message', (data, isBinary) => {
      talk.messages.push(isBinary ? { type: '(binary)' } : JSON.parse(data));
      talk.woken();
    });
    talk.socket.on('close', (code, reason) => {
      talk.end = { code, reason: String(reason) };
      talk.woken();
    });
    await new Promise((resolve, reject) => {
      talk.socket.once('open', resolve);
      talk.socket.once('error', reject);
    });
    talk.socket.on('error', () => {});
    return talk;
  }

  say(...messages) {
    for (const message of messages) {
      this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    }
  }

  /** What `look` finds, as soon as it finds something. */
  async await(what, look, patience = PATIENCE_MS) {
    const deadline = Date.now() + patience;
    for (;;) {
      const found = look();
      if (found) return found;
      const left = deadline - Date.now();
      expect(left > 0, `no ${what}; closed: ${JSON.stringify(this.end)}, heard: ${JSON.stringify(this.messages).slice(0, 300)}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.woken = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  message(type, id) {
    return this.await(`${type} of ${id ?? 'the socket'}`, () => this.messages.find((m) => m.type === type && (id === undefined || m.id === id)));
  }

  async closes(code, reason, patience) {
    const end = await this.await('close', () => this.end, patience);
    expect(end.code === code, `closed ${end.code} '${end.reason}' instead of ${code}`);
    expect(!reason || reason.test(end.reason), `closed with the reason '${end.reason}'`);
  }

  /** A ping that is answered proves that the socket lives and all before it was read. */
  async settle() {
    const mark = `${Math.random()}`;
    this.say({ type: 'ping', payload: { mark } });
    await this.await('pong', () => this.messages.find((m) => m.type === 'pong' && m.payload?.mark === mark));
  }
}

const subscribe = (id, query, more = {}) => ({ id, type: 'subscribe', payload: { query, ...more } });

// Each says what the client sends once it is acknowledged, and closes 4400.
const INVALID = {
  'text that is not JSON': '{"nope',
  'an array': '[]',
  'a string': '"hi"',
  'an object without a type': '{}',
  'an unknown type': { type: 'nope' },
  'a message of the server': { type: 'next', id: 'a', payload: {} },
  'the legacy start': { id: 'a', type: 'start', payload: { query: QUERY } },
  'the legacy connection_terminate': { type: 'connection_terminate' },
  'subscribe without an id': { type: 'subscribe', payload: { query: QUERY } },
  'subscribe with an empty id': subscribe('', QUERY),
  'subscribe with a number for an id': subscribe(1, QUERY),
  'subscribe without a payload': { id: 'a', type: 'subscribe' },
  'subscribe without a query': { id: 'a', type: 'subscribe', payload: {} },
  'subscribe with a number for a query': subscribe('a', 7),
  'subscribe with text for variables': subscribe('a', QUERY, { variables: 'x' }),
  'subscribe with a list for extensions': subscribe('a', QUERY, { extensions: [] }),
  'complete without an id': { type: 'complete' },
  'a ping with text for a payload': { type: 'ping', payload: 'x' },
  'a pong with a list for a payload': { type: 'pong', payload: [] },
};

export async function checkWebSocket({ url, token, endless, finite }) {
  const report = new Report('graphql-transport-ws, PROTOCOL.md of graphql-ws');
  const address = url.replace(/^http/, 'ws');
  const init = { type: 'connection_init', payload: { authorization: `Bearer ${token}` } };
  const wrong = { type: 'connection_init', payload: { authorization: 'Bearer wrong' } };
  const on = (title, run) => report.check(title, async () => {
    const talk = await Talk.open(address);
    try { await run(talk); } finally { talk.socket.terminate(); }
  });
  const acknowledged = (title, run) => on(title, async (talk) => {
    talk.say(init);
    await talk.message('connection_ack');
    await run(talk);
  });

  // ── the connection ──
  await on('connection_init is acknowledged, in a text frame, under the protocol asked for', async (talk) => {
    expect(talk.socket.protocol === GRAPHQL_TRANSPORT_WS_PROTOCOL, `speaks '${talk.socket.protocol}'`);
    talk.say(init);
    await talk.message('connection_ack');
  });
  for (const protocol of ['graphql-ws', 'graphql-no-such']) {
    await report.check(`the sub-protocol ${protocol} is refused`, async () => {
      const talk = await Talk.open(address, protocol).catch(() => null);
      if (talk) await talk.closes(CloseCode.SubprotocolNotAcceptable);
    });
  }
  await on('a wrong token closes 4403', async (talk) => { talk.say(wrong); await talk.closes(CloseCode.Forbidden); });
  await on('no token closes 4403', async (talk) => { talk.say({ type: 'connection_init' }); await talk.closes(CloseCode.Forbidden); });
  await acknowledged('a second connection_init closes 4429', async (talk) => {
    talk.say(init);
    await talk.closes(CloseCode.TooManyInitialisationRequests, /too many initialisation requests/i);
  });
  await on('two connection_init at once close 4429', async (talk) => { talk.say(init, init); await talk.closes(4429); });
  await on('subscribe before the acknowledgement closes 4401', async (talk) => {
    talk.say(subscribe('a', endless));
    await talk.closes(CloseCode.Unauthorized, /unauthorized/i);
  });
  await on('silence instead of connection_init closes 4408', (talk) =>
    talk.closes(CloseCode.ConnectionInitialisationTimeout, /timeout/i, 15_000));

  // ── pings ──
  await on('a ping before the acknowledgement is answered', (talk) => talk.settle());
  await acknowledged('an unsolicited pong is taken', async (talk) => { talk.say({ type: 'pong', payload: { beat: 1 } }); await talk.settle(); });
  await on('a ping frame is answered by a pong frame', (talk) => new Promise((resolve) => {
    talk.socket.once('pong', resolve);
    talk.socket.ping('x');
  }));

  // ── what the protocol does not know ──
  for (const [title, message] of Object.entries(INVALID)) {
    await acknowledged(`${title} closes 4400`, async (talk) => { talk.say(message); await talk.closes(CloseCode.BadRequest); });
  }
  await on('text for the payload of connection_init closes 4400', async (talk) => { talk.say({ type: 'connection_init', payload: 'x' }); await talk.closes(4400); });
  await on('an unknown type before the acknowledgement closes 4400', async (talk) => { talk.say({ type: 'nope' }); await talk.closes(4400); });
  await on('a binary frame closes 4400', async (talk) => { talk.socket.send(Buffer.from(JSON.stringify(init))); await talk.closes(4400); });

  // ── operations ──
  await acknowledged('a query makes one next and a complete, also with nulls beside it', async (talk) => {
    talk.say(subscribe('q', QUERY, { operationName: null, variables: null, extensions: null }));
    await talk.message('complete', 'q');
    const types = talk.messages.filter((m) => m.id === 'q').map((m) => m.type).join();
    expect(types === 'next,complete', types);
  });
  for (const [title, query] of [
    ['a syntax error', '{'],
    ['an unknown field', '{ nope_8f31 }'],
    ['a subscription with two root fields', endless.replace(/\{(.*)\}/s, '{ one:$1 two:$1 }')],
  ]) {
    await acknowledged(`${title} makes an error, no complete, and leaves the socket and the id`, async (talk) => {
      talk.say(subscribe('e', query));
      const error = await talk.message('error', 'e');
      expect(Array.isArray(error.payload) && error.payload[0]?.message, JSON.stringify(error));
      await talk.settle();
      expect(!talk.messages.some((m) => ['next', 'complete'].includes(m.type)), JSON.stringify(talk.messages));
      talk.say(subscribe('e', QUERY));
      await talk.message('complete', 'e');
    });
  }
  for (const [title, second] of [['a subscription', endless], ['a query', QUERY]]) {
    await acknowledged(`an id in use closes 4409 for ${title}`, async (talk) => {
      talk.say(subscribe('d', endless), subscribe('d', second));
      await talk.closes(CloseCode.SubscriberAlreadyExists, /subscriber for d already exists/i);
    });
  }
  await acknowledged('a client completes a subscription, hears no echo, and uses the id again', async (talk) => {
    talk.say(subscribe('c', endless), { id: 'c', type: 'complete' }, { id: 'unknown', type: 'complete' });
    await talk.settle();
    const heard = talk.messages.length;
    await talk.settle();
    expect(talk.messages.length === heard + 1, 'events after complete');
    expect(!talk.messages.some((m) => m.type === 'complete'), 'echoed');
    talk.say(subscribe('c', QUERY));
    await talk.message('complete', 'c');
  });
  await acknowledged('twenty queries run beside a subscription', async (talk) => {
    talk.say(subscribe('long', endless));
    for (let n = 0; n < 20; n += 1) talk.say(subscribe(`n${n}`, QUERY));
    for (let n = 0; n < 20; n += 1) await talk.message('complete', `n${n}`);
  });
  if (finite) {
    await acknowledged('a finite subscription sends all its events, complete, and nothing more', async (talk) => {
      talk.say(subscribe('f', finite));
      await talk.message('complete', 'f');
      await talk.settle();
      const types = talk.messages.filter((m) => m.id === 'f').map((m) => m.type);
      expect(types.length > 1 && types.indexOf('complete') === types.length - 1, types.join());
    });
  }

  // ── frames ──
  await acknowledged('a close is answered by a close', async (talk) => {
    talk.say(subscribe('x', endless));
    talk.socket.close(1000, 'Normal Closure');
    await talk.closes(1000);
  });
  await on('a message in fragments is taken', async (talk) => {
    const text = JSON.stringify(init);
    talk.socket.send(text.slice(0, 20), { fin: false });
    talk.socket.send(text.slice(20), { fin: true });
    await talk.message('connection_ack');
  });
  await acknowledged('a message without an end is cut off', async (talk) => {
    const fragment = 'a'.repeat(60_000);
    for (let sent = 0; sent < 32 * 1024 * 1024 && !talk.end; sent += fragment.length) {
      await new Promise((resolve) => talk.socket.send(fragment, { fin: false }, resolve));
    }
    await talk.await('close', () => talk.end);
  });

  // ── as an application would ──
  await report.check('the graphql-ws client queries, subscribes and leaves', async () => {
    const client = createClient({
      url: address, webSocketImpl: WebSocket, connectionParams: init.payload, retryAttempts: 0,
    });
    try {
      for await (const result of client.iterate({ query: QUERY })) expect(result.data, JSON.stringify(result));
      const stream = client.iterate({ query: endless });
      const first = stream.next();
      await new Promise((resolve) => setTimeout(resolve, 300));
      await stream.return();
      const result = await first;
      expect(!result.value?.errors, JSON.stringify(result.value));
    } finally {
      await client.dispose();
    }
  });
  return report.close();
}
