/** The README keeps step: every drop is named, links lead somewhere, commands are there, CI runs what it says. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { OBJECTS } from '../src/cli/objects.ts';
import { reason } from '../src/cli/status-format.ts';
import { COUNTERS } from '../src/dataplane/counters.ts';
import { REPOSITORY } from './support/netns.ts';

const read = (file: string) => readFileSync(join(REPOSITORY, file), 'utf8');
const readme = read('README.md');

test('every drop has its line, with the words of `vxlane status`', () => {
  const rows = [...readme.matchAll(/^\| `(drop_\w+)` +\| (.*?) +\|$/gm)].map(([, name, why]) => [name, why]);
  const drops = Object.keys(COUNTERS).filter((name) => name.startsWith('drop_'));
  assert.deepEqual(
    rows,
    drops.map((name) => [name, reason(name)]),
  );
});

test('links lead to files', () => {
  for (const file of ['README.md', 'CHANGELOG.md']) {
    const links = [...read(file).matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path!);
    assert.ok(links.length > 0, file);
    for (const path of links) assert.ok(existsSync(join(REPOSITORY, path)), `${file}: ${path}`);
  }
});

test('every object of the command line is in it', () => {
  for (const { name } of OBJECTS)
    assert.match(readme, new RegExp(`vxlane (-\\w+ (\\w+ )?)*${name}\\b`), name);
});

test('scripts of npm exist; the version has an entry; CI runs what it says', () => {
  const { scripts, version } = JSON.parse(read('package.json'));
  for (const [, script] of readme.matchAll(/npm run ([\w:]+)/g)) assert.ok(scripts[script!], script);
  assert.match(read('CHANGELOG.md'), new RegExp(`^## ${version.replaceAll('.', '\\.')}`, 'm'));
  const { version: locked, packages } = JSON.parse(read('package-lock.json'));
  assert.deepEqual([locked, packages[''].version], [version, version]);
  assert.match(readme, /^npm ci && npm test /m);
  assert.deepEqual(read('.ci/run').match(/^npm .*$/gm), ['npm ci', 'npm test']);
});
