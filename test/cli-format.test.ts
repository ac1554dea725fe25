/** What is printed: golden texts, and the kernel's own tools side by side where there is a kernel device. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fdbObjects, fdbText } from '../src/cli/fdb-format.ts';
import { parseChange } from '../src/cli/fdb-words.ts';
import { toJson } from '../src/cli/json.ts';
import { linkObjects, linkTable, linkTableObjects, linkText } from '../src/cli/link-format.ts';
import { ratesBetween } from '../src/cli/status.ts';
import { reason, scaled, statusText } from '../src/cli/status-format.ts';
import { completeDevice } from '../src/daemon/schema.ts';
import { COUNTERS } from '../src/dataplane/counters.ts';
import type { DeviceInfo, FdbEntry, VtepStatus } from '../src/types.ts';
import { FakeVtep } from './support/fake-vtep.ts';

const ENTRIES: FdbEntry[] = [
  {
    mac: '02:00:00:00:00:17',
    ifname: 'vx0',
    dst: '192.0.2.3',
    port: 5000,
    vni: 77,
    viaIf: 'v0',
    used: 5,
    updated: 9,
    flags: ['self'],
    state: '',
  },
  {
    mac: '00:00:00:00:00:00',
    ifname: 'vx1',
    dst: '::',
    used: 0,
    updated: 0,
    flags: ['self', 'router'],
    state: 'permanent',
  },
];

test('fdb text', () => {
  assert.equal(
    fdbText(ENTRIES, { oneDevice: false, ages: false }),
    '02:00:00:00:00:17 dev vx0 dst 192.0.2.3 port 5000 vni 77 via v0 self \n' +
      '00:00:00:00:00:00 dev vx1 dst :: self router permanent\n',
  );
  assert.equal(
    fdbText(ENTRIES.slice(0, 1), { oneDevice: true, ages: true }),
    '02:00:00:00:00:17 dst 192.0.2.3 port 5000 vni 77 via v0 used 5/9 self \n',
  );
});

test('fdb JSON', () => {
  const one = ENTRIES.slice(0, 1);
  assert.equal(
    toJson(fdbObjects(one, { oneDevice: false, ages: true }), false),
    '[{"mac":"02:00:00:00:00:17","ifname":"vx0","dst":"192.0.2.3","port":5000,"vni":77,"viaIf":"v0","used":5,"updated":9,"flags":["self"],"state":""}]\n',
  );
  assert.equal(
    toJson(fdbObjects(ENTRIES.slice(1), { oneDevice: true, ages: false }), true),
    '[ {\n        "mac": "00:00:00:00:00:00",\n        "dst": "::",\n        "flags": [ "self","router" ],\n        "state": "permanent"\n    } ]\n',
  );
  assert.equal(toJson([], false), '[]\n');
  assert.equal(toJson([], true), '[ ]\n');
});

/** Runs a script where a vxlan device of the kernel can be made; undefined where none can. */
function inNamespace(script: string): string | undefined {
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  const { status, stdout } = spawnSync('unshare', [flags, 'sh', '-ec', script], { encoding: 'utf8' });
  return status === 0 ? stdout : undefined;
}

const DEVICES = 'ip link add vx0 type vxlan id 42 dstport 4789 remote 192.0.2.9 dev lo; ip link set vx0 up';
const CHANGES = [
  'add 02:00:00:00:00:07 dev vx0 dst 192.0.2.7 port 8472 vni 43 via lo',
  'add 02:00:00:00:00:08 dev vx0 dst 192.0.2.7 dynamic extern_learn',
  'add 02:00:00:00:00:09 dev vx0 dst 192.0.2.7 dynamic',
  'add 02:00:00:00:00:0a dev vx0 dst 192.0.2.7 static router',
  'add 02:00:00:00:00:0b dev vx0 dst 0.0.0.0',
  'append 00:00:00:00:00:00 dev vx0 dst 192.0.2.10 port 0x10',
  'append ff:ff:ff:ff:ff:ff dev vx0 dst 192.0.2.11',
  'append 02:00:00:00:00:09 dev vx0 dst 192.0.2.8 temp',
  'replace 02:00:00:00:00:0a dev vx0 dst 192.0.2.12 vni 42 port 4789',
  'add 02:00:00:00:00:0c dev vx0 dst 192.0.2.7 sticky',
  'del 02:00:00:00:00:0b dev vx0',
];
const VIEWS: [options: string, ages: boolean, oneDevice: boolean][] = [
  ['fdb show', false, false],
  ['fdb show dev vx0', false, true],
  ['-s fdb show', true, false],
  ['-s fdb show dev vx0', true, true],
];

test('byte by byte what bridge prints', async (t) => {
  const script = [
    DEVICES,
    ...CHANGES.map((change) => `bridge fdb ${change}`),
    ...['', '-j', '-j -p'].flatMap((form) => VIEWS.map(([view]) => `bridge ${form} ${view}; printf '\\0'`)),
  ].join('; ');
  const printed = inNamespace(script)?.split('\0');
  if (printed === undefined) return t.skip('no vxlan device of the kernel can be made here');

  // 1. The formatter, fed with the kernel's entries.
  const entries = (JSON.parse(printed[VIEWS.length + 2]!) as FdbEntry[]).map((entry) => ({
    ...entry,
    used: 0,
    updated: 0,
  }));
  const still = (text: string) =>
    text.replace(/used \d+\/\d+/g, 'used 0/0').replace(/("(used|updated)": ?)\d+/g, '$10');
  for (const [index, [view, ages, oneDevice]] of VIEWS.entries()) {
    const form = { ages, oneDevice };
    assert.equal(fdbText(entries, form), still(printed[index]!), view);
    assert.equal(
      toJson(fdbObjects(entries, form), false),
      still(printed[VIEWS.length + index]!),
      `-j ${view}`,
    );
    assert.equal(
      toJson(fdbObjects(entries, form), true),
      still(printed[2 * VIEWS.length + index]!),
      `-j -p ${view}`,
    );
  }

  // 2. The same commands, read by our words and carried out by the stand-in.
  const vtep = new FakeVtep();
  await vtep.addDevice(
    completeDevice({ name: 'vx0', id: 42, dstport: 4789, remote: '192.0.2.9', dev: 'lo' }),
  );
  for (const change of CHANGES) {
    const [op, ...words] = change.split(' ');
    vtep.fdb(parseChange(op as 'add', words));
  }
  const lines = (text: string) => text.split('\n').sort();
  assert.deepEqual(lines(fdbText(vtep.fdbShow(), { oneDevice: false, ages: false })), lines(printed[0]!));
});

const none = { bytes: 0, packets: 0, errors: 0, dropped: 0 };
const PLAIN: DeviceInfo = {
  config: {
    ...completeDevice({ name: 'vx0', id: 42, dstport: 4789 }),
    address: '02:00:00:00:00:01',
    mtu: 1500,
  },
  ifindex: 3,
  number: 1,
  up: false,
  stats: { rx: none, tx: none },
};
const FULL: DeviceInfo = {
  config: {
    ...completeDevice({
      name: 'vx1',
      id: 43,
      remote: '2001:db8::2',
      local: '2001:db8::1',
      dev: 'eth0',
      srcport: [1, 2],
      tos: 16,
      ttl: 'inherit',
      df: 'set',
      ageing: 60,
      maxaddress: 4,
      learning: false,
      udpcsum: false,
      udp6zerocsumtx: true,
      udp6zerocsumrx: true,
    }),
    address: '02:00:00:00:00:02',
    mtu: 1430,
  },
  ifindex: 4,
  number: 2,
  up: true,
  stats: {
    rx: { bytes: 12345678901, packets: 5, errors: 1, dropped: 0, frame_errors: 1 },
    tx: { bytes: 10, packets: 2, errors: 3, dropped: 4, carrier_errors: 3, collisions: 2, aborted_errors: 1 },
  },
};

test('link text', () => {
  assert.equal(
    linkText([PLAIN, FULL], { details: false, statistics: 0 }),
    `3: vx0: <BROADCAST,MULTICAST> mtu 1500 state DOWN
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
4: vx1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1430 state UNKNOWN
    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff
`,
  );
  const details = linkText([PLAIN, FULL], { details: true, statistics: 0 }).split('\n');
  assert.equal(
    details[2],
    '    vxlan id 42 srcport 0 0 dstport 4789 ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff ',
  );
  assert.equal(
    details[5],
    '    vxlan id 43 remote 2001:db8::2 local 2001:db8::1 dev eth0 srcport 1 2 dstport 8472 tos 0x10 ttl inherit df set ' +
      'ageing 60 maxaddr 4 reserved_bits 0xf7ffffff000000ff nolearning noudp_csum udp_zero_csum6_tx udp_zero_csum6_rx ',
  );
});

/** What `ip -d [-d] link show` of iproute2 7.1 prints on Linux 6.18 for the same words, less what is the interface's. */
const SHOWN: [device: Parameters<typeof completeDevice>[0], text: string, data: Record<string, unknown>][] = [
  [
    { name: 'v', id: 1, reserved_bits: '0x0' },
    'id 1 srcport 0 0 dstport 8472 ttl auto ageing 300 reserved_bits 0 noexternal learning noproxy norsc nol2miss nol3miss udp_csum noudp_zero_csum6_tx noudp_zero_csum6_rx noremcsum_tx noremcsum_rx localbypass',
    { reserved_bits: '0' },
  ],
  [
    { name: 'v', id: 1, gbp: true, remcsumrx: true, localbypass: false, local: '2001:db8::1', flowlabel: 5 },
    'id 1 local 2001:db8::1 srcport 0 0 dstport 8472 ttl auto flowlabel 0x5 ageing 300 reserved_bits 0x7700000000000000 gbp remcsum_rx nolocalbypass',
    { local6: '2001:db8::1', label: '0x5', gbp: null, remcsum_rx: true, localbypass: false },
  ],
  [
    { name: 'v', external: true },
    'id 0 srcport 0 0 dstport 8472 ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff external nolearning',
    { id: 0, external: true, learning: false, vnifilter: undefined },
  ],
  [
    { name: 'v', external: true, vnifilter: true, gpe: true },
    'id 0 srcport 0 0 dstport 4790 ttl auto ageing 300 reserved_bits 0xc2ffff00000000ff gpe external vnifilter nolearning',
    { port: 4790, gpe: null, external: true, vnifilter: true },
  ],
  [
    { name: 'v', id: 1, dev: 'lo', group: '239.1.1.1', tos: 'inherit' },
    'id 1 group 239.1.1.1 dev lo srcport 0 0 dstport 8472 tos inherit ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff',
    { group: '239.1.1.1', link: 'lo', tos: '0x1' },
  ],
  [
    { name: 'v', id: 1, proxy: true, rsc: true, l2miss: true, l3miss: true, remcsumtx: true },
    'id 1 srcport 0 0 dstport 8472 ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff proxy rsc l2miss l3miss remcsum_tx',
    { proxy: true, rsc: true, l2miss: true, l3miss: true, remcsum_tx: true },
  ],
  [
    {
      name: 'v',
      id: 1,
      local: '192.0.2.1',
      gbp: true,
      bind: true,
      listen: [4789, 8473],
      policy: 7,
      flowlabel: 'inherit',
    },
    'id 1 local 192.0.2.1 srcport 0 0 dstport 8472 ttl auto flowlabel inherit ageing 300 reserved_bits 0x77000000000000ff gbp bind listen 4789,8473 policy 7',
    { bind: true, listen: [4789, 8473], policy: 7, label: 'inherit' },
  ],
  [
    {
      ...{ name: 'v', id: 1, proxy: true, gbp: true, ageing: 'never' },
      ...{ proxyforward: true, latelearning: true, honourdontlearn: true, knownsenders: true },
    },
    'id 1 srcport 0 0 dstport 8472 ttl auto ageing never reserved_bits 0x77000000000000ff gbp proxy proxyforward latelearning honourdontlearn knownsenders',
    {
      ...{ ageing: 'never', proxyforward: true, latelearning: true },
      ...{ honourdontlearn: true, knownsenders: true },
    },
  ],
  [
    { name: 'v', id: 1, gso: 'tunnel', gro: false, uso: false },
    'id 1 srcport 0 0 dstport 8472 ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff gso tunnel gro off uso off',
    { gso: 'tunnel', gro: 'off', uso: 'off' },
  ],
  [
    { name: 'v', id: 1, gso: 'on', gro: true, uso: true },
    'id 1 srcport 0 0 dstport 8472 ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff',
    { gso: undefined, gro: undefined, uso: undefined },
  ],
  [
    { name: 'v', id: 1, proxy: true, proxyforward: false, knownsenders: false },
    'id 1 srcport 0 0 dstport 8472 ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff proxy',
    { proxyforward: undefined, latelearning: undefined, knownsenders: undefined },
  ],
];

test('link details: every option in its place', () => {
  for (const [device, text, data] of SHOWN) {
    const info = { ...PLAIN, config: { ...PLAIN.config, ...completeDevice(device) } };
    const everything = device.reserved_bits !== undefined;
    const form = { details: true, everything, statistics: 0 };
    assert.equal(linkText([info], form).split('\n')[2], `    vxlan ${text} `);
    const [object] = linkObjects([info], form) as [{ linkinfo: { info_data: Record<string, unknown> } }];
    const shown = object.linkinfo.info_data;
    for (const [key, value] of Object.entries(data)) assert.deepEqual(shown[key], value, `${text}: ${key}`);
  }
});

test('link on one line, as a table, and without Ethernet header', () => {
  const naked = { ...FULL, config: { ...FULL.config, gpe: true } };
  assert.equal(
    linkText([PLAIN, naked], { details: false, statistics: 0, oneline: true }),
    '3: vx0: <BROADCAST,MULTICAST> mtu 1500 state DOWN\\    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n' +
      '4: vx1: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1430 state UNKNOWN\\    link/none \n',
  );
  assert.equal(
    linkTable([PLAIN, naked]),
    'vx0              DOWN           02:00:00:00:00:01 <BROADCAST,MULTICAST> \n' +
      'vx1              UNKNOWN        <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> \n',
  );
  assert.equal(
    toJson(linkTableObjects([PLAIN, naked]), false),
    '[{"ifname":"vx0","operstate":"DOWN","address":"02:00:00:00:00:01","flags":["BROADCAST","MULTICAST"]},' +
      '{"ifname":"vx1","operstate":"UNKNOWN","flags":["POINTOPOINT","MULTICAST","NOARP","UP","LOWER_UP"]}]\n',
  );
});

test('link statistics widen their columns', () => {
  const [, , ...lines] = linkText([FULL], { details: false, statistics: 1 }).split('\n');
  assert.deepEqual(lines, [
    '    RX:   bytes packets errors dropped  missed   mcast           ',
    '    12345678901       5      1       0       0       0 ',
    '    TX:   bytes packets errors dropped carrier collsns           ',
    '             10       2      3       4       3       2 ',
    '',
  ]);
  const kinds = linkText([FULL], { details: false, statistics: 2 });
  assert.match(
    kinds,
    / {4}RX errors: {3}length {4}crc {3}frame {4}fifo overrun\n {22}0 {6}0 {7}1 {7}0 {7}0 \n/,
  );
  assert.match(
    kinds,
    / {4}TX errors: {2}aborted {3}fifo {2}window heartbt transns\n {22}1 {6}0 {7}0 {7}0 {7}0 \n/,
  );
  const [object] = linkObjects([FULL], { details: false, statistics: 2 }) as [{ stats64: { tx: object } }];
  assert.deepEqual(object.stats64.tx, {
    bytes: 10,
    packets: 2,
    errors: 3,
    dropped: 4,
    carrier_errors: 3,
    collisions: 2,
    aborted_errors: 1,
    fifo_errors: 0,
    window_errors: 0,
    heartbeat_errors: 0,
    carrier_changes: 0,
  });
});

test('link JSON', () => {
  const [plain, full] = linkObjects([PLAIN, FULL], { details: true, statistics: 1 });
  assert.deepEqual(JSON.parse(JSON.stringify(plain)), {
    ifindex: 3,
    ifname: 'vx0',
    flags: ['BROADCAST', 'MULTICAST'],
    mtu: 1500,
    operstate: 'DOWN',
    link_type: 'ether',
    address: '02:00:00:00:00:01',
    broadcast: 'ff:ff:ff:ff:ff:ff',
    linkinfo: {
      info_kind: 'vxlan',
      info_data: {
        id: 42,
        port_range: { low: 0, high: 0 },
        port: 4789,
        ttl: 0,
        df: 'unset',
        ageing: 300,
        reserved_bits: '0xf7ffffff000000ff',
        external: false,
        learning: true,
        proxy: false,
        rsc: false,
        l2miss: false,
        l3miss: false,
        udp_csum: true,
        udp_zero_csum6_tx: false,
        udp_zero_csum6_rx: false,
        remcsum_tx: false,
        remcsum_rx: false,
        localbypass: true,
      },
    },
    stats64: {
      rx: { bytes: 0, packets: 0, errors: 0, dropped: 0, over_errors: 0, multicast: 0 },
      tx: { bytes: 0, packets: 0, errors: 0, dropped: 0, carrier_errors: 0, collisions: 0 },
    },
  });
  const data = (full as { linkinfo: { info_data: Record<string, unknown> } }).linkinfo.info_data;
  assert.deepEqual(
    [data.remote6, data.local6, data.link, data.tos, data.ttl, data.limit],
    ['2001:db8::2', '2001:db8::1', 'eth0', '0x10', undefined, 4],
  );
});

test('status text: rates from two samples, drops in words', () => {
  const vtep = new FakeVtep();
  const worker = { name: 'encap 0', packets: 0, bytes: 0, batches: 0, syscalls: 0, sleeps: 0 };
  const before: VtepStatus = { ...vtep.status(), devices: [FULL], workers: [worker] };
  const busy = { ...FULL.stats.tx, packets: 1_000_002, bytes: 1_250_000_010 };
  const after: VtepStatus = {
    lostEvents: 7,
    ...before,
    devices: [{ ...FULL, stats: { ...FULL.stats, tx: busy } }],
    workers: [
      { ...worker, packets: 1_000_000, bytes: 1_250_000_000, batches: 20_000, syscalls: 40_000, sleeps: 3 },
    ],
    listeners: [{ family: 'inet6', port: 8472, devices: ['vx1'] }],
    counters: {
      vx1: { drop_no_target: 7, fdb_learned: 2, encap_packets: 9 },
      '': { drop_unknown_vni: 1, drop_new_thing: 1 },
    },
  };
  const text = statusText(after, ratesBetween(before, after, 1));
  assert.equal(
    text,
    `version   0.0.0-fake, pid ${process.pid}, up 1h2m3s
engine    batched, simd WebAssembly, 64 MiB of shared memory
offloads  udp-segment on
          tap-uso off: Linux 6.2 or newer is needed
fdb       0 of 65536 entries
events    7 lost: more was learned and missed at once than there is room for
listening UDP 8472 IPv6: vx1

DEVICE  STATE  VNI  RX PKT/S  RX BIT/S  TX PKT/S  TX BIT/S  RX DROPS  TX DROPS
vx1        up   43         0         0     1.00M     10.0G         1         7

WORKER   PKT/S  BIT/S  PKT/BATCH  SYSCALLS/S  SLEEPS/S
encap 0  1.00M  10.0G       50.0       40.0k         3

DEVICE  COUNT  PER SECOND  DROPPED BECAUSE
vx1         7           7  no FDB entry for the destination and no default remote
-           1           1  no device for this VNI
-           1           1  new thing

DEVICE  COUNT  PER SECOND  COUNTER
vx1         2           2  fdb learned
`,
  );
  assert.deepEqual(
    [scaled(0), scaled(9.4, 'B'), scaled(12345), scaled(1e10, 'bit/s')],
    ['0', '9 B', '12.3k', '10.0 Gbit/s'],
  );
});

test('every drop has its reason in words', () => {
  const drops = Object.keys(COUNTERS).filter((name) => name.startsWith('drop_'));
  assert.ok(drops.length > 20);
  for (const name of drops)
    assert.notEqual(reason(name), name.slice('drop_'.length).replaceAll('_', ' '), name);
});
