/**
 * Devices that have been deleted while other threads may still have a packet of theirs in hand. Their number is not
 * given away, and what such a packet has taught is forgotten, once each of those threads has left the engine.
 */
import type { Dataplane } from './dataplane.ts';
import { isClaimed, queuesIn, roundsOf } from './queue-state.ts';

interface Retired {
  index: number;
  /** By queue: the rounds it was seen in. */
  inside: Map<number, number>;
}

export class Retirement {
  readonly #plane: Dataplane;
  #retired: Retired[] = [];

  constructor(plane: Dataplane) {
    this.#plane = plane;
  }

  /** Its name is free at once; it must be down. */
  retire(index: number): void {
    const { views, devices } = this.#plane;
    // No device of a caller's may have the empty character in its name.
    devices.rename(index, `\0${index}`);
    this.#plane.forgetDevice(index);
    const inside = new Map<number, number>();
    for (let queue = 0; queue < queuesIn(views.bytes.length); ++queue) {
      const rounds = roundsOf(views, queue);
      if (isClaimed(views, queue) && (rounds & 1) === 1) inside.set(queue, rounds);
    }
    this.#retired.push({ index, inside });
    this.settle();
  }

  /** Gives away the numbers of those that no thread has in hand. */
  settle(): void {
    const { views, devices } = this.#plane;
    this.#retired = this.#retired.filter(({ index, inside }) => {
      for (const [queue, rounds] of inside)
        if (!isClaimed(views, queue) || roundsOf(views, queue) !== rounds) inside.delete(queue);
      if (inside.size > 0) return true;
      this.#plane.forgetDevice(index);
      devices.release(index);
      return false;
    });
  }
}
