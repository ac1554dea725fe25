/**
 * io_uring with its queues in memory that the caller brings (IORING_SETUP_NO_MMAP, Linux 6.5): so WebAssembly writes
 * the submissions and reads the completions, and one system call carries out a batch of them.
 */
import { readFileSync } from 'node:fs';
import { EINVAL, ENOMEM, ENOSYS, EPERM, errorName } from './errno.ts';
import { syscalls } from './syscalls.ts';

const IORING_SETUP_CQSIZE = 1 << 3;
/** A submission that is refused does not stop those behind it. */
const IORING_SETUP_SUBMIT_ALL = 1 << 7;
/** One thread submits, and completions are made in its own calls only. */
const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
const IORING_SETUP_DEFER_TASKRUN = 1 << 13;
const IORING_SETUP_NO_MMAP = 1 << 14;
const IORING_SETUP_NO_SQARRAY = 1 << 16;
/** struct io_uring_params: flags and sizes, then io_sqring_offsets, then io_cqring_offsets. */
const PARAMS_BYTES = 120;
const SQ_OFFSETS = 40;
const CQ_OFFSETS = 80;
const USER_ADDRESS_OFFSET = 32;
/** From so many reads or writes on, one submission of them costs less than a call each. */
export const WORTHWHILE = 3;
const DISABLED = '/proc/sys/kernel/io_uring_disabled';

export interface Uring {
  readonly fd: number;
  /** Offsets from the page of the queues. */
  readonly sqHead: number;
  readonly sqTail: number;
  readonly cqHead: number;
  readonly cqTail: number;
  readonly cqes: number;
  /** Entries of the completion queue: twice those of the submission queue. */
  readonly cqEntries: number;
}

/**
 * To be called by the thread that will submit.
 *
 * @param submissions address of `entries` submissions, page-aligned, in memory that is never collected
 * @param queues      address of a page for cursors and completions
 * @returns undefined when it is refused: `refusal` says why
 */
export function openUring(entries: number, submissions: number, queues: number): Uring | undefined {
  const params = new Uint8Array(PARAMS_BYTES);
  const view = new DataView(params.buffer);
  view.setUint32(4, 2 * entries, true);
  const flags =
    IORING_SETUP_CQSIZE |
    IORING_SETUP_SUBMIT_ALL |
    IORING_SETUP_SINGLE_ISSUER |
    IORING_SETUP_DEFER_TASKRUN |
    IORING_SETUP_NO_MMAP |
    IORING_SETUP_NO_SQARRAY;
  view.setUint32(8, flags, true);
  view.setBigUint64(SQ_OFFSETS + USER_ADDRESS_OFFSET, BigInt(submissions), true);
  view.setBigUint64(CQ_OFFSETS + USER_ADDRESS_OFFSET, BigInt(queues), true);
  const fd = syscalls().io_uring_setup(entries, params);
  if (fd < 0) return undefined;
  return {
    fd,
    sqHead: view.getUint32(SQ_OFFSETS, true),
    sqTail: view.getUint32(SQ_OFFSETS + 4, true),
    cqHead: view.getUint32(CQ_OFFSETS, true),
    cqTail: view.getUint32(CQ_OFFSETS + 4, true),
    cqes: view.getUint32(CQ_OFFSETS + 20, true),
    cqEntries: view.getUint32(4, true),
  };
}

/** Why `openUring` has just failed. */
export function refusal(): string {
  const errno = syscalls().errno();
  if (errno === EPERM) {
    const disabled = disabledBySysctl();
    if (disabled !== '' && disabled !== '0') return `kernel.io_uring_disabled is ${disabled}`;
    return 'io_uring is forbidden here (seccomp)';
  }
  if (errno === EINVAL || errno === ENOSYS) return 'Linux 6.6 or newer is needed';
  if (errno === ENOMEM) return 'the limit of locked memory is too low (ulimit -l)';
  return `io_uring_setup: ${errorName(errno)}`;
}

function disabledBySysctl(): string {
  try {
    return readFileSync(DISABLED, 'utf8').trim();
  } catch {
    return '';
  }
}
