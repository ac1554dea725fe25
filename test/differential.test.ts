/**
 * The kernel's vxlan device and vxlane's in twin namespaces: the same words and the same frames to both, and every
 * outer packet, delivered frame, FDB entry and counter compared. Outer packets may differ in IP id and source port
 * alone, whose range and checksums are verified by themselves. The summary at the end names what differs and why.
 *
 *   VXLANE_TEST_SEED=n      repeats a run: the seed is printed at the end
 *   VXLANE_TEST_SETS=text   only the sets whose name or branch has this in it
 *   VXLANE_TEST_OFFLOADS=words  what else to say of each of vxlane's devices: `gso off gro off`; interop.test.ts takes it, too
 *   VXLANE_TEST_SINGLY=1    counters and FDB after each case, to find the one that makes them differ
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Divergence, OptionSet } from './support/differential-cases.ts';
import { cornerSets } from './support/differential-corners.ts';
import { decapSets } from './support/differential-decap.ts';
import { SEED } from './support/differential-dice.ts';
import { encapSets } from './support/differential-encap.ts';
import { entrySets } from './support/differential-entries.ts';
import { flowSets } from './support/differential-flows.ts';
import { groupSets } from './support/differential-groups.ts';
import { KNOWN, NOT_COMPARED } from './support/differential-known.ts';
import { manySets } from './support/differential-many.ts';
import { neighbourSets } from './support/differential-neighbours.ts';
import { pathSets } from './support/differential-paths.ts';
import { Report } from './support/differential-report.ts';
import { play } from './support/differential-run.ts';
import { settingSets } from './support/differential-settings.ts';
import { makeTwin, type Twin } from './support/differential-twins.ts';
import { suite } from './support/traffic-gate.ts';

const CASES_MIN = 2000;
const SHOWN = 5;
const only = process.env.VXLANE_TEST_SETS;
const sets = [
  ...encapSets(),
  ...entrySets(),
  ...decapSets(),
  ...settingSets(),
  ...flowSets(),
  ...neighbourSets(),
  ...pathSets(),
  ...groupSets(),
  ...manySets(),
  ...cornerSets(),
].filter(({ name, branch }) => only === undefined || name.includes(only) || branch.includes(only));

/** The set with a round for each case. */
function singly(set: OptionSet): OptionSet {
  const rounds = set.rounds.flatMap((round) =>
    round.cases.map((entry, i) => {
      const name = `${round.name}, ${entry.name}`;
      return { name, cases: [entry], ...(i === 0 && round.before ? { before: round.before } : {}) };
    }),
  );
  return { ...set, rounds };
}

function told(divergences: readonly Divergence[]): string {
  const shown = divergences.slice(0, SHOWN).map(({ round, case: entry, subject, text }) => {
    return `${round}${entry === undefined ? '' : `, ${entry}`}: ${subject}: ${text}`;
  });
  return `${divergences.length} divergences, seed ${SEED}\n${shown.join('\n\n')}`;
}

suite('the kernel and vxlane', ['kernel', 'vxlane'], (bed) => {
  const report = new Report(KNOWN);
  let kernel: Twin;
  let vxlane: Twin;
  const started = performance.now();
  before(async () => {
    [kernel, vxlane] = await Promise.all([makeTwin(bed, 'kernel'), makeTwin(bed, 'vxlane')]);
  });

  for (const set of sets)
    test(`do the same: ${set.name}`, async (t) => {
      const wanted = process.env.VXLANE_TEST_SINGLY ? singly(set) : set;
      let outcome = await play(wanted, kernel, vxlane);
      // On a busy machine vxlane gives up learning from a frame, and counts that: the kernel's lock has no such limit.
      for (let tries = 0; tries < 5 && outcome.unlearned > 0 && outcome.divergences.length > 0; tries++) {
        t.diagnostic(`played again: ${outcome.unlearned} frames were not learned from`);
        outcome = await play(wanted, kernel, vxlane);
      }
      assert.equal(outcome.refused, undefined, 'vxlane refuses what the kernel does');
      const unknown = report.add(outcome);
      assert.equal(unknown.length, 0, told(unknown));
    });

  test('summary', (t) => {
    for (const line of report.lines()) t.diagnostic(line);
    for (const line of NOT_COMPARED) t.diagnostic(`not compared: ${line}`);
    const seconds = (performance.now() - started) / 1e3;
    t.diagnostic(`${report.cases} cases in ${seconds.toFixed(1)} s; VXLANE_TEST_SEED=${SEED} repeats them`);
    if (only === undefined) assert.ok(report.cases >= CASES_MIN, `${report.cases} cases`);
  });
});
