/*
 * Hooks: a program of the user's looks at the frames of a device, a batch at a time. The walk parks each frame as a
 * record, the host calls the program, and the engine does what the records then say:
 *
 *   decap   decap parks -> program -> decapVerdicts   (hook-decap.ts)
 *   encap   encapPark   -> program -> encap           (hook-encap.ts)
 *
 * The program can write all of a record, so what the engine must rely on stands apart, in PARKEDs, and what it reads
 * back is looked at: a frame within its room, a verdict that there is, a target that is up.
 *
 * A frame passes one hook: what one has redirected or mirrored is shown to no other. So nothing goes round.
 */
import {
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_FLAG_GPE,
  DEVICE_FLAGS_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HOOK_MIRROR,
  HOOK_MIRROR_HEADROOM_BYTES,
  HOOK_MIRRORS_BYTES,
  HOOK_MIRRORS_OFFSET,
  HOOK_PARKED_ADDRESS_OFFSET,
  HOOK_PARKED_BYTES,
  HOOK_PARKED_LENGTH_OFFSET,
  HOOK_PARKED_PLACE_OFFSET,
  HOOK_PARKEDS_OFFSET,
  HOOK_PASS,
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_MIRROR_OFFSET,
  HOOK_RECORD_ROOM_OFFSET,
  HOOK_RECORD_SENDER_OFFSET,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORD_VNI_OFFSET,
  HOOK_RECORD_WORD_OFFSET,
  HOOK_RECORDS_OFFSET,
  HOOK_REDIRECT,
  HOOK_STOPPED,
  HOOK_TARGET_TUNNEL,
  HOOK_UNDECIDED,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  VIRTIO_HEADER_BYTES,
  WORKER_HOOKED_OFFSET,
} from './layout';
import * as ethernet from './wire/ethernet';

const LINE_MASK: u32 = 63;

/** Is a device's traffic, in the direction of this block, shown to a program? */
export function isHooked(worker: usize, device: u32): boolean {
  return load<u8>(worker + device, WORKER_HOOKED_OFFSET) !== 0;
}

export function recordOf(worker: usize, index: u32): usize {
  return worker + HOOK_RECORDS_OFFSET + index * HOOK_RECORD_BYTES;
}

export function parkedOf(worker: usize, index: u32): usize {
  return worker + HOOK_PARKEDS_OFFSET + index * HOOK_PARKED_BYTES;
}

/*
 * A record is a line of memory that is written once, by these: so small that they become part of whoever parks, for
 * calls with that many arguments would cost more than the stores.
 */

/** The packet itself, which nothing has been decided of. @param ip where a whole IP header begins, else 0 */
export function showPacket(record: usize, frame: usize, length: i32, device: u32, ip: i32): void {
  // Two fields each: address and length; verdict and target; mirror target, device and l3.
  store<u64>(record, pair(<u32>frame, length), HOOK_RECORD_ADDRESS_OFFSET);
  store<u64>(record, HOOK_UNDECIDED, HOOK_RECORD_VERDICT_OFFSET);
  store<u64>(record, pair(0, device | ((<u32>ip) << 16)), HOOK_RECORD_MIRROR_OFFSET);
}

/**
 * @param marks    HOOK_FLAG_*, and above them the outer TOS and the sender's family
 * @param headroom bytes before the frame that the program may use
 */
export function showTunnel(
  record: usize,
  frame: usize,
  length: i32,
  vni: u32,
  marks: u32,
  headroom: u32,
): void {
  const first = <u32>frame;
  store<u64>(record, pair(vni, marks), HOOK_RECORD_VNI_OFFSET);
  store<u64>(record, pair(first - headroom, first + length), HOOK_RECORD_ROOM_OFFSET);
}

/** @param word of the VXLAN header; then the address */
export function showSender(record: usize, word: u32, low: u64, high: u64): void {
  store<u64>(record, <u64>word, HOOK_RECORD_WORD_OFFSET);
  store<u64>(record, low, HOOK_RECORD_SENDER_OFFSET);
  store<u64>(record, high, HOOK_RECORD_SENDER_OFFSET + 8);
}

/** What the engine keeps of it. */
export function keep(parked: usize, place: u32, gsoSize: i32, frame: usize, length: i32): void {
  store<u64>(parked, pair(place, gsoSize), HOOK_PARKED_PLACE_OFFSET);
  store<u64>(parked, pair(<u32>frame, length), HOOK_PARKED_ADDRESS_OFFSET);
}

/**
 * Does the frame just go on, where and as long as it was? Then nothing else of its record needs a look: it is too long for
 * an IP header to be cut off, whatever the program has written into it.
 */
export function isUntouched(record: usize, parked: usize): boolean {
  const verdict = load<u32>(record, HOOK_RECORD_VERDICT_OFFSET);
  if (verdict !== HOOK_PASS && verdict !== HOOK_UNDECIDED) return false;
  const frame = load<u64>(record, HOOK_RECORD_ADDRESS_OFFSET);
  return (
    frame === load<u64>(parked, HOOK_PARKED_ADDRESS_OFFSET) &&
    frame >>> 32 >= <u64>(ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES)
  );
}

/** The verdict without HOOK_MIRROR, HOOK_UNDECIDED being HOOK_PASS. */
export function actionOf(record: usize): u32 {
  const action = load<u32>(record, HOOK_RECORD_VERDICT_OFFSET) & ~HOOK_MIRROR;
  return action === HOOK_UNDECIDED ? 0 : action;
}

export function isMirrored(record: usize): boolean {
  return (load<u32>(record, HOOK_RECORD_VERDICT_OFFSET) & HOOK_MIRROR) !== 0;
}

/** Has nobody looked at it, because the program has been stopped? */
export function isStopped(record: usize): boolean {
  return actionOf(record) === HOOK_STOPPED;
}

/**
 * Is the verdict one that there is, and the frame one that can go on?
 * @param headroom as when it was parked
 */
export function isSound(record: usize, parked: usize, isPacket: boolean, headroom: u32): boolean {
  if (actionOf(record) > (HOOK_REDIRECT as u32)) return false;
  const frame = load<u32>(record, HOOK_RECORD_ADDRESS_OFFSET);
  const length = load<u32>(record, HOOK_RECORD_LENGTH_OFFSET);
  const first = load<u32>(parked, HOOK_PARKED_ADDRESS_OFFSET);
  const end = first + load<u32>(parked, HOOK_PARKED_LENGTH_OFFSET);
  if (frame < first - headroom || frame > end || length > end - frame) return false;
  return length >= leastOf(frame, length, isPacket);
}

/** Bytes that a frame must have, so that those who read it find its IP header whole. */
function leastOf(frame: usize, length: u32, isPacket: boolean): u32 {
  if (isPacket) return length !== 0 && load<u8>(frame) >>> 4 === 6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
  if (length < (ETHERNET_HEADER_BYTES as u32)) return ETHERNET_HEADER_BYTES;
  const type = ethernet.etherType(frame);
  if (type === ETHERTYPE_IPV4) return ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
  return type === ETHERTYPE_IPV6 ? ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES : ETHERNET_HEADER_BYTES;
}

/** The device that a target names: up, and of the same kind; 0 = there is none. */
export function targetOf(target: u32, isPacket: boolean): u32 {
  const device = target & ~HOOK_TARGET_TUNNEL;
  if (device >= (DEVICE_COUNT as u32)) return 0;
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  if (load<u32>(record, DEVICE_STATE_OFFSET) !== DEVICE_UP) return 0;
  return isPacketDevice(device) === isPacket ? device : 0;
}

export function isPacketDevice(device: u32): boolean {
  return (load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET) & DEVICE_FLAG_GPE) !== 0;
}

/**
 * Room for a copy of `length` bytes and HOOK_MIRROR_HEADROOM_BYTES before it. 0 = there is none.
 * @param used address of the u32 that counts the bytes in use
 */
export function claim(worker: usize, used: usize, length: i32): usize {
  const start = load<u32>(used);
  const bytes = ((<u32>length + HOOK_MIRROR_HEADROOM_BYTES + LINE_MASK) & ~LINE_MASK) as u32;
  if (start + bytes > (HOOK_MIRRORS_BYTES as u32)) return 0;
  store<u32>(used, start + bytes);
  return worker + HOOK_MIRRORS_OFFSET + start + HOOK_MIRROR_HEADROOM_BYTES;
}

/** A descriptor of a ring, or what looks like one. @param header address of the virtio header */
export function describe(descriptor: usize, header: usize, length: i32, device: u32, word: u32): void {
  store<u64>(descriptor, pair(<u32>header, length));
  // The domain is not known yet.
  store<u64>(descriptor, pair(device, word), 8);
}

/** Bytes that a copy needs, for whoever keeps room. */
export function roomFor(length: i32): u32 {
  return <u32>length + HOOK_MIRROR_HEADROOM_BYTES + LINE_MASK;
}

/** Where a whole IP header begins, else 0. */
export function ipOffset(frame: usize, length: i32, l3: i32): i32 {
  const type = ethernet.etherTypeBefore(frame, l3);
  if (type === ETHERTYPE_IPV4) return l3 + IPV4_HEADER_BYTES <= length ? l3 : 0;
  return type === ETHERTYPE_IPV6 && l3 + IPV6_HEADER_BYTES <= length ? l3 : 0;
}

function pair(low: u32, high: u32): u64 {
  return (low as u64) | ((high as u64) << 32);
}

export function headerOf(frame: usize): usize {
  return frame - VIRTIO_HEADER_BYTES;
}
