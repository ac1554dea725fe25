/** The file from which flannel's CNI plugin and Docker learn the node's subnet: /run/flannel/subnet.env. */
import { readFileSync } from 'node:fs';
import { writeWhole } from './atomic-file.ts';
import type { Subnets } from './lease.ts';
import { formatAddress, formatNetwork, parseNetwork } from './subnets.ts';

const FILE_MODE = 0o644;

export interface SubnetEnv extends Subnets {
  /** Networks of the cluster, "10.244.0.0/16". */
  network?: string;
  networkV6?: string;
  /** Of the pods' interfaces, bytes. */
  mtu: number;
  ipMasq: boolean;
}

/** To the byte as flanneld writes it: a family that is not in use has no lines, and a subnet stands with its first address. */
export function formatSubnetEnv({ network, networkV6, subnet, subnetV6, mtu, ipMasq }: SubnetEnv): string {
  const lines: string[] = [];
  if (network !== undefined && subnet !== undefined)
    lines.push(`FLANNEL_NETWORK=${network}`, `FLANNEL_SUBNET=${withFirstHost(subnet)}`);
  if (networkV6 !== undefined && subnetV6 !== undefined)
    lines.push(`FLANNEL_IPV6_NETWORK=${networkV6}`, `FLANNEL_IPV6_SUBNET=${withFirstHost(subnetV6)}`);
  lines.push(`FLANNEL_MTU=${mtu}`, `FLANNEL_IPMASQ=${ipMasq}`);
  return `${lines.join('\n')}\n`;
}

/** The subnets of an earlier life; what can't be read is not there. */
export function readSubnetEnv(path: string): Subnets {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return {};
  }
  const value = (key: string) => new RegExp(`^${key}=(\\S+)$`, 'm').exec(text)?.[1];
  const subnet = networkOf(value('FLANNEL_SUBNET'));
  const subnetV6 = networkOf(value('FLANNEL_IPV6_SUBNET'));
  return { ...(subnet === undefined ? {} : { subnet }), ...(subnetV6 === undefined ? {} : { subnetV6 }) };
}

/** Written whole or not at all; nothing happens when it is so already. @returns whether it was written */
export function writeSubnetEnv(path: string, env: SubnetEnv): boolean {
  const text = formatSubnetEnv(env);
  try {
    if (readFileSync(path, 'utf8') === text) return false;
  } catch {
    // It is not there yet.
  }
  writeWhole(path, text, FILE_MODE);
  return true;
}

/** "10.244.1.0/24" -> "10.244.1.1/24" */
function withFirstHost(subnet: string): string {
  const { family, value, length } = parseNetwork(subnet)!;
  return `${formatAddress({ family, value: value + 1n })}/${length}`;
}

function networkOf(subnet: string | undefined): string | undefined {
  const network = subnet === undefined ? undefined : parseNetwork(subnet, undefined, true);
  return network && formatNetwork(network);
}
