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
const RULE_BYTES = 80;
const ALL_PORTS = [0, 65535] as const;
const SOURCE_OFFSET = 16;
const DESTINATION_OFFSET = 48;

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
  const { sourcePorts, destinationPorts } = rule;
  const families = [rule.family, writePrefix(bytes.subarray(SOURCE_OFFSET), rule.source)];
  families.push(writePrefix(bytes.subarray(DESTINATION_OFFSET), rule.destination));
  const family = families.find((each) => each !== undefined) ?? 0;
  if (families.some((each) => each !== undefined && each !== family)) {
    throw new Error(`rule: ${rule.source} and ${rule.destination} are of two families`);
  }
  bytes.set([
    family,
    rule.protocol ?? 0,
    rule.action === 'drop' ? 1 : 0,
    sourcePorts || destinationPorts ? 1 : 0,
  ]);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (const [place, port] of [...(sourcePorts ?? ALL_PORTS), ...(destinationPorts ?? ALL_PORTS)].entries()) {
    view.setUint16(4 + place * 2, port, true);
  }
}

/** Address, masked, then the mask. */
function writePrefix(bytes: Uint8Array, prefix: string | undefined): 4 | 6 | undefined {
  if (prefix === undefined) return undefined;
  const [address, length] = prefix.includes('/') ? ipaddr.parseCIDR(prefix) : [ipaddr.parse(prefix), 128];
  for (const [index, byte] of address.toByteArray().entries()) {
    const mask = 0xff & ~(0xff >> Math.min(Math.max(length - index * 8, 0), 8));
    bytes[index] = byte & mask;
    bytes[index + 16] = mask;
  }
  return address.kind() === 'ipv4' ? 4 : 6;
}
