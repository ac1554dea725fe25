import type { Outside } from './command.ts';
import { createSink } from '../sink/sink.ts';
import { stopSignal } from './stop.ts';
export async function sink(flags: { port?: string; write?: string }, outside: Outside): Promise<number> {
  const s = await createSink({ ports: (flags.port ?? '4789').split(',').map(Number), ...(flags.write ? { write: flags.write } : {}) });
  outside.err(`ready ${s.ports}\n`);
  const stop = stopSignal(outside.stop);
  const stats = await Promise.race([stop.promise.then(() => s.close()), s.ended]);
  outside.err(`${JSON.stringify(stats)}\n`);
  return 0;
}
