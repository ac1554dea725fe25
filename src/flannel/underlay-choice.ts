/**
 * Which interface and which addresses carry the tunnel: flanneld's choice by flanneld's flags, so that a node that
 * changes over keeps its public address. Where flanneld gives up though the answer is clear (dual stack over two
 * interfaces, an IPv6 address for --iface), each family goes its own way, and a note says so.
 */
import ipaddr from 'ipaddr.js';
import { VtepError } from '../errors.ts';
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import type { Address } from '../netlink/addresses.ts';
import type { Link } from '../netlink/links.ts';
import { goPattern } from './go-pattern.ts';
import { parseIp } from './prefix.ts';

export interface UnderlayOptions {
  /** Families that the network has: EnableIPv4, EnableIPv6. */
  ipv4: boolean;
  ipv6: boolean;
  /** --iface: names or addresses, the first that is there wins. */
  iface?: readonly string[] | undefined;
  /** --iface-regex: of addresses, else of names; tried after `iface`. */
  ifaceRegex?: readonly string[] | undefined;
  /** --iface-can-reach: the interface of the route to an address; tried last. */
  ifaceCanReach?: string | undefined;
  /** --public-ip, --public-ipv6: what is published. Without the flags above also the interface's address. */
  publicIp?: string | undefined;
  publicIpV6?: string | undefined;
}

export interface Underlay {
  ifname: string;
  ifindex: number;
  /** Of the interface, in bytes; the smaller one of two interfaces. */
  mtu: number;
  /** IPv6 goes through another interface: its name and index. */
  ifnameV6?: string;
  ifindexV6?: number;
  /** To send from, of the families asked for. */
  address?: string;
  addressV6?: string;
  /** For others to send to. */
  publicIp?: string;
  publicIpV6?: string;
  /** What flanneld would have refused or done differently. */
  notes: string[];
}

/** What the choice is made from. */
export interface Host {
  /** In the kernel's order, as are addresses. */
  links(): readonly Link[];
  addresses(): readonly Address[];
  /** ifindex of the default route; 0: there is none. */
  defaultInterface(family: Family): number;
  /** Way and source address to an address; undefined: there is no way. */
  route(family: Family, address: string): { out: number; source?: string } | undefined;
}

/** Interface and address of one family. */
interface Way {
  link: Link;
  address: string;
}

/** What one flag makes of one family. Throws NOT_FOUND with the reason when there is nothing. */
type Flag = (family: Family) => Way;

/**
 * @throws VtepError USAGE for flags that can't be right; NOT_FOUND when the host has no such interface or address now
 */
export function choose(options: UnderlayOptions, host: Host): Underlay {
  checkAddress('--public-ip', options.publicIp, AF_INET);
  checkAddress('--public-ipv6', options.publicIpV6, AF_INET6);
  const families = familiesOf(options);
  if (families.length === 0) {
    throw new VtepError(
      'USAGE',
      'underlay: neither IPv4 nor IPv6: set EnableIPv4 or EnableIPv6 in the network',
    );
  }
  const refusals: string[] = [];
  for (const flag of flagsOf(options, host)) {
    try {
      return underlayOf(options, families.map(flag));
    } catch (error) {
      if (!(error instanceof VtepError) || error.code === 'USAGE') throw error;
      refusals.push(error.message);
    }
  }
  throw new VtepError('NOT_FOUND', `${refusals.join('; ')}; interfaces: ${listOf(host)}`);
}

function underlayOf(options: UnderlayOptions, ways: readonly Way[]): Underlay {
  const [first, second] = ways as [Way, Way | undefined];
  const v4 = options.ipv4 ? first : undefined;
  const v6 = options.ipv6 ? (second ?? first) : undefined;
  const mtu = Math.min(...ways.map(({ link }) => link.mtu));
  const apart = second !== undefined && second.link.ifindex !== first.link.ifindex ? second.link : undefined;
  return {
    ifname: first.link.name,
    ifindex: first.link.ifindex,
    mtu,
    ...(apart === undefined ? {} : { ifnameV6: apart.name, ifindexV6: apart.ifindex }),
    ...(v4 === undefined ? {} : { address: v4.address, publicIp: options.publicIp ?? v4.address }),
    ...(v6 === undefined ? {} : { addressV6: v6.address, publicIpV6: options.publicIpV6 ?? v6.address }),
    notes:
      apart === undefined
        ? []
        : [`IPv4 goes through ${first.link.name} and IPv6 through ${apart.name}; flanneld would refuse that`],
  };
}

/** The flags in the order in which flanneld tries them. */
function flagsOf(options: UnderlayOptions, host: Host): Flag[] {
  const { iface = [], ifaceRegex = [], ifaceCanReach = '' } = options;
  const flags = [
    ...iface.map((text) => ifaceFlag(text, options, host)),
    ...ifaceRegex.map((text) => regexFlag(text, options, host)),
    ...(ifaceCanReach === '' ? [] : [canReachFlag(ifaceCanReach, host)]),
  ];
  return flags.length > 0 ? flags : [defaultFlag(options, host)];
}

function ifaceFlag(text: string, options: UnderlayOptions, host: Host): Flag {
  const flag = `--iface ${text}`;
  const own = familyOf(text);
  if (own === undefined) return (family) => firstAddress(flag, linkNamed(flag, text, host), family, host);
  return (family) => {
    if (family === own) return wayOf(flag, text, host);
    if (!options.ipv4 || !options.ipv6) {
      const remedy = `give an ${nameOf(family)} address`;
      throw new VtepError('NOT_FOUND', `${flag}: the network has no ${nameOf(own)}: ${remedy}`);
    }
    // The other family of a dual stack: its public address is one of the host's, or the same interface has one.
    const other = family === AF_INET ? options.publicIp : options.publicIpV6;
    const published = other === undefined ? undefined : findWay(other, host);
    return published ?? firstAddress(flag, wayOf(flag, text, host).link, family, host);
  };
}

/** Addresses go before names. In a dual stack one interface has to match with addresses of both families. */
function regexFlag(text: string, options: UnderlayOptions, host: Host): Flag {
  const flag = `--iface-regex ${text}`;
  const pattern = goPattern(flag, text);
  const families = familiesOf(options);
  const match = (link: Link, family: Family) =>
    usableAddresses(link, family, host).find((address) => pattern.test(address));
  return (family) => {
    const byAddress = host.links().find((link) => families.every((one) => match(link, one) !== undefined));
    if (byAddress !== undefined) return { link: byAddress, address: match(byAddress, family)! };
    const byName = host.links().find(({ name }) => pattern.test(name));
    if (byName === undefined)
      throw new VtepError('NOT_FOUND', `${flag}: matches no interface and no address`);
    return firstAddress(flag, byName, family, host);
  };
}

function canReachFlag(text: string, host: Host): Flag {
  const flag = `--iface-can-reach ${text}`;
  const own = familyOf(text);
  if (own === undefined) throw new VtepError('USAGE', `${flag}: an IP address is expected`);
  return (family) => {
    const route = host.route(own, text);
    const link = host.links().find(({ ifindex }) => ifindex === route?.out);
    if (route === undefined || link === undefined) {
      throw new VtepError('NOT_FOUND', `${flag}: there is no route to it`);
    }
    // As flanneld: of IPv6 it is the interface that counts, and its first address.
    if (family === AF_INET && own === AF_INET && route.source !== undefined) {
      return { link, address: route.source };
    }
    return firstAddress(flag, link, family, host);
  };
}

/** Without any flag: the interface that has the public address, else that of the default route. */
function defaultFlag(options: UnderlayOptions, host: Host): Flag {
  return (family) => {
    const [name, text] =
      family === AF_INET ? ['--public-ip', options.publicIp] : ['--public-ipv6', options.publicIpV6];
    if (text !== undefined) return wayOf(`${name} ${text}`, text, host);
    // flanneld takes one interface for both families; of a dual stack the other one's flag may name it.
    const other = family === AF_INET ? options.publicIpV6 : options.publicIp;
    const named = options.ipv4 && options.ipv6 && other !== undefined ? findWay(other, host) : undefined;
    if (named !== undefined) return firstAddress('underlay', named.link, family, host);
    const out = host.defaultInterface(family);
    const link = host.links().find(({ ifindex }) => ifindex === out);
    if (link === undefined) {
      const remedy = 'name the interface with --iface';
      throw new VtepError('NOT_FOUND', `underlay: there is no ${nameOf(family)} default route: ${remedy}`);
    }
    return firstAddress('underlay', link, family, host);
  };
}

function linkNamed(flag: string, name: string, host: Host): Link {
  const link = host.links().find((one) => one.name === name);
  if (link === undefined) throw new VtepError('NOT_FOUND', `${flag}: there is no such interface`);
  return link;
}

/** Any address of the host's, deprecated ones too. */
function findWay(text: string, host: Host): Way | undefined {
  const address = ipaddr.parse(text).toString();
  const found = host.addresses().find((one) => one.address === address);
  const link = host.links().find(({ ifindex }) => ifindex === found?.ifindex);
  return link === undefined ? undefined : { link, address };
}

function wayOf(flag: string, text: string, host: Host): Way {
  const way = findWay(text, host);
  if (way !== undefined) return way;
  const remedy = flag.startsWith('--public') ? ': name the interface with --iface' : '';
  throw new VtepError('NOT_FOUND', `${flag}: no interface has this address${remedy}`);
}

function firstAddress(flag: string, link: Link, family: Family, host: Host): Way {
  const [address] = usableAddresses(link, family, host);
  if (address !== undefined) return { link, address };
  throw new VtepError('NOT_FOUND', `${flag}: ${link.name} has no ${nameOf(family)} address: give it one`);
}

/**
 * Addresses of an interface as flanneld prefers them: global ones before link-local ones, those without a lifetime
 * before others, temporary ones last, else as the kernel lists them. Deprecated ones are left out.
 */
function usableAddresses(link: Link, family: Family, host: Host): string[] {
  const rank = ({ address, permanent, temporary }: Address) =>
    Number(isLinkLocal(address)) * 4 + Number(!permanent) * 2 + Number(temporary);
  return host
    .addresses()
    .filter((one) => one.ifindex === link.ifindex && one.family === family && !one.deprecated)
    .filter(({ address }) => isLinkLocal(address) || isGlobal(address))
    .sort((a, b) => rank(a) - rank(b))
    .map(({ address }) => address);
}

function isLinkLocal(address: string): boolean {
  return ipaddr.parse(address).range() === 'linkLocal';
}

/** Private ones are global in this sense. */
function isGlobal(address: string): boolean {
  return !['unspecified', 'loopback', 'multicast', 'broadcast'].includes(ipaddr.parse(address).range());
}

function checkAddress(flag: string, text: string | undefined, family: Family): void {
  if (text === undefined || familyOf(text) === family) return;
  throw new VtepError('USAGE', `${flag} ${text}: an ${nameOf(family)} address is expected`);
}

/** undefined: it is no address. "10" is none, though some read it so. */
function familyOf(text: string): Family | undefined {
  const bytes = parseIp(text);
  return bytes && (bytes.length === 4 ? AF_INET : AF_INET6);
}

function familiesOf({ ipv4, ipv6 }: UnderlayOptions): Family[] {
  return ([AF_INET, AF_INET6] as const).filter((family) => (family === AF_INET ? ipv4 : ipv6));
}

function nameOf(family: Family): string {
  return family === AF_INET ? 'IPv4' : 'IPv6';
}

function listOf(host: Host): string {
  const texts = host.links().map((link) => {
    const addresses = ([AF_INET, AF_INET6] as const).flatMap((family) => usableAddresses(link, family, host));
    return addresses.length === 0 ? link.name : `${link.name} (${addresses.join(', ')})`;
  });
  return texts.join(', ');
}
