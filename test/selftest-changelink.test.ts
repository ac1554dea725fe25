/** Linux's selftest "fdb changelink", from its description: who changes the default remote keeps the others. */
import assert from 'node:assert/strict';
import { type Place, twice } from './support/selftest.ts';

const ZERO = '00:00:00:00:00:00';
const list = 'bridge fdb show dev vx0';

function appended(place: Place): void {
  place.ok(
    'ip link add vx0 type vxlan id 10 dstport 4789 remote 192.0.2.20 local 192.0.2.1',
    `bridge fdb append ${ZERO} dev vx0 dst 192.0.2.30 self permanent`,
  );
  assert.equal(place.count(list, ZERO), 2);
}

twice('fdb changelink', [
  {
    name: 'a remote that is in the list already becomes the default: no duplicate, none lost',
    steps(place) {
      appended(place);
      place.ok('ip link set vx0 type vxlan id 10 remote 192.0.2.30');
      assert.equal(place.count(list, `${ZERO} dst 192.0.2.30`), 1);
      place.show(`${list} | sort`);
    },
  },
  {
    name: 'the same remote again changes nothing',
    steps(place) {
      appended(place);
      place.ok('ip link set vx0 type vxlan id 10 remote 192.0.2.20');
      assert.equal(place.count(list, ZERO), 2);
      place.show(`${list} | sort`);
    },
  },
  {
    name: 'two appended remotes survive a change of the default to one of them',
    steps(place) {
      place.ok('ip link add vx0 type vxlan id 10 dstport 4789');
      for (const host of [20, 30])
        place.ok(`bridge fdb append ${ZERO} dev vx0 dst 192.0.2.${host} self permanent`);
      place.ok('ip link set vx0 type vxlan id 10 remote 192.0.2.30');
      assert.equal(place.count(list, ZERO), 2);
      place.show(`${list} | sort`);
    },
  },
  {
    name: 'a new remote takes the place of the old default alone, up or down',
    steps(place) {
      appended(place);
      place.ok('ip link set vx0 type vxlan id 10 remote 192.0.2.40');
      place.show(`${list} | sort`);
      place.ok('ip link set vx0 up', 'ip link set vx0 type vxlan id 10 remote 192.0.2.50');
      assert.equal(place.count(list, ZERO), 2);
      place.show(`${list} | sort`);
      place.refused(2, 'ip link set vx0 type vxlan id 11 remote 192.0.2.60', /Cannot change VNI/);
      place.show(`${list} | sort`);
    },
  },
]);
