/**
 * Packet memory is asked for in huge pages and touched before the first packet: a page fault costs 2 to 4 us,
 * and copies of 64 KiB run over few TLB entries. Tables get huge pages too, for a look-up anywhere in them misses
 * the TLB first of all, but only as they fill. All are wishes; a kernel that grants none works too.
 */
import { syscalls } from './syscalls.ts';

const MADV_HUGEPAGE = 14;
const MADV_POPULATE_WRITE = 23;
const PAGE_BYTES = 4096;

/** @param address of the memory in this process */
export function makeResident(address: number, bytes: number): void {
  advise(address, bytes, MADV_HUGEPAGE);
  advise(address, bytes, MADV_POPULATE_WRITE);
}

/** For memory that is touched here and there: no page is taken before it is. */
export function preferHugePages(address: number, bytes: number): void {
  advise(address, bytes, MADV_HUGEPAGE);
}

/** For the whole pages of a range. */
function advise(address: number, bytes: number, advice: number): void {
  const start = Math.ceil(address / PAGE_BYTES) * PAGE_BYTES;
  const length = Math.floor((address + bytes - start) / PAGE_BYTES) * PAGE_BYTES;
  syscalls().madvise(start, length, advice);
}
