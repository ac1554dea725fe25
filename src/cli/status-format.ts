/** The status as a page of text: what runs, how fast, and what was dropped and why. */
import type { VtepStatus } from '../types.ts';
import type { Rate, Rates } from './status.ts';

/** What a drop means, by its counter; one that is not here is shown by its name. */
const REASONS: Readonly<Record<string, string>> = {
  drop_short_frame: 'frame to send shorter than an Ethernet header',
  drop_bad_offload: 'super-frame whose lengths contradict each other',
  drop_no_target: 'no FDB entry for the destination and no default remote',
  drop_short_inner_ip: 'IP header of a frame to send cut short',
  drop_no_remote: 'entry marked as not tunnelled',
  drop_socket_full: 'send buffer of the UDP socket full',
  drop_no_buffers: 'the kernel had no buffers',
  drop_too_big: 'larger than the path MTU',
  drop_unreachable: 'no route to the remote, or "local" is not an address of this host',
  drop_refused: 'the remote refused (ICMP)',
  drop_send_error: 'sending failed',
  drop_tap_read: 'reading from the TAP failed',
  drop_unmapped_vlan: 'no VNI for the VLAN of the frame',
  drop_mdb_no_remote: 'a multicast entry matched and has no remote for it',
  drop_no_nexthop: 'the nexthop group has no member',
  drop_route_loop: 'the route to the remote leads back into the device',
  drop_unknown_local_vni: 'the remote is this host, and no device here has the VNI and port',
  drop_short_request: 'ARP request or neighbour solicitation cut short',
  drop_unknown_protocol: 'neither IPv4 nor IPv6, which is all a GPE device sends',
  drop_short_datagram: 'datagram shorter than a VXLAN header',
  drop_no_vni_flag: 'VNI flag not set',
  drop_unknown_vni: 'no device for this VNI',
  drop_reserved_bits: 'reserved bits set',
  drop_short_inner_frame: 'received frame shorter than an Ethernet header',
  drop_local_mac: "sent with this device's own MAC: a loop, or a duplicate MAC",
  drop_invalid_source_mac: 'source MAC multicast or zero',
  drop_entry_exists: 'source MAC belongs to a permanent or static entry elsewhere',
  drop_short_inner_ip_received: 'IP header of a received frame cut short',
  drop_ecn: 'congestion mark on a packet that cannot carry one (RFC 6040)',
  drop_device_down: 'the device was down',
  drop_gpe_header: 'GPE header without next protocol, of another version, or OAM',
  drop_gpe_protocol: 'GPE protocol that a TUN cannot carry',
  drop_short_remcsum: 'remote checksum offload points behind the end',
  drop_policy: 'group policy id refused',
  drop_unmapped_vni: 'no VLAN for this VNI, though the device maps others',
  drop_unknown_sender: 'knownsenders: the sender is no remote of an entry made by a command',
  drop_unknown_peer: "knownpeers: source MAC is no peer's",
  drop_peer_address: 'knownpeers: sent from another address than the peer with this source MAC has',
  drop_peer_subnet: "knownpeers: source inside lies outside of the peer's prefixes",
  drop_hook: 'a hook on encap dropped it',
  drop_hook_fault: 'a hook on encap failed before it had decided, or moved the frame out of its room',
  drop_hook_target: 'the device that a hook on encap redirected to is gone, down or of another kind',
  drop_hook_received: 'a hook on decap dropped it',
  drop_hook_fault_received:
    'a hook on decap failed before it had decided, or moved the frame out of its room',
  drop_hook_target_received: 'the device that a hook on decap redirected to is gone, down or of another kind',
  drop_hook_forward: 'no room into the tunnel that a hook on decap redirected to, or nobody takes it',
  drop_hook_stopped: 'the hook on encap has been stopped, and is set with onstop drop',
  drop_hook_stopped_received: 'the hook on decap has been stopped, and is set with onstop drop',
  drop_truncated: 'datagram larger than the receive buffer',
  drop_tap_write: 'writing to the TAP failed',
};

export function statusText(status: VtepStatus, rates: Rates): string {
  const { engine, fdb } = status;
  const facts: [string, string][] = [
    ['version', `${status.version}, pid ${status.pid}, up ${duration(status.uptime)}`],
    [
      'engine',
      `${engine.io}, ${engine.wasm} WebAssembly, ${(engine.memoryBytes / 2 ** 20).toFixed(0)} MiB of shared memory`,
    ],
    ...(/^off: (?!not asked for)/.test(engine.uring)
      ? [['', `io_uring ${engine.uring}`] as [string, string]]
      : []),
    ...Object.entries(status.offloads).map(([name, use], index): [string, string] => [
      index ? '' : 'offloads',
      `${name} ${use}`,
    ]),
    ['fdb', `${fdb.entries} of ${fdb.capacity} entries`],
    ...(status.lostEvents === undefined
      ? []
      : [
          [
            'events',
            `${status.lostEvents} lost: more was learned and missed at once than there is room for`,
          ] as [string, string],
        ]),
    ...status.listeners.map(({ family, port, devices }, index): [string, string] => [
      index ? '' : 'listening',
      `UDP ${port} ${family === 'inet' ? 'IPv4' : 'IPv6'}: ${devices.join(', ')}`,
    ]),
  ];
  const sections = [
    facts.map(([name, fact]) => `${name.padEnd(10)}${fact}`.trimEnd()),
    devices(status, rates),
    hooks(status),
    workers(status, rates),
    drops(status, rates, true),
    drops(status, rates, false),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

const pair = (rate: Rate | undefined) => [
  scaled(rate?.packets_per_second ?? 0),
  scaled(rate?.bits_per_second ?? 0),
];

function devices(status: VtepStatus, rates: Rates): string[] {
  if (status.devices.length === 0)
    return ['no devices: add one with "vxlane link add NAME type vxlan id VNI"'];
  return table([
    ['DEVICE', 'STATE', 'VNI', 'RX PKT/S', 'RX BIT/S', 'TX PKT/S', 'TX BIT/S', 'RX DROPS', 'TX DROPS'],
    ...status.devices.map(({ config, up, stats }) => [
      config.name,
      up ? 'up' : 'down',
      String(config.id),
      ...pair(rates.devices[config.name]?.rx),
      ...pair(rates.devices[config.name]?.tx),
      String(stats.rx.dropped + stats.rx.errors),
      String(stats.tx.dropped + stats.tx.errors),
    ]),
  ]);
}

function hooks({ hooks = [] }: VtepStatus): string[] {
  if (hooks.length === 0) return [];
  return table(
    [
      ['HOOK ON', 'GENERATION', 'PACKETS', 'DROPPED', 'REDIRECTED', 'MIRRORED', 'FAULTS', 'PROGRAM'],
      ...hooks.map(({ ifname, direction, generation, file, stopped, stats }) => [
        `${ifname} ${direction}`,
        ...[generation, stats.packets, stats.dropped, stats.redirected, stats.mirrored, stats.faults].map(
          String,
        ),
        stopped === undefined ? file : `${file} (stopped: ${stopped})`,
      ]),
    ],
    true,
  );
}

function workers(status: VtepStatus, rates: Rates): string[] {
  if (status.workers.length === 0) return [];
  return table([
    ['WORKER', 'PKT/S', 'BIT/S', 'PKT/BATCH', 'SYSCALLS/S', 'SLEEPS/S'],
    ...status.workers.map(({ name }) => {
      const rate = rates.workers[name];
      const batches = rate?.batches_per_second ?? 0;
      return [
        name,
        ...pair(rate),
        batches === 0 ? '-' : ((rate?.packets_per_second ?? 0) / batches).toFixed(1),
        scaled(rate?.syscalls_per_second ?? 0),
        scaled(rate?.sleeps_per_second ?? 0),
      ];
    }),
  ]);
}

/** Drops with their reason, or everything else that is counted. */
function drops(status: VtepStatus, rates: Rates, dropped: boolean): string[] {
  const lines = Object.entries(status.counters).flatMap(([device, counters]) =>
    Object.entries(counters)
      .filter(([counter]) => isDrop(counter) === dropped && !isTraffic(counter))
      .map(([counter, value]) => [
        device || '-',
        String(value),
        scaled(rates.counters[device]?.[counter] ?? 0),
        dropped ? reason(counter) : plain(counter),
      ]),
  );
  if (lines.length === 0) return dropped ? ['no drops'] : [];
  return table([['DEVICE', 'COUNT', 'PER SECOND', dropped ? 'DROPPED BECAUSE' : 'COUNTER'], ...lines], true);
}

const plain = (counter: string) => counter.replaceAll('_', ' ');
const isDrop = (counter: string) => counter.startsWith('drop_');
/** The table of devices has these as rates. */
const isTraffic = (counter: string) => /^(encap|decap)_(packets|bytes)$/.test(counter);

export function reason(counter: string): string {
  return REASONS[counter] ?? plain(counter.replace(/^drop_/, ''));
}

export function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [
    Math.floor(whole / 86400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  const from = parts.findIndex((part) => part > 0);
  const units = ['d', 'h', 'm', 's'];
  return from < 0
    ? '0s'
    : parts
        .slice(from)
        .map((part, index) => `${part}${units[from + index]}`)
        .join('');
}

/** Three significant digits and an SI prefix; a unit stands behind a blank. */
export function scaled(value: number, unit = ''): string {
  const power = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  const number = value / 1000 ** power;
  const digits =
    power === 0 ? String(Math.round(number)) : number.toFixed(number < 10 ? 2 : number < 100 ? 1 : 0);
  return `${digits}${unit && ' '}${['', 'k', 'M', 'G', 'T'][power]}${unit}`;
}

/** First column and, if asked, the last one to the left; numbers to the right. */
export function table(rows: string[][], lastLeft = false): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 || (lastLeft && column === row.length - 1)
          ? cell.padEnd(widths[column]!)
          : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
}
