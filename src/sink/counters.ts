/** What the sink counts, by name: the numbers of assembly/sink-layout.ts in their order. */
import { SINK_COUNTER_COUNT, SINK_COUNTERS_BASE } from '../../assembly/sink-layout.ts';

export const SINK_COUNTER_NAMES = [
  'datagrams',
  'datagram_octets',
  'messages',
  'packets',
  'packet_octets',
  'truncated',
  'snapped',
  'reserved_bits',
  'drop_short_datagram',
  'drop_no_vni_flag',
  'drop_gpe',
  'drop_geneve',
  'drop_short_inner_frame',
  'drop_vni',
  'drop_filter',
  'drop_interfaces',
  'drop_truncated',
  'drop_tap_write',
] as const;

/** Name of a counter of the sink; `SinkCounters` tells what each counts. */
export type SinkCounter = (typeof SINK_COUNTER_NAMES)[number];

/**
 * - `datagrams`, `datagram_octets`: UDP payloads received; `messages`: system messages they came in
 * - `packets`, `packet_octets`: inner packets kept, with their length before anybody cut them
 * - `truncated`: cut by the mirror or the path, told by the inner IP header; `snapped`: cut by `snaplen`
 * - `reserved_bits`: kept, though bits of the VXLAN header beyond I and VNI were set
 * - `drop_...`: lost, and why
 */
export type SinkCounters = Record<SinkCounter, number>;

/** The counters of a sink's memory. */
export function readCounters(view: DataView): SinkCounters {
  const pairs = SINK_COUNTER_NAMES.map((name, index) => [
    name,
    Number(view.getBigUint64(SINK_COUNTERS_BASE + index * 8, true)),
  ]);
  return Object.fromEntries(pairs) as SinkCounters;
}

export function bump(view: DataView, counter: number, by = 1): void {
  if (counter >= SINK_COUNTER_COUNT) throw new RangeError(`counter ${counter}`);
  const at = SINK_COUNTERS_BASE + counter * 8;
  view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(by), true);
}
