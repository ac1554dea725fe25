/** vxlane vni, vlan and policy: words to requests, answers to text and JSON, refusals and exit codes. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { configOf } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import { parsePolicy, parseVni } from '../src/daemon/vni-schema.ts';
import type { VniInfo } from '../src/types.ts';
import { commandLine } from './support/command-line.ts';
import { FakeVtep } from './support/fake-vtep.ts';

let directory: string;
let socket: string;
let vtep: FakeVtep;
let daemon: Daemon;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  vtep = new FakeVtep();
  daemon = await startDaemon({ config: configOf([]), socket, createVtep: async () => vtep });
  const device = { dstport: 4789, external: true, id: 0 };
  for (const [name, more] of [
    ['vx0', { vnifilter: true }],
    ['vx1', { vnifilter: true, dstport: 4790 }],
    ['vx2', { dstport: 4791 }],
  ] as const) {
    await vtep.addDevice({ ...device, ...more, name } as never);
  }
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});
beforeEach(() => {
  vtep.calls.length = 0;
});

const vxlane = (line: string) => commandLine(socket, line);

/** What arrives at the VTEP. */
async function asks(line: string, wanted: object): Promise<void> {
  vtep.calls.length = 0;
  assert.deepEqual(await vxlane(line), { code: 0, out: '', err: '' }, line);
  assert.equal(vtep.calls.length, 1);
  assert.deepEqual(JSON.parse(vtep.calls[0]!.replace(/^\w+ /, '')), wanted, line);
}

async function refuses(line: string, words: string, code = 255): Promise<void> {
  const { code: got, out, err } = await vxlane(line);
  assert.ok(err.includes(words), `${line}: ${err}`);
  assert.deepEqual([got, out, err.trim().split('\n').length], [code, '', 1], line);
  assert.deepEqual(vtep.calls, []);
}

test('words to requests', async () => {
  const vx0 = { dev: 'vx0' };
  const list = {
    vni: [
      [100, 100],
      [200, 205],
    ],
  };
  await asks('vni add vni 100,200-205 dev vx0', { op: 'add', ...vx0, ...list });
  await asks('vni add dev vx0 vni 100,200-205 remote 192.0.2.2', {
    op: 'add',
    ...vx0,
    ...list,
    remote: '192.0.2.2',
  });
  await asks('vni add dev vx0 vni 5 group 239.1.1.1', {
    op: 'add',
    ...vx0,
    vni: [[5, 5]],
    group: '239.1.1.1',
  });
  await asks('vni add dev vx0 vni 5 remote 2001:DB8::0', {
    op: 'add',
    ...vx0,
    vni: [[5, 5]],
    remote: '2001:db8::',
  });
  await asks('vni delete vni 9-5 dev vx0', { op: 'del', ...vx0, vni: [[9, 5]] });
  await asks('vni del vni 9- dev vx0', { op: 'del', ...vx0, vni: [[9, 9]] });
  await asks('vlan add dev vx0 vid 10 tunnel_info id 1010', {
    op: 'add',
    ...vx0,
    vlan: [10, 10],
    vni: [[1010, 1010]],
  });
  await asks('vlan a vid 10-12 dev vx0 self tunnel_info i 0x10-0x12 untagged', {
    ...{ op: 'add', ...vx0, vlan: [10, 12], vni: [[16, 18]], untagged: true },
  });
  await asks('vlan add dev vx0 vid 10 pvid untagged master tunnel_info id 10', {
    ...{ op: 'add', ...vx0, vlan: [10, 10], vni: [[10, 10]], pvid: true, untagged: true },
  });
  await asks('vlan del dev vx0 vid 10-12 tunnel_info id 5', { op: 'del', ...vx0, vlan: [10, 12], vni: [] });
  await asks('vlan d dev vx0 vid 10', { op: 'del', ...vx0, vlan: [10, 10], vni: [] });
  await asks('policy add dev vx0 id 5', { op: 'add', ...vx0, id: 5 });
  await asks('pol add dev vx0 id 0x10 vni 7 dontlearn applied', {
    ...{ op: 'add', ...vx0, id: 16, vni: 7, dontlearn: true, applied: true },
  });
  await asks('policy add id 5 mac 2:0:0:0:0:A dev vx0', {
    op: 'add',
    ...vx0,
    id: 5,
    mac: '02:00:00:00:00:0a',
  });
  await asks('policy del dev vx0', { op: 'del', ...vx0 });
  await asks('policy del dev vx0 vni 7', { op: 'del', ...vx0, vni: 7 });
  await asks('policy refuse dev vx0 id 0-65535', { op: 'refuse', ...vx0, id: [[0, 65535]] });
  await asks('policy allow dev vx0 id 5,7-9', {
    op: 'allow',
    ...vx0,
    id: [
      [5, 5],
      [7, 9],
    ],
  });
});

test('refusals are those of bridge, with its exit code', async () => {
  await refuses('vni add dev vx0', 'Device and VNI ID are required arguments.');
  await refuses('vni add vni 5', 'Device and VNI ID are required arguments.');
  await refuses('vni add vni x dev vx0', 'vni start nor end found in vni entry.');
  await refuses('vni add vni , dev vx0', 'vni start nor end found in vni entry.');
  await refuses(
    'vni add vni 5 group 10.0.0.1 dev vx0',
    'argument "10.0.0.1" is wrong: invalid group address',
  );
  await refuses(
    'vni add vni 5 group 239.0.0.1 remote 10.0.0.1 dev vx0',
    'argument "remote" is wrong: duplicate',
  );
  await refuses('vni add vni 5 vni 6 dev vx0', 'duplicate');
  await refuses('vni add vni 5 dev', 'ommand line is not complete');
  await refuses('vni add vni 5 dev vx0 more', 'unknown word "more"');
  await refuses('vni a vni 5 dev vx0', 'Command "a" is unknown, try "vxlane vni help"');
  await refuses('vni show dev vx2', 'Invalid argument', 1);
  await refuses('vni show dev nope', 'nope');
  await refuses('vlan add dev vx0 tunnel_info id 5', 'Device and VLAN ID are required arguments.');
  await refuses('vlan add dev vx0 vid 4096 tunnel_info id 5', 'Invalid VLAN ID "4096"');
  await refuses('vlan add dev vx0 vid x tunnel_info id 5', 'Invalid VLAN ID "x"');
  await refuses('vlan add dev vx0 vid 12-10 tunnel_info id 5', 'Invalid VLAN range "12-10"');
  await refuses('vlan add dev vx0 vid 10-4096 tunnel_info id 5', 'Invalid VLAN range "10-4096"');
  await refuses('vlan add dev vx0 vid 10 tunnel_info id 16777216', 'invalid tun id');
  await refuses('vlan add dev vx0 vid 10 tunnel_info vni 5', 'tunnel id expected');
  await refuses('vlan add dev vx0 vid 10', '"tunnel_info id VNI" is missing');
  await refuses('vlan nope', 'Command "nope" is unknown, try "vxlane vlan help"');
  await refuses('policy add dev vx0', 'a policy id is missing');
  await refuses('policy add id 5', 'Device is a required argument.');
  await refuses('policy add dev vx0 id 65536', 'invalid id');
  await refuses('policy add dev vx0 id 5 vni 1 mac 02:00:00:00:00:01', 'either "vni" or "mac"');
  await refuses('policy refuse dev vx0 id x', 'invalid id');
  await refuses('policy nope', 'Command "nope" is unknown');
});

test('what the daemon refuses leaves with 255 too', async () => {
  vtep.failing.add('vx1');
  const { code, err } = await vxlane('vni add vni 5 dev vx1');
  assert.deepEqual([code, err], [255, 'vxlane: Operation not supported\n']);
  vtep.failing.clear();
  const unknown = await vxlane('vni add vni 5 dev nope');
  assert.deepEqual([unknown.code, unknown.err], [255, 'vxlane: Cannot find device "nope"\n']);
});

test('help has examples that are commands', async () => {
  for (const object of ['vni', 'vlan', 'policy']) {
    const { code, out } = await vxlane(`${object} help`);
    assert.equal(code, 0);
    const examples = [...out.matchAll(/^ {2}vxlane (.*)$/gm)].map(([, line]) =>
      line!.replaceAll('vx0', 'vx0'),
    );
    assert.ok(examples.length > 4, out);
    for (const line of examples.filter((example) => example.includes(`${object} `))) {
      assert.deepEqual((await vxlane(line)).err, '', line);
    }
  }
});

const NONE = { bytes: 0, packets: 0, drops: 0, errors: 0 };
const info = (ifname: string, vni: number, more: Partial<VniInfo> = {}): VniInfo => ({
  ...{ ifname, vni, listed: true, stats: { rx: NONE, tx: NONE } },
  ...more,
});

describe('show', () => {
  before(() => {
    vtep.vnis = [
      info('vx0', 100),
      ...[200, 201, 202].map((vni) => info('vx0', vni, { vlan: vni - 100 })),
      info('vx0', 300, {
        remote: '192.0.2.2',
        stats: {
          rx: { bytes: 1, packets: 2, drops: 3, errors: 4 },
          tx: { bytes: 5, packets: 6, drops: 7, errors: 8 },
        },
      }),
      ...[301, 302, 303].map((vni) => info('vx0', vni, { group: '239.1.1.1' })),
      info('vx0', 304, { listed: false, vlan: 103, pvid: true }),
      info('vx0', 305, { listed: false, vlan: 104 }),
      info('vx1', 100, { vlan: 10, untagged: true, remote: '2001:db8::1' }),
    ];
    vtep.policies = [
      {
        ifname: 'vx0',
        sent: [
          { id: 5 },
          { id: 6, vni: 100, dontlearn: true },
          { id: 7, mac: '02:00:00:00:00:01', applied: true },
        ],
        refused: [
          [3, 3],
          [10, 20],
        ],
        received: [{ id: 5, packets: 17 }],
      },
    ];
  });

  test('vni, as bridge prints it', async () => {
    const header = 'dev               vni                group/remote\n';
    const vx0 =
      'vx0               100                \n' +
      '                  200-202            \n' +
      '                  300                192.0.2.2\n' +
      '                  301-303            239.1.1.1\n';
    assert.equal(
      (await vxlane('vni show')).out,
      `${header}${vx0}vx1               100                2001:db8::1\n`,
    );
    assert.equal((await vxlane('vni')).out, (await vxlane('vni show')).out);
    assert.equal((await vxlane('vni show dev vx0')).out, header + vx0);
    assert.equal(
      (await vxlane('-s vni show dev vx0')).out
        .split('\n')
        .slice(5 + 8, 5 + 11)
        .join('\n'),
      '                  300                192.0.2.2\n' +
        '                    RX: bytes 1 pkts 2 drops 3 errors 4 \n' +
        '                    TX: bytes 5 pkts 6 drops 7 errors 8 ',
    );
    assert.equal(
      (await vxlane('-j vni show dev vx0')).out,
      '[{"ifname":"vx0","vnis":[{"vni":100},{"vni":200,"vniEnd":202},{"vni":300,"remote":"192.0.2.2"},{"vni":301,"vniEnd":303,"group":"239.1.1.1"}]}]\n',
    );
    const [device] = JSON.parse((await vxlane('-j -s vni show dev vx0')).out);
    assert.equal(device.vnis.length, 8);
    assert.equal(
      JSON.stringify(device.vnis[4]),
      '{"vni":300,"remote":"192.0.2.2","stats":{"rx_bytes":1,"rx_pkts":2,"rx_drops":3,"rx_errors":4,"tx_bytes":5,"tx_pkts":6,"tx_drops":7,"tx_errors":8}}',
    );
    assert.match(
      (await vxlane('-j -p vni show')).out,
      /^\[ \{\n {8}"ifname": "vx0",\n {8}"vnis": \[ \{\n {16}"vni": 100\n {12}\},\{/,
    );
  });

  test('vlan, as bridge vlan tunnelshow prints it', async () => {
    const header = 'port              vlan-id    tunnel-id\n';
    const vx0 = 'vx0               100-102    200-202\n                  103-104    304-305\n';
    const vx1 = 'vx1               10         100\n';
    assert.equal((await vxlane('vlan tunnelshow')).out, header + vx0 + vx1);
    assert.equal((await vxlane('vlan show dev vx0')).out, header + vx0);
    assert.equal((await vxlane('vlan show vid 10')).out, header + vx1);
    assert.equal((await vxlane('vlan show vid 101')).out, `${header}vx0               100-102    200-202\n`);
    assert.equal(
      (await vxlane('-d vlan')).out,
      `${header}vx0               100-102    200-202\n                  103        304 PVID\n                  104        305\n` +
        'vx1               10         100 Egress Untagged\n',
    );
    assert.equal(
      (await vxlane('-j vlan show')).out,
      '[{"ifname":"vx0","tunnels":[{"vlan":100,"vlanEnd":102,"tunid":200,"tunidEnd":202},{"vlan":103,"vlanEnd":104,"tunid":304,"tunidEnd":305}]},{"ifname":"vx1","tunnels":[{"vlan":10,"tunid":100}]}]\n',
    );
  });

  test('policy', async () => {
    assert.equal(
      (await vxlane('policy show')).out,
      'vx0\n    send id 5\n    send id 6 vni 100 dontlearn\n    send id 7 mac 02:00:00:00:00:01 applied\n' +
        '    refuse id 3\n    refuse id 10-20\n    received id 5 packets 17\n',
    );
    assert.equal(
      (await vxlane('-j policy show dev vx0')).out,
      '[{"ifname":"vx0","sent":[{"id":5},{"id":6,"vni":100,"dontlearn":true},{"id":7,"mac":"02:00:00:00:00:01","applied":true}],"refused":[{"id":3},{"id":10,"idEnd":20}],"received":[{"id":5,"packets":17}]}]\n',
    );
  });

  test('nothing', async () => {
    assert.equal((await vxlane('vni show dev vx0')).code, 0);
    vtep.vnis = [];
    assert.equal((await vxlane('vni')).out, 'dev               vni                group/remote\n');
    assert.equal((await vxlane('-j vni')).out, '[]\n');
    assert.equal((await vxlane('-j vlan')).out, '[]\n');
  });
});

test('bodies of the control API', () => {
  const usage = (run: () => unknown, words: RegExp) => assert.throws(run, { code: 'USAGE', message: words });
  assert.deepEqual(parseVni({ op: 'add', dev: 'vx0', vni: 5 }), { op: 'add', dev: 'vx0', vni: [[5, 5]] });
  assert.deepEqual(parseVni({ op: 'add', dev: 'vx0', vni: '5,7-8', vlan: '10-12' }), {
    ...{
      op: 'add',
      dev: 'vx0',
      vni: [
        [5, 5],
        [7, 8],
      ],
      vlan: [10, 12],
    },
  });
  usage(() => parseVni({ op: 'replace', dev: 'vx0', vni: 5 }), /^op: add or del is expected/);
  usage(() => parseVni({ op: 'add', vni: 5 }), /^dev: missing/);
  usage(() => parseVni({ op: 'add', dev: 'vx0' }), /^vni: missing/);
  usage(() => parseVni({ op: 'add', dev: 'vx0', vni: [[1, 2, 3]] }), /vni/);
  usage(() => parseVni({ op: 'add', dev: 'vx0', vni: 5, colour: 1 }), /^colour: unknown key/);
  usage(() => parseVni([]), /a mapping of keys to values is expected/);
  assert.deepEqual(parsePolicy({ op: 'add', dev: 'vx0', id: 5 }), { op: 'add', dev: 'vx0', id: 5 });
  assert.deepEqual(parsePolicy({ op: 'del', dev: 'vx0', vni: 5 }), { op: 'del', dev: 'vx0', vni: 5 });
  assert.deepEqual(parsePolicy({ op: 'refuse', dev: 'vx0', id: '5-6' }), {
    op: 'refuse',
    dev: 'vx0',
    id: [[5, 6]],
  });
  usage(() => parsePolicy({ op: 'add', dev: 'vx0' }), /^id: missing/);
  usage(() => parsePolicy({ op: 'add', dev: 'vx0', id: '5-6' }), /one id is expected/);
  usage(() => parsePolicy({ op: 'add', dev: 'vx0', id: 'x' }), /^id: /);
  usage(() => parsePolicy({ op: 'grant', dev: 'vx0', id: 1 }), /^op: add, del, refuse or allow/);
});
