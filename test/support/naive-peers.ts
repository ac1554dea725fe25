/**
 * `knownpeers` with nothing clever about it: a list of peers, texts for addresses, ipaddr.js for prefixes. Counts what
 * `peer show` is to show.
 */
import ipaddr from 'ipaddr.js';
import type { CounterName } from '../../src/dataplane/counters.ts';
import type { PeerInfo, PeerRequest } from '../../src/types.ts';
import { networkOffset } from './naive-segment.ts';
import { macText } from './parse.ts';

export class NaivePeers {
  readonly list: PeerInfo[] = [];

  apply(request: PeerRequest): void {
    const at = this.list.findIndex(({ ifname, mac }) => ifname === request.dev && mac === request.mac);
    if (request.op === 'del') {
      this.list.splice(at, 1);
      return;
    }
    const stats = {
      rx: { packets: 0, bytes: 0, address_drops: 0, subnet_drops: 0 },
      tx: { packets: 0, bytes: 0 },
    };
    const made = { ifname: request.dev, mac: request.mac, stats, ...(at < 0 ? {} : this.list[at]) };
    const prefixes = [...(request.prefixes ?? [])].sort((one) => (one.includes(':') ? 1 : -1));
    this.list[at < 0 ? this.list.length : at] = { ...made, src: request.src, prefixes };
  }

  /** Why a frame is refused; undefined: it is taken. Counts it. */
  refusal(dev: string, frame: Uint8Array, sender: string, now: number): CounterName | undefined {
    const peer = this.list.find(({ ifname, mac }) => ifname === dev && mac === macText(frame, 6));
    if (!peer) return 'drop_unknown_peer';
    if (peer.src !== sender) {
      peer.stats.rx.address_drops++;
      return 'drop_peer_address';
    }
    const source = sourceOf(frame);
    if (source === 'short') return 'drop_short_inner_ip_received';
    if (source === 'malformed' || (source !== 'other' && !peer.prefixes.some((text) => isIn(source, text)))) {
      peer.stats.rx.subnet_drops++;
      return 'drop_peer_subnet';
    }
    peer.stats.rx.packets++;
    peer.stats.rx.bytes += frame.length - 14;
    peer.last = now;
    return undefined;
  }

  /** Frames that were handed on. */
  sent(dev: string, to: string, packets: number, bytes: number): void {
    const peer = this.list.find(({ ifname, mac }) => ifname === dev && mac === to);
    if (!peer) return;
    peer.stats.tx.packets += packets;
    peer.stats.tx.bytes += bytes;
  }
}

function isIn(address: string, prefix: string): boolean {
  const parsed = ipaddr.parse(address);
  const [network, bits] = ipaddr.parseCIDR(prefix.includes('/') ? prefix : `${prefix}/32`);
  return parsed.kind() === network.kind() && parsed.match(network, bits);
}

/** The source address inside, or what the frame is instead. */
function sourceOf(frame: Uint8Array): string {
  const l3 = networkOffset(frame);
  const type = (frame[l3 - 2]! << 8) | frame[l3 - 1]!;
  const packet = frame.subarray(l3);
  const text = (from: number, bytes: number) =>
    ipaddr.fromByteArray([...packet.subarray(from, from + bytes)]).toString();
  if (type === 0x0800) return packet.length < 20 ? 'short' : text(12, 4);
  if (type === 0x86dd) return packet.length < 40 ? 'short' : text(8, 16);
  if (type !== 0x0806) return 'other';
  const [, hardware] = packet;
  const isIpv4 =
    packet.length >= 28 &&
    packet[0] === 0 &&
    (hardware === 1 || hardware === 6) &&
    [8, 0, 6, 4].every((byte, at) => packet[2 + at] === byte);
  return isIpv4 ? text(14, 4) : 'malformed';
}
