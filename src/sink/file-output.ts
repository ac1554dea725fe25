/**
 * Blocks into a file, or into a row of files. A file of a row has its final name only when it is complete, so that
 * whoever collects them never takes half of one; until then ".part" is behind it, for good when the disk is full. What is
 * in a file are whole blocks then, too. All are for their owner alone.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { format, parse } from 'node:path';
import { SINK_BLOCK_EXTRA_BYTES, SINK_DATAGRAM_MAX_BYTES } from '../../assembly/sink-layout.ts';
import { VtepError } from '../errors.ts';
import { type Output, SinkEnded } from './output.ts';

/** When a sink begins a new file, and how many it keeps. */
export interface Rotation {
  /** Bytes that no file is larger than, but for the statistics at its end; 0 = any. */
  size: number;
  /** Seconds that no file is older than; 0 = any. */
  seconds: number;
  /** Files that are kept, the newest; 0 = all. */
  files: number;
}

export const ROTATION_MIN_BYTES = 1048576;
/** The largest packet, and its interface. */
const LAST_BLOCKS_BYTES = SINK_DATAGRAM_MAX_BYTES + SINK_BLOCK_EXTRA_BYTES;
const OWNER_ONLY = 0o600;
const PART = '.part';
/** A block of pcapng begins with its type and its length, 4 bytes each. */
const BLOCK_LENGTH_OFFSET = 4;
const RETRY_MS = 1;

const nap = new Int32Array(new SharedArrayBuffer(4));

export class FileOutput implements Output {
  readonly #path: string;
  readonly #rotation: Rotation | undefined;
  readonly #stopped: () => boolean;
  #fd: number;
  #owned: boolean;
  #number = 0;
  #written = 0;
  #since = 0;
  /** Writing has failed: what is open will not become complete. */
  #broken = false;
  /** Names of the files that are open, the oldest first; and of those that are complete. */
  readonly #pending: string[] = [];
  readonly #kept: string[] = [];
  /** Files begun. */
  files = 0;

  /**
   * @param path a file, or '-' = standard output
   * @param stopped asked while a reader makes it wait
   * @throws VtepError SYSTEM or PERMISSION when the file can't be made
   */
  constructor(path: string, rotation: Rotation | undefined, stopped: () => boolean = () => false) {
    this.#path = path;
    this.#rotation = rotation;
    this.#stopped = stopped;
    this.#owned = path !== '-';
    this.#fd = this.#owned ? this.#open() : 1;
  }

  write(blocks: Uint8Array): void {
    let at = 0;
    while (at < blocks.length) {
      try {
        at += writeSync(this.#fd, blocks, at, blocks.length - at);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') throw new SinkEnded();
        if (code !== 'EAGAIN' && code !== 'EINTR') {
          this.#cutBack(blocks, at);
          throw new VtepError('SYSTEM', `sink: writing ${this.#pending[0] ?? 'standard output'}: ${message}`);
        }
        if (this.#stopped()) throw new SinkEnded();
        Atomics.wait(nap, 0, 0, RETRY_MS);
      }
    }
    this.#written += blocks.length;
  }

  room(): number {
    const { size = 0 } = this.#rotation ?? {};
    return size === 0 ? Number.POSITIVE_INFINITY : Math.max(size - this.#written, LAST_BLOCKS_BYTES);
  }

  wantsSection(now: number): boolean {
    const { size = 0 } = this.#rotation ?? {};
    if (size > 0 && this.#written + LAST_BLOCKS_BYTES > size) return true;
    return this.dueIn(now) <= 0;
  }

  dueIn(now: number): number {
    const { seconds = 0 } = this.#rotation ?? {};
    return seconds === 0 ? Number.POSITIVE_INFINITY : this.#since + seconds * 1000 - now;
  }

  nextSection(): void {
    const next = this.#open();
    this.#complete();
    this.#fd = next;
  }

  close(): void {
    if (this.#owned) this.#complete();
    this.#owned = false;
  }

  /** Of these blocks no more than `written` bytes went into the file: what is no whole one goes. */
  #cutBack(blocks: Uint8Array, written: number): void {
    this.#broken = true;
    if (!this.#owned || !fstatSync(this.#fd).isFile()) return;
    const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
    let whole = 0;
    for (let next = 0; next <= written; next += view.getUint32(next + BLOCK_LENGTH_OFFSET, true))
      whole = next;
    ftruncateSync(this.#fd, this.#written + whole);
  }

  #open(): number {
    const { O_CREAT, O_TRUNC, O_WRONLY } = constants;
    const name = this.#rotation === undefined ? this.#path : numbered(this.#path, ++this.#number);
    const path = this.#rotation === undefined ? name : `${name}${PART}`;
    let fd: number;
    try {
      fd = openSync(path, O_WRONLY | O_CREAT | O_TRUNC, OWNER_ONLY);
      // One that was there already, too; a pipe or /dev/null stays as it is.
      if (fstatSync(fd).isFile()) fchmodSync(fd, OWNER_ONLY);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const kind = code === 'EACCES' || code === 'EPERM' ? 'PERMISSION' : 'SYSTEM';
      throw new VtepError(kind, `sink: --write ${path}: ${message}`);
    }
    this.#pending.push(name);
    return this.#begun(fd);
  }

  #begun(fd: number): number {
    this.#written = 0;
    this.#since = Date.now();
    this.files++;
    return fd;
  }

  /** Closes the oldest file that is open, gives it its name, and forgets those that are too many. */
  #complete(): void {
    closeSync(this.#fd);
    const name = this.#pending.shift()!;
    if (this.#rotation === undefined || this.#broken) return;
    renameSync(`${name}${PART}`, name);
    this.#kept.push(name);
    const { files } = this.#rotation;
    // The one being written counts.
    const most = files === 0 ? Number.POSITIVE_INFINITY : Math.max(1, files - this.#pending.length);
    while (this.#kept.length > most) rmSync(this.#kept.shift()!, { force: true });
  }
}

/** "mirror.pcapng" -> "mirror_00001_20261123T095356Z.pcapng" */
function numbered(path: string, number: number): string {
  const { dir, name, ext } = parse(path);
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  return format({ dir, base: `${name}_${String(number).padStart(5, '0')}_${time}${ext}` });
}
