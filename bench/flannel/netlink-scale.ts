/** Routes and neighbours by the thousand, through the batches that the reconciler writes. */
import { AF_INET } from '../../src/io/family.ts';
import {
  dumpNeighbours,
  NUD_PERMANENT,
  putNeighbour,
  removeNeighbour,
} from '../../src/netlink/neighbours.ts';
import { dumpRoutes, type NewRoute, putRoute, removeRoute } from '../../src/netlink/route-table.ts';
import { NetlinkSocket, type Refusal } from '../../src/netlink/socket.ts';
import type { Namespace } from '../../test/support/netns.ts';
import { macOf, smallSubnetOf } from './members.ts';

/** No protocol that anybody else has. */
const PROTOCOL = 199;
/** As the reconciler spreads them (src/flannel/metrics.ts). */
const ROUTES_PER_METRIC = 1024;

export interface NetlinkScale {
  entries: number;
  /** Milliseconds, of each kind all entries. */
  neighbours: { add: number; dump: number; remove: number };
  routes: { add: number; dump: number; remove: number };
  /**
   * The same routes all with one metric: the kernel looks for an equal next hop in one list of all of an interface's,
   * and the list of those with another metric is another one.
   */
  oneMetric: { add: number };
}

const bytesOf = (address: string) => Uint8Array.from(address.split('.'), Number);

/** @param namespace in which this process is too */
export function measureNetlink(namespace: Namespace, entries: number): NetlinkScale {
  namespace.ip('link add many type veth peer name few', 'link set few up', 'link set many up');
  const ifindex = namespace.ipJson('link', 'show', 'many')[0].ifindex as number;
  const socket = new NetlinkSocket({ tables: true });
  const timed = <T>(work: () => T): [number, T] => {
    const started = performance.now();
    const result = work();
    return [performance.now() - started, result];
  };
  const written = (messages: () => Uint8Array[]): number => {
    const [milliseconds, refusals] = timed((): Refusal[] => socket.batch(messages()));
    if (refusals.length > 0) throw new Error(`${refusals.length} refused: ${JSON.stringify(refusals[0])}`);
    return milliseconds;
  };
  const all = Array.from({ length: entries }, (_, index) => {
    const address = bytesOf(smallSubnetOf(index).split('/')[0]!);
    return { address, mac: Uint8Array.from(macOf(index).split(':'), (octet) => Number.parseInt(octet, 16)) };
  });
  const routeOf = (address: Uint8Array, priority: number): NewRoute => ({
    ...{ family: AF_INET, destination: address, prefixLength: 25, gateway: address },
    ...{ ifindex, protocol: PROTOCOL, onlink: true, priority },
  });
  try {
    const addNeighbours = written(() =>
      all.map(({ address, mac }) => putNeighbour(AF_INET, ifindex, address, mac)),
    );
    const addRoutes = written(() =>
      all.map(({ address }, n) => putRoute(routeOf(address, Math.floor(n / ROUTES_PER_METRIC)), false)),
    );
    const [dumpN, found] = timed(() => dumpNeighbours(socket, ifindex));
    // The interface has groups of its own.
    const neighbours = found.filter(({ state }) => state === NUD_PERMANENT);
    const [dumpR, routes] = timed(() => dumpRoutes(socket, AF_INET, PROTOCOL));
    if (neighbours.length !== entries || routes.length !== entries) {
      throw new Error(`${neighbours.length} neighbours and ${routes.length} routes of ${entries}`);
    }
    const removeRoutes = written(() => routes.map((route) => removeRoute(route, bytesOf(route.gateway!))));
    const addSame = written(() => all.map(({ address }) => putRoute(routeOf(address, 0), false)));
    const removeNeighbours = written(() =>
      all.map(({ address }) => removeNeighbour(AF_INET, ifindex, address)),
    );
    return {
      entries,
      neighbours: { add: addNeighbours, dump: dumpN, remove: removeNeighbours },
      routes: { add: addRoutes, dump: dumpR, remove: removeRoutes },
      oneMetric: { add: addSame },
    };
  } finally {
    socket.close();
    namespace.ip('link del many');
  }
}
