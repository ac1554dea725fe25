/* One counter per verdict and device, in the worker's own block: no two threads write the same line. */
import {
  COUNTER_BYTES,
  COUNTER_ROW_BYTES,
  COUNTERS_OFFSET,
  DEVICE_COUNT,
  DOMAIN_COUNTER_ROW_BYTES,
  DOMAIN_COUNTERS_OFFSET,
  DOMAIN_ENCAP_DROPS,
} from './layout';

export function add(worker: usize, device: u32, counter: i32, amount: u32): void {
  const at = worker + COUNTERS_OFFSET + device * COUNTER_ROW_BYTES + counter * COUNTER_BYTES;
  store<u64>(at, load<u64>(at) + amount);
}

export function one(worker: usize, device: u32, counter: i32): void {
  add(worker, device, counter, 1);
}

/** Per-VNI counters, DOMAIN_*: of external devices only. */
export function ofDomain(worker: usize, domain: u32, counter: i32, amount: u32): void {
  const at = worker + DOMAIN_COUNTERS_OFFSET + domain * DOMAIN_COUNTER_ROW_BYTES + counter * COUNTER_BYTES;
  store<u64>(at, load<u64>(at) + amount);
}

/** A frame to send that is dropped. */
export function dropped(worker: usize, device: u32, domain: u32, verdict: i32): void {
  one(worker, device, verdict);
  if (domain >= (DEVICE_COUNT as u32)) ofDomain(worker, domain, DOMAIN_ENCAP_DROPS, 1);
}
