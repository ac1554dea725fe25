/** The keyword grammar: every option, abbreviations, limits, and every refusal with its one line and code. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalise } from '../src/cli/argv.ts';
import { parseAdd, parseName, parseRun, parseSet } from '../src/cli/device-words.ts';
import { parseChange, parseFlush, parseGet, parseShow } from '../src/cli/fdb-words.ts';
import { VtepError, type VtepErrorCode } from '../src/errors.ts';

const split = (line: string) => line.split(' ').filter((word) => word !== '');
const add = (options: string) => {
  const { name, ...device } = parseAdd(split(`vx0 type vxlan id 42 ${options}`)).device;
  return device;
};

function refuses(run: () => unknown, code: VtepErrorCode, message: string): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof VtepError, String(error));
    assert.deepEqual([error.code, error.message], [code, message]);
    return true;
  });
}

const OPTIONS: [words: string, device: Record<string, unknown>][] = [
  ['remote 192.0.2.2', { remote: '192.0.2.2' }],
  ['remote 2001:DB8:0::2', { remote: '2001:db8::2' }],
  ['local 192.0.2.1', { local: '192.0.2.1' }],
  ['local ::', { local: '::' }],
  ['dev eth0', { dev: 'eth0' }],
  ['dstport 4789', { dstport: 4789 }],
  ['dstport 0', { dstport: 8472 }],
  ['dstport 0x12b5', { dstport: 4789 }],
  ['dstport 011265', { dstport: 4789 }],
  ['srcport 49152 65535', { srcport: [49152, 65535] }],
  ['learning', { learning: true }],
  ['nolearning', { learning: false }],
  ['ageing 60', { ageing: 60 }],
  ['ageing none', { ageing: 300 }],
  ['ageing 0', { ageing: 300 }],
  ['maxaddress 1000', { maxaddress: 1000 }],
  ['maxaddress unlimited', { maxaddress: 0 }],
  ['ttl 64', { ttl: 64 }],
  ['ttl auto', { ttl: 0 }],
  ['ttl inherit', { ttl: 'inherit' }],
  ['tos 0x10', { tos: 16 }],
  ['tos 10', { tos: 16 }],
  ['tos 1', { tos: 'inherit' }],
  ['tos inherit', { tos: 'inherit' }],
  ['tos AF11', { tos: 0x28 }],
  ['df unset', { df: 'unset' }],
  ['df set', { df: 'set' }],
  ['df inherit', { df: 'inherit' }],
  ['udpcsum', { udpcsum: true }],
  ['noudpcsum', { udpcsum: false }],
  ['udp6zerocsumtx', { udp6zerocsumtx: true }],
  ['noudp6zerocsumtx', { udp6zerocsumtx: false }],
  ['udp6zerocsumrx', { udp6zerocsumrx: true }],
  ['noudp6zerocsumrx', { udp6zerocsumrx: false }],
  ['noproxy norsc nol2miss nol3miss noremcsumtx noremcsumrx noexternal novnifilter nomcroute', {}],
  // Prefixes: the first match in iproute2's order.
  ['d eth0 ds 10 dst 4789', { dev: 'eth0', tos: 16, dstport: 4789 }],
  ['r 192.0.2.2 l 192.0.2.1 le', { remote: '192.0.2.2', local: '192.0.2.1', learning: true }],
  ['p 1 2', { srcport: [1, 2] }],
  ['src 1 2', { srcport: [1, 2] }],
  ['t 9 a 7 m 5', { ttl: 9, ageing: 7, maxaddress: 5 }],
  ['hop 9', { ttl: 9 }],
  ['no', { learning: false }],
  ['u noudp6', { udpcsum: true, udp6zerocsumtx: false }],
];

test('every option of type vxlan', () => {
  for (const [words, device] of OPTIONS) assert.deepEqual(add(words), { id: 42, ...device }, words);
  assert.deepEqual(parseAdd(split('vx0 type vxlan vni 0xffffff')).device, { name: 'vx0', id: 0xffffff });
  assert.deepEqual(parseAdd(split('vx0 type vxlan i 0')).device, { name: 'vx0', id: 0 });
});

test('the forms of link add', () => {
  const device = { name: 'vx0', id: 1 };
  for (const name of ['vx0', 'dev vx0', 'name vx0'])
    assert.deepEqual(parseAdd(split(`${name} type vxlan id 1`)), { device, up: false, portChosen: false });
  assert.deepEqual(parseAdd(split('vx0 address 2:0:0:0:0:A mtu 1450 up type vxlan id 1 dstport 0')), {
    device: { ...device, address: '02:00:00:00:00:0a', mtu: 1450, dstport: 8472 },
    up: true,
    portChosen: true,
  });
});

test('the forms of link set, show and del', () => {
  assert.deepEqual(parseSet(['vx0', 'up']), { name: 'vx0', change: { up: true } });
  assert.deepEqual(parseSet(split('dev vx0 down mtu 1400 address 02:00:00:00:00:01 name vx1')), {
    name: 'vx0',
    change: { up: false, mtu: 1400, address: '02:00:00:00:00:01', name: 'vx1' },
  });
  assert.deepEqual(parseSet(split('vx0 type vxlan nolearning ageing 60')), {
    name: 'vx0',
    change: { learning: false, ageing: 60 },
  });
  assert.deepEqual(parseName([]), { up: false });
  for (const words of ['vx0', 'dev vx0', 'vx0 type vxlan']) assert.equal(parseName(split(words)).name, 'vx0');
});

test('run takes the words in any order, with and without "type vxlan"', () => {
  const device = { name: 'flannel.1', id: 1, dstport: 8472, mtu: 1450, address: '02:00:00:00:00:01' };
  for (const words of [
    'flannel.1 id 1 dstport 8472 mtu 1450 address 02:00:00:00:00:01',
    'flannel.1 mtu 1450 address 02:00:00:00:00:01 type vxlan id 1 dstport 8472',
    'dev flannel.1 address 02:00:00:00:00:01 id 1 mtu 1450 dstport 8472',
  ])
    assert.deepEqual(parseRun(split(words)), device, words);
});

const UDP_PORT = 'a UDP port is a number from 0 to 65535';
const WRONG: [words: string, message: string][] = [
  [
    'vx0 type vxlan id 16777216',
    'argument "16777216" is wrong: invalid id: a VNI is a number from 0 to 16777215',
  ],
  ['vx0 type vxlan id -1', 'argument "-1" is wrong: invalid id: a VNI is a number from 0 to 16777215'],
  ['vx0 type vxlan id 4x', 'argument "4x" is wrong: invalid id: a VNI is a number from 0 to 16777215'],
  ['vx0 type vxlan', 'missing virtual network identifier: give it as "id VNI"'],
  ['vx0 type vxlan id', 'command line is not complete: "id" needs a value'],
  ['vx0 type vxlan id 1 srcport 1', 'command line is not complete: "srcport" needs a value'],
  ['vx0 type vxlan id 1 vni 2', 'either "vni" is duplicate, or "2" is garbage: give it once'],
  [
    'vx0 type vxlan id 1 learning nolearning',
    'either "nolearning" is duplicate, or "nolearning" is garbage: give it once',
  ],
  [
    'vx0 type vxlan id 1 remote 239.1.1.1',
    'argument "239.1.1.1" is wrong: invalid remote address: the unicast IP address of the far VTEP is expected',
  ],
  [
    'vx0 type vxlan id 1 remote 0.0.0.0',
    'argument "0.0.0.0" is wrong: invalid remote address: the unicast IP address of the far VTEP is expected',
  ],
  [
    'vx0 type vxlan id 1 local ff02::1',
    'argument "ff02::1" is wrong: invalid local address: a unicast IP address of this host is expected',
  ],
  [
    'vx0 type vxlan id 1 ttl x',
    'argument "x" is wrong: invalid TTL: 1 to 255, "auto" or "inherit" is expected',
  ],
  ['vx0 type vxlan id 1 ttl 256', 'argument "256" is wrong: TTL must be <= 255'],
  [
    'vx0 type vxlan id 1 tos 256',
    'argument "256" is wrong: bad TOS value: 0x00 to 0xff, a name such as AF11, or "inherit" is expected',
  ],
  ['vx0 type vxlan id 1 df yes', `argument "yes" is wrong: DF must be 'unset', 'set' or 'inherit'`],
  ['vx0 type vxlan id 1 dstport 65536', `argument "65536" is wrong: dst port: ${UDP_PORT}`],
  ['vx0 type vxlan id 1 srcport x 2', `argument "x" is wrong: min port: ${UDP_PORT}`],
  ['vx0 type vxlan id 1 srcport 1 x', `argument "x" is wrong: max port: ${UDP_PORT}`],
  [
    'vx0 type vxlan id 1 ageing x',
    'argument "x" is wrong: ageing timer: a number of seconds or "none" is expected',
  ],
  [
    'vx0 type vxlan id 1 maxaddress x',
    'argument "x" is wrong: max addresses: a number of entries or "unlimited" is expected',
  ],
  ['vx0 type vxlan id 1 foo', 'unknown command "foo"? "vxlane link help" lists the words'],
  ['vx0 type vxlan id 1 mtu 1450', '"mtu" is a word of every link: it goes in front of "type vxlan"'],
  ['vx0 mtu 67 type vxlan id 1', 'argument "67" is wrong: MTU must be between 68 and 65535.'],
  ['vx0 mtu x type vxlan id 1', 'argument "x" is wrong: Invalid "mtu" value: a number of bytes is expected'],
  [
    'vx0 address 01:00:5e:00:00:01 type vxlan id 1',
    'argument "01:00:5e:00:00:01" is wrong: Provided Ethernet address is not unicast.',
  ],
  [
    'vx0 address 02:00:00:00:00:0x type vxlan id 1',
    'argument "02:00:00:00:00:0x" is wrong: invalid mac address: write it as aa:bb:cc:dd:ee:ff',
  ],
  [
    'a-name-of-16-chr type vxlan id 1',
    'argument "a-name-of-16-chr" is wrong: not a valid ifname: 1 to 15 characters without blanks, "/", ":" and "%"',
  ],
  ['vx0 vx1 type vxlan id 1', 'either "dev" is duplicate, or "vx1" is garbage'],
  ['vx0 type gre', 'argument "gre" is wrong: vxlan is the only type there is'],
  ['vx0', 'not enough information: "type" argument is required, as in "link add NAME type vxlan id VNI"'],
  [
    'type vxlan id 1',
    'not enough information: "dev" argument is required, as in "link add NAME type vxlan id VNI"',
  ],
];

test('what can not be right is refused in one line that names the word', () => {
  for (const [words, message] of WRONG) refuses(() => parseAdd(split(words)), 'USAGE', message);
});

const ALL_VNIS = 'add one device for each VNI';
const MISS = 'run the far MACs from a controller through "vxlane fdb add"';
const UNSUPPORTED: [words: string, name: string, remedy: string][] = [
  ['group 239.1.1.1', 'group', 'name each far VTEP: "vxlane fdb append 00:00:00:00:00:00 dev NAME dst ADDR"'],
  ['flowlabel 5', 'flowlabel', 'leave it out, the flow label is 0'],
  ['label 5', 'label', 'leave it out, the flow label is 0'],
  ['proxy', 'proxy', 'answer ARP on the bridge instead (bridge link set dev NAME neigh_suppress on)'],
  ['rsc', 'rsc', 'route between VNIs on the host, one bridge for each VNI'],
  ['l2miss', 'l2miss', MISS],
  ['l3', 'l3miss', MISS],
  ['remcsumtx', 'remcsumtx', 'leave it out, checksums are offloaded without it'],
  ['remcsumrx', 'remcsumrx', 'leave it out at the sender too'],
  ['external', 'external', ALL_VNIS],
  ['gbp', 'gbp', 'filter by address on the bridge instead'],
  ['gpe', 'gpe', 'only Ethernet frames are carried, leave it out at the far end too'],
  ['vnifilter', 'vnifilter', ALL_VNIS],
  [
    'localbypass',
    'localbypass',
    'leave it out, packets to this host itself go through the loopback interface',
  ],
  [
    'nolocalbypass',
    'nolocalbypass',
    'leave it out, packets to this host itself go through the loopback interface anyway',
  ],
  [
    'reserved_bits 0x1',
    'reserved_bits',
    'leave it out, packets with any reserved bit set are dropped as the kernel does by default',
  ],
  ['mcroute', 'mcroute', 'leave it out, no multicast group is used'],
];

test('what the kernel knows and this VTEP does not do is refused by name, with a remedy', () => {
  for (const [words, name, remedy] of UNSUPPORTED)
    refuses(() => add(words), 'UNSUPPORTED', `"${name}" is not supported: ${remedy}`);
  refuses(
    () => parseSet(split('vx0 master br0')),
    'UNSUPPORTED',
    '"master" is not supported: the device is an interface of this host, set it with "ip link set dev NAME ..."',
  );
});

const MAC = '02:00:00:00:00:07';
const FDB: [words: string, request: Record<string, unknown>][] = [
  [`${MAC} dev vx0 dst 192.0.2.7`, { dst: '192.0.2.7' }],
  [`to ${MAC} dev vx0 dst 192.0.2.7 self permanent`, { dst: '192.0.2.7', state: 'permanent' }],
  [`dev vx0 2:0:0:0:0:7 dst 2001:DB8::7 local`, { dst: '2001:db8::7', state: 'permanent' }],
  [
    `${MAC} dev vx0 dst 0.0.0.0 port 0x10 vni 43 via eth0`,
    { dst: '0.0.0.0', port: 16, vni: 43, via: 'eth0' },
  ],
  [`${MAC} dev vx0 dst 192.0.2.7 temp router`, { dst: '192.0.2.7', state: 'static', router: true }],
  [`${MAC} dev vx0 dst 192.0.2.7 stat`, { dst: '192.0.2.7', state: 'static' }],
  [`${MAC} dev vx0 dst 192.0.2.7 dyn vlan 5 use`, { dst: '192.0.2.7', state: 'dynamic', use: true }],
  [
    `${MAC} dev vx0 dst 192.0.2.7 extern_learn sticky`,
    { dst: '192.0.2.7', extern_learn: true, sticky: true },
  ],
];

test('the words of fdb add, append, replace and del', () => {
  for (const [words, request] of FDB)
    assert.deepEqual(
      parseChange('add', split(words)),
      { op: 'add', mac: MAC, dev: 'vx0', ...request },
      words,
    );
  assert.deepEqual(parseChange('del', split(`${MAC} dev vx0`)), { op: 'del', mac: MAC, dev: 'vx0' });
});

test('the words of fdb show, get and flush', () => {
  assert.deepEqual(parseShow([]), {});
  assert.deepEqual(parseShow(split('dev vx0 state reachable')), { dev: 'vx0', state: '' });
  assert.deepEqual(parseShow(split('brport vx0 dynamic self')), {
    dev: 'vx0',
    dynamic: true,
  });
  assert.deepEqual(parseGet(split(`${MAC} dev vx0 self`)), { mac: MAC, dev: 'vx0' });
  assert.deepEqual(parseFlush(split('dev vx0 nopermanent dst 192.0.2.7 port 5 vni 6 router self')), {
    dev: 'vx0',
    permanent: false,
    dst: '192.0.2.7',
    port: 5,
    vni: 6,
    router: true,
  });
});

test('what fdb refuses', () => {
  const change = (words: string) => () => parseChange('add', split(words));
  const remedy = 'write it as aa:bb:cc:dd:ee:ff';
  refuses(
    change('zz dev vx0 dst 192.0.2.7'),
    'USAGE',
    `argument "zz" is wrong: invalid mac address: ${remedy}`,
  );
  refuses(
    change('dst 192.0.2.7'),
    'USAGE',
    'device and address are required, as in "fdb add 02:00:00:00:00:01 dev NAME dst ADDR"',
  );
  refuses(
    change(`${MAC} dev vx0`),
    'USAGE',
    `"dst" is missing: name the far VTEP, as in "fdb add ${MAC} dev vx0 dst ADDR"`,
  );
  refuses(
    change(`${MAC} dev vx0 dst 192.0.2.x`),
    'USAGE',
    'argument "192.0.2.x" is wrong: invalid dst address: the IP address of the far VTEP is expected',
  );
  refuses(
    change(`${MAC} dev vx0 dst 192.0.2.7 port 99999`),
    'USAGE',
    `argument "99999" is wrong: invalid port: ${UDP_PORT}`,
  );
  refuses(
    change(`${MAC} dev vx0 dst 192.0.2.7 vni 16777216`),
    'USAGE',
    'argument "16777216" is wrong: invalid VNI: a VNI is a number from 0 to 16777215',
  );
  refuses(
    change(`${MAC} dev vx0 nhid 5`),
    'UNSUPPORTED',
    '"nhid" is not supported: give one remote with "dst"',
  );
  refuses(change(`${MAC} dev vx0 src_vni 5`), 'UNSUPPORTED', `"src_vni" is not supported: ${ALL_VNIS}`);
  refuses(
    change(`${MAC} dev vx0 dst 192.0.2.7 master`),
    'UNSUPPORTED',
    '"master" is not supported: entries of the bridge are set with "bridge fdb"',
  );
  refuses(
    () => parseShow(['nope']),
    'USAGE',
    'unknown word "nope": "vxlane fdb show [dev NAME] [state STATE] [dynamic]" is what there is',
  );
  refuses(() => parseFlush(['permanent']), 'USAGE', 'device is required, as in "fdb flush dev NAME"');
});

test('objects and flags may be cut short, values never are', () => {
  assert.deepEqual(normalise(['l', 's']), ['link', 's']);
  assert.deepEqual(normalise(['-json', 'f', '-stat']), ['--json', 'fdb', '--statistics']);
  assert.deepEqual(normalise(['--socket', 'l', '-d', 's']), ['--socket', 'l', '--details', 'status']);
  assert.deepEqual(normalise(['d']), ['daemon']);
  assert.deepEqual(normalise(['nope']), ['nope']);
  assert.deepEqual(normalise(['-br', '-f', 'inet', '-fo', '-c', 'l']), [
    '--brief',
    '--family',
    'inet',
    '--force',
    'link',
  ]);
  assert.deepEqual(normalise(['-b', '-']), ['--batch', '-', 'batch']);
  assert.deepEqual(normalise(['-4', '-V', '-h', '-x']), ['-4', '-V', '-h', '-x']);
});
