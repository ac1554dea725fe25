/**
 * Which engine is chosen, what is said of it, and that each carries the same traffic. All other suites run on the one
 * that VXLANE_ENGINE names, `auto` unless told otherwise.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ratesBetween } from '../src/cli/status.ts';
import { statusText } from '../src/cli/status-format.ts';
import { createClient } from '../src/daemon/client.ts';
import { engineOf } from '../src/vtep/io-engine.ts';
import { type Bed, end, REPOSITORY } from './support/netns.ts';
import { layer3 } from './support/scenario.ts';
import { suite } from './support/traffic-gate.ts';
import { HOSTS } from './support/traffic-vtep.ts';

const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const WITHOUT = join(REPOSITORY, 'test/support/without-uring.ts');
const READY_MS = 15_000;
const MIB = 1 << 20;
const before = process.env.VXLANE_ENGINE;

/** Rings that a process has open. */
const rings = (pid: number) =>
  readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === 'anon_inode:[io_uring]';
    } catch {
      return false;
    }
  }).length;

after(() => {
  if (before === undefined) delete process.env.VXLANE_ENGINE;
  else process.env.VXLANE_ENGINE = before;
});

test('an engine is given, or named by the environment, or chosen', () => {
  delete process.env.VXLANE_ENGINE;
  assert.equal(engineOf(undefined), 'uring');
  assert.equal(engineOf('auto'), 'uring');
  process.env.VXLANE_ENGINE = 'batched';
  assert.equal(engineOf(undefined), 'batched');
  assert.equal(engineOf('uring'), 'uring');
  process.env.VXLANE_ENGINE = 'fast';
  assert.throws(() => engineOf(undefined), {
    code: 'USAGE',
    message: 'engine: argument "fast" is wrong: auto, batched or uring',
  });
  delete process.env.VXLANE_ENGINE;
});

suite('the engine of a daemon', ['vxlane'], (bed: Bed) => {
  /** Runs a daemon with `words` until it has been asked for its status. */
  async function daemon(
    words: string[],
    { preload = [], under = [] }: { preload?: string[]; under?: string[] } = {},
  ) {
    const host = bed.namespace('engine');
    const socket = join(bed.directory(), 'v.sock');
    const line = [...under, process.execPath, ...preload, PROGRAM, '--socket', socket, 'daemon', ...words];
    const child: ChildProcess = host.spawn(line[0]!, line.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    const ready = new Promise<void>((done) => {
      const hear = (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes('daemon ready')) done();
      };
      child.stdout?.on('data', hear);
      child.stderr?.on('data', hear);
    });
    const late = new Promise((_, fail) => setTimeout(fail, READY_MS, new Error('not ready')).unref());
    await Promise.race([ready, late, once(child, 'exit')]);
    const status = await createClient(socket).status();
    const open = rings(child.pid!);
    await end(child);
    return { engine: status.engine, text: statusText(status, ratesBetween(status, status, 1)), said, open };
  }

  test('io_uring where it is permitted: one ring for each worker', async () => {
    const { engine, open, said } = await daemon([]);
    assert.equal(engine.io, 'uring', said);
    assert.equal(engine.uring, 'on');
    assert.equal(open, 2);
  });

  test('--engine batched: no ring, and nothing is said of it', async () => {
    const { engine, text, open, said } = await daemon(['--engine', 'batched']);
    assert.equal(engine.io, 'batched');
    assert.equal(engine.uring, 'off: not asked for');
    assert.equal(open, 0);
    assert.doesNotMatch(said + text, /io_uring/);
  });

  test('where a seccomp filter forbids it: batched, and one line says why', async () => {
    const { engine, text, open, said } = await daemon(['--engine', 'uring'], {
      preload: ['--import', 'tsx', WITHOUT],
    });
    assert.equal(engine.io, 'batched');
    assert.equal(engine.uring, 'off: io_uring is forbidden here (seccomp)');
    assert.equal(open, 0);
    const lines = said.split('\n').filter((line) => line.includes('io_uring'));
    assert.deepEqual(lines, [
      'vxlane: engine: batched, for io_uring is off: io_uring is forbidden here (seccomp)',
    ]);
    assert.match(text, /^engine {4}batched, .*\n {10}io_uring off: io_uring is forbidden here \(seccomp\)$/m);
  });

  test('where no memory may be locked: batched, and why', async () => {
    const under = ['prlimit', '--memlock=0', 'setpriv', '--bounding-set=-ipc_lock'];
    const { engine, open } = await daemon([], { under });
    assert.equal(engine.io, 'batched');
    assert.equal(engine.uring, 'off: the limit of locked memory is too low (ulimit -l)');
    assert.equal(open, 0);
  });

  test('an engine that there is not', () => {
    const { stderr, status } = spawnSync(process.execPath, [PROGRAM, 'daemon', '--engine', 'fast'], {
      encoding: 'utf8',
    });
    assert.match(stderr, /'fast' is invalid. Allowed choices are auto, batched, uring/);
    assert.notEqual(status, 0);
  });
});

// One thread for both directions is what all other suites run on where cores are few, two where they are not.
for (const flags of [
  '--engine batched --threads 1',
  '--engine uring --threads 1',
  '--engine uring --threads 2',
]) {
  suite(`traffic with ${flags}`, ['vxlane', 'kernel'], (bed) => {
    test('frames of every size, and transfers both ways, against a kernel peer', async () => {
      const scenario = await layer3(bed, ['vxlane', 'kernel'], { flags: flags.split(' ') });
      const [near, far] = HOSTS;
      const echo = await scenario.pods[0].call('icmpSweep', near.pod, far.pod, { first: 18, last: 1422 });
      assert.deepEqual([echo.lost, echo.corrupt, echo.duplicate], [[], [], []]);
      const port = await scenario.pods[1].call('udpEchoServer', far.pod);
      const datagrams = await scenario.pods[0].call('udpSweep', far.pod, port, {
        ...{ first: 18, last: 1422 },
        window: 64,
      });
      assert.deepEqual([datagrams.lost, datagrams.corrupt, datagrams.duplicate], [[], [], []]);
      for (const [from, to] of [
        [0, 1],
        [1, 0],
      ] as const) {
        const listening = await scenario.pods[to].call('receiveTransfer', HOSTS[to].pod);
        const sent = await scenario.pods[from].call('sendTransfer', HOSTS[to].pod, listening, 64 * MIB);
        const received = await scenario.pods[to].call('transferResult', listening);
        assert.deepEqual([received.bytes, received.hash], [64 * MIB, sent.hash]);
      }
    });
  });
}
