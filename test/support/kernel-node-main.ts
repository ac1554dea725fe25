/**
 * A member of a flannel network on the kernel's own vxlan device: what flanneld (v0.28) does with etcd and with
 * netlink, in its order and with its faults, written from what is known of its behaviour. Beside it a vxlane node has
 * to hold its own.
 *
 *   1 config          <prefix>/config, asked for each second until it is there
 *   2 device          made, or kept when id, port, local address and interface are the same; its MAC is what it has
 *   3 lease           the one with our public IP; else the subnet of subnet.env if nobody has it; else one of the
 *                     first hundred that are free. Key <prefix>/subnets/A.B.C.D-LEN, created only if absent, under an
 *                     etcd lease. Value: {"PublicIP","PublicIPv6","BackendType","BackendData","BackendV6Data"}
 *   4 address         the subnet's network address /32 (/128); link up
 *   5 subnet.env      written beside and renamed
 *   6 watch           from the revision of a listing. Each PUT of another member programs it anew, even when nothing
 *                     has changed; a DELETE removes what was last known of it. A broken watch resumes at the last
 *                     revision; a compacted one lists again, and only subnets that came or went are seen
 *   7 renewal         a new etcd lease and the key put again, a margin before the old one ends
 *   8 our own DELETE  ends the process. Everything stays in the kernel, as at any exit
 *
 * Faults kept: nothing of an earlier life is swept, a changed MAC leaks its FDB entry, attributes that change
 * during a gap are not seen. Left out: iptables and nftables, Windows, the Kubernetes manager. Scaled for tests:
 * --lease-seconds (86400 there) and --margin-seconds (3600 there, in minutes).
 *
 * Started inside the node's namespace: node --import tsx kernel-node-main.ts --iface eth0 --etcd-endpoints URL ...
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Device, type Underlay, underlayOf } from './kernel-node-device.ts';
import { Gateway, type WatchEvent } from './kernel-node-etcd.ts';
import { acquire, FAMILIES, type LeaseValue, type Member, memberOf } from './kernel-node-lease.ts';
import { Peers } from './kernel-node-peers.ts';
import {
  addressText,
  cidrText,
  type Family,
  type NetConfig,
  parseCidr,
  parseConfig,
} from './kernel-node-subnets.ts';

const { values: flags } = parseArgs({
  options: {
    'etcd-endpoints': { type: 'string', default: 'http://127.0.0.1:4001,http://127.0.0.1:2379' },
    'etcd-prefix': { type: 'string', default: '/coreos.com/network' },
    iface: { type: 'string' },
    'public-ip': { type: 'string' },
    'public-ipv6': { type: 'string' },
    'subnet-file': { type: 'string', default: '/run/flannel/subnet.env' },
    'ip-masq': { type: 'boolean', default: false },
    'lease-seconds': { type: 'string', default: '86400' },
    'margin-seconds': { type: 'string', default: '3600' },
  },
});
if (flags.iface === undefined) throw new Error('--iface is missing');

const SUBNETS = `${flags['etcd-prefix']}/subnets`;
const LEASE_SECONDS = Number(flags['lease-seconds']);
const RETRY_MS = 1000;
const etcd = new Gateway(flags['etcd-endpoints'].split(','));

async function untilDone<T>(what: string, work: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    try {
      const result = await work();
      if (result !== undefined) return result;
    } catch (error) {
      console.error(`${what}: ${(error as Error).message}`);
    }
    await sleep(RETRY_MS);
  }
}

function previousSubnets(): Member['subnets'] {
  try {
    const text = readFileSync(flags['subnet-file'], 'utf8');
    const find = (name: string) => new RegExp(`^${name}=(.+)$`, 'm').exec(text)?.[1];
    const [v4, v6] = [find('FLANNEL_SUBNET'), find('FLANNEL_IPV6_SUBNET')];
    return { ...(v4 ? { 4: parseCidr(v4) } : {}), ...(v6 ? { 6: parseCidr(v6) } : {}) };
  } catch {
    return {};
  }
}

function writeSubnetEnv(config: NetConfig, { subnets }: Member, mtu: number): void {
  const lines = FAMILIES.flatMap((family) => {
    const [range, subnet] = [config.ranges[family], subnets[family]];
    if (!range || !subnet) return [];
    const prefix = family === 4 ? 'FLANNEL' : 'FLANNEL_IPV6';
    const first = `${addressText(family, subnet.base + 1n)}/${subnet.length}`;
    return [`${prefix}_NETWORK=${cidrText(range.network)}`, `${prefix}_SUBNET=${first}`];
  });
  const path = flags['subnet-file'];
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  writeFileSync(
    `${path}.part`,
    `${[...lines, `FLANNEL_MTU=${mtu}`, `FLANNEL_IPMASQ=${flags['ip-masq']}`].join('\n')}\n`,
    { mode: 0o644 },
  );
  renameSync(`${path}.part`, path);
}

async function follow(peers: Peers): Promise<never> {
  let revision: string | undefined;
  let pauseMs = 100;
  let work: Promise<void> = Promise.resolve();
  for (;;) {
    try {
      if (revision === undefined) {
        const listed = await etcd.list(SUBNETS);
        revision = listed.revision;
        work = work.then(() => peers.snapshot(listed.kvs.flatMap((kv) => memberOf(kv) ?? [])));
      }
      const heard = (events: WatchEvent[], at: string) => {
        revision = at;
        pauseMs = 100;
        for (const event of events) {
          work = work.then(() => peers.change(event)).catch((error: Error) => console.error(error.message));
        }
      };
      const end = await etcd.watch(SUBNETS, revision, heard, new AbortController().signal);
      if (end.compacted) revision = undefined;
    } catch (error) {
      console.error(`watch: ${(error as Error).message}`);
    }
    await sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 2, 5000);
  }
}

async function renew(key: string, value: LeaseValue): Promise<never> {
  const marginMs = Number(flags['margin-seconds']) * 1000;
  for (;;) {
    await sleep(Math.max(LEASE_SECONDS * 1000 - marginMs, 0));
    await untilDone('renewal', async () => {
      await etcd.put(key, JSON.stringify(value), await etcd.grant(LEASE_SECONDS));
      return true;
    });
  }
}

function publish(
  underlay: Underlay,
  config: NetConfig,
  devices: Partial<Record<Family, Device>>,
): LeaseValue {
  const data = (device: Device | undefined) => device && { VNI: config.vni, VtepMAC: device.mac() };
  const [v4, v6] = [data(devices[4]), data(devices[6])];
  return {
    PublicIP: (v4 && (flags['public-ip'] ?? underlay.address[4])) ?? '0.0.0.0',
    PublicIPv6: (v6 && (flags['public-ipv6'] ?? underlay.address[6])) ?? null,
    BackendType: 'vxlan',
    ...(v4 ? { BackendData: v4 } : {}),
    ...(v6 ? { BackendV6Data: v6 } : {}),
  };
}

const config = await untilDone('config', async () => {
  const kv = await etcd.get(`${flags['etcd-prefix']}/config`);
  return kv && parseConfig(kv.value);
});
const underlay = underlayOf(flags.iface);
const mtu = (config.mtu ?? underlay.mtu) - 50;
const devices: Partial<Record<Family, Device>> = {};
for (const family of FAMILIES) {
  if (!config.ranges[family]) continue;
  const { vni, port, directRouting } = config;
  devices[family] = new Device(family, { vni, port, mtu, underlay, directRouting });
}
const value = publish(underlay, config, devices);
const { member, key } = await untilDone('lease', () =>
  acquire({ etcd, prefix: SUBNETS, config, value, previous: previousSubnets(), seconds: LEASE_SECONDS }),
);
for (const family of FAMILIES) {
  devices[family]?.configure(member.subnets[family]!, config.ranges[family]!.network);
}
if (JSON.stringify(publish(underlay, config, devices)) !== JSON.stringify(value)) {
  throw new Error('the MAC of the device was changed by somebody');
}
writeSubnetEnv(config, member, mtu);
console.log(`node ready: ${key}`);
void renew(key, value);
await follow(new Peers(devices, member.subnets));
