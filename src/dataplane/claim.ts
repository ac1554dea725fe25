/** What batches of both kinds have in common: how long they last, and how their slots lie in memory. */
import { VIRTIO_HEADER_BYTES } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';

/** A claim on slots; ends once. */
export class Claim {
  readonly #what: string;
  isOver = false;
  /** Slots have been given more than bytes since the last batch: a virtio header, a segment size. */
  isMarked = false;

  constructor(what: string) {
    this.#what = what;
  }

  /** @throws VtepError USAGE */
  check(): void {
    if (this.isOver)
      throw new VtepError('USAGE', `${this.#what}: the batch has been released: claim another one`);
  }
}

const LINE_BYTES = 64;

/** Bytes from slot to slot: an odd number of cache lines, so that the first lines of slots spread over the cache. */
export function strideOf(bytes: number): number {
  return (Math.ceil(bytes / LINE_BYTES) | 1) * LINE_BYTES;
}

/** @throws VtepError USAGE */
export function checkSlots(
  what: string,
  count: number,
  countMax: number,
  bytes: number,
  bytesMax: number,
): void {
  if (!(Number.isInteger(count) && count >= 1 && count <= countMax))
    throw new VtepError('USAGE', `${what}: ${String(count)} slots: give 1 to ${countMax}`);
  if (!(Number.isInteger(bytes) && bytes >= 1 && bytes <= bytesMax))
    throw new VtepError('USAGE', `${what}: slots of ${String(bytes)} bytes: give 1 to ${bytesMax}`);
}

/** @throws VtepError USAGE */
export function checkVirtio(what: string, header: Uint8Array): void {
  if (!(header instanceof Uint8Array && header.length === VIRTIO_HEADER_BYTES))
    throw new VtepError(
      'USAGE',
      `${what}: virtio: the ${VIRTIO_HEADER_BYTES} bytes of a virtio header are expected`,
    );
}

/** Its flags and GSO type, the first two bytes as a number: 0 = it asks for nothing. */
export function askedBy(header: Uint8Array): number {
  return header[0]! | (header[1]! << 8);
}

/** @throws VtepError USAGE */
export function checkBytes(what: string, bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array))
    throw new VtepError('USAGE', `${what}: bytes are expected, a Uint8Array`);
}
