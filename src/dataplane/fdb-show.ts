/** An entry of the FDB as a line of `bridge fdb`. */
import { REMOTE_VNI_DEFAULT } from '../../assembly/layout.ts';
import type { FdbEntry } from '../types.ts';
import { readDomain } from './domains.ts';
import type { FdbHost } from './fdb.ts';
import type { Snapshot } from './fdb-entries.ts';
import { isExternal, type Remote } from './fdb-record.ts';
import { formatAddress, formatFlags, formatMac, formatState } from './fdb-text.ts';

/**
 * Keys in the order of `bridge -j fdb`; what is the device's own is left out.
 * @param remote absent for an entry with a nexthop group
 */
export function formatEntry(host: FdbHost, entry: Snapshot, remote: Remote | undefined): FdbEntry {
  const now = host.now();
  const { device, vni } = readDomain(host.view, entry.domain);
  return {
    mac: formatMac(entry.mac),
    ifname: host.deviceName(device),
    ...(remote && { dst: formatAddress(remote.address) }),
    ...(remote && remote.port !== 0 && { port: remote.port }),
    ...(remote && remote.vni !== REMOTE_VNI_DEFAULT && { vni: remote.vni }),
    ...(vni !== 0 && isExternal(host.view, device) && { src_vni: vni }),
    ...(remote && remote.ifindex !== 0 && via(host.ifname(remote.ifindex), remote.ifindex)),
    ...(entry.nhid !== 0 && { nhid: entry.nhid }),
    used: Math.max(0, now - entry.used),
    updated: Math.max(0, now - entry.updated),
    flags: formatFlags(entry.flags),
    state: formatState(entry.state),
  };
}

/** One line for each remote. */
export function formatEntries(host: FdbHost, entry: Snapshot): FdbEntry[] {
  if (entry.nhid !== 0) return [formatEntry(host, entry, undefined)];
  return entry.remotes.map((remote) => formatEntry(host, entry, remote));
}

function via(name: string, ifindex: number): { viaIf: string } | { viaIfIndex: number } {
  return name === '' ? { viaIfIndex: ifindex } : { viaIf: name };
}
