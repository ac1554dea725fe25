/**
 * A member's record as flannel keeps it: the last part of a key ("10.5.34.0-24", or "10.5.34.0-24&fd00:1::-64" with
 * both families) and a JSON value, to the byte as Go writes it. What is read is checked field by field, since it ends
 * in routes: a record that can't be right becomes a `SkippedRecord`, never an exception.
 */
import { integerOf, type Json, objectOf } from './json-object.ts';
import type { BackendData, Lease, MemberRecord, SkippedRecord, Subnets } from './lease.ts';
import type { IpVersion } from './prefix.ts';
import { formatAddress, formatNetwork, parseAddress, parseNetwork } from './subnets.ts';

const KEY = /(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/;
const MAX_VNI = 2 ** 24 - 1;
const UNSET = '0.0.0.0';
const ALL_ONES = 0xffffffffn;

class Malformed extends Error {}

/**
 * The record under a key.
 * @param vni what a backend's data means that names no VNI, as old members' don't
 */
export function parseLease(key: string, value: string, vni = 1): Lease | SkippedRecord {
  try {
    const subnets = parseSubnetKey(key);
    if (subnets === undefined) throw new Malformed('the key does not end in a subnet such as 10.244.1.0-24');
    return { key, ...subnets, ...readRecord(value, vni) };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { key, reason: error.message };
  }
}

export const isSkipped = (one: Lease | SkippedRecord): one is SkippedRecord => 'reason' in one;

/** The subnets that a key ends in; undefined for any other key. */
export function parseSubnetKey(key: string): Subnets | undefined {
  const [, base, length, base6, length6] = KEY.exec(key) ?? [];
  const subnet = parseNetwork(`${base}/${length}`, 4);
  if (subnet === undefined || subnet.length === 0) return undefined;
  const v4 = { subnet: `${base}/${length}` };
  if (base6 === undefined) return v4;
  const subnetV6 = parseNetwork(`${base6}/${length6}`, 6);
  if (subnetV6 === undefined || subnetV6.length === 0) return undefined;
  return { ...v4, subnetV6: formatNetwork(subnetV6) };
}

/** What `parseSubnetKey` reads. IPv6 alone has no such form. */
export function formatSubnetKey({ subnet, subnetV6 }: Subnets): string {
  return [subnet, subnetV6]
    .filter((one) => one !== undefined)
    .map((one) => one.replace('/', '-'))
    .join('&');
}

/** `{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}` */
export function formatLeaseValue(record: MemberRecord): string {
  return JSON.stringify({
    PublicIP: record.publicIp ?? UNSET,
    PublicIPv6: record.publicIpV6 ?? null,
    ...(record.backendType !== '' && { BackendType: record.backendType }),
    ...(record.backend && { BackendData: backendJson(record.backend) }),
    ...(record.backendV6 && { BackendV6Data: backendJson(record.backendV6) }),
  });
}

/** `{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}` */
export const formatBackendData = (data: BackendData) => JSON.stringify(backendJson(data));

function backendJson({ vni, mac, port }: BackendData) {
  return { VNI: vni, VtepMAC: mac, ...(port !== undefined && { Port: port }) };
}

function readRecord(text: string, vni: number): MemberRecord {
  const json = objectOf(readJson(text));
  if (json === undefined) throw new Malformed('the value is not a JSON object');
  const backendType = json.get('backendtype') ?? '';
  if (typeof backendType !== 'string') throw new Malformed('BackendType is not a string');
  const publicIp = readAddress(json, 'PublicIP', 4);
  const publicIpV6 = readAddress(json, 'PublicIPv6', 6);
  const record: MemberRecord = {
    ...(publicIp !== undefined && { publicIp }),
    ...(publicIpV6 !== undefined && { publicIpV6 }),
    backendType: backendType.toLowerCase(),
  };
  if (record.backendType !== 'vxlan') return record;
  const backend = readBackend(json, 'BackendData', vni);
  const backendV6 = readBackend(json, 'BackendV6Data', vni);
  if (publicIp !== undefined && backend !== undefined) record.backend = backend;
  if (publicIpV6 !== undefined && backendV6 !== undefined) record.backendV6 = backendV6;
  if (record.backend === undefined && record.backendV6 === undefined)
    throw new Malformed('PublicIP with BackendData, or PublicIPv6 with BackendV6Data, is needed');
  return record;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Malformed(`the value is not JSON: ${(error as Error).message}`);
  }
}

/** An address that frames can be sent to; undefined where none is set. */
function readAddress(json: Json, key: string, family: IpVersion): string | undefined {
  const given = json.get(key.toLowerCase());
  if (given === undefined || given === UNSET) return undefined;
  const address = typeof given === 'string' ? parseAddress(given, family) : undefined;
  if (address === undefined)
    throw new Malformed(`${key} ${JSON.stringify(given)}: an IPv${family} address is expected`);
  if (address.value === 0n) return undefined;
  const multicast = family === 4 ? address.value >> 28n === 0xen : address.value >> 120n === 0xffn;
  if (multicast || (family === 4 && address.value === ALL_ONES))
    throw new Malformed(`${key} ${given}: the address of one host is expected`);
  return formatAddress(address);
}

function readBackend(json: Json, key: string, vni: number): BackendData | undefined {
  const given = json.get(key.toLowerCase());
  return given === undefined ? undefined : readBackendData(given, key, vni);
}

/** A member's VTEP from JSON that has been parsed (the annotation `backend-data` of Kubernetes has the same shape). */
export function parseBackendData(given: unknown, name: string, vni = 1): BackendData | { reason: string } {
  try {
    return readBackendData(given, name, vni);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { reason: error.message };
  }
}

function readBackendData(given: unknown, name: string, otherwise: number): BackendData {
  const json = objectOf(given);
  if (json === undefined) throw new Malformed(`${name} is not an object`);
  const vni = integerOf(json.get('vni') ?? otherwise, 0, MAX_VNI);
  if (vni === undefined)
    throw new Malformed(`${name}.VNI ${JSON.stringify(json.get('vni'))}: 0 to ${MAX_VNI}`);
  const mac = readMac(json.get('vtepmac'));
  if (mac === undefined)
    throw new Malformed(
      `${name}.VtepMAC ${JSON.stringify(json.get('vtepmac')) ?? '(missing)'}: the MAC of one VTEP, six octets, is expected`,
    );
  if (!json.has('port')) return { vni, mac };
  const port = integerOf(json.get('port'), 1, 65535);
  if (port === undefined) throw new Malformed(`${name}.Port ${JSON.stringify(json.get('port'))}: 1 to 65535`);
  return { vni, mac, port };
}

/** The three ways of writing that Go reads: with colons, with dashes, in groups of four with dots. */
const MAC = /^(?:[\da-f]{2}(:[\da-f]{2}){5}|[\da-f]{2}(-[\da-f]{2}){5}|[\da-f]{4}(\.[\da-f]{4}){2})$/;

function readMac(given: unknown): string | undefined {
  const text = typeof given === 'string' ? given.toLowerCase() : '';
  if (!MAC.test(text)) return undefined;
  const octets = text.replace(/[^\da-f]/g, '').match(/../g)!;
  const isGroup = (Number.parseInt(octets[0]!, 16) & 1) === 1;
  return isGroup || octets.every((octet) => octet === '00') ? undefined : octets.join(':');
}
