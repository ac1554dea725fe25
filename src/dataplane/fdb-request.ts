/**
 * Requests to the FDB, from words to the numbers that its memory holds. What cannot be right is
 * refused here, before the table is looked at.
 */
import {
  AF_INET,
  NTF_ADDED_BY_USER,
  NTF_EXT_LEARNED,
  NTF_ROUTER,
  NTF_SELF,
  NTF_STICKY,
  NUD_NOARP,
  NUD_PERMANENT,
  REMOTE_VNI_DEFAULT,
  VXLAN_VNI_MAX,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FdbFlush, FdbRequest } from '../types.ts';
import type { Remote } from './fdb-record.ts';
import { type Address, type Mac, parseAddress, parseMac, STATE_BITS, sameAddress } from './fdb-text.ts';

/** What the FDB knows of a device. */
export interface FdbDevice {
  readonly index: number;
  /** The VNI's table; the device's own number unless it is external. */
  readonly domain: number;
  readonly name: string;
  readonly family: number;
  readonly vni: number;
  readonly port: number;
}

/** An entry as a command wants it. */
export interface Wanted {
  /** The command, to begin a message with. */
  readonly what: string;
  readonly op: 'add' | 'append' | 'replace';
  readonly mac: Mac;
  readonly remote: Remote;
  readonly state: number;
  readonly flags: number;
  /** Counts as updated even if nothing changes. */
  readonly refresh: boolean;
}

export function describe(op: string, mac: string, dev: string): string {
  return `fdb ${op} ${mac} dev ${dev}`;
}

export function readMac(what: string, text: string): Mac {
  const mac = parseMac(text);
  if (mac) return mac;
  throw new VtepError('USAGE', `${what}: "${text}" is not a MAC; write it as 02:00:00:00:00:01`);
}

/** @throws VtepError UNSUPPORTED when the address is not of the device's family */
export function checkFamily(what: string, address: Address, device: FdbDevice): void {
  if (address.family === device.family) return;
  const family = device.family === AF_INET ? 'IPv4' : 'IPv6';
  throw new VtepError(
    'UNSUPPORTED',
    `${what}: Address family not supported by protocol; ${device.name} takes ${family} remotes`,
  );
}

export function readWanted(
  request: FdbRequest & { op: Wanted['op'] },
  device: FdbDevice,
  ifindex: (name: string) => number,
): Wanted {
  const what = describe(request.op, request.mac, request.dev);
  const mac = readMac(what, request.mac);
  const remote = readRemoteOf(what, request, device, ifindex);
  if (!remote) throw new VtepError('USAGE', `${what}: Invalid argument; say where to with "dst ADDRESS"`);
  checkFamily(what, remote.address, device);
  const flags =
    NTF_SELF |
    NTF_ADDED_BY_USER |
    (request.router ? NTF_ROUTER : 0) |
    (request.extern_learn ? NTF_EXT_LEARNED : 0) |
    (request.sticky ? NTF_STICKY : 0);
  const state = STATE_BITS[request.state ?? 'permanent'];
  if (state === undefined) {
    throw new VtepError('USAGE', `${what}: no state "${request.state}"; use permanent, static or dynamic`);
  }
  return { what, op: request.op, mac, remote, state, flags, refresh: request.use === true };
}

/** The remote that a request names; undefined when it has no `dst`. What is left out is the device's own. */
export function readRemoteOf(
  what: string,
  request: Pick<FdbRequest, 'dst' | 'port' | 'vni' | 'via'>,
  device: FdbDevice,
  ifindex: (name: string) => number,
): Remote | undefined {
  const { dst, port = 0, vni = device.vni, via } = request;
  checkNumber(what, 'port', port, 0xffff);
  checkNumber(what, 'vni', vni, VXLAN_VNI_MAX);
  const out = via === undefined ? 0 : ifindex(via);
  if (via !== undefined && out === 0) {
    throw new VtepError('NOT_FOUND', `${what}: Cannot find device "${via}"; "ip link" shows what there is`);
  }
  if (dst === undefined) return undefined;
  return {
    address: readAddress(what, dst),
    port: port === device.port ? 0 : port,
    vni: vni === device.vni ? REMOTE_VNI_DEFAULT : vni,
    ifindex: out,
  };
}

export function readAddress(what: string, text: string): Address {
  const address = parseAddress(text);
  if (address) return address;
  throw new VtepError(
    'USAGE',
    `${what}: "${text}" is not an IP address; write it as 192.0.2.1 or 2001:db8::1`,
  );
}

function checkNumber(what: string, name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= most) return;
  throw new VtepError('USAGE', `${what}: ${name} ${value} is not a whole number from 0 to ${most}`);
}

/** What an entry, and then each of its remotes, must be like to be flushed. */
export interface FlushMatch {
  entry(state: number, flags: number): boolean;
  /** Absent: the whole entry goes. */
  remote?(remote: Remote): boolean;
}

/** Bits asked for and bits that are to be as asked: permanent, static and dynamic, true and false. */
const FLUSH_STATES = {
  permanent: [
    [NUD_PERMANENT, NUD_PERMANENT],
    [0, NUD_PERMANENT],
  ],
  static: [
    [NUD_NOARP, NUD_NOARP | NUD_PERMANENT],
    [0, NUD_NOARP],
  ],
  dynamic: [
    [0, NUD_NOARP | NUD_PERMANENT],
    [NUD_NOARP, NUD_NOARP],
  ],
} as const;

export function readFlush(filter: FdbFlush, device: FdbDevice): FlushMatch {
  const what = `fdb flush dev ${filter.dev}`;
  let state = 0;
  let stateMask = 0;
  for (const word of ['permanent', 'static', 'dynamic'] as const) {
    const asked = filter[word];
    if (asked === undefined) continue;
    const [bits, mask] = FLUSH_STATES[word][asked ? 0 : 1];
    state |= bits;
    stateMask |= mask;
  }
  let flags = 0;
  let flagsMask = 0;
  for (const [bit, asked] of [
    [NTF_EXT_LEARNED, filter.extern_learn],
    [NTF_ROUTER, filter.router],
  ] as const) {
    if (asked === undefined) continue;
    flagsMask |= bit;
    if (asked) flags |= bit;
  }
  const entry = (has: number, flagged: number) =>
    (has & stateMask) === state && (flagged & flagsMask) === flags;
  const { dst, port, vni } = filter;
  if (dst === undefined && port === undefined && vni === undefined) return { entry };
  checkNumber(what, 'port', port ?? 0, 0xffff);
  checkNumber(what, 'vni', vni ?? 0, VXLAN_VNI_MAX);
  const address = dst === undefined ? undefined : readAddress(what, dst);
  return {
    entry,
    // A port or VNI left out when the entry was made is the device's: it matches by that number.
    remote: (remote) =>
      (address === undefined || sameAddress(remote.address, address)) &&
      (port === undefined || (remote.port || device.port) === port) &&
      (vni === undefined || (remote.vni === REMOTE_VNI_DEFAULT ? device.vni : remote.vni) === vni),
  };
}
