/*
 * The hot kernels in batches, as AssemblyScript: the engine's own functions, called from a loop beside them, as the
 * walks do. kernels.c has the same in C. Compiled by bench/native.ts with the engine's options.
 */
import { collect, find, learn } from '../../assembly/fdb';
import { hash } from '../../assembly/flow';
import { REMOTE_BYTES, VXLAN_FLAG_VNI, VXLAN_HEADER_BYTES } from '../../assembly/layout';
import { sum } from '../../assembly/wire/checksum';
import * as ethernet from '../../assembly/wire/ethernet';
import * as vxlan from '../../assembly/wire/vxlan';

const MAC_STRIDE_BYTES = 8;

export function checksumBatch(at: usize, bytes: i32, stride: i32, count: i32): u32 {
  let result: u32 = 0;
  for (let i = 0; i < count; i++) result += sum(at + i * stride, bytes);
  return result;
}

export function lookUpBatch(domain: u32, macs: usize, count: i32): u32 {
  let result: u32 = 0;
  for (let i = 0; i < count; i++) result += find(domain, macs + i * MAC_STRIDE_BYTES);
  return result;
}

export function headerBatch(domain: u32, vni: u32, frames: usize, stride: i32, count: i32, into: usize): u32 {
  let result: u32 = 0;
  for (let i = 0; i < count; i++) {
    const frame = frames + i * stride;
    const entry = find(domain, frame);
    if (entry < 0) continue;
    result += collect(entry, domain, ethernet.destination(frame), into + i * REMOTE_BYTES, 1);
    vxlan.emit(frame - VXLAN_HEADER_BYTES, VXLAN_FLAG_VNI, vni, 0);
  }
  return result;
}

/** @param sender struct sockaddr_in; its address becomes the number of the entry */
export function insertBatch(domain: u32, macs: usize, count: i32, now: u32, sender: usize): u32 {
  for (let i = 0; i < count; i++) {
    store<u32>(sender, i, 4);
    learn(domain, macs + i * MAC_STRIDE_BYTES, sender, 0, now);
  }
  return count;
}

export function flowBatch(frames: usize, length: i32, stride: i32, count: i32, seed: u32): u32 {
  let result: u32 = 0;
  for (let i = 0; i < count; i++) result += hash(frames + i * stride, length, seed);
  return result;
}
