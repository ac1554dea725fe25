/**
 * A node whose leases come from a source in memory: what the node itself costs, without etcd and its client, and how
 * that grows to more members than an etcd of flannel's would hold.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createVtep } from '../../src/create-vtep.ts';
import type { Lease, LeaseListener, LeaseSource } from '../../src/flannel/lease.ts';
import { parseNetConfig } from '../../src/flannel/net-config.ts';
import { Network } from '../../src/flannel/network.ts';
import { AF_INET } from '../../src/io/family.ts';
import { findRoute } from '../../src/netlink/route-table.ts';
import { NetlinkSocket } from '../../src/netlink/socket.ts';
import { UNDERLAY } from '../../test/support/flannel-network.ts';
import type { Bed, Namespace } from '../../test/support/netns.ts';
import { macOf, publicIpOf, smallSubnetOf } from './members.ts';
import { Watcher } from './watcher.ts';

const DEADLINE_MS = 140_000;

export interface Simulation {
  peers: number;
  /** From the snapshot to the last route, milliseconds. */
  snapshotMs: number;
  /** From a change to what the kernel announces, milliseconds. */
  changeMs: number[];
  /** Resident bytes of this process before the snapshot, and when all is programmed. */
  residentBefore: number;
  resident: number;
}

const leaseOf = (index: number, generation = 0): Lease => ({
  // Peers are programmed in the order of their keys.
  key: `lease ${`${index}`.padStart(6, '0')}`,
  subnet: smallSubnetOf(index),
  publicIp: publicIpOf(index),
  backendType: 'vxlan',
  backend: { vni: 1, mac: macOf(index, generation) },
});

/** Our own subnet lies before all others. */
const OWN_SUBNET = '10.0.0.0/25';

class Source implements LeaseSource {
  listener: LeaseListener | undefined;
  followed: () => void = () => undefined;
  #own: Lease | undefined;

  async config() {
    const text = JSON.stringify({ Network: '10.0.0.0/8', SubnetLen: 25, Backend: { Type: 'vxlan' } });
    return parseNetConfig(text, { where: 'simulation' });
  }
  async stored() {
    return {};
  }
  async acquire(self: Parameters<LeaseSource['acquire']>[0]): Promise<Lease> {
    this.#own = { key: 'own', subnet: OWN_SUBNET, ...self };
    return this.#own;
  }
  publish(): void {}
  follow(listener: LeaseListener, signal: AbortSignal): Promise<void> {
    this.listener = listener;
    this.followed();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }
  state() {
    return {
      ...({ kind: 'file', where: 'memory', synced: true, connected: true, since: 0 } as const),
      ...{ skipped: [], counters: {} },
    };
  }
  async close(): Promise<void> {}
}

/** @param namespace in which this process is too */
export async function simulate(
  bed: Bed,
  namespace: Namespace,
  { peers, changes }: { peers: number; changes: number },
): Promise<Simulation> {
  const directory = bed.directory();
  const vtep = await createVtep();
  const source = new Source();
  const followed = new Promise<void>((resolve) => {
    source.followed = resolve;
  });
  const network = new Network(
    {
      ...{ name: 'simulation', stateDirectory: directory, subnetFile: join(directory, 'subnet.env') },
      ...{ ipMasq: false, bind: false, validateSources: true, reconcileInterval: 3600 },
      ...{ iface: [UNDERLAY], ifaceRegex: [] },
    },
    { vtep, source, log: (level, message) => level === 'error' && process.stderr.write(`${message}\n`) },
  );
  network.start();
  await followed;
  const residentBefore = process.memoryUsage().rss;
  const leases = Array.from({ length: peers }, (_, index) => leaseOf(index));
  let started = performance.now();
  source.listener!.snapshot(leases);
  // Announcements of so many at once overflow whoever listens: the kernel is asked for the last one.
  const socket = new NetlinkSocket();
  const [address, length] = smallSubnetOf(peers - 1).split('/');
  const bytes = Uint8Array.from(address!.split('.'), Number);
  while (findRoute(socket, AF_INET, bytes, Number(length)) === undefined) {
    if (performance.now() - started > DEADLINE_MS) throw new Error(`not within ${DEADLINE_MS} ms`);
    await sleep(5);
  }
  const snapshotMs = performance.now() - started;
  socket.close();
  const routes = readFileSync('/proc/self/net/route', 'utf8').match(/^flannel\.1\t/gm)?.length ?? 0;
  if (routes !== peers) throw new Error(`${routes} routes for ${peers} peers`);
  await sleep(2000);
  const resident = process.memoryUsage().rss;
  const watcher = new Watcher(namespace);
  const changeMs: number[] = [];
  for (let round = 1; round <= changes; ++round) {
    await sleep(100);
    const changed = leaseOf(Math.floor((peers * round) / (changes + 1)), round);
    const mac = changed.backend!.mac;
    const seen = watcher.until((line) => line.includes(mac), 10_000, 'a changed MAC');
    started = performance.now();
    source.listener!.change([changed], []);
    changeMs.push((await seen) - started);
  }
  watcher.close();
  await network.close();
  await vtep.close();
  return { peers, snapshotMs, changeMs, residentBefore, resident };
}
