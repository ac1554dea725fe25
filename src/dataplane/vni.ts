/**
 * Writes the table that assembly/vni.ts reads: (listener, VNI) -> domain. There is one writer, the
 * thread that makes devices; readers look on without a lock, so each change is one atomic store.
 */
import {
  DEVICE_COUNT,
  DOMAIN_COUNT,
  LISTENER_COUNT,
  VNI_HASH_MULTIPLIER,
  VNI_HASH_SHIFT,
  VNI_SLOT_COUNT,
  VNI_SLOT_GONE,
  VNIS_BASE,
  VXLAN_VNI_MAX,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';

const EMPTY = 0n;

export class Vni {
  readonly #slots: BigUint64Array;
  /** Slots that are empty, not merely gone. */
  #empty = VNI_SLOT_COUNT;

  constructor(memory: { readonly buffer: ArrayBufferLike }) {
    this.#slots = new BigUint64Array(memory.buffer, VNIS_BASE, VNI_SLOT_COUNT);
  }

  /**
   * @param listener 0 to 255
   * @param vni 0 to 16777215
   * @param domain 1 to 8190
   * @param device 1 to 255, whose the domain is; absent: the one of the same number
   * @throws VtepError USAGE when a number is out of range, EXISTS when the VNI has a device on this
   *   listener, NO_SPACE when the table is full
   */
  add(listener: number, vni: number, domain: number, device: number = domain): void {
    const key = keyOf(listener, vni);
    checkRange('domain', domain, 1, DOMAIN_COUNT - 2);
    checkRange('device', device, 1, DEVICE_COUNT - 1);
    let free = -1;
    for (const at of walk(key)) {
      const slot = this.#slots[at]!;
      if (free < 0 && (slot === EMPTY || isGone(slot))) free = at;
      if (slot === EMPTY) break;
      if (isOf(slot, key)) {
        throw new VtepError('EXISTS', `vni ${vni}: domain ${domainOf(slot)} has it; delete that one first`);
      }
    }
    // One slot stays empty: there a look-up of an unknown VNI ends, and there sweeping begins.
    if (this.#slots[free] === EMPTY && this.#empty === 1) {
      throw new VtepError(
        'NO_SPACE',
        `vni ${vni}: all ${VNI_SLOT_COUNT - 1} slots are taken; delete a device first`,
      );
    }
    if (this.#slots[free] === EMPTY) this.#empty--;
    Atomics.store(this.#slots, free, (BigInt(device) << 48n) | (BigInt(domain) << 32n) | BigInt(key));
  }

  /** @returns whether there was one to remove */
  remove(listener: number, vni: number): boolean {
    const key = keyOf(listener, vni);
    for (const at of walk(key)) {
      const slot = this.#slots[at]!;
      if (slot === EMPTY) return false;
      if (!isOf(slot, key)) continue;
      Atomics.store(this.#slots, at, (BigInt(VNI_SLOT_GONE) << 32n) | BigInt(key));
      this.#sweep(at);
      return true;
    }
    return false;
  }

  /** Slots that are gone and lead nowhere become empty, or else look-ups of unknown VNIs would walk ever farther. */
  #sweep(last: number): void {
    if (this.#slots[(last + 1) % VNI_SLOT_COUNT] !== EMPTY) return;
    for (let at = last; isGone(this.#slots[at]!); at = (at + VNI_SLOT_COUNT - 1) % VNI_SLOT_COUNT) {
      Atomics.store(this.#slots, at, EMPTY);
      this.#empty++;
    }
  }
}

function keyOf(listener: number, vni: number): number {
  checkRange('listener', listener, 0, LISTENER_COUNT - 1);
  checkRange('vni', vni, 0, VXLAN_VNI_MAX);
  return ((listener << 24) | vni) >>> 0;
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new VtepError('USAGE', `${name} ${value}: give a whole number from ${least} to ${most}`);
  }
}

/** The slots that a key may lie in, in the order that look-ups take. */
function* walk(key: number): Generator<number> {
  const home = Math.imul(key, VNI_HASH_MULTIPLIER) >>> VNI_HASH_SHIFT;
  for (let step = 0; step < VNI_SLOT_COUNT; step++) yield (home + step) % VNI_SLOT_COUNT;
}

function domainOf(slot: bigint): number {
  return Number((slot >> 32n) & 0xffffn);
}

function isGone(slot: bigint): boolean {
  return domainOf(slot) === VNI_SLOT_GONE;
}

function isOf(slot: bigint, key: number): boolean {
  return Number(slot & 0xffffffffn) === key && !isGone(slot);
}
