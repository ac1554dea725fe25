/** What the sink's thread is given, and what it tells. */
import type { Poller } from '../io/poller.ts';
import type { Rotation } from './file-output.ts';
import type { Piece } from './packet-output.ts';
import type { RecorderOptions } from './recorder.ts';
import type { SinkStats } from './stats.ts';

export interface ThreadStart {
  recorder: RecorderOptions;
  sockets: readonly number[];
  poller: Poller;
  /** Absent: no file. */
  write?: string;
  rotation?: Rotation;
  /** A TAP's descriptor, -1 = none. */
  tap: number;
  /** Hand the packets over. */
  packets: boolean;
  /** CONTROL_... below, shared. */
  control: Int32Array<SharedArrayBuffer>;
}

/** Not 0: the thread is to end. */
export const CONTROL_STOP = 0;
/** Rises with each question for statistics. */
export const CONTROL_ASKED = 1;
/** Pieces handed over that nobody has read yet. */
export const CONTROL_PIECES = 2;
export const CONTROL_WORDS = 3;

/** A callback that is slow makes the sink wait, and then the kernel counts what it loses. */
export const PIECES_MAX = 8;

export type Told =
  | { kind: 'ready' }
  | { kind: 'stats'; stats: SinkStats }
  | { kind: 'piece'; piece: Piece }
  | { kind: 'ended'; stats: SinkStats }
  | { kind: 'failed'; code: string; message: string; stats?: SinkStats };
