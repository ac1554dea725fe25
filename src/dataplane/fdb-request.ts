/**
 * Requests to the FDB, from words to the numbers that its memory holds. What cannot be right is
 * refused here, before the table is looked at.
 */
import {
  AF_INET,
  DEVICE_FAMILY_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_VNI_OFFSET,
  NTF_ADDED_BY_USER,
  NTF_EXT_LEARNED,
  NTF_MASTER,
  NTF_ROUTER,
  NTF_SELF,
  NTF_STICKY,
  REMOTE_VNI_DEFAULT,
  VXLAN_VNI_MAX,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FdbRequest } from '../types.ts';
import type { DeviceNames } from './device-names.ts';
import { deviceRecord, isExternal, type Remote } from './fdb-record.ts';
import { type Address, type Mac, parseAddress, parseMac, STATE_BITS } from './fdb-text.ts';

/** What the FDB knows of a device. */
export interface FdbDevice {
  readonly index: number;
  readonly name: string;
  readonly family: number;
  readonly vni: number;
  readonly port: number;
  /** Has a table for each VNI. */
  readonly external: boolean;
}

/** As it stands in memory. */
export function readFdbDevice(host: DeviceNames & { view: DataView }, index: number): FdbDevice {
  const { view } = host;
  const record = deviceRecord(index);
  return {
    index,
    name: host.deviceName(index),
    family: view.getUint8(record + DEVICE_FAMILY_OFFSET),
    vni: view.getUint32(record + DEVICE_VNI_OFFSET, true),
    port: view.getUint16(record + DEVICE_PORT_OFFSET, true),
    external: isExternal(view, index),
  };
}

/** An entry as a command wants it. */
export interface Wanted {
  /** The command, to begin a message with. */
  readonly what: string;
  readonly op: 'add' | 'append' | 'replace';
  readonly mac: Mac;
  /** One of the two. */
  readonly remote?: Remote;
  readonly nhid?: number;
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
  request: FdbRequest,
  op: Wanted['op'],
  device: FdbDevice,
  ifindex: (name: string) => number,
): Wanted {
  const what = describe(op, request.mac, request.dev);
  const mac = readMac(what, request.mac);
  const remote = readRemoteOf(what, request, device, ifindex);
  if (remote) checkFamily(what, remote.address, device);
  else if (!request.nhid)
    throw new VtepError('USAGE', `${what}: Invalid argument; say where to with "dst ADDRESS"`);
  const flags =
    NTF_SELF |
    NTF_ADDED_BY_USER |
    (request.router ? NTF_ROUTER : 0) |
    (request.extern_learn ? NTF_EXT_LEARNED : 0) |
    (request.master ? NTF_MASTER : 0) |
    (request.sticky ? NTF_STICKY : 0);
  const state = STATE_BITS[request.state ?? 'permanent'];
  if (state === undefined) {
    throw new VtepError('USAGE', `${what}: no state "${request.state}"; use permanent, static or dynamic`);
  }
  const target = remote ? { remote } : { nhid: request.nhid! };
  return { what, op, mac, ...target, state, flags, refresh: request.use === true };
}

/** The remote that a request names; undefined when it has no `dst`. What is left out is the device's own. */
export function readRemoteOf(
  what: string,
  request: Pick<FdbRequest, 'dst' | 'port' | 'vni' | 'via' | 'nhid'>,
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
  if (request.nhid && [dst, request.port, request.vni, via].some((given) => given !== undefined))
    throw new VtepError(
      'USAGE',
      `${what}: DST, VNI, ifindex and port are mutually exclusive with NH_ID.; the group names the remotes`,
    );
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

export function checkNumber(what: string, name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= most) return;
  throw new VtepError('USAGE', `${what}: ${name} ${value} is not a whole number from 0 to ${most}`);
}
