/*
 * Group policy without the mark that the kernel takes from an skb, which a TAP doesn't carry: the id
 * to send is the source MAC's, else the VNI's, else the device's; ids that arrive are counted, so that
 * they can be shown, and may be refused.
 *
 *   encap   sent
 *   decap   seen, refused
 *
 * The host (src/dataplane/policies.ts) is the only writer of what is looked up here. A source's value is
 * stored before its key, and taken for its own only if the key is there still after it was read: a slot
 * may be given to another source at any time.
 */
import { keyOf } from './fdb-table';
import {
  DEVICE_BYTES,
  DEVICE_FLAG_POLICIES,
  DEVICE_FLAGS_OFFSET,
  DEVICE_POLICY_OFFSET,
  DEVICE_REFUSED_OFFSET,
  DEVICES_BASE,
  DOMAIN_BYTES,
  DOMAIN_NO_POLICY,
  DOMAIN_POLICY_OFFSET,
  DOMAINS_BASE,
  POLICIES_BASE,
  POLICY_SLOT_BYTES,
  POLICY_SLOT_COUNT,
  POLICY_VALUE_OFFSET,
  REFUSED_BASE,
  REFUSED_TABLE_BYTES,
  SEEN_COUNT,
  SEEN_OFFSET,
  SEEN_PROBES,
  VXLAN_FLAG_GBP,
} from './layout';

const SEEN_SLOT_BYTES = 8;
const SEEN_VALUE_OFFSET = 4;
/** 2^32 divided by the golden ratio, and the shift that leaves a slot number of ten or nine bits. */
const HASH_MULTIPLIER = 0x9e3779b1;
const POLICY_SHIFT = 22;
const SEEN_SHIFT = 23;
const COUNT_MOST = 0xffffffff;

/**
 * GBP bits for the first word of the VXLAN header, VXLAN_FLAG_GBP included; 0 = a plain header.
 * @param sourceMac address of the inner source MAC, with 8 readable bytes
 */
export function sent(device: u32, domain: u32, sourceMac: usize): u32 {
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  if ((load<u32>(record, DEVICE_FLAGS_OFFSET) & DEVICE_FLAG_POLICIES) !== 0) {
    const slot = slotOf(keyOf(device, sourceMac));
    if (slot !== 0) {
      const bits = atomic.load<u32>(slot, POLICY_VALUE_OFFSET);
      if (atomic.load<u64>(slot) === keyOf(device, sourceMac)) return bits;
    }
    const bits = load<u32>(DOMAINS_BASE + domain * DOMAIN_BYTES, DOMAIN_POLICY_OFFSET);
    if (bits !== DOMAIN_NO_POLICY) return bits;
  }
  return load<u32>(record, DEVICE_POLICY_OFFSET);
}

/** The slot that a source was seen in, 0 = it has no policy of its own. */
function slotOf(key: u64): usize {
  const mixed = (key as u32) ^ ((key >>> 32) as u32);
  let at: u32 = (mixed * HASH_MULTIPLIER) >>> POLICY_SHIFT;
  for (let step = 0; step < POLICY_SLOT_COUNT; step++) {
    const slot: usize = POLICIES_BASE + at * POLICY_SLOT_BYTES;
    const found = atomic.load<u64>(slot);
    if (found === 0) return 0;
    if (found === key) return slot;
    at = (at + 1) & (POLICY_SLOT_COUNT - 1);
  }
  return 0;
}

/** Whether a device refuses what comes with this id. A header without GBP counts as id 0. */
export function refused(device: u32, id: u32): boolean {
  const table = <u32>load<u16>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_REFUSED_OFFSET);
  if (table === 0) return false;
  const bit = id & 0xffff;
  const byte = <u32>load<u8>(REFUSED_BASE + (table - 1) * REFUSED_TABLE_BYTES + (bit >>> 3));
  return ((byte >>> (bit & 7)) & 1) !== 0;
}

/**
 * Counts the policy of what has arrived; what comes without one counts as id 0.
 * @param word first word of the VXLAN header, as a number
 * @returns whether the device takes it
 */
export function admits(worker: usize, device: u32, word: u32): bool {
  const isMarked = (word & VXLAN_FLAG_GBP) !== 0;
  const id = isMarked ? word & 0xffff : 0;
  if (isMarked) seen(worker, device, id);
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  return (flags & DEVICE_FLAG_POLICIES) === 0 || !refused(device, id);
}

/** Counts a received id in the worker's own table. Where that is full, or full around the id, it isn't counted. */
export function seen(worker: usize, device: u32, id: u32): void {
  const key = (device << 16) | (id & 0xffff);
  let at: u32 = (key * HASH_MULTIPLIER) >>> SEEN_SHIFT;
  for (let step = 0; step < SEEN_PROBES; step++) {
    const slot = worker + SEEN_OFFSET + at * SEEN_SLOT_BYTES;
    const found = load<u32>(slot);
    if (found === 0) {
      store<u32>(slot, 1, SEEN_VALUE_OFFSET);
      store<u32>(slot, key);
      return;
    }
    if (found === key) {
      const count = load<u32>(slot, SEEN_VALUE_OFFSET);
      if (count !== COUNT_MOST) store<u32>(slot, count + 1, SEEN_VALUE_OFFSET);
      return;
    }
    at = (at + 1) & (SEEN_COUNT - 1);
  }
}
