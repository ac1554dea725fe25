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
  DECAP_BYTES_COUNTED,
  DECAP_PACKETS,
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_FLAG_LEARNING,
  DEVICE_FLAGS_OFFSET,
  DEVICE_RECEIVE_OFFSET,
  DEVICES_BASE,
  DOMAIN_DECAP_BYTES,
  DOMAIN_DECAP_PACKETS,
  DOMAIN_ENCAP_BYTES,
  DOMAIN_ENCAP_PACKETS,
  DROP_UNKNOWN_LOCAL_VNI,
  ENCAP_BYTES_COUNTED,
  ENCAP_LOOPBACK_OFFSET,
  ENCAP_PACKETS,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_LISTENERS_OFFSET,
  LISTENER_BYTES,
  LISTENER_FAMILY_OFFSET,
  LISTENER_PORT_OFFSET,
  LISTENER_RECEIVE_OFFSET,
  LISTENER_SOCKET_OFFSET,
  LISTENERS_BASE,
  LOCAL_BYPASSES,
  REMOTE_FAMILY_OFFSET,
  VIRTIO_HEADER_BYTES,
} from './layout';
import * as learning from './learning';
import * as vlan from './vlan';
import * as vni from './vni';

const MACS_BYTES = 12;

/** To the device of this host that has the VNI and port. False: no room, come back. */
export function bypass(
  worker: usize,
  device: u32,
  domain: u32,
  remote: usize,
  port: u32,
  number: u32,
  header: usize,
  length: i32,
): boolean {
  const receive = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_RECEIVE_OFFSET);
  const target = find(load<u8>(remote, REMOTE_FAMILY_OFFSET), port, receive, number);
  if (target !== 0) return deliver(worker, device, domain, target, remote, header, length);
  counter.dropped(worker, device, domain, DROP_UNKNOWN_LOCAL_VNI);
  return true;
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
  if ((flags & DEVICE_FLAG_LEARNING) !== 0)
    learning.snoop(worker, owner, target, frame, loopback(worker, remote), 0);
  const tag = target < (DEVICE_COUNT as u32) ? 0 : vlan.tagOf(target);
  if (tag === 0) {
    inject.frame(worker, owner, header, length);
  } else {
    const head = inject.reply(worker);
    memory.copy(head - VIRTIO_HEADER_BYTES, header, VIRTIO_HEADER_BYTES);
    const bytes = vlan.writeTag(head, frame, tag);
    vlan.shift(head - VIRTIO_HEADER_BYTES, bytes - MACS_BYTES);
    inject.pieces(worker, owner, bytes, frame + MACS_BYTES, length - MACS_BYTES);
  }
  counter.one(worker, device, LOCAL_BYPASSES);
  // As the kernel: whole frames here, with their Ethernet header.
  count(
    worker,
    device,
    domain,
    ENCAP_PACKETS,
    ENCAP_BYTES_COUNTED,
    DOMAIN_ENCAP_PACKETS,
    DOMAIN_ENCAP_BYTES,
    length,
  );
  count(
    worker,
    owner,
    target,
    DECAP_PACKETS,
    DECAP_BYTES_COUNTED,
    DOMAIN_DECAP_PACKETS,
    DOMAIN_DECAP_BYTES,
    length,
  );
  return true;
}

function count(
  worker: usize,
  device: u32,
  domain: u32,
  packets: i32,
  bytes: i32,
  domainPackets: i32,
  domainBytes: i32,
  length: i32,
): void {
  counter.one(worker, device, packets);
  counter.add(worker, device, bytes, length);
  if (domain < (DEVICE_COUNT as u32)) return;
  counter.ofDomain(worker, domain, domainPackets, 1);
  counter.ofDomain(worker, domain, domainBytes, length);
}

/** The domain of a VNI on a port of this host, 0 = there is none. Sockets must agree on all they receive. */
function find(family: u32, port: u32, receive: u32, number: u32): u32 {
  const last = load<u32>(HEADER_BASE, HEADER_LISTENERS_OFFSET);
  for (let listener: u32 = 1; listener <= last; ++listener) {
    const record = LISTENERS_BASE + listener * LISTENER_BYTES;
    if (
      load<i32>(record, LISTENER_SOCKET_OFFSET) !== 0 &&
      load<u16>(record, LISTENER_PORT_OFFSET) === port &&
      load<u8>(record, LISTENER_FAMILY_OFFSET) === family &&
      load<u32>(record, LISTENER_RECEIVE_OFFSET) === receive
    ) {
      const domain = vni.lookup(listener, number);
      if (domain !== 0) return domain;
    }
  }
  return 0;
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
