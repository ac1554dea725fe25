/**
 * Network namespaces of the demonstration. Their names hold the pid of the maker, so that what a killed
 * demonstration left behind is known at the next start.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'vxlane';
const NAME = /^vxlane-(\d+)-[0-9a-f]{6}(-[a-z-]+)?$/;

/** First part of every name that belongs to this run. */
export const tagOf = (pid: number, random: string): string => `${PREFIX}-${pid}-${random}`;

/**
 * Runs a command to its end; what it printed, or an error of one line. It is out of the terminal's reach: Ctrl-C
 * must not leave half of a step.
 */
export async function run(command: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(command, args, { detached: true });
  let [said, complained] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complained += chunk.toString();
  });
  child.stdin.on('error', () => {
    // It ended before it read its input; the exit code says why.
  });
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code === 0) return said;
  const why = complained.trim().split('\n')[0] || `exit code ${code}`;
  throw new Error(`${command} ${args.join(' ')}: ${why}`);
}

export interface LinkCounters {
  stats64: { rx?: Record<string, number>; tx?: Record<string, number> };
}

export class Namespace {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  async add(): Promise<void> {
    await run('ip', ['netns', 'add', this.name]);
  }

  async delete(): Promise<void> {
    await run('ip', ['netns', 'del', this.name]);
  }

  deleteNow(): void {
    spawnSync('ip', ['netns', 'del', this.name], { stdio: 'ignore' });
  }

  /** Lines of `ip` commands, up to the first that fails. */
  async ip(...lines: string[]): Promise<void> {
    await run('ip', ['-n', this.name, '-batch', '-'], `${lines.join('\n')}\n`);
  }

  /** What the kernel counts on a link. */
  async link(name: string): Promise<LinkCounters> {
    const text = await run('ip', ['-n', this.name, '-s', '-j', 'link', 'show', name]);
    return (JSON.parse(text) as LinkCounters[])[0] ?? { stats64: {} };
  }

  /** argv for a command inside. */
  inside(command: string, ...args: string[]): string[] {
    return ['ip', 'netns', 'exec', this.name, command, ...args];
  }

  async run(command: string, ...args: string[]): Promise<string> {
    const [ip, ...rest] = this.inside(command, ...args);
    return run(ip!, rest);
  }
}

/** Removes namespaces and socket directories whose maker is gone, with the processes that still run in them. */
export function sweep(): void {
  const listed = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
  for (const line of listed.split('\n')) {
    const name = line.split(' ')[0] ?? '';
    if (!isOrphan(name)) continue;
    const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout ?? '';
    for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
    new Namespace(name).deleteNow();
  }
  for (const name of readdirSync(tmpdir()))
    if (isOrphan(name)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

function isOrphan(name: string): boolean {
  const maker = NAME.exec(name)?.[1];
  return maker !== undefined && !isAlive(Number(maker));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}
