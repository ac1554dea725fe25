/** The host's end of what it and a worker thread tell each other about hooks (hook-messages.ts). */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { syscalls } from '../io/syscalls.ts';
import {
  AREAS_OFFSET,
  CONTROL_BYTES,
  CONTROL_CALLS,
  CONTROL_DESCRIPTORS,
  CONTROL_DESCRIPTORS_MAX,
  CONTROL_GENERATION,
  CONTROL_ORDERS,
  CONTROL_SEAT,
  CONTROL_STATE,
  type HookOrder,
  type HookReport,
  type HookStart,
  type HookState,
  IDLE,
  type Seat,
  STATS_OFFSET,
  seatNumber,
  seatOf,
} from './hook-messages.ts';

type Fault = Extract<HookReport, { fault: string }>;

interface Pending {
  resolve(): void;
  reject(error: Error): void;
}

export class HookLine {
  readonly #control = new SharedArrayBuffer(CONTROL_BYTES);
  readonly #words = new Int32Array(this.#control);
  readonly #shown = new Float64Array(this.#control, STATS_OFFSET);
  readonly #areas = new Int32Array(this.#control, AREAS_OFFSET);
  readonly #heard: (fault: Fault) => void;
  readonly #pending = new Map<number, Pending>();
  #port: MessagePort | undefined;

  constructor(heard: (fault: Fault) => void) {
    this.#heard = heard;
  }

  /** For a thread about to start; what the one before it was asked is refused with `reason`. */
  start(state: HookState, reason = ''): HookStart {
    this.close(reason);
    const { port1, port2 } = new MessageChannel();
    this.#words[CONTROL_ORDERS] = 0;
    this.#words[CONTROL_STATE] = IDLE;
    this.#words.fill(-1, CONTROL_DESCRIPTORS, CONTROL_DESCRIPTORS + CONTROL_DESCRIPTORS_MAX);
    port1.on('message', (report: HookReport) => this.#hear(report));
    this.#areas.fill(0);
    // The thread itself keeps the process alive.
    port1.unref();
    this.#port = port1;
    return { control: this.#control, port: port2, ...state };
  }

  /** Resolves when the thread, which must be woken, has carried it out. Rejects with its reason why not. */
  order(order: HookOrder): Promise<void> {
    const number = Atomics.load(this.#words, CONTROL_ORDERS) + 1;
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.#port?.postMessage(order);
      Atomics.store(this.#words, CONTROL_ORDERS, number);
    });
  }

  /** How often the thread has begun with JavaScript, and with which program; undefined: it is not at it. */
  get under(): { calls: number; state: number; seat: Seat; generation: number } | undefined {
    const state = Atomics.load(this.#words, CONTROL_STATE);
    if (state === IDLE) return undefined;
    return {
      state,
      calls: Atomics.load(this.#words, CONTROL_CALLS),
      seat: seatOf(Atomics.load(this.#words, CONTROL_SEAT)),
      generation: Atomics.load(this.#words, CONTROL_GENERATION),
    };
  }

  /** Packets that the program of a seat has been shown by this thread. */
  shown(seat: Seat): number {
    return this.#shown[seatNumber(seat)]!;
  }

  /** The area of a program, of the thread's block of that direction; undefined: it is not there. */
  areaOf(seat: Seat, generation: number): number | undefined {
    const at = seatNumber(seat) * 2;
    return Atomics.load(this.#areas, at) === generation ? this.#areas[at + 1] : undefined;
  }

  /** Of a thread that has been terminated. */
  closeDescriptors(): void {
    for (let slot = 0; slot < CONTROL_DESCRIPTORS_MAX; ++slot) {
      const fd = Atomics.exchange(this.#words, CONTROL_DESCRIPTORS + slot, -1);
      if (fd >= 0) syscalls().close(fd);
    }
  }

  close(reason = 'the thread has ended'): void {
    this.#port?.close();
    this.#port = undefined;
    for (const { reject } of this.#pending.values()) reject(new Error(reason));
    this.#pending.clear();
  }

  #hear(report: HookReport): void {
    if (!('done' in report)) {
      this.#heard(report);
      return;
    }
    const pending = this.#pending.get(report.done);
    this.#pending.delete(report.done);
    if (report.refused === undefined) pending?.resolve();
    else pending?.reject(new Error(report.refused));
  }
}
