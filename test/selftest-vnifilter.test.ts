/** Linux's selftest "vnifiltering", its part on the API, from its description: exit codes and what the list shows. */
import assert from 'node:assert/strict';
import { type Place, twice } from './support/selftest.ts';

function device(place: Place, name = 'vx0', words = ''): void {
  place.ok(`ip link add ${name} type vxlan external vnifilter dstport 4789 ${words}`);
}

/** VNIs of a device and what they have of their own, however the list is laid out. */
function vnis(
  place: Place,
  name = 'vx0',
): { vni: number; vniEnd?: number; group?: string; remote?: string }[] {
  const { code, out, err } = place.quietly(`bridge -j vni show dev ${name}`);
  assert.equal(code, 0, err);
  const [found] = JSON.parse(out || '[]') as { ifname: string; vnis: object[] }[];
  const list = (found?.vnis ?? []) as ReturnType<typeof vnis>;
  place.note(`vnis of ${name}`, list);
  return list;
}

twice('vnifiltering', [
  {
    name: 'needs an external device',
    steps(place) {
      place.refused(1, 'ip link add vx0 type vxlan id 10 vnifilter dstport 4789', /vnifilter/);
      place.refused(1, 'ip link add vx0 type vxlan vnifilter dstport 4789', /vnifilter/);
      device(place);
      place.ok('ip link del vx0');
    },
  },
  {
    name: 'external and a VNI exclude each other',
    steps(place) {
      place.refused(1, 'ip link add vx0 type vxlan id 10 external dstport 4789', /both 'external' and vni/);
    },
  },
  {
    name: 'VNIs are added, listed, added again and deleted',
    steps(place) {
      device(place);
      assert.deepEqual(vnis(place), []);
      place.ok('bridge vni add vni 100 dev vx0');
      assert.deepEqual(vnis(place), [{ vni: 100 }]);
      place.ok('bridge vni add vni 100 dev vx0');
      assert.deepEqual(vnis(place), [{ vni: 100 }]);
      place.ok('bridge vni add vni 200-205,300 dev vx0');
      assert.deepEqual(vnis(place), [{ vni: 100 }, { vni: 200, vniEnd: 205 }, { vni: 300 }]);
      place.ok('bridge vni delete vni 202 dev vx0', 'bridge vni delete vni 300 dev vx0');
      vnis(place);
      place.refused(255, 'bridge vni delete vni 999 dev vx0', /No such file or directory/);
    },
  },
  {
    name: 'a VNI has a remote or a group of its own, and can be given another',
    steps(place) {
      place.host.ip('link add v0 type veth peer name v1', 'link set v0 up');
      device(place, 'vx0', 'dev v0');
      place.ok(
        'bridge vni add vni 100 remote 192.0.2.2 dev vx0',
        'bridge vni add vni 101 group 239.1.1.101 dev vx0',
      );
      assert.deepEqual(vnis(place), [
        { vni: 100, remote: '192.0.2.2' },
        { vni: 101, group: '239.1.1.101' },
      ]);
      place.show('bridge fdb show dev vx0 | sort');
      place.ok('bridge vni add vni 100 remote 192.0.2.3 dev vx0');
      vnis(place);
      // The kernel keeps the remote that was replaced as well, even when the VNI goes: that is not imitated.
      assert.equal(place.count('bridge fdb show dev vx0', '192.0.2.3 vni 100 src_vni 100 via v0'), 1);
      place.ok('bridge vni delete vni 100 dev vx0');
      assert.equal(place.count('bridge fdb show dev vx0', '192.0.2.3 vni 100'), 0);
      vnis(place);
    },
  },
  {
    name: 'a group needs an interface',
    steps(place) {
      device(place);
      place.refused(
        255,
        'bridge vni add vni 100 group 239.1.1.1 dev vx0',
        /Local interface required for multicast/,
      );
      vnis(place);
    },
  },
  {
    name: 'VNIs without a remote follow the device’s',
    steps(place) {
      device(place, 'vx0', 'remote 192.0.2.2');
      place.ok('bridge vni add vni 100 dev vx0', 'bridge vni add vni 200 remote 192.0.2.9 dev vx0');
      place.show('bridge fdb show dev vx0 | sort');
    },
  },
  {
    name: 'a VNI of another device of that port is in use',
    steps(place) {
      device(place, 'vx0');
      device(place, 'vx1');
      place.ok('ip link set vx0 up', 'ip link set vx1 up', 'bridge vni add vni 100 dev vx0');
      place.refused(255, 'bridge vni add vni 100 dev vx1', /VNI in use/);
      place.ok(
        'bridge vni add vni 101 dev vx1',
        'bridge vni delete vni 100 dev vx0',
        'bridge vni add vni 100 dev vx1',
      );
    },
  },
  {
    name: 'the flag stays as it was made',
    steps(place) {
      device(place, 'vx0');
      place.ok('ip link add vx1 type vxlan external dstport 4790');
      place.refused(2, 'ip link set dev vx1 type vxlan external vnifilter');
      place.refused(255, 'bridge vni add vni 100 dev vx1', /Operation not supported/);
    },
  },
  {
    name: 'VNI 0, words that are missing, and devices of another kind',
    steps(place) {
      device(place);
      place.ok('ip link add vx1 type vxlan id 10 dstport 4790');
      place.refused(255, 'bridge vni add vni 0 dev vx0');
      place.refused(255, 'bridge vni add dev vx0');
      place.refused(255, 'bridge vni add vni 100 dev nope');
      place.refused(255, 'bridge vni add vni 100 dev vx1', /Operation not supported/);
      place.refused(255, 'bridge vni add vni 100 remote 239.1.1.1 dev vx0');
      vnis(place);
    },
  },
]);
