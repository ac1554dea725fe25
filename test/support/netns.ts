/**
 * Network namespaces for tests: made with random names, filled by `ip -batch`, and taken down in reverse whatever
 * happens to the test. What a killed run left behind is found again by its name, which holds the pid of its maker.
 *
 * Making namespaces takes privilege. Root has it; anybody else gets it in a user namespace, where the test file is
 * started again with a /run of its own so that `ip netns` can keep its names there. Where neither works the tests
 * say what is missing and are skipped, except in CI, where a test that did not run is a failure.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));

const PREFIX = 'vxl-';
const NAME = /^vxl-(\d+)-[0-9a-f]{6}-/;
const DIRECTORY = /^vxl-(\d+)-[0-9A-Za-z]{6}$/;
const RUN_DIRECTORY = '/run/netns';
const SOCKETS = '/run/vxlane/netns';
const STALE_MS = 24 * 3600_000;
const INSIDE = 'VXLANE_TEST_USER_NAMESPACE';
const UNSHARE = ['--user', '--map-root-user', '--net', '--mount', '--'];

interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

function finish(command: string, args: readonly string[], input?: string): Finished {
  const result = spawnSync(command, args, { encoding: 'utf8', ...(input === undefined ? {} : { input }) });
  const stderr = result.error ? result.error.message : result.stderr;
  return { status: result.status, stdout: result.stdout ?? '', stderr: (stderr ?? '').trim() };
}

function must(what: string, result: Finished): string {
  if (result.status !== 0) throw new Error(`${what}: ${result.stderr || `exit code ${result.status}`}`);
  return result.stdout;
}

/** What a killed daemon of a namespace leaves behind. */
function removeTraces(name: string): void {
  for (const ending of ['sock', 'devices']) rmSync(`${SOCKETS}/${name}.${ending}`, { force: true });
}

/** A named network namespace of this run. */
export class Namespace {
  readonly name: string;
  readonly #bed: Bed;

  constructor(bed: Bed, name: string) {
    this.#bed = bed;
    this.name = name;
  }

  /** Runs lines of `ip` commands, all or up to the first that fails. */
  ip(...lines: string[]): void {
    const result = finish('ip', ['-n', this.name, '-batch', '-'], `${lines.join('\n')}\n`);
    must(`ip -batch in ${this.name} [${lines.join('; ')}]`, result);
  }

  // biome-ignore lint/suspicious/noExplicitAny: the shape is iproute2's
  ipJson(...args: string[]): any {
    return JSON.parse(
      must(`ip -j ${args.join(' ')}`, finish('ip', ['-n', this.name, '-j', ...args])) || '[]',
    );
  }

  /** Runs a command to its end and returns what it printed. */
  run(command: string, ...args: string[]): string {
    return must(`${command} ${args.join(' ')}`, finish('ip', ['netns', 'exec', this.name, command, ...args]));
  }

  /** Sets keys such as `net.ipv4.ip_forward`; a `/` stands for a dot inside a part, as in `net/ipv6/conf/flannel.1/...`. */
  sysctl(values: Record<string, string | number>): void {
    const lines = Object.entries(values).map(([key, value]) => {
      const path = key.includes('/') ? key : key.replaceAll('.', '/');
      return `echo ${value} > /proc/sys/${path}`;
    });
    this.run('sh', '-ec', lines.join('\n'));
  }

  /** Starts a process inside; it is ended with the bed. */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], {
      cwd: REPOSITORY,
      ...options,
    });
    return this.#bed.track(child);
  }
}

/** Ends a process that this run started: asks, then insists. */
export async function end(child: ChildProcess, graceMs = 3000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  const insist = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await gone;
  clearTimeout(insist);
}

const open = new Set<Bed>();

/** All that one test file set up, in order. */
export class Bed {
  #steps: { undo: () => Promise<void>; force: () => void }[] = [];

  constructor() {
    if (open.size === 0) guardExit();
    open.add(this);
  }

  namespace(label: string): Namespace {
    const name = `${PREFIX}${process.pid}-${randomBytes(3).toString('hex')}-${label}`;
    must(`ip netns add ${name}`, finish('ip', ['netns', 'add', name]));
    const remove = () => {
      finish('ip', ['netns', 'del', name]);
      removeTraces(name);
    };
    this.#steps.push({ undo: async () => remove(), force: remove });
    const namespace = new Namespace(this, name);
    namespace.ip('link set lo up');
    return namespace;
  }

  track(child: ChildProcess): ChildProcess {
    this.#steps.push({ undo: () => end(child), force: () => void child.kill('SIGKILL') });
    return child;
  }

  /** A directory for sockets, removed with the bed. */
  directory(): string {
    const path = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
    const remove = () => rmSync(path, { recursive: true, force: true });
    this.#steps.push({ undo: async () => remove(), force: remove });
    return path;
  }

  /** Aborts when the bed is taken down. */
  signal(): AbortSignal {
    const controller = new AbortController();
    const abort = () => controller.abort();
    this.#steps.push({ undo: async () => abort(), force: abort });
    return controller.signal;
  }

  async close(): Promise<void> {
    let failure: unknown;
    for (const step of this.#steps.reverse()) {
      await step.undo().catch((error: unknown) => {
        failure ??= error;
      });
    }
    this.#steps = [];
    open.delete(this);
    if (failure) throw failure;
  }

  /** For a process that is about to end: no waiting. */
  abandon(): void {
    for (const step of this.#steps.reverse()) step.force();
    this.#steps = [];
  }
}

let guarded = false;
function guardExit(): void {
  if (guarded) return;
  guarded = true;
  const abandonAll = () => {
    for (const bed of open) bed.abandon();
    open.clear();
  };
  process.on('exit', abandonAll);
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const)
    process.once(signal, () => process.exit(128 + number));
}

/** Whether a process runs; one that has ended and was not waited for does not. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Removes namespaces whose maker is gone, with the processes that still run in them, and directories likewise. */
export function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const maker = DIRECTORY.exec(name);
    if (maker && !isAlive(Number(maker[1]))) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  for (const file of existsSync(SOCKETS) ? readdirSync(SOCKETS) : []) {
    const maker = NAME.exec(file);
    if (maker && !isAlive(Number(maker[1]))) rmSync(join(SOCKETS, file), { force: true });
  }
  for (const line of finish('ip', ['netns', 'list']).stdout.split('\n')) {
    const name = line.split(' ')[0] ?? '';
    const maker = NAME.exec(name);
    if (maker === null) continue;
    const age = Date.now() - (statSync(`${RUN_DIRECTORY}/${name}`, { throwIfNoEntry: false })?.ctimeMs ?? 0);
    if (isAlive(Number(maker[1])) && age < STALE_MS) continue;
    for (const pid of finish('ip', ['netns', 'pids', name]).stdout.split('\n').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It ended meanwhile.
      }
    }
    finish('ip', ['netns', 'del', name]);
  }
}

function canMakeNamespaces(): string | null {
  const probe = `${PREFIX}${process.pid}-${randomBytes(3).toString('hex')}-probe`;
  const made = finish('ip', ['netns', 'add', probe]);
  if (made.status !== 0) return made.stderr;
  const used = finish('ip', ['netns', 'exec', probe, 'true']);
  finish('ip', ['netns', 'del', probe]);
  return used.status === 0 ? null : used.stderr;
}

/** Starts this test file again in a user namespace and ends with its exit code; returns only if that is refused. */
function reenter(): string {
  const tried = finish('unshare', [...UNSHARE, 'true']);
  if (tried.status !== 0)
    return `needs root or user namespaces: sysctl user.max_user_namespaces (${tried.stderr})`;
  const script = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"';
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const result = spawnSync('unshare', [...UNSHARE, 'sh', '-c', script, 'sh', ...again], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  process.exit(result.status ?? 1);
}

/** What keeps namespaces from being made here, in one line, or null. May start the process again (see above). */
export function missingForNamespaces(): string | null {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`;
  const version = finish('ip', ['-V']);
  if (version.status !== 0) return 'needs the `ip` command of iproute2';
  const refusal = canMakeNamespaces();
  if (refusal !== null) return process.env[INSIDE] ? `needs network namespaces: ${refusal}` : reenter();
  sweep();
  return null;
}

/** What keeps a TAP from being opened, or null. */
export function missingForTap(): string | null {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return null;
  } catch (error) {
    return `needs /dev/net/tun, readable and writable: ${(error as Error).message}`;
  }
}

/** What keeps the kernel's own device from being made, or null. */
export function missingForKernelVxlan(): string | null {
  const bed = new Bed();
  try {
    bed.namespace('probe').ip('link add vx0 type vxlan id 1 dstport 8472');
    return null;
  } catch (error) {
    return `needs the kernel's vxlan device (CONFIG_VXLAN): ${(error as Error).message}`;
  } finally {
    bed.abandon();
  }
}
