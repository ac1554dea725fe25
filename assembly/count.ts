/* One counter per verdict and device, in the worker's own block: no two threads write the same line. */
import { COUNTER_BYTES, COUNTER_ROW_BYTES, COUNTERS_OFFSET } from './layout';

export function add(worker: usize, device: u32, counter: i32, amount: u32): void {
  const at = worker + COUNTERS_OFFSET + device * COUNTER_ROW_BYTES + counter * COUNTER_BYTES;
  store<u64>(at, load<u64>(at) + amount);
}

export function one(worker: usize, device: u32, counter: i32): void {
  add(worker, device, counter, 1);
}
