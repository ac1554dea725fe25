/**
 * A node of a flannel network in a namespace of its own: an underlay, the device `flannel.1` (and `flannel-v6.1`) of a
 * real VTEP, and what `ip` and the FDB say of it, in a form that can be compared with what leases ask for.
 */
import type { Overlay, Self } from '../../src/flannel/examine.ts';
import type { Lease } from '../../src/flannel/lease.ts';
import { ROUTE_PROTOCOL } from '../../src/flannel/reconcile.ts';
import type { DeviceConfig, Vtep } from '../../src/types.ts';
import { deviceConfig } from './device-config.ts';
import type { Namespace } from './netns.ts';

export const VNI = 1;
export const PORT = 8472;
export const OWN_MAC = '02:aa:00:00:00:01';
const OWN_MAC_V6 = '02:aa:00:00:00:06';

export const SELF: Self = {
  subnets: ['10.0.0.0/24', 'fd00:244::/64'],
  publicIps: ['172.31.255.1', 'fd00:1::1'],
  macs: [OWN_MAC, OWN_MAC_V6],
  networks: ['10.0.0.0/8', 'fd00:244::/32'],
};

export const OVERLAYS: readonly Overlay[] = [
  { family: 4, device: 'flannel.1', vni: VNI, port: PORT, mtu: 1430 },
  { family: 6, device: 'flannel-v6.1', vni: VNI, port: PORT, mtu: 1430 },
];

/** An underlay that all public addresses are on the link of. */
export function makeUnderlay(here: Namespace): void {
  here.ip(
    'link add u0 mtu 1500 type veth peer name u1',
    'addr add 172.31.255.1/12 dev u0',
    'addr add fd00:1::1/64 dev u0 nodad',
    'link set u1 up',
    'link set u0 up',
  );
}

/** As NODE makes it: up, with the network address of our subnet. */
export async function makeDevice(here: Namespace, vtep: Vtep, family: 4 | 6): Promise<void> {
  const { device } = OVERLAYS.find((one) => one.family === family)!;
  const differences: Partial<DeviceConfig> = {
    ...{ name: device, id: VNI, dstport: PORT, dev: 'u0', learning: false, mtu: 1430 },
    local: family === 4 ? '172.31.255.1' : 'fd00:1::1',
    address: family === 4 ? OWN_MAC : OWN_MAC_V6,
  };
  await vtep.addDevice(deviceConfig(differences));
  const address = family === 4 ? '10.0.0.0/32' : 'fd00:244::/128 nodad';
  here.ip(`addr add ${address} dev ${device}`, `link set ${device} up`);
}

const hex = (number: number) => number.toString(16).padStart(2, '0');

/** Member `n`, 1 to 65,000: 10.x.y.0/24 behind 172.16.x.y. */
export function leaseOf(n: number, differences: Partial<Lease> = {}): Lease {
  const high = n >> 8;
  const low = n & 255;
  return {
    key: `member ${n}`,
    subnet: `10.${high}.${low}.0/24`,
    publicIp: `172.16.${high}.${low}`,
    backendType: 'vxlan',
    backend: { vni: VNI, mac: `02:04:00:${hex(n >> 16)}:${hex(high & 255)}:${hex(low)}` },
    ...differences,
  };
}

/** The same with IPv6 beside it. */
export function dualLeaseOf(n: number, differences: Partial<Lease> = {}): Lease {
  const { backend, ...lease } = leaseOf(n);
  return {
    ...lease,
    backend: backend!,
    subnetV6: `fd00:244:${n.toString(16)}:1::/64`,
    publicIpV6: `fd00:1::${(n + 1).toString(16)}`,
    backendV6: { vni: VNI, mac: backend!.mac.replace('02:04', '02:06') },
    ...differences,
  };
}

/** One line for each entry, sorted. */
export interface Tables {
  routes: string[];
  neighbours: string[];
  fdb: string[];
  sources: string[];
}

interface RouteJson {
  dst: string;
  gateway?: string;
  dev?: string;
  flags?: string[];
  type?: string;
  metric?: number;
}

interface NeighbourJson {
  dst: string;
  lladdr?: string;
  state: string[];
}

/** What there is: the kernel's tables as `ip -j` has them, the VTEP's as it shows them. */
export function tablesOf(here: Namespace, vtep: Vtep, protocol = ROUTE_PROTOCOL): Tables {
  const found: Tables = { routes: [], neighbours: [], fdb: [], sources: [] };
  for (const family of ['-4', '-6']) {
    const routes = here.ipJson(family, 'route', 'show', 'table', 'main', 'proto', `${protocol}`);
    for (const { dst, gateway, dev, flags, type } of routes as RouteJson[]) {
      const onlink = flags?.includes('onlink') ? ' onlink' : '';
      found.routes.push(`${type ?? 'unicast'} ${dst} via ${gateway} dev ${dev}${onlink}`);
    }
  }
  for (const { device } of OVERLAYS) {
    if (!vtep.devices().some(({ config }) => config.name === device)) continue;
    const neighbours = here.ipJson('neigh', 'show', 'dev', device, 'nud', 'permanent') as NeighbourJson[];
    for (const { dst, lladdr } of neighbours) found.neighbours.push(`${dst} ${lladdr} dev ${device}`);
    for (const { mac, dst, port } of vtep.fdbShow(device)) {
      found.fdb.push(`${mac} ${dst}${port === undefined ? '' : ` port ${port}`} dev ${device}`);
    }
    for (const { mac, src, prefixes } of vtep.peerShow(device)) {
      found.sources.push(`${mac} ${src} ${prefixes.join(' ')} dev ${device}`);
    }
  }
  for (const lines of Object.values(found)) lines.sort();
  return found;
}

/** What leases ask for, each of which can be a peer and none of which is in another's way. @param direct on our link */
export function tablesFor(leases: Iterable<Lease>, families: readonly (4 | 6)[], direct = false): Tables {
  const wanted: Tables = { routes: [], neighbours: [], fdb: [], sources: [] };
  for (const lease of leases) {
    for (const family of families) {
      const { device } = OVERLAYS.find((one) => one.family === family)!;
      const [subnet, ip, backend] =
        family === 4
          ? [lease.subnet, lease.publicIp, lease.backend]
          : [lease.subnetV6, lease.publicIpV6, lease.backendV6];
      if (subnet === undefined) continue;
      const gateway = subnet.split('/')[0];
      wanted.sources.push(`${backend!.mac} ${ip} ${subnet} dev ${device}`);
      if (direct) {
        wanted.routes.push(`unicast ${subnet} via ${ip} dev u0`);
        continue;
      }
      wanted.neighbours.push(`${gateway} ${backend!.mac} dev ${device}`);
      const port = backend!.port === undefined ? '' : ` port ${backend!.port}`;
      wanted.fdb.push(`${backend!.mac} ${ip}${port} dev ${device}`);
      wanted.routes.push(`unicast ${subnet} via ${gateway} dev ${device} onlink`);
    }
  }
  for (const lines of Object.values(wanted)) lines.sort();
  return wanted;
}
