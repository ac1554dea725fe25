/** Frames that ask for replies, damaged in ways that matter to who answers: lengths, types, addresses, options, ends. */
import { concat, ipBytes } from './frames.ts';
import { below, type Prng } from './mutate.ts';
import { randomBytes } from './reference.ts';
import {
  FORBIDDEN_CASES,
  NEIGHBOURS,
  NOT_PROXIED_CASES,
  PROXY_CASES,
  type ReplyCase,
  SHORT_CIRCUIT_CASES,
  TOO_BIG_CASES,
} from './reply-world.ts';

const EXTREMES = [0, 1, 2, 3, 4, 5, 6, 8, 14, 44, 45, 51, 58, 59, 60, 127, 128, 135, 137, 224, 254, 255];
const ADDRESSES = [
  ...NEIGHBOURS.map(({ address }) => address),
  ...['10.5.0.99', '127.0.0.1', '0.0.0.0', '255.255.255.255', '239.0.0.1', '240.0.0.1'],
  ...['fd05::99', '::', '::1', 'ff02::1', 'ff0e::1', 'fe80::1', '::2'],
].map(ipBytes);
/** Of addresses in ARP and IPv4, and in IPv6 and neighbour discovery. */
const PLACES_4 = [26, 28, 30, 38];
const PLACES_16 = [22, 38, 62];
const HEADERS_BYTES = 110;

export const REQUESTS = [...PROXY_CASES, ...NOT_PROXIED_CASES];
export const ROUTED = SHORT_CIRCUIT_CASES;
export const BIG = [...TOO_BIG_CASES, ...FORBIDDEN_CASES];

function pick<Item>(prng: Prng, items: readonly Item[]): Item {
  return items[below(prng, items.length)]!;
}

/** One of the cases with up to three mutations; one in eight has none. */
export function mutatedRequest(prng: Prng, cases: readonly ReplyCase[]): Uint8Array {
  let frame: Uint8Array = pick(prng, cases).frame.slice();
  if (prng() < 0.125) return frame;
  for (let left = 1 + below(prng, 3); left > 0; left--) frame = mutate(prng, frame, cases);
  return frame;
}

function mutate(prng: Prng, frame: Uint8Array, cases: readonly ReplyCase[]): Uint8Array {
  if (frame.length === 0) return frame;
  const head = Math.min(frame.length, HEADERS_BYTES);
  switch (below(prng, 8)) {
    case 0:
      frame[below(prng, frame.length)]! ^= 1 << below(prng, 8);
      break;
    case 1:
    case 2:
      frame[below(prng, head)] = pick(prng, EXTREMES);
      break;
    case 3:
      return frame.slice(0, below(prng, head + 1));
    case 4:
      return concat(frame, randomBytes(prng, below(prng, 20)));
    case 5: {
      const address = pick(prng, ADDRESSES);
      const at = pick(prng, address.length === 4 ? PLACES_4 : PLACES_16);
      if (at + address.length <= frame.length) frame.set(address, at);
      break;
    }
    case 6: {
      // Options of a solicitation, or what lies there in others.
      const options = concat(randomOptions(prng), frame.subarray(78));
      return frame.length < 78 ? frame : concat(frame.subarray(0, 78), options);
    }
    default: {
      const other = pick(prng, cases).frame;
      frame.set(other.subarray(0, Math.min(below(prng, 80), other.length, frame.length)));
    }
  }
  return frame;
}

function randomOptions(prng: Prng): Uint8Array {
  const units = below(prng, 3);
  const option = randomBytes(prng, Math.max(2, units * 8));
  option[0] = pick(prng, [1, 1, 2, 14]);
  option[1] = units;
  return option;
}
