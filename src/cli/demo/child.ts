/**
 * A Node process in a namespace, tied to this one. It has a session of its own: Ctrl-C reaches the demonstration
 * alone, which then ends its parts in order.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Namespace } from './namespace.ts';

const GRACE_MS = 3000;
const SAID_MAX = 4096;

/** ".js" as built, ".ts" when the sources are run as they are. */
const EXTENSION = extname(fileURLToPath(import.meta.url));
const module = (path: string) => fileURLToPath(new URL(`${path}${EXTENSION}`, import.meta.url));

export const PROGRAM = module('../main');
export const POD = module('./pod');

export class Child {
  readonly process: ChildProcess;
  readonly #what: string;
  #said = '';

  constructor(what: string, namespace: Namespace, script: string, ...args: string[]) {
    this.#what = what;
    const tether = ['--import', new URL(`./tether${EXTENSION}`, import.meta.url).href];
    const argv = [...process.execArgv, ...tether, script, ...args];
    const [command, ...rest] = namespace.inside(process.execPath, ...argv);
    this.process = spawn(command!, rest, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true });
    for (const stream of [this.process.stdout, this.process.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString()).slice(-SAID_MAX);
      });
    this.process.on('error', (error) => {
      this.#said += error.message;
    });
  }

  get ended(): boolean {
    const { exitCode, signalCode, pid } = this.process;
    return exitCode !== null || signalCode !== null || pid === undefined;
  }

  assertAlive(): void {
    if (this.ended) throw new Error(`${this.#what} ended: ${this.#lastWords()}`);
  }

  /** Resolves with the first message for which `test` holds. */
  hear<T>(test: (message: unknown) => message is T, withinMs: number, signal?: AbortSignal): Promise<T> {
    return this.#wait(withinMs, signal, (found) => {
      const listen = (message: unknown) => test(message) && found(message);
      this.process.on('message', listen);
      return () => this.process.off('message', listen);
    });
  }

  /** Resolves when the process has printed `text`. */
  prints(text: string, withinMs: number, signal?: AbortSignal): Promise<void> {
    return this.#wait(withinMs, signal, (found) => {
      const look = () => this.#said.includes(text) && found();
      this.process.stdout?.on('data', look);
      return () => this.process.stdout?.off('data', look);
    });
  }

  async end(): Promise<void> {
    if (this.ended) return;
    const gone = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    const insist = setTimeout(() => this.process.kill('SIGKILL'), GRACE_MS);
    await gone;
    clearTimeout(insist);
  }

  endNow(): void {
    if (!this.ended) this.process.kill('SIGKILL');
  }

  #lastWords(): string {
    const { exitCode, signalCode } = this.process;
    if (signalCode !== null) return signalCode;
    return this.#said.trim().split('\n').at(-1) || `exit code ${exitCode}`;
  }

  #wait<T>(
    withinMs: number,
    signal: AbortSignal | undefined,
    subscribe: (found: (value: T) => void) => () => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(late);
        unsubscribe();
        this.process.off('close', died);
        signal?.removeEventListener('abort', aborted);
        act();
      };
      const died = () => settle(() => reject(new Error(`${this.#what} ended: ${this.#lastWords()}`)));
      const aborted = () => settle(() => reject(signal?.reason));
      const late = setTimeout(
        () => settle(() => reject(new Error(`${this.#what} did not answer within ${withinMs / 1000} s`))),
        withinMs,
      );
      const unsubscribe = subscribe((value) => settle(() => resolve(value)));
      this.process.on('close', died);
      signal?.addEventListener('abort', aborted);
      if (signal?.aborted) aborted();
      else if (this.ended) died();
    });
  }
}
