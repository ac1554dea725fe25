/** Linux's selftest "fdb flush", from its description: which entries each filter leaves. */
import assert from 'node:assert/strict';
import { type Place, twice } from './support/selftest.ts';

const SINCE_6_7 = 'bridge of iproute2 6.1 lacks the words';
const POOL = 5;

/** Five MACs of a pool, each with these words. */
function pool(place: Place, number: number, words: string, dev = 'vx0'): void {
  const lines = Array.from(
    { length: POOL },
    (_, n) => `fdb add 02:00:00:00:0${number}:0${n} dev ${dev} ${words}\\n`,
  );
  place.ok(`printf '${lines.join('')}' | bridge -batch -`);
}

const left = (place: Place, what: string | RegExp = 'dst', dev = 'vx0') =>
  place.count(`bridge fdb show dev ${dev}`, what);

function devices(place: Place): void {
  place.ok(
    'ip link add vx0 type vxlan id 10 dstport 4789',
    'ip link add vx1 type vxlan id 20 dstport 4789',
    'ip link set vx0 up',
    'ip link set vx1 up',
  );
}

const STATES = ['permanent', 'static', 'dynamic'] as const;

function allStates(place: Place): void {
  devices(place);
  for (const [number, state] of STATES.entries()) pool(place, number, `dst 192.0.2.2 ${state}`);
}

function flushed(place: Place, words: string, expected: number): void {
  place.ok(`bridge fdb flush dev vx0 ${words}`);
  assert.equal(left(place), expected, `${place.kind}: ${words}`);
  place.show('bridge fdb show dev vx0 | sort');
}

twice('fdb flush', [
  {
    name: 'without a filter: all of the device, none of another; twice is no error',
    steps(place) {
      allStates(place);
      pool(place, 9, 'dst 192.0.2.2', 'vx1');
      flushed(place, '', 0);
      flushed(place, '', 0);
      assert.equal(left(place, 'dst', 'vx1'), POOL);
    },
  },
  ...STATES.flatMap((state) => [
    {
      name: `${state}: that state alone`,
      steps(place: Place) {
        allStates(place);
        flushed(place, state, 2 * POOL);
        assert.equal(left(place, new RegExp(state === 'dynamic' ? 'self $' : `self ${state}`)), 0);
      },
    },
    {
      // "nostatic" asks for a clear NOARP bit, which permanent entries have too.
      name: `no${state}: ${state === 'static' ? 'the dynamic ones' : 'all others'}`,
      steps(place: Place) {
        allStates(place);
        flushed(place, `no${state}`, state === 'static' ? 2 * POOL : POOL);
        assert.equal(left(place, new RegExp(state === 'dynamic' ? 'self $' : `self ${state}`)), POOL);
      },
    },
  ]),
  {
    name: 'extern_learn and noextern_learn',
    steps(place) {
      devices(place);
      pool(place, 1, 'dst 192.0.2.2 extern_learn');
      pool(place, 2, 'dst 192.0.2.2');
      place.ok('bridge fdb flush dev vx0 extern_learn');
      assert.equal(left(place, 'extern_learn'), 0);
      assert.equal(left(place), POOL);
      pool(place, 1, 'dst 192.0.2.2 extern_learn');
      place.ok('bridge fdb flush dev vx0 noextern_learn');
      assert.equal(left(place, 'extern_learn'), POOL);
      assert.equal(left(place), POOL);
    },
  },
  {
    name: 'several filters hold together',
    steps(place) {
      devices(place);
      pool(place, 1, 'dst 192.0.2.2 static extern_learn');
      pool(place, 2, 'dst 192.0.2.2 static');
      pool(place, 3, 'dst 192.0.2.2 extern_learn');
      flushed(place, 'static extern_learn', 2 * POOL);
      flushed(place, 'nopermanent noextern_learn', POOL);
      flushed(place, 'permanent noextern_learn', POOL);
      flushed(place, 'permanent extern_learn', 0);
    },
  },
  {
    name: 'what the driver does not flush by is refused and removes nothing',
    steps(place) {
      allStates(place);
      for (const words of ['added_by_user', 'sticky', 'vlan 10', 'brport vx1'])
        place.refused(
          255,
          `bridge fdb flush dev vx0 ${words}`,
          /Unsupported|Operation not supported|does not/,
        );
      place.refused(255, 'bridge fdb flush dev nope');
      assert.equal(left(place), 3 * POOL);
    },
  },
  {
    name: 'a port of a bridge: self empties the tunnel’s table, master the bridge’s',
    steps(place) {
      devices(place);
      place.ok('ip link add br0 type bridge', 'ip link set vx0 master br0', 'ip link set br0 up');
      const both = () => {
        pool(place, 1, 'dst 192.0.2.2 self static');
        pool(place, 2, 'master static');
      };
      const state = () => ({ self: left(place, 'self static'), master: left(place, 'master br0 static') });
      both();
      place.ok('bridge fdb flush dev vx0 self');
      assert.deepEqual(state(), { self: 0, master: POOL });
      pool(place, 1, 'dst 192.0.2.2 self static');
      place.ok('bridge fdb flush dev vx0 master static');
      assert.deepEqual(state(), { self: POOL, master: 0 });
      pool(place, 2, 'master static');
      place.ok('bridge fdb flush dev vx0 self master static');
      assert.deepEqual(state(), { self: 0, master: 0 });
      both();
      place.ok('bridge fdb flush dev vx0');
      place.note('without self or master', state());
    },
  },
  ...(
    [
      ['vni', 'dst 192.0.2.2 vni 30', 'dst 192.0.2.2', 'vni 30'],
      ['the device’s own vni', 'dst 192.0.2.2', 'dst 192.0.2.2 vni 30', 'vni 10'],
      ['port', 'dst 192.0.2.2 port 5000', 'dst 192.0.2.2', 'port 5000'],
      ['the device’s own port', 'dst 192.0.2.2', 'dst 192.0.2.2 port 5000', 'port 4789'],
      ['dst', 'dst 192.0.2.3', 'dst 192.0.2.2', 'dst 192.0.2.3'],
      ['router', 'dst 192.0.2.2 router', 'dst 192.0.2.2', 'router'],
      ['norouter', 'dst 192.0.2.2', 'dst 192.0.2.2 router', 'norouter'],
      ['dst and port', 'dst 192.0.2.3 port 5000', 'dst 192.0.2.3', 'dst 192.0.2.3 port 5000'],
      ['dst and state', 'dst 192.0.2.3 static', 'dst 192.0.2.3', 'dst 192.0.2.3 static'],
    ] as const
  ).map(([name, goes, stays, filter], n) => ({
    name: `${name}: the matching pool alone`,
    only: SINCE_6_7,
    steps(place: Place) {
      devices(place);
      pool(place, 1, goes);
      pool(place, 2, stays);
      place.ok(`bridge fdb flush dev vx0 ${filter}`);
      assert.equal(left(place, '02:00:00:00:01'), 0, `${n}: ${filter}`);
      assert.equal(left(place, '02:00:00:00:02'), POOL);
      place.ok(`bridge fdb flush dev vx0 ${filter}`);
    },
  })),
  {
    name: 'src_vni: the entries of that VNI’s table',
    only: SINCE_6_7,
    steps(place) {
      place.ok('ip link add vx0 type vxlan external dstport 4789', 'ip link set vx0 up');
      pool(place, 1, 'dst 192.0.2.2 src_vni 100');
      pool(place, 2, 'dst 192.0.2.2 src_vni 200');
      place.ok('bridge fdb flush dev vx0 src_vni 100');
      assert.equal(left(place, 'src_vni 100'), 0);
      assert.equal(left(place, 'src_vni 200'), POOL);
    },
  },
  {
    name: 'nhid: the entries with that group; filters of remotes never match one',
    only: SINCE_6_7,
    steps(place) {
      devices(place);
      place.ok(
        'ip nexthop add id 1 via 192.0.2.2 fdb',
        'ip nexthop add id 2 via 192.0.2.3 fdb',
        'ip nexthop add id 10 group 1/2 fdb',
        'ip nexthop add id 20 group 1/2 fdb',
      );
      pool(place, 1, 'nhid 10');
      pool(place, 2, 'nhid 20');
      place.ok('bridge fdb flush dev vx0 dst 192.0.2.2');
      assert.equal(left(place, 'nhid'), 2 * POOL);
      place.ok('bridge fdb flush dev vx0 nhid 10');
      assert.equal(left(place, 'nhid 10'), 0);
      assert.equal(left(place, 'nhid 20'), POOL);
    },
  },
  {
    name: 'of an entry with six remotes only those that match go, the entry with the last',
    only: SINCE_6_7,
    steps(place) {
      devices(place);
      for (const [vni, port] of [
        [30, 5000],
        [30, 6000],
        [40, 5000],
        [40, 6000],
        [50, 5000],
        [50, 6000],
      ])
        place.ok(`bridge fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.2 vni ${vni} port ${port}`);
      assert.equal(left(place), 6);
      place.ok('bridge fdb flush dev vx0 vni 30');
      assert.equal(left(place), 4);
      place.ok('bridge fdb flush dev vx0 vni 40 port 5000');
      assert.equal(left(place), 3);
      place.ok('bridge fdb flush dev vx0 dst 192.0.2.3');
      assert.equal(left(place), 3);
      place.ok('bridge fdb flush dev vx0 dst 192.0.2.2 permanent');
      assert.equal(left(place), 0);
    },
  },
]);
