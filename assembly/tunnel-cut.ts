/* A super-frame that was to leave whole and was refused. */
import * as counter from './count';
import * as dispatch from './dispatch';
import {
  AF_INET,
  AF_INET6,
  DEVICE_BYTES,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  ENCAP_CUT_REMOTE_OFFSET,
  ENCAP_LABEL_OFFSET,
  ENCAP_MESSAGES_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  ENVELOPE_CUT_FRAME_OFFSET,
  ENVELOPE_CUT_SOURCE_OFFSET,
  ENVELOPE_DEVICE_OFFSET,
  ENVELOPE_DOMAIN_OFFSET,
  ENVELOPE_IFINDEX_OFFSET,
  ENVELOPE_LABEL_OFFSET,
  ENVELOPE_LENGTH_OFFSET,
  ENVELOPE_MARKS_OFFSET,
  ENVELOPE_OVERHEAD_OFFSET,
  ETHERNET_HEADER_BYTES,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  SEGMENTS_SENT,
  SUPER_FRAMES_REFUSED,
  SUPER_FRAMES_SPLIT,
  UDP_HEADER_BYTES,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_BYTES,
  VIRTIO_TUNNEL_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as message from './message';
import * as segment from './segment';
import * as virtio from './wire/virtio';
import * as vxlan from './wire/vxlan';

/**
 * A message of the batch that the underlay TAP has refused: its super-frame is split after all, into messages behind
 * those of the batch, which the host sends in its place. Returns how many; 0: there is no room.
 *
 * @param refused its place among the messages that were laid out
 */
export function cut(worker: usize, refused: i32): i32 {
  const state = worker + ENCAP_STATE_OFFSET;
  const envelope = dispatch.envelopeAt(worker, refused);
  const device = load<u32>(envelope, ENVELOPE_DEVICE_OFFSET);
  const domain = load<u32>(envelope, ENVELOPE_DOMAIN_OFFSET);
  const source = load<u32>(envelope, ENVELOPE_CUT_SOURCE_OFFSET);
  const header = <usize>load<u32>(envelope, ENVELOPE_CUT_FRAME_OFFSET);
  const length = load<i32>(envelope, ENVELOPE_LENGTH_OFFSET) - VXLAN_HEADER_BYTES;
  const l3 = load<i32>(envelope, ENVELOPE_OVERHEAD_OFFSET) - VXLAN_HEADER_BYTES;
  const frame = header + VIRTIO_HEADER_BYTES;
  const headers = segment.headerBytes(header, frame, length, l3);
  const size = virtio.gsoSize(header);
  const segments = segment.count(length - headers, size);
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  const each = size + headers + VXLAN_HEADER_BYTES;
  if (
    segments > message.datagramMax(flags, source) ||
    !message.hasRoom(worker, flags, source, segments, each) ||
    !segment.hasRoom(worker, segments)
  )
    return 0;

  const ip = envelope + VIRTIO_TUNNEL_HEADER_BYTES + ETHERNET_HEADER_BYTES;
  const remote = state + ENCAP_CUT_REMOTE_OFFSET;
  const ipv4 = load<u8>(ip) >>> 4 === 4;
  store<u8>(remote, <u8>(ipv4 ? AF_INET : AF_INET6), REMOTE_FAMILY_OFFSET);
  store<u32>(remote, load<u32>(envelope, ENVELOPE_IFINDEX_OFFSET), REMOTE_IFINDEX_OFFSET);
  store<u64>(remote, ipv4 ? <u64>load<u32>(ip, 16) : load<u64>(ip, 24), REMOTE_ADDRESS_OFFSET);
  store<u64>(remote, ipv4 ? 0 : load<u64>(ip, 32), REMOTE_ADDRESS_OFFSET + 8);
  const udp = ip + (ipv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
  const port = bswap<u16>(load<u16>(udp, 2));
  const outer = udp + UDP_HEADER_BYTES;

  // The frame that the walk may have stopped at keeps its label.
  const used = load<u32>(state, ENCAP_MESSAGES_USED_OFFSET);
  const label = load<u64>(state, ENCAP_LABEL_OFFSET);
  store<u64>(state, load<u64>(envelope, ENVELOPE_LABEL_OFFSET), ENCAP_LABEL_OFFSET);
  segment.split(
    worker,
    device,
    source,
    remote,
    port,
    load<u32>(envelope, ENVELOPE_MARKS_OFFSET),
    vxlan.vni(outer),
    vxlan.word(outer),
    frame,
    length,
    l3,
    virtio.checksumStart(header),
    headers,
    size,
    virtio.gsoType(header) === VIRTIO_GSO_UDP,
  );
  store<u64>(state, label, ENCAP_LABEL_OFFSET);
  dispatch.behind(worker, source, used);
  counter.one(worker, device, SUPER_FRAMES_REFUSED);
  counter.one(worker, device, SUPER_FRAMES_SPLIT);
  counter.add(worker, device, SEGMENTS_SENT, segments);
  counter.sent(worker, device, domain, segments - 1, (segments - 1) * (headers - l3));
  return load<i32>(state, ENCAP_MESSAGES_USED_OFFSET) - used;
}
