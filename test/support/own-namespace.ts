/**
 * Takes this very process into a network namespace of the bed, so that what is under test runs where the bed's
 * `ip` lines work, without a process of its own. Threads and programs that it starts from then on are there too.
 */

import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';
import type { Namespace } from './netns.ts';

const CLONE_NEWNET = 0x40000000;

/** To be called before any socket is opened. There is no way back. */
export function enter(namespace: Namespace): void {
  const setns = koffi.load(null).func('int setns(int fd, int kind)');
  const fd = openSync(`/run/netns/${namespace.name}`, 'r');
  const answer = setns(fd, CLONE_NEWNET);
  const errno = koffi.errno();
  closeSync(fd);
  if (answer !== 0) throw new Error(`setns to ${namespace.name}: errno ${errno}`);
}

/** What one look at a condition counts for at most: it takes 2 ms, and more only where this process had to wait. */
const LOOK_MS = 5;

/**
 * Resolves when the condition holds; rejects with `what` when it does not in time. Returns the milliseconds. Both are of
 * the time in which this process ran: what it waited for a core, or in the kernel for somebody else, does not count.
 */
export async function until(what: string, condition: () => boolean, milliseconds: number): Promise<number> {
  let waited = 0;
  for (let before = performance.now(); !condition(); ) {
    if (waited > milliseconds) throw new Error(`not within ${milliseconds} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
    const now = performance.now();
    waited += Math.min(now - before, LOOK_MS);
    before = now;
  }
  return waited;
}
