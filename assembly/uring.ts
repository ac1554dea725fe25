/*
 * io_uring: writes the submissions that hand a batch of transfers to the kernel in one system call, and reads the
 * completions. The queues lie in the worker's block (IORING_SETUP_NO_MMAP); the host has set them up and makes
 * the call in between.
 *
 * Every submission says "answer EAGAIN instead of waiting". So the kernel carries them out one after the other,
 * within the call: their order is kept, no buffer is in use afterwards, and every completion is there.
 */
import {
  CQE_BYTES,
  CQE_RESULT_OFFSET,
  CQE_USER_DATA_OFFSET,
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_BYTES,
  DEVICE_TAP_OFFSET,
  DEVICES_BASE,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_OFFSET,
  FRAME_HEADROOM_BYTES,
  FRAME_MAX_BYTES,
  FRAME_SLOT_BYTES,
  IORING_OP_READ,
  IORING_OP_WRITEV,
  IOVEC_BYTES,
  RWF_NOWAIT,
  SQE_ADDRESS_OFFSET,
  SQE_BYTES,
  SQE_FD_OFFSET,
  SQE_FLAGS_OFFSET,
  SQE_LENGTH_OFFSET,
  SQE_OPCODE_OFFSET,
  SQE_POSITION_OFFSET,
  SQE_USER_DATA_OFFSET,
  URING_ENTRIES,
  URING_OFFSET,
  VIRTIO_HEADER_BYTES,
  WORKER_CQ_HEAD_OFFSET,
  WORKER_CQ_MASK_OFFSET,
  WORKER_CQ_TAIL_OFFSET,
  WORKER_CQES_OFFSET,
  WORKER_SQ_HEAD_OFFSET,
  WORKER_SQ_TAIL_OFFSET,
  WORKER_URING_ERROR_OFFSET,
  WORKER_URING_READ_OFFSET,
  WRITE_BYTES,
  WRITE_DEVICE_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITES_OFFSET,
} from './layout';
import { absolute } from './message';
import * as ring from './ring';

const EAGAIN = -11;
/** A TAP has no position. */
const NO_POSITION: u64 = ~0;

/** Submits reads of one TAP into the slots `first` to `first + count - 1`, at most URING_ENTRIES. */
export function reads(worker: usize, fd: i32, first: i32, count: i32): void {
  const begin = start(worker);
  for (let index = 0; index < count; ++index) {
    const address = virtioHeaderOf(worker, first + index);
    submit(worker, begin + index, IORING_OP_READ, fd, address, FRAME_MAX_BYTES, <u64>(first + index));
  }
  publish(worker, begin + count);
}

/** The frames that were read go into the worker's ring. Returns how many. */
export function frames(worker: usize, device: u32): i32 {
  const queue = worker + ENCAP_RING_OFFSET;
  const completed = completions(worker);
  const head = load<u32>(cursor(worker, WORKER_CQ_HEAD_OFFSET));
  let filled = ring.filled(queue);
  const before = filled;
  let bytes = 0;
  let error = 0;
  for (let index: u32 = 0; index < completed; ++index) {
    const completion = completionAt(worker, head + index);
    const result = load<i32>(completion, CQE_RESULT_OFFSET);
    if (result < 0) {
      if (result !== EAGAIN) error = result;
      continue;
    }
    const descriptor = ring.descriptor(queue, filled);
    const slot = load<u32>(completion, CQE_USER_DATA_OFFSET);
    store<u32>(descriptor, <u32>virtioHeaderOf(worker, slot), DESCRIPTOR_ADDRESS_OFFSET);
    store<i32>(descriptor, result - VIRTIO_HEADER_BYTES, DESCRIPTOR_LENGTH_OFFSET);
    store<u32>(descriptor, device, DESCRIPTOR_DEVICE_OFFSET);
    bytes += result;
    ++filled;
  }
  reap(worker, completed);
  store<i32>(worker, bytes, WORKER_URING_READ_OFFSET);
  store<i32>(worker, error, WORKER_URING_ERROR_OFFSET);
  ring.fill(queue, filled);
  return filled - before;
}

/** Submits the decap walk's writes `first` to `first + count - 1`, at most URING_ENTRIES, each to its device's TAP. */
export function writes(worker: usize, queue: u32, first: u32, count: u32): void {
  const begin = start(worker);
  for (let index: u32 = 0; index < count; ++index) {
    const number = first + index;
    const write = worker + WRITES_OFFSET + number * WRITE_BYTES;
    const device = DEVICES_BASE + <u32>load<u16>(write, WRITE_DEVICE_OFFSET) * DEVICE_BYTES;
    const fd = load<i32>(device + queue * 4, DEVICE_TAP_OFFSET);
    const iovecs = worker + WRITE_IOVECS_BASE_OFFSET + number * (WRITE_IOVEC_MAX * IOVEC_BYTES);
    const length = load<u32>(write, WRITE_IOVECS_OFFSET);
    submit(worker, begin + index, IORING_OP_WRITEV, fd, iovecs, length, number);
  }
  publish(worker, begin + count);
}

/**
 * Takes completions up to the next one that failed, whose error then stands in the worker's block.
 * Returns its number, or -1: none is left.
 */
export function nextFailure(worker: usize): i32 {
  const completed = completions(worker);
  const head = load<u32>(cursor(worker, WORKER_CQ_HEAD_OFFSET));
  for (let index: u32 = 0; index < completed; ++index) {
    const completion = completionAt(worker, head + index);
    const result = load<i32>(completion, CQE_RESULT_OFFSET);
    if (result >= 0) continue;
    const number = load<i32>(completion, CQE_USER_DATA_OFFSET);
    store<i32>(worker, result, WORKER_URING_ERROR_OFFSET);
    reap(worker, index + 1);
    return number;
  }
  reap(worker, completed);
  return -1;
}

function virtioHeaderOf(worker: usize, slot: u32): usize {
  return worker + ENCAP_ARENA_OFFSET + slot * FRAME_SLOT_BYTES + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES;
}

function cursor(worker: usize, which: usize): usize {
  return <usize>load<u32>(worker + which);
}

/** Where to write next: what the kernel did not take of the last batch is taken back. */
function start(worker: usize): u32 {
  return atomic.load<u32>(cursor(worker, WORKER_SQ_HEAD_OFFSET));
}

function submit(
  worker: usize,
  position: u32,
  opcode: u32,
  fd: i32,
  address: usize,
  length: u32,
  data: u64,
): void {
  const submission = worker + URING_OFFSET + (position & (URING_ENTRIES - 1)) * SQE_BYTES;
  // The opcode with flags and priority 0; behind the data: no buffers, personality, or further addresses.
  store<u32>(submission, opcode, SQE_OPCODE_OFFSET);
  store<i32>(submission, fd, SQE_FD_OFFSET);
  store<u64>(submission, NO_POSITION, SQE_POSITION_OFFSET);
  store<u64>(submission, absolute(address), SQE_ADDRESS_OFFSET);
  store<u32>(submission, length, SQE_LENGTH_OFFSET);
  store<u32>(submission, RWF_NOWAIT, SQE_FLAGS_OFFSET);
  store<u64>(submission, data, SQE_USER_DATA_OFFSET);
  store<u64>(submission, 0, SQE_USER_DATA_OFFSET + 8);
  store<u64>(submission, 0, SQE_USER_DATA_OFFSET + 16);
  store<u64>(submission, 0, SQE_USER_DATA_OFFSET + 24);
}

function publish(worker: usize, tail: u32): void {
  atomic.store<u32>(cursor(worker, WORKER_SQ_TAIL_OFFSET), tail);
}

function completions(worker: usize): u32 {
  const tail = atomic.load<u32>(cursor(worker, WORKER_CQ_TAIL_OFFSET));
  return tail - load<u32>(cursor(worker, WORKER_CQ_HEAD_OFFSET));
}

function completionAt(worker: usize, position: u32): usize {
  const mask = load<u32>(worker, WORKER_CQ_MASK_OFFSET);
  return cursor(worker, WORKER_CQES_OFFSET) + (position & mask) * CQE_BYTES;
}

function reap(worker: usize, count: u32): void {
  const head = cursor(worker, WORKER_CQ_HEAD_OFFSET);
  atomic.store<u32>(head, load<u32>(head) + count);
}
