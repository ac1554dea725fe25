/** What every command is given: the words behind the object, the flags of iproute2, and the outside world. */
import type { Client } from '../daemon/client.ts';
import type { CreateVtep } from '../daemon/daemon.ts';

export interface Flags {
  json: boolean;
  pretty: boolean;
  details: boolean;
  /** How often -s was given. */
  statistics: number;
}

/** The outside world, so that tests can stand in for it. */
export interface Outside {
  out(text: string): void;
  err(text: string): void;
  env: Readonly<Record<string, string | undefined>>;
  /** Absent: the real one. */
  createVtep?: CreateVtep;
  /** Ends `daemon` and `run`; absent: SIGINT and SIGTERM do. */
  stop?: AbortSignal;
}

export interface Command {
  words: string[];
  flags: Flags;
  client: Client;
  outside: Outside;
}
