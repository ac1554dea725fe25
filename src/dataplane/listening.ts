/**
 * The ports that a program's own devices are expected at, as (family, port) -> listener number in the memory, so that
 * every thread finds them. One writer, the thread that makes devices.
 */
import {
  HEADER_BASE,
  HEADER_LISTENERS_OFFSET,
  LISTENER_BYTES,
  LISTENER_COUNT,
  LISTENER_FAMILY_OFFSET,
  LISTENER_PORT_OFFSET,
  LISTENERS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { Views } from './memory.ts';

const HIGHEST_WORD = (HEADER_BASE + HEADER_LISTENERS_OFFSET) >>> 2;
const PLACE_WORD = (LISTENERS_BASE + LISTENER_PORT_OFFSET) >>> 2;
const FAMILY_SHIFT = (LISTENER_FAMILY_OFFSET - LISTENER_PORT_OFFSET) * 8;

/** 0 = no device is expected there. @throws VtepError USAGE when it is no port */
export function listenerOf({ u32 }: Views, family: number, port: number): number {
  if (!(Number.isInteger(port) && port >= 0 && port <= 0xffff))
    throw new VtepError('USAGE', `port ${String(port)}: give a number from 0 to 65535`);
  const place = placeOf(family, port);
  const highest = u32[HIGHEST_WORD]!;
  for (let number = 1; number <= highest; ++number) {
    if (u32[PLACE_WORD + number * (LISTENER_BYTES >> 2)] === place) return number;
  }
  return 0;
}

export class Listening {
  readonly #views: Views;
  /** Devices, by listener. */
  readonly #users = new Uint32Array(LISTENER_COUNT);

  constructor(views: Views) {
    this.#views = views;
  }

  /** One more device there. @throws VtepError USAGE, NO_SPACE */
  retain(family: number, port: number): number {
    const number = listenerOf(this.#views, family, port) || this.#make(family, port);
    this.#users[number]!++;
    return number;
  }

  release(number: number): void {
    if (--this.#users[number]! > 0) return;
    Atomics.store(this.#views.u32, PLACE_WORD + number * (LISTENER_BYTES >> 2), 0);
  }

  #make(family: number, port: number): number {
    const number = this.#users.indexOf(0, 1);
    if (number < 0)
      throw new VtepError(
        'NO_SPACE',
        `port ${port}: devices have ${LISTENER_COUNT - 1} ports, the most there may be`,
      );
    const { u32 } = this.#views;
    Atomics.store(u32, PLACE_WORD + number * (LISTENER_BYTES >> 2), placeOf(family, port));
    if (u32[HIGHEST_WORD]! < number) Atomics.store(u32, HIGHEST_WORD, number);
    return number;
  }
}

/** The word that a listener's port and family make up. Families are not 0, so no place is. */
function placeOf(family: number, port: number): number {
  return port | (family << FAMILY_SHIFT);
}
