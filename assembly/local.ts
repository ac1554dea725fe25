/*
 * Frames that stay on this host: their remote is one of its addresses, and the device that has the VNI and
 * the port there is ours too; or a route short circuit led back into the device itself. They go straight to
 * the device's TAP, super-frames in one piece [vxlan_encap_bypass].
 */
import * as counter from './count';
import * as fdb from './fdb';
import * as inject from './inject';
import {
  AF_INET,
  DEVICE_BYTES,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_HOOK_DECAP,
  DEVICE_FLAG_KNOWN_PEERS,
  DEVICE_FLAG_LEARNING,
  DEVICE_FLAGS_OFFSET,
  DEVICE_RECEIVE_OFFSET,
  DEVICE_SOURCE_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  DROP_DEVICE_DOWN,
  DROP_POLICY,
  DROP_UNKNOWN_LOCAL_VNI,
  ENCAP_BORROWED_OFFSET,
  ENCAP_LOOPBACK_OFFSET,
  ENCAP_STATE_OFFSET,
  ENCAP_WORD_OFFSET,
  ETHERNET_HEADER_BYTES,
  HEADER_BASE,
  HEADER_LISTENERS_OFFSET,
  LISTENER_BYTES,
  LISTENER_FAMILY_OFFSET,
  LISTENER_PORT_OFFSET,
  LISTENER_RECEIVE_OFFSET,
  LISTENER_SOCKETS_OFFSET,
  LISTENERS_BASE,
  LOCAL_BYPASSES,
  RECEIVE_GBP,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  SOURCE_GROUP_BYTES,
  SOURCE_LOCAL_OFFSET,
  SOURCES_BASE,
  VIRTIO_HEADER_BYTES,
} from './layout';
import * as learning from './learning';
import * as peers from './peer';
import * as policy from './policy';
import * as vlan from './vlan';
import * as vni from './vni';

const MACS_BYTES = 12;

/** What becomes of a frame for this host: it is done with; no room, come back; a hook wants to see it arrive. */
export const DONE = 0;
export const COME_BACK = 1;
export const NOT_HERE = 2;

/** To the device of this host that has the VNI and port. */
export function bypass(
  worker: usize,
  device: u32,
  domain: u32,
  remote: usize,
  port: u32,
  number: u32,
  header: usize,
  length: i32,
): i32 {
  const receive = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_RECEIVE_OFFSET);
  const target = find(remote, port, receive, number);
  if (target === 0) {
    counter.dropped(worker, device, domain, DROP_UNKNOWN_LOCAL_VNI);
    return DONE;
  }
  const owner = fdb.deviceOf(target);
  const flags = load<u32>(DEVICES_BASE + owner * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  if ((flags & DEVICE_FLAG_HOOK_DECAP) !== 0) return NOT_HERE;
  if (!inject.hasRoom(worker)) return COME_BACK;
  if (load<u32>(DEVICES_BASE + owner * DEVICE_BYTES, DEVICE_STATE_OFFSET) !== DEVICE_UP) {
    counter.lost(worker, owner, target, DROP_DEVICE_DOWN);
    return DONE;
  }
  // The header that it would have had says what group the frame is of.
  const word = load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_WORD_OFFSET);
  if ((receive & RECEIVE_GBP) !== 0 && !policy.admits(worker, owner, word)) {
    counter.lost(worker, owner, target, DROP_POLICY);
    return DONE;
  }
  if ((flags & DEVICE_FLAG_KNOWN_PEERS) !== 0) {
    const frame = header + VIRTIO_HEADER_BYTES;
    const verdict = peers.admit(worker, owner, origin(worker, device, remote), frame, length);
    if (verdict !== 0) {
      counter.lost(worker, owner, target, verdict);
      return DONE;
    }
  }
  return deliver(worker, device, domain, target, remote, header, length) ? DONE : COME_BACK;
}

/** To the TAP of another domain, or of the same one. False: no room, come back. */
export function deliver(
  worker: usize,
  device: u32,
  domain: u32,
  target: u32,
  remote: usize,
  header: usize,
  length: i32,
): boolean {
  if (!inject.hasRoom(worker)) return false;
  const owner = fdb.deviceOf(target);
  const flags = load<u32>(DEVICES_BASE + owner * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  const frame = header + VIRTIO_HEADER_BYTES;
  // Whatever learning says of the source, the frame is delivered.
  if ((flags & DEVICE_FLAG_LEARNING) !== 0) {
    const word = load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_WORD_OFFSET);
    if (!learning.isForbidden(flags, word))
      learning.snoop(worker, owner, target, frame, loopback(worker, remote), 0);
  }
  const isPacket = (flags & DEVICE_FLAG_GPE) !== 0;
  const tag = vlan.tagOf(target);
  // Where the virtio header is borrowed it does not last.
  const isBorrowed = load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_BORROWED_OFFSET) === <u32>header;
  if (isPacket || tag !== 0 || isBorrowed) {
    const head = inject.reply(worker);
    memory.copy(head - VIRTIO_HEADER_BYTES, header, VIRTIO_HEADER_BYTES);
    const bytes = tag === 0 || isPacket ? 0 : vlan.writeTag(head, frame, tag);
    const skipped = isPacket ? ETHERNET_HEADER_BYTES : tag === 0 ? 0 : MACS_BYTES;
    vlan.shift(head - VIRTIO_HEADER_BYTES, bytes - skipped);
    inject.pieces(worker, owner, bytes, frame + skipped, length - skipped);
  } else {
    inject.frame(worker, owner, header, length);
  }
  counter.one(worker, device, LOCAL_BYPASSES);
  // As the kernel: whole frames here, with their Ethernet header where they have one.
  const counted = isPacket ? length - ETHERNET_HEADER_BYTES : length;
  counter.sent(worker, device, domain, 1, counted);
  counter.received(worker, owner, target, counted);
  return true;
}

/** The domain of a VNI on a port of this host, 0 = there is none. Sockets must agree on all they receive. */
function find(remote: usize, port: u32, receive: u32, number: u32): u32 {
  const family = load<u8>(remote, REMOTE_FAMILY_OFFSET);
  const last = load<u32>(HEADER_BASE, HEADER_LISTENERS_OFFSET);
  for (let listener: u32 = 1; listener <= last; ++listener) {
    const record = LISTENERS_BASE + listener * LISTENER_BYTES;
    if (
      load<i32>(record, LISTENER_SOCKETS_OFFSET) !== 0 &&
      load<u16>(record, LISTENER_PORT_OFFSET) === port &&
      load<u8>(record, LISTENER_FAMILY_OFFSET) === family &&
      load<u32>(record, LISTENER_RECEIVE_OFFSET) === receive
    ) {
      const domain = vni.lookup(listener, number);
      if (domain !== 0 && vni.hears(fdb.deviceOf(domain), load<u32>(remote, REMOTE_IFINDEX_OFFSET)))
        return domain;
    }
  }
  return 0;
}

/**
 * struct sockaddr of what would have been the outer source: the device's own address, or, where the route chooses, the
 * remote, which is this host's.
 */
function origin(worker: usize, device: u32, remote: usize): usize {
  const name = worker + ENCAP_STATE_OFFSET + ENCAP_LOOPBACK_OFFSET;
  const group = <u32>load<u16>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_SOURCE_OFFSET);
  let address: usize = SOURCES_BASE + group * SOURCE_GROUP_BYTES + SOURCE_LOCAL_OFFSET;
  if ((load<u64>(address) | load<u64>(address, 8)) === 0) address = remote + REMOTE_ADDRESS_OFFSET;
  memory.fill(name, 0, 32);
  store<u16>(name, load<u8>(remote, REMOTE_FAMILY_OFFSET));
  if (load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET) store<u32>(name, load<u32>(address), 4);
  else memory.copy(name + 8, address, 16);
  return name;
}

/** struct sockaddr of the loopback address, of the remote's family: where such frames seem to come from. */
function loopback(worker: usize, remote: usize): usize {
  const name = worker + ENCAP_STATE_OFFSET + ENCAP_LOOPBACK_OFFSET;
  const ipv4 = load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET;
  memory.fill(name, 0, 32);
  store<u16>(name, load<u8>(remote, REMOTE_FAMILY_OFFSET));
  if (ipv4) store<u32>(name, 0x0100007f, 4);
  else store<u8>(name, 1, 8 + 15);
  return name;
}
