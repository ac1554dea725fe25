/**
 * Requests to the MDB, from words to numbers. What cannot be right is refused here, in the order and with
 * the sentences of the kernel (`rtnl_mdb_add`, `vxlan_mdb_config_init`), before any entry is looked at.
 */
import { AF_INET, VXLAN_VNI_MAX } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { MdbFlush, MdbRequest } from '../types.ts';
import { checkFamily, type FdbDevice } from './fdb-request.ts';
import { type Address, isAny, parseAddress, sameAddress } from './fdb-text.ts';
import type { MdbRecord, MdbRemote } from './mdb-model.ts';
import {
  isLocalMulticast,
  isMulticast,
  isStarG,
  type MdbGroup,
  PROTOCOL_STATIC,
  parseProtocol,
} from './mdb-text.ts';

const ALL_NODES = parseAddress('ff02::1')!;
const PORT_MAX = 0xffff;

export interface MdbWanted {
  readonly group: MdbGroup;
  readonly remote: MdbRemote;
}

/** Source and group as a command names them. @param vni of the device, unless `src_vni` is given */
export function readGroup(
  what: string,
  { grp, src, src_vni }: { grp: string; src?: string; src_vni?: number },
  vni: number,
): MdbGroup {
  const group = readAddress(what, 'Invalid address', grp);
  const source = src === undefined ? undefined : readSource(what, src, group);
  checkRange(what, 'src_vni', src_vni, VXLAN_VNI_MAX);
  // A source of all zeros says no more than none.
  return { vni: src_vni ?? vni, group, ...(source && !isAny(source) && { source }) };
}

/** @param ifindex of an interface by its name, 0 = there is none */
export function readWanted(
  what: string,
  request: MdbRequest,
  device: FdbDevice,
  ifindex: (name: string) => number,
): MdbWanted {
  const out = readInterface(what, request.via, ifindex);
  checkGroup(what, readAddress(what, 'Invalid address', request.grp));
  checkRange(what, 'vni', request.vni, VXLAN_VNI_MAX);
  checkRange(what, 'dst_port', request.dst_port, PORT_MAX);
  const protocol = request.proto === undefined ? PROTOCOL_STATIC : readProtocol(what, request.proto);
  const group = readGroup(what, request, device.vni);
  if (request.src !== undefined && isAny(group.group)) {
    throw refuse(what, 'vxlan: Source cannot be specified for the all-zeros entry.', 'Leave "src" out');
  }
  const { mode, sources } = readFilter(what, request, group);
  const address = readAddress(what, 'Invalid underlay destination address', request.dst);
  checkFamily(what, address, device);
  const { dst_port: port = device.port, vni = device.vni } = request;
  const remote = { address, port, vni, ifindex: out, mode, sources };
  return { group, remote: { ...remote, protocol, blocked: false } };
}

function readInterface(what: string, via: string | undefined, ifindex: (name: string) => number): number {
  if (via === undefined) return 0;
  const index = ifindex(via);
  if (index !== 0) return index;
  throw new VtepError('NOT_FOUND', `${what}: Cannot find device "${via}". "ip link" shows what there is`);
}

function checkGroup(what: string, group: Address): void {
  if (isAny(group)) return;
  const isIpv4 = group.family === AF_INET;
  if (isIpv4 && !isMulticast(group)) {
    throw refuse(what, 'IPv4 entry group address is not multicast or 0.0.0.0.', 'Give one from 224.0.0.0/4');
  }
  if (isLocalMulticast(group)) {
    throw refuse(what, 'IPv4 entry group address is local multicast.', 'It goes where the FDB says');
  }
  if (sameAddress(group, ALL_NODES)) {
    throw refuse(what, 'IPv6 entry group address is link-local all nodes.', 'It goes where the FDB says');
  }
  if (!isMulticast(group)) {
    throw refuse(what, 'vxlan: Group address is not multicast.', 'Give one from ff00::/8, or ::');
  }
}

function readFilter(
  what: string,
  { filter_mode: given, source_list: list }: MdbRequest,
  group: MdbGroup,
): { mode: 'include' | 'exclude'; sources: Address[] } {
  const starG = isStarG(group);
  if (given !== undefined && given !== 'include' && given !== 'exclude') {
    throw refuse(what, `Invalid filter mode "${given}".`, 'It is include or exclude');
  }
  if (given !== undefined && !starG) {
    throw refuse(what, 'vxlan: Filter mode can only be set for (*, G) entries.', 'Leave "filter_mode" out');
  }
  if (list && !starG) {
    throw refuse(what, 'vxlan: Source list can only be set for (*, G) entries.', 'Leave "source_list" out');
  }
  if (list && given === undefined) {
    throw refuse(what, 'vxlan: Source list cannot be set without filter mode.', 'Say include or exclude');
  }
  const sources = (list ?? []).map((text) => readListed(what, text, group.group));
  if (given === 'include' && sources.length === 0) {
    const sentence = 'vxlan: Cannot add (*, G) INCLUDE with an empty source list.';
    throw refuse(what, sentence, 'Name the sources with "source_list"');
  }
  return { mode: given ?? (group.source ? 'include' : 'exclude'), sources };
}

/** Here all zeros would be any source, and the entry its own parent: a deliberate difference. */
function readListed(what: string, text: string, group: Address): Address {
  const address = parseAddress(text);
  if (!address || isAny(address)) {
    const sentence = `Invalid source entry "${text}" in source list.`;
    throw refuse(what, sentence, 'Each one is the IP address of a sender');
  }
  return checkSource(what, address, group);
}

function readSource(what: string, text: string, group: Address): Address {
  return checkSource(what, readAddress(what, 'Invalid source address', text), group);
}

function checkSource(what: string, source: Address, group: Address): Address {
  const family = group.family === AF_INET ? 'IPv4' : 'IPv6';
  if (source.family !== group.family) {
    throw refuse(what, `vxlan: ${family} invalid source address length.`, 'It is of the family of the group');
  }
  if (isMulticast(source)) {
    throw refuse(
      what,
      `vxlan: ${family} multicast source address is not allowed.`,
      'Give the address of a sender',
    );
  }
  return source;
}

function readProtocol(what: string, text: string): number {
  const protocol = parseProtocol(text);
  if (protocol === undefined) {
    throw refuse(
      what,
      `Invalid protocol value "${text}".`,
      'Give a name of /etc/iproute2/rt_protos, or 4 to 255',
    );
  }
  if (protocol >= PROTOCOL_STATIC) return protocol;
  throw refuse(what, 'integer out of range.', `proto ${text}: those below static (4) are the kernel's`);
}

function checkRange(what: string, word: string, value: number | undefined, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= most)) return;
  throw refuse(what, 'integer out of range.', `${word} ${value}: give a whole number from 0 to ${most}`);
}

function readAddress(what: string, sentence: string, text: string): Address {
  const address = parseAddress(text);
  if (address) return address;
  throw refuse(what, `${sentence} "${text}".`, 'Write it as 192.0.2.1 or 2001:db8::1');
}

/** Which remotes a flush takes; 0 says nothing, as in the kernel. */
export function readFlush(what: string, filter: MdbFlush): (record: MdbRecord, remote: MdbRemote) => boolean {
  const { src_vni, vni, dst_port: port } = filter;
  if (filter.permanent === false) {
    throw refuse(what, 'vxlan: Only permanent MDB entries are supported.', 'Leave "nopermanent" out');
  }
  checkRange(what, 'src_vni', src_vni, VXLAN_VNI_MAX);
  checkRange(what, 'vni', vni, VXLAN_VNI_MAX);
  checkRange(what, 'dst_port', port, PORT_MAX);
  const protocol = filter.proto === undefined ? undefined : readProtocol(what, filter.proto);
  const address =
    filter.dst === undefined
      ? undefined
      : readAddress(what, 'Invalid underlay destination address', filter.dst);
  return (record, remote) =>
    (!src_vni || record.vni === src_vni) &&
    (!address || sameAddress(address, remote.address)) &&
    // A remote without a VNI is sent to with that of the frame.
    (!vni || (remote.vni || record.vni) === vni) &&
    (!port || remote.port === port) &&
    (protocol === undefined || remote.protocol === protocol);
}

function refuse(what: string, sentence: string, remedy: string): VtepError {
  return new VtepError('USAGE', `${what}: ${sentence} ${remedy}`);
}
