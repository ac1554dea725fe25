/**
 * A module's sections, read from its bytes (WebAssembly core specification 1.0, section 5.5): what the
 * JavaScript API does not tell.
 */
export interface WasmModule {
  /** Numbers of the sections that are there, custom ones (0) left out. */
  sections: number[];
  globals: number;
  /** Parameter and result types of every exported function. */
  signatures: Map<string, number[]>;
}

export const SECTION = { start: 8, data: 11, dataCount: 12 } as const;
export const I64 = 0x7e;

const [TYPES, IMPORTS, FUNCTIONS, GLOBALS, EXPORTS] = [1, 2, 3, 6, 7];

export function readModule(bytes: Uint8Array): WasmModule {
  const reader = new Reader(bytes, 8);
  const bodies = new Map<number, Reader>();
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const length = reader.number();
    if (id !== 0) bodies.set(id, new Reader(bytes.subarray(0, reader.at + length), reader.at));
    reader.at += length;
  }
  const types = bodies.get(TYPES)!.vector((body) => {
    body.byte();
    const parameters = body.vector((each) => each.byte());
    return [...parameters, ...body.vector((each) => each.byte())];
  });
  const imported = bodies.get(IMPORTS)!.vector((body) => {
    body.name();
    body.name();
    const kind = body.byte();
    // Of functions a type; of memories the limits, with a maximum when shared.
    if (kind === 0) return body.number();
    const flags = body.byte();
    body.number();
    if ((flags & 1) !== 0) body.number();
    return -1;
  });
  const functions = [
    ...imported.filter((type) => type >= 0),
    ...bodies.get(FUNCTIONS)!.vector((b) => b.number()),
  ];
  const exported = bodies.get(EXPORTS)!.vector((body) => [body.name(), body.byte(), body.number()] as const);
  return {
    sections: [...bodies.keys()],
    globals: bodies.get(GLOBALS)?.number() ?? 0,
    signatures: new Map(
      exported.filter(([, kind]) => kind === 0).map(([name, , index]) => [name, types[functions[index]!]!]),
    ),
  };
}

class Reader {
  at: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.at++]!;
  }

  /** LEB128, unsigned */
  number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  name(): string {
    const length = this.number();
    this.at += length;
    return Buffer.from(this.#bytes.subarray(this.at - length, this.at)).toString();
  }

  vector<Item>(read: (reader: Reader) => Item): Item[] {
    return Array.from({ length: this.number() }, () => read(this));
  }
}
