/**
 * The demonstration as a newcomer meets it, in a process of its own: it passes, and however it ends, nothing of it
 * is left. It picks the best way that this machine allows, so that these tests run everywhere.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { percentile } from '../src/cli/demo/rates.ts';

const PROGRAM = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));
const MARK = 'VXLANE_TEST_MARK';
const TUNNEL_MS = 20_000;
const GONE_MS = 5000;

class Demo {
  readonly process: ChildProcess;
  readonly mark = randomBytes(8).toString('hex');
  out = '';
  err = '';

  constructor(args: string[], env: Record<string, string> = {}) {
    this.process = spawn(process.execPath, [PROGRAM, ...args], {
      env: { ...process.env, ...env, [MARK]: this.mark },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process.stdout?.on('data', (chunk: Buffer) => {
      this.out += chunk.toString();
    });
    this.process.stderr?.on('data', (chunk: Buffer) => {
      this.err += chunk.toString();
    });
  }

  /** Exit code, or the signal's name. */
  async ended(): Promise<number | string> {
    const [code, signal] = (await once(this.process, 'close')) as [number | null, string | null];
    return code ?? signal ?? '';
  }

  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    for (const end = Date.now() + TUNNEL_MS; Date.now() < end; await pause(50)) {
      const found = pattern.exec(this.out);
      if (found) return found;
      if (this.process.exitCode !== null) break;
    }
    throw new Error(`no ${pattern} in: ${this.out}${this.err}`);
  }

  /** Processes of this run, its own not counted. */
  processes(): string[] {
    if (process.platform !== 'linux') return [];
    return readdirSync('/proc').filter((pid) => {
      try {
        return (
          /^\d+$/.test(pid) &&
          Number(pid) !== this.process.pid &&
          readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`${MARK}=${this.mark}`)
        );
      } catch {
        return false;
      }
    });
  }

  /** Namespaces and socket directories of this run: root's hold its pid in their names. */
  leftovers(): string[] {
    const listed = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
    return [...listed.split('\n'), ...readdirSync(tmpdir())].filter((name) =>
      name.startsWith(`vxlane-${this.process.pid}-`),
    );
  }

  async assertNothingLeft(): Promise<void> {
    for (const end = Date.now() + GONE_MS; this.processes().length > 0 && Date.now() < end; ) await pause(50);
    assert.deepEqual(this.processes(), [], 'processes left');
    assert.deepEqual(this.leftovers(), [], 'namespaces or directories left');
  }
}

const SOCKET = /--socket (\S+) fdb show/;

test('ten seconds of traffic, a verdict, and nothing left', { timeout: 60_000 }, async (t) => {
  const demo = new Demo(['demo', '--once', '--json']);
  assert.equal(await demo.ended(), 0, demo.err);
  const result = JSON.parse(demo.out);
  t.diagnostic(`${result.mode}, far side: ${result.far}`);
  assert.deepEqual(result.wrong, []);
  assert.equal(result.ok, true);
  assert.ok(result.seconds >= 10);
  assert.ok(result.tunnel.tx.packets > 0 && result.tunnel.rx.packets > 0);
  assert.ok(result.transfers.bytesOut > 0 && result.transfers.bytesIn > 0);
  assert.ok(result.echoes.received > 0);
  await demo.assertNothingLeft();
});

test('in process over loopback sockets, and it says so', { timeout: 30_000 }, async () => {
  const demo = new Demo(['demo', '--once', '--seconds', '2', '--json'], { VXLANE_DEMO_MODE: 'in-process' });
  assert.equal(await demo.ended(), 0, demo.err);
  const result = JSON.parse(demo.out);
  assert.equal(result.mode, 'in-process');
  assert.equal(result.fdb.length, 2);
  assert.match(demo.err, /in this process over loopback sockets/);
  await demo.assertNothingLeft();
});

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  test(`${signal} ends it well and leaves nothing`, { timeout: 30_000 }, async () => {
    const demo = new Demo(['demo']);
    await demo.prints(/ 2 s /);
    demo.process.kill(signal);
    assert.equal(await demo.ended(), 0, demo.err);
    assert.match(demo.out, /packets out and/);
    await demo.assertNothingLeft();
  });

test('SIGINT during the set-up leaves nothing', { timeout: 30_000 }, async () => {
  for (const delay of [150, 300, 500]) {
    const demo = new Demo(['demo']);
    await pause(delay);
    demo.process.kill('SIGINT');
    await demo.ended();
    await demo.assertNothingLeft();
  }
});

test('SIGKILL leaves no process, and the next start sweeps the rest', { timeout: 60_000 }, async () => {
  const killed = new Demo(['demo']);
  await killed.prints(/ 1 s /);
  killed.process.kill('SIGKILL');
  assert.equal(await killed.ended(), 'SIGKILL');
  const next = new Demo(['demo', '--once', '--seconds', '1', '--json']);
  assert.equal(await next.ended(), 0, next.err);
  await next.assertNothingLeft();
  await killed.assertNothingLeft();
});

test('a broken tunnel is told, with the reason of the drops', { timeout: 60_000 }, async (t) => {
  const demo = new Demo(['demo', '--once', '--seconds', '4']);
  await demo.prints(/npm run bench/);
  const socket = SOCKET.exec(demo.out)?.[1];
  if (socket === undefined) {
    t.skip('runs in process here, which has no control socket');
  } else {
    const words = ['fdb', 'del', '36:3c:de:36:68:58', 'dev', 'flannel.1', 'dst', '10.169.72.98'];
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, '--socket', socket, ...words], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  }
  const code = await demo.ended();
  await demo.assertNothingLeft();
  if (socket === undefined) return;
  assert.equal(code, 1);
  assert.match(demo.err, /^vxlane demo: failed: .*only \d+ of \d+ echoes came back/m);
  assert.match(demo.out, /near: no FDB entry for the destination/);
});

test('a mode that is none is refused in one line', async () => {
  const demo = new Demo(['demo', '--once'], { VXLANE_DEMO_MODE: 'magic' });
  assert.equal(await demo.ended(), 1);
  assert.equal(demo.out, '');
  assert.match(demo.err, /^vxlane demo: VXLANE_DEMO_MODE=magic is wrong: .*\n$/);
});

test('percentiles are of the nearest rank', () => {
  assert.equal(percentile([], 50), undefined);
  assert.equal(percentile([3], 99), 3);
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.equal(percentile(hundred, 50), 50);
  assert.equal(percentile(hundred, 99), 99);
});
