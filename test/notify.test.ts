/** What a service manager hears, on real sockets of the local family, and when it hears no more. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import workerThreads, { type Worker } from 'node:worker_threads';
import { notifyOf, openNotifier } from '../src/daemon/notify.ts';
import type { FlannelStatus } from '../src/flannel/network-status.ts';
import { FakeVtep } from './support/fake-vtep.ts';
import { REPOSITORY } from './support/netns.ts';

/** Prints each datagram as a line of JSON, after the line `null`, which says that it listens. */
const RECEIVER = `
import json, socket, sys
name = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind('\\0' + name[1:] if name[0] == '@' else name)
print('null', flush=True)
while True:
    print(json.dumps(receiver.recv(4096).decode()), flush=True)
`;
const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');

class Manager {
  readonly heard: string[] = [];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async listen(address: string): Promise<Manager> {
    const child = spawn('python3', ['-c', RECEIVER, address], { stdio: ['ignore', 'pipe', 'inherit'] });
    const manager = new Manager(child);
    let rest = '';
    const listening = new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the receiver ended: ${code}`)));
      child.stdout!.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          const text = JSON.parse(line);
          if (text === null) resolve();
          else manager.heard.push(text);
        }
      });
    });
    await listening;
    return manager;
  }

  /** The first so many messages. */
  async hears(count: number): Promise<string[]> {
    for (const until = Date.now() + 20_000; this.heard.length < count; await sleep(10)) {
      assert.ok(Date.now() < until, `heard only ${JSON.stringify(this.heard)}`);
    }
    return this.heard.slice(0, count);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill();
    await once(this.#child, 'exit');
  }
}

let directory: string;
let number = 0;
const managers: Manager[] = [];
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'vxlane-'));
});
after(async () => {
  await Promise.all(managers.map((manager) => manager.close()));
  rmSync(directory, { recursive: true });
});

async function manager(kind: 'path' | 'abstract' = 'path'): Promise<[string, Manager]> {
  const name = `vxlane-notify-${process.pid}-${++number}`;
  const address = kind === 'abstract' ? `@${name}` : join(directory, name);
  const listening = await Manager.listen(address);
  managers.push(listening);
  return [address, listening];
}

function notifierAt(address: string, more: Record<string, string> = {}) {
  const said: string[] = [];
  const notifier = openNotifier({ NOTIFY_SOCKET: address, ...more }, (_level, text) => said.push(text));
  return { notifier, said };
}

for (const kind of ['path', 'abstract'] as const) {
  test(`ready, status and stopping reach a socket with ${kind === 'path' ? 'a path' : 'an abstract name'}`, async () => {
    const [address, heard] = await manager(kind);
    const { notifier } = notifierAt(address);
    notifier.ready('10.244.1.0/24: 2 peers');
    notifier.status('10.244.1.0/24: 2 peers');
    notifier.status('3 peers\n  etcd is away');
    notifier.stopping();
    notifier.close();
    assert.deepEqual(await heard.hears(3), [
      `READY=1\nSTATUS=10.244.1.0/24: 2 peers\nMAINPID=${process.pid}`,
      'STATUS=3 peers etcd is away',
      'STOPPING=1',
    ]);
  });
}

test('a status that found nobody listening is told again', async () => {
  const name = join(directory, 'late');
  const { notifier } = notifierAt(name);
  notifier.status('waits for etcd');
  const late = await Manager.listen(name);
  managers.push(late);
  notifier.status('waits for etcd');
  assert.deepEqual(await late.hears(1), ['STATUS=waits for etcd']);
  notifier.close();
});

describe('the watchdog', () => {
  test('hears of us at half its interval while we live, and not while we don’t', async () => {
    const [address, heard] = await manager();
    const { notifier, said } = notifierAt(address, {
      WATCHDOG_USEC: '200000',
      WATCHDOG_PID: `${process.pid}`,
    });
    let lives = true;
    let answered = 0;
    const asked: number[] = [];
    notifier.watch(async (milliseconds) => {
      asked.push(milliseconds);
      answered += Number(lives);
      return lives;
    });
    const started = performance.now();
    assert.deepEqual(await heard.hears(4), Array(4).fill('WATCHDOG=1'));
    const took = performance.now() - started;
    assert.ok(took > 250 && took < 6000, `three halves of 200 ms took ${took} ms`);
    assert.equal(asked[0], 50);
    lives = false;
    for (const until = Date.now() + 10_000; said.length === 0; await sleep(10))
      assert.ok(Date.now() < until, 'asked, and it says so');
    const count = answered;
    await heard.hears(count);
    await sleep(350);
    assert.equal(heard.heard.length, count);
    assert.equal(said.length, 1, said.join());
    assert.match(said[0]!, /watchdog: .*does not answer/);
    lives = true;
    await heard.hears(count + 1);
    notifier.close();
  });

  test('is not for another process', async () => {
    const [address, heard] = await manager();
    const { notifier } = notifierAt(address, { WATCHDOG_USEC: '100000', WATCHDOG_PID: '1' });
    notifier.watch(async () => true);
    await sleep(200);
    notifier.ready('here');
    await heard.hears(1);
    assert.equal(heard.heard.length, 1);
    notifier.close();
  });
});

test('without a socket nothing is told, and an address that is none is said once', () => {
  const silent = openNotifier({}, () => assert.fail('nothing to say'));
  silent.ready('here');
  silent.close();
  for (const address of ['relative/path', '@', `/${'x'.repeat(108)}`]) {
    const { notifier, said } = notifierAt(address);
    notifier.ready('here');
    assert.equal(said.length, 1);
    assert.match(said[0]!, /^NOTIFY_SOCKET: socket ".*an absolute path or @name/);
  }
});

test('a flannel node is ready when pods can be made, and says before what it waits for', async () => {
  const [address, heard] = await manager();
  const { notifier } = notifierAt(address);
  let summary = { serving: false, text: 'default: waits for its configuration, etcd is away' };
  const flannel = {
    summary: () => summary,
    status: (): FlannelStatus => ({ networks: [] }),
    close: async () => undefined,
  };
  const daemon = { vtep: new FakeVtep(), flannel, socket: '', close: async () => undefined };
  const silence = notifyOf(notifier, daemon, 'node ready');
  await heard.hears(1);
  summary = { serving: true, text: 'default: 10.244.1.0/24' };
  await heard.hears(2);
  summary = { serving: true, text: 'default: 10.244.1.0/24, etcd is away' };
  assert.deepEqual(await heard.hears(3), [
    'STATUS=default: waits for its configuration, etcd is away',
    `READY=1\nSTATUS=default: 10.244.1.0/24\nMAINPID=${process.pid}`,
    'STATUS=default: 10.244.1.0/24, etcd is away',
  ]);
  silence();
  notifier.close();
});

test('a VTEP answers while its threads run, and not when one has died', async () => {
  const threads: Worker[] = [];
  const { Worker: Original } = workerThreads;
  workerThreads.Worker = class extends Original {
    constructor(...args: ConstructorParameters<typeof Original>) {
      super(...args);
      threads.push(this);
    }
  };
  syncBuiltinESMExports();
  const { createVtep } = await import('../src/create-vtep.ts');
  const vtep = await createVtep();
  try {
    assert.equal(await vtep.responds(2000), true);
    assert.ok(threads.length > 0);
    const terminated = threads[0]!.terminate();
    // It sleeps in the kernel until somebody wakes it, which is what the question does.
    await vtep.responds(500);
    await terminated;
    assert.equal(await vtep.responds(100), false);
  } finally {
    await vtep.close();
    workerThreads.Worker = Original;
    syncBuiltinESMExports();
  }
});

test('a daemon is ready, lives and stops, as its manager hears it', async () => {
  const [address, heard] = await manager();
  const socket = join(directory, 'daemon.sock');
  const child = spawn(process.execPath, [PROGRAM, 'daemon', '--socket', socket], {
    stdio: 'ignore',
    env: { ...process.env, NOTIFY_SOCKET: address, WATCHDOG_USEC: '400000' },
  });
  const [ready, alive] = await heard.hears(2);
  assert.match(ready!, new RegExp(`^READY=1\nSTATUS=daemon ready: 0 devices.*\nMAINPID=${child.pid}$`));
  assert.equal(alive, 'WATCHDOG=1');
  child.kill('SIGTERM');
  await once(child, 'exit');
  for (const until = Date.now() + 10_000; heard.heard.at(-1) !== 'STOPPING=1'; await sleep(10)) {
    assert.ok(Date.now() < until, JSON.stringify(heard.heard));
  }
});
