/**
 * UDP sockets of the underlay: listeners, which receive on a port of every local address, and sources,
 * which only send. Whatever the kernel's driver sets per device is a socket option here.
 */
import ipaddr from 'ipaddr.js';
import { SOCKADDR_IN6_BYTES, UDP_GRO, UDP_SEGMENT } from '../../assembly/layout.ts';
import { EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, ENODEV, systemError } from './errno.ts';
import { AF_INET, AF_INET6, type Family } from './family.ts';
import {
  IP_ADD_MEMBERSHIP,
  IP_DROP_MEMBERSHIP,
  IP_MTU_DISCOVER,
  IP_MULTICAST_ALL,
  IP_MULTICAST_LOOP,
  IP_MULTICAST_TTL,
  IP_PMTUDISC_DO,
  IP_PMTUDISC_DONT,
  IP_RECVTOS,
  IP_TTL,
  IPV6_AUTOFLOWLABEL,
  IPV6_DONTFRAG,
  IPV6_FLOWINFO_SEND,
  IPV6_FREEBIND,
  IPV6_JOIN_GROUP,
  IPV6_LEAVE_GROUP,
  IPV6_MULTICAST_ALL,
  IPV6_MULTICAST_HOPS,
  IPV6_MULTICAST_LOOP,
  IPV6_RECVPKTINFO,
  IPV6_RECVTCLASS,
  IPV6_UNICAST_HOPS,
  IPV6_V6ONLY,
  SK_MEMINFO_DROPS,
  SK_MEMINFO_WORDS,
  SO_BROADCAST,
  SO_MEMINFO,
  SO_NO_CHECK,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SO_TIMESTAMPNS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  UDP_NO_CHECK6_RX,
  UDP_NO_CHECK6_TX,
} from './socket-numbers.ts';
import { attachFilter, buffer, get, set, TAKE_NO_BROADCAST, TAKE_NOTHING, trySet } from './socket-options.ts';
import { syscalls } from './syscalls.ts';

/** Instead of a descriptor: somebody else holds the port. */
export const PORT_TAKEN = -1;
/** Instead of a descriptor: the local address is not this host's. */
export const ADDRESS_MISSING = -2;

export interface ListenerOptions {
  family: Family;
  port: number;
  /** Receive what is sent to this address only; "" = to any address of the host. */
  local: string;
  /** ifindex that a link-local `local` belongs to, else 0. */
  scope: number;
  /** Accept zero UDP checksums over IPv6. */
  zeroChecksum: boolean;
  bufferBytes: number;
}

export interface SourceOptions {
  family: Family;
  /** Address to send from; "" = the route's choice. */
  local: string;
  /** ifindex that a link-local `local` belongs to, else 0. */
  scope: number;
  port: number;
  /** Set the DF bit; over IPv6: never mind, it is never fragmented. */
  df: boolean;
  noChecksum: boolean;
  bufferBytes: number;
}

/**
 * @returns the descriptor, PORT_TAKEN or ADDRESS_MISSING
 * @throws VtepError on anything else
 */
export function openListener(options: ListenerOptions): number {
  return openOne(options, false);
}

/**
 * Several sockets of one port. The kernel picks one by addresses and ports, so that what one remote sends from one port
 * comes to one socket, in order. It does so for groups too, though one socket alone has joined; but what is sent to all
 * would come to all sockets: the first takes it.
 *
 * @returns the descriptors, PORT_TAKEN or ADDRESS_MISSING
 * @throws VtepError on anything else
 */
export function openListeners(
  options: ListenerOptions,
  count: number,
): number[] | typeof PORT_TAKEN | typeof ADDRESS_MISSING {
  // The first shares with nobody as it is bound: so a port that somebody else has is taken, though he would share.
  const first = openListener(options);
  if (first === PORT_TAKEN || first === ADDRESS_MISSING) return first;
  const fds = [first];
  try {
    if (count > 1) set(first, SOL_SOCKET, SO_REUSEPORT, 1, 'listener');
    while (fds.length < count) {
      const fd = openOne(options, true);
      if (fd < 0) throw systemError('listener: SO_REUSEPORT');
      fds.push(fd);
    }
    return fds;
  } catch (error) {
    for (const fd of fds) syscalls().close(fd);
    throw error;
  }
}

/** @param further after the first of its port */
function openOne(options: ListenerOptions, further: boolean): number {
  const { family, port } = options;
  const what = `UDP port ${port} (${family === AF_INET ? 'IPv4' : 'IPv6'})`;
  const fd = openSocket(family, what);
  try {
    if (family === AF_INET) {
      set(fd, SOL_IP, IP_RECVTOS, 1, what);
      // Groups that others of this host have joined are not ours.
      set(fd, SOL_IP, IP_MULTICAST_ALL, 0, what);
    } else {
      set(fd, SOL_IPV6, IPV6_V6ONLY, 1, what);
      set(fd, SOL_IPV6, IPV6_RECVTCLASS, 1, what);
      trySet(fd, SOL_IPV6, IPV6_MULTICAST_ALL, 0);
      if (options.zeroChecksum) set(fd, SOL_UDP, UDP_NO_CHECK6_RX, 1, what);
    }
    buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.bufferBytes);
    if (further) {
      set(fd, SOL_SOCKET, SO_REUSEPORT, 1, what);
      attachFilter(fd, TAKE_NO_BROADCAST, what);
    }
    return bound(fd, options, what);
  } catch (error) {
    syscalls().close(fd);
    throw error;
  }
}

/** Bundles of datagrams (UDP_GRO) from now on, or none; a kernel without them has none. */
export function setGro(fd: number, on: boolean): void {
  trySet(fd, SOL_UDP, UDP_GRO, Number(on));
}

/** From now on each datagram comes with the time it arrived at (nanoseconds). */
export function tellTimes(fd: number): void {
  set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, 'listener');
}

/** Messages that the socket had no room for, since it was opened (modulo 2^32); 0 before Linux 4.12. */
export function dropsOf(fd: number): number {
  const words = new Uint32Array(SK_MEMINFO_WORDS);
  const bytes = new Uint8Array(new Uint32Array([words.byteLength]).buffer);
  const value = new Uint8Array(words.buffer);
  if (syscalls().getsockopt(fd, SOL_SOCKET, SO_MEMINFO, value, bytes) !== 0) return 0;
  return words[SK_MEMINFO_DROPS]!;
}

/** The port that a socket is bound to. */
export function portOf(fd: number): number {
  const name = new Uint8Array(SOCKADDR_IN6_BYTES);
  const bytes = new Uint8Array(new Uint32Array([name.length]).buffer);
  if (syscalls().getsockname(fd, name, bytes) !== 0) throw systemError('listener: getsockname');
  return new DataView(name.buffer).getUint16(2, false);
}

/** From now on each datagram comes with the interface that it came in through (IPv6). */
export function tellArrivals(fd: number): void {
  set(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1, 'listener');
}

/**
 * Joins a multicast group on an interface, as `ip maddr` shows it, or leaves it.
 * @throws VtepError SYSTEM: no such interface, or more groups than igmp_max_memberships
 */
export function changeMembership(
  fd: number,
  family: Family,
  group: string,
  ifindex: number,
  join: boolean,
): void {
  const address = ipaddr.parse(group).toByteArray();
  // struct ip_mreqn { group, local address, ifindex }, struct ipv6_mreq { group, ifindex }
  const request = new Uint8Array(family === AF_INET ? 12 : 20);
  request.set(address);
  new DataView(request.buffer).setInt32(family === AF_INET ? 8 : 16, ifindex, true);
  const [level, option] =
    family === AF_INET
      ? [SOL_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP]
      : [SOL_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP];
  if (syscalls().setsockopt(fd, level, option, request, request.length) === 0) return;
  const errno = syscalls().errno();
  // Joined already, or gone with its interface.
  if (join ? errno === EADDRINUSE : errno === EADDRNOTAVAIL || errno === ENODEV) return;
  throw systemError(`group ${group}: ${join ? 'join' : 'leave'}`);
}

/** Does this machine have the family at all (EAFNOSUPPORT)? */
export function hasFamily(family: Family): boolean {
  const fd = syscalls().socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return syscalls().errno() !== EAFNOSUPPORT;
  syscalls().close(fd);
  return true;
}

/** Opens a sending socket, or says PORT_TAKEN or ADDRESS_MISSING. @throws VtepError on anything else */
export function openSource(options: SourceOptions): number {
  const { family } = options;
  const what = `source port ${options.port}${options.local === '' ? '' : ` of ${options.local}`}`;
  const fd = openSocket(family, what);
  try {
    if (family === AF_INET) {
      // What is larger than the path's MTU is refused with DF and cut without, as the kernel's driver has it.
      set(fd, SOL_IP, IP_MTU_DISCOVER, options.df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT, what);
      // A remote may be a broadcast address of the underlay.
      set(fd, SOL_SOCKET, SO_BROADCAST, 1, what);
      // A host does not hear what it sends to its own groups.
      set(fd, SOL_IP, IP_MULTICAST_LOOP, 0, what);
      // A TTL of 1 to a group is the driver's to give: without one it takes the host's own.
      set(fd, SOL_IP, IP_MULTICAST_TTL, get(fd, SOL_IP, IP_TTL, what), what);
      if (options.noChecksum) set(fd, SOL_SOCKET, SO_NO_CHECK, 1, what);
    } else {
      set(fd, SOL_IPV6, IPV6_V6ONLY, 1, what);
      set(fd, SOL_IPV6, IPV6_DONTFRAG, 1, what);
      // Over IPv6 the kernel's driver sends from an address that is not the host's, too.
      trySet(fd, SOL_IPV6, IPV6_FREEBIND, 1);
      set(fd, SOL_IPV6, IPV6_MULTICAST_LOOP, 0, what);
      set(fd, SOL_IPV6, IPV6_MULTICAST_HOPS, get(fd, SOL_IPV6, IPV6_UNICAST_HOPS, what), what);
      // The label is what stands in the address of each datagram, and nothing of the kernel's own making.
      set(fd, SOL_IPV6, IPV6_FLOWINFO_SEND, 1, what);
      trySet(fd, SOL_IPV6, IPV6_AUTOFLOWLABEL, 0);
      if (options.noChecksum) set(fd, SOL_UDP, UDP_NO_CHECK6_TX, 1, what);
    }
    buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.bufferBytes);
    attachFilter(fd, TAKE_NOTHING, 'source socket');
    return bound(fd, options, what);
  } catch (error) {
    syscalls().close(fd);
    throw error;
  }
}

/** Does this kernel cut a message into datagrams (UDP_SEGMENT, Linux 4.18)? */
export function hasUdpSegment(): boolean {
  const fd = syscalls().socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const value = new Uint8Array(4);
  const bytes = new Uint8Array([4, 0, 0, 0]);
  const answer = syscalls().getsockopt(fd, SOL_UDP, UDP_SEGMENT, value, bytes);
  syscalls().close(fd);
  return answer === 0;
}

/** Does this kernel hand over datagrams in bundles (UDP_GRO, Linux 5.0)? */
export function hasUdpGro(): boolean {
  const fd = syscalls().socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const answer = trySet(fd, SOL_UDP, UDP_GRO, 1);
  syscalls().close(fd);
  return answer;
}

function openSocket(family: Family, what: string): number {
  const fd = syscalls().socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemError(what, family === AF_INET6 ? 'is IPv6 switched off on this machine?' : '');
  return fd;
}

/** struct sockaddr_in, struct sockaddr_in6 */
type Name = Pick<ListenerOptions, 'family' | 'local' | 'scope' | 'port'>;

/** Binds the socket and returns it; it is closed when the port is taken, or the address missing. */
function bound(fd: number, name: Name, what: string): number {
  if (bindTo(fd, name)) return fd;
  const errno = syscalls().errno();
  if (errno !== EADDRINUSE && errno !== EADDRNOTAVAIL) throw systemError(what);
  syscalls().close(fd);
  return errno === EADDRINUSE ? PORT_TAKEN : ADDRESS_MISSING;
}

function bindTo(fd: number, { family, local, scope, port }: Name): boolean {
  const name = new Uint8Array(family === AF_INET ? 16 : 28);
  const view = new DataView(name.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port, false);
  if (local !== '') name.set(ipaddr.parse(local).toByteArray(), family === AF_INET ? 4 : 8);
  if (family === AF_INET6) view.setUint32(24, scope, true);
  return syscalls().bind(fd, name, name.length) === 0;
}
