/**
 * Preloaded into every process that the demonstration starts: ends it as Ctrl-C would when the demonstration is
 * gone, however it went. The channel to the parent is the only thing that tells even after a `kill -9`.
 */
import { isMainThread } from 'node:worker_threads';

if (isMainThread && process.channel) {
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // The channel alone keeps nobody alive.
  process.channel.unref();
}
