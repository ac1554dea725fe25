/**
 * Sources: the sockets that datagrams leave from. A group is what the kernel would set per packet and a
 * socket has to have from the start: family, local address, DF, checksum, range of source ports. Devices
 * that agree on all of them share a group. Its sockets are opened by workers, one for each source port
 * at the first flow that hashes to it.
 */
import { readFileSync } from 'node:fs';
import ipaddr from 'ipaddr.js';
import {
  AF_INET,
  AF_INET6,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6_BYTES,
  SOURCE_DF_OFFSET,
  SOURCE_FAMILY_OFFSET,
  SOURCE_GROUP_BYTES,
  SOURCE_GROUP_COUNT,
  SOURCE_LOCAL_OFFSET,
  SOURCE_NO_CHECKSUM_OFFSET,
  SOURCE_NUMBERS_OFFSET,
  SOURCE_PEER_BYTES,
  SOURCE_PEER_CONNECTING,
  SOURCE_PEER_NEVER,
  SOURCE_PEERS_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_PORT_MAX_OFFSET,
  SOURCE_PORT_MIN_OFFSET,
  SOURCE_PORTS_OFFSET,
  SOURCE_SCOPE_OFFSET,
  SOURCE_SEGMENT_OFFSET,
  SOURCE_SOCKETS_OFFSET,
  SOURCE_USERS_OFFSET,
  SOURCES_BASE,
} from '../../assembly/layout.ts';
import type { Views } from '../dataplane/memory.ts';
import { VtepError } from '../errors.ts';
import type { Family } from '../io/family.ts';
import { syscalls } from '../io/syscalls.ts';
import { ADDRESS_MISSING, openSource } from '../io/udp.ts';

const NOT_OPEN = -1;
const OPENING = -2;
/** Answer of `socketOf`: the local address is not this host's now. The kernel counts a carrier error. */
export const SOURCE_UNREACHABLE = -3;
const SEND_BUFFER_BYTES = 8 * 1024 * 1024;
/** Ports tried for one socket before its datagram is given up: each is a system call of the hot path. */
const BIND_ATTEMPTS = 256;

export interface SourceGroup {
  family: Family;
  /** "" = the route's choice. */
  local: string;
  /** ifindex that a link-local address belongs to; absent: 0. */
  scope?: number;
  df: boolean;
  noChecksum: boolean;
  /** Half-open; [0, 0] = the machine's range of ephemeral ports. */
  ports: readonly [number, number];
}

/** Finds the group or makes it, and counts one more user. Returns its number. */
export function retainSource(views: Views, wanted: SourceGroup): number {
  const { view, bytes } = views;
  const { scope = 0 } = wanted;
  const [min, max] = wanted.ports[0] === wanted.ports[1] ? ephemeralPorts() : wanted.ports;
  const local = new Uint8Array(16);
  if (wanted.local !== '') local.set(ipaddr.parse(wanted.local).toByteArray());
  let free = -1;
  for (let group = 0; group < SOURCE_GROUP_COUNT; ++group) {
    const at = groupAt(group);
    const users = view.getUint32(at + SOURCE_USERS_OFFSET, true);
    if (users === 0) {
      if (free < 0) free = group;
    } else if (
      view.getUint8(at + SOURCE_FAMILY_OFFSET) === wanted.family &&
      view.getUint8(at + SOURCE_DF_OFFSET) === Number(wanted.df) &&
      view.getUint8(at + SOURCE_NO_CHECKSUM_OFFSET) === Number(wanted.noChecksum) &&
      view.getUint32(at + SOURCE_SCOPE_OFFSET, true) === scope &&
      view.getUint16(at + SOURCE_PORT_MIN_OFFSET, true) === min &&
      view.getUint16(at + SOURCE_PORT_MAX_OFFSET, true) === max &&
      local.every((byte, i) => bytes[at + SOURCE_LOCAL_OFFSET + i] === byte)
    ) {
      view.setUint32(at + SOURCE_USERS_OFFSET, users + 1, true);
      return group;
    }
  }
  if (free < 0) {
    throw new VtepError(
      'NO_SPACE',
      `sources: ${SOURCE_GROUP_COUNT} different sets of local address, df, srcport and checksum are in use`,
    );
  }
  const at = groupAt(free);
  view.setUint32(at + SOURCE_PORTS_OFFSET, Math.min(SOURCE_PORT_COUNT, max - min), true);
  view.setUint8(at + SOURCE_SEGMENT_OFFSET, wanted.noChecksum ? 0 : 1);
  view.setUint8(at + SOURCE_FAMILY_OFFSET, wanted.family);
  view.setUint8(at + SOURCE_DF_OFFSET, Number(wanted.df));
  view.setUint8(at + SOURCE_NO_CHECKSUM_OFFSET, Number(wanted.noChecksum));
  view.setUint16(at + SOURCE_PORT_MIN_OFFSET, min, true);
  view.setUint16(at + SOURCE_PORT_MAX_OFFSET, max, true);
  bytes.set(local, at + SOURCE_LOCAL_OFFSET);
  view.setUint32(at + SOURCE_SCOPE_OFFSET, scope, true);
  // Without an address of its own a socket takes that of the first route, which may be wrong for other remotes.
  const peer = wanted.local === '' ? SOURCE_PEER_NEVER : 0;
  for (let port = 0; port < SOURCE_PORT_COUNT; ++port) {
    view.setInt32(at + SOURCE_SOCKETS_OFFSET + port * 4, NOT_OPEN, true);
    view.setUint16(at + SOURCE_NUMBERS_OFFSET + port * 2, 0, true);
    view.setUint32(at + SOURCE_PEERS_OFFSET + port * SOURCE_PEER_BYTES, peer, true);
  }
  view.setUint32(at + SOURCE_USERS_OFFSET, 1, true);
  return free;
}

/** One user less; the last one closes the sockets. No worker may send from the group any more. */
export function releaseSource(views: Views, group: number): void {
  const { view } = views;
  const at = groupAt(group);
  const users = view.getUint32(at + SOURCE_USERS_OFFSET, true) - 1;
  view.setUint32(at + SOURCE_USERS_OFFSET, users, true);
  if (users > 0) return;
  for (let port = 0; port < SOURCE_PORT_COUNT; ++port) {
    const fd = view.getInt32(at + SOURCE_SOCKETS_OFFSET + port * 4, true);
    if (fd >= 0) syscalls().close(fd);
    view.setInt32(at + SOURCE_SOCKETS_OFFSET + port * 4, NOT_OPEN, true);
  }
}

/**
 * The descriptor of a source (group * SOURCE_PORT_COUNT + port), opened when needed; SOURCE_UNREACHABLE when
 * the local address is not this host's, -1 when every port of its range is taken. Called by workers.
 */
export function socketOf(views: Views, source: number): number {
  const group = Math.floor(source / SOURCE_PORT_COUNT);
  const slot = source % SOURCE_PORT_COUNT;
  const at = (groupAt(group) + SOURCE_SOCKETS_OFFSET + slot * 4) >>> 2;
  const fd = views.i32[at]!;
  return fd >= 0 ? fd : openSlot(views, group, slot, at);
}

/** Is the socket of a source connected to a remote? */
export function isConnected({ u32 }: Views, source: number): boolean {
  const family = u32[peerAt(source) >>> 2]! & 0xffff;
  return family === AF_INET || family === AF_INET6;
}

/**
 * Connects the socket of a source, unless it is, to the remote whose address lies at `name` in the memory: what goes
 * there without a name needs no look-up of the route. Where it leads other datagrams that are named doesn't change.
 *
 * @param address where the memory lies in the process
 */
export function connectSource(
  { u32, bytes }: Views,
  source: number,
  fd: number,
  address: number,
  name: number,
): void {
  const peer = peerAt(source);
  if (Atomics.compareExchange(u32, peer >>> 2, 0, SOURCE_PEER_CONNECTING) !== 0) return;
  const isIpv4 = (u32[name >>> 2]! & 0xffff) === AF_INET;
  const nameBytes = isIpv4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
  const isGroup = isIpv4 ? bytes[name + 4]! >= 0xe0 : bytes[name + 8]! === 0xff;
  const done = !isGroup && syscalls().connect(fd, address + name, nameBytes) === 0;
  if (done) bytes.copyWithin(peer + 4, name + 4, name + nameBytes);
  Atomics.store(u32, peer >>> 2, done ? u32[name >>> 2]! : 0);
}

/** Where it stands what the socket of a source is connected to; 0 there = nothing yet. */
export function peerAt(source: number): number {
  const slot = source % SOURCE_PORT_COUNT;
  const group = Math.floor(source / SOURCE_PORT_COUNT);
  return groupAt(group) + SOURCE_PEERS_OFFSET + slot * SOURCE_PEER_BYTES;
}

/** The kernel or the way out cannot cut messages for this group: its datagrams go one by one from now on. */
export function disableSegmentation(views: Views, source: number): void {
  const group = Math.floor(source / SOURCE_PORT_COUNT);
  views.view.setUint8(groupAt(group) + SOURCE_SEGMENT_OFFSET, 0);
}

/** Local addresses of the groups for which that has happened; "any address" for those that have none. */
export function refusedSources({ view, bytes }: Views): string[] {
  const found = new Set<string>();
  for (let group = 0; group < SOURCE_GROUP_COUNT; ++group) {
    const at = groupAt(group);
    if (view.getUint32(at + SOURCE_USERS_OFFSET, true) === 0) continue;
    if (
      view.getUint8(at + SOURCE_SEGMENT_OFFSET) === 1 ||
      view.getUint8(at + SOURCE_NO_CHECKSUM_OFFSET) === 1
    )
      continue;
    const family = view.getUint8(at + SOURCE_FAMILY_OFFSET) as Family;
    found.add(localOf(bytes, at, family) || 'any address');
  }
  return [...found];
}

/** "" = any */
function localOf(bytes: Uint8Array, group: number, family: Family): string {
  const address = [...bytes.subarray(group + SOURCE_LOCAL_OFFSET, group + SOURCE_LOCAL_OFFSET + 16)];
  if (address.every((byte) => byte === 0)) return '';
  return ipaddr.fromByteArray(family === AF_INET ? address.slice(0, 4) : address).toString();
}

function openSlot(views: Views, group: number, slot: number, at: number): number {
  // Two queues may meet here: the first one opens, the other waits for what it stores.
  if (Atomics.compareExchange(views.i32, at, NOT_OPEN, OPENING) !== NOT_OPEN) {
    Atomics.wait(views.i32, at, OPENING, 1000);
    return Math.max(views.i32[at]!, NOT_OPEN);
  }
  let fd = NOT_OPEN;
  try {
    fd = bindSlot(views, group, slot);
  } catch {
    // Out of descriptors: the datagram is counted as lost.
  }
  // What could not be opened is tried again with the next datagram.
  Atomics.store(views.i32, at, Math.max(fd, NOT_OPEN));
  Atomics.notify(views.i32, at);
  return fd;
}

/** The slot's own part of the range first, from a random place in it; then the rest of the range. */
function bindSlot(views: Views, group: number, slot: number): number {
  const { view, bytes } = views;
  const base = groupAt(group);
  const family = view.getUint8(base + SOURCE_FAMILY_OFFSET) as Family;
  const min = view.getUint16(base + SOURCE_PORT_MIN_OFFSET, true);
  const span = view.getUint16(base + SOURCE_PORT_MAX_OFFSET, true) - min;
  const ports = view.getUint32(base + SOURCE_PORTS_OFFSET, true);
  const local = localOf(bytes, base, family);
  const from = Math.floor((slot * span) / ports);
  const own = Math.max(1, Math.floor(((slot + 1) * span) / ports) - from);
  const turn = Math.floor(Math.random() * own);
  for (let attempt = 0; attempt < Math.min(span, BIND_ATTEMPTS); ++attempt) {
    const offset = attempt < own ? from + ((turn + attempt) % own) : (from + attempt) % span;
    const fd = openSource({
      family,
      local,
      scope: view.getUint32(base + SOURCE_SCOPE_OFFSET, true),
      port: min + offset,
      df: view.getUint8(base + SOURCE_DF_OFFSET) === 1,
      noChecksum: view.getUint8(base + SOURCE_NO_CHECKSUM_OFFSET) === 1,
      bufferBytes: SEND_BUFFER_BYTES,
    });
    if (fd >= 0) {
      view.setUint16(base + SOURCE_NUMBERS_OFFSET + slot * 2, min + offset, true);
      return fd;
    }
    if (fd === ADDRESS_MISSING) return SOURCE_UNREACHABLE;
  }
  return NOT_OPEN;
}

function groupAt(group: number): number {
  return SOURCES_BASE + group * SOURCE_GROUP_BYTES;
}

/** `srcport N N` means this, whatever N, as the kernel has it. Half-open there too. */
function ephemeralPorts(): [number, number] {
  const [min, max] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number);
  return [min ?? 32768, max ?? 60999];
}
