/**
 * A host with a bridge over its VXLAN device and two local ports, each with a host of its own behind it.
 *
 *   left - w1 \
 *              br0 - vx0 ~~~ v0 === p0 (Underlay)
 *   right - w2 /
 */
import assert from 'node:assert/strict';
import type { Namespace } from './netns.ts';
import type { Place } from './selftest.ts';
import { Underlay } from './selftest-underlay.ts';
import type { Agent } from './traffic.ts';
import { tunnelPacket } from './traffic-packets.ts';

export const VNI = 1000;
export const LEFT_MAC = '02:00:00:00:0a:01';
export const RIGHT_MAC = '02:00:00:00:0a:02';
const QUIET_MS = 120;
const WITHIN_MS = 2000;

/** Copies of what was sent, by where they went: addresses of remotes, and "right" for the local port. */
export type Copies = Record<string, number>;

const textOf = (frame: Uint8Array) => Buffer.from(frame).toString('latin1');

export class BridgedHost {
  readonly net: Underlay;
  readonly left: Namespace;
  readonly right: Namespace;
  readonly #left: Agent;
  readonly #right: Agent;
  readonly #peer: Agent;

  private constructor(
    net: Underlay,
    hosts: readonly [Namespace, Namespace],
    agents: readonly [Agent, Agent, Agent],
  ) {
    this.net = net;
    [this.left, this.right] = hosts;
    [this.#left, this.#right, this.#peer] = agents;
  }

  get place(): Place {
    return this.net.place;
  }

  /** `words` are those of the VXLAN device behind id and port. */
  static async make(place: Place, words: string): Promise<BridgedHost> {
    const net = await Underlay.join(place);
    const left = place.neighbour('left');
    const right = place.neighbour('right');
    // What interfaces say of their own accord is said at once or not at all.
    place.host.sysctl({ 'net.ipv6.conf.default.disable_ipv6': 1 });
    for (const namespace of [left, right])
      namespace.sysctl({
        'net.ipv6.conf.default.addr_gen_mode': 1,
        'net.ipv6.conf.default.mldv2_unsolicited_report_interval': 10,
      });
    place.host.ip(
      'link add br0 type bridge mcast_snooping 0',
      `link add w1 type veth peer name eth0 address ${LEFT_MAC} netns ${left.name}`,
      `link add w2 type veth peer name eth0 address ${RIGHT_MAC} netns ${right.name}`,
      ...['w1', 'w2'].flatMap((port) => [`link set ${port} master br0 up`]),
      'link set br0 up',
    );
    left.ip('link set eth0 up', 'addr add 10.0.0.1/24 dev eth0', 'addr add fd00::1/64 dev eth0 nodad');
    right.ip('link set eth0 up', 'addr add 10.0.0.2/24 dev eth0', 'addr add fd00::2/64 dev eth0 nodad');
    place.ok(
      `ip link add vx0 type vxlan id ${VNI} dstport 4789 ${words}`,
      'ip link set vx0 master br0',
      'ip link set vx0 up',
    );
    const agents = await Promise.all([place.agent(left), place.agent(right), place.agent(net.peer)]);
    return new BridgedHost(net, [left, right], agents);
  }

  /** Sends frames from the left host and counts their copies. */
  async copies(frames: readonly Uint8Array[], expected: number): Promise<Copies> {
    const [wire, local] = await Promise.all([
      this.#peer.capture('p0', { direction: 'in', udpPort: 4789 }),
      this.#right.capture('eth0', { direction: 'in' }),
    ]);
    await this.#left.call('inject', 'eth0', [...frames], { paceUs: 500 });
    const packets = await wire.stop({ frames: expected, quietMs: QUIET_MS, withinMs: WITHIN_MS });
    const arrived = await local.stop({ quietMs: 1, withinMs: WITHIN_MS });
    assert.equal(packets.missed + arrived.missed, 0);
    const found: Copies = {};
    const count = (where: string) => {
      found[where] = (found[where] ?? 0) + 1;
    };
    // Group reports and the like are no copies.
    const sent = new Set(frames.map(textOf));
    for (const { data } of packets.frames) {
      const packet = tunnelPacket(data);
      if (packet === undefined) count('no tunnel packet');
      else if (sent.has(textOf(packet.inner))) count(packet.destination);
    }
    for (const { data } of arrived.frames) if (sent.has(textOf(data))) count('right');
    this.place.note('copies', Object.fromEntries(Object.entries(found).sort()));
    return found;
  }

  /** What the left host receives while `work` runs. */
  async atLeft(work: () => Promise<unknown>, expected = 0): Promise<Uint8Array[]> {
    const capture = await this.#left.capture('eth0', { direction: 'in' });
    await work();
    const result = await capture.stop({ frames: expected, quietMs: QUIET_MS, withinMs: WITHIN_MS });
    assert.equal(result.missed, 0);
    return result.frames.map(({ data }) => data);
  }

  fromLeft(frames: readonly Uint8Array[]): Promise<void> {
    return this.#left.call('inject', 'eth0', [...frames], { paceUs: 500 });
  }
}
