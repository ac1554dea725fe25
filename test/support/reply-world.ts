/**
 * The surroundings in which the kernel's device and the engine are asked for the same replies: neighbours in every
 * state, FDB entries of their MACs; and the frames to ask with, each of which names itself by its source MAC.
 */
import {
  type ArpFields,
  arp,
  concat,
  ethernet,
  type Ipv6Fields,
  ipv4,
  ipv6,
  type Message,
  macBytes,
  type Packet,
  rawPacket,
  vlan,
} from './frames.ts';
import { icmp, icmpv6, neighbour, raw, udp } from './messages.ts';
import { macText } from './parse.ts';

export interface WorldNeighbour {
  address: string;
  mac: string;
  state: 'permanent' | 'noarp' | 'reachable' | 'stale' | 'delay' | 'probe';
}

const macOf = (n: number) => `02:bb:00:00:00:${n.toString(16).padStart(2, '0')}`;
const both = (n: number, state: WorldNeighbour['state']): WorldNeighbour[] => [
  { address: `10.5.0.${n}`, mac: macOf(n), state },
  { address: `fd05::${n.toString(16)}`, mac: macOf(n), state },
];

/** Behind this MAC is a router. */
export const ROUTER_MAC = '02:cc:00:00:00:01';
/** Neighbours by what is special about them. Delay and probe are left out: they change by themselves. */
export const PERMANENT = 1;
const BRIDGED = 5;
export const BEHIND_ROUTER = 6;
export const UNKNOWN = 99;

export const NEIGHBOURS: readonly WorldNeighbour[] = [
  ...both(PERMANENT, 'permanent'),
  ...both(2, 'noarp'),
  ...both(3, 'reachable'),
  ...both(4, 'stale'),
  ...both(BRIDGED, 'permanent'),
  ...both(BEHIND_ROUTER, 'permanent'),
  { address: '10.5.0.7', mac: ROUTER_MAC, state: 'permanent' },
  { address: '127.0.0.5', mac: macOf(8), state: 'permanent' },
  { address: '224.0.0.5', mac: macOf(9), state: 'permanent' },
  { address: '255.255.255.255', mac: macOf(10), state: 'permanent' },
  { address: '0.0.0.0', mac: macOf(11), state: 'permanent' },
];

/** `any`: behind 0.0.0.0. */
export const FDB: readonly { mac: string; any?: boolean; router?: boolean }[] = [
  { mac: macOf(PERMANENT) },
  { mac: macOf(BRIDGED), any: true },
  { mac: macOf(BEHIND_ROUTER), router: true },
  { mac: ROUTER_MAC, router: true },
  { mac: '01:00:5e:00:00:09', router: true },
];

export interface ReplyCase {
  name: string;
  frame: Uint8Array;
}

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const payload = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => (i * 7) & 255);

/** A source MAC that numbers a frame of a series. */
export function sourceOf(series: number, number: number): string {
  const hex = (byte: number) => (byte & 255).toString(16).padStart(2, '0');
  return `02:d0:${hex(series)}:00:${hex(number >> 8)}:${hex(number)}`;
}

function series(number: number, cases: [string, (source: string) => Uint8Array][]): ReplyCase[] {
  return cases.map(([name, build], i) => ({ name, frame: build(sourceOf(number, i + 1)) }));
}

type Build = (source: string) => Uint8Array;

// ---------------------------------------------------------------------- proxy

function request(fields: Partial<ArpFields>, patch: Record<number, number> = {}): Build {
  return (source) => {
    const targetIp = `10.5.0.${PERMANENT}`;
    const packet = arp({ senderMac: source, senderIp: '10.5.0.77', targetIp, ...fields });
    for (const [at, value] of Object.entries(patch)) packet.bytes[Number(at)] = value;
    return ethernet({ source, destination: BROADCAST }, packet);
  };
}

function solicitation(
  target: string,
  options: readonly number[] | 'own' = 'own',
  ip: Ipv6Fields = {},
  patch: Record<number, number> = {},
): Build {
  return (source) => {
    const message = neighbour({ type: 135, target });
    const own = [1, 1, ...macBytes(source)];
    const bytes = concat(message.bytes, Uint8Array.from(options === 'own' ? own : options));
    for (const [at, value] of Object.entries(patch)) bytes[Number(at)] = value;
    const fields = { source: 'fd05::77', destination: 'ff02::1:ff00:1', hopLimit: 255, ...ip };
    return ethernet({ source, destination: '33:33:ff:00:00:01' }, ipv6(fields, { ...message, bytes }));
  };
}

const cut = (build: Build, bytes: number): Build => {
  return (source) => build(source).subarray(0, bytes);
};
const padded = (build: Build, bytes: number): Build => {
  return (source) => concat(build(source), new Uint8Array(bytes));
};

const KNOWN = 'fd05::1';
const OTHER_OPTION = [14, 1, 9, 9, 9, 9, 9, 9];
const OWN_OPTION = [1, 1, 2, 0xd1, 0, 0, 0, 8];

export const PROXY_CASES = series(1, [
  ...NEIGHBOURS.filter(({ address }) => !address.includes(':')).map(({ address, state }): [string, Build] => [
    `arp ${address} ${state}`,
    request({ targetIp: address }),
  ]),
  ['arp unknown', request({ targetIp: `10.5.0.${UNKNOWN}` })],
  ['arp reply', request({ operation: 2 })],
  ['arp over ieee 802', request({}, { 1: 6 })],
  ['arp over frame relay', request({}, { 1: 15 })],
  ['arp for another protocol', request({}, { 2: 0x86 })],
  ['arp with long macs', request({}, { 4: 8 })],
  ['arp with long addresses', request({}, { 5: 16 })],
  ['arp with a target mac', request({ targetMac: '02:07:07:07:07:07' })],
  ['arp probe', request({ senderIp: '0.0.0.0' })],
  ['arp gratuitous', request({ senderIp: '10.5.0.1' })],
  ['arp padded', padded(request({}), 18)],
  ...[14, 28, 41].map((bytes): [string, Build] => [`arp of ${bytes} bytes`, cut(request({}), bytes)]),
  ...NEIGHBOURS.filter(({ address }) => address.includes(':')).map(({ address, state }): [string, Build] => [
    `ns ${address} ${state}`,
    solicitation(address),
  ]),
  ['ns unknown', solicitation('fd05::99')],
  ['ns without option', solicitation(KNOWN, [])],
  ['ns with traffic class', solicitation(KNOWN, 'own', { trafficClass: 0xb9, flowLabel: 0xabcde })],
  ['ns of another version', (source) => patched(solicitation(KNOWN)(source), 14, 0x45)],
  ['ns from ::', solicitation(KNOWN, 'own', { source: '::' })],
  ['ns to ::1', solicitation(KNOWN, 'own', { destination: '::1' })],
  ['ns for multicast', solicitation('ff02::1')],
  ['ns for ::1', solicitation('::1')],
  ['ns with hop limit 1', solicitation(KNOWN, 'own', { hopLimit: 1 })],
  ['ns with a bad checksum', (source) => patched(solicitation(KNOWN)(source), 56, 0)],
  ['ns with other option first', solicitation(KNOWN, [...OTHER_OPTION, ...OWN_OPTION])],
  ['ns with empty option first', solicitation(KNOWN, [14, 0, 9, 9, 9, 9, 9, 9, ...OWN_OPTION])],
  ['ns with empty own option', solicitation(KNOWN, [1, 0, 2, 0, 0, 0, 0, 8])],
  ['ns with long own option', solicitation(KNOWN, [1, 2, ...OWN_OPTION.slice(2), 0, 0, 0, 0, 0, 0, 0, 0])],
  ['ns with cut own option', solicitation(KNOWN, OWN_OPTION.slice(0, 7))],
  ['ns with cut other option', solicitation(KNOWN, [...OWN_OPTION.slice(0, 1), 9, 0, 0, 0, 0, 0, 0])],
  ['ns with cut second option', solicitation(KNOWN, [...OTHER_OPTION, ...OWN_OPTION.slice(0, 7)])],
  ['ns with one byte of option', solicitation(KNOWN, [1])],
  ['ns with one byte of second option', solicitation(KNOWN, [...OTHER_OPTION, 1])],
  ['ns with two bytes of option', solicitation(KNOWN, [1, 1])],
  ['ns with option behind the packet', solicitation(KNOWN, 'own', { payloadLength: 24 })],
  ['ns padded', padded(solicitation(KNOWN), 10)],
  ['ns without option, padded', padded(solicitation(KNOWN, []), 10)],
  ['ns of 78 bytes', cut(solicitation(KNOWN), 78)],
]);

/** Nothing that the proxy takes: they go through the tunnel. */
export const NOT_PROXIED_CASES = series(2, [
  ['ns of 77 bytes', cut(solicitation(KNOWN), 77)],
  ['ns of 56 bytes', cut(solicitation(KNOWN), 56)],
  ['ns of code 1', solicitation(KNOWN, 'own', {}, { 1: 1 })],
  ['na', solicitation(KNOWN, 'own', {}, { 0: 136 })],
  ['ns behind an extension', solicitation(KNOWN, 'own', { extensions: [{ type: 0 }] })],
  ['tagged arp', (source) => tagged(request({})(source))],
  ['tagged ns', (source) => tagged(solicitation(KNOWN)(source))],
  ['ipv4', (source) => ethernet({ source }, ipv4({}, udp({}, payload(20))))],
]);

function patched(frame: Uint8Array, at: number, value: number): Uint8Array {
  frame[at] = value;
  return frame;
}

function tagged(frame: Uint8Array): Uint8Array {
  return concat(frame.subarray(0, 12), Uint8Array.of(0x81, 0, 0, 5), frame.subarray(12));
}

// ------------------------------------------------------------------------ rsc

const to = (destination: string, packet: Packet): Build => {
  return (source) => ethernet({ source, destination }, packet);
};

export const SHORT_CIRCUIT_CASES = series(3, [
  ...NEIGHBOURS.map(({ address, state }): [string, Build] => [
    `to ${address} ${state}`,
    address.includes(':')
      ? to(ROUTER_MAC, ipv6({ destination: address, hopLimit: 1 }, udp({}, payload(9))))
      : to(ROUTER_MAC, ipv4({ destination: address, ttl: 1 }, udp({}, payload(9)))),
  ]),
  ['to an unknown ipv4', to(ROUTER_MAC, ipv4({ destination: '10.5.0.99' }, udp({}, payload(9))))],
  ['to an unknown ipv6', to(ROUTER_MAC, ipv6({ destination: 'fd05::99' }, udp({}, payload(9))))],
  ['tagged', to(ROUTER_MAC, vlan({ id: 5 }, ipv4({ destination: '10.5.0.1' }, udp({}, payload(9)))))],
  ['multicast', to('01:00:5e:00:00:09', ipv4({ destination: '10.5.0.1' }, udp({}, payload(9))))],
  ['no router', to('02:00:00:00:00:77', ipv4({ destination: '10.5.0.1' }, udp({}, payload(9))))],
  ['arp', to(ROUTER_MAC, arp({ senderIp: '10.5.0.77', targetIp: '10.5.0.1' }))],
  ['ipv4 of 20 bytes', to(ROUTER_MAC, ipv4({ destination: '10.5.0.1' }, raw(17)))],
  ['ipv6 of 40 bytes', to(ROUTER_MAC, ipv6({ destination: 'fd05::1' }, raw(59)))],
]);

/** Whether the FDB has the frame's destination as a router: only then is rsc asked. */
export function isForRouter(frame: Uint8Array): boolean {
  return FDB.some(({ mac, router }) => router && mac === macText(frame, 0));
}

// -------------------------------------------------------------------- too big

export const PATH_MTU = 1500;
const BIG = 1450;
const V4 = { dontFragment: true, ttl: 9, tos: 0xb9, identification: 77 };
const big4 = (fields: Parameters<typeof ipv4>[0], message: Message = udp({}, payload(BIG))) => {
  return to('02:00:00:01:00:00', ipv4({ ...V4, ...fields }, message));
};
const V6 = { trafficClass: 0xb9, flowLabel: 0xabcde, hopLimit: 7 };
const big6 = (fields: Ipv6Fields, message: Message = udp({}, payload(BIG))) => {
  return to('02:00:00:01:00:00', ipv6({ ...V6, ...fields }, message));
};
const changed = (build: Build, at: number, value: number): Build => {
  return (source) => patched(build(source), at, value);
};

export const TOO_BIG_CASES = series(4, [
  ['ipv4', big4({})],
  ['ipv4 of 1451 bytes', big4({}, udp({}, payload(1423)))],
  ['ipv4 without df', big4({ dontFragment: false })],
  ['ipv4 with options', big4({ options: new Uint8Array(12).fill(1) })],
  ['ipv4 first fragment', big4({ moreFragments: true }, raw(17, payload(1456)))],
  ['ipv4 later fragment', big4({ fragmentOffset: 64 }, raw(17, payload(1456)))],
  ['ipv4 with the reserved flag', changed(big4({}), 20, 0xc0)],
  ['ipv4 with a short total length', big4({ totalLength: 100 })],
  ['ipv4 of version 6', changed(big4({}), 14, 0x65)],
  ['ipv4 with a header of 16 bytes', changed(big4({}), 14, 0x44)],
  ['ipv4 with ttl 0', big4({ ttl: 0 })],
  ['ipv4 with a bad checksum', big4({ checksum: 1 })],
  ...[0, 3, 4, 5, 8, 9, 11, 12, 13, 18].map((type): [string, Build] => [
    `icmp ${type}`,
    big4({}, icmp({ type }, payload(BIG))),
  ]),
  ['icmp 3 behind options', big4({ options: new Uint8Array(12).fill(1) }, icmp({ type: 3 }, payload(BIG)))],
  ...['239.1.1.1', '255.255.255.255', '10.1.255.255', '127.0.0.1', '0.0.0.0'].map(
    (destination): [string, Build] => [`to ${destination}`, big4({ destination })],
  ),
  ...[
    ...['0.0.0.0', '0.1.2.3', '127.1.2.3', '255.255.255.255'],
    ...['224.0.0.1', '239.255.255.255', '240.0.0.1', '169.254.1.1'],
  ].map((source): [string, Build] => [`from ${source}`, big4({ source })]),
  ['ipv4 in multicast ethernet', (source) => patched(big4({})(source), 0, 1)],
  ['tagged ipv4', to('02:00:00:01:00:00', vlan({ id: 5 }, ipv4(V4, udp({}, payload(BIG)))))],
  ['arp', to('02:00:00:01:00:00', rawPacket(0x0806, payload(1500)))],
  ['ipv6', big6({})],
  ['ipv6 of 1451 bytes', big6({}, udp({}, payload(1403)))],
  ['ipv6 of 3000 bytes', big6({}, udp({}, payload(2952)))],
  ['ipv6 of version 4', changed(big6({}), 14, 0x40)],
  ['to ff02::5', big6({ destination: 'ff02::5' })],
  ...['::', '::2', 'fe80::1', '::ffff:1.2.3.4', 'ff0e::1'].map((source): [string, Build] => [
    `from ${source}`,
    big6({ source }),
  ]),
  ...[1, 2, 3, 4, 100, 127, 128, 133, 135, 136, 137, 138].map((type): [string, Build] => [
    `icmpv6 ${type}`,
    big6({}, icmpv6({ type }, payload(BIG))),
  ]),
  ['ipv6 with no next header', big6({ nextHeader: 59 })],
  ['ipv6 with a hop-by-hop header', big6({ extensions: [{ type: 0 }] })],
  ['ipv6 with destination options', big6({ extensions: [{ type: 60, bytes: payload(20) }] })],
  ['ipv6 first fragment', big6({ fragment: { offset: 0, more: true } }, raw(17, payload(BIG)))],
  ['ipv6 in multicast ethernet', changed(big6({}), 0, 0x33)],
  ['tagged ipv6', to('02:00:00:01:00:00', vlan({ id: 5 }, ipv6(V6, udp({}, payload(BIG)))))],
]);

/** Where the kernel answers and RFC 4443 section 2.4 (e) forbids it: see assembly/too-big.ts. */
export const FORBIDDEN_CASES = series(5, [
  ...['::1', 'ff01::1', 'ff02::1', 'ff05::1'].map((source): [string, Build] => [
    `from ${source}`,
    big6({ source }),
  ]),
  ['error behind hop-by-hop', big6({ extensions: [{ type: 0 }] }, icmpv6({ type: 1 }, payload(BIG)))],
  ['error behind options', big6({ extensions: [{ type: 60 }] }, icmpv6({ type: 3 }, payload(BIG)))],
  ['later fragment', big6({ fragment: { offset: 8, more: true } }, raw(17, payload(BIG)))],
]);
