/** In what vxlane differs from the kernel's device and why: whatever is not in this list fails the suite. */
import type { Divergence } from './differential-cases.ts';
import type { Known } from './differential-report.ts';

const at =
  (set: string, subject: Divergence['subject'], round?: string) =>
  (found: Divergence): boolean =>
    found.set.startsWith(set) && found.subject === subject && (round === undefined || found.round === round);

export const KNOWN: readonly Known[] = [
  {
    name: 'cached-source',
    reason:
      "after `local` changes, the kernel's IPv6 sends from the old address until its cached route goes; vxlane takes the new one at once",
    matches: at('local changed while the route is cached', 'wire', 'changed'),
  },
  {
    name: 'bypass-tag',
    reason:
      "the kernel's bypass takes the tag of a frame from a packet socket out of the wrong bytes; vxlane hands the frame on as it is",
    matches: at('tagged frames to a remote that is this host', 'overlay'),
  },
  {
    name: 'refused-replace',
    reason:
      'the kernel refuses to replace a multicast entry when it has changed its flags already; vxlane changes nothing',
    matches: (found) =>
      found.set === 'a replace that is refused' && (found.subject === 'FDB' || found.subject === 'events'),
  },
  {
    name: 'ageing-order',
    reason: 'entries that expire together go newest first in the kernel, in the order of the table in vxlane',
    matches: (found) =>
      found.set === 'entries that age' &&
      found.subject === 'events' &&
      found.text.startsWith('in another order'),
  },
  {
    name: 'learning-order',
    reason:
      'frames that come at once leave sorted by flow, each flow in its order, so that others learn their sources in that order',
    matches: (found) =>
      found.set.startsWith('a remote that is this host, nolocalbypass') &&
      (found.subject === 'FDB' || found.subject === 'events') &&
      found.text.startsWith('in another order'),
  },
  {
    name: 'via-moves',
    reason:
      'an entry made with `via` has another interface than its frames: the kernel tells of a move to the same address with each of them, vxlane of none',
    matches: (found) =>
      found.set.startsWith('learning and moves') &&
      found.round === 'known as "dynamic via ens224"' &&
      found.subject === 'events',
  },
  {
    name: 'empty-frame-counted',
    reason:
      'the kernel sends a frame that ends with its Ethernet header and counts it as dropped; vxlane counts it as sent',
    matches: at('nothing behind the Ethernet header', 'counters'),
  },
];

/** What is left out of every comparison, and why. */
export const NOT_COMPARED: readonly string[] = [
  'IP id and source port: the kernel draws them; vxlane has some sixty ports of the range open for each source address, flows share them',
  'rx dropped, nohandler and otherhost: the stack behind the device counts there what nobody wanted; of a TAP that is in `ip -s link`',
  'used and updated of FDB entries: seconds that pass between two looks',
];
