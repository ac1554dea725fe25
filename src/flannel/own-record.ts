/** What this node says of itself to the others, and what it remembers of an earlier life. */
import type { BackendData, MemberRecord, NetConfig, Subnets } from './lease.ts';
import { familiesOf } from './overlay.ts';
import type { IpVersion } from './prefix.ts';
import type { Underlay } from './underlay.ts';

/** undefined while an address or a device is missing. */
export function ownRecord(
  config: NetConfig,
  underlay: Underlay,
  macOf: (version: IpVersion) => string | undefined,
): MemberRecord | undefined {
  const record: MemberRecord = { backendType: 'vxlan' };
  for (const version of familiesOf(config)) {
    const mac = macOf(version);
    const address = version === 4 ? underlay.publicIp : underlay.publicIpV6;
    if (mac === undefined || address === undefined) return undefined;
    const backend: BackendData = { vni: config.backend.vni, mac };
    if (version === 4) Object.assign(record, { publicIp: address, backend });
    else Object.assign(record, { publicIpV6: address, backendV6: backend });
  }
  return record;
}

/** Subnets of an earlier life; what stands first counts. */
export function previousSubnets(...known: readonly Subnets[]): Subnets {
  const subnet = known.find((one) => one.subnet !== undefined)?.subnet;
  const subnetV6 = known.find((one) => one.subnetV6 !== undefined)?.subnetV6;
  return { ...(subnet === undefined ? {} : { subnet }), ...(subnetV6 === undefined ? {} : { subnetV6 }) };
}
