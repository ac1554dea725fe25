/**
 * Packet memory is asked for in huge pages and touched before the first packet: a page fault costs 2 to 4 us,
 * and copies of 64 KiB run over few TLB entries. Both are wishes; a kernel that grants neither works too.
 */
import { syscalls } from './syscalls.ts';

const MADV_HUGEPAGE = 14;
const MADV_POPULATE_WRITE = 23;
const PAGE_BYTES = 4096;

/** @param address of the memory in this process */
export function makeResident(address: number, bytes: number): void {
  const start = Math.ceil(address / PAGE_BYTES) * PAGE_BYTES;
  const length = Math.floor((address + bytes - start) / PAGE_BYTES) * PAGE_BYTES;
  syscalls().madvise(start, length, MADV_HUGEPAGE);
  syscalls().madvise(start, length, MADV_POPULATE_WRITE);
}
