/** Reads and writes the numbers of a WebAssembly module: LEB128, names, and runs of bytes. */
import { VtepError } from '../errors.ts';

const MORE = 0x80;
const SEVEN_BITS = 0x7f;

/** What a user's module gets wrong. @param at byte of the module */
export function malformed(problem: string, at: number): VtepError {
  return new VtepError('USAGE', `hook: the module is malformed at byte ${at}: ${problem}: compile it anew`);
}

/** What a user's module uses and a hook may not. */
export function unsupported(feature: string, remedy: string): VtepError {
  return new VtepError('UNSUPPORTED', `hook: ${feature}: ${remedy}`);
}

/** Every read is held to the end. */
export class ModuleReader {
  at: number;
  readonly bytes: Uint8Array;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get isAtEnd(): boolean {
    return this.at >= this.end;
  }

  get rest(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }

  byte(): number {
    if (this.at >= this.end) throw malformed('it ends too early', this.at);
    return this.bytes[this.at++]!;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & SEVEN_BITS) * 2 ** shift;
      if (byte < MORE) {
        if (value > 0xffffffff) break;
        return value;
      }
    }
    throw malformed('a number has more than 32 bits', this.at);
  }

  /** A signed number of at most 33 bits: i32.const, block types. */
  s33(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & SEVEN_BITS) * 2 ** shift;
      if (byte < MORE) return (byte & 0x40) === 0 ? value : value - 2 ** (shift + 7);
    }
    throw malformed('a number has more than 33 bits', this.at);
  }

  /** A signed number that nobody looks at. @param most bytes that it may have */
  skipNumber(most: number): void {
    for (let count = 0; count < most; ++count) if (this.byte() < MORE) return;
    throw malformed('a number has too many bits', this.at);
  }

  skip(count: number): void {
    if (count > this.end - this.at) throw malformed('it ends too early', this.at);
    this.at += count;
  }

  /** A part of what is left, to be read by itself. */
  part(length: number): ModuleReader {
    const { at } = this;
    this.skip(length);
    return new ModuleReader(this.bytes, at, this.at);
  }

  name(): string {
    const length = this.u32();
    const { at } = this;
    this.skip(length);
    // A copy: decoders take no views of shared memory.
    return new TextDecoder().decode(this.bytes.slice(at, this.at));
  }

  /** @param least bytes that an item has; more items than can be there are refused before any is read */
  vector<Item>(read: () => Item, least = 1): Item[] {
    const count = this.u32();
    if (count * least > this.end - this.at) throw malformed(`there are no ${count} items`, this.at);
    const items: Item[] = [];
    for (let index = 0; index < count; ++index) items.push(read());
    return items;
  }

  finish(what: string): void {
    if (!this.isAtEnd) throw malformed(`${what} has bytes left over`, this.at);
  }
}

export class ModuleWriter {
  #bytes = new Uint8Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** A view of what has been written; valid until more is. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  write(...bytes: number[]): this {
    this.#reserve(bytes.length);
    for (const byte of bytes) this.#bytes[this.#length++] = byte;
    return this;
  }

  append(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  u32(value: number): this {
    let rest = value;
    while (rest >= MORE) {
      this.write((rest % MORE) | MORE);
      rest = Math.floor(rest / MORE);
    }
    return this.write(rest);
  }

  /** @param value of 32 bits, either way of reading them */
  i32(value: number): this {
    let rest = value | 0;
    for (;;) {
      const byte = rest & SEVEN_BITS;
      rest >>= 7;
      const isLast = rest === (byte & 0x40 ? -1 : 0);
      this.write(isLast ? byte : byte | MORE);
      if (isLast) return this;
    }
  }

  /** A number that is not known yet, in three bytes. Returns where `settle` puts it. */
  later(): number {
    this.write(MORE, MORE, 0);
    return this.#length - 3;
  }

  /** @param value of 20 bits, which reads the same signed or not */
  settle(at: number, value: number): void {
    this.#bytes[at] = (value & SEVEN_BITS) | MORE;
    this.#bytes[at + 1] = ((value >> 7) & SEVEN_BITS) | MORE;
    this.#bytes[at + 2] = value >> 14;
  }

  name(text: string): this {
    return this.sized(new TextEncoder().encode(text));
  }

  /** Bytes behind their length. */
  sized(bytes: Uint8Array): this {
    return this.u32(bytes.length).append(bytes);
  }

  section(id: number, write: (writer: ModuleWriter) => unknown): this {
    const body = new ModuleWriter();
    write(body);
    return this.write(id).sized(body.bytes);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
