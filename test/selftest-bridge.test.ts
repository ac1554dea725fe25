/** Linux's selftest "vxlan bridge 1d", from its description: a plain bridge over the tunnel. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { ethernet, ipv4 } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { parseFrame } from './support/parse.ts';
import { type Place, twice } from './support/selftest.ts';
import { BridgedHost, LEFT_MAC, RIGHT_MAC, VNI } from './support/selftest-bridge.ts';
import { counters, HERE, PEERS, tunnelled } from './support/selftest-underlay.ts';

const ZERO = '00:00:00:00:00:00';
const UNKNOWN = '02:de:ad:be:ef:01';
const FAR = '02:00:00:00:0b:01';
const COUNT = 10;
const [ONE, TWO] = PEERS;

const packet = (tos = 0, n = 0) => ipv4({ tos, identification: n }, udp({}, new Uint8Array(40)));
const many = (destination: string, tos = 0) =>
  Array.from({ length: COUNT }, (_, n) => ethernet({ destination, source: LEFT_MAC }, packet(tos, n)));

async function flooding(place: Place, words = 'nolearning'): Promise<BridgedHost> {
  const host = await BridgedHost.make(place, `local ${HERE} ${words}`);
  for (const remote of [ONE, TWO]) place.ok(`bridge fdb append ${ZERO} dev vx0 dst ${remote} self`);
  return host;
}

const EVERYWHERE = { [ONE]: COUNT, [TWO]: COUNT, right: COUNT };

/** RFC 6040 as Linux has it: rows inner, columns outer, of Not-ECT, ECT(1), ECT(0), CE; -1 is a drop. */
const DECAPSULATED = [
  [0, 0, 0, -1],
  [1, 1, 1, 3],
  [2, 1, 2, 3],
  [3, 3, 3, 3],
];

twice('bridge 1d', [
  {
    name: 'pings cross between local ports and through the tunnel',
    async steps(place) {
      const { left, net } = await BridgedHost.make(place, `local ${HERE} remote ${ONE}`);
      net.peer.ip(
        `link add vx0 type vxlan id ${VNI} local ${ONE} remote ${HERE} dstport 4789`,
        'addr add 10.0.0.3/24 dev vx0',
        'addr add fd00::3/64 dev vx0 nodad',
        'link set vx0 up',
      );
      for (const address of ['10.0.0.2', '10.0.0.3', 'fd00::2', 'fd00::3'])
        assert.match(
          left.run('ping', '-c', '3', '-i', '0.1', '-W', '2', address),
          /3 received|, 0% packet loss/,
        );
    },
  },
  {
    name: 'unknown unicast goes to both remotes and the local port',
    async steps(place) {
      const host = await flooding(place);
      assert.deepEqual(await host.copies(many(UNKNOWN), 2 * COUNT), EVERYWHERE);
      assert.deepEqual(await host.copies(many('ff:ff:ff:ff:ff:ff'), 2 * COUNT), EVERYWHERE);
    },
  },
  {
    name: 'a remote that nobody answers for neither doubles nor holds back the others',
    async steps(place) {
      const host = await flooding(place);
      place.ok(`bridge fdb append ${ZERO} dev vx0 dst 192.0.2.99 self`);
      assert.deepEqual(await host.copies(many(UNKNOWN), 2 * COUNT), EVERYWHERE);
    },
  },
  {
    name: 'known MACs go to one place each',
    async steps(place) {
      const host = await flooding(place);
      place.ok(
        `bridge fdb add ${FAR} dev vx0 dst ${ONE} self master static`,
        `bridge fdb add 02:00:00:00:0b:02 dev vx0 dst ${TWO} self master static`,
        `bridge fdb replace ${RIGHT_MAC} dev w2 master static`,
      );
      assert.deepEqual(await host.copies(many(FAR), COUNT), { [ONE]: COUNT });
      assert.deepEqual(await host.copies(many('02:00:00:00:0b:02'), COUNT), { [TWO]: COUNT });
      assert.deepEqual(await host.copies(many(RIGHT_MAC), 0), { right: COUNT });
    },
  },
  {
    name: 'addresses and remotes taken away and given back',
    async steps(place) {
      const host = await flooding(place);
      for (const remote of [ONE, TWO]) place.ok(`bridge fdb del ${ZERO} dev vx0 dst ${remote} self`);
      place.ok(`ip address del ${HERE}/24 dev v0`);
      assert.deepEqual(await host.copies(many(UNKNOWN), 0), { right: COUNT });
      place.ok(`ip address add ${HERE}/24 dev v0`);
      // The kernel forgets neighbours with the last address of their network.
      for (const remote of [ONE, TWO])
        place.ok(
          `ip neigh replace ${remote} lladdr 02:50:00:00:00:02 dev v0 nud permanent`,
          `bridge fdb append ${ZERO} dev vx0 dst ${remote} self`,
        );
      assert.deepEqual(await host.copies(many(UNKNOWN), 2 * COUNT), EVERYWHERE);
    },
  },
  {
    name: 'TTL as configured, TOS as inherited, ECN as RFC 6040 has it',
    async steps(place) {
      const host = await flooding(place, 'nolearning ttl 100 tos inherit');
      place.ok(`bridge fdb del ${ZERO} dev vx0 dst ${TWO} self`);
      const [tos, ecn] = [
        [0x14, 0x18],
        [0, 1, 2, 3],
      ];
      const outer = async (inner: number) => {
        const frame = ethernet({ destination: UNKNOWN, source: LEFT_MAC }, packet(inner));
        const sent = await host.net.sent('vx0', [frame]);
        place.note(
          `inner ${inner}`,
          sent.map((one) => [one.ttl, one.tos]),
        );
        assert.equal(sent.length, 1);
        assert.equal(sent[0]!.ttl, 100);
        return sent[0]!.tos;
      };
      for (const value of tos!) assert.equal(await outer(value), value);
      for (const value of ecn!) assert.equal(await outer(value), [0, 1, 2, 2][value]);
    },
  },
  {
    name: 'ECN on the way in: all sixteen pairs, and one error for the one that is lost',
    async steps(place) {
      const host = await flooding(place);
      const before = counters(place, 'vx0').rx.errors ?? 0;
      for (const [inner, row] of DECAPSULATED.entries())
        for (const [outer, expected] of row.entries()) {
          const { data } = tunnelled(VNI, LEFT_MAC, FAR, packet(inner));
          const arrived = await host.atLeft(
            () => host.net.receive([{ data, tos: outer }]),
            expected < 0 ? 0 : 1,
          );
          const marks = arrived
            .map(parseFrame)
            .filter(({ ethernet: { source } }) => source === FAR)
            .map(({ ipv4: header }) => (header?.tos ?? -1) & 3);
          assert.deepEqual(marks, expected < 0 ? [] : [expected], `inner ${inner}, outer ${outer}`);
        }
      const errors = (counters(place, 'vx0').rx.errors ?? 0) - before;
      place.note('errors', errors);
      assert.equal(errors, 1);
    },
  },
  {
    name: 'a MAC is learned by tunnel and bridge, forgotten on request, and learned again',
    async steps(place) {
      const host = await flooding(place, 'learning');
      const teach = () => host.net.receive([tunnelled(VNI, LEFT_MAC, FAR, packet())], { from: TWO });
      const known = () => ({
        self: place.count('bridge fdb show brport vx0', new RegExp(`^${FAR} .*dst ${TWO} self`)),
        master: place.count('bridge fdb show brport vx0', new RegExp(`^${FAR} .*master br0`)),
      });
      assert.deepEqual(known(), { self: 0, master: 0 });
      await host.atLeft(teach, 1);
      assert.deepEqual(known(), { self: 1, master: 1 });
      assert.deepEqual(await host.copies(many(FAR), COUNT), { [TWO]: COUNT });
      place.ok(`bridge fdb del ${FAR} dev vx0 master self`);
      assert.deepEqual(known(), { self: 0, master: 0 });
      assert.deepEqual(await host.copies(many(FAR), 2 * COUNT), EVERYWHERE);
      await host.atLeft(teach, 1);
      assert.deepEqual(await host.copies(many(FAR), COUNT), { [TWO]: COUNT });
      // The bridge's learning is the bridge's affair.
      place.ok(`bridge fdb del ${FAR} dev vx0 master self`, 'bridge link set dev vx0 learning off');
      await host.atLeft(teach, 1);
      assert.deepEqual(known(), { self: 1, master: 0 });
    },
  },
  {
    name: 'a learned MAC ages out although it is still sent to',
    async steps(place) {
      const host = await flooding(place, 'learning ageing 3');
      await host.atLeft(() => host.net.receive([tunnelled(VNI, LEFT_MAC, FAR, packet())], { from: TWO }), 1);
      const known = () => place.quietly(`bridge fdb show dev vx0 | grep -c "^${FAR} dst"`).out.trim();
      assert.equal(known(), '1');
      let forgotten = false;
      // The driver looks every ten seconds.
      for (const end = performance.now() + 16_000; !forgotten && performance.now() < end; ) {
        await host.net.inject('vx0', [ethernet({ destination: FAR, source: LEFT_MAC }, packet())]);
        await pause(250);
        forgotten = known() === '0';
      }
      assert.ok(forgotten, 'still there after 16 s');
    },
  },
]);
