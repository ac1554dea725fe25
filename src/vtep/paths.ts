/**
 * Answers the encap walk's question about a remote it knows too little of: asks the kernel's routing table
 * and writes what it says into the worker's paths (assembly/path.ts).
 */
import {
  AF_INET,
  ENCAP_PATH_REMOTE_OFFSET,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_PATHS_GENERATION_OFFSET,
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
  PATH_WHOLE,
  PATH_WHOLE_CHECKSUM,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  WORKER_CLOCK_OFFSET,
} from '../../assembly/layout.ts';
import type { Family } from '../io/family.ts';
import { closeControl } from '../io/interface.ts';
import { type Route, Routes, UNREACHABLE } from '../netlink/routes.ts';
import type { WorkerContext } from './worker-context.ts';

const ADDRESS_BYTES = 16;

export class Paths {
  readonly #context: WorkerContext;
  readonly #routes = new Routes();

  constructor(context: WorkerContext) {
    this.#context = context;
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
    const route = this.#ask({ family, address: to, ifindex });
    const { kind, out, mtu, source } = route;
    const slot = exports.pathSlot(base, remote);
    bytes.copyWithin(slot, address, address + ADDRESS_BYTES);
    view.setUint32(slot + PATH_IFINDEX_OFFSET, ifindex, true);
    view.setUint8(slot + PATH_FAMILY_OFFSET, family);
    view.setUint32(slot + PATH_MTU_OFFSET, mtu, true);
    view.setUint32(slot + PATH_FLAGS_OFFSET, kind === 'local' ? PATH_LOCAL : kind === 'unicast' && source && process.env.VXLANE_TUNNEL ? PATH_WHOLE|PATH_WHOLE_CHECKSUM : 0, true);
    view.setUint8(slot + PATH_HOPS_OFFSET, 64);
    bytes.fill(0, slot + PATH_SOURCE_OFFSET, slot + PATH_SOURCE_OFFSET + ADDRESS_BYTES);
    if (source) bytes.set(source, slot + PATH_SOURCE_OFFSET);
    view.setUint32(slot + PATH_OUT_OFFSET, out, true);
    // By the clock that the engine knows: an answer that took long is as good as another, and the walk goes on.
    const now = view.getUint32(base + WORKER_CLOCK_OFFSET, true);
    view.setUint32(slot + PATH_EXPIRES_OFFSET, now + PATH_KNOWN_MILLISECONDS, true);
    view.setUint32(slot + PATH_GENERATION_OFFSET, generation, true);
  }

  #ask(query: { family: Family; address: Uint8Array; ifindex: number }): Route {
    try {
      return this.#routes.routeTo(query);
    } catch {
      // Out of descriptors or buffers: the datagram is sent as it is and the socket says what it thinks.
      return UNREACHABLE;
    }
  }
}
