/**
 * Group policy (draft-smith-vxlan-group-policy) as commands see it: which id is sent for which frames, which ids
 * are refused, and which have arrived. The kernel takes the id from a frame's mark and gives the mark of what it
 * receives to filters; a TAP carries no mark, so all of this happens here. What packets read is laid out by
 * assembly/layout.ts and read by assembly/policy.ts.
 *
 *   policy-sources.ts  (device, source MAC) -> what is sent
 *   policy-ids.ts      ids that arrive: refused, counted
 */
import {
  DEVICE_COUNT,
  DEVICE_FLAG_GBP,
  DEVICE_FLAG_POLICIES,
  DEVICE_FLAGS_OFFSET,
  DEVICE_POLICY_OFFSET,
  VXLAN_FLAG_GBP,
  VXLAN_GBP_APPLIED,
  VXLAN_GBP_DONT_LEARN,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { Policy, PolicyInfo, PolicyRequest } from '../types.ts';
import { type DeviceNames, findDevice } from './device-names.ts';
import { setPolicy } from './domains.ts';
import { deviceRecord } from './fdb-record.ts';
import { isGroup, parseMac } from './fdb-text.ts';
import { POLICY_ID_MAX, PolicyIds } from './policy-ids.ts';
import { PolicySources } from './policy-sources.ts';

type Send = Extract<PolicyRequest, { op: 'add' | 'del' }>;
type Filter = Extract<PolicyRequest, { op: 'refuse' | 'allow' }>;

export interface PoliciesHost extends DeviceNames {
  /** All of the dataplane's memory. */
  readonly view: DataView;
  /** Worker blocks in the memory. */
  readonly workers: number;
  /** The domain of a VNI that is listed or mapped on an external device; 0 = it is neither. */
  domainOf(device: number, vni: number): number;
}

/** Bits of the header's first word, VXLAN_FLAG_GBP included. An id of 0 without flags is a plain header, as on Linux. */
export function policyBits({ id, dontlearn, applied }: Policy): number {
  const bits = id | (dontlearn ? VXLAN_GBP_DONT_LEARN : 0) | (applied ? VXLAN_GBP_APPLIED : 0);
  return bits === 0 ? 0 : (bits | VXLAN_FLAG_GBP) >>> 0;
}

/** What one device sends. Kept here because the memory doesn't tell id 0 from none. */
interface Sent {
  device: Policy | undefined;
  readonly vnis: Map<number, Policy>;
  readonly macs: Map<string, Policy>;
}

export class Policies {
  readonly #host: PoliciesHost;
  readonly #sources: PolicySources;
  readonly #ids: PolicyIds;
  readonly #sent = new Map<number, Sent>();

  constructor(host: PoliciesHost) {
    this.#host = host;
    this.#sources = new PolicySources(host.view);
    this.#ids = new PolicyIds(host.view, host.workers);
  }

  /** @throws VtepError USAGE, UNSUPPORTED, NOT_FOUND or NO_SPACE; then nothing has changed */
  apply(request: PolicyRequest): void {
    const what = `policy ${request.op} dev ${request.dev}`;
    const device = findDevice(this.#host, what, request.dev);
    if (!this.#hasGbp(device)) {
      throw new VtepError('UNSUPPORTED', `${what}: Operation not supported: add the device with "gbp"`);
    }
    if (request.op === 'refuse' || request.op === 'allow') this.#filter(what, request, device);
    else this.#send(what, request, device);
    this.refresh(device);
  }

  /** Devices with `gbp`. @param dev absent: all. @throws VtepError NOT_FOUND, UNSUPPORTED */
  show(dev?: string): PolicyInfo[] {
    const found: PolicyInfo[] = [];
    const only = dev === undefined ? 0 : findDevice(this.#host, `policy show dev ${dev}`, dev);
    for (let device = 1; device < DEVICE_COUNT; ++device) {
      const name = only === 0 || only === device ? this.#host.deviceName(device) : '';
      if (name === '' || !this.#hasGbp(device)) continue;
      found.push({
        ifname: name,
        sent: this.#listSent(device),
        refused: this.#ids.refused(device),
        received: this.#ids.received(device),
      });
    }
    return found;
  }

  /** What a device sends unless VNI or MAC say otherwise. */
  ofDevice(device: number): Policy | undefined {
    return this.#sent.get(device)?.device;
  }

  /** The device's own, as `link add ... policy` gives it. @param policy undefined: plain headers */
  setDevice(device: number, policy: Policy | undefined): void {
    this.#sentOf(device).device = policy;
    this.refresh(device);
  }

  /** Writes what the device's record holds of this: also whenever the rest of the record has been written. */
  refresh(device: number): void {
    const { view } = this.#host;
    const { vnis, macs, device: own } = this.#sentOf(device);
    const at = deviceRecord(device);
    const looks = vnis.size > 0 || macs.size > 0 || this.#ids.refuses(device);
    const flags = view.getUint32(at + DEVICE_FLAGS_OFFSET, true) & ~DEVICE_FLAG_POLICIES;
    view.setUint32(at + DEVICE_POLICY_OFFSET, own ? policyBits(own) : 0, true);
    view.setUint32(at + DEVICE_FLAGS_OFFSET, (flags | (looks ? DEVICE_FLAG_POLICIES : 0)) >>> 0, true);
  }

  /** A VNI is no longer listed or mapped, and what its domain held of this is gone. */
  forgetVni(device: number, vni: number): void {
    if (this.#sent.get(device)?.vnis.delete(vni)) this.refresh(device);
  }

  /** The device goes; no worker may have it in hand. */
  remove(device: number): void {
    for (const mac of this.#sentOf(device).macs.keys()) this.#sources.remove(device, parseMac(mac)!);
    this.#sent.delete(device);
    this.#ids.remove(device);
    this.refresh(device);
  }

  #send(what: string, request: Send, device: number): void {
    const sent = this.#sentOf(device);
    const { vni, mac } = request;
    const policy = request.op === 'add' ? readPolicy(what, request) : undefined;
    if (vni !== undefined && mac !== undefined) {
      throw new VtepError('USAGE', `${what}: either "vni" or "mac": a policy is of one of them`);
    }
    const key = vni ?? mac?.toLowerCase();
    const known: ReadonlyMap<unknown, Policy> = vni === undefined ? sent.macs : sent.vnis;
    if (!policy && (key === undefined ? !sent.device : !known.has(key))) {
      throw new VtepError(
        'NOT_FOUND',
        `${what}: No such file or directory: "policy show" lists what there is`,
      );
    }
    if (vni !== undefined) this.#sendVni(what, device, vni, policy);
    else if (mac === undefined) sent.device = policy;
    else {
      const source = parseMac(mac);
      if (!source || isGroup(source)) {
        throw new VtepError('USAGE', `${what}: mac ${mac}: Provided Ethernet address is not unicast.`);
      }
      if (policy) this.#sources.set(what, device, source, policyBits(policy));
      else this.#sources.remove(device, source);
    }
    if (vni !== undefined) set(sent.vnis, vni, policy);
    if (mac !== undefined) set(sent.macs, mac.toLowerCase(), policy);
  }

  #sendVni(what: string, device: number, vni: number, policy: Policy | undefined): void {
    const domain = this.#host.domainOf(device, vni);
    if (domain === 0) {
      throw new VtepError(
        'NOT_FOUND',
        `${what}: No such file or directory: VNI ${vni} is none of an external device's; add it first, or leave "vni" out`,
      );
    }
    setPolicy(this.#host.view, domain, policy && policyBits(policy));
  }

  #filter(what: string, { op, id }: Filter, device: number): void {
    for (const [first, last] of id) {
      if (!isId(first) || !isId(last) || first > last) throw badId(what, `${first}-${last}`);
    }
    if (op === 'refuse') this.#ids.refuse(what, device, id);
    else this.#ids.allow(device, id);
  }

  #listSent(device: number): PolicyInfo['sent'] {
    const { device: own, vnis, macs } = this.#sentOf(device);
    return [
      ...(own ? [own] : []),
      ...[...vnis].sort(([one], [other]) => one - other).map(([vni, policy]) => ({ ...policy, vni })),
      ...[...macs]
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([mac, policy]) => ({ ...policy, mac })),
    ];
  }

  #sentOf(device: number): Sent {
    const known = this.#sent.get(device);
    if (known) return known;
    const made: Sent = { device: undefined, vnis: new Map(), macs: new Map() };
    this.#sent.set(device, made);
    return made;
  }

  #hasGbp(device: number): boolean {
    return (
      (this.#host.view.getUint32(deviceRecord(device) + DEVICE_FLAGS_OFFSET, true) & DEVICE_FLAG_GBP) !== 0
    );
  }
}

function set<Key>(map: Map<Key, Policy>, key: Key, policy: Policy | undefined): void {
  if (policy) map.set(key, policy);
  else map.delete(key);
}

function readPolicy(what: string, { id, dontlearn, applied }: Policy): Policy {
  if (!isId(id)) throw badId(what, String(id));
  return { id, ...(dontlearn && { dontlearn }), ...(applied && { applied }) };
}

function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= POLICY_ID_MAX;
}

function badId(what: string, text: string): VtepError {
  return new VtepError(
    'USAGE',
    `${what}: invalid id ${text}: a policy id is a number from 0 to ${POLICY_ID_MAX}`,
  );
}
