/** What there is: read from the kernel and the FDB, and kept up to date by whoever writes there. */
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { dumpNeighbours, NUD_PERMANENT } from '../netlink/neighbours.ts';
import { dumpRoutes, type TableRoute } from '../netlink/route-table.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import type { Vtep } from '../types.ts';
import { fdbValue, type Side, sourceValue } from './desired.ts';
import { contains, formatPrefix, type Prefix } from './prefix.ts';

export interface Actual {
  /** Permanent ones of our device: address -> MAC. */
  neighbours: Map<string, string>;
  /** Permanent unicast entries of our device: MAC -> `fdbValue`. */
  fdb: Map<string, string>;
  /** MAC -> `sourceValue` */
  sources: Map<string, string>;
  /** Of our protocol, by network. One network may have several, with different metrics. */
  routes: Map<string, TableRoute[]>;
}

export function familyOf({ overlay }: Side): Family {
  return overlay.family === 4 ? AF_INET : AF_INET6;
}

/**
 * Routes are ours when our protocol made them and they lead out of our device, or to somewhere in our network: so that
 * what an earlier life left behind is found wherever it leads, and another network's is left alone.
 */
export function readActual(
  socket: NetlinkSocket,
  vtep: Vtep,
  side: Side,
  ours: { protocol: number; networks: readonly Prefix[] },
): Actual {
  const { ifindex, overlay } = side;
  const { device } = overlay;
  const family = familyOf(side);
  const actual: Actual = { neighbours: new Map(), fdb: new Map(), sources: new Map(), routes: new Map() };
  for (const route of dumpRoutes(socket, family, ours.protocol)) {
    const isOurs =
      (ifindex !== 0 && route.ifindex === ifindex) ||
      ours.networks.some(
        (network) => network.length <= route.prefixLength && contains(network, route.destination),
      );
    if (!isOurs) continue;
    const network = formatPrefix({ bytes: route.destination, length: route.prefixLength });
    actual.routes.set(network, [...(actual.routes.get(network) ?? []), route]);
  }
  if (ifindex === 0) return actual;
  for (const neighbour of dumpNeighbours(socket, ifindex)) {
    if (neighbour.family !== family || (neighbour.state & NUD_PERMANENT) === 0) continue;
    actual.neighbours.set(neighbour.address, neighbour.lladdr);
  }
  if (!vtep.devices().some(({ config }) => config.name === device)) return actual;
  for (const { mac, state, dst, port, vni, viaIf, viaIfIndex } of vtep.fdbShow(device)) {
    // The default destination and groups are the device's own matter.
    if (state !== 'permanent' || isZeroOrGroup(mac)) continue;
    actual.fdb.set(mac, fdbValue({ dst, port, vni, via: viaIf ?? viaIfIndex }));
  }
  for (const { mac, src, prefixes } of vtep.peerShow(device))
    actual.sources.set(mac, sourceValue(src, prefixes));
  return actual;
}

function isZeroOrGroup(mac: string): boolean {
  return mac === '00:00:00:00:00:00' || (Number.parseInt(mac.slice(0, 2), 16) & 1) !== 0;
}
