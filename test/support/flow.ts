/**
 * The flow hash of assembly/flow.ts in plain TypeScript: a truth to compare with, and what the engine's
 * speed is measured against. Words are in memory order there, so they are little-endian here.
 */

import assert from 'node:assert/strict';
import { assertBytes, sameBytes } from './bytes.ts';
import { networkOffset } from './naive-segment.ts';

const EXTENSION_MAX = 6;

/**
 * Which of `count` source ports, and so which lane of a batch, the frame has.
 * @param at where its network header begins
 */
export function laneOf(frame: Uint8Array, seed: number, count: number, at = networkOffset(frame)): number {
  const hash = flowHash(frame, seed, at);
  return Number((BigInt((hash ^ (hash << 16)) >>> 0) * BigInt(count)) >> 32n);
}

/** A batch leaves lane by lane; this puts two lists into one order that keeps each lane's own. */
export function byLane<T extends { slot: number }>(all: readonly T[]): T[] {
  return [...all].sort((one, other) => one.slot - other.slot);
}

/** The same datagrams leave each lane, and those of a flow in their order; flows of one lane may overtake each other. */
export function assertLanes(
  sent: readonly { slot: number; bytes: Uint8Array }[],
  expected: readonly { slot: number; flow: number; bytes: Uint8Array }[],
): void {
  assert.equal(sent.length, expected.length);
  const lanes = new Map<number, Map<number, { all: Uint8Array[]; next: number }>>();
  for (const { slot, flow, bytes } of expected) {
    const lane = lanes.get(slot) ?? new Map<number, { all: Uint8Array[]; next: number }>();
    lanes.set(slot, lane);
    const queue = lane.get(flow);
    if (queue) queue.all.push(bytes);
    else lane.set(flow, { all: [bytes], next: 0 });
  }
  for (const { slot, bytes } of sent) {
    const left = [...(lanes.get(slot)?.values() ?? [])].filter(({ all, next }) => next < all.length);
    const queue = left.find(({ all, next }) => sameBytes(bytes, all[next]!)) ?? left[0];
    assertBytes(bytes, queue?.all[queue.next], `lane ${slot}`);
    queue!.next++;
  }
}

/** @returns a u32 */
export function flowHash(frame: Uint8Array, seed: number, at = networkOffset(frame)): number {
  const { length } = frame;
  if (length < 14) return finish(seed, 0);
  const type = be16(frame, at - 2);
  const tagged = at > 14;
  if (type === 0x0800 && length - at >= 20) return hashIpv4(frame, at, tagged, seed);
  if (type === 0x86dd && length - at >= 40) return hashIpv6(frame, at, tagged, seed);
  return finish(seed, type);
}

function hashIpv4(frame: Uint8Array, ip: number, tagged: boolean, seed: number): number {
  const source = stir(seed, le32(frame, ip + 12));
  const destination = stir(seed, le32(frame, ip + 16));
  if (tagged) return join(source, destination, 0, 0, 0);
  const protocol = frame[ip + 9]!;
  const headerBytes = (frame[ip]! & 15) * 4;
  const fragment = (be16(frame, ip + 6) & 0x3fff) !== 0;
  const at = fragment || headerBytes < 20 ? frame.length : ip + headerBytes;
  return joinPorts(frame, at, source, destination, protocol);
}

function hashIpv6(frame: Uint8Array, ip: number, tagged: boolean, seed: number): number {
  let source = seed;
  let destination = seed;
  for (let word = 0; word < 16; word += 4) {
    source = stir(source, le32(frame, ip + 8 + word));
    destination = stir(destination, le32(frame, ip + 24 + word));
  }
  if (tagged) return join(source, destination, 0, 0, 0);
  let protocol = frame[ip + 6]!;
  let at = ip + 40;
  for (let i = 0; i < EXTENSION_MAX && at + 8 <= frame.length; i++) {
    if (protocol === 44) return join(source, destination, 0, 0, frame[at]!);
    if (protocol !== 0 && protocol !== 43 && protocol !== 60) break;
    protocol = frame[at]!;
    at += (frame[at + 1]! + 1) * 8;
  }
  return joinPorts(frame, at, source, destination, protocol);
}

function joinPorts(
  frame: Uint8Array,
  at: number,
  source: number,
  destination: number,
  protocol: number,
): number {
  const has = (protocol === 6 || protocol === 17 || protocol === 132) && at + 4 <= frame.length;
  if (!has) return join(source, destination, 0, 0, protocol);
  const sourcePort = frame[at]! | (frame[at + 1]! << 8);
  const destinationPort = frame[at + 2]! | (frame[at + 3]! << 8);
  return join(source, destination, sourcePort, destinationPort, protocol);
}

function join(
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
  protocol: number,
) {
  const ends = scramble(stir(source, sourcePort)) + scramble(stir(destination, destinationPort));
  return finish(ends | 0, protocol);
}

function stir(state: number, word: number): number {
  const mixed = Math.imul(state ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}

function finish(state: number, kind: number): number {
  return scramble(stir(state, kind)) >>> 0;
}

function scramble(state: number): number {
  let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

function be16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function le32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
