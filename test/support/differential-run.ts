/**
 * Plays a set of cases to both twins and compares all that can be seen of them: outer packets, delivered frames, the
 * FDB and the counters after each round. The kernel goes first in every comparison, for it says what is right.
 */
import type { CapturedFrame } from './capture.ts';
import { caseOf } from './differential-frames.ts';
import { DEVICE, type FdbRow, Tap, type Twin } from './differential-twins.ts';
import { hexdump } from './traffic-frames.ts';
import { comparable, difference, faults, network, tunnelPacket } from './traffic-packets.ts';
import { UNDERLAY } from './traffic-vtep.ts';

/** One frame, or some that belong together, sent to both twins. */
export interface Case {
  name: string;
  /** The row of the summary that it counts in; the set's unless given. */
  branch?: string;
  /** Into the device, from above (the default), or onto the wire towards the host. */
  at?: 'overlay' | 'underlay';
  frames(number: number): Uint8Array[];
}

/** Cases between which nobody looks: their numbers begin at 1. */
export interface Round {
  name: string;
  /** Lines of `ip` or `bridge` words for both twins; they must be carried out or refused by both. */
  before?: readonly string[];
  cases: readonly Case[];
  /** Milliseconds to wait when all is sent, for what a timer does. */
  waitMs?: number;
}

/** A device with its options, and what is done to it. */
export interface OptionSet {
  name: string;
  branch: string;
  setup: readonly string[];
  rounds: readonly Round[];
  /** What the setup leaves outside the device, in both twins. */
  teardown?: readonly string[];
  /** Range that the source ports of outer packets must lie in; the host's ephemeral ports unless given. */
  sourcePorts?: readonly [number, number];
  /** Nothing is expected to pass: a set where the kernel passes nothing compares nothing. */
  silent?: boolean;
}

export type Subject = 'command' | 'wire' | 'overlay' | 'FDB' | 'counters' | 'source port';

/** One thing in which the twins differ. */
export interface Divergence {
  set: string;
  round: string;
  /** Absent for what concerns a round as a whole. */
  case?: string;
  branch: string;
  subject: Subject;
  text: string;
}

export interface Outcome {
  /** By branch: cases played, of which equal, and states (FDB and counters) compared. */
  tally: Map<string, { cases: number; equal: number; states: number }>;
  divergences: Divergence[];
  /** Set when vxlane refused what the kernel did in the setup. */
  refused?: string;
}

const EPHEMERAL = [32768, 60999] as const;
const KERNEL_QUIET_MS = 25;
const VXLANE_QUIET_MS = 25;
const WITHIN_MS = 1500;
const SECOND_LOOK_MS = 300;
const PACE_US = 20;
const DUMPED_BYTES = 160;
const DUMPED_PACKETS = 3;

/** Outer packets by the case that they carry, fragments behind their first. */
type Seen = Map<number, Uint8Array[]>;

function carriesUdp(packet: Uint8Array): boolean {
  const { at, type } = network(packet);
  if (type === 0x0800) return packet[at + 9] === 17;
  return type === 0x86dd && (packet[at + 6] === 17 || packet[at + 6] === 44);
}

/** What the fragments of one IPv4 packet have in common. */
function fragmentKey(packet: Uint8Array): string | undefined {
  const { at, type } = network(packet);
  const fragment = ((packet[at + 6] ?? 0) << 8) | (packet[at + 7] ?? 0);
  if (type !== 0x0800 || (fragment & 0x3fff) === 0) return undefined;
  return Buffer.from(packet.subarray(at + 4, at + 6)).toString('hex');
}

function byCase(frames: readonly CapturedFrame[], numberOf: (data: Uint8Array) => number): Seen {
  const seen: Seen = new Map();
  for (const { data } of frames) {
    const number = numberOf(data);
    seen.set(number, [...(seen.get(number) ?? []), data]);
  }
  return seen;
}

function onWire(frames: readonly CapturedFrame[]): Seen {
  const whose = new Map<string, number>();
  return byCase(
    frames.filter(({ data }) => carriesUdp(data)),
    (data) => {
      const key = fragmentKey(data);
      const packet = tunnelPacket(data);
      const number = packet ? caseOf(packet.inner) : (whose.get(key ?? '') ?? -1);
      if (packet && key !== undefined) whose.set(key, number);
      return number;
    },
  );
}

interface Frames {
  wire: Seen;
  overlay: Seen;
}

/** What one twin showed in one round. */
interface View extends Frames {
  fdb: FdbRow[];
  /** By how much the counters have grown in the round. */
  counts: Record<string, number>;
}

const total = (seen: Seen) => [...seen.values()].reduce((sum, frames) => sum + frames.length, 0);

/** Frames that go out together by one end. */
interface Burst {
  end: 'overlay' | 'underlay';
  frames: Uint8Array[];
}

/** The cases in the order of their list: runs of the same end go out together. */
function burstsOf(cases: readonly Case[]): Burst[] {
  const bursts: Burst[] = [];
  for (const [i, { at: end = 'overlay', frames }] of cases.entries()) {
    if (bursts.at(-1)?.end !== end) bursts.push({ end, frames: [] });
    bursts.at(-1)!.frames.push(...frames(i + 1));
  }
  return bursts;
}

class Player {
  readonly twin: Twin;
  #counted: Record<string, number> = {};
  #latest: Record<string, number> = {};
  #wire!: Tap;
  #overlay!: Tap;

  constructor(twin: Twin) {
    this.twin = twin;
  }

  async open(): Promise<void> {
    this.#wire = await Tap.open(this.twin.far, UNDERLAY);
    this.#overlay = await Tap.open(this.twin.host, DEVICE);
  }

  async close(): Promise<void> {
    await this.#wire.close();
    await this.#overlay.close();
  }

  async send({ end, frames }: Burst): Promise<void> {
    const { host, far } = this.twin;
    if (end === 'overlay') await host.agent.call('inject', DEVICE, frames, { paceUs: PACE_US });
    else await far.agent.call('inject', UNDERLAY, frames, { paceUs: PACE_US });
  }

  async settle(wire: number, overlay: number, quietMs: number): Promise<void> {
    await Promise.all([
      this.#wire.settle(wire, quietMs, WITHIN_MS),
      this.#overlay.settle(overlay, quietMs, WITHIN_MS),
    ]);
  }

  /** What has come so far, without taking it. */
  async frames(quietMs = 0): Promise<Frames> {
    const taps = [this.#wire, this.#overlay];
    const [wire, overlay] = await Promise.all(taps.map((tap) => tap.settle(0, quietMs, WITHIN_MS)));
    return { wire: onWire(wire!), overlay: byCase(overlay!, caseOf) };
  }

  async view(seen: Frames): Promise<View> {
    const [fdb, counts] = await Promise.all([this.twin.fdb(DEVICE), this.twin.counts(DEVICE)]);
    const now = comparableCounts(counts);
    const grown: Record<string, number> = {};
    for (const [kind, value] of Object.entries(now)) {
      const more = value - (this.#counted[kind] ?? 0);
      if (more !== 0) grown[kind] = more;
    }
    this.#latest = now;
    return { ...seen, fdb, counts: grown };
  }

  /** The next round's frames and counters are counted from here. */
  endRound(): void {
    this.#wire.take();
    this.#overlay.take();
    this.#counted = this.#latest;
  }
}

/** Does one twin lack what the other has? It may be on its way. */
function isLate(right: View, seen: View): boolean {
  return (
    total(seen.wire) !== total(right.wire) ||
    total(seen.overlay) !== total(right.overlay) ||
    sorted(seen.counts) !== sorted(right.counts) ||
    fdbLines(seen.fdb).join() !== fdbLines(right.fdb).join()
  );
}

/** How the lists differ, or null. */
function differing(
  kernel: readonly Uint8Array[],
  vxlane: readonly Uint8Array[],
  shown: (bytes: Uint8Array) => Uint8Array,
): string | null {
  if (kernel.length !== vxlane.length) {
    const longer = kernel.length > vxlane.length ? kernel : vxlane;
    const dump = longer.slice(0, DUMPED_PACKETS).map((bytes) => hexdump(bytes.subarray(0, DUMPED_BYTES)));
    const whose = longer === kernel ? 'kernel' : 'vxlane';
    return `${vxlane.length}, the kernel gives ${kernel.length}; ${whose}:\n${dump.join('\n--\n')}`;
  }
  for (const [i, packet] of kernel.entries()) {
    const where = difference(shown(packet), shown(vxlane[i]!), ['kernel', 'vxlane']);
    if (where !== null) return kernel.length > 1 ? `${i + 1} of ${kernel.length}: ${where}` : where;
  }
  return null;
}

/** What is wrong with outer packets by themselves. */
function wrong(packets: readonly Uint8Array[], [low, high]: readonly [number, number]): string | null {
  for (const data of packets) {
    const packet = tunnelPacket(data);
    const dump = () => hexdump(data.subarray(0, DUMPED_BYTES));
    if (packet && (packet.sourcePort < low || packet.sourcePort >= high))
      return `${packet.sourcePort} is not in ${low} to ${high - 1}\n${dump()}`;
    const fault = faults(data).find((what) => what !== 'UDP checksum is zero');
    if (fault !== undefined) return `${fault}\n${dump()}`;
  }
  return null;
}

/** Counted for the device by the stack behind it: the kernel adds its drops to the driver's own. */
const STACK = ['dropped', 'nohandler', 'otherhost'];

/** The kinds of counters that both have. */
export function comparableCounts(counts: unknown): Record<string, number> {
  const result: Record<string, number> = {};
  for (const [direction, kinds] of Object.entries(counts as Record<string, Record<string, number>>))
    for (const [kind, value] of Object.entries(kinds))
      if (value !== 0 && !(direction === 'rx' && STACK.includes(kind)))
        result[`${direction} ${kind}`] = value;
  return result;
}

const sorted = (record: Record<string, unknown>) =>
  JSON.stringify(Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))));

/** One line for each remote, keys in order, so that lists can be told apart line by line. */
export const fdbLines = (rows: readonly FdbRow[]) => rows.map((row) => sorted(row));

function differingLines(kernel: readonly string[], vxlane: readonly string[]): string | null {
  if (kernel.join('\n') === vxlane.join('\n')) return null;
  const only = (left: readonly string[], right: readonly string[]) =>
    left.filter((line) => !right.includes(line));
  const [lost, more] = [only(kernel, vxlane), only(vxlane, kernel)];
  if (lost.length + more.length === 0)
    return `in another order: kernel\n${kernel.join('\n')}\nvxlane\n${vxlane.join('\n')}`;
  return [...lost.map((line) => `kernel: ${line}`), ...more.map((line) => `vxlane: ${line}`)].join('\n');
}

export async function play(set: OptionSet, kernel: Twin, vxlane: Twin): Promise<Outcome> {
  const outcome: Outcome = { tally: new Map(), divergences: [] };
  const twins = [kernel, vxlane];
  try {
    for (const line of set.setup) {
      const [right, seen] = await Promise.all(twins.map((twin) => twin.command(line)));
      if (right!.code !== 0) throw new Error(`${set.name}: the kernel refuses "${line}": ${right!.err}`);
      if (seen!.code === 0) continue;
      outcome.refused = `${line}: ${seen!.err.trim()}`;
      return outcome;
    }
    await playRounds(set, [new Player(kernel), new Player(vxlane)], outcome);
    return outcome;
  } finally {
    for (const twin of twins) {
      await twin.command(`link del ${DEVICE}`);
      for (const line of set.teardown ?? []) await twin.command(line);
    }
    vxlane.assertAlive();
  }
}

async function playRounds(set: OptionSet, players: [Player, Player], outcome: Outcome): Promise<void> {
  let passed = 0;
  for (const player of players) await player.open();
  try {
    for (const round of set.rounds) passed += await playRound(set, round, players, outcome);
  } finally {
    for (const player of players) await player.close();
  }
  if (passed === 0 && !set.silent) throw new Error(`${set.name}: the kernel passes nothing`);
}

/** @returns how many frames the kernel passed */
async function playRound(
  set: OptionSet,
  round: Round,
  [kernel, vxlane]: [Player, Player],
  outcome: Outcome,
): Promise<number> {
  const report = (subject: Subject, text: string, entry?: Case) => {
    const branch = entry?.branch ?? set.branch;
    const where = { set: set.name, round: round.name, branch, subject, text };
    outcome.divergences.push(entry ? { ...where, case: entry.name } : where);
  };
  for (const line of round.before ?? []) {
    const [right, seen] = await Promise.all([kernel.twin.command(line), vxlane.twin.command(line)]);
    if ((right.code === 0) !== (seen.code === 0))
      report(
        'command',
        `${line}: kernel ${right.code} ${right.err.trim()}; vxlane ${seen.code} ${seen.err.trim()}`,
      );
  }
  let right: Frames = { wire: new Map(), overlay: new Map() };
  let seen = right;
  // A burst is dealt with before the next one: what one teaches, the other uses.
  for (const burst of burstsOf(round.cases)) {
    await Promise.all([kernel.send(burst), vxlane.send(burst)]);
    right = await kernel.frames(KERNEL_QUIET_MS);
    await vxlane.settle(total(right.wire), total(right.overlay), VXLANE_QUIET_MS);
    seen = await vxlane.frames();
  }
  if (round.waitMs !== undefined) await new Promise((done) => setTimeout(done, round.waitMs));
  let [wanted, given] = await Promise.all([kernel.view(right), vxlane.view(seen)]);
  if (isLate(wanted, given)) {
    seen = await vxlane.frames(SECOND_LOOK_MS);
    [wanted, given] = await Promise.all([kernel.view(right), vxlane.view(seen)]);
  }
  for (const player of [kernel, vxlane]) player.endRound();
  vxlane.twin.assertAlive();

  const range = set.sourcePorts ?? EPHEMERAL;
  const tally = (branch: string) => {
    const row = outcome.tally.get(branch) ?? { cases: 0, equal: 0, states: 0 };
    outcome.tally.set(branch, row);
    return row;
  };
  for (const [i, entry] of [...round.cases, undefined].entries()) {
    // What bears no case's number is compared as a whole.
    const number = entry === undefined ? -1 : i + 1;
    const before = outcome.divergences.length;
    const packets = given.wire.get(number) ?? [];
    const wire = differing(wanted.wire.get(number) ?? [], packets, comparable);
    if (wire !== null) report('wire', wire, entry);
    const overlay = differing(
      wanted.overlay.get(number) ?? [],
      given.overlay.get(number) ?? [],
      (bytes) => bytes,
    );
    if (overlay !== null) report('overlay', overlay, entry);
    const fault = wrong(packets, range);
    if (fault !== null) report('source port', fault, entry);
    if (entry === undefined) continue;
    const row = tally(entry.branch ?? set.branch);
    row.cases++;
    if (outcome.divergences.length === before) row.equal++;
  }
  const fdb = differingLines(fdbLines(wanted.fdb), fdbLines(given.fdb));
  if (fdb !== null) report('FDB', fdb);
  const [counted, other] = [sorted(wanted.counts), sorted(given.counts)];
  if (counted !== other)
    report(
      'counters',
      `kernel ${counted}
vxlane ${other}`,
    );
  tally(set.branch).states += 2;
  return total(wanted.wire) + total(wanted.overlay);
}
