/**
 * The hooks of a VTEP's devices: which program is where, brought to all threads or to none, what it has done, and what
 * becomes of one that does not come back.
 *
 * WebAssembly is confined and compiled here, once; its fuel ends what loops. JavaScript is imported by each thread, and
 * nothing inside the thread can end it: so it is looked at from here, and a call that lasts costs the thread its life.
 */
import { pathToFileURL } from 'node:url';
import { type CounterName, readCounter } from '../dataplane/counters.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import { compileHook, countersOfHook, HOOK_FUEL } from '../dataplane/hook-program.ts';
import { VtepError } from '../errors.ts';
import type { HookDirection, HookInfo, HookRequest, HookStats, OnStop, VtepEvent } from '../types.ts';
import type { Device } from './device.ts';
import {
  type HookCode,
  type HookOrder,
  type HookReport,
  type HookState,
  type Program,
  type Seat,
  seatNumber,
} from './hook-messages.ts';
import type { Logger } from './options.ts';
import type { Workers } from './workers.ts';

/** Looks in a row that find a thread in the same call before it is given up: a second. Not a clock: it jumps. */
const LOOK_MILLISECONDS = 250;
const LOOKS_MAX = 4;
const HUNG = 'the program did not return within 1 s';

/** Faults of WebAssembly drop, and so does one that can't go on at all; JavaScript is for looking, until told otherwise. */
const ONSTOP: Record<HookInfo['kind'], OnStop> = { js: 'pass', wasm: 'drop' };

const DIRECTIONS: readonly HookDirection[] = ['encap', 'decap'];

/** Counters of a device that belong to its hook in that direction. */
const COUNTED: Record<HookDirection, Record<Exclude<keyof HookStats, 'packets'>, CounterName>> = {
  encap: {
    dropped: 'drop_hook',
    redirected: 'hook_redirects',
    mirrored: 'hook_mirrors',
    faults: 'drop_hook_fault',
    stopped: 'drop_hook_stopped',
  },
  decap: {
    dropped: 'drop_hook_received',
    redirected: 'hook_redirects_received',
    mirrored: 'hook_mirrors_received',
    faults: 'drop_hook_fault_received',
    stopped: 'drop_hook_stopped_received',
  },
};

type HookFault = Extract<HookReport, { fault: string }>;

interface Hook {
  readonly device: Device;
  readonly program: Program;
  readonly file: string;
  /** Counters when the hook was added. */
  readonly before: HookStats;
  /** Faults that events have told of. */
  told: number;
  fault?: string;
  stopped?: string;
  /** What instances that are no more have counted. */
  counted: number[];
}

export interface HookParts {
  readonly plane: Dataplane;
  readonly workers: Workers;
  readonly log: Logger;
  readonly emit: (event: VtepEvent) => void;
}

export class Hooks {
  readonly #parts: HookParts;
  /** By number of the seat. */
  readonly #hooks = new Map<number, Hook>();
  readonly #looks = new Map<number, { calls: number; times: number }>();
  #generation = 0;
  /** Threads that were. */
  #startedAnew = 0;
  #watch: NodeJS.Timeout | undefined;

  constructor(parts: HookParts) {
    this.#parts = parts;
    parts.workers.onHookFault = (fault) => this.#hear(fault);
    parts.workers.onLeft = (thread) => void this.#replaceThread(thread, 'the program ended its thread');
  }

  /** One after the other. @throws VtepError */
  async apply(device: Device, request: HookRequest): Promise<void> {
    const seat: Seat = { device: device.index, direction: request.direction };
    const what = `hook ${request.op} dev ${request.dev} ${request.direction}`;
    const before = this.#hooks.get(seatNumber(seat));
    if (request.op === 'del') {
      if (before === undefined)
        throw new VtepError('NOT_FOUND', `${what}: No such file or directory: "vxlane hook show" lists them`);
      await this.#delete(seat);
      this.#tell(before, 'deleted');
      this.#settleWatch();
      return;
    }
    if (request.op === 'add' && before !== undefined)
      throw new VtepError('EXISTS', `${what}: File exists: "hook replace" takes its place`);
    const generation = ++this.#generation;
    const code = codeOf(request, generation, what);
    const { rules, onstop = ONSTOP[code.kind] } = request;
    const program: Program = { ...seat, generation, code, onstop, ...(rules !== undefined && { rules }) };
    const hook: Hook = {
      ...{ device, program, file: request.file },
      ...{ before: before?.before ?? this.#count(seat), told: before?.told ?? this.#count(seat).faults },
      counted: [],
    };
    await this.#place(hook, what);
    this.#tell(hook, before === undefined ? 'added' : 'replaced');
  }

  show(dev?: string): HookInfo[] {
    return [...this.#hooks.entries()]
      .filter(([, { device }]) => dev === undefined || device.config.name === dev)
      .sort(([one], [other]) => one - other)
      .map(([, hook]) => this.#info(hook));
  }

  /** The device goes: nothing is handed to its hooks any more. */
  async forget(device: Device): Promise<void> {
    for (const direction of DIRECTIONS) {
      const seat: Seat = { device: device.index, direction };
      const hook = this.#hooks.get(seatNumber(seat));
      if (hook === undefined) continue;
      await this.#delete(seat);
      this.#tell(hook, 'deleted');
    }
    this.#settleWatch();
  }

  /** Tells of faults since the last time. */
  tick(): void {
    for (const hook of this.#hooks.values()) {
      const { faults } = this.#count(hook.program);
      const packets = faults - hook.told;
      if (packets <= 0) continue;
      hook.told = faults;
      this.#tell(hook, 'fault', { packets, ...(hook.fault !== undefined && { reason: hook.fault }) });
    }
  }

  close(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** @throws VtepError USAGE: a thread could not prepare it; then all is as it was */
  async #place(hook: Hook, what: string): Promise<void> {
    const { workers } = this.#parts;
    const { program } = hook;
    const { generation, direction } = program;
    // A thread that hangs over the import is seen, too.
    this.#settleWatch(program.code.kind === 'js');
    const threads = this.#startedAnew;
    try {
      await workers.orderHooks(direction, { step: 'prepare', program });
      // It had prepared the program, and the one in its place has not: it would go on without.
      if (threads !== this.#startedAnew) throw new Error('a thread was started anew meanwhile, try again');
    } catch (error) {
      await workers.orderHooks(direction, { step: 'forget', generation }).catch(() => undefined);
      this.#settleWatch();
      throw new VtepError('USAGE', `${what}: ${(error as Error).message}: the program is not taken`);
    }
    this.#hooks.set(seatNumber(program), hook);
    // A thread that ends meanwhile is followed by one that begins with it.
    await workers.orderHooks(direction, { step: 'switch', generation }).catch(() => undefined);
    this.#settleDevice(program);
    this.#settleWatch();
  }

  /** First from here: a thread that is started anew meanwhile does not begin with it. */
  async #delete(seat: Seat): Promise<void> {
    this.#hooks.delete(seatNumber(seat));
    await this.#remove(seat);
  }

  async #remove(seat: Seat): Promise<void> {
    const { workers } = this.#parts;
    await workers.orderHooks(seat.direction, { step: 'remove', seat }).catch(() => undefined);
    this.#settleDevice(seat);
  }

  /** Frames that this host itself has for the device take the way of datagrams while there is a hook on decap. */
  #settleDevice(seat: Seat): void {
    if (seat.direction !== 'decap') return;
    const hook = this.#hooks.get(seatNumber(seat));
    const isOn = hook !== undefined && (hook.stopped === undefined || hook.program.onstop === 'drop');
    this.#parts.plane.devices.setHooked(seat.device, isOn);
  }

  #settleWatch(isLoading = false): void {
    const isNeeded =
      isLoading ||
      [...this.#hooks.values()].some(({ program, stopped }) => program.code.kind === 'js' && !stopped);
    if (isNeeded) this.#watch ??= setInterval(() => this.#look(), LOOK_MILLISECONDS).unref();
    else this.close();
  }

  /** Is a thread still where it was at the last looks? */
  #look(): void {
    for (const [thread, under] of this.#parts.workers.underJavaScript().entries()) {
      const before = this.#looks.get(thread);
      if (under === undefined) this.#looks.delete(thread);
      else if (before?.calls !== under.calls) this.#looks.set(thread, { calls: under.calls, times: 1 });
      else if (++before.times > LOOKS_MAX) {
        this.#looks.delete(thread);
        void this.#replaceThread(thread, HUNG);
      }
    }
  }

  /** What ran there, or was being imported, is not run again. */
  async #replaceThread(thread: number, reason: string): Promise<void> {
    const { workers, log } = this.#parts;
    const under = workers.underJavaScript()[thread];
    const seated = under?.isCall ? this.#hooks.get(seatNumber(under.seat)) : undefined;
    const hook = seated?.program.generation === under?.generation ? seated : undefined;
    // Another thread may have met it first.
    const isNews = hook !== undefined && hook.stopped === undefined;
    if (isNews) markStopped(hook, reason);
    await workers.replaceThread(
      thread,
      () => {
        ++this.#startedAnew;
        for (const each of this.#hooks.values()) each.counted = this.#counters(each, thread);
        return this.#state();
      },
      reason,
    );
    if (isNews) await this.#takeOff(hook, `${reason}: its thread was started anew without it`);
    else log('warn', `hook: ${reason}: its thread was started anew`);
  }

  /** What a module has counted itself. @param thread takes this one's instance alone */
  #counters({ program, counted, stopped }: Hook, thread?: number): number[] {
    const { code, generation } = program;
    if (code.kind !== 'wasm') return [];
    const { plane, workers } = this.#parts;
    const areas = stopped === undefined ? workers.areasOf(program, generation, thread) : [];
    const live = countersOfHook(code.compiled, plane.views.bytes, areas);
    return live.map((count, index) => count + (counted[index] ?? 0));
  }

  #state(): HookState {
    const all = [...this.#hooks.values()];
    const stopped = all.filter((hook) => hook.stopped !== undefined);
    return {
      programs: all.filter((hook) => hook.stopped === undefined).map(({ program }) => program),
      closed: stopped
        .filter(({ program }) => program.onstop === 'drop')
        .map(({ program }) => seatOnly(program)),
    };
  }

  /** One that is marked as stopped goes from all threads, unless another one has taken its place meanwhile. */
  async #takeOff(hook: Hook, what: string): Promise<void> {
    const { workers, log } = this.#parts;
    const { device, program, file, stopped } = hook;
    const { direction, onstop } = program;
    const follows = onstop === 'drop' ? 'packets are dropped' : 'packets pass';
    log(
      'error',
      `hook dev ${device.config.name} ${direction} ${file}: ${what}: ${follows} until it is replaced`,
    );
    if (this.#hooks.get(seatNumber(program)) === hook) {
      const order: HookOrder = { step: onstop === 'drop' ? 'close' : 'remove', seat: seatOnly(program) };
      await workers.orderHooks(direction, order).catch(() => undefined);
      this.#settleDevice(program);
    }
    this.#tell(hook, 'stopped', { reason: stopped! });
    this.#settleWatch();
  }

  #hear({ seat, generation, fault, isLast = false }: HookFault): void {
    const hook = this.#hooks.get(seatNumber(seat));
    if (hook === undefined || hook.program.generation !== generation || hook.stopped !== undefined) return;
    if (isLast) {
      hook.counted = this.#counters(hook);
      markStopped(hook, fault);
      void this.#takeOff(hook, fault);
      return;
    }
    if (hook.fault === undefined) {
      const { config } = hook.device;
      this.#parts.log('warn', `hook dev ${config.name} ${seat.direction} ${hook.file}: it failed: ${fault}`);
    }
    hook.fault = fault;
  }

  #tell(
    { device, program, file }: Hook,
    change: Extract<VtepEvent, { event: 'hook' }>['change'],
    more: { reason?: string; packets?: number } = {},
  ): void {
    const { direction, generation } = program;
    this.#parts.emit({
      ...{ event: 'hook', change, ifname: device.config.name, direction, file, generation },
      ...more,
    });
  }

  #info(hook: Hook): HookInfo {
    const { device, program, file, before, fault, stopped } = hook;
    const { direction, generation, code, onstop } = program;
    const now = this.#count(program);
    const since = (key: keyof HookStats) => now[key] - before[key];
    const counters = this.#counters(hook);
    return {
      ...{ ifname: device.config.name, direction, kind: code.kind, file, generation },
      ...(code.kind === 'wasm' && { fuel: code.fuel }),
      onstop,
      ...(stopped !== undefined && { stopped }),
      ...(fault !== undefined && { fault }),
      stats: {
        packets: since('packets'),
        dropped: since('dropped'),
        redirected: since('redirected'),
        mirrored: since('mirrored'),
        faults: since('faults'),
        stopped: since('stopped'),
      },
      ...(counters.length > 0 && { counters }),
    };
  }

  /** Since the device was made; those of the device before it in the place of `packets`, which `before` takes off. */
  #count(seat: Seat): HookStats {
    const { plane, workers } = this.#parts;
    const names = COUNTED[seat.direction];
    const read = (name: CounterName) => readCounter(plane.views, plane.blocks, seat.device, name);
    return {
      packets: workers.shown(seat),
      dropped: read(names.dropped),
      redirected: read(names.redirected),
      mirrored: read(names.mirrored),
      faults: read(names.faults),
      stopped: read(names.stopped),
    };
  }
}

function markStopped(hook: Hook, reason: string): void {
  hook.stopped = reason;
  hook.fault = reason;
}

/** Without what a program has beside it, for posting. */
function seatOnly({ device, direction }: Seat): Seat {
  return { device, direction };
}

function codeOf(request: Exclude<HookRequest, { op: 'del' }>, generation: number, what: string): HookCode {
  const { file, wasm, fuel = HOOK_FUEL } = request;
  // A module is imported once for each URL.
  if (wasm === undefined) return { kind: 'js', url: `${pathToFileURL(file).href}?generation=${generation}` };
  try {
    return { kind: 'wasm', compiled: compileHook(wasm), fuel };
  } catch (error) {
    if (!(error instanceof VtepError)) throw error;
    throw new VtepError(error.code, `${what}: ${error.message}`);
  }
}
