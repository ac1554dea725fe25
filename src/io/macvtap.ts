/**
 * A macvtap's character device as a port: a TAP by plain file calls, without any FFI.
 *
 *   ip link add link veth0 name macvtap0 type macvtap mode passthru
 *   ip link set macvtap0 up
 *   openMacvtap('/dev/tap7')          7 = ifindex of macvtap0
 *
 * What is sent to veth0 is read here, and what is written here leaves through it. A frame has a virtio header before
 * it, and may be a TCP super-frame: the device cuts those that come in, and the kernel those that go out.
 */
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writevSync,
} from 'node:fs';
import { VIRTIO_HEADER_BYTES } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FramePort, FrameSink } from './frame-port.ts';

const READ_BYTES = 65_536 + VIRTIO_HEADER_BYTES + 32;
const BURST_FRAMES = 32;
/** Rounds of the event loop that find nothing before it waits for time to pass: files can't be polled. */
const IDLE_ROUNDS = 64;
const POLL_MS = 1;
/** While nothing comes: from one look whether the interface is still there to the next. A file whose macvtap has gone is silent. */
const PRESENCE_MS = 500;
const PLAIN = new Uint8Array(VIRTIO_HEADER_BYTES);

/** Of `openMacvtap`. */
export interface MacvtapOptions {
  /** Milliseconds from one look for frames to the next, while there are none; 1. */
  poll?: number;
}

/**
 * @param path `/dev/tapN`, N being the macvtap's ifindex; where udev makes no nodes: `mknod` with the numbers in
 *   `/sys/class/net/NAME/macvtap/tapN/dev`
 * @throws VtepError USAGE, NOT_FOUND, PERMISSION, IN_USE, SYSTEM
 */
export function openMacvtap(path: string, { poll = POLL_MS }: MacvtapOptions = {}): FramePort {
  if (typeof path !== 'string' || path === '')
    throw new VtepError('USAGE', 'macvtap: the path of a device is expected, as /dev/tap7');
  if (!(poll > 0 && Number.isFinite(poll)))
    throw new VtepError('USAGE', `macvtap ${path}: poll ${poll}: give milliseconds`);
  try {
    return new MacvtapPort(path, openSync(path, constants.O_RDWR | constants.O_NONBLOCK), poll);
  } catch (error) {
    throw openError(path, error as NodeJS.ErrnoException);
  }
}

class MacvtapPort implements FramePort {
  readonly kind = 'macvtap';
  readonly takesSuperFrames = true;
  readonly #path: string;
  readonly #fd: number;
  readonly #poll: number;
  /** Its interface is one that we can see. */
  readonly #isVisible: boolean;
  readonly #buffers = Array.from({ length: BURST_FRAMES }, () => new Uint8Array(READ_BYTES));
  #sink: FrameSink | undefined;
  #isClosed = false;
  #idle = 0;
  #seen = 0;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  constructor(path: string, fd: number, poll: number) {
    this.#path = path;
    this.#fd = fd;
    this.#poll = poll;
    this.#isVisible = interfaceOf(path) !== undefined;
  }

  get address(): string | undefined {
    return this.#fact('address');
  }

  get mtu(): number | undefined {
    const mtu = Number(this.#fact('mtu'));
    return mtu > 0 ? mtu : undefined;
  }

  start(sink: FrameSink): void {
    if (this.#isClosed)
      throw new VtepError('USAGE', `macvtap ${this.#path}: it has been closed: open it again`);
    if (this.#sink !== undefined)
      throw new VtepError('IN_USE', `macvtap ${this.#path}: a device has it already`);
    this.#sink = sink;
    this.#immediate = setImmediate(() => this.#round());
  }

  write(frames: readonly Uint8Array[], headers?: readonly Uint8Array[]): number {
    let taken = 0;
    for (const [index, frame] of frames.entries()) {
      if (this.#isClosed) break;
      try {
        writevSync(this.#fd, [headers?.[index] ?? PLAIN, frame]);
        ++taken;
      } catch (error) {
        // Full, or a frame that the kernel won't have: it is lost, as on any wire. Else there is nothing to write to.
        if (!['EAGAIN', 'ENOBUFS', 'EINVAL', 'EMSGSIZE', 'ENETDOWN'].includes(codeOf(error)))
          this.#ended(error as Error);
      }
    }
    // Whoever is written to answers soon.
    if (taken > 0 && this.#timer !== undefined) this.#soon();
    return taken;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    try {
      closeSync(this.#fd);
    } catch {
      // Somebody else closed it.
    }
  }

  /** All that is there, in bursts, so that others have their turn in between. */
  #round(): void {
    this.#timer = undefined;
    const batch: Uint8Array[] = [];
    const headers: Uint8Array[] = [];
    for (const buffer of this.#buffers) {
      const count = this.#read(buffer);
      if (count <= VIRTIO_HEADER_BYTES) break;
      batch.push(buffer.subarray(VIRTIO_HEADER_BYTES, count));
      headers.push(buffer.subarray(0, VIRTIO_HEADER_BYTES));
    }
    if (this.#isClosed) return;
    if (batch.length > 0) this.#sink!.frames(batch, headers);
    if (this.#isClosed) return;
    this.#idle = batch.length > 0 ? 0 : this.#idle + 1;
    if (this.#idle >= IDLE_ROUNDS && this.#hasGone()) this.#ended(new Error('the macvtap has been deleted'));
    else if (this.#idle < IDLE_ROUNDS) this.#immediate = setImmediate(() => this.#round());
    else this.#timer = setTimeout(() => this.#round(), this.#poll);
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#idle = 0;
    this.#immediate = setImmediate(() => this.#round());
  }

  /** 0 = there is nothing. */
  #read(buffer: Uint8Array): number {
    try {
      return readSync(this.#fd, buffer);
    } catch (error) {
      // The interface being down is no end.
      if (!['EAGAIN', 'EINTR', 'ENETDOWN'].includes(codeOf(error))) this.#ended(error as Error);
      return 0;
    }
  }

  /** Where /sys shows interfaces of this network namespace. */
  #hasGone(): boolean {
    const now = performance.now();
    if (!this.#isVisible || now - this.#seen < PRESENCE_MS) return false;
    this.#seen = now;
    return interfaceOf(this.#path) === undefined;
  }

  #ended(error: Error): void {
    if (this.#isClosed) return;
    this.close();
    this.#sink?.closed(error);
  }

  #fact(name: string): string | undefined {
    try {
      return readFileSync(`/sys/class/net/${interfaceOf(this.#path)}/${name}`, 'utf8').trim();
    } catch {
      return undefined;
    }
  }
}

/** The interface of a device node named after its number, where /sys shows it. */
function interfaceOf(path: string): string | undefined {
  const tap = /tap\d+$/.exec(path)?.[0];
  if (tap === undefined) return undefined;
  try {
    return readdirSync('/sys/class/net').find((name) => existsSync(`/sys/class/net/${name}/macvtap/${tap}`));
  } catch {
    return undefined;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

function openError(path: string, error: NodeJS.ErrnoException): VtepError {
  switch (error.code) {
    case 'ENOENT':
    case 'ENXIO':
    case 'ENODEV':
      return new VtepError(
        'NOT_FOUND',
        `macvtap ${path}: ${error.message}: "ip link add link DEV name macvtap0 type macvtap" makes one, in this network namespace`,
      );
    case 'EACCES':
    case 'EPERM':
      return new VtepError('PERMISSION', `macvtap ${path}: ${error.message}: chown it to this user`);
    case 'EBUSY':
      return new VtepError('IN_USE', `macvtap ${path}: ${error.message}: another program has it`);
    default:
      return new VtepError('SYSTEM', `macvtap ${path}: ${error.message}`);
  }
}
