/**
 * Server-sent events of what happens, as it happens (`GET /v1/monitor`): `event: fdb|vni|mdb|miss|link|hook|lost` with a
 * VtepEvent as its data. The first line, a comment, says that from here on nothing is missed.
 *
 * A listener that does not read fills a buffer of its own; once that is full, events are counted instead, and the
 * count goes out as `event: lost`, {"event": "lost", "lost": N}, before the next event.
 */
import type { ServerResponse } from 'node:http';
import type { Vtep, VtepEvent } from '../types.ts';

/** Thousands of events: a flush of a large table is no reason to lose any. */
const BUFFER_BYTES = 4 << 20;

export interface Monitor {
  attach(response: ServerResponse): void;
  close(): void;
}

export function createMonitor(vtep: Pick<Vtep, 'subscribe'>, bufferBytes: number = BUFFER_BYTES): Monitor {
  /** Listeners, and how many events each has lost since it was last told. */
  const lost = new Map<ServerResponse, number>();
  let unsubscribe: (() => void) | undefined;

  function tell(response: ServerResponse): void {
    const count = lost.get(response) ?? 0;
    if (count === 0) return;
    lost.set(response, 0);
    response.write(`event: lost\ndata: {"event":"lost","lost":${count}}\n\n`);
  }

  function spread(event: VtepEvent): void {
    const text = `event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`;
    for (const [response, count] of lost) {
      if (response.writableLength + text.length > bufferBytes) {
        lost.set(response, count + 1);
        continue;
      }
      tell(response);
      response.write(text);
    }
  }

  function detach(response: ServerResponse): void {
    lost.delete(response);
    if (lost.size > 0) return;
    unsubscribe?.();
    unsubscribe = undefined;
  }

  return {
    attach(response) {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.on('error', () => detach(response));
      response.on('close', () => detach(response));
      response.on('drain', () => tell(response));
      lost.set(response, 0);
      unsubscribe ??= vtep.subscribe(spread);
      response.write(': listening\n\n');
    },
    close() {
      for (const response of [...lost.keys()]) {
        detach(response);
        response.end();
      }
    },
  };
}
