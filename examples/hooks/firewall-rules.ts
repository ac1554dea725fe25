/**
 * Makes the settings of firewall.wasm from rules. Runs anywhere.
 *
 *   firewallRules([{ action: 'drop', protocol: 6, destination: '10.0.0.0/8', destinationPorts: [22, 22] }], 'pass')
 */
import ipaddr from 'ipaddr.js';

export interface FirewallRule {
  action: 'pass' | 'drop';
  /** IANA's number; absent: any. */
  protocol?: number;
  /** Prefixes, both of one family; absent: any. */
  source?: string;
  destination?: string;
  /** First and last; absent: any, and packets without ports too. */
  sourcePorts?: readonly [number, number];
  destinationPorts?: readonly [number, number];
  /** Absent: that of the addresses, or both. */
  family?: 4 | 6;
}

const HEAD_BYTES = 16;
const RULE_BYTES = 128;
const ALL_PORTS = [0, 65535] as const;
/** Where a rule has what firewall.ts tells of: three vectors, two bytes, addresses of IPv6 with their masks. */
const MASK_OFFSET = 0;
const LEAST_OFFSET = 16;
const MOST_OFFSET = 32;
const FAMILY_OFFSET = 48;
const DROPS_OFFSET = 49;
const SOURCE_OFFSET = 64;
const DESTINATION_OFFSET = 96;
/** Where the vectors have what they ask for. */
const IPV4_SOURCE = 0;
const IPV4_DESTINATION = 4;
const PORTS = 8;
const PROTOCOL = 12;
const FAMILY = 13;
const HAS_PORTS = 14;

/** @throws Error: an address that is none, or two families in one rule */
export function firewallRules(rules: readonly FirewallRule[], otherwise: 'pass' | 'drop'): Uint8Array {
  const settings = new Uint8Array(HEAD_BYTES + rules.length * RULE_BYTES);
  const view = new DataView(settings.buffer);
  view.setUint32(0, rules.length, true);
  view.setUint32(4, otherwise === 'drop' ? 1 : 0, true);
  for (const [index, rule] of rules.entries()) {
    writeRule(
      settings.subarray(HEAD_BYTES + index * RULE_BYTES, HEAD_BYTES + (index + 1) * RULE_BYTES),
      rule,
    );
  }
  return settings;
}

function writeRule(bytes: Uint8Array, rule: FirewallRule): void {
  const { sourcePorts, destinationPorts, protocol } = rule;
  const source = prefixOf(rule.source);
  const destination = prefixOf(rule.destination);
  const families = [rule.family, source?.family, destination?.family];
  const family = families.find((each) => each !== undefined);
  if (families.some((each) => each !== undefined && each !== family))
    throw new Error(`rule: ${rule.source} and ${rule.destination} are of two families`);
  if (family !== undefined) ask(bytes, FAMILY, [family], [0xff]);
  if (protocol) ask(bytes, PROTOCOL, [protocol], [0xff]);
  if (sourcePorts || destinationPorts) {
    ask(bytes, HAS_PORTS, [1], [1]);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (const [index, [first, last]] of [
      sourcePorts ?? ALL_PORTS,
      destinationPorts ?? ALL_PORTS,
    ].entries()) {
      const at = PORTS + index * 2;
      view.setUint16(MASK_OFFSET + at, 0xffff, true);
      view.setUint16(LEAST_OFFSET + at, first, true);
      view.setUint16(MOST_OFFSET + at, last, true);
    }
  }
  bytes[FAMILY_OFFSET] = family ?? 0;
  bytes[DROPS_OFFSET] = rule.action === 'drop' ? 1 : 0;
  if (family === 6) {
    for (const [at, prefix] of [
      [SOURCE_OFFSET, source],
      [DESTINATION_OFFSET, destination],
    ] as const) {
      bytes.set(prefix?.address ?? [], at);
      bytes.set(prefix?.mask ?? [], at + 16);
    }
    return;
  }
  if (source !== undefined) ask(bytes, IPV4_SOURCE, source.address, source.mask);
  if (destination !== undefined) ask(bytes, IPV4_DESTINATION, destination.address, destination.mask);
}

/** The bits of `mask` must be those of `value`. */
function ask(bytes: Uint8Array, at: number, value: readonly number[], mask: readonly number[]): void {
  bytes.set(mask, MASK_OFFSET + at);
  bytes.set(value, LEAST_OFFSET + at);
  bytes.set(value, MOST_OFFSET + at);
}

interface Prefix {
  family: 4 | 6;
  /** Masked. */
  address: number[];
  mask: number[];
}

function prefixOf(prefix: string | undefined): Prefix | undefined {
  if (prefix === undefined) return undefined;
  const [address, length] = prefix.includes('/') ? ipaddr.parseCIDR(prefix) : [ipaddr.parse(prefix), 128];
  const bytes = address.toByteArray();
  const mask = bytes.map((_, index) => 0xff & ~(0xff >> Math.min(Math.max(length - index * 8, 0), 8)));
  return {
    family: address.kind() === 'ipv4' ? 4 : 6,
    address: bytes.map((byte, index) => byte & mask[index]!),
    mask,
  };
}
