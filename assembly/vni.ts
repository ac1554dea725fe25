/*
 * (listener, VNI) -> domain: the first question about every datagram that arrives; and (external
 * device, VLAN) -> domain, the first one about every frame that such a device is given.
 *
 * Open addressing over u64 slots, one step at a time. A slot holds the whole answer, key in the
 * low word, domain and device in the high one, and is published with one store; so a look-up takes no
 * lock and sees each slot as it was or as it is. The host (src/dataplane/vni.ts) is the only
 * writer. It marks a slot whose domain has gone instead of emptying it, because keys behind it
 * may have been pushed there by it.
 */
import {
  DEVICE_BYTES,
  DEVICE_FLAG_LINK_LOCAL,
  DEVICE_FLAGS_OFFSET,
  DEVICE_LINK_OFFSET,
  DEVICE_UNTAGGED_OFFSET,
  DEVICE_VLANS_OFFSET,
  DEVICES_BASE,
  VLAN_COUNT,
  VLANS_BASE,
  VNI_HASH_MULTIPLIER,
  VNI_HASH_SHIFT,
  VNI_SLOT_BYTES,
  VNI_SLOT_COUNT,
  VNI_SLOT_GONE,
  VNIS_BASE,
} from './layout';

const LISTENER_SHIFT = 24;
/** In the high word of a slot: the domain below, its device above, so that decap needn't look it up. */
const DEVICE_SHIFT = 16;

/** @returns what a slot says of a VNI on a listener, 0 = nothing. `vni` must have 24 bits, `listener` 8. */
export function find(listener: u32, vni: u32): u32 {
  const key = (listener << LISTENER_SHIFT) | vni;
  let slot: u32 = (key * VNI_HASH_MULTIPLIER) >>> VNI_HASH_SHIFT;
  for (let step = 0; step < VNI_SLOT_COUNT; step++) {
    const word = atomic.load<u64>(VNIS_BASE + slot * VNI_SLOT_BYTES);
    if (word === 0) return 0;
    const found = (word >>> 32) as u32;
    if ((word as u32) === key && found !== VNI_SLOT_GONE) return found;
    slot = (slot + 1) & (VNI_SLOT_COUNT - 1);
  }
  return 0;
}

/** The domain that `find` found. */
export function domainOf(found: u32): u32 {
  return found & 0xffff;
}

/** The device that the domain belongs to. */
export function deviceOf(found: u32): u32 {
  return found >>> DEVICE_SHIFT;
}

/** @returns the domain of a VNI on a listener, 0 = none */
export function lookup(listener: u32, vni: u32): u32 {
  return domainOf(find(listener, vni));
}

/**
 * Whether a device hears what came in at an interface, 0 = not known: one with link-local underlay addresses
 * hears its own link only.
 */
export function hears(device: u32, ifindex: u32): bool {
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  if ((load<u32>(record, DEVICE_FLAGS_OFFSET) & DEVICE_FLAG_LINK_LOCAL) === 0) return true;
  return load<u32>(record, DEVICE_LINK_OFFSET) === ifindex;
}

/**
 * The domain of a VLAN on the TAP of an external device, 0 = none is mapped. The host's stores are
 * single ones here too: a domain is the old one or the new one.
 * @param vid 0 = the frame is untagged, or has a priority tag, which names no VLAN; only its low 12 bits count
 */
export function ofVlan(device: u32, vid: u32): u32 {
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  const vlan = vid & (VLAN_COUNT - 1);
  if (vlan === 0) return load<u32>(record, DEVICE_UNTAGGED_OFFSET);
  const table = <u32>load<u16>(record, DEVICE_VLANS_OFFSET);
  if (table === 0) return 0;
  return load<u16>(VLANS_BASE + ((table - 1) * VLAN_COUNT + vlan) * 2);
}
