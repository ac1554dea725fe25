/** In what vxlane differs from the kernel's device and why: whatever is not in this list fails the suite. */
import type { Known } from './differential-report.ts';

export const KNOWN: readonly Known[] = [];
