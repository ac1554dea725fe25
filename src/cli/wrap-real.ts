/** Runs the real `ip` or `bridge`. */
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import type { Outside } from './command.ts';

const OUTPUT_BYTES_MAX = 1 << 30;

export interface Output {
  code: number;
  out: string;
  err: string;
}

export class RealTool {
  readonly #path: string;
  readonly #outside: Outside;

  constructor(path: string, outside: Outside) {
    this.#path = path;
    this.#outside = outside;
  }

  get path(): string {
    return this.#path;
  }

  /** Its output is this command's; resolves to its exit code. */
  run(argv: readonly string[], input?: string): number {
    const { code, out, err } = this.#call(argv, input);
    if (out !== '') this.#outside.out(out);
    if (err !== '') this.#outside.err(err);
    return code;
  }

  /** In this command's place: terminal and all. */
  become(argv: readonly string[]): number {
    return exitCode(spawnSync(this.#path, argv, { stdio: 'inherit' }));
  }

  capture(argv: readonly string[], input?: string): Output {
    return this.#call(argv, input);
  }

  #call(argv: readonly string[], input: string | undefined): Output {
    const result = spawnSync(this.#path, argv, {
      encoding: 'utf8',
      maxBuffer: OUTPUT_BYTES_MAX,
      stdio: [input === undefined ? 'inherit' : 'pipe', 'pipe', 'pipe'],
      ...(input === undefined ? {} : { input }),
    });
    return { code: exitCode(result), out: result.stdout ?? '', err: result.stderr ?? '' };
  }
}

/** As a shell gives it. */
function exitCode(result: { status: number | null; signal: NodeJS.Signals | null; error?: Error }): number {
  if (result.status !== null) return result.status;
  return result.signal === null ? 127 : 128 + constants.signals[result.signal];
}
