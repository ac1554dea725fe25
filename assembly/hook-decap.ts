/*
 * Hooks on the way in (hook.ts): frames are parked behind all checks, before they are merged. What the program
 * redirects into a tunnel goes into the ring of an encap block that the same thread walks next; the frame stays
 * where it lies. Before it there are the eight bytes of the VXLAN header that it came with, and a virtio header has ten:
 * two are borrowed for the walk (encap.ts).
 */
import * as coalesce from './coalesce';
import * as counter from './count';
import { deliver, nameVersion } from './deliver';
import * as hook from './hook';
import * as inner from './inner';
import {
  AF_INET,
  DECAP_GOES_ON_OFFSET,
  DECAP_KEPT_OFFSET,
  DECAP_MIRROR_USED_OFFSET,
  DECAP_PARKED_BYTES_OFFSET,
  DECAP_PARKED_OFFSET,
  DECAP_STATE_OFFSET,
  DECAP_WRITES_USED_OFFSET,
  DEVICE_BYTES,
  DEVICE_MTU_OFFSET,
  DEVICES_BASE,
  DOMAIN_BYTES,
  DOMAIN_VNI_OFFSET,
  DOMAINS_BASE,
  DROP_HOOK_FAULT_RECEIVED,
  DROP_HOOK_FORWARD,
  DROP_HOOK_RECEIVED,
  DROP_HOOK_STOPPED_RECEIVED,
  DROP_HOOK_TARGET_RECEIVED,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  ETHERNET_HEADER_BYTES,
  HOOK_DROP,
  HOOK_FLAG_PACKET,
  HOOK_FLAG_PARTIAL,
  HOOK_FLAG_SUPER,
  HOOK_MIRRORS_BYTES,
  HOOK_MIRRORS_LOST,
  HOOK_MIRRORS_RECEIVED,
  HOOK_PARKED_ADDRESS_OFFSET,
  HOOK_PARKED_GSO_OFFSET,
  HOOK_PARKED_LENGTH_OFFSET,
  HOOK_PARKED_PLACE_OFFSET,
  HOOK_PASS,
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_MIRROR_OFFSET,
  HOOK_RECORD_TARGET_OFFSET,
  HOOK_REDIRECTS_RECEIVED,
  HOOK_ROOM_DECAP_BYTES,
  HOOK_TARGET_TUNNEL,
  HOOK_WORD_BORROWED,
  HOOK_WORD_GOES,
  IP_PROTOCOL_TCP,
  RECEIVE_BUFFER_BYTES,
  VIRTIO_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
  WRITE_COUNT,
} from './layout';
import * as ring from './ring';
import * as vni from './vni';
import * as ethernet from './wire/ethernet';
import * as vxlan from './wire/vxlan';

/** Parks a frame that is to be delivered. A write is kept for it, and room for a copy. */
export function park(
  worker: usize,
  place: u32,
  sender: usize,
  outer: u32,
  frame: usize,
  bytes: i32,
  isPacket: boolean,
  gsoSize: i32,
): void {
  const state = worker + DECAP_STATE_OFFSET;
  const index = load<u32>(state, DECAP_PARKED_OFFSET);
  const copies = load<u32>(state, DECAP_PARKED_BYTES_OFFSET) + hook.roomFor(bytes);
  const isFull = copies + hook.roomFor(RECEIVE_BUFFER_BYTES) > (HOOK_MIRRORS_BYTES as u32);
  store<u32>(state, index + 1, DECAP_PARKED_OFFSET);
  store<u32>(state, isFull ? WRITE_COUNT : index + 1, DECAP_KEPT_OFFSET);
  store<u32>(state, copies, DECAP_PARKED_BYTES_OFFSET);

  const number = load<u32>(DOMAINS_BASE + vni.domainOf(place) * DOMAIN_BYTES, DOMAIN_VNI_OFFSET);
  let ip = ETHERNET_HEADER_BYTES;
  let flags: u32 = 0;
  if (isPacket || inner.finishedProtocol(frame, bytes) === 0) {
    if (isPacket) nameVersion(frame);
    const l3 = isPacket ? 0 : ethernet.networkOffset(frame, bytes);
    ip = isPacket ? 0 : hook.ipOffset(frame, bytes, l3);
    flags = flagsOf(vni.deviceOf(place), frame, bytes, l3, gsoSize);
    if (isPacket) flags |= HOOK_FLAG_PACKET;
  }
  // struct sockaddr_in has the address at 4, sockaddr_in6 at 8.
  const family = <u32>load<u16>(sender);
  const isIpv4 = family === AF_INET;
  const low = isIpv4 ? <u64>load<u32>(sender, 4) : load<u64>(sender, 8);
  const high: u64 = isIpv4 ? 0 : load<u64>(sender, 16);
  const marks = flags | ((outer & 0xff) << 16) | (family << 24);
  const word = vxlan.word(frame - VXLAN_HEADER_BYTES);
  const record = hook.recordOf(worker, index);
  hook.showPacket(record, frame, bytes, vni.deviceOf(place), ip);
  hook.showTunnel(record, frame, bytes, number, marks, HOOK_ROOM_DECAP_BYTES);
  hook.showSender(record, word, low, high);
  hook.keep(hook.parkedOf(worker, index), place, gsoSize, frame, bytes);
}

/**
 * Does what the records of the last `decap` or `decapArrivals` say. Returns the number of writes, those of the walk
 * included; 0 while more frames of the messages at hand may join them: the next `decap` goes on with them.
 * @param forward an encap block of the same thread, for what goes into tunnels; 0 = there is none
 */
export function decapVerdicts(worker: usize, forward: usize): i32 {
  const state = worker + DECAP_STATE_OFFSET;
  const count = load<u32>(state, DECAP_PARKED_OFFSET);
  store<u32>(state, 0, DECAP_MIRROR_USED_OFFSET);
  for (let index: u32 = 0; index < count; ++index) {
    const parked = hook.parkedOf(worker, index);
    const place = load<u32>(parked, HOOK_PARKED_PLACE_OFFSET);
    if (!hook.isUntouched(hook.recordOf(worker, index), parked)) {
      judge(worker, forward, index);
      continue;
    }
    const frame = <usize>load<u32>(parked, HOOK_PARKED_ADDRESS_OFFSET);
    const length = load<i32>(parked, HOOK_PARKED_LENGTH_OFFSET);
    const isPacket = hook.isPacketDevice(vni.deviceOf(place));
    deliver(worker, place, frame, length, isPacket, load<i32>(parked, HOOK_PARKED_GSO_OFFSET));
  }
  store<u32>(state, 0, DECAP_PARKED_OFFSET);
  store<u32>(state, 0, DECAP_KEPT_OFFSET);
  store<u32>(state, 0, DECAP_PARKED_BYTES_OFFSET);
  if (load<u32>(state, DECAP_GOES_ON_OFFSET) === 0) return coalesce.finish(worker);
  // Copies lie where those of the next records will; and few records at a time would cost more than merging saves.
  const isRoomy = load<u32>(state, DECAP_WRITES_USED_OFFSET) <= <u32>(WRITE_COUNT / 2);
  if (isRoomy && load<u32>(state, DECAP_MIRROR_USED_OFFSET) === 0) return 0;
  store<u32>(state, 0, DECAP_GOES_ON_OFFSET);
  return coalesce.finish(worker);
}

function judge(worker: usize, forward: usize, index: u32): void {
  const record = hook.recordOf(worker, index);
  const parked = hook.parkedOf(worker, index);
  const place = load<u32>(parked, HOOK_PARKED_PLACE_OFFSET);
  const device = vni.deviceOf(place);
  const domain = vni.domainOf(place);
  const isPacket = hook.isPacketDevice(device);
  if (!hook.isSound(record, parked, isPacket, HOOK_ROOM_DECAP_BYTES)) {
    const reason = hook.isStopped(record) ? DROP_HOOK_STOPPED_RECEIVED : DROP_HOOK_FAULT_RECEIVED;
    counter.lost(worker, device, domain, reason);
    return;
  }
  const frame = <usize>load<u32>(record, HOOK_RECORD_ADDRESS_OFFSET);
  const length = load<i32>(record, HOOK_RECORD_LENGTH_OFFSET);
  const gsoSize = load<i32>(parked, HOOK_PARKED_GSO_OFFSET);
  if (hook.isMirrored(record))
    mirror(
      worker,
      forward,
      device,
      load<u32>(record, HOOK_RECORD_MIRROR_OFFSET),
      frame,
      length,
      isPacket,
      gsoSize,
    );
  const action = hook.actionOf(record);
  if (action === HOOK_PASS) {
    deliver(worker, place, frame, length, isPacket, gsoSize);
    return;
  }
  if (action === HOOK_DROP) {
    counter.lost(worker, device, domain, DROP_HOOK_RECEIVED);
    return;
  }
  const word = load<u32>(record, HOOK_RECORD_TARGET_OFFSET);
  const target = hook.targetOf(word, isPacket);
  if (target === 0) {
    counter.lost(worker, device, domain, DROP_HOOK_TARGET_RECEIVED);
  } else if ((word & HOOK_TARGET_TUNNEL) === 0) {
    counter.one(worker, device, HOOK_REDIRECTS_RECEIVED);
    deliver(worker, placeOf(target), frame, length, isPacket, gsoSize);
  } else {
    const original = <usize>load<u32>(parked, HOOK_PARKED_ADDRESS_OFFSET);
    // In place there is room for the headers of a frame that begins where it did.
    const goes =
      frame < original || isPacket
        ? copyIntoTunnel(worker, forward, device, target, frame, length, isPacket, gsoSize)
        : intoTunnel(forward, device, target, frame, length, isPacket, gsoSize, HOOK_WORD_BORROWED);
    if (goes) counter.one(worker, device, HOOK_REDIRECTS_RECEIVED);
    else counter.lost(worker, device, domain, DROP_HOOK_FORWARD);
  }
}

function mirror(
  worker: usize,
  forward: usize,
  device: u32,
  word: u32,
  frame: usize,
  length: i32,
  isPacket: boolean,
  gsoSize: i32,
): void {
  const target = hook.targetOf(word, isPacket);
  let isLost = target === 0;
  if (!isLost && (word & HOOK_TARGET_TUNNEL) !== 0) {
    isLost = !copyIntoTunnel(worker, forward, device, target, frame, length, isPacket, gsoSize);
  } else if (!isLost) {
    const copy = hook.claim(worker, worker + DECAP_STATE_OFFSET + DECAP_MIRROR_USED_OFFSET, length);
    isLost = copy === 0;
    if (!isLost) {
      memory.copy(copy, frame, length);
      deliver(worker, placeOf(target), copy, length, isPacket, gsoSize);
    }
  }
  counter.one(worker, device, isLost ? HOOK_MIRRORS_LOST : HOOK_MIRRORS_RECEIVED);
}

/** False: no room. */
function copyIntoTunnel(
  worker: usize,
  forward: usize,
  device: u32,
  target: u32,
  frame: usize,
  length: i32,
  isPacket: boolean,
  gsoSize: i32,
): boolean {
  const copy = hook.claim(worker, worker + DECAP_STATE_OFFSET + DECAP_MIRROR_USED_OFFSET, length);
  if (copy === 0) return false;
  memory.copy(copy, frame, length);
  return intoTunnel(forward, device, target, copy, length, isPacket, gsoSize, HOOK_WORD_GOES);
}

/**
 * Puts a frame into the ring of the encap block. False: no room.
 * @param device that it came for
 * @param word HOOK_WORD_GOES, or HOOK_WORD_BORROWED when the first two bytes of its virtio header are not its own
 */
function intoTunnel(
  forward: usize,
  device: u32,
  target: u32,
  frame: usize,
  length: i32,
  isPacket: boolean,
  gsoSize: i32,
  word: u32,
): boolean {
  if (forward === 0) return false;
  const queue = forward + ENCAP_RING_OFFSET;
  const filled = ring.filled(queue);
  if (filled - ring.freed(queue) >= (ENCAP_RING_COUNT as u32)) return false;
  const header = frame - VIRTIO_HEADER_BYTES;
  const before = load<u16>(header);
  store<u16>(header, 0);
  // Segments of the size that suits both, for the sender's own is not known.
  const mtu = min(mtuOf(device), mtuOf(target));
  emitOffload(mtu, header, frame, length, isPacket, gsoSize);
  const asked = <u32>load<u16>(header);
  if (word === HOOK_WORD_BORROWED) store<u16>(header, before);
  const isBorrowed = word === HOOK_WORD_BORROWED;
  hook.describe(ring.descriptor(queue, filled), header, length, target, isBorrowed ? word | asked : word);
  ring.fill(queue, filled + 1);
  return true;
}

/** What a virtio header says of a frame whose sender left it unfinished. */
function emitOffload(
  mtu: i32,
  header: usize,
  frame: usize,
  length: i32,
  isPacket: boolean,
  gsoSize: i32,
): void {
  if (isPacket) nameVersion(frame);
  const l3 = isPacket ? 0 : ethernet.networkOffset(frame, length);
  const l4 = inner.transportOffset(frame, length, l3);
  if (l4 === 0) return;
  const isTcp = inner.protocolOf(frame, l3) === IP_PROTOCOL_TCP;
  if (inner.isUnfinished(frame, length, l3, l4, isTcp))
    coalesce.emitUnfinished(header, mtu, frame, length, l3, l4, isTcp, gsoSize);
}

/** HOOK_FLAG_PARTIAL and HOOK_FLAG_SUPER: did the sender, a kernel on a virtual link, leave work to do? */
function flagsOf(device: u32, frame: usize, length: i32, l3: i32, gsoSize: i32): u32 {
  const l4 = inner.transportOffset(frame, length, l3);
  if (l4 === 0) return 0;
  const isTcp = inner.protocolOf(frame, l3) === IP_PROTOCOL_TCP;
  if (!inner.isUnfinished(frame, length, l3, l4, isTcp)) return 0;
  const isSuper = isTcp ? length - l3 > mtuOf(device) : gsoSize > 0;
  return isSuper ? HOOK_FLAG_PARTIAL | HOOK_FLAG_SUPER : HOOK_FLAG_PARTIAL;
}

function mtuOf(device: u32): i32 {
  return load<i32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_MTU_OFFSET);
}

/** A device's own domain. */
function placeOf(device: u32): u32 {
  return device | (device << 16);
}
