/** What every command is given: the words behind the object, the flags of iproute2, and the outside world. */
import { type Client, Refusal } from '../daemon/client.ts';
import type { CreateVtep } from '../daemon/daemon.ts';
import { VtepError, type VtepErrorCode } from '../errors.ts';

export interface Flags {
  json: boolean;
  pretty: boolean;
  details: boolean;
  /** -d twice: what is at its default too. */
  everything: boolean;
  /** How often -s was given. */
  statistics: number;
  /** One record a line (-o), and the short table (-br). */
  oneline: boolean;
  brief: boolean;
  /** -4 or -6. */
  family?: 'inet' | 'inet6';
}

/** The outside world, so that tests can stand in for it. */
export interface Outside {
  out(text: string): void;
  err(text: string): void;
  env: Readonly<Record<string, string | undefined>>;
  /** Absent: the real one. */
  createVtep?: CreateVtep;
  /** Ends `daemon`, `run` and `monitor`; absent: SIGINT and SIGTERM do. */
  stop?: AbortSignal;
  /** Instead of standard input. */
  input?: NodeJS.ReadableStream;
}

/** An object of the command line. */
export interface Spoken {
  name: string;
  /** Longer words for the same. */
  aliases?: readonly string[];
  verbs: string;
  what: string;
  /** Words and examples behind the list of options. */
  help: string;
  exits: Exits;
  /** The object's own file, loaded when it is asked for. A number is the exit code. */
  run(command: Command): Promise<unknown>;
}

/** What a kind of error ends the process with, unless the error itself says (VtepError's `exit`). */
export interface Exits {
  /** A word that the parser does not take. */
  usage: number;
  /** A request that the daemon refuses where the kernel would. */
  refused: number;
}

export interface Command {
  words: string[];
  flags: Flags;
  client: Client;
  outside: Outside;
}

/** Gives a refusal of the daemon another exit code than the object's, of every kind or of one. */
export async function refusedWith<T>(exit: number, answer: Promise<T>, code?: VtepErrorCode): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof Refusal) || (code !== undefined && code !== error.code)) throw error;
    throw new VtepError(error.code, error.message, exit);
  }
}
