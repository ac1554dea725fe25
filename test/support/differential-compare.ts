/** How two views of the same round differ: packets by their case, counters by their kind, FDB line by line. */
import type { CapturedFrame } from './capture.ts';
import { caseOf } from './differential-frames.ts';
import { hexdump } from './traffic-frames.ts';
import { difference, faults, network, tunnelPacket } from './traffic-packets.ts';

const DUMPED_BYTES = 160;
const DUMPED_PACKETS = 3;

/** Outer packets by the case that they carry, fragments behind their first. */
export type Seen = Map<number, Uint8Array[]>;

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

const unfinished = new WeakSet<Uint8Array>();

/** Was the frame captured before its checksum was filled in? */
export const isUnfinished = (frame: Uint8Array) => unfinished.has(frame);

export function byCase(frames: readonly CapturedFrame[], numberOf: (data: Uint8Array) => number): Seen {
  const seen: Seen = new Map();
  for (const { data, checksumNotReady } of frames) {
    if (checksumNotReady) unfinished.add(data);
    const number = numberOf(data);
    seen.set(number, [...(seen.get(number) ?? []), data]);
  }
  return seen;
}

export function onWire(frames: readonly CapturedFrame[]): Seen {
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

export const total = (seen: Seen) => [...seen.values()].reduce((sum, frames) => sum + frames.length, 0);

/** How the lists differ, or null. */
export function differing(
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
export function wrong(packets: readonly Uint8Array[], [low, high]: readonly [number, number]): string | null {
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

export const sorted = (record: Record<string, unknown>) =>
  JSON.stringify(Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))));

export function differingLines(kernel: readonly string[], vxlane: readonly string[]): string | null {
  if (kernel.join('\n') === vxlane.join('\n')) return null;
  const only = (left: readonly string[], right: readonly string[]) =>
    left.filter((line) => !right.includes(line));
  const [lost, more] = [only(kernel, vxlane), only(vxlane, kernel)];
  if (lost.length + more.length === 0)
    return `in another order: kernel\n${kernel.join('\n')}\nvxlane\n${vxlane.join('\n')}`;
  return [...lost.map((line) => `kernel: ${line}`), ...more.map((line) => `vxlane: ${line}`)].join('\n');
}
