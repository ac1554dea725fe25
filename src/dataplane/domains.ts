/**
 * The domain table: (device, VNI) -> what packets need to know of that VNI. Each device has the domain of its
 * own number; external devices have further ones. Written by the host only.
 */
import {
  DEVICE_COUNT,
  DOMAIN_BYTES,
  DOMAIN_COUNT,
  DOMAIN_DEVICE_OFFSET,
  DOMAIN_NO_POLICY,
  DOMAIN_NO_VLAN,
  DOMAIN_POLICY_OFFSET,
  DOMAIN_UNTAGGED_OFFSET,
  DOMAIN_VLAN_OFFSET,
  DOMAIN_VNI_OFFSET,
  DOMAINS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';

const FIRST = DEVICE_COUNT;
/** The last one is the MDB's. */
const FURTHER_DOMAINS = DOMAIN_COUNT - 1 - FIRST;

export interface DomainRecord {
  /** Index of the device. */
  device: number;
  /** 0 to 16777215 */
  vni: number;
  /** VLAN of its frames on the TAP, 0 to 4095; absent: none is mapped. */
  vlan?: number;
  /** Its frames are untagged on the TAP. */
  untagged?: boolean;
  /** GBP bits of the header; absent: the device's. */
  policy?: number;
}

/** The device is stored last: until then nobody looks at the rest. */
export function writeDomain(view: DataView, domain: number, record: DomainRecord): void {
  const at = domainRecord(domain);
  view.setUint32(at + DOMAIN_VNI_OFFSET, record.vni, true);
  view.setUint16(at + DOMAIN_VLAN_OFFSET, record.vlan ?? DOMAIN_NO_VLAN, true);
  view.setUint16(at + DOMAIN_UNTAGGED_OFFSET, record.untagged ? 1 : 0, true);
  view.setUint32(at + DOMAIN_POLICY_OFFSET, record.policy ?? DOMAIN_NO_POLICY, true);
  view.setUint32(at + DOMAIN_DEVICE_OFFSET, record.device, true);
}

/** Device and VNI of a domain; device 0 = the domain is free. */
export function readDomain(view: DataView, domain: number): { device: number; vni: number } {
  const at = domainRecord(domain);
  return {
    device: view.getUint32(at + DOMAIN_DEVICE_OFFSET, true),
    vni: view.getUint32(at + DOMAIN_VNI_OFFSET, true),
  };
}

/** @param bits GBP bits of the header; undefined: the device's */
export function setPolicy(view: DataView, domain: number, bits: number | undefined): void {
  view.setUint32(domainRecord(domain) + DOMAIN_POLICY_OFFSET, bits ?? DOMAIN_NO_POLICY, true);
}

/** What a domain's frames look like on the TAP. */
export function setVlan(
  view: DataView,
  domain: number,
  { vlan, untagged }: Pick<DomainRecord, 'vlan' | 'untagged'>,
): void {
  const at = domainRecord(domain);
  view.setUint16(at + DOMAIN_UNTAGGED_OFFSET, untagged ? 1 : 0, true);
  view.setUint16(at + DOMAIN_VLAN_OFFSET, vlan ?? DOMAIN_NO_VLAN, true);
}

/**
 * A free domain beyond those that devices have by their number.
 * @param from where to begin to look. Whoever goes on from the last answer gets back what was released
 *   last of all: a worker that still has it in hand is done with it by then.
 * @throws VtepError NO_SPACE
 */
export function freeDomain(view: DataView, from: number = FIRST): number {
  for (let step = 0; step < FURTHER_DOMAINS; ++step) {
    const domain = FIRST + ((Math.max(from, FIRST) - FIRST + step) % FURTHER_DOMAINS);
    if (readDomain(view, domain).device === 0) return domain;
  }
  throw new VtepError(
    'NO_SPACE',
    `vni: No space left on device: ${FURTHER_DOMAINS} VNIs of external devices are in use, the most there may be: delete some first`,
  );
}

/** Its FDB entries must have gone. */
export function releaseDomain(view: DataView, domain: number): void {
  view.setUint32(domainRecord(domain) + DOMAIN_DEVICE_OFFSET, 0, true);
}

function domainRecord(domain: number): number {
  return DOMAINS_BASE + domain * DOMAIN_BYTES;
}
