/**
 * Words of the kernel's driver that this VTEP knows and does not do: each is refused by name, with what
 * to do instead. Words that only restate the default (noproxy) are let through, so that a script which
 * spells everything out still runs.
 */
import { VtepError } from '../errors.ts';

const MISS = 'run the far MACs from a controller through "vxlane fdb add"';
const ALL_VNIS = 'add one device for each VNI';

const REMEDIES: Readonly<Record<string, string>> = {
  group: 'name each far VTEP: "vxlane fdb append 00:00:00:00:00:00 dev NAME dst ADDR"',
  flowlabel: 'leave it out, the flow label is 0',
  label: 'leave it out, the flow label is 0',
  proxy: 'answer ARP on the bridge instead (bridge link set dev NAME neigh_suppress on)',
  rsc: 'route between VNIs on the host, one bridge for each VNI',
  l2miss: MISS,
  l3miss: MISS,
  remcsumtx: 'leave it out, checksums are offloaded without it',
  remcsumrx: 'leave it out at the sender too',
  external: ALL_VNIS,
  vnifilter: ALL_VNIS,
  gbp: 'filter by address on the bridge instead',
  gpe: 'only Ethernet frames are carried, leave it out at the far end too',
  localbypass: 'leave it out, packets to this host itself go through the loopback interface',
  nolocalbypass: 'leave it out, packets to this host itself go through the loopback interface anyway',
  reserved_bits: 'leave it out, packets with any reserved bit set are dropped as the kernel does by default',
  mcroute: 'leave it out, no multicast group is used',
};

const DEFAULTS: ReadonlySet<string> = new Set([
  'noproxy',
  'norsc',
  'nol2miss',
  'nol3miss',
  'noremcsumtx',
  'noremcsumrx',
  'noexternal',
  'novnifilter',
  'nomcroute',
]);

/** What the kernel's driver fixes at creation, and says when it is asked to change it. */
const FIXED: Readonly<Record<string, string>> = {
  dstport: 'Cannot change port.',
  srcport: 'Cannot change port range.',
  maxaddress: 'Cannot change limit.',
  dev: 'Cannot change the underlay interface.',
  udpcsum: 'Cannot change UDP_CSUM flag.',
  udp6zerocsumtx: 'Cannot change UDP_ZERO_CSUM6_TX flag.',
  udp6zerocsumrx: 'Cannot change UDP_ZERO_CSUM6_RX flag.',
};

export const ADD_AGAIN = 'delete the device and add it again';

export function isUnsupported(word: string): boolean {
  return Object.hasOwn(REMEDIES, word);
}

export function restatesDefault(word: string): boolean {
  return DEFAULTS.has(word);
}

export function notSupported(word: string, remedy: string = REMEDIES[word] ?? 'leave it out'): VtepError {
  return new VtepError('UNSUPPORTED', `"${word}" is not supported: ${remedy}`);
}

/** The kernel's sentence for a key that stays as it was created, or undefined. */
export function cannotChange(key: string): string | undefined {
  const sentence = FIXED[key];
  return sentence === undefined ? undefined : `${sentence.slice(0, -1)}: ${ADD_AGAIN}`;
}
