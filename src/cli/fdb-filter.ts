/** What `bridge fdb show` leaves out. Words that it does not know it ignores, and so does this. */
import * as values from '../daemon/values.ts';
import type { FdbEntry } from '../types.ts';
import { firstMatch, invalid, readValue } from './words.ts';

export interface ShowFilter {
  dev?: string;
  /** Bridge whose ports' entries are meant. */
  br?: string;
  /** 0 = any. */
  vlan: number;
  /** NUD_* bits (linux/neighbour.h), of which an entry has to have one; 0 = any. */
  states: number;
  /** Everything but permanent entries. */
  dynamic: boolean;
}

const PERMANENT = 0x80;
const NOARP = 0x40;
const STALE = 0x04;
const REACHABLE = 0x02;

/** In the order in which an abbreviation is tried. */
const STATES: readonly (readonly [string, number])[] = [
  ['permanent', PERMANENT],
  ['static', NOARP],
  ['temp', NOARP],
  ['stale', STALE],
  ['reachable', REACHABLE],
  ['dynamic', REACHABLE],
];

/** What the words that an entry prints stand for; a number stands for itself. */
const PRINTED: Readonly<Record<string, number>> = {
  permanent: PERMANENT | NOARP,
  static: NOARP | REACHABLE,
  stale: STALE,
  '': REACHABLE,
};

const anyNumber: values.Reader<number> = (value) => {
  const number = Number(value);
  if (String(value).trim() !== '' && Number.isInteger(number) && number >= 0) return number;
  throw invalid('invalid state: permanent, static, stale, reachable or all is expected');
};

function readState(word: string): number {
  if (word === 'all') return 0xffff;
  const name = firstMatch(
    word,
    STATES.map(([known]) => known),
  );
  const known = STATES.find(([candidate]) => candidate === name);
  return known ? known[1] : readValue(word, anyNumber);
}

export function parseShow(words: readonly string[]): ShowFilter {
  const filter: ShowFilter = { vlan: 0, states: 0, dynamic: false };
  for (let at = 0; at < words.length; at++) {
    const take = () => {
      const value = words[++at];
      if (value === undefined)
        throw invalid(`Command line is not complete: "${words[at - 1]}" needs a value`);
      return value;
    };
    switch (words[at]) {
      case 'dev':
      case 'brport':
        filter.dev = readValue(take(), values.deviceName);
        break;
      case 'br':
        filter.br = readValue(take(), values.deviceName);
        break;
      case 'vlan':
        filter.vlan = Number.parseInt(take(), 10) || 0;
        break;
      case 'state':
        filter.states |= readState(take());
        break;
      case 'dynamic':
        filter.dynamic = true;
    }
  }
  return filter;
}

/** @param ports names of the devices that are ports of the bridge asked for; undefined: none was */
export function select(
  entries: readonly FdbEntry[],
  { dev, vlan, states, dynamic }: ShowFilter,
  ports?: readonly string[],
): FdbEntry[] {
  // Entries of a VXLAN device have no VLAN.
  if (vlan !== 0) return [];
  return entries.filter(
    ({ ifname, state }) =>
      (dev === undefined || ifname === dev) &&
      (ports === undefined || ports.includes(ifname)) &&
      (states === 0 || ((PRINTED[state] ?? Number(state)) & states) !== 0) &&
      !(dynamic && state === 'permanent'),
  );
}
