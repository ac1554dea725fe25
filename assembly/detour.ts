/*
 * What the path to a remote makes of a copy: it leads back into the device, or to a device of this host, or the copy
 * doesn't fit and whoever sent it is told; else it goes out.  [vxlan_get_route, encap_bypass_if_local, skb_tunnel_check_pmtu]
 */
import * as counter from './count';
import * as inject from './inject';
import {
  AF_INET,
  DEVICE_FLAG_BRIDGED,
  DEVICE_FLAG_LOCALBYPASS,
  DEVICE_IFINDEX_OFFSET,
  DEVICE_SOURCE_OFFSET,
  DROP_ROUTE_LOOP,
  OVERHEAD_IPV4_BYTES,
  OVERHEAD_IPV6_BYTES,
  PATH_FLAGS_OFFSET,
  PATH_LOCAL,
  PATH_MTU_OFFSET,
  PATH_OUT_OFFSET,
  REMOTE_FAMILY_OFFSET,
  TOO_BIG_REPLIES,
  VIRTIO_GSO_NONE,
  VIRTIO_HEADER_BYTES,
} from './layout';
import * as local from './local';
import * as path from './path';
import * as segment from './segment';
import * as tooBig from './too-big';
import * as virtio from './wire/virtio';

/** What becomes of a copy on its path. */
export const GOES_OUT = 0;
export const ENDS_HERE = 1;
const COMES_BACK = 2;

/** Looks at the path. Returns GOES_OUT, ENDS_HERE or COMES_BACK; only what ends here has been counted. */
export function follow(
  worker: usize,
  device: u32,
  record: usize,
  flags: u32,
  domain: u32,
  remote: usize,
  port: u32,
  vni: u32,
  header: usize,
  length: i32,
  l3: i32,
): i32 {
  const known = path.find(worker, remote);
  if (known === 0) {
    path.want(worker, remote, load<u16>(record, DEVICE_SOURCE_OFFSET));
    return COMES_BACK;
  }
  const isLocal = (load<u32>(known, PATH_FLAGS_OFFSET) & PATH_LOCAL) !== 0;
  if (isLocal && (flags & DEVICE_FLAG_LOCALBYPASS) !== 0) {
    const fate = local.bypass(worker, device, domain, remote, port, vni, header, length);
    if (fate !== local.NOT_HERE) return fate === local.DONE ? ENDS_HERE : COMES_BACK;
  }
  const out = load<u32>(known, PATH_OUT_OFFSET);
  if (out !== 0 && out === load<u32>(record, DEVICE_IFINDEX_OFFSET)) {
    counter.dropped(worker, device, domain, DROP_ROUTE_LOOP);
    return ENDS_HERE;
  }
  if ((flags & DEVICE_FLAG_BRIDGED) === 0) return GOES_OUT;
  return answerTooBig(worker, device, domain, remote, load<i32>(known, PATH_MTU_OFFSET), header, length, l3);
}

/** A bridged frame that doesn't fit: whoever sent it is told. Returns as `follow`. */
function answerTooBig(
  worker: usize,
  device: u32,
  domain: u32,
  remote: usize,
  pathMtu: i32,
  header: usize,
  length: i32,
  l3: i32,
): i32 {
  const ipv4 = load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET;
  const mtu = pathMtu - (ipv4 ? OVERHEAD_IPV4_BYTES : OVERHEAD_IPV6_BYTES);
  const frame = header + VIRTIO_HEADER_BYTES;
  let bytes = length - l3;
  // A path whose MTU is not known, or too small for any tunnel.
  if (mtu <= 0 || bytes <= mtu) return GOES_OUT;
  if (virtio.gsoType(header) !== VIRTIO_GSO_NONE) {
    const headers = segment.headerBytes(header, frame, length, l3);
    bytes = headers + virtio.gsoSize(header) - l3;
    if (headers === 0 || bytes <= mtu) return GOES_OUT;
  }
  if (!inject.hasRoom(worker)) return COMES_BACK;
  const answer = tooBig.answer(frame, length, l3, <u32>mtu, inject.reply(worker));
  if (answer === 0) return GOES_OUT;
  inject.sendReply(worker, device, domain, answer);
  counter.one(worker, device, TOO_BIG_REPLIES);
  // The kernel counts the answer as sent and received, with its Ethernet header.
  counter.sent(worker, device, domain, 1, answer);
  counter.received(worker, device, domain, answer);
  return ENDS_HERE;
}
