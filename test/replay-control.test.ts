/** What commands and lists say on the kernel's device and on vxlane's, found different once. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Place, twice } from './support/selftest.ts';
import { Underlay } from './support/selftest-underlay.ts';

const A = '02:00:00:00:00:0a';

/** Waits until the FDB is empty, or until that can no longer be what was to happen. */
async function emptied(place: Place, withinMs: number): Promise<void> {
  for (const end = Date.now() + withinMs; Date.now() < end; await sleep(250))
    if (place.quietly('bridge fdb show dev vx0').out.trim() === '') return;
}

twice('replay of commands', [
  {
    name: 'old entries are looked for ten seconds after a device went up, not before',
    async steps(place) {
      place.ok(
        'ip link add vx0 type vxlan id 42 dstport 4789 ageing 1',
        'ip link set vx0 up',
        `bridge fdb add ${A} dev vx0 dst 192.0.2.2 dynamic`,
      );
      await sleep(4000);
      assert.match(place.show('bridge fdb show dev vx0'), /0a dst/);
      await emptied(place, 16_000);
      assert.equal(place.show('bridge fdb show dev vx0'), '');
    },
  },
  {
    name: 'a device that is down loses nothing to age; another ageing time is looked at at once',
    async steps(place) {
      place.ok(
        'ip link add vx0 type vxlan id 42 dstport 4789',
        `bridge fdb add ${A} dev vx0 dst 192.0.2.2 dynamic`,
        'ip link set vx0 type vxlan ageing 1',
      );
      await sleep(3000);
      assert.match(place.show('bridge fdb show dev vx0'), /0a dst/);
      place.ok('ip link set vx0 up');
      place.ok('ip link set vx0 type vxlan ageing 2');
      await emptied(place, 8000);
      assert.equal(place.show('bridge fdb show dev vx0'), '');
    },
  },
  {
    name: '"self master" without a bridge is the driver\'s entry, and says so; with one it is in both tables',
    async steps(place) {
      await Underlay.join(place);
      place.ok(
        'ip link add vx0 address 02:00:00:00:00:fe type vxlan id 42 dstport 4789',
        `bridge fdb add ${A} dev vx0 dst 192.0.2.2 self master`,
      );
      assert.equal(place.show('bridge fdb show dev vx0').trim(), `${A} dst 192.0.2.2 self master permanent`);
      place.show('bridge -j fdb show dev vx0');
      place.ok(`bridge fdb del ${A} dev vx0 dst 192.0.2.2 self master`);
      place.ok('ip link add br0 type bridge', 'ip link set vx0 master br0');
      place.ok(`bridge fdb add ${A} dev vx0 dst 192.0.2.2 self master`);
      assert.match(place.show('bridge fdb show dev vx0'), /0a dst 192.0.2.2 self permanent/);
      place.ok(`bridge fdb del ${A} dev vx0 self master`);
      place.show('bridge fdb show dev vx0');
    },
  },
  {
    name: 'a device without Ethernet header is shown with its options too',
    async steps(place) {
      place.ok('ip link add vx0 type vxlan external gpe dstport 4790');
      assert.match(place.quietly('ip -d link show vx0').out, /^ {4}vxlan .*dstport 4790.* gpe /m);
    },
  },
  {
    name: 'addresses that are none are refused in the words of bridge',
    async steps(place) {
      place.ok('ip link add vx0 type vxlan id 42 dstport 4789');
      place.refused(255, 'bridge fdb add xx dev vx0 dst 192.0.2.2', /Invalid mac address xx/);
      place.refused(1, `bridge fdb add ${A} dev vx0 dst x`, /any valid address is expected rather than "x"/);
    },
  },
]);
