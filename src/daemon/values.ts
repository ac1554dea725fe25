/**
 * Reads one value at a time: a word of the command line, a value of the configuration file or of the
 * control API. Each reader takes text or a number, returns the value in its one canonical form, and
 * refuses with the words iproute2 and the kernel's driver use, followed by what would have been right.
 *
 * Text follows C: 0x2a and 052 are numbers. A number that is a number already is taken as it is.
 */
import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { VtepError } from '../errors.ts';

export type Value = string | number;
export type Reader<T> = (value: Value) => T;

export const ZERO_MAC = '00:00:00:00:00:00';
export const VNI_MAX = 0xffffff;
export const DSTPORT_DEFAULT = 8472;
/** Of a device that carries packets without Ethernet header (GPE). */
export const DSTPORT_GPE = 4790;
export const AGEING_DEFAULT_SECONDS = 300;

/** A TOS of 1 means "inherit" to the kernel's driver. */
const TOS_INHERIT = 1;

/** Code points by name, as iproute2 ships them (RFC 2474, RFC 2597, RFC 3246). */
const CODE_POINTS: Readonly<Record<string, number>> = {
  default: 0,
  CS1: 0x20,
  CS2: 0x40,
  CS3: 0x60,
  CS4: 0x80,
  CS5: 0xa0,
  CS6: 0xc0,
  CS7: 0xe0,
  AF11: 0x28,
  AF12: 0x30,
  AF13: 0x38,
  AF21: 0x48,
  AF22: 0x50,
  AF23: 0x58,
  AF31: 0x68,
  AF32: 0x70,
  AF33: 0x78,
  AF41: 0x88,
  AF42: 0x90,
  AF43: 0x98,
  EF: 0xb8,
};

/** What `ip` refuses as no address or MAC at all, and what the kernel refuses, has another exit code than the rest. */
const NO_ADDRESS_EXIT = 1;
const KERNEL_EXIT = 2;

function refuse(why: string, exit?: number): never {
  throw new VtepError('USAGE', why, exit);
}

/** A whole number that is not negative, or undefined. */
function whole(value: Value): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  if (/^0[xX][0-9a-fA-F]+$/.test(value)) return Number.parseInt(value, 16);
  if (/^0[0-7]*$/.test(value)) return Number.parseInt(value, 8);
  return /^[1-9][0-9]*$/.test(value) ? Number(value) : undefined;
}

export function within(minimum: number, maximum: number, why: string): Reader<number> {
  return (value) => {
    const number = whole(value);
    return number === undefined || number < minimum || number > maximum ? refuse(why) : number;
  };
}

export const vni = within(0, VNI_MAX, `invalid id: a VNI is a number from 0 to ${VNI_MAX}`);
export const fdbVni = within(0, VNI_MAX, `invalid VNI: a VNI is a number from 0 to ${VNI_MAX}`);
export const srcVni = within(0, VNI_MAX, `invalid src VNI: a VNI is a number from 0 to ${VNI_MAX}`);
export const nhid = within(0, 0xffffffff, '"id" value is invalid: the number of a nexthop group is expected');
export const fdbPort = within(0, 65535, 'invalid port: a UDP port is a number from 0 to 65535');
export const sourcePortMin = within(0, 65535, 'min port: a UDP port is a number from 0 to 65535');
export const sourcePortMax = within(0, 65535, 'max port: a UDP port is a number from 0 to 65535');
export const queues = within(1, 8, 'the number of queues is 1 to 8');
export const THREADS_RANGE = 'threads of a queue are 1 or 2';
export const threads = within(1, 2, THREADS_RANGE) as Reader<1 | 2>;
export const SPIN_RANGE = 'microseconds, 0 to 100000: 0 is none';
export const spin = within(0, 100_000, SPIN_RANGE);

/** 0 is how iproute2 asks for the default without its notice. */
export const dstport = within(0, 65535, 'dst port: a UDP port is a number from 0 to 65535');
export const listenPort = within(1, 65535, 'listen: a UDP port is a number from 1 to 65535');
export const policy = within(0, 65535, 'policy: a group policy id is a number from 0 to 65535');

/** `4789,8473`, each port once, in order. */
export const listen: Reader<number[]> = (value) => {
  const ports = String(value).split(',').map(listenPort);
  return [...new Set(ports)].sort((one, other) => one - other);
};

const anyLabel = within(
  0,
  0xfffff,
  'invalid flowlabel: a number from 0 to 0xfffff, or "inherit", is expected',
);

export const flowlabel: Reader<number | 'inherit'> = (value) =>
  value === 'inherit' ? value : anyLabel(value);

const U64_MAX = 0xffffffffffffffffn;

/** Eight octets of header as one number; the canonical form is hexadecimal. */
export const reservedBits: Reader<string> = (value) => {
  const why = 'reserved_bits: a number of 64 bits is expected, such as 0xf7ffffff000000ff';
  const text = String(value);
  if (typeof value === 'number' && !Number.isSafeInteger(value)) refuse(`${why}, in quotes`);
  if (!/^(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(text)) refuse(why);
  const octal = /^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text;
  if (/^0[0-9]+$/.test(text) && octal === text) refuse(why);
  const bits = BigInt(octal);
  return bits > U64_MAX ? refuse(why) : `0x${bits.toString(16)}`;
};

const anyMtu = within(0, 0xffffffff, 'Invalid "mtu" value: a number of bytes is expected');

export const mtu: Reader<number> = (value) => {
  const bytes = anyMtu(value);
  return bytes < 68 || bytes > 65535 ? refuse('MTU must be between 68 and 65535.', KERNEL_EXIT) : bytes;
};

/** The same of a device that is there: the kernel has other words then. */
export const mtuChange: Reader<number> = (value) => {
  const bytes = anyMtu(value);
  if (bytes < 68) refuse('mtu less than device minimum, which is 68', KERNEL_EXIT);
  return bytes > 65535 ? refuse('mtu greater than device maximum, which is 65535', KERNEL_EXIT) : bytes;
};

const anyAgeing = within(0, 0xffffffff, 'ageing timer: a number of seconds or "none" is expected');

/** 0 does not switch ageing off: the kernel's driver takes it for its default, and so do we. "never" does. */
export const ageing: Reader<number | 'never'> = (value) => {
  if (value === 'never') return value;
  return value === 'none' ? AGEING_DEFAULT_SECONDS : anyAgeing(value) || AGEING_DEFAULT_SECONDS;
};

const anyLimit = within(0, 0xffffffff, 'max addresses: a number of entries or "unlimited" is expected');

export const maxaddress: Reader<number> = (value) => (value === 'unlimited' ? 0 : anyLimit(value));

export const ttl: Reader<number | 'inherit'> = (value) => {
  if (value === 'inherit') return 'inherit';
  if (value === 'auto') return 0;
  const hops = whole(value) ?? refuse('invalid TTL: 1 to 255, "auto" or "inherit" is expected');
  return hops > 255 ? refuse('TTL must be <= 255') : hops;
};

/** Text is hexadecimal even without 0x, as everywhere in iproute2; a number is a number. */
export const tos: Reader<number | 'inherit'> = (value) => {
  if (value === 'inherit' || value === TOS_INHERIT) return 'inherit';
  const named = typeof value === 'string' ? CODE_POINTS[value] : undefined;
  if (named !== undefined) return named;
  const text = typeof value === 'number' ? value.toString(16) : value.replace(/^0[xX]/, '');
  if (!/^[0-9a-fA-F]{1,2}$/.test(text))
    refuse('bad TOS value: 0x00 to 0xff, a name such as AF11, or "inherit" is expected');
  const field = Number.parseInt(text, 16);
  return field === TOS_INHERIT ? 'inherit' : field;
};

export const df: Reader<'unset' | 'set' | 'inherit'> = (value) =>
  value === 'unset' || value === 'set' || value === 'inherit'
    ? value
    : refuse("DF must be 'unset', 'set' or 'inherit'");

export const gso: Reader<'on' | 'off' | 'tunnel'> = (value) =>
  value === 'on' || value === 'off' || value === 'tunnel'
    ? value
    : refuse('gso: "on", "off" or "tunnel" is expected');

/** A switch with a value of its own, as ethtool has them. */
export const onOff: Reader<boolean> = (value) =>
  value === 'on' || value === 'off' ? value === 'on' : refuse('"on" or "off" is expected');

/** Of a hook. */
export const onstop: Reader<'pass' | 'drop'> = (value) =>
  value === 'pass' || value === 'drop' ? value : refuse('onstop: "pass" or "drop" is expected');

/** What the kernel takes for an interface name; "%" is refused because it would make a pattern of it. */
export const deviceName: Reader<string> = (value) => {
  const name = String(value);
  const fits = Buffer.byteLength(name) >= 1 && Buffer.byteLength(name) <= 15;
  return fits && name !== '.' && name !== '..' && !/[\s/:%\p{Cc}]/u.test(name)
    ? name
    : refuse('not a valid ifname: 1 to 15 characters without blanks, "/", ":" and "%"');
};

function macOf(value: Value): string | undefined {
  const parts = String(value).split(':');
  return parts.length === 6 && parts.every((part) => /^[0-9a-fA-F]{1,2}$/.test(part))
    ? parts.map((part) => part.toLowerCase().padStart(2, '0')).join(':')
    : undefined;
}

export const mac: Reader<string> = (value) =>
  macOf(value) ?? refuse(`Invalid mac address ${value}: write it as aa:bb:cc:dd:ee:ff`);

/** Broadcast, multicast and all-zeros addresses may have many remotes in an FDB entry. */
export function isMany(address: string): boolean {
  return address === ZERO_MAC || (Number.parseInt(address.slice(0, 2), 16) & 1) === 1;
}

function deviceMac(value: Value, why: string): string {
  const address =
    macOf(value) ?? refuse(`"${value}" is invalid lladdr: write it as aa:bb:cc:dd:ee:ff`, NO_ADDRESS_EXIT);
  return isMany(address) ? refuse(why, KERNEL_EXIT) : address;
}

/** The MAC of a device to be, and of one that is there. */
export const unicastMac: Reader<string> = (value) =>
  deviceMac(value, 'Provided Ethernet address is not unicast.');
export const unicastMacChange: Reader<string> = (value) =>
  deviceMac(value, 'Cannot assign requested address: it is not unicast');

/** Canonical text of an IP address (RFC 5952 for IPv6), or undefined. */
function canonical(value: Value): string | undefined {
  const text = String(value);
  if (isIPv4(text)) return text;
  return isIPv6(text) && !text.includes('%') ? ipaddr.parse(text).toString() : undefined;
}

export function family(address: string): 'inet' | 'inet6' {
  return address.includes(':') ? 'inet6' : 'inet';
}

export function isMulticast(address: string): boolean {
  return ipaddr.parse(address).range() === 'multicast';
}

/** fe80::/10, and the groups of that scope. */
export function isLinkLocal(address: string): boolean {
  return address.includes(':') && /^(fe[89ab]|ff.2:)/.test(address);
}

/** 0.0.0.0 or ::, "no address in particular". */
export function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function addressOf(value: Value, why: string): string {
  if (value === 'any' || value === 'default' || value === 'all') refuse(why);
  return (
    canonical(value) ??
    refuse(`any valid address is expected rather than "${value}": an IP address, not a name`, NO_ADDRESS_EXIT)
  );
}

/** The unspecified address says that there is none, and of which family none it is. */
export const remote: Reader<string> = (value) => {
  const why = 'invalid remote address: the unicast IP address of the far VTEP is expected';
  const address = addressOf(value, why);
  return isMulticast(address) || address === '255.255.255.255' ? refuse(why) : address;
};

export const group: Reader<string> = (value) => {
  const why = 'invalid group address: a multicast IP address is expected';
  const address = addressOf(value, why);
  return isMulticast(address) ? address : refuse(why);
};

export const local: Reader<string> = (value) => {
  const why = 'invalid local address: a unicast IP address of this host is expected';
  const address = addressOf(value, why);
  return isMulticast(address) || address === '255.255.255.255' ? refuse(why) : address;
};

export const dst: Reader<string> = (value) =>
  addressOf(value, 'invalid dst address: the IP address of the far VTEP is expected');
