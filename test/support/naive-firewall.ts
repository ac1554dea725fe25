/** What examples/hooks/firewall.ts decides, said plainly: over whole addresses as text of bits, with nothing packed. */
import ipaddr from 'ipaddr.js';
import type { FirewallRule } from '../../examples/hooks/firewall-rules.ts';

interface Flow {
  family: 4 | 6;
  protocol: number;
  source: string;
  destination: string;
  ports?: [number, number];
}

const PORTED = [6, 17, 33, 132, 136];
const EXTENSIONS = [0, 43, 44, 51, 60];

/** @param ipOffset where the IP header begins in the frame, 0 = not IP */
export function firewallDrops(
  frame: Uint8Array,
  ipOffset: number,
  rules: readonly FirewallRule[],
  otherwise: 'pass' | 'drop',
): boolean {
  if (ipOffset === 0) return false;
  const flow = flowOf(frame.subarray(ipOffset));
  if (flow === undefined) return true;
  return (rules.find((rule) => fits(rule, flow))?.action ?? otherwise) === 'drop';
}

function fits(rule: FirewallRule, flow: Flow): boolean {
  const { family, protocol, source, destination, sourcePorts, destinationPorts } = rule;
  if (family !== undefined && family !== flow.family) return false;
  if (protocol !== undefined && protocol !== flow.protocol) return false;
  for (const [prefix, address] of [
    [source, flow.source],
    [destination, flow.destination],
  ] as const) {
    if (prefix !== undefined && !isWithin(address, prefix)) return false;
  }
  if (sourcePorts === undefined && destinationPorts === undefined) return true;
  if (flow.ports === undefined) return false;
  const inRange = (port: number, range: readonly [number, number] | undefined) =>
    range === undefined || (port >= range[0] && port <= range[1]);
  return inRange(flow.ports[0], sourcePorts) && inRange(flow.ports[1], destinationPorts);
}

function isWithin(bits: string, prefix: string): boolean {
  const [address, length] = ipaddr.parseCIDR(prefix);
  return (
    bitsOf(Uint8Array.from(address.toByteArray())).length === bits.length &&
    bits.startsWith(bitsOf(Uint8Array.from(address.toByteArray())).slice(0, length))
  );
}

function bitsOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
}

/** @returns undefined: headers that are not whole */
function flowOf(packet: Uint8Array): Flow | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  try {
    const version = view.getUint8(0) >> 4;
    if (version === 4) return ipv4Flow(packet, view);
    return version === 6 ? ipv6Flow(packet, view) : undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function ipv4Flow(packet: Uint8Array, view: DataView): Flow | undefined {
  const [header, total] = [(view.getUint8(0) & 15) * 4, view.getUint16(2)];
  if (packet.length < 20 || header < 20 || total < header || total > packet.length) return undefined;
  const flow = { source: bitsOf(packet.subarray(12, 16)), destination: bitsOf(packet.subarray(16, 20)) };
  const isLater = view.getUint16(6) % 0x2000 !== 0;
  return withPorts(
    { family: 4, protocol: view.getUint8(9), ...flow },
    packet.subarray(header, total),
    isLater,
  );
}

function ipv6Flow(packet: Uint8Array, view: DataView): Flow | undefined {
  const total = 40 + view.getUint16(4);
  if (packet.length < total) return undefined;
  const flow = { source: bitsOf(packet.subarray(8, 24)), destination: bitsOf(packet.subarray(24, 40)) };
  let protocol = view.getUint8(6);
  let rest = packet.subarray(40, total);
  let isLater = false;
  while (EXTENSIONS.includes(protocol) && !isLater) {
    if (rest.length < 8) return undefined;
    const [next, length] = [rest[0]!, rest[1]!];
    isLater = protocol === 44 && (rest[2]! * 256 + rest[3]!) >> 3 !== 0;
    const bytes = protocol === 44 ? 8 : protocol === 51 ? (length + 2) * 4 : (length + 1) * 8;
    if (bytes > rest.length) return undefined;
    protocol = next;
    rest = rest.subarray(bytes);
  }
  return withPorts({ family: 6, protocol, ...flow }, rest, isLater);
}

function withPorts(flow: Flow, transport: Uint8Array, isLater: boolean): Flow | undefined {
  if (isLater || !PORTED.includes(flow.protocol)) return flow;
  if (transport.length < 4) return undefined;
  const view = new DataView(transport.buffer, transport.byteOffset);
  return { ...flow, ports: [view.getUint16(0), view.getUint16(2)] };
}
