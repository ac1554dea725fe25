/** What a sink is asked for, and what that means here. */
import { checkShape, type Shape } from '../dataplane/shape.ts';
import { VtepError } from '../errors.ts';
import { syscalls } from '../io/syscalls.ts';
import type { Rotation } from './file-output.ts';
import { compileFilter } from './filter.ts';
import type { SinkPacket } from './packet-output.ts';
import type { RecorderOptions } from './recorder.ts';
import type { SinkStats } from './stats.ts';

/** Of `createSink`. One of `write`, `tap` and `onPackets` is needed for packets to go anywhere; all may be given. */
export interface SinkOptions {
  /** UDP ports, 4789 unless given; 0 = any free one. */
  ports?: readonly number[];
  /** Receive what is sent to this address of the host only; unless given, to any, IPv4 and IPv6. */
  address?: string;
  /** VNIs and ranges of them, both ends included; unless given, any. */
  vnis?: readonly (readonly [first: number, last: number])[];
  /** Keep only packets that match, in a subset of pcap-filter's words; see docs/sink.md. */
  filter?: string;
  /** Bytes kept of each packet; 0 and unless given: all. */
  snaplen?: number;
  /** pcapng to this file; '-' = to standard output. */
  write?: string;
  /** A new file when one is too large or too old. */
  rotation?: Partial<Rotation>;
  /** Makes a TAP of this name and writes the packets to it (Linux, CAP_NET_ADMIN). */
  tap?: string;
  /** Packets as they come, many at a time. While it runs long, the sink waits, and then the kernel drops. */
  onPackets?: (packets: SinkPacket[]) => void;
  /** Ends the sink. */
  signal?: AbortSignal;
  /** Receive buffer of each socket, bytes: 64 MiB unless given. The system's limit holds (net.core.rmem_max). */
  bufferBytes?: number;
  /** `portable`: Node's own sockets, on any system. Unless given, what the system has. */
  engine?: 'batched' | 'portable';
}

/** How a kind of engine runs. */
export interface Engine {
  readonly ports: readonly number[];
  readonly ended: Promise<SinkStats>;
  stats(): Promise<SinkStats>;
  stop(): void;
}

export interface Settings {
  engine: 'batched' | 'portable';
  ports: readonly number[];
  address: string;
  recorder: RecorderOptions;
  write: string | undefined;
  rotation: Rotation | undefined;
  tap: string | undefined;
  onPackets: ((packets: SinkPacket[]) => void) | undefined;
  bufferBytes: number;
}

const PORT_DEFAULT = 4789;
const BUFFER_DEFAULT_BYTES = 64 << 20;

/** @throws VtepError USAGE */
export function settingsOf(options: SinkOptions): Settings {
  checkTypes(options);
  const { ports = [PORT_DEFAULT], address = '', filter = '', snaplen = 0, rotation } = options;
  const { bufferBytes = BUFFER_DEFAULT_BYTES, engine = hasBatches() ? 'batched' : 'portable' } = options;
  if (ports.length === 0) throw new VtepError('USAGE', 'sink: ports: at least one is needed');
  for (const port of ports) inRange('port', port, 0, 65535);
  inRange('snaplen', snaplen, 0, 0x7fffffff);
  for (const range of options.vnis ?? []) for (const vni of range) inRange('VNI', vni, 0, 0xffffff);
  if (filter !== '') compileFilter(filter);
  if (rotation !== undefined && (options.write === undefined || options.write === '-'))
    throw new VtepError('USAGE', 'sink: rotation needs a file to write');
  const { size = 0, seconds = 0, files = 0 } = rotation ?? {};
  if (rotation !== undefined && size === 0 && seconds === 0)
    throw new VtepError('USAGE', 'sink: rotation needs a size or seconds');
  if (options.signal?.aborted) throw new VtepError('USAGE', 'sink: signal: it has been aborted already');
  return {
    engine,
    ports,
    address,
    recorder: { ports, vnis: options.vnis, filter, snaplen },
    write: options.write,
    rotation: rotation === undefined ? undefined : { size, seconds, files },
    tap: options.tap,
    onPackets: options.onPackets,
    bufferBytes,
  };
}

const TYPES: Shape = {
  ...{ ports: 'numbers', vnis: 'ranges', address: 'text', filter: 'text', write: 'text', tap: 'text' },
  ...{ engine: 'text', snaplen: 'number', bufferBytes: 'number', onPackets: 'listener' },
};

function checkTypes(options: SinkOptions): void {
  checkShape('sink', options, {}, TYPES, ['rotation', 'signal']);
  const { engine = 'portable', rotation = {}, signal } = options;
  checkShape('sink: rotation', rotation, {}, { size: 'number', seconds: 'number', files: 'number' });
  if (engine !== 'batched' && engine !== 'portable')
    throw new VtepError('USAGE', `sink: engine ${engine}: give batched or portable`);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new VtepError('USAGE', 'sink: signal: an AbortSignal is expected');
}

function inRange(what: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new VtepError('USAGE', `sink: ${what} ${String(value)} is not between ${low} and ${high}`);
}

/** Has this system what the batched engine needs? */
function hasBatches(): boolean {
  try {
    syscalls();
    return true;
  } catch {
    return false;
  }
}
