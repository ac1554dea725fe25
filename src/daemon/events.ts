/**
 * Server-sent events: a sample of the status for everybody who listens, at once and then each second. A
 * listener that does not keep up misses samples; nothing is queued for it.
 */
import type { ServerResponse } from 'node:http';
import type { VtepStatus } from '../types.ts';

const SAMPLE_PERIOD_MS = 1000;

export interface Events {
  attach(response: ServerResponse): void;
  close(): void;
}

export function createEvents(sample: () => VtepStatus): Events {
  const listeners = new Set<ServerResponse>();
  let timer: NodeJS.Timeout | undefined;

  const event = () => `event: status\ndata: ${JSON.stringify(sample())}\n\n`;
  const tick = () => {
    const text = event();
    for (const response of listeners) if (!response.writableNeedDrain) response.write(text);
  };
  const detach = (response: ServerResponse) => {
    listeners.delete(response);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
  return {
    attach(response) {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write(event());
      response.on('error', () => detach(response));
      response.on('close', () => detach(response));
      listeners.add(response);
      timer ??= setInterval(tick, SAMPLE_PERIOD_MS);
    },
    close() {
      for (const response of [...listeners]) {
        detach(response);
        response.end();
      }
    },
  };
}
