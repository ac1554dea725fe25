/** What is added to a module, by number, and what the added code says and counts. */

export interface Injected {
  /** Globals in front of the user's: imported, constant. */
  readonly base: number;
  readonly low: number;
  readonly high: number;
  /** high - low */
  readonly reach: number;
  /** How far the user's own globals shift. */
  readonly shift: number;
  /** Globals behind the user's. */
  readonly fuel: number;
  readonly fault: number;
  readonly address: number;
  /** Functions behind the user's. */
  readonly outside: number;
  readonly range: number;
  readonly areaBytes: number;
}

/** Why a hook was stopped: the values of the global `fault`. */
export const FAULT = { none: 0, fuel: 1, access: 2 } as const;

/** Bytes of instructions, or of a bulk operation, that one unit of fuel pays for. */
export const FUEL_BYTES_SHIFT = 8;

/** Of a run of instructions. */
export function fuelUnits(bytes: number): number {
  return 1 + (bytes >> FUEL_BYTES_SHIFT);
}
