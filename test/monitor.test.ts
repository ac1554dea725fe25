/** What happens, as it happens: the stream of the control API, and `vxlane monitor` in the form of `bridge monitor`. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseMonitor } from '../src/cli/monitor.ts';
import { runCli } from '../src/cli/program.ts';
import { createClient } from '../src/daemon/client.ts';
import { configOf } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import type { FdbEntry, MdbEntry, VtepEvent } from '../src/types.ts';
import { FakeVtep } from './support/fake-vtep.ts';

let directory: string;
let socket: string;
let vtep: FakeVtep;
let daemon: Daemon;
/** The daemon listens for itself, too. */
let quiet: number;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  vtep = new FakeVtep();
  daemon = await startDaemon({ config: configOf([]), socket, createVtep: async () => vtep });
  quiet = vtep.listeners.size;
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});

const FDB: FdbEntry = {
  mac: '02:00:00:00:00:01',
  ifname: 'vx0',
  dst: '192.0.2.3',
  src_vni: 10,
  used: 1,
  updated: 2,
  flags: ['self'],
  state: 'permanent',
};
const MDB: MdbEntry = {
  index: 5,
  dev: 'vx1',
  grp: '239.1.1.1',
  src: '1.2.3.4',
  filter_mode: 'include',
  source_list: [],
  protocol: 'static',
  blocked: false,
  dst: '192.0.2.1',
  dst_port: 5,
  vni: 9,
  via: 'd0',
};

/** An event, and the line that bridge (or `ip monitor neigh`) of iproute2 7.1 prints for it, with its label. */
const LINES: [event: VtepEvent, label: string, line: string][] = [
  [
    { event: 'fdb', deleted: true, entry: FDB, reason: 'command' },
    '[NEIGH]',
    'Deleted 02:00:00:00:00:01 dev vx0 dst 192.0.2.3 src_vni 10 self permanent',
  ],
  [
    { event: 'miss', ifname: 'vx1', lladdr: '02:00:00:00:00:77' },
    '[NEIGH]',
    'miss dev vx1 lladdr 02:00:00:00:00:77 STALE ',
  ],
  [{ event: 'miss', ifname: 'vx1', dst: '10.0.0.2' }, '[NEIGH]', 'miss 10.0.0.2 dev vx1 STALE '],
  [
    { event: 'vni', deleted: false, entry: { ifname: 'vx0', vni: 10, listed: true } },
    '[TUNNEL]',
    'vx0               10                 ',
  ],
  [
    { event: 'vni', deleted: false, entry: { ifname: 'vx0', vni: 20, listed: true, remote: '192.0.2.9' } },
    '[TUNNEL]',
    'vx0               20                 192.0.2.9',
  ],
  [
    { event: 'vni', deleted: true, entry: { ifname: 'vx0', vni: 21, listed: true, group: '239.1.1.1' } },
    '[TUNNEL]',
    'Deleted vx0               21                 239.1.1.1',
  ],
  [
    { event: 'mdb', deleted: true, entry: MDB },
    '[MDB]',
    'Deleted dev vx1 port vx1 grp 239.1.1.1 src 1.2.3.4 permanent dst 192.0.2.1 dst_port 5 vni 9 via d0',
  ],
  [
    { event: 'link', deleted: false, ifname: 'vx1', ifindex: 5, up: true },
    '[LINK]',
    '5: vx1: <BROADCAST,MULTICAST,UP,LOWER_UP> state UNKNOWN ',
  ],
];

/** What a monitor prints of these events; each is seen before the next one happens. */
async function watch(
  line: string,
  events: readonly VtepEvent[],
): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const stop = new AbortController();
  const running = runCli(line.split(' '), {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: { VXLANE_SOCKET: socket },
    stop: stop.signal,
  });
  await until(() => vtep.listeners.size > quiet);
  for (const event of events) vtep.emit(event);
  // Events keep their order: whatever came before this one has been printed.
  vtep.emit({ event: 'link', deleted: true, ifname: 'vx0', ifindex: 999, up: false });
  vtep.emit({ event: 'fdb', deleted: true, entry: { ...FDB, mac: 'ff:ff:ff:ff:ff:ff' } });
  vtep.emit({ event: 'miss', ifname: 'vx0', dst: '203.0.113.9' });
  await until(() => /999|ff:ff:ff|203\.0/.test(out));
  stop.abort();
  const code = await running;
  await until(() => vtep.listeners.size === quiet);
  return { code, out, err };
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 5) {
    assert.ok(waited < 5000, 'within five seconds');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const END = /^(\[\w+\])?(Deleted (999|ff:)|miss 203).*\n/gm;
const events = LINES.map(([event]) => event);

test('every kind of event as iproute2 prints it', async () => {
  const { code, out, err } = await watch('monitor', events);
  assert.deepEqual([code, err], [0, '']);
  assert.equal(out.replace(END, ''), LINES.map(([, , line]) => `${line}\n`).join(''));
});

test('all: each line says what it is about', async () => {
  const { out } = await watch('monitor all', events);
  assert.equal(out.replace(END, ''), LINES.map(([, label, line]) => `${label}${line}\n`).join(''));
});

test('kinds, one device, ages and what an entry filters', async () => {
  const kinds = async (line: string) =>
    (await watch(line, events)).out.replace(END, '').trimEnd().split('\n').length;
  assert.equal(await kinds('monitor fdb neigh'), 3);
  assert.equal(await kinds('monitor fdb link mdb'), 3);
  assert.equal(await kinds('monitor neigh fdb vni dev vx0'), 4);
  assert.match(
    (await watch('-s monitor fdb', events)).out,
    / dst 192\.0\.2\.3 src_vni 10 used 1\/2 self permanent\n/,
  );
  assert.match(
    (await watch('-d monitor mdb link', events)).out,
    / permanent filter_mode include proto static dst /,
  );
  assert.deepEqual([...parseMonitor(['f', 'n']).kinds], ['fdb', 'miss']);
  assert.throws(() => parseMonitor(['nope']), /argument "nope" is unknown/);
  assert.throws(() => parseMonitor(['dev']), /Command line is not complete/);
});

test('JSON: one object a line', async () => {
  const { out } = await watch('-j monitor', events);
  const lines = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(lines.slice(0, events.length), JSON.parse(JSON.stringify(events)));
});

test('who does not read loses events, is told how many, and costs nobody else any', async () => {
  const flood = 40_000;
  const entry = { ...FDB, ifname: 'x'.repeat(15) };
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    get({ socketPath: socket, path: '/v1/monitor', agent: false }, resolve).on('error', reject);
  });
  response.pause();
  await until(() => vtep.listeners.size > quiet);
  let heard = 0;
  const stop = new AbortController();
  let told = 0;
  let reader: Promise<void> | undefined;
  await new Promise<void>((ready) => {
    const hear = (event: VtepEvent) => {
      if (event.event === 'lost') told += event.lost;
      else heard++;
    };
    reader = createClient(socket).follow(hear, stop.signal, ready);
  });
  for (let sent = 0; sent < flood; ) {
    for (const end = sent + 1000; sent < end; sent++) vtep.emit({ event: 'fdb', deleted: false, entry });
    await until(() => heard >= sent - 1000);
  }
  assert.equal(told, 0, 'a reader that keeps up loses nothing');
  assert.ok(heard > flood - 1001);

  let text = '';
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    text += chunk;
  });
  response.resume();
  await until(() => text.includes('event: lost'));
  const seen = text.match(/^event: fdb$/gm)?.length ?? 0;
  const lost = Number(/"lost":(\d+)/.exec(text)?.[1]);
  assert.ok(lost > 0);
  assert.equal(seen + lost, flood);
  vtep.emit({ event: 'miss', ifname: 'vx0' });
  await until(() => text.includes('event: miss'));
  response.destroy();
  stop.abort();
  await reader;
  await until(() => vtep.listeners.size === quiet);
});

test('a daemon that ends is no end of the monitor without a word', async () => {
  const path = join(directory, 'short.sock');
  const short = new FakeVtep();
  const other = await startDaemon({ config: configOf([]), socket: path, createVtep: async () => short });
  let err = '';
  const running = runCli(['--socket', path, 'monitor'], {
    out: () => {},
    err: (text) => {
      err += text;
    },
    env: {},
    stop: new AbortController().signal,
  });
  await until(() => short.listeners.size > quiet);
  await other.close();
  assert.equal(await running, 3);
  assert.match(err, /^vxlane: no daemon answers at /);
});
