/*
 * Frames that are not their device's as they come: of external devices, whose VLAN says which VNI they are of, and of
 * GPE devices, which have no Ethernet header. Each is made ready for the walk once.
 */
import * as counter from './count';
import {
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_DOMAIN_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_FLAG_GPE,
  DROP_SHORT_FRAME,
  DROP_UNKNOWN_PROTOCOL,
  DROP_UNMAPPED_VLAN,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  VIRTIO_HEADER_BYTES,
  VLAN_TAG_BYTES,
} from './layout';
import * as vlan from './vlan';
import * as vni from './vni';

/** The domain of a frame, which is made ready for the walk the first time; 0 = it has been dropped. */
export function admit(worker: usize, device: u32, flags: u32, descriptor: usize): u32 {
  const known = <u32>load<u16>(descriptor, DESCRIPTOR_DOMAIN_OFFSET);
  if (known !== 0) return known;
  let domain = device;
  if ((flags & DEVICE_FLAG_GPE) !== 0) {
    if (!coverPacket(descriptor)) return refuse(worker, device, DROP_UNKNOWN_PROTOCOL);
  } else {
    const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
    if (length < ETHERNET_HEADER_BYTES) return refuse(worker, device, DROP_SHORT_FRAME);
    domain = untag(device, descriptor);
    if (domain === 0) return refuse(worker, device, DROP_UNMAPPED_VLAN);
  }
  store<u16>(descriptor, <u16>domain, DESCRIPTOR_DOMAIN_OFFSET);
  return domain;
}

/** The domain of a frame of an external device, by its VLAN, which is taken off. 0 = none. */
function untag(device: u32, descriptor: usize): u32 {
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
  const id = vlan.idOf(header + VIRTIO_HEADER_BYTES, length);
  const domain = vni.ofVlan(device, id);
  if (domain === 0) return 0;
  if (vlan.isTagged(header + VIRTIO_HEADER_BYTES, length)) {
    store<u32>(descriptor, <u32>vlan.strip(header), DESCRIPTOR_ADDRESS_OFFSET);
    store<i32>(descriptor, length - VLAN_TAG_BYTES, DESCRIPTOR_LENGTH_OFFSET);
  }
  return domain;
}

/**
 * A packet of a TUN has no Ethernet header. It gets one that is never sent, so that the walk needn't know:
 * the address of the zero MAC, whose entry has the device's remotes. False: neither IPv4 nor IPv6.
 */
function coverPacket(descriptor: usize): boolean {
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
  if (length < 1) return false;
  const version = load<u8>(header + VIRTIO_HEADER_BYTES) >>> 4;
  if (version !== 4 && version !== 6) return false;
  const covered = header - ETHERNET_HEADER_BYTES;
  memory.copy(covered, header, VIRTIO_HEADER_BYTES);
  vlan.shift(covered, ETHERNET_HEADER_BYTES);
  const frame = covered + VIRTIO_HEADER_BYTES;
  memory.fill(frame, 0, ETHERNET_HEADER_BYTES);
  store<u16>(
    frame,
    bswap<u16>((version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6) as u16),
    ETHERNET_HEADER_BYTES - 2,
  );
  store<u32>(descriptor, <u32>covered, DESCRIPTOR_ADDRESS_OFFSET);
  store<i32>(descriptor, length + ETHERNET_HEADER_BYTES, DESCRIPTOR_LENGTH_OFFSET);
  return true;
}

function refuse(worker: usize, device: u32, verdict: i32): u32 {
  counter.dropped(worker, device, device, verdict);
  return 0;
}
