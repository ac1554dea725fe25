/** The package as it is published: what is in it, and whether its entries and types hold. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { REPOSITORY } from './support/netns.ts';
import { pack } from './support/tarball.ts';

const UNPACKED_MAX_BYTES = 5_000_000;
const PACKED_MAX_BYTES = 1_200_000;

const folder = mkdtempSync(join(tmpdir(), 'vxlane-package-'));
after(() => rmSync(folder, { recursive: true }));
const tarball = await pack(folder);
const packed = new Set(tarball.files.map(({ path }) => path));
const read = (path: string) => readFileSync(join(REPOSITORY, path), 'utf8');
const manifest = JSON.parse(read('package.json'));

/** Files beneath a folder of the repository, with their paths in it. */
function beneath(top: string): string[] {
  return readdirSync(join(REPOSITORY, top), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(REPOSITORY, '/').length));
}

test('it has what it must have, to the name, and nothing else', () => {
  const modules = [...beneath('src'), 'assembly/layout.ts', 'assembly/sink-layout.ts'];
  const generated = ['build/engines.ts', 'build/engine-exports.ts'];
  const compiled = [...modules, ...generated].flatMap((path) =>
    ['js', 'd.ts'].map((ending) => `dist/${path.replace(/ts$/, ending)}`),
  );
  const engines = ['release', 'scalar', 'sink'].map((build) => `build/${build}.wasm`);
  const documents = ['docs', 'man', 'wrap', 'deploy', 'assembly', 'hooks'].flatMap(beneath);
  const examples = beneath('examples').filter((path) => path !== 'examples/tsconfig.json');
  const top = ['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE'];
  assert.deepEqual(
    [...packed].sort(),
    [
      ...top,
      ...compiled,
      ...engines,
      ...examples,
      ...documents.filter((path) => !path.endsWith('.json')),
    ].sort(),
  );
  const known = ['man/vxlane.8', 'wrap/ip', 'hooks/sdk.ts', 'examples/tunnel.js', 'docs/versioning.md'];
  for (const path of known) assert.ok(packed.has(path), path);
});

test('no tests, no benches, no sources of the host, no maps, nothing hidden', () => {
  const unwanted =
    /^(test|bench|src|tools|node_modules)\/|\.map$|\.test\.|(^|\/)\.|\.(log|tgz|pem|key|env\.\w+)$/;
  assert.deepEqual(
    [...packed].filter((path) => unwanted.test(path)),
    [],
  );
});

test('it is as small as it is said to be', () => {
  assert.ok(tarball.unpackedSize < UNPACKED_MAX_BYTES, `${tarball.unpackedSize} bytes unpacked`);
  assert.ok(tarball.size < PACKED_MAX_BYTES, `${tarball.size} bytes packed`);
});

test('nothing in it is a secret, or a path of the machine that built it', () => {
  const secret =
    /-----BEGIN [A-Z ]*PRIVATE KEY|\bnpm_[A-Za-z0-9]{30,}|\bgh[pous]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b/;
  const home = dirname(REPOSITORY.replace(/\/$/, ''));
  for (const path of packed) {
    if (path.endsWith('.wasm')) continue;
    const text = read(path);
    assert.doesNotMatch(text, secret, path);
    // The root of a file system stands in every path.
    if (home.split('/').length > 2) assert.ok(!text.includes(`${home}/`), path);
  }
});

test('what can be run may be run', () => {
  const programs = tarball.files.filter(({ mode }) => (mode & 0o111) !== 0).map(({ path }) => path);
  for (const path of ['wrap/ip', 'wrap/bridge', manifest.bin.vxlane])
    assert.ok(path.endsWith('.js') || programs.includes(path), path);
  assert.match(read(manifest.bin.vxlane), /^#!\/usr\/bin\/env node\n/);
});

test('links between its documents lead somewhere', () => {
  const folders = new Set([...packed].map((path) => dirname(path)));
  const elsewhere = new Set<string>();
  for (const path of [...packed].filter((path) => path.endsWith('.md')))
    for (const [, link] of read(path).matchAll(/\]\(([^)#:]+)\)/g)) {
      const target = join(dirname(path), link!).replace(/\/$/, '');
      assert.ok(existsSync(join(REPOSITORY, target)), `${path}: ${link}`);
      if (!packed.has(target) && !folders.has(target)) elsewhere.add(target);
    }
  // What only the repository has.
  assert.deepEqual([...elsewhere].sort(), ['Dockerfile', 'bench/README.md']);
});

test('every entry is a file of it', () => {
  const targets = (entry: unknown): string[] =>
    typeof entry === 'string' ? [entry] : Object.values(entry as object).flatMap(targets);
  const all = [manifest.exports, manifest.bin, manifest.man, manifest.imports].flatMap(targets);
  for (const target of all.filter((target) => !target.includes('*')))
    assert.ok(packed.has(target.replace(/^\.\//, '')), target);
});

test('types come first in every condition', () => {
  const walk = (entry: unknown): void => {
    if (typeof entry === 'string') return;
    const keys = Object.keys(entry as object);
    if (keys.includes('types')) assert.equal(keys[0], 'types', JSON.stringify(entry));
    for (const nested of Object.values(entry as object)) walk(nested);
  };
  for (const [name, entry] of Object.entries<object>(manifest.exports)) {
    walk(entry);
    if (!/\.(wasm|json)$|^\.\/hooks\//.test(name)) assert.match(JSON.stringify(entry), /"types"/, name);
  }
});

test('publint has nothing to say', async () => {
  const { messages, pkg } = await publint({
    level: 'suggestion',
    strict: true,
    pack: { tarball: new Uint8Array(readFileSync(tarball.path)).buffer },
  });
  assert.deepEqual(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );
});

test('types are right wherever they are resolved', async () => {
  const data = new Uint8Array(readFileSync(tarball.path));
  const names = Object.keys(manifest.exports).filter((name) => !/\.(wasm|json)$|^\.\/hooks\//.test(name));
  const result = await checkPackage(createPackageFromTarballData(data), { entrypoints: names });
  assert.ok(result.types);
  assert.deepEqual(Object.keys(result.entrypoints), names);
  // The package is ESM: that CommonJS cannot `require` it before Node 20.19, and that resolution of the time before
  // exports maps does not find its subpaths, is so by design.
  const isMeant = ({ kind, ...problem }: (typeof result.problems)[number]) =>
    'resolutionKind' in problem &&
    (problem.resolutionKind === 'node10' ||
      (kind === 'CJSResolvesToESM' && problem.resolutionKind === 'node16-cjs'));
  assert.deepEqual(
    result.problems.filter((problem) => !isMeant(problem)),
    [],
  );
});

test('the lock file has the builds of every system', () => {
  const { packages } = JSON.parse(read('package-lock.json'));
  const names = Object.keys(packages).map((path) => basename(path));
  for (const name of ['cli-linux-x64', 'cli-linux-arm64', 'cli-darwin-arm64', 'cli-win32-x64'])
    assert.ok(names.includes(name), `@biomejs/${name}`);
});
