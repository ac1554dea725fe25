/**
 * What the kernel and the FDB are to hold for the peers of one family: a table for each kind of entry, by the key that
 * the entry has there. Nothing but these tables is compared, so that a change of a lease, a repair and a start are one.
 *
 * A peer is reached through the tunnel: the route to its subnet leads to the subnet's own network address, which is a
 * permanent neighbour with the peer's MAC, and the FDB knows the address that this MAC is behind. Or directly, where
 * the network lets it: then the route leads to its public address, and that is all. Frames are taken from it either
 * way, for it may see that otherwise.
 */
import type { Peer } from './candidate.ts';
import type { Overlay } from './examine.ts';

export interface Wanted {
  /** By address: the MAC is `mac`. */
  neighbours: Map<string, Peer>;
  /** By MAC: where to is `remote`. */
  fdb: Map<string, Peer>;
  /** By MAC: from where, and what of, is `source`. */
  sources: Map<string, Peer>;
  /** By subnet. */
  routes: Map<string, Peer>;
  /** Those whose route leads to their public address, and the interface that it leads out of. */
  direct: Map<Peer, number>;
}

/** One family: our device, and where it is now. */
export interface Side {
  overlay: Overlay;
  /** 0 = there is no interface of that name. */
  ifindex: number;
}

/** The way that a route leads. */
export interface Way {
  /** Text and bytes. */
  gateway: string;
  gatewayBytes: Uint8Array;
  ifindex: number;
  onlink: boolean;
}

/** @param link the interface on whose link a peer is; 0 = on none */
export function desiredOf(side: Side, peers: readonly Peer[], link: (peer: Peer) => number): Wanted {
  const wanted = nothing();
  for (const peer of peers) {
    const out = link(peer);
    if (out !== 0) wanted.direct.set(peer, out);
    if (out !== 0 || side.ifindex !== 0) wanted.routes.set(peer.subnet, peer);
    if (side.ifindex === 0) continue;
    wanted.sources.set(peer.mac, peer);
    if (out !== 0) continue;
    wanted.neighbours.set(peer.gateway, peer);
    wanted.fdb.set(peer.mac, peer);
  }
  return wanted;
}

export function nothing(): Wanted {
  return {
    neighbours: new Map(),
    fdb: new Map(),
    sources: new Map(),
    routes: new Map(),
    direct: new Map(),
  };
}

export function wayTo(peer: Peer, { direct }: Wanted, side: Side): Way {
  const out = direct.get(peer);
  return out === undefined
    ? { gateway: peer.gateway, gatewayBytes: peer.prefix.bytes, ifindex: side.ifindex, onlink: true }
    : { gateway: peer.publicIp, gatewayBytes: peer.publicBytes, ifindex: out, onlink: false };
}

/** A remote of an entry as text; what is the device's own is left out of it. */
export function fdbValue(remote: {
  dst?: string | undefined;
  port?: number | undefined;
  vni?: number | undefined;
  via?: string | number | undefined;
}): string {
  const { dst = '', port = '', vni = '', via = '' } = remote;
  return `${dst} ${port} ${vni} ${via}`;
}

export function sourceValue(src: string, prefixes: readonly string[]): string {
  return `${src} ${prefixes.join(' ')}`;
}
