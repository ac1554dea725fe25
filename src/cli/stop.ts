/** What ends a command that goes on by itself: SIGINT, SIGTERM, or whoever stands in for them. */
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
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    promise,
    forget() {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}
