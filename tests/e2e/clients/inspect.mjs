// schema.graphql by graphql-inspector: the documents of the tests are valid and use nothing deprecated, and against the
// schema of the last released version nothing was taken away.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { CriticalityLevel, diff, validate } from '@graphql-inspector/core';
import { Source, buildSchema } from 'graphql';

const root = new URL('../../../', import.meta.url).pathname;
const schema = buildSchema(readFileSync(`${root}schema.graphql`, 'utf8'));
const folder = new URL('./documents/', import.meta.url).pathname;
const documents = readdirSync(folder)
  .filter((name) => name.endsWith('.graphql'))
  .map((name) => new Source(readFileSync(folder + name, 'utf8'), name));
const faults = validate(schema, documents, { maxDepth: 12, maxAliasCount: 30, maxDirectiveCount: 50 });
const bad = faults.flatMap((fault) => [...fault.errors, ...(fault.deprecated ?? [])].map((error) => `${fault.source.name}: ${error.message}`));

const git = (...args) => spawnSync('git', ['-C', root, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 });
const tag = git('describe', '--tags', '--abbrev=0', '--match', 'v*').stdout?.trim();
if (tag) {
  const released = buildSchema(git('show', `${tag}:schema.graphql`).stdout);
  const changes = await diff(released, schema);
  const breaking = changes.filter((change) => change.criticality.level === CriticalityLevel.Breaking);
  bad.push(...breaking.map((change) => `since ${tag}: ${change.message}`));
}
console.log(`graphql-inspector: ${documents.length} documents, ${tag ? `compared with ${tag}` : 'no released schema to compare with'}, ${bad.length} faults`);
for (const fault of bad) console.log(`  ${fault}`);
process.exit(bad.length > 0 ? 1 : 0);
