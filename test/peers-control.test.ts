/** vxlane peer: words to requests, answers to text and JSON, refusals and exit codes; bodies and the file's key. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { readConfig } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import { parsePeer } from '../src/daemon/peer-schema.ts';
import { parseDevice } from '../src/daemon/schema.ts';
import { commandLine } from './support/command-line.ts';
import { FakeVtep } from './support/fake-vtep.ts';

const MAC = '02:00:00:00:00:07';
const CONFIG = `devices:
  - name: vx0
    id: 1
    knownpeers: true
    peers:
      - { mac: "${MAC}", src: 192.0.2.7, prefixes: [10.244.7.0/24, "fd00:7::/64"] }
      - { mac: "02:00:00:00:00:08", src: 192.0.2.8, prefixes: "10.244.8.0/24" }
      - { mac: "02:00:00:00:00:09", src: 192.0.2.9 }
`;

let directory: string;
let socket: string;
let vtep: FakeVtep;
let daemon: Daemon;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  vtep = new FakeVtep();
  const config = await readConfig(CONFIG, 'f.yaml');
  daemon = await startDaemon({ config, socket, createVtep: async () => vtep });
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});
beforeEach(() => {
  vtep.calls.length = 0;
});

const vxlane = (line: string) => commandLine(socket, line);

test('the file’s peers are set before the device is up', () => {
  assert.deepEqual(
    vtep.peerShow('vx0').map(({ mac, src, prefixes }) => [mac, src, prefixes]),
    [
      [MAC, '192.0.2.7', ['10.244.7.0/24', 'fd00:7::/64']],
      ['02:00:00:00:00:08', '192.0.2.8', ['10.244.8.0/24']],
      ['02:00:00:00:00:09', '192.0.2.9', []],
    ],
  );
  assert.equal(vtep.devices()[0]!.config.knownpeers, true);
});

test('words to requests', async () => {
  const done = { code: 0, out: '', err: '' };
  assert.deepEqual(
    await vxlane('peer set 2:0:0:0:0:A dev vx0 src 192.0.2.10 prefix 10.1.0.0/16,fd00::/64'),
    done,
  );
  assert.deepEqual(
    await vxlane('peer set dev vx0 prefix 10.2.0.0/16 src 192.0.2.11 02:00:00:00:00:0b'),
    done,
  );
  assert.deepEqual(await vxlane('peer set 02:00:00:00:00:0c dev vx0 src 192.0.2.12'), done);
  const shown = vtep.peerShow().slice(3);
  assert.deepEqual(
    shown.map(({ mac, src, prefixes }) => `${mac} ${src} ${prefixes}`),
    [
      '02:00:00:00:00:0a 192.0.2.10 10.1.0.0/16,fd00::/64',
      '02:00:00:00:00:0b 192.0.2.11 10.2.0.0/16',
      '02:00:00:00:00:0c 192.0.2.12 ',
    ],
  );
  for (const last of ['a', 'b', 'c'])
    assert.deepEqual(await vxlane(`peer del 02:00:00:00:00:0${last} dev vx0`), done);
  assert.equal(vtep.peerShow().length, 3);
});

test('refusals and exit codes', async () => {
  for (const [line, words] of [
    ['peer set', 'Device and MAC are required arguments.'],
    [`peer set ${MAC}`, 'Device and MAC are required arguments.'],
    [`peer set ${MAC} dev vx0`, '"src" is missing'],
    [`peer set ${MAC} dev vx0 src there`, 'any valid address is expected'],
    [`peer set ${MAC} dev vx0 src 192.0.2.1 prefix 10.0.0.0/8,`, 'any valid prefix is expected'],
    [`peer set ${MAC} dev vx0 src 192.0.2.1 src 192.0.2.2`, 'duplicate'],
    [`peer del ${MAC} dev vx0 src 192.0.2.1`, 'unknown word "src"'],
    ['peer set 02:00 dev vx0 src 192.0.2.1', 'Invalid mac address'],
    ['peer del 02:00:00:00:00:77 dev vx0', 'No such file or directory'],
    ['peer show dev vx9', 'Cannot find device'],
    ['peer show vx0', 'unknown word'],
    ['peer nope', 'Command "nope" is unknown'],
  ] as const) {
    const { code, out, err } = await vxlane(line);
    assert.ok(err.includes(words), `${line}: ${err}`);
    assert.deepEqual([code === 0, out, err.trim().split('\n').length], [false, '', 1], line);
  }
});

test('answers: text, JSON, counters with -s', async () => {
  const { stats } = vtep.peers.get(`vx0 ${MAC}`)!;
  Object.assign(stats.rx, { packets: 3, bytes: 300, address_drops: 1, subnet_drops: 2 });
  Object.assign(stats.tx, { packets: 4, bytes: 400 });
  vtep.peers.get(`vx0 ${MAC}`)!.last = 5;
  const lines = [
    `${MAC} dev vx0 src 192.0.2.7 prefix 10.244.7.0/24,fd00:7::/64`,
    '02:00:00:00:00:08 dev vx0 src 192.0.2.8 prefix 10.244.8.0/24',
    '02:00:00:00:00:09 dev vx0 src 192.0.2.9',
  ];
  assert.equal((await vxlane('peer')).out, lines.map((line) => `${line}\n`).join(''));
  assert.equal((await vxlane('peer show dev vx0')).out, lines.map((line) => `${line}\n`).join(''));
  assert.ok(
    (await vxlane('-s peer show')).out.startsWith(
      `${lines[0]}\n    rx packets 3 bytes 300 address_drops 1 subnet_drops 2 last 5\n    tx packets 4 bytes 400\n${lines[1]}\n` +
        '    rx packets 0 bytes 0 address_drops 0 subnet_drops 0 last never\n',
    ),
  );
  const [plain] = JSON.parse((await vxlane('-j peer')).out);
  assert.deepEqual(plain, {
    ifname: 'vx0',
    mac: MAC,
    src: '192.0.2.7',
    prefixes: ['10.244.7.0/24', 'fd00:7::/64'],
  });
  const [counted] = JSON.parse((await vxlane('-s -j peer')).out);
  assert.deepEqual(counted, { ...plain, last: 5, stats });
  const answer = await new Promise<string>((done, failed) => {
    request({ socketPath: socket, path: '/v1/peer?dev=vx0' }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => done(text));
    })
      .on('error', failed)
      .end();
  });
  assert.deepEqual(JSON.parse(answer)[0], counted);
});

test('bodies of the control API, and devices', async () => {
  const usage = (run: () => unknown, words: RegExp) => assert.throws(run, { code: 'USAGE', message: words });
  const asked = { op: 'set', dev: 'vx0', mac: '2:0:0:0:0:7', src: '192.0.2.7' };
  assert.deepEqual(parsePeer(asked), { ...asked, mac: MAC });
  assert.deepEqual(parsePeer({ ...asked, prefixes: '10.0.0.0/8,fd00::/8' }), {
    ...{ ...asked, mac: MAC, prefixes: ['10.0.0.0/8', 'fd00::/8'] },
  });
  assert.deepEqual(parsePeer({ op: 'del', dev: 'vx0', mac: MAC }), { op: 'del', dev: 'vx0', mac: MAC });
  usage(() => parsePeer({ ...asked, op: 'add' }), /^op: set or del is expected/);
  usage(() => parsePeer({ op: 'set', dev: 'vx0', mac: MAC }), /^src: missing/);
  usage(() => parsePeer({ op: 'del', dev: 'vx0' }), /^mac: missing/);
  usage(() => parsePeer({ ...asked, prefixes: [7] }), /prefixes/);
  usage(() => parsePeer({ ...asked, via: 'eth0' }), /^via: unknown key/);
  assert.equal(parseDevice({ name: 'v', id: 1, knownpeers: true }).knownpeers, true);
  assert.equal(parseDevice({ name: 'v', id: 1, noknownpeers: true }).knownpeers, false);
  usage(
    () => parseDevice({ name: 'v', id: 1, knownpeers: true, gpe: true }),
    /^knownpeers: packets of "gpe" have no MAC/,
  );
  await assert.rejects(readConfig('devices: [{ name: v, id: 1, peers: [{ mac: 2:0:0:0:0:1 }] }]', 'f.yaml'), {
    message: 'config f.yaml:1:37: devices[0].peers[0].src: missing',
  });
});
