/*
 * Hooks on the way out (hook.ts): `encapPark` shows a program what the ring holds, and the walk does what it said
 * when a frame's turn comes. What goes out of a port is injected, as the answers of the proxy are. A copy that goes
 * into a tunnel is walked before the frame itself, from a descriptor of its own in the worker's state.
 */
import * as counter from './count';
import * as hook from './hook';
import * as inject from './inject';
import {
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_HOOK_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_BYTES,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  DOMAIN_BYTES,
  DOMAIN_VNI_OFFSET,
  DOMAINS_BASE,
  DROP_HOOK,
  DROP_HOOK_FAULT,
  DROP_HOOK_STOPPED,
  DROP_HOOK_TARGET,
  ENCAP_BORROWED_OFFSET,
  ENCAP_MIRROR_OFFSET,
  ENCAP_MIRROR_USED_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  ETHERNET_HEADER_BYTES,
  HOOK_DROP,
  HOOK_FLAG_ENCAP,
  HOOK_FLAG_PACKET,
  HOOK_FLAG_PARTIAL,
  HOOK_FLAG_SUPER,
  HOOK_MIRRORS,
  HOOK_MIRRORS_LOST,
  HOOK_PARKED_ADDRESS_OFFSET,
  HOOK_PARKED_MIRRORED_OFFSET,
  HOOK_PARKED_VIRTIO_OFFSET,
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_COUNT,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_MIRROR_OFFSET,
  HOOK_RECORD_TARGET_OFFSET,
  HOOK_REDIRECT,
  HOOK_REDIRECTS,
  HOOK_ROOM_ENCAP_BYTES,
  HOOK_TARGET_TUNNEL,
  HOOK_WORD_BORROWED,
  HOOK_WORD_GOES,
  HOOK_WORD_GONE,
  VIRTIO_GSO_NONE,
  VIRTIO_HEADER_BYTES,
} from './layout';
import * as ring from './ring';
import * as vlan from './vlan';
import * as vni from './vni';
import * as ethernet from './wire/ethernet';
import * as virtio from './wire/virtio';

/** Parks what the ring holds of devices that have a hook. Returns the number of records for the program. */
export function encapPark(worker: usize): i32 {
  const frames = worker + ENCAP_RING_OFFSET;
  const filled = ring.filled(frames);
  let count: u32 = 0;
  for (let cursor = ring.taken(frames); cursor !== filled; ++cursor) {
    const descriptor = ring.descriptor(frames, cursor);
    const device = <u32>load<u16>(descriptor, DESCRIPTOR_DEVICE_OFFSET);
    const isPacket = hook.isPacketDevice(device);
    if (!hook.isHooked(worker, device) || load<u32>(descriptor, DESCRIPTOR_HOOK_OFFSET) !== 0) continue;
    // The walk drops what is too short.
    if (load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET) < (isPacket ? 1 : ETHERNET_HEADER_BYTES)) continue;
    park(worker, count, device, descriptor, isPacket);
    store<u32>(descriptor, ++count, DESCRIPTOR_HOOK_OFFSET);
  }
  return count;
}

function park(worker: usize, index: u32, device: u32, descriptor: usize, isPacket: boolean): void {
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
  const frame = header + VIRTIO_HEADER_BYTES;
  const ip = isPacket ? 0 : hook.ipOffset(frame, length, ethernet.networkOffset(frame, length));
  let flags: u32 = isPacket ? HOOK_FLAG_ENCAP | HOOK_FLAG_PACKET : HOOK_FLAG_ENCAP;
  if (virtio.needsChecksum(header)) flags |= HOOK_FLAG_PARTIAL;
  if (virtio.gsoType(header) !== VIRTIO_GSO_NONE) flags |= HOOK_FLAG_SUPER;
  const record = hook.recordOf(worker, index);
  hook.showPacket(record, frame, length, device, ip);
  hook.showTunnel(record, frame, length, vniOf(device, frame, length), flags, HOOK_ROOM_ENCAP_BYTES);
  hook.showSender(record, 0, 0, 0);
  const parked = hook.parkedOf(worker, index);
  hook.keep(parked, device | (device << 16), 0, frame, length);
  store<u32>(parked, 0, HOOK_PARKED_MIRRORED_OFFSET);
  store<u64>(parked, load<u64>(header), HOOK_PARKED_VIRTIO_OFFSET);
  store<u16>(parked, load<u16>(header, 8), HOOK_PARKED_VIRTIO_OFFSET + 8);
}

/** The VNI that a frame goes out under as it is, 0 = its VLAN has none. */
function vniOf(device: u32, frame: usize, length: i32): u32 {
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  const isExternal = (flags & DEVICE_FLAG_EXTERNAL) !== 0;
  const domain = isExternal ? vni.ofVlan(device, vlan.idOf(frame, length)) : device;
  return domain === 0 ? 0 : load<u32>(DOMAINS_BASE + domain * DOMAIN_BYTES, DOMAIN_VNI_OFFSET);
}

/** Begins a walk: copies that went before have been sent. */
export function begin(worker: usize): void {
  const state = worker + ENCAP_STATE_OFFSET;
  if (load<u32>(state + ENCAP_MIRROR_OFFSET, DESCRIPTOR_LENGTH_OFFSET) === 0)
    store<u32>(state, 0, ENCAP_MIRROR_USED_OFFSET);
}

/** What `turn` says instead of a descriptor: no room, come back; or the frame is gone already. */
export const BACK: usize = 0;
export const GONE: usize = 1;

/**
 * The turn of a frame that a hook has seen, or sent. Returns the descriptor that is to be walked, its own or that of its
 * copy, which goes first; BACK or GONE. `turned` ends the turn.
 */
export function turn(worker: usize, descriptor: usize): usize {
  let word = load<u32>(descriptor, DESCRIPTOR_HOOK_OFFSET);
  if (word <= (HOOK_RECORD_COUNT as u32)) {
    word = settle(worker, descriptor, word - 1);
    if (word === 0) return BACK;
    store<u32>(descriptor, word, DESCRIPTOR_HOOK_OFFSET);
  }
  const copy = worker + ENCAP_STATE_OFFSET + ENCAP_MIRROR_OFFSET;
  if (load<u32>(copy, DESCRIPTOR_LENGTH_OFFSET) !== 0) return copy;
  if ((word & HOOK_WORD_BORROWED) !== 0) borrow(worker, descriptor, word);
  return word === HOOK_WORD_GONE ? GONE : descriptor;
}

/** @param done whether `walked` has been. @returns whether the frame is done with: else it has another turn */
export function turned(worker: usize, descriptor: usize, walked: usize, done: boolean): boolean {
  if (walked === worker + ENCAP_STATE_OFFSET + ENCAP_MIRROR_OFFSET) {
    if (done) store<u32>(walked, 0, DESCRIPTOR_LENGTH_OFFSET);
    return false;
  }
  const word = load<u32>(descriptor, DESCRIPTOR_HOOK_OFFSET);
  if ((word & HOOK_WORD_BORROWED) !== 0) giveBack(worker, descriptor);
  if (done) store<u32>(descriptor, 0, DESCRIPTOR_HOOK_OFFSET);
  return done;
}

/** A frame in a receive buffer: the first two bytes of its virtio header are another datagram's, for as long as its turn. */
function borrow(worker: usize, descriptor: usize, word: u32): void {
  const header = load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const state = worker + ENCAP_STATE_OFFSET;
  store<u32>(state, header, ENCAP_BORROWED_OFFSET);
  store<u16>(state, load<u16>(<usize>header), ENCAP_BORROWED_OFFSET + 4);
  store<u16>(<usize>header, <u16>word);
}

function giveBack(worker: usize, descriptor: usize): void {
  const state = worker + ENCAP_STATE_OFFSET;
  const header = <usize>load<u32>(state, ENCAP_BORROWED_OFFSET);
  store<u32>(descriptor, HOOK_WORD_BORROWED | <u32>load<u16>(header), DESCRIPTOR_HOOK_OFFSET);
  store<u16>(header, load<u16>(state, ENCAP_BORROWED_OFFSET + 4));
}

/** As `apply`; the descriptor of a frame that just goes on is right as it is. */
function settle(worker: usize, descriptor: usize, index: u32): u32 {
  const parked = hook.parkedOf(worker, index);
  if (!hook.isUntouched(hook.recordOf(worker, index), parked)) return apply(worker, descriptor, index);
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  store<u64>(header, load<u64>(parked, HOOK_PARKED_VIRTIO_OFFSET));
  store<u16>(header, load<u16>(parked, HOOK_PARKED_VIRTIO_OFFSET + 8), 8);
  return HOOK_WORD_GOES;
}

/**
 * Does what a record says of a frame. Returns HOOK_WORD_GOES (on, as the descriptor says now), HOOK_WORD_GONE, or
 * 0: no room, come back.
 */
function apply(worker: usize, descriptor: usize, index: u32): u32 {
  const record = hook.recordOf(worker, index);
  const parked = hook.parkedOf(worker, index);
  const device = <u32>load<u16>(descriptor, DESCRIPTOR_DEVICE_OFFSET);
  const isPacket = hook.isPacketDevice(device);
  if (!hook.isSound(record, parked, isPacket, HOOK_ROOM_ENCAP_BYTES))
    return drop(worker, device, hook.isStopped(record) ? DROP_HOOK_STOPPED : DROP_HOOK_FAULT);
  const frame = <usize>load<u32>(record, HOOK_RECORD_ADDRESS_OFFSET);
  const length = load<i32>(record, HOOK_RECORD_LENGTH_OFFSET);
  const header = frame - VIRTIO_HEADER_BYTES;
  restore(header, frame, parked);
  if (hook.isMirrored(record) && load<u32>(parked, HOOK_PARKED_MIRRORED_OFFSET) === 0) {
    if (!mirror(worker, device, load<u32>(record, HOOK_RECORD_MIRROR_OFFSET), header, length, isPacket))
      return 0;
    store<u32>(parked, 1, HOOK_PARKED_MIRRORED_OFFSET);
  }
  const action = hook.actionOf(record);
  if (action === HOOK_DROP) return drop(worker, device, DROP_HOOK);
  let goesTo = device;
  if (action === HOOK_REDIRECT) {
    const word = load<u32>(record, HOOK_RECORD_TARGET_OFFSET);
    goesTo = hook.targetOf(word, isPacket);
    if (goesTo === 0) return drop(worker, device, DROP_HOOK_TARGET);
    if ((word & HOOK_TARGET_TUNNEL) === 0) {
      if (!inject.hasRoom(worker)) return 0;
      outOfPort(worker, goesTo, header, length, isPacket);
      counter.one(worker, device, HOOK_REDIRECTS);
      return HOOK_WORD_GONE;
    }
    counter.one(worker, device, HOOK_REDIRECTS);
  }
  hook.describe(descriptor, header, length, goesTo, HOOK_WORD_GOES);
  return HOOK_WORD_GOES;
}

function drop(worker: usize, device: u32, verdict: i32): u32 {
  counter.dropped(worker, device, device, verdict);
  return HOOK_WORD_GONE;
}

/** The virtio header as it was, before the frame where it begins now: what lies behind the MACs has not moved. */
function restore(header: usize, frame: usize, parked: usize): void {
  store<u64>(header, load<u64>(parked, HOOK_PARKED_VIRTIO_OFFSET));
  store<u16>(header, load<u16>(parked, HOOK_PARKED_VIRTIO_OFFSET + 8), 8);
  const moved = <i32>(load<u32>(parked, HOOK_PARKED_ADDRESS_OFFSET) - <u32>frame);
  if (moved !== 0) vlan.shift(header, moved);
}

/** A copy for the target. False: no room, come back. */
function mirror(
  worker: usize,
  device: u32,
  word: u32,
  header: usize,
  length: i32,
  isPacket: boolean,
): boolean {
  const state = worker + ENCAP_STATE_OFFSET;
  const target = hook.targetOf(word, isPacket);
  if (target === 0) {
    counter.one(worker, device, HOOK_MIRRORS_LOST);
    return true;
  }
  const isTunnel = (word & HOOK_TARGET_TUNNEL) !== 0;
  if (!isTunnel && !inject.hasRoom(worker)) return false;
  const copy = hook.claim(worker, state + ENCAP_MIRROR_USED_OFFSET, length);
  if (copy === 0) return false;
  memory.copy(copy - VIRTIO_HEADER_BYTES, header, VIRTIO_HEADER_BYTES + length);
  if (isTunnel) hook.describe(state + ENCAP_MIRROR_OFFSET, copy - VIRTIO_HEADER_BYTES, length, target, 0);
  else outOfPort(worker, target, copy - VIRTIO_HEADER_BYTES, length, isPacket);
  counter.one(worker, device, HOOK_MIRRORS);
  return true;
}

function outOfPort(worker: usize, target: u32, header: usize, length: i32, isPacket: boolean): void {
  inject.frame(worker, target, header, length);
  counter.received(worker, target, target, isPacket ? length : length - ETHERNET_HEADER_BYTES);
}
