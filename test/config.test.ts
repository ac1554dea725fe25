/** The configuration file: what it becomes, and where and why it is refused. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig, readConfig } from '../src/daemon/config.ts';
import { VtepError } from '../src/errors.ts';
import { deviceConfig } from './support/device-config.ts';

const { name: _name, id: _id, ...DEFAULTS } = deviceConfig({ dstport: 8472 });

async function refuses(text: string, message: string): Promise<void> {
  await assert.rejects(readConfig(text, 'f.yaml'), (error: unknown) => {
    assert.ok(error instanceof VtepError, String(error));
    assert.equal(error.message, message);
    return true;
  });
}

test('the example', async () => {
  const config = await loadConfig(fileURLToPath(new URL('../examples/flannel.yaml', import.meta.url)));
  assert.deepEqual(config, {
    devices: [
      {
        device: {
          ...DEFAULTS,
          name: 'flannel.1',
          id: 1,
          address: '46:4d:ab:d0:69:e1',
          dev: 'eth0',
          local: '10.169.72.93',
          learning: false,
        },
        up: true,
        vnis: [],
        mdb: [],
        peers: [],
        hooks: [],
        fdb: [
          { op: 'add', dev: 'flannel.1', mac: '36:3c:de:36:68:58', dst: '10.169.72.98' },
          { op: 'add', dev: 'flannel.1', mac: '8a:51:0f:5c:02:7d', dst: '10.169.72.99' },
        ],
      },
    ],
  });
});

test('the example of every key', async () => {
  const { devices } = await loadConfig(fileURLToPath(new URL('../examples/devices.yaml', import.meta.url)));
  const [vx0, vx1] = devices;
  assert.deepEqual(vx0?.device, {
    ...DEFAULTS,
    name: 'vx0',
    id: 42,
    local: '192.0.2.1',
    remote: '192.0.2.2',
    dev: 'eth0',
    bind: false,
    listen: [4789],
    gbp: true,
    policy: 7,
  });
  const all = { op: 'append', dev: 'vx0', mac: '00:00:00:00:00:00', dst: '192.0.2.3' };
  const far = { op: 'add', dev: 'vx0', mac: '02:00:00:00:00:07', dst: '192.0.2.7' };
  assert.deepEqual(vx0?.fdb, [
    all,
    { ...far, port: 4789, vni: 43, via: 'eth0', state: 'static', router: true },
    { op: 'add', dev: 'vx0', mac: '02:00:00:00:00:08', nhid: 10 },
  ]);
  const group = { op: 'add', dev: 'vx0', dst: '192.0.2.3' };
  assert.deepEqual(vx0?.mdb, [
    { ...group, grp: '239.1.1.1' },
    {
      ...group,
      grp: '239.1.1.2',
      filter_mode: 'include',
      source_list: ['10.0.0.7'],
      dst_port: 4789,
      vni: 43,
    },
  ]);
  assert.deepEqual(vx0?.peers, [
    { ...{ op: 'set', dev: 'vx0', mac: '02:00:00:00:00:07', src: '192.0.2.7' }, prefixes: ['10.244.7.0/24'] },
  ]);
  const vnis = { op: 'add', dev: 'vx1' };
  assert.deepEqual(vx1, {
    device: {
      ...DEFAULTS,
      name: 'vx1',
      id: 0,
      external: true,
      vnifilter: true,
      learning: false,
      dstport: 4789,
      local: '192.0.2.1',
      dev: 'eth0',
    },
    up: false,
    vnis: [
      { ...vnis, vni: [[100, 100]], remote: '192.0.2.2' },
      { ...vnis, vni: [[100, 100]], vlan: [10, 10], pvid: true, untagged: true },
      { ...vnis, vni: [[200, 209]] },
      { ...vnis, vni: [[200, 209]], vlan: [20, 29] },
      {
        ...vnis,
        vni: [
          [300, 300],
          [302, 302],
        ],
        group: '239.1.1.1',
      },
    ],
    fdb: [{ ...far, dev: 'vx1', src_vni: 200 }],
    mdb: [],
    peers: [],
    hooks: [],
  });
});

test('what is wrong with VNIs, groups and states', async () => {
  const external = (...lines: string[]) =>
    `devices:\n  - name: vx0\n    external: true\n    vnifilter: true\n    vnis:\n${lines.map((l) => `      - ${l}\n`).join('')}`;
  for (const [key, why, ...list] of [
    ['vni', 'vni start nor end found in vni entry. Give VNIs as in 100,200-205', '{ vni: x }'],
    ['vlan', 'Invalid VLAN ID "4096": VLANs are 1 to 4094', '{ vni: 1, vlan: 4096 }'],
    ['vni', 'one of these VNIs is there twice', '{ vni: 1-9 }', '{ vni: "5" }'],
    ['vlan', 'one of these VLANs is there twice', '{ vni: 1-9, vlan: 3 }', '{ vni: 10, vlan: 11 }'],
    ['vlan', '9 VNIs need as many VLANs', '{ vni: 1-9, vlan: 3-4 }'],
    ['vlan', 'the last of these VLANs would be above 4094', '{ vni: 1-9, vlan: 4090 }'],
    ['vlan', 'missing: "pvid" and "untagged" are said of a VLAN', '{ vni: 1, pvid: true }'],
    ['pvid', 'untagged frames are of one VLAN', '{ vni: 1-2, vlan: 3, pvid: true }'],
    ['group', 'Local interface required for multicast remote group.', '{ vni: 1, group: 239.1.1.1 }'],
    ['group', 'both group and remote cannot be specified', '{ vni: 1, remote: 192.0.2.1, group: 239.1.1.1 }'],
  ] as [string, string, ...string[]][]) {
    const last = list.length - 1;
    // The place of the value, or of the entry that lacks it.
    const found = list[last]!.indexOf(`${key}: `);
    const column = 9 + (found < 0 ? 0 : found + key.length + 2);
    await refuses(
      external(...list),
      `config f.yaml:${6 + last}:${column}: devices[0].vnis[${last}].${key}: ${why}`,
    );
  }
  await refuses(
    'devices:\n  - { name: vx0, external: true, vnis: [{ vni: 5 }] }\n',
    'config f.yaml:2:41: devices[0].vnis[0].vlan: missing: without "vnifilter: true" those VNIs are received that have a VLAN',
  );
  await refuses(
    'devices:\n  - { name: vx0, external: true, vnis: [{ vni: 5, vlan: 5, remote: 192.0.2.1 }] }\n',
    'config f.yaml:2:68: devices[0].vnis[0].remote: only with "vnifilter: true" has a VNI a destination of its own: give it in "fdb", with "src_vni"',
  );
  await refuses(
    'devices:\n  - { name: vx0, id: 1, vnis: [{ vni: 5 }] }\n',
    'config f.yaml:2:31: devices[0].vnis: only an external device has many VNIs: say "external: true"',
  );
  await refuses(
    'devices:\n  - { name: vx0, id: 1, mdb: [{ dst: 192.0.2.1 }] }\n',
    'config f.yaml:2:31: devices[0].mdb[0].grp: missing',
  );
  const { devices } = await readConfig(
    'devices: [{ name: vx0, id: 1, fdb: [{ mac: 2:0:0:0:0:1, dst: 192.0.2.7, state: temp }] }]',
    'f.yaml',
  );
  assert.equal(devices[0]?.fdb[0]?.state, 'static');
});

test('without vnifilter the VLANs of a device say which VNIs it has', async () => {
  const { devices } = await readConfig(
    'devices: [{ name: vx0, external: true, vnis: [{ vni: "5,7", vlan: 10 }] }]',
    'f.yaml',
  );
  const vni = [
    [5, 5],
    [7, 7],
  ];
  assert.deepEqual(devices[0]?.vnis, [{ op: 'add', dev: 'vx0', vni, vlan: [10, 11] }]);
});

test('a config is frozen to its depths', async () => {
  const config = await readConfig('devices: [{ name: vx0, id: 1, srcport: [1, 2] }]', 'f.yaml');
  assert.ok(Object.isFrozen(config.devices) && Object.isFrozen(config.devices[0]!.device.srcport));
});

test('every key, in the words of the command line', async () => {
  const { devices, ...rest } = await readConfig(
    `
socket: /tmp/x.sock
queues: 2
offloads: { udpSegment: false, coalesce: true }
devices:
  - { name: vx0, vni: "0x2a", remote: 2001:DB8::2, local: "::", mtu: 1430, dstport: 0, ttl: auto, tos: AF11,
      df: inherit, ageing: none, maxaddress: unlimited, nolearning: true, noudpcsum: true, noproxy: true,
      udp6zerocsumrx: true, up: false }
  - name: vx1
    id: 43
    tos: inherit
    ttl: inherit
    fdb:
      - { mac: 00:00:00:00:00:00, dst: 192.0.2.2, port: 0 }
      - { mac: 02:00:00:00:00:07, dst: 192.0.2.7, port: 4789, vni: 7, via: eth0, state: static }
`,
    'f.yaml',
  );
  assert.deepEqual(rest, {
    socket: '/tmp/x.sock',
    queues: 2,
    offloads: { udpSegment: false, coalesce: true },
  });
  assert.deepEqual(devices[0], {
    device: {
      ...DEFAULTS,
      name: 'vx0',
      id: 42,
      remote: '2001:db8::2',
      local: '::',
      mtu: 1430,
      tos: 0x28,
      df: 'inherit',
      learning: false,
      udpcsum: false,
      udp6zerocsumrx: true,
    },
    up: false,
    vnis: [],
    fdb: [],
    mdb: [],
    peers: [],
    hooks: [],
  });
  assert.equal(devices[1]!.device.ttl, 'inherit');
  assert.deepEqual(devices[1]!.fdb, [
    { op: 'append', dev: 'vx1', mac: '00:00:00:00:00:00', dst: '192.0.2.2' },
    {
      op: 'add',
      dev: 'vx1',
      mac: '02:00:00:00:00:07',
      dst: '192.0.2.7',
      port: 4789,
      vni: 7,
      via: 'eth0',
      state: 'static',
    },
  ]);
});

test('JSON is YAML; an empty file is an empty config', async () => {
  assert.equal((await readConfig('{"devices": [{"name": "vx0", "id": 1}]}', 'f.json')).devices.length, 1);
  assert.deepEqual(await readConfig('# nothing\n', 'f.yaml'), { devices: [] });
});

test('refusals name file, line, column and key', async () => {
  const devices = (...lines: string[]) =>
    `devices:\n  - name: vx0\n    id: 1\n${lines.map((l) => `    ${l}\n`).join('')}`;
  const at = 'config f.yaml:4:';
  await refuses(
    'devices:\n  - name: vx0\n    id: 16777216\n',
    'config f.yaml:3:9: devices[0].id: invalid id: a VNI is a number from 0 to 16777215',
  );
  await refuses(
    'devices:\n  - name: vx0\n',
    'config f.yaml:2:5: devices[0].id: missing virtual network identifier',
  );
  await refuses('devices:\n  - id: 1\n', 'config f.yaml:2:5: devices[0].name: missing');
  await refuses(devices('df: yes'), `${at}9: devices[0].df: DF must be 'unset', 'set' or 'inherit'`);
  await refuses(devices('learning: 1'), `${at}15: devices[0].learning: true or false is expected`);
  await refuses(
    devices('srcport: [5, 4]'),
    `${at}14: devices[0].srcport: Invalid source port range: MIN is greater than MAX`,
  );
  await refuses(
    devices('mcroute: true'),
    `${at}14: devices[0].mcroute: "mcroute" is not supported: the host's multicast routing can't be reached from a socket: leave it out, groups go out through "dev"`,
  );
  await refuses(
    devices('flowlabel: 5'),
    `${at}16: devices[0].flowlabel: Label attribute only applies to IPv6 VXLAN devices.`,
  );
  await refuses(
    devices('vnifilter: true'),
    `${at}16: devices[0].vnifilter: vxlan vnifilter only valid in collect metadata mode: say "external" too`,
  );
  await refuses(
    devices('local: 192.0.2.1', 'remote: 2001:db8::2'),
    `${at}12: devices[0].local: Local and remote address must be from the same family`,
  );
  await refuses(
    devices('fdb:', '  - { mac: 02:00:00:00:00:07 }'),
    'config f.yaml:5:9: devices[0].fdb[0].dst: missing: the address of the far VTEP',
  );
  await refuses(
    devices('fdb:', '  - { mac: x, dst: 192.0.2.7 }'),
    'config f.yaml:5:16: devices[0].fdb[0].mac: Invalid mac address x: write it as aa:bb:cc:dd:ee:ff',
  );
  await refuses(
    `${devices()}  - name: vx0\n    id: 2\n`,
    'config f.yaml:4:11: devices[1].name: "vx0" is there twice',
  );
  await refuses(
    `${devices()}  - name: vx1\n    id: 1\n`,
    'config f.yaml:5:9: devices[1].id: A VXLAN device with the specified VNI already exists, give one of them another dstport',
  );
  await refuses(
    'device: []\n',
    'config f.yaml:1:9: device: unknown key: socket, queues, threads, spin, engine, offloads, flannel, health, devices are known',
  );
  await refuses('threads: 3\n', 'config f.yaml:1:10: threads: threads of a queue are 1 or 2');
  await refuses('spin: -1\n', 'config f.yaml:1:7: spin: microseconds, 0 to 100000: 0 is none');
  await refuses('engine: fast\n', 'config f.yaml:1:9: engine: auto, batched or uring is expected');
  await refuses('queues: 9\n', 'config f.yaml:1:9: queues: the number of queues is 1 to 8');
  await refuses('- a\n', 'config f.yaml:1:1: a mapping of keys to values is expected');
  await refuses('devices: 5\n', 'config f.yaml:1:10: devices: a list of devices is expected');
});

test('broken YAML is refused with its place, in one line', async () => {
  await assert.rejects(readConfig('devices:\n  - {name: vx0\n', 'f.yaml'), (error: Error) => {
    assert.match(error.message, /^config f\.yaml:\d+:\d+: [^\n]+$/);
    return true;
  });
  await assert.rejects(
    readConfig('a: 1\na: 2\n', 'f.yaml'),
    /^VtepError: config f\.yaml:2:1: Map keys must be unique/,
  );
});

test('a file that is not there', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  try {
    await assert.rejects(loadConfig(join(directory, 'no.yaml')), /no\.yaml: no such file/);
    await writeFile(join(directory, 'a.yaml'), 'queues: 1\n');
    assert.equal((await loadConfig(join(directory, 'a.yaml'))).queues, 1);
  } finally {
    await rm(directory, { recursive: true });
  }
});
