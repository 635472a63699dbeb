// The built program on a fresh SQLite file, with an administrator who has a password and a mailbox full of mail from files.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ADDRESS = 'ada@ours.example';
export const PASSWORD = 'a long enough password';
const MAILBOX = 'sales@ours.example';

const program = process.env['MAILROOM_PROGRAM'] ?? fileURLToPath(new URL('../../../target/debug/mailroom', import.meta.url));

function mail(from: string, subject: string, more = ''): string {
  return [
    'Received: from client.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000',
    `From: ${from}`, `To: ${MAILBOX}`, `Subject: ${subject}`, `Message-ID: <${subject.toLowerCase().replaceAll(' ', '-')}@client.example>`,
    'Date: Mon, 23 Nov 2026 10:00:00 +0000', 'MIME-Version: 1.0', 'Content-Type: text/plain; charset=utf-8', more, 'Hello.', '',
  ].filter((line, index) => line !== '' || index > 7).join('\r\n');
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

export type Answer<T> = { data?: T | null; errors?: { message: string; extensions: { code: string } }[] };

export class Mailroom {
  private server: ChildProcess | undefined;
  private ended: Promise<unknown> = Promise.resolve();

  private constructor(private readonly folder: string, readonly port: number, private readonly settings: Record<string, string>) {}

  /** Makes the installation and starts its server; always at the same port. */
  static async start(settings: Record<string, string> = {}): Promise<Mailroom> {
    const folder = mkdtempSync(join(tmpdir(), 'mailroom-clients-'));
    const mailroom = new Mailroom(folder, await freePort(), settings);
    const user = ['user', 'create', '--name', 'Ada Berg', '--address', ADDRESS, '--administrator', '--password-stdin'];
    mailroom.run(user, PASSWORD);
    const files = [
      mail('Cleo Client <cleo@client.example>', 'Ten machines'),
      mail('News <news@letters.example>', 'Monthly news', 'List-Id: <news.letters.example>\r\n'),
    ].map((text, index) => {
      const file = join(folder, `${index}.eml`);
      writeFileSync(file, text);
      return file;
    });
    mailroom.run(['import', '--mailbox', MAILBOX, '--connector', ADDRESS, ...files]);
    await mailroom.startServer();
    return mailroom;
  }

  get url(): string { return `http://127.0.0.1:${this.port}/graphql`; }
  get socketUrl(): string { return `ws://127.0.0.1:${this.port}/graphql`; }

  private get environment(): NodeJS.ProcessEnv {
    // Nothing of the caller's own settings.
    return {
      PATH: process.env['PATH'], HOME: this.folder, MAILROOM_DATA_DIR: this.folder, MAILROOM_LOG: 'warn',
      MAILROOM_LISTEN: `127.0.0.1:${this.port}`, ...this.settings,
    };
  }

  run(args: string[], input?: string): string {
    const done = spawnSync(program, args, { env: this.environment, input, encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`mailroom ${args.join(' ')}: ${done.stderr ?? done.error}`);
    return done.stdout.trim();
  }

  async startServer(): Promise<void> {
    const server = spawn(program, ['serve'], { env: this.environment, stdio: ['ignore', 'pipe', 'inherit'] });
    this.server = server;
    this.ended = new Promise((resolve) => server.once('exit', resolve));
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: server.stdout }).once('line', () => resolve());
      server.once('exit', () => reject(new Error('the server ended before it listened')));
    });
  }

  /** Ends the server, politely or not; the data stays. */
  async stopServer(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.server?.kill(signal);
    await this.ended;
  }

  async remove(): Promise<void> {
    await this.stopServer('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Asks over plain HTTP. */
  async ask<T>(token: string | undefined, query: string, variables: Record<string, unknown> = {}): Promise<T> {
    const headers: Record<string, string> = { 'content-type': 'application/json', accept: 'application/graphql-response+json' };
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    const response = await fetch(this.url, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
    const answer = (await response.json()) as Answer<T>;
    if (answer.errors || !answer.data) throw new Error(JSON.stringify(answer));
    return answer.data;
  }

  /** Logs in as a person does; the pair of tokens. */
  async logIn(): Promise<{ accessToken: string; refreshToken: string }> {
    type LogIn = { logIn: { accessToken: string; refreshToken: string; userErrors: unknown[] } };
    const data = await this.ask<LogIn>(undefined, `mutation ($input: LogInInput!) {
      logIn(input: $input) { accessToken refreshToken expiresAt viewer { name } userErrors { code message } } }`,
      { input: { address: ADDRESS, password: PASSWORD } });
    if (data.logIn.userErrors.length > 0) throw new Error(JSON.stringify(data));
    return data.logIn;
  }
}
