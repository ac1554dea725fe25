/**
 * The hooks of a worker thread: takes the host's orders between two rounds, keeps a program in each seat, and shows it
 * the records that a walk has parked. Which programs there are is the host's to say (hooks.ts).
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import {
  DECAP_PARKED_OFFSET,
  DECAP_STATE_OFFSET,
  HOOK_FAULT,
  HOOK_MIRROR,
  HOOK_PARKED_BYTES,
  HOOK_PARKED_PLACE_OFFSET,
  HOOK_PARKEDS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORDS_OFFSET,
  HOOK_STOPPED,
  HOOK_UNDECIDED,
  WORKER_HOOKED_OFFSET,
} from '../../assembly/layout.ts';
import type { HookDirection } from '../types.ts';
import { type Loaded, loadProgram } from './hook-loading.ts';
import {
  AREAS_OFFSET,
  CALLING,
  CONTROL_CALLS,
  CONTROL_DESCRIPTORS,
  CONTROL_DESCRIPTORS_MAX,
  CONTROL_GENERATION,
  CONTROL_HELD,
  CONTROL_HELD_BY,
  CONTROL_HELD_COUNT,
  CONTROL_HELD_RECORD,
  CONTROL_ORDERS,
  CONTROL_SEAT,
  CONTROL_STATE,
  type HELD_DATAGRAMS,
  type HELD_FRAMES,
  HELD_NOTHING,
  type HookOrder,
  type HookReport,
  type HookStart,
  type HookState,
  IDLE,
  LOADING,
  type Program,
  type Seat,
  STATS_OFFSET,
  seatNumber,
} from './hook-messages.ts';

import type { WorkerContext } from './worker-context.ts';

/** So often at most the host hears of a seat's faults. */
const FAULT_MILLISECONDS = 500;

/** In a place the device stands above the domain. */
const PLACE_DEVICE = 2;

type Contexts = Partial<Record<HookDirection, WorkerContext>>;

export class HookThread {
  readonly #contexts: Contexts;
  readonly #port: MessagePort;
  readonly #words: Int32Array;
  readonly #shown: Float64Array;
  readonly #places: Int32Array;
  /** By number. */
  readonly #seats = new Map<number, Loaded>();
  /** Numbers of seats that nothing passes. */
  readonly #closed = new Set<number>();
  /** By generation. */
  readonly #prepared = new Map<number, Loaded>();
  readonly #toldAt = new Map<number, number>();
  readonly #areas: Record<HookDirection, Set<number>> = { encap: new Set(), decap: new Set() };
  #orders = 0;
  #loading = 0;

  constructor({ control, port }: HookStart, contexts: Contexts) {
    this.#contexts = contexts;
    this.#port = port;
    this.#words = new Int32Array(control);
    this.#shown = new Float64Array(control, STATS_OFFSET);
    this.#places = new Int32Array(control, AREAS_OFFSET);
    for (const context of Object.values(contexts))
      context.bytes.fill(0, context.base + WORKER_HOOKED_OFFSET, context.base + WORKER_HOOKED_OFFSET + 256);
  }

  /** A module is being imported: the event loop has to have its turns. */
  get isLoading(): boolean {
    return this.#loading > 0;
  }

  /** Prepares and seats what there is to begin with. A program that fails now is stopped. */
  async begin({ programs, closed }: HookState): Promise<void> {
    for (const seat of closed) this.#close(seat);
    for (const program of programs) {
      const { device, direction, generation, onstop } = program;
      const seat: Seat = { device, direction };
      // It is looked at from outside, as when it is called.
      if (program.code.kind === 'js') this.#enter(CALLING, seatNumber(seat), generation);
      try {
        await this.#prepare(program);
        this.#switch(generation);
      } catch (error) {
        if (onstop === 'drop') this.#close(seat);
        this.#report({ fault: messageOf(error), seat, generation, isLast: true });
      }
      Atomics.store(this.#words, CONTROL_STATE, IDLE);
    }
  }

  /** Carries out what the host has ordered since the last time. */
  poll(): void {
    if (Atomics.load(this.#words, CONTROL_ORDERS) === this.#orders) return;
    for (;;) {
      const order = receiveMessageOnPort(this.#port)?.message as HookOrder | undefined;
      if (order === undefined) return;
      const number = ++this.#orders;
      const done = () => this.#report({ done: number });
      const refuse = (error: unknown) => this.#report({ done: number, refused: messageOf(error) });
      try {
        if (order.step === 'prepare') {
          const prepared = this.#prepare(order.program);
          if (prepared !== undefined) {
            prepared.then(done, refuse);
            continue;
          }
        } else if (order.step === 'switch') this.#switch(order.generation);
        else if (order.step === 'remove') this.#remove(order.seat);
        else if (order.step === 'close') this.#close(order.seat);
        else this.#forget(order.generation);
        done();
      } catch (error) {
        refuse(error);
      }
    }
  }

  /** Lets the event loop take a turn, in which a module may be loaded. */
  async turn(): Promise<void> {
    this.#words[CONTROL_CALLS] = this.#words[CONTROL_CALLS]! + 1;
    Atomics.store(this.#words, CONTROL_STATE, LOADING);
    await new Promise((resolve) => setImmediate(resolve));
    Atomics.store(this.#words, CONTROL_STATE, IDLE);
  }

  /** What a walk is about to show, and so holds: a thread that takes this one's place goes on there. */
  hold(kind: typeof HELD_FRAMES | typeof HELD_DATAGRAMS, by: number, count: number): void {
    this.#words[CONTROL_HELD_BY] = by;
    this.#words[CONTROL_HELD_COUNT] = count;
    this.#words[CONTROL_HELD_RECORD] = 0;
    this.#words[CONTROL_HELD] = kind;
  }

  letGo(): void {
    this.#words[CONTROL_HELD] = HELD_NOTHING;
  }

  /** What the thread before this one has left. */
  get held(): { kind: number; by: number; count: number } {
    const words = this.#words;
    return { kind: words[CONTROL_HELD]!, by: words[CONTROL_HELD_BY]!, count: words[CONTROL_HELD_COUNT]! };
  }

  /** Takes down what only this thread knows of, for the host to close should the thread be terminated. */
  own(...descriptors: number[]): void {
    const owned = this.#words.subarray(CONTROL_DESCRIPTORS, CONTROL_DESCRIPTORS + CONTROL_DESCRIPTORS_MAX);
    for (const fd of descriptors) {
      const free = owned.indexOf(-1);
      if (free >= 0 && !owned.includes(fd)) owned[free] = fd;
    }
  }

  isHooked(direction: HookDirection, device: number): boolean {
    const { base, bytes } = this.#contexts[direction]!;
    return bytes[base + WORKER_HOOKED_OFFSET + device] !== 0;
  }

  /** Records of datagrams that wait for a program. */
  get parked(): number {
    const { base, u32 } = this.#contexts.decap!;
    return u32[(base + DECAP_STATE_OFFSET + DECAP_PARKED_OFFSET) >>> 2]!;
  }

  /** Shows the programs of a direction the records of its walk: those of one device in a row at a time. */
  show(direction: HookDirection, end: number): void {
    const context = this.#contexts[direction]!;
    const { base, view } = context;
    const records = base + HOOK_RECORDS_OFFSET;
    // A program can write to records, its own and others', but not to this.
    const places = base + HOOK_PARKEDS_OFFSET + HOOK_PARKED_PLACE_OFFSET + PLACE_DEVICE;
    const deviceOf = (index: number) => view.getUint16(places + index * HOOK_PARKED_BYTES, true);
    for (let first = this.#words[CONTROL_HELD_RECORD]!; first < end; ) {
      const device = deviceOf(first);
      let next = first + 1;
      while (next < end && deviceOf(next) === device) ++next;
      this.#words[CONTROL_HELD_RECORD] = first;
      this.#run({ device, direction }, context, records + first * HOOK_RECORD_BYTES, next - first);
      first = next;
    }
  }

  #run(seat: Seat, context: WorkerContext, records: number, count: number): void {
    const number = seatNumber(seat);
    const loaded = this.#seats.get(number);
    // It has been stopped; maybe with the thread before this one, which had not come to the end of them.
    if (loaded === undefined) {
      settle(context, records, count, this.#closed.has(number) ? HOOK_STOPPED : HOOK_FAULT);
      return;
    }
    this.#shown[number]! += count;
    const isScript = loaded.kind === 'js';
    if (isScript) this.#enter(CALLING, number, loaded.generation);
    const fault = loaded.run(records, count);
    if (isScript) Atomics.store(this.#words, CONTROL_STATE, IDLE);
    if (fault === undefined) return;
    settle(context, records, count, HOOK_FAULT);
    this.#fault(seat, loaded.generation, fault);
  }

  #enter(state: number, seat: number, generation: number): void {
    this.#words[CONTROL_CALLS] = this.#words[CONTROL_CALLS]! + 1;
    this.#words[CONTROL_SEAT] = seat;
    this.#words[CONTROL_GENERATION] = generation;
    Atomics.store(this.#words, CONTROL_STATE, state);
  }

  #fault(seat: Seat, generation: number, fault: string): void {
    const now = performance.now();
    const number = seatNumber(seat);
    if (now - (this.#toldAt.get(number) ?? Number.NEGATIVE_INFINITY) < FAULT_MILLISECONDS) return;
    this.#toldAt.set(number, now);
    this.#report({ fault, seat, generation });
  }

  /** At once, unless a module has to be imported first. */
  #prepare(program: Program): Promise<void> | undefined {
    const loading = loadProgram(program, this.#contexts[program.direction]!, this.#areas[program.direction]);
    if (!(loading instanceof Promise)) {
      this.#prepared.set(program.generation, loading);
      return undefined;
    }
    this.#loading += 1;
    return loading
      .then((loaded) => void this.#prepared.set(program.generation, loaded))
      .finally(() => {
        this.#loading -= 1;
      });
  }

  #switch(generation: number): void {
    const loaded = this.#prepared.get(generation);
    if (loaded === undefined) return;
    this.#prepared.delete(generation);
    const number = seatNumber(loaded.seat);
    this.#seats.get(number)?.close();
    this.#seats.set(number, loaded);
    this.#closed.delete(number);
    this.#place(number, loaded);
    this.#toldAt.delete(number);
    this.#mark(loaded.seat, 1);
  }

  #forget(generation: number): void {
    this.#prepared.get(generation)?.close();
    this.#prepared.delete(generation);
  }

  #remove(seat: Seat): void {
    const number = seatNumber(seat);
    this.#mark(seat, 0);
    this.#seats.get(number)?.close();
    this.#seats.delete(number);
    this.#closed.delete(number);
    this.#place(number, undefined);
  }

  /** Tells the host where the counters of a module are. */
  #place(seat: number, loaded: Loaded | undefined): void {
    const isThere = loaded !== undefined && loaded.area >= 0;
    Atomics.store(this.#places, seat * 2, 0);
    if (!isThere) return;
    this.#places[seat * 2 + 1] = loaded.area;
    Atomics.store(this.#places, seat * 2, loaded.generation);
  }

  #close(seat: Seat): void {
    this.#remove(seat);
    this.#closed.add(seatNumber(seat));
    this.#mark(seat, 1);
  }

  /** Tells the walk whether to park frames of the device. */
  #mark({ device, direction }: Seat, isOn: 0 | 1): void {
    const { base, bytes } = this.#contexts[direction]!;
    bytes[base + WORKER_HOOKED_OFFSET + device] = isOn;
  }

  #report(report: HookReport): void {
    this.#port.postMessage(report);
  }
}

/** What no program has decided gets this verdict. */
function settle({ u32 }: WorkerContext, records: number, count: number, undecided: number): void {
  for (let index = 0; index < count; ++index) {
    const verdict = (records + index * HOOK_RECORD_BYTES + HOOK_RECORD_VERDICT_OFFSET) >>> 2;
    if ((u32[verdict]! & ~HOOK_MIRROR) === HOOK_UNDECIDED) u32[verdict] = undecided;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
