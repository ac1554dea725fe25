/**
 * Who may import whom (the floors of the house), read from the import lines. Nothing points back up:
 *
 *   src        cli -> daemon -> flannel -> vtep -> dataplane -> assembly/layout
 *              cli -> sink -> dataplane, io; vtep -> io, netlink; netlink -> io; all of them -> the leaves errors, types, version
 *   assembly   index -> encap, decap -> the middle -> wire -> layout; sink -> sink-layout, layout
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LEAVES = ['errors', 'types', 'version'];

/** Floors that a floor may import from, itself aside. Skipping floors on the way down is allowed. */
const SRC_FLOORS: Record<string, string[]> = {
  cli: ['daemon', 'flannel', 'sink', 'vtep', 'dataplane', 'io', 'netlink'],
  daemon: ['flannel', 'vtep', 'io'],
  flannel: ['vtep', 'netlink', 'io'],
  vtep: ['dataplane', 'io', 'netlink'],
  sink: ['dataplane', 'io'],
  netlink: ['io'],
  dataplane: [],
  io: [],
  'create-vtep': ['vtep', 'daemon', 'dataplane'],
  index: ['create-vtep', 'vtep', 'sink', 'dataplane', 'io', 'daemon'],
};

/** Floors that may use a module that reaches out of the process. */
const OUTSIDE: Record<string, string[]> = {
  'node:fs': ['cli', 'daemon', 'flannel', 'sink', 'vtep', 'io', 'dataplane', 'version'],
  'node:fs/promises': ['cli', 'daemon', 'flannel'],
  'node:net': ['cli', 'daemon', 'io'],
  'node:http': ['cli', 'daemon', 'flannel'],
  'node:https': ['flannel'],
  'node:http2': ['flannel'],
  'node:dgram': ['io', 'cli'],
  'node:child_process': ['netlink', 'cli'],
  'node:worker_threads': ['vtep', 'sink', 'netlink', 'io', 'cli'],
  koffi: ['io'],
};

const WALKS = ['encap', 'decap'];
const MIDDLE = [
  ...[
    'segment',
    'coalesce',
    'stream',
    'train',
    'inner',
    'write',
    'fdb',
    'fdb-table',
    'fdb-index',
    'fdb-remote',
    'nexthop',
    'vni',
    'mdb',
    'neighbour',
  ],
  ...[
    'flow',
    'ecn',
    'transmit',
    'detour',
    'outer',
    'local',
    'learning',
    'header',
    'inject',
    'path',
    'vlan',
    'policy',
    'peer',
  ],
  ...['message', 'dispatch', 'envelope', 'parcel', 'ring', 'uring', 'count'],
  ...['tunnel-gso', 'tunnel-header', 'tunnel-cut'],
  ...['hook', 'hook-encap', 'hook-decap', 'deliver'],
  ...['admit', 'resolve', 'receipt', 'extension'],
  ...['event', 'proxy', 'sender', 'short-circuit', 'too-big'],
];

interface Import {
  /** Path of the file from the root, and of what it imports, without the ending; or a package's name. */
  from: string;
  to: string;
}

function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => join(folder, name));
}

/** Static and dynamic imports, types too; comments don't count. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const pattern = /(?:\bfrom|\bimport|\bimport\(|\brequire\w*\([^)]*\)\(|\brequire\()\s*'([^']+)'/g;
  return [...text.matchAll(pattern)].map(([, target]) => {
    const to = target!.startsWith('.') ? relative(ROOT, join(ROOT, dirname(file), target!)) : target!;
    return {
      from: file.replace(/\.ts$/, ''),
      to: to
        .split(sep)
        .join('/')
        .replace(/\.(ts|js)$/, ''),
    };
  });
}

const isOwn = (path: string) =>
  path.startsWith('src/') || path.startsWith('assembly/') || path.startsWith('build/');

describe('imports of src', () => {
  const imports = filesIn('src').flatMap(importsOf);
  const floorOf = (path: string) => path.split('/')[1]!;

  it('reads the import lines', () => {
    assert.ok(imports.length > 200);
    const find = (from: string, to: string) => imports.some((one) => one.from === from && one.to === to);
    assert.ok(find('src/io/syscalls', 'koffi'));
    assert.ok(find('src/dataplane/exports', 'build/engine-exports'));
    assert.ok(find('src/vtep/worker-context', 'src/dataplane/memory'));
  });

  it('point down', () => {
    for (const { from, to } of imports.filter((one) => one.to.startsWith('src/'))) {
      const [floor, target] = [floorOf(from), floorOf(to)];
      const allowed = LEAVES.includes(floor) ? LEAVES : [floor, ...LEAVES, ...(SRC_FLOORS[floor] ?? [])];
      assert.ok(allowed.includes(target), `${from} may not import ${to}`);
    }
  });

  it('take the layout and the engine’s typings from outside src, nothing else', () => {
    for (const { from, to } of imports.filter((one) => isOwn(one.to) && !one.to.startsWith('src/'))) {
      const isTypings = to === 'build/engine-exports' && from === 'src/dataplane/exports';
      const isText = to === 'build/engines' && from === 'src/dataplane/wasm';
      const isLayout =
        to === 'assembly/layout' || (to === 'assembly/sink-layout' && floorOf(from) === 'sink');
      assert.ok(isLayout || isTypings || isText, `${from} may not import ${to}`);
      if (to === 'assembly/layout') {
        assert.ok(
          ['dataplane', 'vtep', 'sink', 'io'].includes(floorOf(from)),
          `${from} has no business in the memory`,
        );
      }
    }
  });

  it('reach out of the process only where that is the floor’s job', () => {
    for (const { from, to } of imports.filter((one) => one.to in OUTSIDE)) {
      assert.ok(OUTSIDE[to]!.includes(floorOf(from)), `${from} may not import ${to}`);
    }
  });

  it('the embeddable dataplane needs no runtime’s own modules, nor their globals', () => {
    const reached = new Set(['portable', 'bundled', 'wasm'].map((name) => `src/dataplane/${name}`));
    for (const from of reached) {
      for (const { to } of imports.filter((one) => one.from === from)) {
        assert.ok(!to.startsWith('node:'), `${from} may not import ${to}`);
        if (to.startsWith('src/')) reached.add(to);
        else assert.ok(isOwn(to) || to === 'ipaddr', `${from} may not import ${to}`);
      }
      const text = readFileSync(join(ROOT, `${from}.ts`), 'utf8');
      assert.doesNotMatch(text, /(?<!#)\b(process|global|require|__dirname)\b[.([]|\bBuffer\b/, from);
    }
    assert.ok(reached.has('src/dataplane/fdb') && !reached.has('src/dataplane/engine-file'));
  });

  it('the command line alone ends the process', () => {
    for (const file of filesIn('src')) {
      const text = readFileSync(join(ROOT, file), 'utf8');
      const ends = /process\.(exit\(|exitCode\s*=|abort\()/.test(text);
      assert.ok(!ends || file.split(sep)[1] === 'cli', file);
    }
  });
});

describe('imports of assembly', () => {
  const files = filesIn('assembly');
  const imports = files.flatMap(importsOf);
  const nameOf = (path: string) => path.slice('assembly/'.length);

  it('point down', () => {
    for (const { from, to } of imports) {
      assert.ok(to.startsWith('assembly/'), `${from} may not import ${to}`);
      const [name, target] = [nameOf(from), nameOf(to)];
      const isWire = target.startsWith('wire/');
      if (name === 'layout' || name === 'sink-layout') assert.fail(`${name} imports nothing`);
      // A module of its own.
      else if (name === 'sink') assert.ok(['layout', 'sink-layout'].includes(target), `${from}: ${to}`);
      else if (name.startsWith('wire/')) assert.ok(target === 'layout' || isWire, `${from}: ${to}`);
      else if (MIDDLE.includes(name))
        assert.ok([...MIDDLE, 'layout'].includes(target) || isWire, `${from}: ${to}`);
      else if (WALKS.includes(name)) {
        assert.ok([...MIDDLE, 'layout'].includes(target) || isWire, `${from} may not import ${to}`);
      } else assert.equal(name, 'index', `${from} stands on no floor`);
    }
  });

  it('never run in circles', () => {
    const below = new Map<string, string[]>();
    for (const { from, to } of imports) below.set(from, [...(below.get(from) ?? []), to]);
    const visit = (name: string, above: readonly string[]): void => {
      assert.ok(!above.includes(name), [...above, name].join(' -> '));
      for (const next of below.get(name) ?? []) visit(next, [...above, name]);
    };
    for (const file of files) visit(file.replace(/\.ts$/, ''), []);
    assert.ok(below.size > 15);
  });
});
