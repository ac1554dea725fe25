/**
 * The underlay of a selftest: the host under test and one neighbour that plays every other VTEP, by capture and by
 * hand-made datagrams.
 *
 *   host: v0 192.0.2.1, 2001:db8::1  =====  peer: p0 192.0.2.2 to .4, 2001:db8::2 to ::4
 */
import assert from 'node:assert/strict';
import { ethernet as frame, type Packet } from './frames.ts';
import type { Namespace } from './netns.ts';
import type { Place } from './selftest.ts';
import type { Agent } from './traffic.ts';
import { ip, vxlan } from './traffic-frames.ts';
import { type TunnelPacket, tunnelPacket } from './traffic-packets.ts';

export const HERE = '192.0.2.1';
export const HERE6 = '2001:db8::1';
export const PEERS = ['192.0.2.2', '192.0.2.3', '192.0.2.4'] as const;
export const PEERS6 = ['2001:db8::2', '2001:db8::3', '2001:db8::4'] as const;
const HOST_MAC = '02:50:00:00:00:01';
const PEER_MAC = '02:50:00:00:00:02';
const QUIET_MS = 80;
const WITHIN_MS = 2000;

const WHOLE_PACKETS = {
  'tx-udp-segmentation': false,
  'tx-udp_tnl-segmentation': false,
  'tx-udp_tnl-csum-segmentation': false,
  'tx-tcp-segmentation': false,
};

export class Underlay {
  readonly place: Place;
  readonly peer: Namespace;
  readonly #host: Agent;
  readonly #peer: Agent;

  private constructor(place: Place, peer: Namespace, agents: readonly [Agent, Agent]) {
    this.place = place;
    this.peer = peer;
    [this.#host, this.#peer] = agents;
  }

  static async join(place: Place, mtu = 1500): Promise<Underlay> {
    const { host } = place;
    const peer = place.neighbour('peer');
    // Nothing is said that a test did not ask for.
    for (const namespace of [host, peer]) namespace.sysctl({ 'net.ipv6.conf.default.addr_gen_mode': 1 });
    host.ip(
      `link add v0 address ${HOST_MAC} mtu ${mtu} type veth peer name p0 address ${PEER_MAC} mtu ${mtu} netns ${peer.name}`,
      `addr add ${HERE}/24 dev v0`,
      `addr add ${HERE6}/64 dev v0 nodad`,
      'link set v0 up',
      ...[...PEERS, ...PEERS6].map(
        (address) => `neigh add ${address} lladdr ${PEER_MAC} dev v0 nud permanent`,
      ),
    );
    peer.ip(
      ...PEERS.map((address) => `addr add ${address}/24 dev p0`),
      ...PEERS6.map((address) => `addr add ${address}/64 dev p0 nodad`),
      'link set p0 up',
      `neigh add ${HERE} lladdr ${HOST_MAC} dev p0 nud permanent`,
      `neigh add ${HERE6} lladdr ${HOST_MAC} dev p0 nud permanent`,
    );
    const agents = await Promise.all([place.agent(), place.agent(peer)]);
    // Captures are to see packets, not what is cut into packets later.
    for (const ifname of ['v0', 'lo']) await agents[0].call('offloads', ifname, WHOLE_PACKETS);
    return new Underlay(place, peer, agents);
  }

  /** Puts frames onto an interface of the host and returns the tunnel packets that reach the peer. */
  async sent(
    ifname: string,
    frames: readonly Uint8Array[],
    { port = 4789, expected = frames.length } = {},
  ): Promise<TunnelPacket[]> {
    const capture = await this.#peer.capture('p0', { direction: 'in', udpPort: port });
    await this.#host.call('inject', ifname, [...frames], { paceUs: 100 });
    const result = await capture.stop({ frames: expected, quietMs: QUIET_MS, withinMs: WITHIN_MS });
    assert.equal(result.missed, 0);
    return result.frames.map(({ data }) => tunnelPacket(data) ?? assert.fail('no tunnel packet'));
  }

  /** What arrives at an interface of the host while `work` runs. */
  async arriving(
    ifname: string,
    work: () => Promise<unknown>,
    { expected = 0, direction = 'in' as 'in' | 'out' | 'both', port = 0 } = {},
  ): Promise<Uint8Array[]> {
    const capture = await this.#host.capture(ifname, { direction, ...(port === 0 ? {} : { udpPort: port }) });
    await work();
    const result = await capture.stop({ frames: expected, quietMs: QUIET_MS, withinMs: WITHIN_MS });
    assert.equal(result.missed, 0);
    return result.frames.map(({ data }) => data);
  }

  /** Puts frames onto an interface of the host. */
  inject(ifname: string, frames: readonly Uint8Array[]): Promise<void> {
    return this.#host.call('inject', ifname, [...frames], { paceUs: 100 });
  }

  /** Sends datagrams from the peer to the host's VXLAN port. */
  async receive(
    datagrams: readonly { data: Uint8Array; tos?: number }[],
    { from = PEERS[0] as string, port = 4789 } = {},
  ): Promise<void> {
    const to = from.includes(':') ? HERE6 : HERE;
    const options = { from: ip(from), to: ip(to), sourcePort: 40_000, port, paceUs: 200 };
    await this.#peer.call('datagrams', [...datagrams], options);
  }

  /** Frames in a tunnel from the peer, as the host's device hands them up. */
  async delivered(
    ifname: string,
    datagrams: readonly { data: Uint8Array; tos?: number }[],
    options: { from?: string; port?: number; expected?: number } = {},
  ): Promise<Uint8Array[]> {
    const { expected = datagrams.length, ...way } = options;
    return this.arriving(ifname, () => this.receive(datagrams, way), { expected });
  }
}

/** A VXLAN datagram's payload. */
export function tunnelled(vni: number, to: string, from: string, packet: Packet): { data: Uint8Array } {
  return { data: vxlan(vni, frame({ destination: to, source: from }, packet)) };
}

/** Counters of a device, in the driver's sense. */
export function counters(
  place: Place,
  name: string,
): { rx: Record<string, number>; tx: Record<string, number> } {
  const { code, out, err } = place.quietly(`ip -s -s -j link show dev ${name}`);
  assert.equal(code, 0, err);
  return JSON.parse(out)[0].stats64;
}
