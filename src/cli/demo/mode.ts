/**
 * Where the demonstration can run. Best with network namespaces, which take privilege: root has it, anybody else has
 * it in a user namespace of their own, in which the program is started again. Where that is forbidden, or something
 * else is missing, the tunnel runs in this process.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { syscalls } from '../../io/syscalls.ts';
import { PREPARE } from './hosts.ts';
import { tagOf } from './namespace.ts';
import { PORT, VNI } from './plan.ts';

const MODE_VARIABLE = 'VXLANE_DEMO_MODE';
const PEER_VARIABLE = 'VXLANE_DEMO_PEER';
const INSIDE_VARIABLE = 'VXLANE_DEMO_INSIDE';
const UNSHARE = ['--user', '--map-root-user', '--net', '--mount', '--'];
/** `ip netns` keeps its names in /run, which belongs to root: a /run of our own. */
const SETTLE = 'mount -t tmpfs tmpfs /run && ip link set lo up';

export type Mode =
  | { kind: 'namespaces'; kernelPeer: boolean }
  /** Start again in a user namespace. */
  | { kind: 'user-namespace' }
  | { kind: 'in-process'; why: string };

export const insideUserNamespace = (): boolean => process.env[INSIDE_VARIABLE] !== undefined;

export function chooseMode(): Mode {
  const wanted = process.env[MODE_VARIABLE] || undefined;
  if (wanted !== undefined && wanted !== 'namespaces' && wanted !== 'in-process')
    throw new Error(`${MODE_VARIABLE}=${wanted} is wrong: namespaces or in-process`);
  if (wanted === 'in-process') return { kind: 'in-process', why: `${MODE_VARIABLE} asks for it` };
  const mode = bestMode();
  if (wanted === 'namespaces' && mode.kind === 'in-process')
    throw new Error(`${MODE_VARIABLE}=namespaces: ${mode.why}`);
  return mode;
}

function bestMode(): Mode {
  const lacking = missing();
  if (lacking !== undefined) return { kind: 'in-process', why: lacking };
  const probe = tagOf(process.pid, `${randomBytes(3).toString('hex')}-probe`);
  const refused = attempt('sh', ['-c', tryOut(probe)]);
  if (refused === undefined) {
    const kernelPeer = process.env[PEER_VARIABLE] !== 'vxlane' && hasKernelDevice(probe);
    return { kind: 'namespaces', kernelPeer };
  }
  if (insideUserNamespace()) return { kind: 'in-process', why: refused };
  const forbidden = attempt('unshare', [...UNSHARE, 'sh', '-c', `${SETTLE} && { ${tryOut(probe)}; }`]);
  if (forbidden === undefined) return { kind: 'user-namespace' };
  return { kind: 'in-process', why: `no root (${refused}), and no user namespace either (${forbidden})` };
}

/** What neither root nor a user namespace would bring. */
function missing(): string | undefined {
  if (process.platform !== 'linux') return `network namespaces need Linux, this is ${process.platform}`;
  try {
    syscalls();
  } catch (error) {
    return (error as Error).message;
  }
  for (const command of ['ip', 'bridge'])
    if (spawnSync(command, ['-V'], { stdio: 'ignore' }).status !== 0)
      return `the command ${command} is missing: install iproute2`;
  try {
    closeSync(openSync('/dev/net/tun', constants.O_RDWR));
  } catch (error) {
    return `no TAP device can be made: ${(error as Error).message}`;
  }
  return undefined;
}

/** Shell commands that do once what the lab is going to do, and leave nothing, not even after Ctrl-C. */
function tryOut(name: string): string {
  return within(name, `ip netns exec ${name} sh -ec '${PREPARE}'`);
}

function hasKernelDevice(name: string): boolean {
  const add = `ip -n ${name} link add probe type vxlan id ${VNI} dstport ${PORT}`;
  return attempt('sh', ['-c', within(name, add)]) === undefined;
}

const within = (name: string, command: string) =>
  `trap '' INT TERM HUP; ip netns add ${name} || exit; ${command}; code=$?; ip netns del ${name}; exit $code`;

/** @returns why it failed, in one line */
function attempt(command: string, args: string[]): string | undefined {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return undefined;
  return error?.message ?? (stderr.trim().split('\n')[0] || `${command}: exit code ${status}`);
}

/** Runs this same command again as root of a user namespace; resolves to its exit code. */
export function runInUserNamespace(signal: AbortSignal): Promise<number> {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const script = `${SETTLE} && exec "$@"`;
  const child: ChildProcess = spawn('unshare', [...UNSHARE, 'sh', '-c', script, 'sh', ...again], {
    // The channel tells the one inside when this one is gone.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, [INSIDE_VARIABLE]: '1' },
  });
  const stop = () => child.kill('SIGTERM');
  signal.addEventListener('abort', stop);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => {
      signal.removeEventListener('abort', stop);
      resolve(code ?? 1);
    });
  });
}
