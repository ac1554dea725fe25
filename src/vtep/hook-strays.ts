/**
 * What a hook in JavaScript throws outside of its calls: from a timer, or a promise that nobody waits for. It would end
 * the thread, and with it the VTEP; so each program runs in a context by which its errors are told from all others.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Program } from './hook-messages.ts';

type Heard = (program: Program, error: unknown) => void;

const programs = new AsyncLocalStorage<Program>();
let isWatching = false;

/** What `work` leaves behind for later is the program's, too. */
export function asProgram<Result>(program: Program, work: () => Result): Result {
  return programs.run(program, work);
}

/** `heard` is told of what programs throw from now on. What anybody else throws ends the thread, as before. */
export function catchStrays(heard: Heard): void {
  if (isWatching) return;
  isWatching = true;
  process.on('uncaughtException', (error) => {
    const program = programs.getStore();
    if (program === undefined) throw error;
    heard(program, error);
  });
}
