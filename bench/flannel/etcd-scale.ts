/**
 * Thousands of leases in a real etcd, each with an etcd lease of its own as flanneld makes them: how long a node takes
 * from the start of its process until all of them are programmed, how long one change takes, and what memory is gone.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EtcdServer } from '../../test/support/flannel-etcd-server.ts';
import { PREFIX, SUBNETS, UNDERLAY } from '../../test/support/flannel-network.ts';
import type { NodeProcess } from '../../test/support/kernel-node.ts';
import { Gateway } from '../../test/support/kernel-node-etcd.ts';
import type { Bed, Namespace } from '../../test/support/netns.ts';
import { ask, startVxlaneNode } from '../../test/support/vxlane-node.ts';
import { ADDRESS, macOf, publicIpOf, subnetOf } from './members.ts';
import { Watcher } from './watcher.ts';

const LEASE_SECONDS = 86_400;
const WRITERS = 32;
const DEADLINE_MS = 120_000;
const SETTLE_MS = 3000;

export interface EtcdScale {
  leases: number;
  /** From the start of the process to the last route, milliseconds. */
  startMs: number[];
  /** From the request that changes a lease to what the kernel announces, milliseconds. */
  macChangeMs: number[];
  joinMs: number[];
  leaveMs: number[];
  /** Resident bytes once all is programmed: what is its own, and with the shared memory of the dataplane. */
  anonymousBytes: number;
  residentBytes: number;
  peakBytes: number;
}

const keyOf = (index: number) => `${SUBNETS}/${subnetOf(index).replace('/', '-')}`;
const networkAddress = (subnet: string) => subnet.split('/')[0]!;
const recordOf = (index: number, generation = 0) =>
  JSON.stringify({
    PublicIP: publicIpOf(index),
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: macOf(index, generation) },
  });

async function fill(etcd: Gateway, leases: number): Promise<void> {
  let next = 0;
  const write = async () => {
    while (next < leases) {
      const index = next++;
      await etcd.put(keyOf(index), recordOf(index), await etcd.grant(LEASE_SECONDS));
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
}

function memoryOf(pid: number): Record<string, number> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').matchAll(/^(VmRSS|VmHWM|RssAnon):\s+(\d+) kB$/gm);
  return Object.fromEntries([...lines].map(([, name, kilobytes]) => [name, Number(kilobytes) * 1024]));
}

/** @param namespace with the underlay `eth0`, in which this process is too */
export async function measureEtcd(
  bed: Bed,
  namespace: Namespace,
  { leases, starts, changes }: { leases: number; starts: number; changes: number },
): Promise<EtcdScale> {
  const server = new EtcdServer(bed, namespace, ADDRESS);
  await server.start();
  const config = { Network: '100.64.0.0/10', SubnetLen: 24, Backend: { Type: 'vxlan' } };
  server.ctl('put', `${PREFIX}/config`, JSON.stringify(config));
  const etcd = new Gateway([server.endpoint]);
  await fill(etcd, leases);

  const directory = bed.directory();
  const socket = join(directory, 'vxlane.sock');
  const options = {
    endpoints: [server.endpoint],
    iface: UNDERLAY,
    subnetFile: join(directory, 'subnet.env'),
    stateDirectory: directory,
    socket,
  };
  const watcher = new Watcher(namespace);
  const startMs: number[] = [];
  let node: NodeProcess | undefined;
  for (let round = 0; round < starts; ++round) {
    await node?.stop();
    const seen = new Set<string>();
    const isRoute = /^(100\.\d+\.\d+\.0\/24) via .* dev flannel\.1 /;
    const last = watcher.until(
      (line) => {
        const subnet = isRoute.exec(line)?.[1];
        return subnet !== undefined && seen.add(subnet).size === leases;
      },
      DEADLINE_MS,
      `${leases} routes`,
    );
    const started = performance.now();
    node = startVxlaneNode(namespace, options);
    const failed = node.failed();
    startMs.push((await Promise.race([last, failed])) - started);
  }
  await sleep(SETTLE_MS);
  const { VmRSS, VmHWM, RssAnon } = memoryOf(node!.pid);
  check(namespace, socket, leases);

  const timed = async (what: string, isLast: (line: string) => boolean, change: () => Promise<unknown>) => {
    await sleep(50);
    const done = watcher.until(isLast, 10_000, what);
    const started = performance.now();
    await change();
    return (await done) - started;
  };
  const lease = await etcd.grant(LEASE_SECONDS);
  const [macChangeMs, joinMs, leaveMs]: [number[], number[], number[]] = [[], [], []];
  for (let round = 1; round <= changes; ++round) {
    const index = Math.floor((leases * round) / (changes + 1));
    const mac = macOf(index, round);
    macChangeMs.push(
      await timed(
        'a changed MAC',
        (line) => line.startsWith(networkAddress(subnetOf(index))) && line.includes(mac),
        () => etcd.put(keyOf(index), recordOf(index, round), lease),
      ),
    );
    const route = (line: string) => line.includes(`${subnetOf(leases)} via`);
    joinMs.push(
      await timed(
        'a new lease',
        (line) => !line.startsWith('Deleted') && route(line),
        () => etcd.put(keyOf(leases), recordOf(leases), lease),
      ),
    );
    leaveMs.push(
      await timed(
        'a lease that went',
        (line) => line.startsWith('Deleted') && route(line),
        () => etcd.remove(keyOf(leases)),
      ),
    );
  }
  watcher.close();
  await node!.stop();
  return {
    ...{ leases, startMs, macChangeMs, joinMs, leaveMs },
    ...{ anonymousBytes: RssAnon!, residentBytes: VmRSS!, peakBytes: VmHWM! },
  };
}

/** Every kind of entry is there, once for each lease. @throws Error */
function check(namespace: Namespace, socket: string, leases: number): void {
  const routes = namespace.ipJson('route', 'show', 'dev', 'flannel.1').length;
  const neighbours = namespace.ipJson('neigh', 'show', 'dev', 'flannel.1', 'nud', 'permanent').length;
  const fdb = ask(namespace, socket, 'fdb', 'show', 'dev', 'flannel.1').length;
  const counts = { routes, neighbours, fdb };
  for (const [what, count] of Object.entries(counts)) {
    if (count !== leases) throw new Error(`${count} ${what} for ${leases} leases`);
  }
}
