/** The one address that a flannel device has: the network address of the node's subnet. */
import { writeFileSync } from 'node:fs';
import ipaddr from 'ipaddr.js';
import { ipBatch, readAddresses } from '../netlink/ip.ts';

/**
 * Gives a device its address and takes others away that lie in flannel's network (IPv4), or all others that are not
 * link-local (IPv6). Nothing happens when it is so already.
 * @throws VtepError SYSTEM
 */
export async function settleAddress(dev: string, subnet: string, network: string): Promise<void> {
  const [address] = ipaddr.parseCIDR(subnet);
  const isIpv4 = address.kind() === 'ipv4';
  const wanted = `${address}/${isIpv4 ? 32 : 128}`;
  const there = await readAddresses(dev, isIpv4 ? 4 : 6);
  const stale = there.filter((one) => one !== wanted && isOurs(one, network, isIpv4));
  const commands = stale.map((one) => `addr del ${one} dev ${dev}`);
  if (!there.includes(wanted)) commands.unshift(`addr add ${wanted} dev ${dev}${isIpv4 ? '' : ' nodad'}`);
  await ipBatch(commands);
}

function isOurs(text: string, network: string, isIpv4: boolean): boolean {
  const [address] = ipaddr.parseCIDR(text);
  if (!isIpv4) return address.range() !== 'linkLocal';
  return address.match(ipaddr.parseCIDR(network));
}

/** Routers on the overlay are none of ours to believe. Without IPv6 there is nothing to say. */
export function refuseRouterAdvertisements(dev: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${dev}/accept_ra`, '0');
  } catch {
    // IPv6 is off on this host.
  }
}
