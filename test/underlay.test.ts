/**
 * The underlay is chosen as flanneld chooses it: a table of hosts and flags, whose answers are those of flanneld's own
 * code read by hand, and a real host whose interfaces, addresses and routes come and go.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { goPattern } from '../src/flannel/go-pattern.ts';
import { chooseUnderlay, followUnderlay, type UnderlayNews } from '../src/flannel/underlay.ts';
import { choose, type Host, type UnderlayOptions } from '../src/flannel/underlay-choice.ts';
import { AF_INET, AF_INET6 } from '../src/io/family.ts';
import { Bed, missingForNamespaces, type Namespace } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';

type Entry = readonly [address: string, flags?: string];

/** Interfaces with their addresses, default routes by name, and one route to somewhere. */
function hostOf(
  interfaces: Record<string, readonly Entry[]>,
  defaults: { v4?: string; v6?: string } = {},
  route?: { to: string; dev: string; source: string },
): Host {
  const names = Object.keys(interfaces);
  const indexOf = (name = '') => names.indexOf(name) + 1;
  return {
    links: () =>
      names.map((name, i) => ({
        ...{ ifindex: i + 1, name, up: true, noarp: false, mtu: 1500 - 100 * i },
        ...{ address: '', master: 0, bridgePort: false },
      })),
    addresses: () =>
      names.flatMap((name) =>
        interfaces[name]!.map(([address, flags = 'permanent']) => ({
          ...{ ifindex: indexOf(name), family: address.includes(':') ? AF_INET6 : AF_INET, address },
          permanent: flags.includes('permanent'),
          temporary: flags.includes('temporary'),
          deprecated: flags.includes('deprecated'),
        })),
      ),
    defaultInterface: (family) => indexOf(family === AF_INET ? defaults.v4 : defaults.v6),
    route: (_, address) =>
      address === route?.to ? { out: indexOf(route.dev), source: route.source } : undefined,
  };
}

const V4 = { ipv4: true, ipv6: false };
const V6 = { ipv4: false, ipv6: true };
const DUAL = { ipv4: true, ipv6: true };

const PLAIN = hostOf(
  {
    lo: [['127.0.0.1'], ['::1']],
    eth0: [['192.0.2.1'], ['2001:db8::1'], ['fe80::1']],
    eth1: [['169.254.7.7'], ['10.1.0.1'], ['10.1.0.2', 'permanent temporary'], ['fd00:1::1']],
    eth2: [['203.0.113.9', 'dynamic']],
    none: [],
  },
  { v4: 'eth0', v6: 'eth0' },
  { to: '10.9.9.9', dev: 'eth1', source: '10.1.0.2' },
);
const APART = hostOf({ a: [['192.0.2.1']], b: [['2001:db8::1']] }, { v4: 'a', v6: 'b' });

/** options -> "interface address address6 public public6" */
const CHOICES: readonly (readonly [what: string, host: Host, options: UnderlayOptions, answer: string])[] = [
  ['the default route', PLAIN, V4, 'eth0 192.0.2.1 - 192.0.2.1 -'],
  ['the default route of IPv6', PLAIN, V6, 'eth0 - 2001:db8::1 - 2001:db8::1'],
  ['one interface for both', PLAIN, DUAL, 'eth0 192.0.2.1 2001:db8::1 192.0.2.1 2001:db8::1'],
  ['a name', PLAIN, { ...V4, iface: ['eth1'] }, 'eth1 10.1.0.1 - 10.1.0.1 -'],
  ['an address, secondary too', PLAIN, { ...V4, iface: ['10.1.0.2'] }, 'eth1 10.1.0.2 - 10.1.0.2 -'],
  [
    'a link-local address that is asked for',
    PLAIN,
    { ...V4, iface: ['169.254.7.7'] },
    'eth1 169.254.7.7 - 169.254.7.7 -',
  ],
  [
    'an IPv6 address written otherwise',
    PLAIN,
    { ...V6, iface: ['FD00:1:0::1'] },
    'eth1 - fd00:1::1 - fd00:1::1',
  ],
  [
    'the first that is there',
    PLAIN,
    { ...V4, iface: ['eth9', 'none', 'eth2', 'eth0'] },
    'eth2 203.0.113.9 - 203.0.113.9 -',
  ],
  [
    '--iface before --iface-regex',
    PLAIN,
    { ...V4, iface: ['eth2'], ifaceRegex: ['eth0'] },
    'eth2 203.0.113.9 - 203.0.113.9 -',
  ],
  [
    '--iface-regex when --iface is not there',
    PLAIN,
    { ...V4, iface: ['eth9'], ifaceRegex: ['eth[12]'] },
    'eth1 10.1.0.1 - 10.1.0.1 -',
  ],
  [
    'a pattern of addresses, not the first one',
    PLAIN,
    { ...V4, ifaceRegex: ['^10\\..*2$'] },
    'eth1 10.1.0.2 - 10.1.0.2 -',
  ],
  ['addresses before names', PLAIN, { ...V4, ifaceRegex: ['eth1|203'] }, 'eth2 203.0.113.9 - 203.0.113.9 -'],
  [
    'the second pattern',
    PLAIN,
    { ...V4, ifaceRegex: ['^wlan', '^ETH1$', '(?i)^ETH1$'] },
    'eth1 10.1.0.1 - 10.1.0.1 -',
  ],
  [
    'a pattern of both families',
    PLAIN,
    { ...DUAL, ifaceRegex: ['^10\\.|^fd00:'] },
    'eth1 10.1.0.1 fd00:1::1 10.1.0.1 fd00:1::1',
  ],
  [
    'where a route leads, and its source',
    PLAIN,
    { ...V4, ifaceCanReach: '10.9.9.9' },
    'eth1 10.1.0.2 - 10.1.0.2 -',
  ],
  [
    'where a route leads, when nothing else is there',
    PLAIN,
    { ...V4, iface: ['x'], ifaceRegex: ['y'], ifaceCanReach: '10.9.9.9' },
    'eth1 10.1.0.2 - 10.1.0.2 -',
  ],
  [
    'where a route leads, for both',
    PLAIN,
    { ...DUAL, ifaceCanReach: '10.9.9.9' },
    'eth1 10.1.0.2 fd00:1::1 10.1.0.2 fd00:1::1',
  ],
  [
    'the interface of the public address',
    PLAIN,
    { ...V4, publicIp: '203.0.113.9' },
    'eth2 203.0.113.9 - 203.0.113.9 -',
  ],
  [
    'the interface of the public IPv6 address',
    PLAIN,
    { ...V6, publicIpV6: 'fd00:1::1' },
    'eth1 - fd00:1::1 - fd00:1::1',
  ],
  [
    'one for both by the public address',
    PLAIN,
    { ...DUAL, publicIp: '10.1.0.2' },
    'eth1 10.1.0.2 fd00:1::1 10.1.0.2 fd00:1::1',
  ],
  [
    'one for both by the public IPv6 address',
    PLAIN,
    { ...DUAL, publicIpV6: 'fd00:1::1' },
    'eth1 10.1.0.1 fd00:1::1 10.1.0.1 fd00:1::1',
  ],
  [
    'a public address of a NAT beside --iface',
    PLAIN,
    { ...V4, iface: ['eth1'], publicIp: '198.51.100.1' },
    'eth1 10.1.0.1 - 198.51.100.1 -',
  ],
  [
    'a public address of the other family',
    PLAIN,
    { ...V4, publicIpV6: '2001:db8::99' },
    'eth0 192.0.2.1 - 192.0.2.1 -',
  ],
  ['an interface for each family', APART, DUAL, 'a+b 192.0.2.1 2001:db8::1 192.0.2.1 2001:db8::1'],
  [
    'an interface for each family by address',
    APART,
    { ...DUAL, iface: ['192.0.2.1'], publicIpV6: '2001:db8::1' },
    'a+b 192.0.2.1 2001:db8::1 192.0.2.1 2001:db8::1',
  ],
];

/** Addresses of one interface in the kernel's order -> the one that is taken. */
const ORDERS: readonly (readonly [entries: readonly Entry[], taken: string | undefined])[] = [
  [[['fe80::1'], ['2001:db8::1']], '2001:db8::1'],
  [[['fe80::1'], ['2001:db8::1', 'dynamic']], '2001:db8::1'],
  [[['2001:db8::1', 'dynamic'], ['2001:db8::2']], '2001:db8::2'],
  [
    [
      ['2001:db8::1', 'dynamic temporary'],
      ['2001:db8::2', 'dynamic'],
    ],
    '2001:db8::2',
  ],
  [
    [
      ['2001:db8::1', 'permanent deprecated'],
      ['2001:db8::2', 'dynamic'],
    ],
    '2001:db8::2',
  ],
  [
    [
      ['2001:db8::1', 'permanent temporary'],
      ['2001:db8::2', 'dynamic'],
    ],
    '2001:db8::1',
  ],
  [[['2001:db8::2'], ['2001:db8::1']], '2001:db8::2'],
  [[['2001:db8::1', 'permanent deprecated'], ['fe80::1']], 'fe80::1'],
  [[['2001:db8::1', 'permanent deprecated']], undefined],
  [[['::1']], undefined],
  [[['ff02::1']], undefined],
];

const REFUSALS: readonly (readonly [options: UnderlayOptions, message: RegExp, code: string])[] = [
  [
    { ...V4, iface: ['eth9'] },
    /^--iface eth9: there is no such interface; interfaces: lo, eth0 \(192\.0\.2\.1, 2001:db8::1, fe80::1\)/,
    'NOT_FOUND',
  ],
  [
    { ...V4, iface: ['192.0.2.9'], ifaceRegex: ['^w'] },
    /^--iface 192\.0\.2\.9: no interface has this address; --iface-regex \^w: matches no interface and no address/,
    'NOT_FOUND',
  ],
  [{ ...V4, iface: ['none'] }, /^--iface none: none has no IPv4 address: give it one/, 'NOT_FOUND'],
  [
    { ...V4, iface: ['fd00:1::1'] },
    /^--iface fd00:1::1: the network has no IPv6: give an IPv4 address/,
    'NOT_FOUND',
  ],
  [
    { ...V4, publicIp: '198.51.100.1' },
    /^--public-ip 198\.51\.100\.1: no interface has this address: name the interface with --iface/,
    'NOT_FOUND',
  ],
  [{ ...V4, publicIp: 'fd00:1::1' }, /^--public-ip fd00:1::1: an IPv4 address is expected$/, 'USAGE'],
  [{ ...V4, publicIp: '10' }, /^--public-ip 10: an IPv4 address is expected$/, 'USAGE'],
  [{ ...V6, publicIpV6: '192.0.2.1' }, /^--public-ipv6 192\.0\.2\.1: an IPv6 address is expected$/, 'USAGE'],
  [{ ...V4, ifaceCanReach: 'eth0' }, /^--iface-can-reach eth0: an IP address is expected$/, 'USAGE'],
  [
    { ...V4, ifaceCanReach: '10.8.8.8' },
    /^--iface-can-reach 10\.8\.8\.8: there is no route to it/,
    'NOT_FOUND',
  ],
  [{ ...V4, ifaceRegex: ['('] }, /^--iface-regex \(: /, 'USAGE'],
  [{ ipv4: false, ipv6: false }, /neither IPv4 nor IPv6: set EnableIPv4 or EnableIPv6/, 'USAGE'],
];

/** Pattern as Go reads it, texts that match, texts that don't. */
const PATTERNS: readonly (readonly [pattern: string, yes: string, no: string])[] = [
  ['eth', 'veth0', 'ens3'],
  ['(?i)^ETH0$', 'eth0', 'eth01'],
  ['\\Aeth\\z', 'eth', 'Aethz'],
  ['^eth[[:digit:]]+$', 'eth12', 'eth:'],
  ['^en[^[:alpha:]]$', 'en0', 'enp'],
  ['^(?P<kind>eth|ens)\\d$', 'ens3', 'ensP'],
  ['^192\\.0\\.2\\.\\d+$', '192.0.2.77', '192x0.2.7'],
  ['^a\\-b\\_c$', 'a-b_c', 'a\\-b'],
];

function textOf(host: Host, options: UnderlayOptions): string {
  const { ifname, ifnameV6, address, addressV6, publicIp, publicIpV6, notes } = choose(options, host);
  assert.equal(notes.length, ifnameV6 === undefined ? 0 : 1);
  const interfaces = ifnameV6 === undefined ? ifname : `${ifname}+${ifnameV6}`;
  return [interfaces, ...[address, addressV6, publicIp, publicIpV6].map((one) => one ?? '-')].join(' ');
}

describe('underlay', () => {
  for (const [what, host, options, answer] of CHOICES) {
    it(`takes ${what}`, () => assert.equal(textOf(host, options), answer));
  }

  it('prefers addresses as flanneld does', () => {
    for (const [entries, taken] of ORDERS) {
      const host = hostOf({ eth0: entries }, { v6: 'eth0' });
      const what = JSON.stringify(entries);
      if (taken === undefined) assert.throws(() => choose(V6, host), { code: 'NOT_FOUND' }, what);
      else assert.equal(choose(V6, host).addressV6, taken, what);
    }
  });

  it('says what two interfaces mean, and takes the smaller MTU', () => {
    const { mtu, ifindex, ifindexV6, notes } = choose(DUAL, APART);
    assert.deepEqual([mtu, ifindex, ifindexV6], [1400, 1, 2]);
    assert.deepEqual(notes, ['IPv4 goes through a and IPv6 through b; flanneld would refuse that']);
  });

  it('names the flag and the remedy when there is none', () => {
    for (const [options, message, code] of REFUSALS) {
      assert.throws(() => choose(options, PLAIN), { message, code }, JSON.stringify(options));
    }
    const alone = hostOf({ eth0: [['192.0.2.1']] });
    const message =
      /^underlay: there is no IPv4 default route: name the interface with --iface; interfaces: eth0 \(192/;
    assert.throws(() => choose(V4, alone), { message, code: 'NOT_FOUND' });
  });

  it('reads patterns as Go does, or refuses them', () => {
    for (const [pattern, yes, no] of PATTERNS) {
      const compiled = goPattern('--iface-regex', pattern);
      assert.ok(compiled.test(yes), `${pattern} ${yes}`);
      assert.ok(!compiled.test(no), `${pattern} ${no}`);
    }
    for (const pattern of [
      '(?=x)',
      '(?<!x)',
      'a(?i)b',
      '(?i:b)',
      '\\Qa.b\\E',
      '\\pN',
      '[[:nope:]]',
      '(',
      '\\1',
    ]) {
      assert.throws(() => goPattern('--iface-regex', pattern), { code: 'USAGE' }, pattern);
    }
  });
});

const missing = missingForNamespaces();

describe('underlay of a host', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let here: Namespace;
  const close: (() => Promise<void>)[] = [];
  before(() => {
    here = bed.namespace('underlay');
    enter(here);
    // A new address of the same network takes the place of one that goes.
    here.sysctl({ 'net.ipv4.conf.default.promote_secondaries': 1 });
    here.ip(
      'link add u0 mtu 1400 type veth peer name u1',
      'link set u0 up',
      'link set u1 up',
      'addr add 192.0.2.1/24 dev u0',
      'addr add 192.0.2.2/24 dev u0',
      'addr add 2001:db8::1/64 dev u0 nodad preferred_lft 0',
      'addr add 2001:db8::2/64 dev u0 nodad',
      'addr add 198.51.100.1/24 dev u1',
      'route add default via 198.51.100.254 metric 200',
      'route add default via 192.0.2.254 metric 100',
    );
  });
  after(async () => {
    for (const one of close) await one();
    await bed.close();
  });
  const follow = async (options: UnderlayOptions) => {
    const news: UnderlayNews[] = [];
    const follower = await followUnderlay(options, (one) => news.push(one));
    close.push(() => follower.close());
    return { news, follower };
  };

  it('is read from the kernel', () => {
    const u0 = { ifname: 'u0', ifindex: here.ipJson('link', 'show', 'u0')[0].ifindex, mtu: 1400, notes: [] };
    const v4 = { address: '192.0.2.1', publicIp: '192.0.2.1' };
    assert.deepEqual(chooseUnderlay(V4), { ...u0, ...v4 });
    assert.throws(() => chooseUnderlay(V6), { code: 'NOT_FOUND' });
    const v6 = { addressV6: '2001:db8::2', publicIpV6: '2001:db8::2' };
    assert.deepEqual(chooseUnderlay({ ...DUAL, iface: ['u0'] }), { ...u0, ...v4, ...v6 });
    const reach = chooseUnderlay({ ...V4, ifaceCanReach: '198.51.100.7' });
    assert.deepEqual([reach.ifname, reach.address], ['u1', '198.51.100.1']);
    assert.equal(chooseUnderlay({ ...V4, iface: ['192.0.2.2'] }).address, '192.0.2.2');
  });

  it('is followed: address, MTU, default route, and nothing else', async () => {
    const { news, follower } = await follow(V4);
    assert.equal(follower.current.underlay?.address, '192.0.2.1');
    const next = async (what: string, ...lines: string[]) => {
      here.ip(...lines);
      await until(what, () => news.length > 0, 10_000);
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(news.length, 1, `${what}: told once`);
      assert.equal(follower.current, news[0]);
      return news.pop()!;
    };
    assert.equal((await next('MTU', 'link set u0 mtu 1300')).underlay?.mtu, 1300);
    const moved = await next('address', 'addr del 192.0.2.1/24 dev u0');
    assert.equal(moved.underlay?.publicIp, '192.0.2.2');
    const other = await next('default route', 'route del default via 192.0.2.254');
    assert.deepEqual([other.underlay?.ifname, other.underlay?.address], ['u1', '198.51.100.1']);
    const none = await next('no default route', 'route del default');
    assert.match(none.reason!, /^underlay: there is no IPv4 default route: name the interface with --iface/);
    assert.equal((await next('back', 'route add default via 192.0.2.254')).underlay?.ifname, 'u0');
    here.ip('route add 10.0.0.0/8 via 192.0.2.254', 'addr add 10.77.0.1/24 dev u1', 'route del 10.0.0.0/8');
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.deepEqual(news, []);
    await follower.close();
    here.ip('link set u0 mtu 1350');
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.deepEqual(news, []);
  });

  it('is followed over the death of an interface and its return', async () => {
    const { news, follower } = await follow({ ...V4, iface: ['v0'] });
    assert.match(follower.current.reason ?? '', /^--iface v0: there is no such interface/);
    const underlay = () => follower.current.underlay;
    here.ip('link add v0 type veth peer name v1', 'addr add 203.0.113.1/24 dev v0', 'link set v0 up');
    await until('there', () => underlay()?.address === '203.0.113.1', 10_000);
    const { ifindex } = underlay()!;
    here.ip('link del v0');
    await until('gone', () => /^--iface v0/.test(follower.current.reason ?? ''), 10_000);
    here.ip('link add v0 type veth peer name v1', 'addr add 203.0.113.1/24 dev v0', 'link set v0 up');
    await until('there again', () => underlay()?.address === '203.0.113.1', 10_000);
    assert.notEqual(underlay()!.ifindex, ifindex, 'another one, and known as such');
    assert.ok(news.length >= 3);
  });

  it('follows the route of --iface-can-reach', async () => {
    const { follower } = await follow({ ...V4, ifaceCanReach: '10.200.0.1' });
    assert.equal(follower.current.underlay?.ifname, 'u0');
    here.ip('route add 10.200.0.0/16 via 198.51.100.254');
    await until('the other way', () => follower.current.underlay?.ifname === 'u1', 10_000);
  });

  it('is refused at once when a flag can not be right', async () => {
    await assert.rejects(
      followUnderlay({ ...V4, ifaceRegex: ['('] }, () => assert.fail()),
      { code: 'USAGE' },
    );
  });
});
