/** Reads JSON objects as Go does: keys without regard to case, `null` as absent, the last of two alike wins. */

export type Json = Map<string, unknown>;

/** An object by its keys in lower case; undefined for anything else. */
export function objectOf(value: unknown): Json | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value).filter(([, one]) => one !== null);
  return new Map(entries.map(([key, one]) => [key.toLowerCase(), one]));
}

/** An integer of a range; undefined for anything else. */
export function integerOf(value: unknown, least: number, most: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
    ? value
    : undefined;
}
