/** The command as a process: exit codes, one line of error, and the words against a daemon with a stand-in VTEP. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runCli } from '../src/cli/program.ts';
import { configOf } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import { FakeVtep } from './support/fake-vtep.ts';

const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));

let directory: string;
let socket: string;
let vtep: FakeVtep;
let daemon: Daemon;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  vtep = new FakeVtep();
  daemon = await startDaemon({ config: configOf([]), socket, createVtep: async () => vtep });
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});

interface Result {
  code: number | null;
  out: string;
  err: string;
}

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', MAIN, ...args], {
    env: { ...process.env, VXLANE_SOCKET: socket, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function result(child: ChildProcess): Promise<Result> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

const vxlane = (line: string, env?: Record<string, string>) =>
  result(start(line.split(' ').filter(Boolean), env));

/** The same inside this process: quick enough for tables. */
async function inside(line: string, more: object = {}): Promise<Result> {
  let out = '';
  let err = '';
  const code = await runCli(line.split(' ').filter(Boolean), {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: { VXLANE_SOCKET: socket },
    ...more,
  });
  return { code, out, err };
}

test('a device from add to del, as a process', async () => {
  assert.deepEqual(await vxlane('link add vx0 type vxlan id 42 dstport 4789 remote 192.0.2.2'), {
    code: 0,
    out: '',
    err: '',
  });
  assert.deepEqual(await vxlane('l set vx0 up'), { code: 0, out: '', err: '' });
  assert.deepEqual(await vxlane('fdb add 2:0:0:0:0:7 dev vx0 dst 192.0.2.7 dynamic'), {
    code: 0,
    out: '',
    err: '',
  });
  assert.equal(
    (await vxlane('fdb show')).out,
    '02:00:00:00:00:07 dev vx0 dst 192.0.2.7 self \n00:00:00:00:00:00 dev vx0 dst 192.0.2.2 self permanent\n',
  );
  for (const line of [
    '-j -s fdb show dev vx0 dynamic',
    'fdb show dev vx0 dynamic nope -j -s',
    `-json --socket ${socket} f s dev vx0 state reach -s`,
  ])
    assert.equal(
      (await vxlane(line)).out,
      '[{"mac":"02:00:00:00:00:07","dst":"192.0.2.7","used":0,"updated":0,"flags":["self"],"state":""}]\n',
      line,
    );
  assert.deepEqual(await vxlane('link del vx0'), { code: 0, out: '', err: '' });
  assert.deepEqual(await vxlane('link'), { code: 0, out: '', err: '' });
});

test('exit codes, each with one line', async () => {
  const nobody = { VXLANE_SOCKET: join(directory, 'nobody.sock') };
  const cases: [line: string, code: number, err: string, env?: Record<string, string>][] = [
    ['nope', 1, 'vxlane: object "nope" is unknown, try "vxlane --help"\n'],
    [
      'fdb show state nope',
      255,
      'vxlane: argument "nope" is wrong: invalid state: permanent, static, stale, reachable or all is expected\n',
    ],
    [
      'link show nope',
      1,
      'vxlane: Device "nope" does not exist: "vxlane link show" lists those that are there\n',
    ],
    ['fdb show dev nope', 255, 'vxlane: Cannot find device "nope"\n'],
    [
      'link add vx9 type vxlan id 9 mcroute',
      2,
      `vxlane: "mcroute" is not supported: the host's multicast routing can't be reached from a socket: leave it out, groups go out through "dev"\n`,
    ],
    [
      'fdb show',
      3,
      `vxlane: no daemon answers at ${nobody.VXLANE_SOCKET}: start one with "vxlane daemon", or name its socket with --socket or VXLANE_SOCKET\n`,
      nobody,
    ],
    [`daemon --config ${directory}/no.yaml`, 2, `vxlane: config ${directory}/no.yaml: no such file\n`],
  ];
  const results = await Promise.all(cases.map(([line, , , env]) => vxlane(line, env)));
  for (const [index, [line, code, err]] of cases.entries())
    assert.deepEqual(results[index], { code, out: '', err }, line);
});

test('the exit code tells whose refusal it is, as with ip and bridge, and there is one line', async () => {
  await inside('link add vx0 type vxlan id 41 dstport 0');
  await inside('fdb add 02:00:00:00:00:07 dev vx0 dst 192.0.2.7');
  const codes: [code: number, ...lines: string[]][] = [
    // Not known at all.
    [1, '--nope', 'daemon --config', 'daemon extra', 'status extra', 'demo --seconds x', '--socket', '-b'],
    // The parser of ip.
    [1, 'link add vx1', 'link add vx1 type vxlan dev lo', 'link add vx1 type vxlan id 1 nope', 'run vx0'],
    [1, 'link show nope', 'link set nope up', 'link del nope'],
    // An invalid argument, one too many, one too few; and every refusal of bridge.
    [
      255,
      'link nope',
      'link add vx1 type vxlan id 16777216',
      'link add vx1 type vxlan id 1 id 2',
      'run vx0 id x',
    ],
    [255, 'link add vx1 type vxlan id', 'link set vx0 nope', 'link del', 'link set', '-f x link'],
    [255, 'fdb nope', 'fdb flu dev vx0', 'fdb add', 'fdb add 02:00:00:00:00:07 dev vx0 dst 192.0.2.7'],
    [
      255,
      'fdb add 02:00:00:00:00:08 dev nope dst 192.0.2.7',
      'fdb show dev nope',
      'fdb get 02:00:00:00:00:08 dev nope',
    ],
    // The kernel's driver, here the daemon; and what neither does.
    [2, 'link add vx0 type vxlan id 42 dstport 0', 'link add vx1 type vxlan id 41 dstport 0'],
    [2, 'link set vx0 type vxlan dstport 5', 'link set vx0 master br0', '-n blue link show'],
    [254, 'fdb get 02:00:00:00:00:08 dev vx0'],
  ];
  for (const [expected, ...lines] of codes)
    for (const line of lines) {
      const { code, out, err } = await inside(line);
      assert.deepEqual([code, out], [expected, ''], `${line}: ${err}`);
      assert.match(err, /^vxlane: [^\n]+\n$/, line);
    }
  await inside('link del vx0');
});

test('terminal sequences in a message are not passed on', async () => {
  const { err } = await inside('link show \u001b[31m\nx');
  assert.match(err, /^vxlane: \P{Cc}+\n$/u);
});

test('whoever answers in another tongue is no daemon', async () => {
  const path = join(directory, 'stranger.sock');
  const stranger = createServer((connection) => connection.end('220 hello\r\n')).listen(path);
  await new Promise((resolve) => stranger.on('listening', resolve));
  const { code, err } = await inside(`--socket ${path} link`);
  stranger.close();
  assert.deepEqual(
    [code, err],
    [2, `vxlane: whatever answers at ${path} is no vxlane daemon: name another with --socket\n`],
  );
});

test('the notice about the port, as iproute2 gives it', async () => {
  const { code, err } = await inside('link add vx1 type vxlan id 51');
  assert.equal(code, 0);
  assert.equal(
    err,
    `vxlan: destination port not specified
Will use Linux kernel default (non-standard value)
Use 'dstport 4789' to get the IANA assigned value
Use 'dstport 0' to get default and quiet this message
`,
  );
  assert.equal((await inside('link add vx2 type vxlan id 52 dstport 0')).err, '');
  assert.equal((await inside('link set vx2 type vxlan ageing 60')).err, '');
  await inside('link del vx1');
  await inside('link del vx2');
});

test('help everywhere, with examples', async () => {
  for (const line of [
    '--help',
    'link --help',
    'link help',
    'fdb help',
    'fdb -h',
    'status --help',
    'daemon --help',
    'run --help',
    'run help',
    'demo --help',
    'help link',
  ]) {
    const { code, out, err } = await inside(line);
    assert.deepEqual([code, err], [0, ''], line);
    assert.match(out, /^Usage: vxlane[\s\S]*Examples:/, line);
  }
  assert.match((await inside('--version')).out, /^\d+\.\d+\.\d+\n$/);
  assert.equal((await inside('')).code, 1);
});

test('status as text and as JSON', async () => {
  const text = await inside('status');
  assert.equal(text.code, 0);
  assert.match(text.out, /^version +0\.0\.0-fake, pid /);
  const { rates, engine } = JSON.parse((await inside('-j s')).out);
  assert.deepEqual([engine.wasm, rates], ['simd', { devices: {}, workers: {}, counters: {} }]);
});

test('output into a closed pipe is no error', async () => {
  await inside('link add vx3 type vxlan id 53 dstport 0');
  for (let index = 0; index < 5000; index++) {
    const low = index.toString(16).padStart(4, '0');
    vtep.fdb({
      op: 'add',
      dev: 'vx3',
      mac: `02:00:00:00:${low.slice(0, 2)}:${low.slice(2)}`,
      dst: '192.0.2.7',
    });
  }
  const whole = await vxlane('fdb show');
  assert.equal(whole.out.split('\n').length, 5001, 'a slow reader gets everything');
  const child = start(['fdb', 'show']);
  child.stdout?.once('data', () => child.stdout?.destroy());
  const [code, err] = await new Promise<[number | null, string]>((resolve) => {
    let text = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      text += chunk;
    });
    child.on('exit', (status) => resolve([status, text]));
  });
  assert.deepEqual([code, err], [0, '']);
  await inside('link del vx3');
});

test('daemon: config, ready line, a refusal that leaves nothing', async () => {
  const path = join(directory, 'd.sock');
  const file = join(directory, 'd.yaml');
  await writeFile(file, `socket: ${path}\ndevices:\n  - { name: vx0, id: 1 }\n`);
  const fake = new FakeVtep();
  const stop = new AbortController();
  const running = inside(`daemon --config ${file}`, {
    createVtep: async () => fake,
    stop: stop.signal,
    env: {},
  });
  while (!existsSync(path) || fake.devices()[0]?.up !== true)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const second = await inside(`daemon --socket ${path}`, { createVtep: async () => new FakeVtep() });
  assert.deepEqual(second, {
    code: 2,
    out: '',
    err: `vxlane: socket ${path} is already in use by a running daemon (pid ${process.pid})\n`,
  });
  stop.abort();
  assert.deepEqual(await running, {
    code: 0,
    out: `vxlane: daemon ready: 1 device, control socket ${path}\n`,
    err: '',
  });
  assert.deepEqual([fake.closed, existsSync(path)], [1, false]);

  await writeFile(file, 'devices:\n  - { name: vx0, id: 16777216 }\n');
  assert.deepEqual(
    await inside(`daemon --config ${file} --socket ${path}`, { createVtep: async () => fake }),
    {
      code: 2,
      out: '',
      err: `vxlane: config ${file}:2:22: devices[0].id: invalid id: a VNI is a number from 0 to 16777215\n`,
    },
  );
  assert.equal(existsSync(path), false);
});

test('run: one device, up at once, reached through its own socket', async () => {
  const path = join(directory, 'r.sock');
  const fake = new FakeVtep();
  const stop = new AbortController();
  const running = inside(`run flannel.1 id 1 nolearning --socket ${path}`, {
    createVtep: async () => fake,
    stop: stop.signal,
  });
  while (fake.devices()[0]?.up !== true) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(
    (await inside(`--socket ${path} link show`)).out,
    /flannel\.1: <BROADCAST,MULTICAST,UP,LOWER_UP>/,
  );
  stop.abort();
  assert.deepEqual(await running, {
    code: 0,
    out: `vxlane: flannel.1 up: VNI 1, UDP port 8472, IPv4 underlay, control socket ${path}\n`,
    err: '',
  });
});

test('a signal ends the daemon within a second, even one that hangs', async () => {
  for (const [signal, close] of [
    ['SIGTERM', 'async () => {}'],
    ['SIGINT', '() => new Promise(() => setInterval(() => {}, 1000))'],
  ] as const) {
    const path = join(directory, `${signal}.sock`);
    const script = `
      import { runCli } from ${JSON.stringify(new URL('../src/cli/program.ts', import.meta.url).href)};
      import { FakeVtep } from ${JSON.stringify(new URL('./support/fake-vtep.ts', import.meta.url).href)};
      const createVtep = async () => Object.assign(new FakeVtep(), { close: ${close} });
      const outside = { out: (s) => process.stdout.write(s), err: (s) => process.stderr.write(s), env: {}, createVtep };
      process.exit(await runCli(['daemon', '--socket', ${JSON.stringify(path)}], outside));`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = result(child);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    const asked = performance.now();
    child.kill(signal);
    const { code, err } = await ended;
    assert.deepEqual([code, err], [0, ''], signal);
    assert.ok(performance.now() - asked < 8000, `${signal}: within a second, and the time of a busy machine`);
    assert.equal(existsSync(path), false);
  }
});
