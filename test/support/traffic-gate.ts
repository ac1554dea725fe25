/**
 * Which pairings run, and what happens where they cannot: kernel to kernel goes first as the control, for a test that
 * it does not pass says nothing about vxlane. VXLANE_TEST_PAIRINGS narrows the list (`kernel-kernel,vxlane-kernel`).
 */
import { after, before, describe } from 'node:test';
import { Bed, missingForKernelVxlan, missingForNamespaces, missingForTap } from './netns.ts';
import type { Kind } from './traffic-vtep.ts';

export type Pairing = readonly [Kind, Kind];

const ALL: readonly Pairing[] = [
  ['kernel', 'kernel'],
  ['vxlane', 'kernel'],
  ['kernel', 'vxlane'],
  ['vxlane', 'vxlane'],
];

const wanted = process.env.VXLANE_TEST_PAIRINGS?.split(',');

export const pairings = ALL.filter((pairing) => wanted?.includes(pairing.join('-')) ?? true);

/** Kinds under test on one side alone, the kernel first. */
export const kinds = (['kernel', 'vxlane'] as const).filter(
  (kind) => wanted === undefined || pairings.some((pairing) => pairing.includes(kind)),
);

const inCi = process.env.CI !== undefined && process.env.CI !== 'false' && process.env.CI !== '';
const namespaces = missingForNamespaces();
const missing = {
  kernel: namespaces ?? missingForKernelVxlan(),
  vxlane: namespaces ?? missingForTap(),
};

/** A suite with a bed of its own that is taken down after it. Skipped, or failed in CI, where it cannot run. */
export function suite(name: string, needs: readonly Kind[], body: (bed: Bed) => void): void {
  const reason = needs.map((kind) => missing[kind]).find((what) => what !== null) ?? null;
  describe(name, reason !== null && !inCi ? { skip: reason } : {}, () => {
    const bed = new Bed();
    before(() => {
      if (reason !== null) throw new Error(reason);
    });
    after(() => bed.close());
    body(bed);
  });
}
