/** Who holds a UDP port of this network namespace, in words that say what to do about it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readLinks } from '../netlink/ip.ts';

/** "in use by the kernel's vxlan device vx0: ..." */
export async function holderOf(ipv4: boolean, port: number): Promise<string> {
  const devices = await kernelDevices(port);
  if (devices.length > 0) {
    const names = devices.join(', ');
    return `in use by the kernel's vxlan device ${names}: give another dstport, or "ip link del ${devices[0]}"`;
  }
  const holder = processHolding(ipv4, port);
  return holder === undefined
    ? 'in use by a socket of the kernel or of another user: give another dstport, or find it with "ss -lunp"'
    : `in use by process ${holder.pid} (${holder.name}): stop it, or give another dstport`;
}

async function kernelDevices(port: number): Promise<string[]> {
  try {
    const links = await readLinks('vxlan');
    return links.filter((link) => link.linkinfo?.info_data?.port === port).map((link) => link.ifname);
  } catch {
    return [];
  }
}

function processHolding(ipv4: boolean, port: number): { pid: number; name: string } | undefined {
  const inode = inodeOf(ipv4 ? '/proc/net/udp' : '/proc/net/udp6', port);
  if (inode === undefined) return undefined;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const fds = readdirSync(`/proc/${pid}/fd`);
      if (fds.some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`)) {
        return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() };
      }
    } catch {
      // Another user's process, or one that has just ended.
    }
  }
  return undefined;
}

function inodeOf(table: string, port: number): string | undefined {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
    const words = line.trim().split(/\s+/);
    if (words[1]?.endsWith(`:${hex}`) && words[9] !== '0') return words[9];
  }
  return undefined;
}
