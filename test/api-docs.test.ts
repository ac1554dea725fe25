/** Every export of every entry is documented: `npm run docs` would refuse otherwise. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { REPOSITORY } from './support/netns.ts';

const TYPEDOC_MS = 120_000;

test('typedoc documents every entry, and misses nothing', () => {
  const { status, stdout, stderr } = spawnSync('npx', ['--offline', 'typedoc', '--emit', 'none'], {
    cwd: REPOSITORY,
    encoding: 'utf8',
    timeout: TYPEDOC_MS,
  });
  assert.equal(status, 0, stdout + stderr);
});

test('its entries are those of the package', () => {
  const read = (file: string) => JSON.parse(readFileSync(join(REPOSITORY, file), 'utf8'));
  const types = (entry: unknown): string[] => {
    if (typeof entry === 'string') return entry.endsWith('.d.ts') ? [entry] : [];
    return Object.values(entry as object).flatMap(types);
  };
  const entries = new Set(types(read('package.json').exports).map((path) => path.replace('./dist/', '')));
  // The other builds of vxlane/dataplane have the exports of the portable one.
  for (const twin of ['index', 'bundled']) entries.delete(`src/dataplane/${twin}.d.ts`);
  assert.deepEqual(
    read('typedoc.json').entryPoints.toSorted(),
    [...entries].map((path) => path.replace(/\.d\.ts$/, '.ts')).toSorted(),
  );
});
