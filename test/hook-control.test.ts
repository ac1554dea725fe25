/** vxlane hook: words and files to requests, answers to text and JSON, refusals; bodies, the file's key, who may write. */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { labelOf, monitorText } from '../src/cli/monitor-format.ts';
import { runCli } from '../src/cli/program.ts';
import { statusText } from '../src/cli/status-format.ts';
import { readConfig } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import { checkModule, HOOK_BYTES_MAX, RULES_BYTES_MAX } from '../src/daemon/hook-files.ts';
import { parseHook } from '../src/daemon/hook-schema.ts';
import type { HookRequest, VtepEvent } from '../src/types.ts';
import { FakeVtep } from './support/fake-vtep.ts';

/** An empty module. */
const WASM = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const RULES = new Uint8Array([1, 2, 3]);

let directory: string;
let socket: string;
let vtep: FakeVtep;
let daemon: Daemon;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  await writeFile(at('pass.wasm'), WASM);
  await writeFile(at('rules'), RULES);
  await writeFile(at('own.js'), 'export default () => {};\n');
  await chmod(at('own.js'), 0o644);
  vtep = new FakeVtep();
  const config = await readConfig(
    `devices:
  - { name: vx0, id: 1, hooks: [{ direction: decap, file: ${at('pass.wasm')}, rules: ${at('rules')}, fuel: 77 }] }
  - { name: vx1, id: 2, hooks: [{ direction: encap, file: ${at('own.js')}, onstop: drop }] }
`,
    'f.yaml',
  );
  daemon = await startDaemon({ config, socket, createVtep: async () => vtep });
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});
beforeEach(() => {
  vtep.hookRequests.length = 0;
});

const at = (name: string) => join(directory, name);

async function vxlane(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const code = await runCli(words, {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    env: { VXLANE_SOCKET: socket },
  });
  return { code, ...said };
}

const line = (text: string) => vxlane(...text.split(' ').filter(Boolean));

test('the file’s hooks are set, their files read, before the device is up', () => {
  const [first, second] = vtep.hookShow();
  assert.deepEqual([first!.ifname, first!.direction, first!.kind, first!.fuel], ['vx0', 'decap', 'wasm', 77]);
  assert.deepEqual([second!.ifname, second!.direction, second!.kind], ['vx1', 'encap', 'js']);
  assert.equal(second!.file, at('own.js'));
  assert.deepEqual([first!.onstop, second!.onstop], ['drop', 'drop']);
});

test('words and files to requests: a .wasm goes as bytes, a .js as its path', async () => {
  assert.deepEqual(await line(`hook add dev vx0 encap ${at('pass.wasm')} rules ${at('rules')} fuel 500`), {
    ...{ code: 0, out: '', err: '' },
  });
  assert.deepEqual(vtep.hookRequests.pop() as object, {
    ...{ op: 'add', dev: 'vx0', direction: 'encap', file: 'pass.wasm' },
    ...{ wasm: WASM, rules: RULES, fuel: 500 },
  } satisfies HookRequest);
  await symlink(at('own.js'), at('link.js'));
  assert.equal((await line(`hook replace ${at('link.js')} encap dev vx0`)).code, 0);
  assert.deepEqual(vtep.hookRequests.pop() as object, {
    ...{ op: 'replace', dev: 'vx0', direction: 'encap', file: at('own.js') },
  } satisfies HookRequest);
  assert.equal((await line(`hook replace ${at('own.js')} encap dev vx0 onstop drop`)).code, 0);
  assert.deepEqual(vtep.hookRequests.pop() as object, {
    ...{ op: 'replace', dev: 'vx0', direction: 'encap', file: at('own.js'), onstop: 'drop' },
  } satisfies HookRequest);
  assert.equal((await line('hook del dev vx0 encap')).code, 0);
  assert.equal(vtep.hookShow('vx0').length, 1);
});

test('the largest module and rules fit into a request; one byte more is refused where it is read', async () => {
  await writeFile(at('large.wasm'), new Uint8Array(HOOK_BYTES_MAX));
  await writeFile(at('large'), new Uint8Array(RULES_BYTES_MAX));
  assert.deepEqual(await line(`hook replace dev vx0 encap ${at('large.wasm')} rules ${at('large')}`), {
    ...{ code: 0, out: '', err: '' },
  });
  const request = vtep.hookRequests.pop() as Exclude<HookRequest, { op: 'del' }>;
  assert.deepEqual([request.wasm!.length, request.rules!.length], [HOOK_BYTES_MAX, RULES_BYTES_MAX]);
  await writeFile(at('larger.wasm'), new Uint8Array(HOOK_BYTES_MAX + 1));
  await writeFile(at('larger'), new Uint8Array(RULES_BYTES_MAX + 1));
  for (const [words, most] of [
    [`${at('larger.wasm')}`, '512 KiB is the most'],
    [`${at('pass.wasm')} rules ${at('larger')}`, '64 KiB is the most'],
  ]) {
    const { code, err } = await line(`hook replace dev vx0 encap ${words}`);
    assert.deepEqual([code, err.includes(most!)], [255, true], err);
  }
  await line('hook del dev vx0 encap');
});

test('refusals and exit codes', async () => {
  for (const [words, complaint] of [
    ['hook add', 'Device and direction are required arguments.'],
    ['hook add dev vx0', 'Device and direction are required arguments.'],
    ['hook add dev vx0 encap', 'a file is missing'],
    [`hook add dev vx0 encap decap ${at('pass.wasm')}`, 'duplicate'],
    [`hook add dev vx0 encap ${at('none.wasm')}`, 'No such file or directory'],
    [`hook add dev vx0 encap ${directory}`, 'ends in .wasm, .js or .mjs'],
    [`hook add dev vx0 encap ${at('pass.wasm')} ${at('rules')}`, 'unknown word'],
    [`hook add dev vx0 encap ${at('pass.wasm')} fuel 0`, 'invalid fuel'],
    [`hook add dev vx0 encap ${at('own.js')} fuel 5`, 'stopped by the clock'],
    [`hook add dev vx0 encap ${at('own.js')} onstop fail`, 'onstop: "pass" or "drop" is expected'],
    ['hook del dev vx0 decap onstop drop', 'unknown word'],
    [`hook add dev vx0 decap ${at('pass.wasm')}`, 'File exists'],
    [`hook add dev vx9 decap ${at('pass.wasm')}`, 'Cannot find device'],
    ['hook del dev vx0 encap', 'No such file or directory'],
    ['hook del dev vx0 encap x', 'unknown word "x"'],
    ['hook show vx0', 'unknown word'],
    ['hook show dev vx9', 'Cannot find device'],
    ['hook nope', 'Command "nope" is unknown'],
  ] as const) {
    const { code, out, err } = await line(words);
    assert.ok(err.includes(complaint), `${words}: ${err}`);
    assert.deepEqual([code, out, err.trim().split('\n').length], [255, '', 1], words);
  }
});

test('bodies: every refusal names its key', () => {
  const hook = { op: 'add', dev: 'vx0', direction: 'encap', file: 'f.wasm', wasm: 'AGFzbQ==' };
  assert.deepEqual((parseHook(hook) as { wasm: Uint8Array }).wasm, WASM.slice(0, 4));
  for (const [change, complaint] of [
    [{ op: 'set' }, 'op: add, replace or del'],
    [{ direction: 'both' }, 'direction: encap or decap'],
    [{ dev: 'a b' }, 'dev: not a valid ifname'],
    [{ file: '' }, 'file: a path'],
    [{ file: 'a\nwarn: b.wasm' }, 'file: a path without control'],
    [{ file: '\u001b[2J.wasm' }, 'file: a path without control'],
    [{ file: 'a'.repeat(4097) }, 'file: a path of 4096'],
    [{ file: undefined }, 'file: '],
    [{ wasm: '?' }, 'wasm: base64'],
    [{ wasm: 7 }, 'wasm: base64'],
    [{ wasm: Buffer.alloc(HOOK_BYTES_MAX + 1).toString('base64') }, 'wasm: File too large'],
    [{ rules: Buffer.alloc(RULES_BYTES_MAX + 1).toString('base64') }, 'rules: File too large'],
    [{ fuel: 1e9 }, 'fuel: invalid fuel'],
    [{ onstop: 'open' }, 'onstop: onstop: "pass" or "drop"'],
    [{ more: 1 }, 'more: unknown key'],
    [{ wasm: undefined, file: 'own.js' }, 'file: own.js: an absolute path'],
  ] as const) {
    const body = Object.fromEntries(
      Object.entries({ ...hook, ...change }).filter(([, value]) => value !== undefined),
    );
    assert.throws(
      () => parseHook(body),
      (error: Error) => error.message.startsWith(complaint),
      complaint,
    );
  }
});

test('a module in JavaScript must be the daemon’s own: the file and every folder above it', async () => {
  await mkdir(at('open'));
  await writeFile(at('open/hook.js'), '');
  await chmod(at('open/hook.js'), 0o644);
  checkModule(at('open/hook.js'));
  await chmod(at('open'), 0o777);
  assert.throws(() => checkModule(at('open/hook.js')), /others than the daemon's user may write to .*open:/);
  await chmod(at('open'), 0o1777);
  checkModule(at('open/hook.js'));
  await chmod(at('open/hook.js'), 0o664);
  assert.throws(() => checkModule(at('open/hook.js')), { code: 'PERMISSION' });
  await symlink(at('open/hook.js'), at('named.js'));
  assert.throws(() => checkModule(at('named.js')), { code: 'PERMISSION' });
  assert.throws(() => checkModule(at('none.js')), { code: 'NOT_FOUND' });
  // A link may lead elsewhere when threads import the module: they are given what was looked at.
  await symlink(at('own.js'), at('open/link.js'));
  const request = { op: 'add', dev: 'vx0', direction: 'encap', file: at('open/link.js') };
  assert.equal((parseHook(request) as { file: string }).file, at('own.js'));
  assert.throws(() => checkModule(at('open')), { code: 'USAGE' });
});

test('the configuration file: what is wrong with a hook is told with its place', async () => {
  const device = (hooks: string) => `devices: [{ name: vx0, id: 1, hooks: ${hooks} }]`;
  for (const [hooks, complaint] of [
    ['[{ direction: up, file: a.wasm }]', /devices\[0\].hooks\[0\].direction: encap or decap/],
    ['[{ direction: encap }]', /hooks\[0\].file: missing/],
    [
      '[{ direction: encap, file: a.wasm }, { direction: encap, file: b.wasm }]',
      /hooks\[1\].direction: "encap" is there twice/,
    ],
    ['[{ direction: encap, file: a.wasm, fuel: 0 }]', /hooks\[0\].fuel: invalid fuel/],
    ['[{ direction: encap, file: a.wasm, onstop: 0 }]', /hooks\[0\].onstop: .*"drop" is expected/],
  ] as const)
    await assert.rejects(readConfig(device(hooks), 'f.yaml'), complaint);
  const config = await readConfig(device('[{ direction: encap, file: /none.wasm }]'), 'f.yaml');
  const fresh = new FakeVtep();
  await assert.rejects(
    startDaemon({ config, socket: at('other.sock'), createVtep: async () => fresh }),
    /device vx0: hook \/none.wasm: No such file/,
  );
  assert.deepEqual(fresh.devices(), []);
});

test('answers: text, JSON, counters with -s, the table of status, events', async () => {
  const hook = vtep.hooks.get('vx0 decap')!;
  hook.stats = { packets: 9, dropped: 1, redirected: 2, mirrored: 3, faults: 4, stopped: 5 };
  hook.fault = 'unreachable';
  assert.equal(
    (await line('hook show dev vx0')).out,
    'dev vx0 decap pass.wasm generation 1 fuel 77 onstop drop\n',
  );
  assert.equal(
    (await line('-s hook show dev vx0')).out,
    'dev vx0 decap pass.wasm generation 1 fuel 77 onstop drop\n    packets 9 dropped 1 redirected 2 mirrored 3 faults 4 stopped 5 last: unreachable\n',
  );
  hook.counters = [0, 7, 0, 9];
  assert.match((await line('-s hook show dev vx0')).out, / last: unreachable\n {4}counters 1: 7 3: 9\n$/);
  hook.stopped = 'it hung';
  assert.match((await line('hook show dev vx0')).out, / stopped: it hung\n$/);
  assert.deepEqual(JSON.parse((await line('-j hook show dev vx0')).out), [
    {
      ifname: 'vx0',
      direction: 'decap',
      kind: 'wasm',
      file: 'pass.wasm',
      generation: 1,
      fuel: 77,
      onstop: 'drop',
      stopped: 'it hung',
    },
  ]);
  assert.deepEqual(JSON.parse((await line('-j -s hook show dev vx0')).out)[0].stats, hook.stats);
  assert.deepEqual(JSON.parse((await line('-j -s hook show dev vx0')).out)[0].counters, hook.counters);
  const rates = { devices: {}, workers: {}, counters: {} };
  const page = statusText({ ...vtep.status(), hooks: vtep.hookShow() }, rates as never);
  assert.match(page, /^vx0 decap +1 +9 +1 +2 +3 +4 +pass.wasm \(stopped: it hung\)$/m);
  const event: VtepEvent = {
    ...{ event: 'hook', change: 'fault', ifname: 'vx0', direction: 'decap', file: 'pass.wasm' },
    ...{ generation: 1, packets: 4, reason: 'unreachable' },
  };
  assert.equal(
    labelOf(event) + monitorText(event, { details: false, statistics: false }),
    '[HOOK]dev vx0 decap pass.wasm generation 1 fault packets 4: unreachable',
  );
});
