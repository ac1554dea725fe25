/**
 * Routes and neighbours written in batches: `ip -j` shows what was asked for, what the kernel refuses is told of that
 * message alone, and dumps show one's own and nobody else's.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import ipaddr from 'ipaddr.js';
import { errorName } from '../src/io/errno.ts';
import { AF_INET, AF_INET6, type Family } from '../src/io/family.ts';
import { indexOf } from '../src/io/interface.ts';
import { dumpNeighbours, NUD_PERMANENT, putNeighbour, removeNeighbour } from '../src/netlink/neighbours.ts';
import {
  dumpRoutes,
  findRoute,
  linkOf,
  type NewRoute,
  putRoute,
  readTableRoute,
  removeRoute,
} from '../src/netlink/route-table.ts';
import { NetlinkSocket, type Refusal } from '../src/netlink/socket.ts';
import { Bed, missingForNamespaces, type Namespace } from './support/netns.ts';
import { enter } from './support/own-namespace.ts';

const PROTOCOL = 118;
const MANY = 2000;
const bytesOf = (address: string) => Uint8Array.from(ipaddr.parse(address).toByteArray());
const missing = missingForNamespaces();

describe('batches of routes and neighbours', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let here: Namespace;
  let socket: NetlinkSocket;
  let v0: number;

  before(() => {
    here = bed.namespace('tables');
    enter(here);
    here.ip(
      'link add v0 type veth peer name v1',
      'addr add 192.0.2.1/24 dev v0',
      'addr add 2001:db8::1/64 dev v0 nodad',
      'link set v1 up',
      'link set v0 up',
    );
    socket = new NetlinkSocket({ tables: true });
    v0 = indexOf('v0');
  });
  after(async () => {
    socket?.close();
    await bed.close();
  });

  const route = (network: string, gateway: string, more: Partial<NewRoute> = {}): NewRoute => {
    const [address, length] = network.split('/') as [string, string];
    return {
      family: (network.includes(':') ? AF_INET6 : AF_INET) as Family,
      destination: bytesOf(address),
      prefixLength: Number(length),
      gateway: bytesOf(gateway),
      ...{ ifindex: v0, protocol: PROTOCOL, priority: 0, onlink: true },
      ...more,
    };
  };
  const shown = (family: '-4' | '-6', ...filter: string[]) =>
    here.ipJson(family, 'route', 'show', ...filter) as Record<string, unknown>[];
  const names = (refusals: readonly Refusal[]) =>
    refusals.map(({ index, errno }) => [index, errorName(errno)]);

  it('are done, thousands in one go', () => {
    const address = (n: number) => `10.${n >> 8}.${n & 255}.0`;
    const mac = (n: number) => Uint8Array.of(2, 0, 0, 0, n >> 8, n & 255);
    const every = Array.from({ length: MANY }, (_, n) => n);
    assert.deepEqual(
      socket.batch([
        ...every.map((n) => putNeighbour(AF_INET, v0, bytesOf(address(n)), mac(n))),
        ...every.map((n) => putRoute(route(`${address(n)}/24`, address(n)), false)),
      ]),
      [],
    );
    const routes = shown('-4', 'proto', `${PROTOCOL}`);
    assert.equal(routes.length, MANY);
    assert.deepEqual(routes[300], {
      dst: '10.1.44.0/24',
      gateway: '10.1.44.0',
      dev: 'v0',
      flags: ['onlink'],
    });
    const neighbours = here.ipJson('neigh', 'show', 'dev', 'v0', 'nud', 'permanent') as { dst: string }[];
    assert.equal(neighbours.length, MANY);
    assert.deepEqual(
      neighbours.find(({ dst }) => dst === '10.1.44.0'),
      {
        dst: '10.1.44.0',
        lladdr: '02:00:00:00:01:2c',
        state: ['PERMANENT'],
      },
    );
    const dumped = dumpRoutes(socket, AF_INET, PROTOCOL);
    assert.equal(dumped.length, MANY);
    const held = dumpNeighbours(socket, v0).filter(({ state }) => state === NUD_PERMANENT);
    assert.equal(held.length, MANY);
    assert.deepEqual(
      dumpNeighbours(socket, indexOf('v1')).filter(({ family }) => family === AF_INET),
      [],
    );
    assert.deepEqual(
      socket.batch([
        ...every.map((n) => removeNeighbour(AF_INET, v0, bytesOf(address(n)))),
        ...dumped.map((one) => removeRoute(one, bytesOf(one.gateway!))),
      ]),
      [],
    );
    assert.deepEqual(shown('-4', 'proto', `${PROTOCOL}`), []);
    assert.deepEqual(here.ipJson('neigh', 'show', 'dev', 'v0', 'nud', 'permanent'), []);
  });

  it('of IPv6 likewise, with the kernel’s metric', () => {
    const gateway = bytesOf('fd00:2::');
    const wanted = [
      putNeighbour(AF_INET6, v0, gateway, Uint8Array.of(2, 0, 0, 0, 0, 9)),
      putRoute(route('fd00:2::/64', 'fd00:2::'), false),
    ];
    assert.deepEqual(socket.batch(wanted), []);
    const [found] = shown('-6', 'proto', `${PROTOCOL}`);
    assert.deepEqual(
      [found!.dst, found!.gateway, found!.dev, found!.metric, found!.flags],
      ['fd00:2::/64', 'fd00:2::', 'v0', 1024, ['onlink']],
    );
    const [dumped, ...others] = dumpRoutes(socket, AF_INET6, PROTOCOL);
    assert.deepEqual(others, []);
    assert.deepEqual(dumped, {
      family: AF_INET6,
      destination: gateway,
      prefixLength: 64,
      gateway: 'fd00:2::',
      ifindex: v0,
      protocol: PROTOCOL,
      priority: 1024,
      type: 1,
      onlink: true,
    });
    assert.deepEqual(
      socket.batch([removeRoute(dumped!, gateway), removeNeighbour(AF_INET6, v0, gateway)]),
      [],
    );
    assert.deepEqual(dumpRoutes(socket, AF_INET6, PROTOCOL), []);
  });

  it('that are refused are told one by one, with the kernel’s sentence, and stop no other', () => {
    here.ip('route add 10.2.0.0/24 via 192.0.2.9 proto static');
    const refusals = socket.batch([
      putRoute(route('10.1.0.0/24', '10.1.0.0'), false),
      putRoute(route('10.2.0.0/24', '10.2.0.0'), false),
      putRoute(route('10.3.0.0/24', '10.3.0.0', { onlink: false }), false),
      putRoute(route('10.4.0.0/24', '10.4.0.0', { ifindex: 9999 }), false),
      removeNeighbour(AF_INET, v0, bytesOf('10.5.0.0')),
      putRoute(route('10.6.0.0/24', '10.6.0.0'), false),
    ]);
    assert.deepEqual(names(refusals), [
      [1, 'EEXIST'],
      [2, 'ENETUNREACH'],
      [3, 'ENODEV'],
      [4, 'ENOENT'],
    ]);
    assert.equal(refusals[1]!.reason, 'Nexthop has invalid gateway');
    const networks = dumpRoutes(socket, AF_INET, PROTOCOL).map(({ destination }) => destination.join('.'));
    assert.deepEqual(networks.sort(), ['10.1.0.0', '10.6.0.0']);
    assert.equal(findRoute(socket, AF_INET, bytesOf('10.2.0.0'), 24)?.gateway, '192.0.2.9');
    assert.equal(findRoute(socket, AF_INET, bytesOf('10.2.0.0'), 25), undefined);
    here.run('sh', '-c', `ip route flush proto ${PROTOCOL}; ip route del 10.2.0.0/24`);
  });

  it('take the place of a route, and remove that one alone', () => {
    assert.deepEqual(socket.batch([putRoute(route('10.7.0.0/24', '10.7.0.0'), false)]), []);
    const direct = route('10.7.0.0/24', '192.0.2.7', { onlink: false });
    assert.deepEqual(socket.batch([putRoute(direct, true)]), []);
    here.ip('route add 10.7.0.0/24 via 192.0.2.8 metric 5 proto static');
    const [ours, ...rest] = dumpRoutes(socket, AF_INET, PROTOCOL);
    assert.deepEqual([ours!.gateway, ours!.onlink, rest.length], ['192.0.2.7', false, 0]);
    const other = { ...ours!, gateway: '192.0.2.8', priority: 5 };
    assert.deepEqual(names(socket.batch([removeRoute(other, bytesOf('192.0.2.8'))])), [[0, 'ESRCH']]);
    assert.deepEqual(socket.batch([removeRoute(ours!, bytesOf('192.0.2.7'))]), []);
    const [left] = shown('-4', '10.7.0.0/24');
    assert.deepEqual([left!.gateway, left!.protocol], ['192.0.2.8', 'static']);
    here.ip('route del 10.7.0.0/24');
  });

  it('the link that an address is on', () => {
    here.ip(
      'route add 198.51.100.0/24 via 192.0.2.2',
      'route add 203.0.113.0/24 via inet6 2001:db8::2 dev v0',
    );
    assert.equal(linkOf(socket, AF_INET, bytesOf('192.0.2.77')), v0);
    assert.equal(linkOf(socket, AF_INET6, bytesOf('2001:db8::77')), v0);
    assert.equal(linkOf(socket, AF_INET, bytesOf('198.51.100.1')), 0);
    assert.equal(linkOf(socket, AF_INET, bytesOf('203.0.113.1')), 0);
    assert.equal(linkOf(socket, AF_INET, bytesOf('192.0.2.1')), 0);
    assert.equal(linkOf(socket, AF_INET, bytesOf('8.8.8.8')), 0);
  });

  it('announcements that are cut short are nothing', () => {
    const whole = putRoute(route('10.8.0.0/24', '10.8.0.0'), false).subarray(16);
    for (let length = 0; length < whole.length; ++length) {
      const message = { type: 24, flags: 0, sequence: 0, body: whole.slice(0, length) };
      const event = readTableRoute(message);
      assert.ok(event === undefined || event.route.destination.length === 4, `${length} bytes`);
    }
  });
});
