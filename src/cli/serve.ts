/**
 * `vxlane daemon` and `vxlane run`: a VTEP in the foreground until SIGINT or SIGTERM. Both are the same
 * daemon; `run` has one device from the command line where `daemon` has a file.
 */
import { setFlagsFromString } from 'node:v8';
import type { Config } from '../daemon/config.ts';
import { type Logger, startDaemon } from '../daemon/daemon.ts';
import { notifyOf, openNotifier } from '../daemon/notify.ts';
import { VtepError } from '../errors.ts';
import type { Outside } from './command.ts';
import { stopSignal } from './stop.ts';

const RUN_DIRECTORY = '/run/vxlane';
/** Who stops a daemon does not wait; what is not freed by then goes with the process. */
const CLOSE_DEADLINE_MS = 900;

/** Flags that go before what the file says. */
export type Tuning = Pick<Config, 'engine' | 'threads' | 'spin'>;

export async function serveConfig(
  file: string | undefined,
  socket: Sockets,
  tuning: Tuning,
  outside: Outside,
): Promise<void> {
  try {
    const { configOf, loadConfig } = await import('../daemon/config.ts');
    const config = { ...(file === undefined ? configOf([]) : await loadConfig(file)), ...tuning };
    await serve(config, socket.flag ?? socket.env ?? config.socket ?? socket.default, outside, (path) => {
      const count = config.devices.length;
      return `daemon ready: ${count} ${count === 1 ? 'device' : 'devices'}, control socket ${path}`;
    });
  } catch (error) {
    // What stands in the file is no word of this command line: never a usage error.
    throw error instanceof VtepError && error.code === 'USAGE'
      ? new VtepError('UNSUPPORTED', error.message)
      : error;
  }
}

/** One flannel network from the command line. */
export async function serveFlannel(
  words: readonly string[],
  socket: Sockets,
  outside: Outside,
): Promise<void> {
  const { parseFlannel } = await import('./flannel.ts');
  const { configOf } = await import('../daemon/config.ts');
  const { network, tuning, health, notes } = parseFlannel(words, outside.env);
  for (const note of notes) outside.err(`vxlane: ${note}\n`);
  const config = { ...configOf([]), ...tuning, health, flannel: [network] };
  const { kind } = network.source;
  await serve(config, socket.flag ?? socket.env ?? socket.default, outside, (path) => {
    return `flannel node ready: leases from ${kind === 'file' ? network.source.path : kind}, control socket ${path}`;
  });
}

/** Where a path for the socket may come from, the strongest first. */
export interface Sockets {
  flag: string | undefined;
  env: string | undefined;
  default: string;
}

export async function serveDevice(
  words: string[],
  socket: string | undefined,
  tuning: Tuning,
  outside: Outside,
): Promise<void> {
  const { parseRun } = await import('./device-words.ts');
  const { configOf } = await import('../daemon/config.ts');
  const { parseDevice } = await import('../daemon/schema.ts');
  const device = parseDevice(parseRun(words));
  const { name, id, dstport, local, remote } = device;
  const underlay = (local ?? remote ?? '').includes(':') ? 'IPv6' : 'IPv4';
  await serve(
    { ...configOf([device]), ...tuning },
    socket ?? `${RUN_DIRECTORY}/${name}.sock`,
    outside,
    (path) => `${name} up: VNI ${id}, UDP port ${dstport}, ${underlay} underlay, control socket ${path}`,
  );
}

async function serve(
  config: Config,
  socket: string,
  outside: Outside,
  ready: (socket: string) => string,
): Promise<void> {
  collectOnce();
  const stop = stopSignal(outside.stop);
  const logger: Logger = (_level, message) => outside.err(`vxlane: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
  const notifier = openNotifier(outside.env, logger);
  try {
    const createVtep = outside.createVtep ?? (await import('../vtep/vtep.ts')).createVtep;
    const starting = startDaemon({ config, socket, createVtep, logger });
    // A signal in the midst of the set-up ends it too, and half of it is not left behind.
    const daemon = await Promise.race([starting, stop.promise]);
    if (daemon !== undefined) {
      const word = ready(daemon.socket);
      outside.out(`vxlane: ${word}\n`);
      const silence = notifyOf(notifier, daemon, word);
      await stop.promise;
      silence();
    }
    notifier.stopping();
    await inTime(starting.then((started) => started.close()));
  } finally {
    notifier.close();
    stop.forget();
  }
}

/**
 * Some seconds after a start V8 collects what it has left, and once more in case that has freed more: it has not,
 * and these are the dearest milliseconds of an idle minute. V8 12.4 (Node 22) has another flag for that than 11.3
 * (Node 20); one that it doesn't know it complains of on standard error.
 */
function collectOnce(): void {
  const [major = 0, minor = 0] = process.versions.v8.split('.').map(Number);
  if (major > 12 || (major === 12 && minor >= 4)) setFlagsFromString('--memory-reducer-gc-count=1');
  else if (major === 11 && minor === 3) setFlagsFromString('--memory-reducer-single-gc');
}

async function inTime(closing: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_DEADLINE_MS);
  });
  await Promise.race([closing, deadline]);
  clearTimeout(timer);
}
