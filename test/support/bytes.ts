/**
 * Comparing frames: as exact as deepEqual, but fast enough for a million of them, and when they differ it
 * says where instead of listing 64 KiB twice.
 */
import assert from 'node:assert/strict';

const SHOWN_BYTES = 24;

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.from(one.buffer, one.byteOffset, one.length).equals(other);
}

export function assertBytes(actual: Uint8Array, expected: Uint8Array | undefined, what = 'bytes'): void {
  if (expected && sameBytes(actual, expected)) return;
  const wanted = expected ?? new Uint8Array(0);
  let at = 0;
  while (at < actual.length && actual[at] === wanted[at]) at++;
  const hex = (bytes: Uint8Array) => Buffer.from(bytes.subarray(at, at + SHOWN_BYTES)).toString('hex');
  const lengths = `${actual.length} bytes, ${wanted.length} expected`;
  assert.fail(`${what}: ${lengths}; at ${at}: ${hex(actual)}, ${hex(wanted)} expected`);
}
