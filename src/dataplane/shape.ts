/** Whether what a program hands in has the types that it should have; what the values may be is the tables' to say. */
import { VtepError } from '../errors.ts';

const KINDS = {
  text: [(value: unknown) => typeof value === 'string', 'a text is expected'],
  number: [(value: unknown) => typeof value === 'number', 'a number is expected'],
  flag: [(value: unknown) => typeof value === 'boolean', 'true or false is expected'],
  /** Some are numbers to some, and words to others. */
  word: [
    (value: unknown) => typeof value === 'string' || typeof value === 'number',
    'a text or a number is expected',
  ],
  texts: [
    (value: unknown) => isListOf(value, (one) => typeof one === 'string'),
    'a list of texts is expected',
  ],
  numbers: [
    (value: unknown) => isListOf(value, (one) => typeof one === 'number'),
    'a list of numbers is expected',
  ],
  range: [(value: unknown) => isRange(value), 'two numbers are expected: [FIRST, LAST]'],
  ranges: [(value: unknown) => isListOf(value, isRange), 'a list of [FIRST, LAST] is expected'],
  listener: [(value: unknown) => typeof value === 'function', 'a function is expected'],
} as const;

type Kind = keyof typeof KINDS;
export type Shape = Readonly<Record<string, Kind>>;

/** @throws VtepError USAGE that names what it is about */
export function check(what: string, kind: Kind, value: unknown): void {
  const [fits, expected] = KINDS[kind];
  if (!fits(value)) throw new VtepError('USAGE', `${what}: ${expected}`);
}

/**
 * @param optional keys that may be left out; @param others keys that somebody else looks at
 * @throws VtepError USAGE that names the key; also of one that is none of these, which would change nothing unheard
 */
export function checkShape(
  what: string,
  input: unknown,
  required: Shape,
  optional: Shape = {},
  others: readonly string[] = [],
): void {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw new VtepError('USAGE', `${what}: ${described(required)} is expected`);
  const given = input as Readonly<Record<string, unknown>>;
  const known = [...Object.keys(required), ...Object.keys(optional), ...others];
  for (const key of Object.keys(given))
    if (given[key] !== undefined && !known.includes(key))
      throw new VtepError('USAGE', `${what}: ${key}: unknown key: ${known.join(', ')} are known`);
  for (const key of Object.keys(required)) check(`${what}: ${key}`, required[key]!, given[key]);
  for (const key of Object.keys(optional))
    if (given[key] !== undefined) check(`${what}: ${key}`, optional[key]!, given[key]);
}

function described(required: Shape): string {
  const keys = Object.keys(required);
  return keys.length === 0 ? 'an object of options' : `an object with ${keys.join(', ')}`;
}

function isListOf(value: unknown, fits: (one: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(fits);
}

function isRange(value: unknown): boolean {
  return isListOf(value, (one) => typeof one === 'number') && (value as unknown[]).length === 2;
}
