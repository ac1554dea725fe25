/** Protocol Buffers as far as etcd's messages go: varints, and what has a length. Zero, false and empty are left out. */

const VARINT = 0;
const LENGTH = 2;
/** Seven bits a byte: up to here a number of JavaScript holds it without loss. */
const EXACT_BYTES = 7;

export class Writer {
  readonly #parts: Uint8Array[] = [];

  number(field: number, value: number | bigint | undefined): this {
    return value ? this.#varint(field * 8 + VARINT).#varint(value) : this;
  }

  flag(field: number, value: boolean | undefined): this {
    return this.number(field, value ? 1 : 0);
  }

  bytes(field: number, value: string | Uint8Array | undefined): this {
    return value?.length ? this.#chunk(field, Buffer.from(value)) : this;
  }

  /** A message inside, also an empty one. */
  message(field: number, inside: Writer): this {
    return this.#chunk(field, inside.done());
  }

  done(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #chunk(field: number, value: Uint8Array): this {
    this.#varint(field * 8 + LENGTH).#varint(value.length);
    this.#parts.push(value);
    return this;
  }

  #varint(value: number | bigint): this {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      bytes.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    bytes.push(Number(rest));
    this.#parts.push(Uint8Array.from(bytes));
    return this;
  }
}

/** Walks a message: `next()`, then the value, or nothing to skip it. Throws RangeError when the message breaks off. */
export class Reader {
  readonly #buffer: Buffer;
  #at = 0;
  /** Kind of the value that `next` stands at; -1 when it has been read. */
  #kind = -1;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** The number of the next field, 0 at the end. */
  next(): number {
    if (this.#kind !== -1) this.#skip();
    if (this.#at >= this.#buffer.length) return 0;
    const tag = this.#varint();
    this.#kind = tag % 8;
    return Math.floor(tag / 8);
  }

  /** An int64 that is small, or only compared. */
  number(): number {
    this.#kind = -1;
    return this.#varint();
  }

  /** An int64 to the last bit. */
  bigint(): bigint {
    this.#kind = -1;
    return this.#bigVarint();
  }

  bytes(): Buffer {
    this.#kind = -1;
    const length = this.#varint();
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#buffer.length) throw new RangeError('a field breaks off');
    return this.#buffer.subarray(start, this.#at);
  }

  text(): string {
    return this.bytes().toString();
  }

  #varint(): number {
    const start = this.#at;
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
      if (this.#at - start === EXACT_BYTES) {
        this.#at = start;
        return Number(this.#bigVarint());
      }
    }
  }

  #bigVarint(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
      if (shift > 63n) throw new RangeError('a number is too long');
    }
  }

  #byte(): number {
    const byte = this.#buffer[this.#at++];
    if (byte === undefined) throw new RangeError('a number breaks off');
    return byte;
  }

  #skip(): void {
    if (this.#kind === VARINT) this.bigint();
    else if (this.#kind === LENGTH) this.bytes();
    else if (this.#kind === 1 || this.#kind === 5) {
      this.#at += this.#kind === 1 ? 8 : 4;
      this.#kind = -1;
    } else throw new RangeError(`a field of kind ${this.#kind}`);
  }
}
