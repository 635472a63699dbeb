#!/usr/bin/env node
// Runs both suites against a server that is there.
//   node conformance.mjs http://127.0.0.1:8080/graphql --token T \
//     --endless 'subscription { timeline { __typename } }' [--finite 'subscription { … }']
// exit 0: all passes; 1: something does not; 2: wrong usage.
import { parseArgs } from 'node:util';
import { checkHttp } from './http.mjs';
import { checkWebSocket } from './websocket.mjs';

export async function checkAll(server) {
  const http = await checkHttp(server);
  const webSocket = await checkWebSocket(server);
  return http && webSocket;
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const text = { type: 'string' };
  const { values, positionals } = parseArgs({
    options: { token: text, endless: text, finite: text }, allowPositionals: true,
  });
  if (positionals.length !== 1 || !values.token || !values.endless) {
    console.error("usage: node conformance.mjs URL --token T --endless 'subscription { … }' [--finite 'subscription { … }']");
    process.exit(2);
  }
  process.exit((await checkAll({ url: positionals[0], ...values })) ? 0 : 1);
}
