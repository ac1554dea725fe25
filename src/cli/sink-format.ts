/** What a sink has counted, as text and as an object. */
import type { SinkStats } from '../sink/stats.ts';

/** What a drop means, by its counter. */
const REASONS: Readonly<Record<string, string>> = {
  drop_short_datagram: 'datagram shorter than a VXLAN header',
  drop_no_vni_flag: 'VNI flag not set: no VXLAN',
  drop_gpe: 'VXLAN-GPE, which is no plain VXLAN',
  drop_geneve: 'Geneve, not VXLAN',
  drop_short_inner_frame: 'packet shorter than an Ethernet header',
  drop_vni: 'VNI not asked for',
  drop_filter: 'the filter does not match',
  drop_interfaces: 'too many VNIs and senders in one file',
  drop_truncated: 'datagram larger than the receive buffer',
  drop_tap_write: 'writing to the TAP failed: is it up?',
  drop_kernel: 'the kernel dropped it: the sink was too slow, or net.core.rmem_max is small',
};

const KEPT: readonly [counter: 'truncated' | 'snapped' | 'reserved_bits', text: string][] = [
  ['truncated', 'cut by the mirror: the inner IP header tells of more'],
  ['snapped', 'cut by --snaplen'],
  ['reserved_bits', 'with reserved bits of the VXLAN header set'],
];

/** Counters by name, drops apart, the kernel's with them. */
export function sinkObject({ counters, files, interfaces, kernelDrops }: SinkStats): object {
  const all = Object.entries(counters);
  return {
    ...Object.fromEntries(all.filter(([name]) => !name.startsWith('drop_'))),
    drops: {
      ...Object.fromEntries(all.filter(([name]) => name.startsWith('drop_'))),
      ...(kernelDrops === undefined ? {} : { drop_kernel: kernelDrops }),
    },
    files,
    interfaces,
  };
}

function dropsOf({ counters, kernelDrops = 0 }: SinkStats): [name: string, count: number][] {
  const all: [string, number][] = [...Object.entries(counters), ['drop_kernel', kernelDrops]];
  return all.filter(([name, count]) => name.startsWith('drop_') && count > 0);
}

export function sinkTotals(stats: SinkStats): string {
  const { datagrams, packets } = stats.counters;
  const drops = dropsOf(stats).map(([name, count]) => `${name} ${count}`);
  return `${datagrams} datagrams, ${packets} packets kept, ${drops.length === 0 ? 'none dropped' : drops.join(', ')}`;
}

export function sinkText(stats: SinkStats): string {
  const { counters, interfaces } = stats;
  const lines = [
    `datagrams ${counters.datagrams}, ${counters.datagram_octets} bytes`,
    `packets   ${counters.packets}, ${counters.packet_octets} bytes`,
    ...KEPT.filter(([name]) => counters[name] > 0).map(
      ([name, text]) => `  ${counters[name]} ${text} (${name})`,
    ),
    ...dropsOf(stats).map(([name, count]) => `dropped   ${count} ${REASONS[name] ?? name} (${name})`),
  ];
  if (interfaces.length > 0) lines.push('', row('VNI', 'FROM', 'PACKETS', 'BYTES'));
  for (const { octets, packets, source, vni } of [...interfaces].sort((a, b) => b.octets - a.octets))
    lines.push(row(String(vni), source, String(packets), String(octets)));
  return `${lines.join('\n')}\n`;
}

const row = (vni: string, source: string, packets: string, octets: string) =>
  `${vni.padStart(8)}  ${source.padEnd(39)} ${packets.padStart(12)} ${octets.padStart(15)}`;
