/**
 * The counters' names, in the order of assembly/layout.ts. A verdict, its counter, its word on the command
 * line and its test share one name.
 */

import * as layout from '../../assembly/layout.ts';
import { COUNTER_BYTES, COUNTER_ROW_BYTES, COUNTERS_OFFSET } from '../../assembly/layout.ts';
import { type Views, workerBase } from './memory.ts';

/** name -> number */
export const COUNTERS = {
  encap_packets: layout.ENCAP_PACKETS,
  encap_bytes: layout.ENCAP_BYTES_COUNTED,
  decap_packets: layout.DECAP_PACKETS,
  decap_bytes: layout.DECAP_BYTES_COUNTED,
  drop_short_frame: layout.DROP_SHORT_FRAME,
  drop_bad_offload: layout.DROP_BAD_OFFLOAD,
  drop_no_target: layout.DROP_NO_TARGET,
  drop_short_inner_ip: layout.DROP_SHORT_INNER_IP,
  drop_no_remote: layout.DROP_NO_REMOTE,
  drop_socket_full: layout.DROP_SOCKET_FULL,
  drop_no_buffers: layout.DROP_NO_BUFFERS,
  drop_too_big: layout.DROP_TOO_BIG,
  drop_unreachable: layout.DROP_UNREACHABLE,
  drop_refused: layout.DROP_REFUSED,
  drop_send_error: layout.DROP_SEND_ERROR,
  drop_tap_read: layout.DROP_TAP_READ,
  drop_unmapped_vlan: layout.DROP_UNMAPPED_VLAN,
  drop_mdb_no_remote: layout.DROP_MDB_NO_REMOTE,
  drop_no_nexthop: layout.DROP_NO_NEXTHOP,
  drop_route_loop: layout.DROP_ROUTE_LOOP,
  drop_unknown_local_vni: layout.DROP_UNKNOWN_LOCAL_VNI,
  drop_short_request: layout.DROP_SHORT_REQUEST,
  drop_unknown_protocol: layout.DROP_UNKNOWN_PROTOCOL,
  drop_short_datagram: layout.DROP_SHORT_DATAGRAM,
  drop_no_vni_flag: layout.DROP_NO_VNI_FLAG,
  drop_unknown_vni: layout.DROP_UNKNOWN_VNI,
  drop_reserved_bits: layout.DROP_RESERVED_BITS,
  drop_short_inner_frame: layout.DROP_SHORT_INNER_FRAME,
  drop_local_mac: layout.DROP_LOCAL_MAC,
  drop_invalid_source_mac: layout.DROP_INVALID_SOURCE_MAC,
  drop_entry_exists: layout.DROP_ENTRY_EXISTS,
  drop_short_inner_ip_received: layout.DROP_SHORT_INNER_IP_RECEIVED,
  drop_ecn: layout.DROP_ECN,
  drop_device_down: layout.DROP_DEVICE_DOWN,
  drop_truncated: layout.DROP_TRUNCATED,
  drop_tap_write: layout.DROP_TAP_WRITE,
  drop_gpe_header: layout.DROP_GPE_HEADER,
  drop_gpe_protocol: layout.DROP_GPE_PROTOCOL,
  drop_short_remcsum: layout.DROP_SHORT_REMCSUM,
  drop_policy: layout.DROP_POLICY,
  drop_unmapped_vni: layout.DROP_UNMAPPED_VNI,
  drop_unknown_sender: layout.DROP_UNKNOWN_SENDER,
  drop_unknown_peer: layout.DROP_UNKNOWN_PEER,
  drop_peer_address: layout.DROP_PEER_ADDRESS,
  drop_peer_subnet: layout.DROP_PEER_SUBNET,
  drop_hook: layout.DROP_HOOK,
  drop_hook_fault: layout.DROP_HOOK_FAULT,
  drop_hook_target: layout.DROP_HOOK_TARGET,
  drop_hook_received: layout.DROP_HOOK_RECEIVED,
  drop_hook_fault_received: layout.DROP_HOOK_FAULT_RECEIVED,
  drop_hook_target_received: layout.DROP_HOOK_TARGET_RECEIVED,
  drop_hook_forward: layout.DROP_HOOK_FORWARD,
  drop_hook_stopped: layout.DROP_HOOK_STOPPED,
  drop_hook_stopped_received: layout.DROP_HOOK_STOPPED_RECEIVED,
  super_frames_split: layout.SUPER_FRAMES_SPLIT,
  segments_sent: layout.SEGMENTS_SENT,
  segments_merged: layout.SEGMENTS_MERGED,
  super_frames_merged: layout.SUPER_FRAMES_MERGED,
  super_frames_received: layout.SUPER_FRAMES_RECEIVED,
  checksums_completed: layout.CHECKSUMS_COMPLETED,
  checksums_left_partial: layout.CHECKSUMS_LEFT_PARTIAL,
  merge_checksum_bad: layout.MERGE_CHECKSUM_BAD,
  fdb_learned: layout.FDB_LEARNED,
  fdb_moved: layout.FDB_MOVED,
  fdb_full: layout.FDB_FULL,
  fdb_busy: layout.FDB_BUSY,
  send_retries: layout.SEND_RETRIES,
  proxy_replies: layout.PROXY_REPLIES,
  proxy_swallowed: layout.PROXY_SWALLOWED,
  too_big_replies: layout.TOO_BIG_REPLIES,
  l2_misses: layout.L2_MISSES,
  l3_misses: layout.L3_MISSES,
  local_bypasses: layout.LOCAL_BYPASSES,
  route_short_circuits: layout.ROUTE_SHORT_CIRCUITS,
  super_frames_whole: layout.SUPER_FRAMES_WHOLE,
  super_frames_refused: layout.SUPER_FRAMES_REFUSED,
  hook_redirects: layout.HOOK_REDIRECTS,
  hook_redirects_received: layout.HOOK_REDIRECTS_RECEIVED,
  hook_mirrors: layout.HOOK_MIRRORS,
  hook_mirrors_received: layout.HOOK_MIRRORS_RECEIVED,
  hook_mirrors_lost: layout.HOOK_MIRRORS_LOST,
} as const;

/** Names of the counters: packets and bytes of each direction, and a reason for each drop (README, "What is counted"). */
export type CounterName = keyof typeof COUNTERS;

/** One counter of one device (0 = datagrams of no device), over `workers` workers from `first` on. */
export function readCounter(
  views: Views,
  workers: number,
  device: number,
  name: CounterName,
  first = 0,
): number {
  let sum = 0n;
  for (let worker = first; worker < first + workers; ++worker) {
    const row = workerBase(worker) + COUNTERS_OFFSET + device * COUNTER_ROW_BYTES;
    sum += views.view.getBigUint64(row + COUNTERS[name] * COUNTER_BYTES, true);
  }
  return Number(sum);
}

/** All counters of a device that are not zero. */
export function readCounters(
  views: Views,
  workers: number,
  device: number,
): Partial<Record<CounterName, number>> {
  const found: Partial<Record<CounterName, number>> = {};
  for (const name of Object.keys(COUNTERS) as CounterName[]) {
    const value = readCounter(views, workers, device, name);
    if (value !== 0) found[name] = value;
  }
  return found;
}

/** Counts for a worker that this thread is. */
export function addToCounter(
  { view }: Views,
  worker: number,
  device: number,
  name: CounterName,
  amount: number,
): void {
  const at =
    workerBase(worker) + COUNTERS_OFFSET + device * COUNTER_ROW_BYTES + COUNTERS[name] * COUNTER_BYTES;
  view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(amount), true);
}

/** A device index is given to another device. */
export function clearCounters(views: Views, workers: number, device: number): void {
  for (let worker = 0; worker < workers; ++worker) {
    const row = workerBase(worker) + COUNTERS_OFFSET + device * COUNTER_ROW_BYTES;
    views.bytes.fill(0, row, row + COUNTER_ROW_BYTES);
  }
}
