/**
 * Hooks in JavaScript: a function that is shown the frames of a device, a batch at a time, through a cursor on the
 * engine's records. Nothing is allocated per packet.
 */
import {
  AF_INET,
  HOOK_DROP,
  HOOK_FLAG_PARTIAL,
  HOOK_FLAG_SUPER,
  HOOK_MIRROR,
  HOOK_PASS,
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_COUNT,
  HOOK_RECORD_DEVICE_OFFSET,
  HOOK_RECORD_FAMILY_OFFSET,
  HOOK_RECORD_FLAGS_OFFSET,
  HOOK_RECORD_L3_OFFSET,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_MIRROR_OFFSET,
  HOOK_RECORD_ROOM_END_OFFSET,
  HOOK_RECORD_ROOM_OFFSET,
  HOOK_RECORD_SENDER_OFFSET,
  HOOK_RECORD_TARGET_OFFSET,
  HOOK_RECORD_TOS_OFFSET,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORD_VNI_OFFSET,
  HOOK_REDIRECT,
  HOOK_TARGET_TUNNEL,
  HOOK_UNDECIDED,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { formatAddress } from './fdb-text.ts';
import type { HookBatch, HookDirection, HookFunction, HookRunner, HookWay } from './hook-types.ts';
import type { Views } from './memory.ts';

const RECORD_WORDS = HOOK_RECORD_BYTES >> 2;
const ADDRESS_WORDS = 4;
const TARGET_MAX = 0xffff;

/** The last view of each record, so that frames that lie where others lay need no new one. */
class Known {
  start = 0;
  length = 0;
  view: Uint8Array = new Uint8Array(0);
}

class Cursor implements HookBatch {
  readonly direction: HookDirection;
  readonly memory: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  /** Words: the record at hand (0 = none), the one before the next, the end. */
  #at = 0;
  #last = 0;
  #end = 0;
  readonly #known = Array.from({ length: HOOK_RECORD_COUNT }, () => new Known());
  #first = 0;
  /** The last sender that was asked for: family, words, text. */
  readonly #sender = new Uint32Array(1 + ADDRESS_WORDS);
  #text = '';

  constructor({ bytes, u32, memory }: Views, direction: HookDirection) {
    this.direction = direction;
    this.memory = bytes;
    this.#u32 = u32;
    this.#u16 = new Uint16Array(memory.buffer);
  }

  begin(records: number, count: number): void {
    this.#first = records >>> 2;
    this.#at = 0;
    this.#last = this.#first - RECORD_WORDS;
    this.#end = this.#first + count * RECORD_WORDS;
  }

  /** Nothing is at hand any more. */
  end(): void {
    this.#at = 0;
    this.#last = 0;
    this.#end = 0;
  }

  next(): boolean {
    const left = this.#at;
    // What it moves on from it has decided on.
    if (left !== 0 && this.#u32[left + (HOOK_RECORD_VERDICT_OFFSET >> 2)] === HOOK_UNDECIDED)
      this.#u32[left + (HOOK_RECORD_VERDICT_OFFSET >> 2)] = HOOK_PASS;
    const next = this.#last + RECORD_WORDS;
    if (next >= this.#end) {
      this.#at = 0;
      this.#last = this.#end;
      return false;
    }
    this.#last = next;
    this.#at = next;
    return true;
  }

  get bytes(): Uint8Array {
    const at = this.#here();
    const start = this.#u32[at]!;
    const length = this.#u32[at + (HOOK_RECORD_LENGTH_OFFSET >> 2)]!;
    const known = this.#known[(at - this.#first) / RECORD_WORDS]!;
    if (known.start === start && known.length === length) return known.view;
    known.start = start;
    known.length = length;
    known.view = new Uint8Array(this.memory.buffer, start, length);
    return known.view;
  }

  get offset(): number {
    return this.#u32[this.#here() + (HOOK_RECORD_ADDRESS_OFFSET >> 2)]!;
  }

  get length(): number {
    return this.#u32[this.#here() + (HOOK_RECORD_LENGTH_OFFSET >> 2)]!;
  }

  get device(): number {
    return this.#u16[this.#here() * 2 + (HOOK_RECORD_DEVICE_OFFSET >> 1)]!;
  }

  get vni(): number {
    return this.#u32[this.#here() + (HOOK_RECORD_VNI_OFFSET >> 2)]!;
  }

  get l3(): number {
    return this.#u16[this.#here() * 2 + (HOOK_RECORD_L3_OFFSET >> 1)]!;
  }

  get isPartial(): boolean {
    return (this.#u16[this.#here() * 2 + (HOOK_RECORD_FLAGS_OFFSET >> 1)]! & HOOK_FLAG_PARTIAL) !== 0;
  }

  get isSuper(): boolean {
    return (this.#u16[this.#here() * 2 + (HOOK_RECORD_FLAGS_OFFSET >> 1)]! & HOOK_FLAG_SUPER) !== 0;
  }

  get tos(): number {
    return this.memory[this.#here() * 4 + HOOK_RECORD_TOS_OFFSET]!;
  }

  get sender(): string {
    const at = this.#here();
    const family = this.memory[at * 4 + HOOK_RECORD_FAMILY_OFFSET]!;
    if (family === 0) return '';
    const words = at + (HOOK_RECORD_SENDER_OFFSET >> 2);
    const sender = this.#sender;
    const u32 = this.#u32;
    if (
      sender[0] === family &&
      sender[1] === u32[words] &&
      (family === AF_INET ||
        (sender[2] === u32[words + 1] && sender[3] === u32[words + 2] && sender[4] === u32[words + 3]))
    )
      return this.#text;
    sender[0] = family;
    sender.set(u32.subarray(words, words + ADDRESS_WORDS), 1);
    this.#text = formatAddress({ family, bytes: new Uint8Array(sender.buffer, 4) });
    return this.#text;
  }

  get headroom(): number {
    const at = this.#here();
    return this.#u32[at]! - this.#u32[at + (HOOK_RECORD_ROOM_OFFSET >> 2)]!;
  }

  push(count: number): void {
    this.#move(this.offset - count, this.length + count);
  }

  pull(count: number): void {
    this.#move(this.offset + count, this.length - count);
  }

  trim(length: number): void {
    this.#move(this.offset, length);
  }

  pass(): void {
    this.#decide(HOOK_PASS);
  }

  drop(): void {
    this.#decide(HOOK_DROP);
  }

  redirect(device: number, way: HookWay = 'port'): void {
    const target = targetOf('redirect', device, way);
    this.#u32[this.#here() + (HOOK_RECORD_TARGET_OFFSET >> 2)] = target;
    this.#decide(HOOK_REDIRECT);
  }

  mirror(device: number, way: HookWay = 'port'): void {
    const at = this.#here();
    this.#u32[at + (HOOK_RECORD_MIRROR_OFFSET >> 2)] = targetOf('mirror', device, way);
    this.#u32[at + (HOOK_RECORD_VERDICT_OFFSET >> 2)]! |= HOOK_MIRROR;
  }

  #decide(verdict: number): void {
    const word = this.#here() + (HOOK_RECORD_VERDICT_OFFSET >> 2);
    this.#u32[word] = (this.#u32[word]! & HOOK_MIRROR) | verdict;
  }

  #move(start: number, length: number): void {
    const at = this.#here();
    const room = this.#u32[at + (HOOK_RECORD_ROOM_OFFSET >> 2)]!;
    const end = this.#u32[at + (HOOK_RECORD_ROOM_END_OFFSET >> 2)]!;
    if (
      !(
        Number.isInteger(start) &&
        Number.isInteger(length) &&
        start >= room &&
        length >= 0 &&
        start + length <= end
      )
    )
      throw new VtepError(
        'USAGE',
        `hook: a frame of ${length} bytes at ${start}: it has room from ${room} to ${end}`,
      );
    this.#u32[at] = start;
    this.#u32[at + (HOOK_RECORD_LENGTH_OFFSET >> 2)] = length;
  }

  #here(): number {
    if (this.#at === 0)
      throw new VtepError('USAGE', 'hook: no packet at hand: call next() first, and keep no batch');
    return this.#at;
  }
}

/** A function as the engine's records have it. */
export class HookScript implements HookRunner {
  readonly #hook: HookFunction;
  readonly #cursor: Cursor;

  constructor(hook: HookFunction, views: Views, direction: HookDirection) {
    this.#hook = hook;
    this.#cursor = new Cursor(views, direction);
  }

  run(records: number, count: number): { readonly message: string } | undefined {
    this.#cursor.begin(records, count);
    try {
      const answer: unknown = this.#hook(this.#cursor);
      return answer === undefined ? undefined : refuseLater(answer);
    } catch (error) {
      return { message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
    } finally {
      this.#cursor.end();
    }
  }
}

/** An async function has not decided when it returns; what it does later concerns nobody. */
function refuseLater(answer: unknown): { readonly message: string } | undefined {
  if (typeof (answer as PromiseLike<unknown> | null)?.then !== 'function') return undefined;
  Promise.resolve(answer).catch(() => undefined);
  return { message: 'it returned a promise: decide before it returns' };
}

function targetOf(what: string, device: number, way: HookWay): number {
  if (!(Number.isInteger(device) && device >= 0 && device <= TARGET_MAX))
    throw new VtepError('USAGE', `hook: ${what}: device ${device}: give a number, as numberOf() tells it`);
  if (way !== 'port' && way !== 'tunnel')
    throw new VtepError('USAGE', `hook: ${what}: way "${String(way)}": give "port" or "tunnel"`);
  return way === 'tunnel' ? device | HOOK_TARGET_TUNNEL : device;
}
