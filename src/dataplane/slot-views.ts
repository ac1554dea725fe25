/** Views of what lies in the slots of a queue: for each slot the last one, so that packets of one size make none. */
const UNIT_SHIFT = 6;
const RATE_SHIFT = 22;
const PLACES = 256;

class Known {
  start = 0;
  length = 0;
  view = new Uint8Array(0);
}

export class SlotViews {
  readonly #memory: WebAssembly.Memory;
  readonly #base: number;
  readonly #end: number;
  /** Slots per 64 bytes, times 2^22: division takes longer than all the rest. */
  readonly #rate: number;
  readonly #known: readonly Known[];

  /** @param stride bytes from slot to slot, a multiple of 64; at most 256 slots, less than 8 MiB together */
  constructor(memory: WebAssembly.Memory, base: number, stride: number, slots: number) {
    this.#memory = memory;
    this.#base = base;
    this.#end = base + slots * stride;
    this.#rate = Math.ceil(2 ** RATE_SHIFT / (stride >>> UNIT_SHIFT));
    this.#known = Array.from({ length: slots }, () => new Known());
  }

  /** @param address in the first half of a slot, for the rate is rounded */
  slotOf(address: number): number {
    return Math.imul((address - this.#base) >>> UNIT_SHIFT, this.#rate) >>> RATE_SHIFT;
  }

  /** Does it lie in one of the slots? Copies that hooks had made do not. */
  has(start: number): boolean {
    return start >= this.#base && start < this.#end;
  }

  of(start: number, length: number): Uint8Array {
    const known = this.#known[this.slotOf(start)];
    if (known !== undefined && known.start === start && known.length === length) return known.view;
    // Memory that lies elsewhere is soon another packet's.
    if (known === undefined || !this.has(start))
      return new Uint8Array(this.#memory.buffer, start, length).slice();
    known.start = start;
    known.length = length;
    known.view = new Uint8Array(this.#memory.buffer, start, length);
    return known.view;
  }
}

/** The same for packets that lie anywhere, by their addresses. */
export class PlaceViews {
  readonly #memory: WebAssembly.Memory;
  readonly #known = Array.from({ length: PLACES }, () => new Known());

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
  }

  slotOf(address: number): number {
    return (address >>> UNIT_SHIFT) & (PLACES - 1);
  }

  of(start: number, length: number): Uint8Array {
    const known = this.#known[this.slotOf(start)]!;
    if (known.start === start && known.length === length) return known.view;
    known.start = start;
    known.length = length;
    known.view = new Uint8Array(this.#memory.buffer, start, length);
    return known.view;
  }
}
