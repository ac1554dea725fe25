/**
 * Writes the table that assembly/policy.ts reads: (device, source MAC) -> GBP bits. Readers look on without a
 * lock: a value is stored before its key, a key with one store.
 */
import {
  POLICIES_BASE,
  POLICY_GONE,
  POLICY_SLOT_BYTES,
  POLICY_SLOT_COUNT,
  POLICY_VALUE_OFFSET,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { Mac } from './fdb-text.ts';

const EMPTY = 0n;
const GONE = (BigInt(POLICY_GONE) << 32n) | BigInt(POLICY_GONE);
/** Of assembly/policy.ts. */
const HASH_MULTIPLIER = 0x9e3779b1;
const HASH_SHIFT = 22;

export class PolicySources {
  readonly #view: DataView;
  /** Slots that are empty, not merely gone. */
  #empty = POLICY_SLOT_COUNT;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** @throws VtepError NO_SPACE */
  set(what: string, device: number, mac: Mac, bits: number): void {
    const key = keyOf(device, mac);
    let free = 0;
    for (const slot of walk(key)) {
      const found = this.#view.getBigUint64(slot, true);
      if (found === key) {
        this.#view.setUint32(slot + POLICY_VALUE_OFFSET, bits, true);
        return;
      }
      if (free === 0 && (found === EMPTY || found === GONE)) free = slot;
      if (found === EMPTY) break;
    }
    const takesEmpty = free !== 0 && this.#view.getBigUint64(free, true) === EMPTY;
    // One slot stays empty: there a look-up of an unknown source ends, and there sweeping begins.
    if (free === 0 || (takesEmpty && this.#empty === 1)) {
      throw new VtepError(
        'NO_SPACE',
        `${what}: No space left on device: ${POLICY_SLOT_COUNT - 1} sources have policies, the most there may be`,
      );
    }
    if (takesEmpty) this.#empty--;
    this.#view.setUint32(free + POLICY_VALUE_OFFSET, bits, true);
    this.#storeKey(free, key);
  }

  remove(device: number, mac: Mac): void {
    const key = keyOf(device, mac);
    for (const slot of walk(key)) {
      const found = this.#view.getBigUint64(slot, true);
      if (found === EMPTY) return;
      if (found !== key) continue;
      this.#storeKey(slot, GONE);
      this.#sweep(slot);
      return;
    }
  }

  /** Slots that are gone and lead nowhere become empty, or else look-ups of other sources would walk ever farther. */
  #sweep(last: number): void {
    let at = indexOf(last);
    if (this.#view.getBigUint64(slotAt(at + 1), true) !== EMPTY) return;
    for (; this.#view.getBigUint64(slotAt(at), true) === GONE; at += POLICY_SLOT_COUNT - 1) {
      this.#storeKey(slotAt(at), EMPTY);
      this.#empty++;
    }
  }

  #storeKey(slot: number, key: bigint): void {
    Atomics.store(new BigUint64Array(this.#view.buffer, slot, 1), 0, key);
  }
}

/** As in the FDB; the domain is the one of the device's number. */
function keyOf(device: number, mac: Mac): bigint {
  return (BigInt(device) << 48n) | (BigInt(mac.high) << 32n) | BigInt(mac.low);
}

/** The slots that a key may lie in, in the order that look-ups take (assembly/policy.ts). */
function* walk(key: bigint): Generator<number> {
  const mixed = Number((key ^ (key >> 32n)) & 0xffffffffn);
  const home = Math.imul(mixed, HASH_MULTIPLIER) >>> HASH_SHIFT;
  for (let step = 0; step < POLICY_SLOT_COUNT; ++step) yield slotAt(home + step);
}

function slotAt(index: number): number {
  return POLICIES_BASE + (index % POLICY_SLOT_COUNT) * POLICY_SLOT_BYTES;
}

function indexOf(slot: number): number {
  return (slot - POLICIES_BASE) / POLICY_SLOT_BYTES;
}
