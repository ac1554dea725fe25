/**
 * Devices in the form of `ip [-d] [-s] [-o] [-br] [-j] link show` of iproute2 7.1. Attributes that belong to the
 * interface rather than to the tunnel (queueing discipline, group, queue length) are left out, as ip leaves out
 * what it is not told: `ip link show` has them.
 */
import type { DeviceInfo, DirectionStats } from '../types.ts';
import { optionData, optionWords } from './option-format.ts';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';

export interface LinkForm {
  details: boolean;
  /** Options at their default too (-d twice). */
  everything?: boolean;
  /** How often -s was given: twice shows the kinds of errors. */
  statistics: number;
  /** One device a line: a backslash where a line would end. */
  oneline?: boolean;
}

export function linkText(devices: readonly DeviceInfo[], form: LinkForm): string {
  return devices.map((device) => `${lines(device, form).join(form.oneline ? '\\' : '\n')}\n`).join('');
}

/** `ip -br link`: a table of name, state, MAC and flags. */
export function linkTable(devices: readonly DeviceInfo[]): string {
  return devices
    .map((device) => {
      const { config, up } = device;
      const mac = config.gpe ? '' : `${config.address} `;
      return `${config.name.padEnd(16)} ${operstate(up).padEnd(14)} ${mac}<${flags(device).join(',')}> \n`;
    })
    .join('');
}

export function linkTableObjects(devices: readonly DeviceInfo[]): object[] {
  return devices.map((device) => ({
    ifname: device.config.name,
    operstate: operstate(device.up),
    address: device.config.gpe ? undefined : device.config.address,
    flags: flags(device),
  }));
}

/** A device without Ethernet header (GPE) has nobody to broadcast to and no addresses to resolve. */
function flags({ config, up }: DeviceInfo): string[] {
  const kind = config.gpe ? ['POINTOPOINT', 'MULTICAST', 'NOARP'] : ['BROADCAST', 'MULTICAST'];
  return [...kind, ...(up ? ['UP', 'LOWER_UP'] : [])];
}

/** A tunnel has no carrier of its own, hence UNKNOWN and never UP. */
function operstate(up: boolean): string {
  return up ? 'UNKNOWN' : 'DOWN';
}

function lines(device: DeviceInfo, form: LinkForm): string[] {
  const { config, ifindex, up, stats } = device;
  return [
    `${ifindex}: ${config.name}: <${flags(device).join(',')}> mtu ${config.mtu} state ${operstate(up)}`,
    config.gpe ? '    link/none ' : `    link/ether ${config.address} brd ${BROADCAST}`,
    ...(form.details ? [`    vxlan ${optionWords(config, form.everything === true)} `] : []),
    ...(form.statistics > 0 ? tables(stats.rx, stats.tx, form.statistics > 1) : []),
  ];
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
    ['TX:', [...basic(tx), ['carrier', tx.carrier_errors ?? 0], ['collsns', tx.collisions ?? 0]]],
    [
      'TX errors:',
      [
        ['aborted', tx.aborted_errors ?? 0],
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
  return devices.map((device) => ({
    ifindex: device.ifindex,
    ifname: device.config.name,
    flags: flags(device),
    mtu: device.config.mtu,
    operstate: operstate(device.up),
    ...(device.config.gpe
      ? { link_type: 'none' }
      : { link_type: 'ether', address: device.config.address, broadcast: BROADCAST }),
    linkinfo: form.details ? { info_kind: 'vxlan', info_data: optionData(device.config) } : undefined,
    stats64: form.statistics > 0 ? stats64(device.stats.rx, device.stats.tx, form.statistics > 1) : undefined,
  }));
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
      collisions: tx.collisions ?? 0,
      ...(kinds && {
        aborted_errors: tx.aborted_errors ?? 0,
        fifo_errors: 0,
        window_errors: 0,
        heartbeat_errors: 0,
        carrier_changes: 0,
      }),
    },
  };
}
