/**
 * Plays a set of cases to both twins and compares all that can be seen of them: outer packets, delivered frames, the
 * FDB and the counters after each round. The kernel goes first in every comparison, for it says what is right.
 */
import type { Case, OptionSet, Outcome, Round, Subject } from './differential-cases.ts';
import { differing, differingLines, isUnfinished, sorted, total, wrong } from './differential-compare.ts';
import { burstsOf, type Frames, isLate, Player, stateOf } from './differential-player.ts';
import { DEVICE, type Twin } from './differential-twins.ts';
import { hexdump } from './traffic-frames.ts';
import { comparable, faults, network } from './traffic-packets.ts';

const EPHEMERAL = [32768, 60999] as const;
const KERNEL_QUIET_MS = 10;
const VXLANE_QUIET_MS = 15;
const SECOND_LOOK_MS = 300;
/** What is said to the kernel, and heard by a VTEP that follows its tables. */
const FOLLOWED = /^(neigh|nexthop|route|addr|sysctl) /;
const FOLLOW_MS = 150;
/** Monitors write to a pipe: what they say is there a little later. */
const EVENTS_MS = 15;
const REMOVAL_LOOKS = 60;
const SECOND_LOOKS = 5;

export async function play(set: OptionSet, kernel: Twin, vxlane: Twin): Promise<Outcome> {
  const outcome: Outcome = { tally: new Map(), divergences: [], unlearned: 0 };
  const { setup, teardown = [] } = set;
  try {
    for (const twin of [kernel, vxlane]) {
      const lines = 'kernel' in setup ? setup[twin.kind] : setup;
      for (const line of lines) {
        const { code, err } = await twin.command(line);
        if (code === 0) continue;
        if (twin === kernel) throw new Error(`${set.name}: the kernel refuses "${line}": ${err}`);
        outcome.refused = `${line}: ${err.trim()}`;
        return outcome;
      }
      if (lines.some((line) => FOLLOWED.test(line))) await sleep(FOLLOW_MS);
    }
    await playRounds(
      set,
      [new Player(kernel, devicesOf(set, kernel)), new Player(vxlane, devicesOf(set, vxlane))],
      outcome,
    );
    outcome.unlearned = await vxlane.unlearned();
    await compareRemoval(set, kernel, vxlane, outcome);
    return outcome;
  } finally {
    for (const twin of [kernel, vxlane]) {
      for (const line of [...devicesOf(set, twin).map((device) => `link del ${device}`), ...teardown])
        await twin.command(line);
    }
    await sleep(EVENTS_MS);
    for (const twin of [kernel, vxlane]) twin.events();
    vxlane.assertAlive();
  }
}

function devicesOf({ devices = [DEVICE] }: OptionSet, { kind }: Twin): readonly string[] {
  return 'kernel' in devices ? devices[kind] : devices;
}

/** The devices go, and their tables with them. */
async function compareRemoval(set: OptionSet, kernel: Twin, vxlane: Twin, outcome: Outcome): Promise<void> {
  const heard: [string[], string[]] = [[], []];
  for (const [i, twin] of [kernel, vxlane].entries())
    for (const device of devicesOf(set, twin)) {
      const { code, err } = await twin.command(`link del ${device}`);
      if (code !== 0) throw new Error(`${set.name}: link del ${device}: ${err}`);
      heard[i]!.push(...twin.events());
    }
  for (let looks = 0; looks < REMOVAL_LOOKS; looks++) {
    await sleep(EVENTS_MS);
    for (const [i, twin] of [kernel, vxlane].entries()) heard[i]!.push(...twin.events());
    if (heard[0].length === heard[1].length) break;
  }
  rowOf(outcome, set.branch).states++;
  const text = set.wireOnly ? null : differingLines(heard[0], heard[1]);
  if (text === null) return;
  outcome.divergences.push({ set: set.name, round: 'removal', branch: set.branch, subject: 'events', text });
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

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
  players: [Player, Player],
  outcome: Outcome,
): Promise<number> {
  const report = (subject: Subject, text: string, entry?: Case) => {
    const branch = entry?.branch ?? set.branch;
    const where = { set: set.name, round: round.name, branch, subject, text };
    outcome.divergences.push(entry ? { ...where, case: entry.name } : where);
  };
  const [kernel, vxlane] = players;
  for (const line of round.before ?? []) {
    const [right, seen] = await Promise.all([kernel.twin.command(line), vxlane.twin.command(line)]);
    if ((right.code === 0) === (seen.code === 0)) continue;
    const said = `kernel ${right.code} ${right.err.trim()}; vxlane ${seen.code} ${seen.err.trim()}`;
    report('command', `${line}: ${said}`);
  }
  for (const line of round.vxlaneBefore ?? []) {
    const { code, err } = await vxlane.twin.command(line);
    if (code !== 0) report('command', `${line}: ${err.trim()}`);
  }
  if (round.before?.some((line) => FOLLOWED.test(line))) await sleep(FOLLOW_MS);

  const { wanted, given } = await observe(round, players);
  for (const player of players) player.endRound();
  vxlane.twin.assertAlive();

  const range = set.sourcePorts ?? EPHEMERAL;
  for (const [i, entry] of [...round.cases, undefined].entries()) {
    // What bears no case's number is compared as a whole.
    const number = entry === undefined ? -1 : i + 1;
    const before = outcome.divergences.length;
    const packets = given.wire.get(number) ?? [];
    const shown = entry?.choice ? withoutDestination : comparable;
    const wire = differing(wanted.wire.get(number) ?? [], packets, shown);
    if (wire !== null) report('wire', wire, entry);
    if (!set.wireOnly)
      for (const [index, frames] of wanted.overlay.entries()) {
        const other = given.overlay[index]!.get(number) ?? [];
        const finished = entry?.unfinished ? withoutChecksum : (bytes: Uint8Array) => bytes;
        const overlay = differing(frames.get(number) ?? [], other, finished);
        if (overlay !== null) report('overlay', overlay, entry);
        const bad =
          entry?.unfinished && other.find((frame) => !isUnfinished(frame) && hasWrongChecksum(frame));
        if (bad) report('overlay', `${faults(bad).join()}\n${hexdump(bad)}`, entry);
      }
    const fault = wrong(packets, range);
    if (fault !== null) report('outer packet', fault, entry);
    if (entry === undefined) continue;
    const row = rowOf(outcome, entry.branch ?? set.branch);
    row.cases++;
    if (outcome.divergences.length === before) row.equal++;
  }
  const judged = round.judge?.(given.wire) ?? null;
  if (judged !== null) report('outer packet', judged);
  if (!set.wireOnly) {
    const fdb = differingLines(wanted.fdb, given.fdb);
    if (fdb !== null) report('FDB', fdb);
    const [counted, other] = [sorted(wanted.counts), sorted(given.counts)];
    if (counted !== other) report('counters', `kernel ${counted}\nvxlane ${other}`);
    const events = differingLines(wanted.events, given.events);
    if (events !== null) report('events', events);
    rowOf(outcome, set.branch).states += 3;
  }
  return total(wanted.wire) + wanted.overlay.reduce((sum, frames) => sum + total(frames), 0);
}

function rowOf({ tally }: Outcome, branch: string) {
  const row = tally.get(branch) ?? { cases: 0, equal: 0, states: 0 };
  tally.set(branch, row);
  return row;
}

/** Sends the round's frames and looks at what has come of them, again where one twin seems to lack something. */
async function observe({ cases, waitMs = 0 }: Round, [kernel, vxlane]: [Player, Player]) {
  const none = (player: Player): Frames => ({
    wire: new Map(),
    overlay: player.devices.map(() => new Map()),
  });
  let [right, seen] = [none(kernel), none(vxlane)];
  // A burst is dealt with before the next one: what one teaches, the other uses.
  for (const burst of burstsOf(cases)) {
    await Promise.all([kernel.send(burst), vxlane.send(burst)]);
    right = await kernel.frames(KERNEL_QUIET_MS);
    await vxlane.settle(right, VXLANE_QUIET_MS);
    seen = await vxlane.frames();
  }
  if (waitMs > 0) await sleep(waitMs);
  let [wanted, given] = await Promise.all([kernel.view(right), vxlane.view(seen)]);
  for (let looks = 0, before = ''; looks < SECOND_LOOKS && isLate(wanted, given); looks++) {
    // As long as something still comes, of the kernel's too: its packets wait for a core like everybody's.
    const state = stateOf(wanted) + stateOf(given);
    if (state === before) break;
    before = state;
    [right, seen] = await Promise.all([kernel.frames(SECOND_LOOK_MS), vxlane.frames(SECOND_LOOK_MS)]);
    [wanted, given] = await Promise.all([kernel.view(right), vxlane.view(seen)]);
  }
  return { wanted, given };
}

/** What is cut short has nothing to verify. */
const hasWrongChecksum = (frame: Uint8Array) => faults(frame).some((fault) => fault.endsWith('checksum'));

/** Of a frame whose transport checksum may be finished or not. */
function withoutChecksum(frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  const { at, type } = network(copy);
  const l4 = at + (type === 0x0800 ? 20 : 40);
  const protocol = copy[type === 0x0800 ? at + 9 : at + 6];
  const field = l4 + (protocol === 6 ? 16 : 6);
  copy.fill(0, field, field + 2);
  return copy;
}

/** Of an outer packet whose remote the VTEP has chosen among several: its IP destination is blanked. */
function withoutDestination(packet: Uint8Array): Uint8Array {
  const copy = comparable(packet);
  const { at, type } = network(copy);
  if (type === 0x0800) copy.fill(0, at + 16, at + 20);
  else copy.fill(0, at + 24, at + 40);
  return copy;
}
