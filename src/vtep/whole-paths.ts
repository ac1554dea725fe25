/**
 * May super-frames leave whole on a path? When the kernel would forward what the underlay TAP brings, from the local
 * address, through the interface that the socket path leaves through, and that interface cuts tunnels' super-frames.
 */
import { readFileSync } from 'node:fs';
import {
  AF_INET,
  HEADER_BASE,
  HEADER_UNDERLAY_IFINDEX_OFFSET,
  HEADER_UNDERLAY_ON_OFFSET,
  PATH_WHOLE,
  PATH_WHOLE_CHECKSUM,
} from '../../assembly/layout.ts';
import { tunnelSegmentation } from '../io/ethtool.ts';
import type { Family } from '../io/family.ts';
import { nameOf } from '../io/interface.ts';
import type { Route, RouteQuery, Routes } from '../netlink/routes.ts';
import type { WorkerContext } from './worker-context.ts';

/** How long an interface is known. Asking takes a lock that all changes of interfaces take, so it isn't done for each path. */
const EGRESS_MILLISECONDS = 1000;
const HOPS_DEFAULT = 64;

interface Egress {
  until: number;
  /** PATH_WHOLE | PATH_WHOLE_CHECKSUM */
  flags: number;
  /** Hop limit of what the host sends out there, by family. */
  hops: Partial<Record<Family, number>>;
}

export class WholePaths {
  readonly #context: WorkerContext;
  readonly #routes: Routes;
  readonly #egress = new Map<number, Egress>();

  constructor(context: WorkerContext, routes: Routes) {
    this.#context = context;
    this.#routes = routes;
  }

  /** PATH_WHOLE and PATH_WHOLE_CHECKSUM, for a path whose route has been found, from `local`. */
  flagsOf(query: RouteQuery, { kind, out }: Route, local: Uint8Array): number {
    const { u32 } = this.#context;
    if (u32[(HEADER_BASE + HEADER_UNDERLAY_ON_OFFSET) >>> 2] === 0) return 0;
    if (kind !== 'unicast' || isLinkLocal(query.family, query.address) || isLinkLocal(query.family, local))
      return 0;
    const { flags } = this.#egressOf(out);
    if (flags === 0) return 0;
    const arrival = u32[(HEADER_BASE + HEADER_UNDERLAY_IFINDEX_OFFSET) >>> 2]!;
    const { family, address } = query;
    const onward = this.#routes.routeTo({ family, address, local, arrival });
    return onward.kind === 'unicast' && onward.out === out ? flags : 0;
  }

  /** Hop limit of what leaves on a path when nobody says one. */
  hopsOf(family: Family, { hops, out }: Route): number {
    if (hops !== 0) return hops;
    const { hops: known } = this.#egressOf(out);
    known[family] ??= readHops(family, out);
    return known[family];
  }

  #egressOf(out: number): Egress {
    const now = performance.now();
    let egress = this.#egress.get(out);
    if (egress === undefined || egress.until < now) {
      const { plain, summed } = tunnelSegmentation(out);
      const flags = (plain ? PATH_WHOLE : 0) | (summed ? PATH_WHOLE_CHECKSUM : 0);
      egress = { until: now + EGRESS_MILLISECONDS, flags, hops: {} };
      this.#egress.set(out, egress);
    }
    return egress;
  }
}

/** fe80::/10 is not forwarded. */
function isLinkLocal(family: Family, address: Uint8Array): boolean {
  return family !== AF_INET && address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;
}

function readHops(family: Family, out: number): number {
  const path = family === AF_INET ? 'ipv4/ip_default_ttl' : `ipv6/conf/${nameOf(out) ?? 'default'}/hop_limit`;
  try {
    return Number(readFileSync(`/proc/sys/net/${path}`, 'utf8'));
  } catch {
    return HOPS_DEFAULT;
  }
}
