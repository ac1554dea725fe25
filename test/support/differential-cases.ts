/** What the differential suite is made of: cases in rounds in option sets, and what comes of playing them. */
import type { Kind } from './traffic-vtep.ts';

/** The far end, as a place where frames go in. */
export const WIRE = 'wire';

/** One frame, or some that belong together, sent to both twins. */
export interface Case {
  name: string;
  /** The row of the summary that it counts in; the set's unless given. */
  branch?: string;
  /** Where it goes in: an interface of the host (the device, unless given), or the far end's wire. */
  at?: string | Readonly<Record<Kind, string>>;
  /** Mark of the kernel's socket buffer: the group policy, which vxlane is told in words. */
  mark?: number;
  /** The VTEP chooses the remote by the flow: outer destinations may differ. */
  choice?: boolean;
  /** The inner checksum may be left for the interface to fill in; it is verified where it is not. */
  unfinished?: boolean;
  frames(number: number, twin: Played): Uint8Array[];
}

/** The twin that a frame is for. */
export interface Played {
  kind: Kind;
  /** The outer packet that it sent last, whole: what a router on the way answers. */
  last: Uint8Array;
}

/** Cases between which nobody looks: their numbers begin at 1. */
export interface Round {
  name: string;
  /** Lines of `ip` or `bridge` words for both twins; they must be carried out or refused by both. */
  before?: readonly string[];
  /** Lines for vxlane alone, where the kernel has no words for it. */
  vxlaneBefore?: readonly string[];
  cases: readonly Case[];
  /** Milliseconds to wait when all is sent, for what a timer does. */
  waitMs?: number;
  /** What must hold of vxlane's outer packets beside; the fault, or null. */
  judge?(wire: ReadonlyMap<number, Uint8Array[]>): string | null;
}

/** A device with its options, and what is done to it. */
export interface OptionSet {
  name: string;
  branch: string;
  /** Lines for both twins, or for each its own where the kernel's word for the same thing is another. */
  setup: readonly string[] | Readonly<Record<Kind, readonly string[]>>;
  rounds: readonly Round[];
  /** What the setup leaves outside the device, in both twins. */
  teardown?: readonly string[];
  /** Range that the source ports of outer packets must lie in; the host's ephemeral ports unless given. */
  sourcePorts?: readonly [number, number];
  /** The devices that are watched; vx0 alone unless given. */
  devices?: readonly string[] | Readonly<Record<Kind, readonly string[]>>;
  /** Only the wire is compared: what is above it differs on purpose. */
  wireOnly?: boolean;
  /** Nothing is expected to pass: a set where the kernel passes nothing compares nothing. */
  silent?: boolean;
}

export type Subject = 'command' | 'wire' | 'overlay' | 'FDB' | 'counters' | 'events' | 'outer packet';

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
  /** Frames that vxlane did not learn from, as it counts itself: a thread held the FDB that had lost its core. */
  unlearned: number;
  /** Set when vxlane refused what the kernel did in the setup. */
  refused?: string;
}
