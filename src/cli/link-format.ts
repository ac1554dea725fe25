/**
 * Devices in the form of `ip [-d] [-s] [-j] link show` of iproute2 7.1. Attributes that belong to the
 * interface rather than to the tunnel (queueing discipline, group, queue length) are left out, as ip leaves out
 * what it is not told: `ip link show` has them.
 */
import type { DeviceConfig, DeviceInfo, DirectionStats } from '../types.ts';

/** Bits of the VXLAN header that make a packet be dropped: all but the I flag and the VNI. */
const RESERVED_BITS = '0xf7ffffff000000ff';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';

export interface LinkForm {
  details: boolean;
  /** How often -s was given: twice shows the kinds of errors. */
  statistics: number;
}

export function linkText(devices: readonly DeviceInfo[], form: LinkForm): string {
  return devices.map((device) => oneText(device, form)).join('');
}

function flags(up: boolean): string[] {
  return ['BROADCAST', 'MULTICAST', ...(up ? ['UP', 'LOWER_UP'] : [])];
}

/** A tunnel has no carrier of its own, hence UNKNOWN and never UP. */
function operstate(up: boolean): string {
  return up ? 'UNKNOWN' : 'DOWN';
}

function oneText({ config, ifindex, up, stats }: DeviceInfo, form: LinkForm): string {
  return [
    `${ifindex}: ${config.name}: <${flags(up).join(',')}> mtu ${config.mtu} state ${operstate(up)}`,
    `    link/ether ${config.address} brd ${BROADCAST}`,
    ...(form.details ? [`    vxlan ${words(config)} `] : []),
    ...(form.statistics > 0 ? tables(stats.rx, stats.tx, form.statistics > 1) : []),
    '',
  ].join('\n');
}

/** Options in iproute2's order; those that are off or at their default are not said. */
function words(config: DeviceConfig): string {
  const { remote, local, dev, srcport, tos, ttl, df, maxaddress } = config;
  return [
    `id ${config.id}`,
    ...(remote ? [`remote ${remote}`] : []),
    ...(local && local !== '::' ? [`local ${local}`] : []),
    ...(dev ? [`dev ${dev}`] : []),
    `srcport ${srcport[0]} ${srcport[1]} dstport ${config.dstport}`,
    ...(tos === 0 ? [] : [`tos ${tos === 'inherit' ? tos : `0x${tos.toString(16)}`}`]),
    `ttl ${ttl === 0 ? 'auto' : ttl}`,
    ...(df === 'unset' ? [] : [`df ${df}`]),
    `ageing ${config.ageing}`,
    ...(maxaddress === 0 ? [] : [`maxaddr ${maxaddress}`]),
    `reserved_bits ${RESERVED_BITS}`,
    ...(config.learning ? [] : ['nolearning']),
    ...(config.udpcsum ? [] : ['noudp_csum']),
    ...(config.udp6zerocsumtx ? ['udp_zero_csum6_tx'] : []),
    ...(config.udp6zerocsumrx ? ['udp_zero_csum6_rx'] : []),
  ].join(' ');
}

type Column = readonly [title: string, value: number];

/** ip makes its columns as wide as their title or their longest number, and right-aligns both. */
function tables(rx: DirectionStats, tx: DirectionStats, kinds: boolean): string[] {
  const rows: [string, Column[]][] = [
    ['RX:', [...basic(rx), ['missed', 0], ['mcast', 0]]],
    [
      'RX errors:',
      [
        ['length', rx.length_errors ?? 0],
        ['crc', 0],
        ['frame', rx.frame_errors ?? 0],
        ['fifo', 0],
        ['overrun', 0],
      ],
    ],
    ['TX:', [...basic(tx), ['carrier', tx.carrier_errors ?? 0], ['collsns', 0]]],
    [
      'TX errors:',
      [
        ['aborted', 0],
        ['fifo', 0],
        ['window', 0],
        ['heartbt', 0],
        ['transns', 0],
      ],
    ],
  ];
  const shown = rows.filter(([title]) => kinds || !title.includes('errors'));
  const widths = [10, 7, 6, 7, 7, 7];
  for (const [title, columns] of shown) {
    const first = title.includes('errors') ? 1 : 0;
    for (const [index, [, value]] of columns.entries())
      widths[first + index] = Math.max(widths[first + index]!, String(value).length);
  }
  return shown.flatMap(([title, columns]) => {
    const errors = title.includes('errors');
    const cells = (pick: (column: Column) => string | number) =>
      columns
        .map((column, index) => String(pick(column)).padStart(widths[(errors ? 1 : 0) + index]!))
        .join(' ');
    const gap = widths[0]!;
    if (errors)
      return [
        `    ${title.padEnd(gap)} ${cells(([name]) => name)}`,
        `    ${' '.repeat(gap)} ${cells(([, value]) => value)} `,
      ];
    return [
      `    ${title}${cells(([name]) => name).slice(3)}${' '.repeat(11)}`,
      `    ${cells(([, value]) => value)} `,
    ];
  });
}

function basic({ bytes, packets, errors, dropped }: DirectionStats): Column[] {
  return [
    ['bytes', bytes],
    ['packets', packets],
    ['errors', errors],
    ['dropped', dropped],
  ];
}

export function linkObjects(devices: readonly DeviceInfo[], form: LinkForm): object[] {
  return devices.map(({ config, ifindex, up, stats }) => ({
    ifindex,
    ifname: config.name,
    flags: flags(up),
    mtu: config.mtu,
    operstate: operstate(up),
    link_type: 'ether',
    address: config.address,
    broadcast: BROADCAST,
    linkinfo: form.details ? { info_kind: 'vxlan', info_data: infoData(config) } : undefined,
    stats64: form.statistics > 0 ? stats64(stats.rx, stats.tx, form.statistics > 1) : undefined,
  }));
}

function infoData(config: DeviceConfig): object {
  const { remote, local, srcport, tos, ttl, maxaddress } = config;
  const addresses: Record<string, string> = {};
  if (remote) addresses[remote.includes(':') ? 'remote6' : 'remote'] = remote;
  if (local && local !== '::') addresses[local.includes(':') ? 'local6' : 'local'] = local;
  return {
    id: config.id,
    ...addresses,
    link: config.dev,
    port_range: { low: srcport[0], high: srcport[1] },
    port: config.dstport,
    tos: tos === 0 ? undefined : tos === 'inherit' ? '0x1' : `0x${tos.toString(16)}`,
    ttl: ttl === 'inherit' ? undefined : ttl,
    df: config.df,
    ageing: config.ageing,
    limit: maxaddress === 0 ? undefined : maxaddress,
    reserved_bits: RESERVED_BITS,
    external: false,
    learning: config.learning,
    proxy: false,
    rsc: false,
    l2miss: false,
    l3miss: false,
    udp_csum: config.udpcsum,
    udp_zero_csum6_tx: config.udp6zerocsumtx,
    udp_zero_csum6_rx: config.udp6zerocsumrx,
    remcsum_tx: false,
    remcsum_rx: false,
  };
}

function stats64(rx: DirectionStats, tx: DirectionStats, kinds: boolean): object {
  const both = ({ bytes, packets, errors, dropped }: DirectionStats) => ({ bytes, packets, errors, dropped });
  return {
    rx: {
      ...both(rx),
      over_errors: 0,
      multicast: 0,
      ...(kinds && {
        length_errors: rx.length_errors ?? 0,
        crc_errors: 0,
        frame_errors: rx.frame_errors ?? 0,
        fifo_errors: 0,
        missed_errors: 0,
      }),
    },
    tx: {
      ...both(tx),
      carrier_errors: tx.carrier_errors ?? 0,
      collisions: 0,
      ...(kinds && {
        aborted_errors: 0,
        fifo_errors: 0,
        window_errors: 0,
        heartbeat_errors: 0,
        carrier_changes: 0,
      }),
    },
  };
}
