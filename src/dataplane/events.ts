/** Takes from the workers' rings what they have to tell (assembly/event.ts). */
import {
  EVENT_ADDRESS_OFFSET,
  EVENT_BYTES,
  EVENT_COUNT,
  EVENT_DOMAIN_OFFSET,
  EVENT_FAMILY_OFFSET,
  EVENT_IFINDEX_OFFSET,
  EVENT_KIND_OFFSET,
  EVENT_L2_MISS,
  EVENT_L3_MISS,
  EVENT_LEARNED,
  EVENT_MAC_OFFSET,
  EVENT_MOVED,
  EVENTS_LOST_OFFSET,
  EVENTS_OFFSET,
  EVENTS_RECORDS_OFFSET,
  EVENTS_TAKEN_OFFSET,
  EVENTS_WRITTEN_OFFSET,
} from '../../assembly/layout.ts';
import type { Address, Mac } from './fdb-text.ts';
import { type Views, workerBase } from './memory.ts';

const ADDRESS_BYTES = 16;

export type WorkerEvent =
  /** An entry of the FDB was learned, or moved to another remote. `ifindex` 0: the remote's address is not link-local. */
  | { kind: 'learned' | 'moved'; domain: number; mac: Mac; remote: Address; ifindex: number }
  /** The FDB has neither an entry of that MAC nor default remotes. */
  | { kind: 'l2-miss'; domain: number; mac: Mac }
  /** The device has no neighbour of that address. */
  | { kind: 'l3-miss'; domain: number; address: Address };

/**
 * Hands out what a worker has written, the oldest first, and makes room for more.
 * @param visit must not throw: what it was given has been taken
 * @returns how many events
 */
export function drainEvents(views: Views, worker: number, visit: (event: WorkerEvent) => void): number {
  const ring = workerBase(worker) + EVENTS_OFFSET;
  const takenWord = (ring + EVENTS_TAKEN_OFFSET) / 4;
  const first = views.u32[takenWord]!;
  const count = (Atomics.load(views.u32, (ring + EVENTS_WRITTEN_OFFSET) / 4) - first) >>> 0;
  for (let i = 0; i < count; i++) {
    const position = (first + i) >>> 0;
    const event = readEvent(views, ring + EVENTS_RECORDS_OFFSET + (position % EVENT_COUNT) * EVENT_BYTES);
    Atomics.store(views.u32, takenWord, (position + 1) >>> 0);
    if (event !== undefined) visit(event);
  }
  return count;
}

/** Events that found a worker's ring full, since the dataplane was made. */
export function lostEvents(views: Views, worker: number): number {
  return Atomics.load(views.u32, (workerBase(worker) + EVENTS_OFFSET + EVENTS_LOST_OFFSET) / 4);
}

function readEvent({ view, bytes }: Views, record: number): WorkerEvent | undefined {
  const number = (offset: number) => view.getUint32(record + offset, true);
  const domain = number(EVENT_DOMAIN_OFFSET);
  const mac: Mac = {
    low: number(EVENT_MAC_OFFSET),
    high: view.getUint16(record + EVENT_MAC_OFFSET + 4, true),
  };
  const at = record + EVENT_ADDRESS_OFFSET;
  const address: Address = {
    family: number(EVENT_FAMILY_OFFSET),
    bytes: bytes.slice(at, at + ADDRESS_BYTES),
  };
  const ifindex = number(EVENT_IFINDEX_OFFSET);
  switch (number(EVENT_KIND_OFFSET)) {
    case EVENT_LEARNED:
      return { kind: 'learned', domain, mac, remote: address, ifindex };
    case EVENT_MOVED:
      return { kind: 'moved', domain, mac, remote: address, ifindex };
    case EVENT_L2_MISS:
      return { kind: 'l2-miss', domain, mac };
    case EVENT_L3_MISS:
      return { kind: 'l3-miss', domain, address };
  }
  return undefined;
}
