/** SIGHUP: the terminal has gone. What a command has begun is ended then, too, and not cut off. */
const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What ends a command that goes on by itself: a signal, or whoever stands in for it. */
export function stopSignal(given: AbortSignal | undefined): { promise: Promise<void>; forget(): void } {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((fulfil) => {
    resolve = fulfil;
  });
  const stop = () => resolve();
  if (given) {
    if (given.aborted) stop();
    given.addEventListener('abort', stop);
    return { promise, forget: () => given.removeEventListener('abort', stop) };
  }
  for (const signal of STOPPING) process.on(signal, stop);
  return {
    promise,
    forget() {
      for (const signal of STOPPING) process.off(signal, stop);
    },
  };
}
