/**
 * Policy ids that arrive: a bitmap for each device that refuses some, and what the workers have counted
 * (assembly/policy.ts).
 */
import {
  DEVICE_REFUSED_OFFSET,
  REFUSED_BASE,
  REFUSED_TABLE_BYTES,
  REFUSED_TABLE_COUNT,
  SEEN_COUNT,
  SEEN_OFFSET,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { NumberRange, PolicyInfo } from '../types.ts';
import { deviceRecord } from './fdb-record.ts';
import { workerBase } from './memory.ts';

export const POLICY_ID_MAX = 0xffff;
const SEEN_SLOT_BYTES = 8;

export class PolicyIds {
  readonly #view: DataView;
  readonly #workers: number;
  /** The device that has the table of refused ids, 0 = none. */
  readonly #owners = new Array<number>(REFUSED_TABLE_COUNT).fill(0);

  /** @param workers blocks in the memory */
  constructor(view: DataView, workers: number) {
    this.#view = view;
    this.#workers = workers;
  }

  /** Whether a device refuses any id. */
  refuses(device: number): boolean {
    return this.#owners.includes(device);
  }

  /** @throws VtepError NO_SPACE */
  refuse(what: string, device: number, ranges: readonly NumberRange[]): void {
    const bitmap = this.#claim(what, device);
    for (const id of idsOf(ranges)) bitmap[id >>> 3] = bitmap[id >>> 3]! | (1 << (id & 7));
  }

  allow(device: number, ranges: readonly NumberRange[]): void {
    const bitmap = this.#bitmap(device);
    if (!bitmap) return;
    for (const id of idsOf(ranges)) bitmap[id >>> 3] = bitmap[id >>> 3]! & ~(1 << (id & 7));
    if (bitmap.every((byte) => byte === 0)) this.#release(device);
  }

  refused(device: number): NumberRange[] {
    const bitmap = this.#bitmap(device);
    const ranges: [number, number][] = [];
    for (let id = 0; bitmap && id <= POLICY_ID_MAX; ++id) {
      if (((bitmap[id >>> 3]! >>> (id & 7)) & 1) === 0) continue;
      const last = ranges.at(-1);
      if (last?.[1] === id - 1) last[1] = id;
      else ranges.push([id, id]);
    }
    return ranges;
  }

  received(device: number): PolicyInfo['received'] {
    const counts = new Map<number, number>();
    this.#each(device, (at, id) =>
      counts.set(id, (counts.get(id) ?? 0) + this.#view.getUint32(at + 4, true)),
    );
    return [...counts].sort(([one], [other]) => one - other).map(([id, packets]) => ({ id, packets }));
  }

  /** The device goes; no worker may have it in hand. */
  remove(device: number): void {
    this.#release(device);
    this.#each(device, (at) => this.#view.setBigUint64(at, 0n, true));
  }

  #claim(what: string, device: number): Uint8Array {
    const known = this.#bitmap(device);
    if (known) return known;
    const table = this.#owners.indexOf(0);
    if (table < 0) {
      throw new VtepError(
        'NO_SPACE',
        `${what}: No space left on device: ${REFUSED_TABLE_COUNT} devices refuse ids, the most there may be`,
      );
    }
    this.#owners[table] = device;
    const bitmap = this.#bitmap(device)!.fill(0);
    this.#view.setUint16(deviceRecord(device) + DEVICE_REFUSED_OFFSET, table + 1, true);
    return bitmap;
  }

  #release(device: number): void {
    this.#view.setUint16(deviceRecord(device) + DEVICE_REFUSED_OFFSET, 0, true);
    const table = this.#owners.indexOf(device);
    if (table >= 0) this.#owners[table] = 0;
  }

  #bitmap(device: number): Uint8Array | undefined {
    const table = this.#owners.indexOf(device);
    if (table < 0) return undefined;
    return new Uint8Array(this.#view.buffer, REFUSED_BASE + table * REFUSED_TABLE_BYTES, REFUSED_TABLE_BYTES);
  }

  /** Visits what the workers have counted for a device. */
  #each(device: number, visit: (at: number, id: number) => void): void {
    for (let worker = 0; worker < this.#workers; ++worker) {
      for (let slot = 0; slot < SEEN_COUNT; ++slot) {
        const at = workerBase(worker) + SEEN_OFFSET + slot * SEEN_SLOT_BYTES;
        const key = this.#view.getUint32(at, true);
        if (key !== 0 && key >>> 16 === device) visit(at, key & POLICY_ID_MAX);
      }
    }
  }
}

function* idsOf(ranges: readonly NumberRange[]): Generator<number> {
  for (const [first, last] of ranges) for (let id = first; id <= last; ++id) yield id;
}
