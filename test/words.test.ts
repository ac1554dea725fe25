/** The keyword grammar: every option, abbreviations, limits, and every refusal with its one line and code. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalise } from '../src/cli/argv.ts';
import { parseAdd, parseName, parseRun, parseSet } from '../src/cli/device-words.ts';
import { VtepError, type VtepErrorCode } from '../src/errors.ts';

const split = (line: string) => line.split(' ').filter((word) => word !== '');
const add = (options: string) => {
  const { name, ...device } = parseAdd(split(`vx0 type vxlan id 42 ${options}`)).device;
  return device;
};

/** `exit` undefined: what the object gives to usage errors. */
function refuses(run: () => unknown, code: VtepErrorCode, message: string, exit?: number): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof VtepError, String(error));
    assert.deepEqual([error.code, error.message], [code, message]);
    if (exit !== undefined) assert.equal(error.exit, exit, message);
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
  ['dstport 0', { dstport: 0 }],
  ['dstport 0x12b5', { dstport: 4789 }],
  ['dstport 011265', { dstport: 4789 }],
  ['srcport 49152 65535', { srcport: [49152, 65535] }],
  ['learning', { learning: true }],
  ['nolearning', { learning: false }],
  ['ageing 60', { ageing: 60 }],
  ['ageing none', { ageing: 300 }],
  ['ageing 0', { ageing: 300 }],
  ['ageing never', { ageing: 'never' }],
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
  ['group 239.1.1.1 dev eth0', { group: '239.1.1.1', dev: 'eth0' }],
  ['group FF05::0:1 dev eth0', { group: 'ff05::1', dev: 'eth0' }],
  ['remote 0.0.0.0', { remote: '0.0.0.0' }],
  ['local 0.0.0.0', { local: '0.0.0.0' }],
  ['flowlabel 0xfffff', { flowlabel: 0xfffff }],
  ['label inherit', { flowlabel: 'inherit' }],
  ['proxy rsc l2miss l3miss', { proxy: true, rsc: true, l2miss: true, l3miss: true }],
  ['noproxy norsc nol2miss nol3miss', { proxy: false, rsc: false, l2miss: false, l3miss: false }],
  ['remcsumtx remcsumrx', { remcsumtx: true, remcsumrx: true }],
  ['noremcsumtx noremcsumrx', { remcsumtx: false, remcsumrx: false }],
  ['localbypass', { localbypass: true }],
  ['nolocalbypass', { localbypass: false }],
  ['noexternal novnifilter nomcroute', { external: false, vnifilter: false }],
  ['gbp gpe', { gbp: true, gpe: true }],
  ['latelearning knownsenders', { latelearning: true, knownsenders: true }],
  ['noknownsenders knownpeers', { knownsenders: false, knownpeers: true }],
  ['proxy proxyforward', { proxy: true, proxyforward: true }],
  ['noproxyforward nohonourdontlearn', { proxyforward: false, honourdontlearn: false }],
  ['gbp policy 7', { gbp: true, policy: 7 }],
  ['gso off gro off uso off', { gso: 'off', gro: false, uso: false }],
  ['gso tunnel gro on uso on', { gso: 'tunnel', gro: true, uso: true }],
  ['gso on', { gso: 'on' }],
  ['gro 239.1.1.1 dev eth0 gro off', { group: '239.1.1.1', dev: 'eth0', gro: false }],
  ['local 192.0.2.1 bind listen 8473,4789,8473', { local: '192.0.2.1', bind: true, listen: [4789, 8473] }],
  ['reserved_bits 0', { reserved_bits: '0x0' }],
  ['reserved_bits 0xF7FFFFFF000000FF', { reserved_bits: '0xf7ffffff000000ff' }],
  ['reserved_bits 18446744073709551615', { reserved_bits: '0xffffffffffffffff' }],
  ['reserved_bits 0377', { reserved_bits: '0xff' }],
  // Prefixes: the first match in iproute2's order.
  ['d eth0 ds 10 dst 4789', { dev: 'eth0', tos: 16, dstport: 4789 }],
  ['r 192.0.2.2 l 192.0.2.1 le', { remote: '192.0.2.2', local: '192.0.2.1', learning: true }],
  ['p 1 2', { srcport: [1, 2] }],
  ['src 1 2', { srcport: [1, 2] }],
  ['t 9 a 7 m 5', { ttl: 9, ageing: 7, maxaddress: 5 }],
  ['hop 9', { ttl: 9 }],
  ['no', { learning: false }],
  ['u noudp6', { udpcsum: true, udp6zerocsumtx: false }],
  ['g 239.1.1.1 d eth0', { group: '239.1.1.1', dev: 'eth0' }],
  ['la 5 remcsum', { flowlabel: 5, remcsumtx: true }],
  [
    'nop nor nol2 nol3 nou nore noe',
    {
      proxy: false,
      rsc: false,
      l2miss: false,
      l3miss: false,
      udpcsum: false,
      remcsumtx: false,
      external: false,
    },
  ],
  ['gb gp', { gbp: true, gpe: true }],
];

test('every option of type vxlan', () => {
  for (const [words, device] of OPTIONS) assert.deepEqual(add(words), { id: 42, ...device }, words);
  assert.deepEqual(parseAdd(split('vx0 type vxlan vni 0xffffff')).device, { name: 'vx0', id: 0xffffff });
  assert.deepEqual(parseAdd(split('vx0 type vxlan i 0')).device, { name: 'vx0', id: 0 });
  assert.deepEqual(parseAdd(split('vx0 type vxlan ext vnifilter')).device, {
    name: 'vx0',
    external: true,
    vnifilter: true,
  });
});

test('the forms of link add', () => {
  const device = { name: 'vx0', id: 1 };
  for (const name of ['vx0', 'dev vx0', 'name vx0'])
    assert.deepEqual(parseAdd(split(`${name} type vxlan id 1`)), { device, up: false, portChosen: false });
  assert.deepEqual(parseAdd(split('vx0 address 2:0:0:0:0:A mtu 1450 up type vxlan id 1 dstport 0')), {
    device: { ...device, address: '02:00:00:00:00:0a', mtu: 1450, dstport: 0 },
    up: true,
    portChosen: true,
  });
});

test('who chooses the port, and of what family a device without addresses is', () => {
  const parsed = (words: string, family?: 'inet' | 'inet6') =>
    parseAdd(split(`type vxlan id 1 ${words}`), family);
  assert.deepEqual(
    ['dstport 0', 'gpe', 'gbp'].map((words) => parsed(words).portChosen),
    [true, true, false],
  );
  assert.deepEqual(parsed('gbp', 'inet6').device, { id: 1, gbp: true, local: '::' });
  assert.deepEqual(parsed('gbp', 'inet').device, { id: 1, gbp: true });
  assert.deepEqual(parsed('remote 192.0.2.2', 'inet6').device, { id: 1, remote: '192.0.2.2' });
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
  assert.deepEqual(parseSet(split('vx0 gso off gro off up')), {
    name: 'vx0',
    change: { gso: 'off', gro: false, up: true },
  });
  assert.deepEqual(parseSet(split('vx0 type vxlan uso off')), { name: 'vx0', change: { uso: false } });
  assert.throws(() => parseSet(split('vx0 gso maybe')), /"maybe" is wrong: gso: "on", "off" or "tunnel"/);
  assert.throws(() => parseSet(split('vx0 uso 1')), /"1" is wrong: "on" or "off" is expected/);
  assert.deepEqual(parseSet(split('vx0 up down')), { name: 'vx0', change: { up: false } });
  assert.deepEqual(parseSet(['vx0']), { name: 'vx0', change: {} });
  // Zeros ask for the default, which a device has already.
  assert.deepEqual(parseSet(split('vx0 type vxlan dstport 0 srcport 0 0 id 7')), {
    name: 'vx0',
    change: { id: 7 },
  });
  assert.deepEqual(parseSet(split('vx0 type vxlan dstport 5 srcport 1 2')), {
    name: 'vx0',
    change: { dstport: 5, srcport: [1, 2] },
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
const VNI = 'invalid id: a VNI is a number from 0 to 16777215';
const NUMBER = 'a number from 0 to 0xfffff, or "inherit", is expected';
const FAR = 'invalid remote address: the unicast IP address of the far VTEP is expected';
const NO_ADDRESS = (word: string) =>
  `any valid address is expected rather than "${word}": an IP address, not a name`;

/** What is said of a value that can't be right, with the exit code of iproute2. */
const VALUES: [words: string, word: string, why: string, exit: number][] = [
  ['id 16777216', '16777216', VNI, 255],
  ['id -1', '-1', VNI, 255],
  ['vni 4x', '4x', VNI, 255],
  ['remote 239.1.1.1', '239.1.1.1', FAR, 255],
  ['remote any', 'any', FAR, 255],
  ['remote 255.255.255.255', '255.255.255.255', FAR, 255],
  ['remote host', 'host', NO_ADDRESS('host'), 1],
  ['group 192.0.2.1', '192.0.2.1', 'invalid group address: a multicast IP address is expected', 255],
  ['group zz', 'zz', NO_ADDRESS('zz'), 1],
  ['local ff02::1', 'ff02::1', 'invalid local address: a unicast IP address of this host is expected', 255],
  ['local any', 'any', 'invalid local address: a unicast IP address of this host is expected', 255],
  ['local 192.0.2.x', '192.0.2.x', NO_ADDRESS('192.0.2.x'), 1],
  ['ttl x', 'x', 'invalid TTL: 1 to 255, "auto" or "inherit" is expected', 255],
  ['ttl 256', '256', 'TTL must be <= 255', 255],
  ['tos 256', '256', 'bad TOS value: 0x00 to 0xff, a name such as AF11, or "inherit" is expected', 255],
  ['df yes', 'yes', "DF must be 'unset', 'set' or 'inherit'", 255],
  ['flowlabel 0x100000', '0x100000', `invalid flowlabel: ${NUMBER}`, 255],
  ['label x', 'x', `invalid flowlabel: ${NUMBER}`, 255],
  ['dstport 65536', '65536', `dst port: ${UDP_PORT}`, 255],
  ['srcport x 2', 'x', `min port: ${UDP_PORT}`, 255],
  ['srcport 1 x', 'x', `max port: ${UDP_PORT}`, 255],
  ['ageing x', 'x', 'ageing timer: a number of seconds or "none" is expected', 255],
  ['maxaddress x', 'x', 'max addresses: a number of entries or "unlimited" is expected', 255],
  ...['xyz', '0x10000000000000000', '08', '-1'].map((word): [string, string, string, number] => [
    `reserved_bits ${word}`,
    word,
    'reserved_bits: a number of 64 bits is expected, such as 0xf7ffffff000000ff',
    255,
  ]),
  ['listen 0', '0', 'listen: a UDP port is a number from 1 to 65535', 255],
  ['listen 1,,2', '1,,2', 'listen: a UDP port is a number from 1 to 65535', 255],
  ['policy 65536', '65536', 'policy: a group policy id is a number from 0 to 65535', 255],
];

test('a value that can not be right is refused with its word', () => {
  for (const [words, word, why, exit] of VALUES)
    refuses(
      () => parseAdd(split(`vx0 type vxlan ${words}`)),
      'USAGE',
      `argument "${word}" is wrong: ${why}`,
      exit,
    );
});

const MISSING = 'as in "link add NAME type vxlan id VNI"';
/** The exit code 1 is the object's own, hence undefined here. */
const WRONG: [words: string, message: string, exit?: number][] = [
  [
    'vx0 type vxlan',
    'Required attributes not provided to perform the operation: "type vxlan" is followed by "id VNI" or "external"',
    2,
  ],
  ['vx0 type vxlan dev eth0', 'vxlan: missing virtual network identifier: give it as "id VNI"'],
  ['vx0 type vxlan id', 'Command line is not complete: "id" needs a value', 255],
  ['vx0 type vxlan id 1 srcport 1', 'Command line is not complete: "srcport" needs a value', 255],
  ['vx0 type vxlan id 1 vni 2', 'either "id" is duplicate, or "2" is garbage: give it once', 255],
  ['vx0 type vxlan id 1 id x', 'either "id" is duplicate, or "x" is garbage: give it once', 255],
  ['vx0 type vxlan id 1 ttl 1 hop 2', 'either "ttl" is duplicate, or "2" is garbage: give it once', 255],
  [
    'vx0 type vxlan id 1 learning nolearning',
    'either "nolearning" is duplicate, or "nolearning" is garbage: give it once',
    255,
  ],
  ['vx0 type vxlan id 1 group 239.1.1.1', `vxlan: 'group' requires 'dev' to be specified`],
  [
    'vx0 type vxlan id 1 dev lo group 239.1.1.1 remote 192.0.2.2',
    'vxlan: both group and remote cannot be specified',
  ],
  [
    'vx0 type vxlan id 1 remote 192.0.2.2 local 2001:db8::2',
    'inet address is expected rather than "2001:db8::2": local and remote are of one family',
  ],
  [
    'vx0 type vxlan id 1 local 2001:db8::2 remote 192.0.2.2',
    'inet6 address is expected rather than "192.0.2.2": local and remote are of one family',
  ],
  ['vx0 type vxlan id 1 vnifilter', `vxlan: vnifilter is valid only when 'external' is set`],
  ['vx0 type vxlan id 1 external', `vxlan: both 'external' and vni cannot be specified`],
  ['vx0 type vxlan id 1 foo', 'vxlan: unknown command "foo"? "vxlane link help" lists the words'],
  ['vx0 type vxlan id 1 localby', 'vxlan: unknown command "localby"? "vxlane link help" lists the words'],
  [
    'vx0 type vxlan id 1 mtu 1450',
    'vxlan: unknown command "mtu"? It is a word of every link and goes in front of "type vxlan"',
  ],
  ['vx0 mtu 67 type vxlan id 1', 'argument "67" is wrong: MTU must be between 68 and 65535.', 2],
  [
    'vx0 mtu x type vxlan id 1',
    'argument "x" is wrong: Invalid "mtu" value: a number of bytes is expected',
    255,
  ],
  [
    'vx0 address 01:00:5e:00:00:01 type vxlan id 1',
    'argument "01:00:5e:00:00:01" is wrong: Provided Ethernet address is not unicast.',
    2,
  ],
  [
    'vx0 address 02:00:00:00:00:0x type vxlan id 1',
    'argument "02:00:00:00:00:0x" is wrong: "02:00:00:00:00:0x" is invalid lladdr: write it as aa:bb:cc:dd:ee:ff',
    1,
  ],
  [
    'a-name-of-16-chr type vxlan id 1',
    'argument "a-name-of-16-chr" is wrong: not a valid ifname: 1 to 15 characters without blanks, "/", ":" and "%"',
    255,
  ],
  ['vx0 vx1 type vxlan id 1', 'either "dev" is duplicate, or "vx1" is garbage', 255],
  ['vx0 type gre', 'argument "gre" is wrong: Unknown device type: vxlan is the only one there is', 2],
  ['vx0', `Not enough information: "type" argument is required, ${MISSING}`],
];

test('what can not be right is refused in one line that names the word', () => {
  for (const [words, message, exit] of WRONG) refuses(() => parseAdd(split(words)), 'USAGE', message, exit);
  refuses(
    () => parseSet(split('vx0 mtu 67')),
    'USAGE',
    'argument "67" is wrong: mtu less than device minimum, which is 68',
    2,
  );
  refuses(
    () => parseSet(split('vx0 mtu 65536')),
    'USAGE',
    'argument "65536" is wrong: mtu greater than device maximum, which is 65535',
    2,
  );
  refuses(
    () => parseSet(split('vx0 address 01:00:00:00:00:01')),
    'USAGE',
    'argument "01:00:00:00:00:01" is wrong: Cannot assign requested address: it is not unicast',
    2,
  );
});

test('what the kernel knows and this VTEP does not do is refused by name, with a remedy', () => {
  refuses(
    () => add('mcroute'),
    'UNSUPPORTED',
    '"mcroute" is not supported: the host\'s multicast routing can\'t be reached from a socket: leave it out, groups go out through "dev"',
  );
  for (const word of ['master br0', 'netns blue', 'alias x', 'qlen 5'])
    refuses(
      () => parseSet(split(`vx0 ${word}`)),
      'UNSUPPORTED',
      `"${word.split(' ')[0]}" is not supported: the device is an interface of this host, set it with "ip link set dev NAME ..."`,
    );
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
