/** Plays rounds to one twin and says what was seen of it. */
import type { Case } from './differential-cases.ts';
import { WIRE } from './differential-cases.ts';
import { byCase, comparableCounts, onWire, type Seen, sorted, total } from './differential-compare.ts';
import { caseOf } from './differential-frames.ts';
import { Tap } from './differential-tap.ts';
import { DEVICE, type Twin } from './differential-twins.ts';
import { tunnelPacket } from './traffic-packets.ts';
import { type Kind, UNDERLAY } from './traffic-vtep.ts';

const WITHIN_MS = 1500;
const PACE_US = 20;

export interface Frames {
  wire: Seen;
  /** By device. */
  overlay: readonly Seen[];
}

/** What one twin showed in one round. */
export interface View extends Frames {
  /** One line for each remote. */
  fdb: string[];
  /** What the monitors said in the round. */
  events: string[];
  /** By how much the counters have grown in the round. */
  counts: Record<string, number>;
}

/** Cases that go out together by one end, with their numbers. */
export interface Burst {
  end: Readonly<Record<Kind, string>>;
  mark: number;
  cases: [number, Case][];
}

/** The cases in the order of their list: runs of the same end go out together. */
export function burstsOf(cases: readonly Case[]): Burst[] {
  const bursts: Burst[] = [];
  for (const [i, entry] of cases.entries()) {
    const { at = DEVICE, mark = 0 } = entry;
    const end = typeof at === 'string' ? { kernel: at, vxlane: at } : at;
    const last = bursts.at(-1);
    const same = last?.end.kernel === end.kernel && last.end.vxlane === end.vxlane && last.mark === mark;
    if (same) last.cases.push([i + 1, entry]);
    else bursts.push({ end, mark, cases: [[i + 1, entry]] });
  }
  return bursts;
}

export class Player {
  readonly twin: Twin;
  readonly devices: readonly string[];
  #counted: Record<string, number> = {};
  #latest: Record<string, number> = {};
  #last: Uint8Array = new Uint8Array(0);
  #events: string[] = [];
  #wire!: Tap;
  #overlay: Tap[] = [];

  constructor(twin: Twin, devices: readonly string[]) {
    this.twin = twin;
    this.devices = devices;
  }

  async open(): Promise<void> {
    this.#wire = await Tap.open(this.twin.far, UNDERLAY);
    for (const device of this.devices) this.#overlay.push(await Tap.open(this.twin.host, device));
  }

  async close(): Promise<void> {
    for (const tap of [this.#wire, ...this.#overlay]) await tap.close();
  }

  async send({ end, mark, cases }: Burst): Promise<void> {
    const { host, far, kind } = this.twin;
    const frames = cases.flatMap(([number, entry]) => entry.frames(number, { kind, last: this.#last }));
    const pace = { paceUs: PACE_US, mark: kind === 'kernel' ? mark : 0 };
    if (end[kind] === WIRE) await far.agent.call('inject', UNDERLAY, frames, pace);
    else await host.agent.call('inject', end[kind], frames, pace);
  }

  /** Waits until as much has come as in `other`. */
  async settle(other: Frames, quietMs: number): Promise<void> {
    await Promise.all([
      this.#wire.settle(total(other.wire), quietMs, WITHIN_MS),
      ...this.#overlay.map((tap, i) => tap.settle(total(other.overlay[i]!), quietMs, WITHIN_MS)),
    ]);
  }

  /** What has come so far, without taking it. */
  async frames(quietMs = 0): Promise<Frames> {
    const taps = [this.#wire, ...this.#overlay];
    const [wire, ...overlay] = await Promise.all(taps.map((tap) => tap.settle(0, quietMs, WITHIN_MS)));
    this.#last = wire!.findLast(({ data }) => tunnelPacket(data) !== undefined)?.data ?? this.#last;
    return { wire: onWire(wire!), overlay: overlay.map((frames) => byCase(frames, caseOf)) };
  }

  async view(seen: Frames): Promise<View> {
    const fdb: string[] = [];
    const now: Record<string, number> = {};
    for (const device of this.devices) {
      const prefix = this.devices.length === 1 ? '' : `${device} `;
      const [rows, counts] = await Promise.all([this.twin.fdb(device), this.twin.counts(device)]);
      fdb.push(...rows.map((row) => prefix + sorted(row)));
      for (const [kind, value] of Object.entries(comparableCounts(counts))) now[prefix + kind] = value;
    }
    const grown: Record<string, number> = {};
    for (const [kind, value] of Object.entries(now)) {
      const more = value - (this.#counted[kind] ?? 0);
      if (more !== 0) grown[kind] = more;
    }
    this.#latest = now;
    this.#events.push(...this.twin.events());
    return { ...seen, fdb, counts: grown, events: [...this.#events] };
  }

  /** The next round's frames and counters are counted from here. */
  endRound(): void {
    for (const tap of [this.#wire, ...this.#overlay]) tap.take();
    this.#counted = this.#latest;
    this.#events = [];
  }
}

/** By how much has come. */
export const stateOf = ({ wire, overlay, counts, events, fdb }: View): string =>
  [total(wire), ...overlay.map(total), sorted(counts), events.length, fdb.join()].join();

/** Does one twin lack what the other has? It may be on its way. */
export function isLate(right: View, seen: View): boolean {
  return (
    total(seen.wire) !== total(right.wire) ||
    seen.overlay.some((frames, i) => total(frames) !== total(right.overlay[i]!)) ||
    sorted(seen.counts) !== sorted(right.counts) ||
    seen.events.length !== right.events.length ||
    seen.fdb.join() !== right.fdb.join()
  );
}
