/** Views of what lies in the slots of a queue: for each slot the last one, so that packets of one size make none. */
export class SlotViews {
  readonly #memory: WebAssembly.Memory;
  readonly #base: number;
  readonly #stride: number;
  readonly #views: (Uint8Array | undefined)[];
  readonly #starts: Uint32Array;
  readonly #lengths: Uint32Array;

  constructor(memory: WebAssembly.Memory, base: number, stride: number, slots: number) {
    this.#memory = memory;
    this.#base = base;
    this.#stride = stride;
    this.#views = new Array<Uint8Array | undefined>(slots).fill(undefined);
    this.#starts = new Uint32Array(slots);
    this.#lengths = new Uint32Array(slots);
  }

  slotOf(address: number): number {
    return ((address - this.#base) / this.#stride) | 0;
  }

  of(start: number, length: number): Uint8Array {
    const slot = this.slotOf(start);
    const known = this.#views[slot];
    if (known !== undefined && this.#starts[slot] === start && this.#lengths[slot] === length) return known;
    const view = new Uint8Array(this.#memory.buffer, start, length);
    this.#views[slot] = view;
    this.#starts[slot] = start;
    this.#lengths[slot] = length;
    return view;
  }
}
