/**
 * What the demonstration runs and what it shows: a lab is two hosts with a tunnel and traffic between them, a sample
 * is everything counted so far. Labs differ in what they are made of, never in what they tell.
 */

export interface Flow {
  packets: number;
  bytes: number;
}

/** Bodies that crossed, each checked by its SHA-256 on the other side. All numbers since the start. */
export interface Transfers {
  done: number;
  /** Verified bytes, seen from the near side. */
  bytesOut: number;
  bytesIn: number;
  /** Arrived, but with another hash. */
  corrupt: number;
  /** Did not arrive at all. */
  failed: number;
  lastFailure?: string;
}

export interface Echoes {
  sent: number;
  received: number;
  corrupt: number;
  /** Round trips of the latest echoes, milliseconds. */
  rtts: number[];
}

export interface Traffic {
  transfers: Transfers;
  echoes: Echoes;
}

export interface Drop {
  side: 'near' | 'far';
  reason: string;
  count: number;
}

export interface Sample extends Traffic {
  /** performance.now() */
  at: number;
  /** The near VTEP's device, as `ip -s link` counts. */
  tx: Flow;
  rx: Flow;
  /** The near VTEP's entries, as `bridge fdb show dev NAME` prints them. */
  fdb: string[];
  drops: Drop[];
  engine: string;
  /** name -> "on", or "off: why" */
  offloads: Record<string, string>;
}

/** What is said about a lab that runs. */
export interface Tour {
  mode: 'namespaces' | 'in-process';
  near: 'vxlane';
  far: 'vxlane' | 'kernel';
  /** Two lines: what is being shown. */
  header: readonly [string, string];
  /** What the transfers are called: "HTTP". */
  transfers: string;
  /** To try next in another terminal. */
  commands: readonly string[];
}

export interface Lab {
  /** Rejects if a step fails, or with the signal's reason; `stop` is due even then. */
  start(signal: AbortSignal): Promise<Tour>;
  sample(): Promise<Sample>;
  /** Takes down whatever `start` has made; safe to call twice. */
  stop(): Promise<void>;
  /** The same for a process that is about to end: no waiting. */
  abandon(): void;
}
