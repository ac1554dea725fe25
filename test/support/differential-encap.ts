/** Sets for the way out: which outer headers a frame is given, by each option that bears on them. */

import type { Case, OptionSet } from './differential-cases.ts';
import { Dice } from './differential-dice.ts';
import { anyInner, BROADCAST, build, type Inner, marksProduct, nameOf } from './differential-frames.ts';
import { REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, GROUP_MAC, KNOWN_MAC, UNKNOWN_MAC } from './differential-words.ts';

const ANYWHERE = [BROADCAST, GROUP_MAC, KNOWN_MAC, UNKNOWN_MAC];
const RANDOM_FRAMES = 24;

export function sent(spec: Inner, more: Partial<Case> = {}): Case {
  return { name: nameOf(spec), frames: (number) => [build(spec, number)], ...more };
}

interface Header {
  branch: string;
  words: string;
  family: 4 | 6 | 'both';
  sourcePorts?: readonly [number, number];
}

const HEADERS: readonly Header[] = [
  { branch: 'defaults', words: '', family: 'both' },
  { branch: 'ttl fixed', words: 'ttl 7', family: 'both' },
  { branch: 'ttl fixed', words: 'ttl 255', family: 4 },
  { branch: 'ttl auto', words: 'ttl auto', family: 'both' },
  { branch: 'ttl inherit', words: 'ttl inherit', family: 'both' },
  { branch: 'tos fixed', words: 'tos 0xb8', family: 'both' },
  { branch: 'tos fixed', words: 'tos 0x03', family: 4 },
  { branch: 'tos fixed', words: 'tos 0xff', family: 6 },
  { branch: 'tos inherit', words: 'tos inherit', family: 'both' },
  { branch: 'ttl and tos inherit', words: 'ttl inherit tos inherit df inherit', family: 4 },
  { branch: 'df set', words: 'df set', family: 4 },
  { branch: 'df inherit', words: 'df inherit', family: 4 },
  { branch: 'df unset', words: 'df unset tos 0x40 ttl 3', family: 4 },
  { branch: 'UDP checksum off', words: 'noudpcsum', family: 4 },
  { branch: 'UDP checksum off', words: 'udp6zerocsumtx', family: 6 },
  { branch: 'source port range', words: 'srcport 100 200', family: 'both', sourcePorts: [100, 200] },
  { branch: 'source port range', words: 'srcport 50000 50001', family: 4, sourcePorts: [50000, 50001] },
  { branch: 'source port range', words: 'srcport 4000 4000', family: 4 },
  { branch: 'flow label fixed', words: 'flowlabel 0xabcde', family: 6 },
  { branch: 'flow label inherit', words: 'flowlabel inherit', family: 6 },
];

function headerSets(): OptionSet[] {
  return HEADERS.flatMap((header) =>
    ([4, 6] as const)
      .filter((family) => header.family === 'both' || header.family === family)
      .map((family): OptionSet => {
        const v6 = family === 6;
        const name = `IPv${family} underlay, ${header.words || 'defaults'}`;
        const dice = new Dice(name);
        const specs = marksProduct(dice, ANYWHERE);
        for (let i = 0; i < RANDOM_FRAMES; i++) specs.push(anyInner(dice, ANYWHERE));
        const known = (v6 ? REMOTES6 : REMOTES)[1];
        return {
          name,
          branch: `${header.branch}, IPv${family} underlay`,
          setup: [...device({ v6, words: header.words }), fdb('append', KNOWN_MAC, `dst ${known}`)],
          rounds: [{ name: 'frames', cases: specs.map((spec) => sent(spec)) }],
          ...(header.sourcePorts ? { sourcePorts: header.sourcePorts } : {}),
        };
      }),
  );
}

export const encapSets = (): OptionSet[] => headerSets();
