/**
 * What the VTEP follows in the kernel: neighbours of its TAPs, nexthops, bridge membership, and every change of the
 * underlay that makes known paths old. Losses are made good by reading everything again.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  AF_INET,
  DEVICE_BYTES,
  DEVICE_FLAG_BRIDGED,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  HEADER_BASE,
  HEADER_PATHS_GENERATION_OFFSET,
} from '../assembly/layout.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import type { NexthopInfo } from '../src/dataplane/nexthops.ts';
import { closeTap, openTap, type Tap } from '../src/io/tap.ts';
import type { Neighbour } from '../src/netlink/neighbours.ts';
import type { Core } from '../src/vtep/core.ts';
import { type Device, recordOf } from '../src/vtep/device.ts';
import { Following } from '../src/vtep/following.ts';
import { KernelTables } from '../src/vtep/kernel-tables.ts';
import type { Place } from '../src/vtep/places.ts';
import { deviceConfig } from './support/device-config.ts';
import { Bed, missingForNamespaces, missingForTap, type Namespace } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';

const AT_ONCE_MS = 200;
const NUD_PERMANENT = 0x80;
const missing = missingForNamespaces() ?? missingForTap();

describe('following', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  const heard: [number, Neighbour, boolean][] = [];
  const told: (readonly NexthopInfo[])[] = [];
  let here: Namespace;
  let tap: Tap;
  let plane: Dataplane;
  let following: Following;
  let home: Place;
  let device: Device;

  before(async () => {
    here = bed.namespace('following');
    enter(here);
    here.ip('nexthop add id 1 via 192.0.2.2 fdb', 'nexthop add id 9 group 1 fdb');
    tap = openTap('vx0', 1, { uso: false });
    plane = new Dataplane(compileEngine(), 2, 0);
    const index = plane.devices.claim('vx0');
    const core: Partial<Core> = {
      plane,
      tables: new KernelTables({
        onNeighbour: (...all) => heard.push(all),
        onNexthops: (nexthops) => told.push(nexthops),
      }),
      devices: new Map(),
      home: () => home,
      log: () => {},
      emit: () => {},
      inTurn: (work) => work(),
    };
    following = new Following(core as Core);
    home = await following.start();
    const config = { ...deviceConfig(), address: '02:00:00:00:00:01', mtu: 1500 };
    device = {
      ...{ index, config, tap, family: AF_INET, ifindex: tap.ifindex, place: home, link: 0 },
      ...{ source: 0, sourceDf: 0, up: true, listeners: [], bridged: false, noarp: false },
    };
    core.devices!.set('vx0', device);
    plane.devices.write(index, recordOf(device));
    here.ip('link set vx0 up');
  });
  after(async () => {
    await following?.close();
    if (tap) closeTap(tap);
    await bed.close();
  });
  beforeEach(() => {
    heard.length = 0;
    told.length = 0;
  });

  it('nexthops: those that were there, members that come and go, a group that ends', async () => {
    // Told at the start; the list has been emptied since, so it is asked for again.
    following.resync(home);
    const via = (last: number) => ({ id: last - 1, weight: 1, family: AF_INET, gateway: `192.0.2.${last}` });
    assert.deepEqual(told.at(-1), [
      { id: 1, fdb: true },
      { id: 9, fdb: true, members: [via(2)] },
    ]);
    here.ip('nexthop add id 2 via 192.0.2.3 fdb', 'nexthop replace id 9 group 1/2,4 fdb');
    const members = () => told.at(-1)?.find(({ id }) => id === 9)?.members;
    await until('two members', () => members()?.length === 2, AT_ONCE_MS);
    assert.deepEqual(members(), [via(2), { ...via(3), weight: 4 }]);
    here.ip('nexthop del id 1');
    await until('one member', () => members()?.length === 1, AT_ONCE_MS);
    assert.deepEqual(members(), [{ ...via(3), weight: 4 }]);
    here.ip('nexthop del id 9');
    await until('no group', () => told.at(-1)?.length === 1, AT_ONCE_MS);
    assert.deepEqual(told.at(-1), [{ id: 2, fdb: true }]);
  });

  it('neighbours of our devices, no others, each change once', async () => {
    here.ip(
      'link add p0 type veth peer name p1',
      'neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev p0 nud permanent',
      'neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev vx0 nud permanent',
      'neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev vx0 nud permanent',
    );
    const of = (address: string) => heard.filter(([, neighbour]) => neighbour.address === address);
    await until('both', () => of('10.0.0.2').length === 1 && of('2001:db8::2').length === 1, AT_ONCE_MS);
    const [index, neighbour, removed] = of('10.0.0.2')[0]!;
    assert.deepEqual([index, removed], [device.index, false]);
    assert.deepEqual([neighbour.lladdr, neighbour.state], ['02:00:00:00:00:02', NUD_PERMANENT]);
    here.ip('neigh replace 10.0.0.2 lladdr 02:00:00:00:00:22 dev vx0 nud permanent');
    await until('changed', () => of('10.0.0.2').some(([, one]) => one.lladdr.endsWith('22')), AT_ONCE_MS);
    here.ip('neigh del 10.0.0.2 dev vx0');
    await until(
      'removed',
      () => of('10.0.0.2').some(([, one, gone]) => gone || one.lladdr === ''),
      AT_ONCE_MS,
    );
    assert.deepEqual(of('10.0.0.9'), []);
    here.ip('link del p0');
  });

  it('reading again finds what was missed, and tells of nothing else', async () => {
    here.ip(
      'neigh flush dev vx0 nud permanent',
      'neigh add 10.0.0.5 lladdr 02:00:00:00:00:05 dev vx0 nud permanent',
    );
    await until('known', () => heard.some(([, { address }]) => address === '10.0.0.5'), AT_ONCE_MS);
    // The interface's own group reports make neighbours too.
    const ours = () =>
      heard
        .map(([, { address, lladdr }, gone]) => ({ address, lladdr, gone }))
        .filter(({ address }) => ['10.0.0.5', '10.0.0.6'].includes(address));
    heard.length = 0;
    following.resync(home);
    assert.deepEqual(ours(), []);
    // Nobody hears of it in time: the listener runs only after this.
    here.ip(
      'neigh replace 10.0.0.5 lladdr 02:00:00:00:00:55 dev vx0 nud permanent',
      'neigh add 10.0.0.6 lladdr 02:00:00:00:00:06 dev vx0 nud permanent',
    );
    following.resync(home);
    assert.deepEqual(
      ours().sort((one, other) => one.address.localeCompare(other.address)),
      [
        { address: '10.0.0.5', lladdr: '02:00:00:00:00:55', gone: false },
        { address: '10.0.0.6', lladdr: '02:00:00:00:00:06', gone: false },
      ],
    );
  });

  it('a TAP that becomes a port of a bridge, and leaves it', async () => {
    const flags = () =>
      plane.views.view.getUint32(DEVICES_BASE + device.index * DEVICE_BYTES + DEVICE_FLAGS_OFFSET, true);
    const bridged = () => (flags() & DEVICE_FLAG_BRIDGED) !== 0;
    here.ip('link add br0 type bridge', 'link set vx0 master br0');
    await until('a port', bridged, AT_ONCE_MS);
    here.ip('link set vx0 nomaster');
    await until('no port', () => !bridged(), AT_ONCE_MS);
  });

  it('every change of routes, addresses, rules and links makes paths old', async () => {
    const at = (HEADER_BASE + HEADER_PATHS_GENERATION_OFFSET) >>> 2;
    const generation = () => Atomics.load(plane.views.u32, at);
    here.ip('link add u0 type veth peer name u1', 'link set u0 up', 'link set u1 up');
    for (const change of [
      'addr add 192.0.2.1/24 dev u0',
      'route add 198.51.100.0/24 via 192.0.2.2',
      'route change 198.51.100.0/24 via 192.0.2.2 mtu 1300',
      'route del 198.51.100.0/24',
      'addr add 2001:db8:1::1/64 dev u0 nodad',
      'route add 2001:db8:2::/64 via 2001:db8:1::2',
      'rule add from 192.0.2.1 table 100',
      '-6 rule add from 2001:db8:1::1 table 100',
      'link set u0 mtu 1400',
      'addr del 192.0.2.1/24 dev u0',
      'link set u0 down',
    ]) {
      // What the step before has set off still arrives.
      await new Promise((done) => setTimeout(done, 30));
      const before = generation();
      here.run('ip', ...change.split(' '));
      await until(change, () => generation() > before, AT_ONCE_MS);
    }
  });
});
