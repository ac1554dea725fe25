/**
 * What the kernel and the FDB are to hold for the peers of one family: a table for each kind of entry, by the key that
 * the entry has there. Nothing but these tables is compared, so that a change of a lease, a repair and a start are one.
 *
 * A peer is reached through the tunnel: the route to its subnet leads to the subnet's own network address, which is a
 * permanent neighbour with the peer's MAC, and the FDB knows the address that this MAC is behind. Or directly, where
 * the network lets it: then the route leads to its public address, and that is all. Frames are taken from it either
 * way, for it may see that otherwise.
 */
import type { Overlay, Peer } from './examine.ts';

export interface WantedRoute {
  peer: Peer;
  /** Text and bytes. */
  gateway: string;
  gatewayBytes: Uint8Array;
  ifindex: number;
  onlink: boolean;
}

export interface Wanted {
  /** Address -> MAC. */
  neighbours: Map<string, { peer: Peer; value: string }>;
  /** MAC -> where to (`fdbValue`). */
  fdb: Map<string, { peer: Peer; value: string }>;
  /** MAC -> from where and of what (`sourceValue`). */
  sources: Map<string, { peer: Peer; value: string }>;
  /** Subnet -> way. */
  routes: Map<string, WantedRoute>;
}

/** One family: our device, and where it is now. */
export interface Side {
  overlay: Overlay;
  /** 0 = there is no interface of that name. */
  ifindex: number;
}

/** @param direct the interface on whose link a public address is; 0 = on none */
export function desiredOf(side: Side, peers: readonly Peer[], direct: (peer: Peer) => number): Wanted {
  const wanted: Wanted = { neighbours: new Map(), fdb: new Map(), sources: new Map(), routes: new Map() };
  for (const peer of peers) {
    const { gateway, mac, publicIp, publicBytes, subnet } = peer;
    const out = direct(peer);
    if (out !== 0) {
      const way = { gateway: publicIp, gatewayBytes: publicBytes, ifindex: out, onlink: false };
      wanted.routes.set(subnet, { peer, ...way });
    }
    wanted.sources.set(mac, { peer, value: sourceValue(publicIp, [subnet]) });
    if (out !== 0) continue;
    wanted.neighbours.set(gateway, { peer, value: mac });
    wanted.fdb.set(mac, { peer, value: fdbValue({ dst: publicIp, port: peer.port }) });
    const way = { gateway, gatewayBytes: peer.prefix.bytes, ifindex: side.ifindex, onlink: true };
    wanted.routes.set(subnet, { peer, ...way });
  }
  return wanted;
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
