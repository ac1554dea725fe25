/** Remotes and senders of unusual kinds, on the kernel's device and on vxlane's: what the wire shows is the same. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ethernet, ipv4, rawPacket } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { twice } from './support/selftest.ts';
import { HERE, HERE6, PEERS, PEERS6, Underlay } from './support/selftest-underlay.ts';
import { vxlan } from './support/traffic-frames.ts';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const SOURCE = '02:00:00:00:00:0a';
const ZERO = '00:00:00:00:00:00';
const FRAME = ethernet({ destination: BROADCAST, source: SOURCE }, ipv4({}, udp({}, new Uint8Array(30))));
const NOT_IP = ethernet({ destination: BROADCAST, source: SOURCE }, rawPacket(0x88b5, new Uint8Array(46)));

twice('replay of remotes', [
  {
    name: 'a remote may be a broadcast address of the underlay; a prohibited one counts as no route',
    async steps(place) {
      const net = await Underlay.join(place);
      place.ok(
        `ip link add vx0 type vxlan id 42 local ${HERE} remote 192.0.2.255 dstport 4789`,
        'ip link set vx0 up',
        'ip route add prohibit 203.0.113.1',
        'bridge fdb add 02:00:00:00:00:01 dev vx0 dst 203.0.113.1',
      );
      const [packet, ...more] = await net.sent('vx0', [FRAME]);
      assert.equal(packet?.destination, '192.0.2.255');
      assert.equal(more.length, 0);
      // The host hears its own broadcast, and learns from it.
      place.show('bridge fdb show dev vx0');
      await net.inject('vx0', [
        ethernet({ destination: '02:00:00:00:00:01', source: SOURCE }, ipv4({}, udp({}, new Uint8Array(30)))),
      ]);
      const [link] = JSON.parse(place.quietly('ip -s -s -j link show vx0').out);
      assert.deepEqual([link.stats64.tx.errors, link.stats64.tx.carrier_errors], [1, 1]);
    },
  },
  {
    name: "an IPv6 source address that is not the host's is sent from all the same",
    async steps(place) {
      const net = await Underlay.join(place);
      place.ok(
        `ip link add vx0 type vxlan id 42 local 2001:db8::77 remote ${PEERS6[0]} dstport 4789`,
        'ip link set vx0 up',
      );
      assert.deepEqual(
        (await net.sent('vx0', [FRAME])).map(({ source }) => source),
        ['2001:db8:0:0:0:0:0:77'],
      );
    },
  },
  {
    name: "an inherited TTL that is not there is the host's, for a group too",
    async steps(place) {
      const net = await Underlay.join(place);
      const ttls: number[] = [];
      for (const [local, group] of [
        [HERE, '239.1.1.1'],
        [HERE6, 'ff05::42'],
      ]) {
        place.ok(
          `ip link add vx0 type vxlan id 42 local ${local} group ${group} dev v0 dstport 4789 ttl inherit`,
          'ip link set vx0 up',
        );
        ttls.push(...(await net.sent('vx0', [NOT_IP])).map(({ ttl }) => ttl));
        place.ok('ip link del vx0');
      }
      assert.deepEqual(ttls, [64, 64]);
    },
  },
  {
    name: '"remote 0.0.0.0" takes the default destination away; others stay',
    async steps(place) {
      const net = await Underlay.join(place);
      place.ok(
        `ip link add vx0 type vxlan id 42 local ${HERE} remote ${PEERS[0]} dstport 4789`,
        `bridge fdb append ${ZERO} dev vx0 dst ${PEERS[1]}`,
        'ip link set vx0 up',
        'ip link set vx0 type vxlan remote 0.0.0.0',
      );
      assert.equal(place.show('bridge fdb show dev vx0').trim(), `${ZERO} dst ${PEERS[1]} self permanent`);
      assert.doesNotMatch(place.quietly('ip -d link show vx0').out, / remote /);
      assert.deepEqual(
        (await net.sent('vx0', [FRAME])).map(({ destination }) => destination),
        [PEERS[1]],
      );
      place.ok(`ip link set vx0 type vxlan remote ${PEERS[2]}`);
      place.show('bridge fdb show dev vx0');
    },
  },
  {
    name: 'a device with link-local addresses hears senders of other scopes on its link',
    async steps(place) {
      const net = await Underlay.join(place);
      place.host.ip('addr add fe80::1/64 dev v0 nodad');
      place.ok(
        'ip link add vx0 type vxlan id 42 local fe80::1 remote fe80::2 dev v0 dstport 4789',
        'ip link set vx0 up',
      );
      const datagram = { data: vxlan(42, FRAME) };
      assert.equal((await net.delivered('vx0', [datagram], { from: PEERS6[1] })).length, 1);
      place.show('bridge fdb show dev vx0');
    },
  },
  {
    name: 'a route short circuit goes on to a neighbour that has failed: the kernel keeps its MAC',
    async steps(place) {
      const net = await Underlay.join(place);
      const [router, far] = ['02:00:00:00:00:aa', '02:00:00:00:00:0b'];
      place.ok(
        `ip link add vx0 type vxlan id 42 local ${HERE} dstport 4789 rsc`,
        'ip link set vx0 up',
        `bridge fdb add ${router} dev vx0 dst ${PEERS[0]} router`,
        `bridge fdb add ${far} dev vx0 dst ${PEERS[1]}`,
        `ip neigh add 10.0.0.2 lladdr ${far} dev vx0 nud permanent`,
        'ip neigh change 10.0.0.2 dev vx0 nud failed',
      );
      const routed = ethernet(
        { destination: router, source: SOURCE },
        ipv4({ destination: '10.0.0.2' }, udp({}, new Uint8Array(30))),
      );
      let [packet] = await net.sent('vx0', [routed]);
      // The daemon hears of the kernel's table some time after.
      for (let tries = 0; tries < 40 && packet?.destination !== PEERS[1]; tries++) {
        await sleep(250);
        [packet] = await net.sent('vx0', [routed]);
      }
      assert.equal(packet?.destination, PEERS[1]);
      assert.deepEqual([...packet!.inner.subarray(0, 6)], [2, 0, 0, 0, 0, 0x0b]);
    },
  },
]);
