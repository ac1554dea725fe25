/* One counter per verdict and device, in the worker's own block: no two threads write the same line. */
import {
  COUNTER_BYTES,
  COUNTER_ROW_BYTES,
  COUNTERS_OFFSET,
  DECAP_BYTES_COUNTED,
  DECAP_PACKETS,
  DEVICE_COUNT,
  DOMAIN_COUNTER_ROW_BYTES,
  DOMAIN_COUNTERS_OFFSET,
  DOMAIN_DECAP_BYTES,
  DOMAIN_DECAP_DROPS,
  DOMAIN_DECAP_ERRORS,
  DOMAIN_DECAP_PACKETS,
  DOMAIN_ENCAP_BYTES,
  DOMAIN_ENCAP_DROPS,
  DOMAIN_ENCAP_ERRORS,
  DOMAIN_ENCAP_PACKETS,
  DROP_DEVICE_DOWN,
  DROP_ECN,
  DROP_HOOK_FORWARD,
  DROP_HOOK_RECEIVED,
  DROP_HOOK_STOPPED_RECEIVED,
  DROP_PEER_ADDRESS,
  DROP_PEER_SUBNET,
  DROP_POLICY,
  DROP_RESERVED_BITS,
  DROP_ROUTE_LOOP,
  DROP_SHORT_INNER_IP_RECEIVED,
  DROP_UNKNOWN_LOCAL_VNI,
  DROP_UNKNOWN_PEER,
  DROP_UNKNOWN_SENDER,
  DROP_UNMAPPED_VNI,
  ENCAP_BYTES_COUNTED,
  ENCAP_PACKETS,
} from './layout';

export function add(worker: usize, device: u32, counter: i32, amount: u32): void {
  const at = worker + COUNTERS_OFFSET + device * COUNTER_ROW_BYTES + counter * COUNTER_BYTES;
  store<u64>(at, load<u64>(at) + amount);
}

export function one(worker: usize, device: u32, counter: i32): void {
  add(worker, device, counter, 1);
}

/** Per-VNI counters, DOMAIN_*: of external devices only. */
function ofDomain(worker: usize, domain: u32, counter: i32, amount: u32): void {
  const at = worker + DOMAIN_COUNTERS_OFFSET + domain * DOMAIN_COUNTER_ROW_BYTES + counter * COUNTER_BYTES;
  store<u64>(at, load<u64>(at) + amount);
}

/** Frames to send that are dropped; those that have no way to go are errors of their VNI, as in the kernel. */
export function dropped(worker: usize, device: u32, domain: u32, verdict: i32, frames: u32 = 1): void {
  add(worker, device, verdict, frames);
  if (domain < (DEVICE_COUNT as u32)) return;
  const isError = verdict === DROP_ROUTE_LOOP || verdict === DROP_UNKNOWN_LOCAL_VNI;
  ofDomain(worker, domain, isError ? DOMAIN_ENCAP_ERRORS : DOMAIN_ENCAP_DROPS, frames);
}

/** Datagrams of a device, and of its domain. */
export function sent(worker: usize, device: u32, domain: u32, packets: u32, bytes: u32): void {
  add(worker, device, ENCAP_PACKETS, packets);
  add(worker, device, ENCAP_BYTES_COUNTED, bytes);
  if (domain < (DEVICE_COUNT as u32)) return;
  ofDomain(worker, domain, DOMAIN_ENCAP_PACKETS, packets);
  ofDomain(worker, domain, DOMAIN_ENCAP_BYTES, bytes);
}

function isPlainDrop(verdict: i32): boolean {
  return (
    verdict === DROP_DEVICE_DOWN ||
    verdict === DROP_POLICY ||
    verdict === DROP_UNMAPPED_VNI ||
    verdict === DROP_UNKNOWN_SENDER ||
    verdict === DROP_UNKNOWN_PEER ||
    verdict === DROP_PEER_ADDRESS ||
    verdict === DROP_PEER_SUBNET ||
    (verdict >= DROP_HOOK_RECEIVED && verdict <= DROP_HOOK_FORWARD) ||
    verdict === DROP_HOOK_STOPPED_RECEIVED
  );
}

/** A received frame that is dropped: an error or a drop of its VNI, or neither, as the kernel counts. Returns `verdict`. */
export function lost(worker: usize, device: u32, domain: u32, verdict: i32): i32 {
  one(worker, device, verdict);
  if (domain < (DEVICE_COUNT as u32)) return verdict;
  if (verdict === DROP_RESERVED_BITS || verdict === DROP_ECN || verdict === DROP_SHORT_INNER_IP_RECEIVED)
    ofDomain(worker, domain, DOMAIN_DECAP_ERRORS, 1);
  else if (isPlainDrop(verdict)) ofDomain(worker, domain, DOMAIN_DECAP_DROPS, 1);
  return verdict;
}

/** A frame that a device receives. */
export function received(worker: usize, device: u32, domain: u32, bytes: u32): void {
  one(worker, device, DECAP_PACKETS);
  add(worker, device, DECAP_BYTES_COUNTED, bytes);
  if (domain < (DEVICE_COUNT as u32)) return;
  ofDomain(worker, domain, DOMAIN_DECAP_PACKETS, 1);
  ofDomain(worker, domain, DOMAIN_DECAP_BYTES, bytes);
}
