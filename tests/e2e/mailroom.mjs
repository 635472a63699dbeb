#!/usr/bin/env node
// Starts the built program on a fresh SQLite file, makes an account, and runs both suites against it.
//   node mailroom.mjs [PROGRAM]      (default: target/debug/mailroom)
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { checkAll } from './conformance.mjs';

const program = process.argv[2] ?? fileURLToPath(new URL('../../target/debug/mailroom', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mailroom-conformance-'));
// Nothing of the caller's own settings.
const environment = { PATH: process.env.PATH, HOME: folder, MAILROOM_DATA_DIR: folder, MAILROOM_LOG: 'warn' };
const ADDRESS = 'conformance@example.org';

function run(args, input) {
  const done = spawnSync(program, args, { env: environment, input, encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`mailroom ${args.join(' ')}: ${done.stderr ?? done.error}`);
  return done.stdout.trim();
}

/** The address that the server prints first; what it prints later is read and dropped. */
function started(server) {
  return new Promise((resolve, reject) => {
    createInterface({ input: server.stdout }).once('line', (line) => resolve(line.trim()));
    server.once('exit', () => reject(new Error('the server ended before it listened')));
  });
}

const server = spawn(program, ['serve', '--listen', '127.0.0.1:0'], {
  env: environment, stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = new Promise((resolve) => server.once('exit', resolve));
let passed = false;
try {
  const base = await started(server);
  run(['user', 'create', '--name', 'Conformance', '--address', ADDRESS, '--password-stdin'], `${randomUUID()}\n`);
  const token = run(['token', 'create', '--address', ADDRESS]);
  passed = await checkAll({
    url: new URL('/graphql', base).href,
    token,
    endless: 'subscription { timeline { __typename } }',
  });
} finally {
  server.kill('SIGTERM');
  await ended;
  rmSync(folder, { recursive: true, force: true });
}
process.exit(passed ? 0 : 1);
