/**
 * Answers the encap walk's question about a remote it knows too little of: asks the kernel's routing table
 * and writes what it says into the worker's paths (assembly/path.ts).
 */
import {
  AF_INET,
  ENCAP_PATH_GROUP_OFFSET,
  ENCAP_PATH_REMOTE_OFFSET,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_PATHS_GENERATION_OFFSET,
  HEADER_UNDERLAY_ON_OFFSET,
  PATH_EXPIRES_OFFSET,
  PATH_FAMILY_OFFSET,
  PATH_FLAGS_OFFSET,
  PATH_GENERATION_OFFSET,
  PATH_HOPS_OFFSET,
  PATH_IFINDEX_OFFSET,
  PATH_KNOWN_MILLISECONDS,
  PATH_LOCAL,
  PATH_MTU_OFFSET,
  PATH_OUT_OFFSET,
  PATH_SOURCE_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  SOURCE_GROUP_BYTES,
  SOURCE_LOCAL_OFFSET,
  SOURCES_BASE,
  WORKER_CLOCK_OFFSET,
} from '../../assembly/layout.ts';
import type { Family } from '../io/family.ts';
import { closeControl, controlSocket } from '../io/interface.ts';
import { type Route, type RouteQuery, Routes, UNREACHABLE } from '../netlink/routes.ts';
import { WholePaths } from './whole-paths.ts';
import type { WorkerContext } from './worker-context.ts';

const ADDRESS_BYTES = 16;

export class Paths {
  readonly #context: WorkerContext;
  readonly #routes = new Routes();
  readonly #whole: WholePaths;

  constructor(context: WorkerContext) {
    this.#context = context;
    this.#whole = new WholePaths(context, this.#routes);
  }

  /** Descriptors that it asks the kernel on. */
  get descriptors(): number[] {
    return [this.#routes.descriptor, controlSocket()];
  }

  close(): void {
    this.#routes.close();
    closeControl();
  }

  /** Tells the engine the time. */
  tick(): void {
    const { base, u32 } = this.#context;
    u32[(base + WORKER_CLOCK_OFFSET) >>> 2] = performance.now();
  }

  /** The path that the walk has stopped for. Answers always, so that the walk goes on. */
  resolve(): void {
    const { base, bytes, exports, u32, view } = this.#context;
    const remote = base + ENCAP_STATE_OFFSET + ENCAP_PATH_REMOTE_OFFSET;
    // Read first: a change that comes while the kernel is asked makes the answer old.
    const generation = Atomics.load(u32, (HEADER_BASE + HEADER_PATHS_GENERATION_OFFSET) >>> 2);
    const family = view.getUint8(remote + REMOTE_FAMILY_OFFSET) as Family;
    const address = remote + REMOTE_ADDRESS_OFFSET;
    const ifindex = view.getUint32(remote + REMOTE_IFINDEX_OFFSET, true);
    const to = bytes.slice(address, address + (family === AF_INET ? 4 : ADDRESS_BYTES));
    const query = { family, address: to, ifindex };
    const route = this.#ask(query);
    const slot = exports.pathSlot(base, remote);
    bytes.copyWithin(slot, address, address + ADDRESS_BYTES);
    view.setUint32(slot + PATH_IFINDEX_OFFSET, ifindex, true);
    view.setUint8(slot + PATH_FAMILY_OFFSET, family);
    view.setUint32(slot + PATH_MTU_OFFSET, route.mtu, true);
    view.setUint32(slot + PATH_FLAGS_OFFSET, route.kind === 'local' ? PATH_LOCAL : 0, true);
    if (this.#isWholeWanted()) this.#resolveWhole(slot, query, route);
    view.setUint32(slot + PATH_OUT_OFFSET, route.out, true);
    // By the clock that the engine knows: an answer that took long is as good as another, and the walk goes on.
    const now = view.getUint32(base + WORKER_CLOCK_OFFSET, true);
    view.setUint32(slot + PATH_EXPIRES_OFFSET, now + PATH_KNOWN_MILLISECONDS, true);
    view.setUint32(slot + PATH_GENERATION_OFFSET, generation, true);
  }

  #isWholeWanted(): boolean {
    return this.#context.u32[(HEADER_BASE + HEADER_UNDERLAY_ON_OFFSET) >>> 2] !== 0;
  }

  /** What a super-frame that leaves whole has to know of its path, and whether it may. */
  #resolveWhole(slot: number, query: RouteQuery, route: Route): void {
    const { base, bytes, u32, view } = this.#context;
    const group =
      SOURCES_BASE + u32[(base + ENCAP_STATE_OFFSET + ENCAP_PATH_GROUP_OFFSET) >>> 2]! * SOURCE_GROUP_BYTES;
    const size = query.family === AF_INET ? 4 : ADDRESS_BYTES;
    const own = bytes.slice(group + SOURCE_LOCAL_OFFSET, group + SOURCE_LOCAL_OFFSET + size);
    const local = own.some((byte) => byte !== 0) ? own : route.source;
    if (local === undefined) return;
    try {
      const flags = this.#whole.flagsOf(query, route, local);
      if (flags === 0) return;
      view.setUint8(slot + PATH_HOPS_OFFSET, this.#whole.hopsOf(query.family, route));
      bytes.fill(0, slot + PATH_SOURCE_OFFSET, slot + PATH_SOURCE_OFFSET + ADDRESS_BYTES);
      bytes.set(local, slot + PATH_SOURCE_OFFSET);
      view.setUint32(slot + PATH_FLAGS_OFFSET, view.getUint32(slot + PATH_FLAGS_OFFSET, true) | flags, true);
    } catch {
      // Out of descriptors or buffers: super-frames are split.
    }
  }

  #ask(query: RouteQuery): Route {
    try {
      return this.#routes.routeTo(query);
    } catch {
      // Out of descriptors or buffers: the datagram is sent as it is and the socket says what it thinks.
      return UNREACHABLE;
    }
  }
}
