/**
 * What leases from Kubernetes cost: time and memory of the first snapshot, and how fast one change arrives, at 5,000
 * nodes of real size.
 *
 *   node --expose-gc --import tsx bench/kube-leases.ts [pod|kubeconfig [NODES]]
 *
 * KUBE_PAGES=1: the server keeps to pages of 500, as those from Kubernetes 1.31 on; others send all at once.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Lease } from '../src/flannel/lease.ts';
import { now, startManyNodes } from '../test/support/kube-many.ts';

const [, , how = 'pod', nodes = '5000'] = process.argv;
const count = Number(nodes);
const { gc } = globalThis;
const settle = async () => {
  gc?.();
  await new Promise((resolve) => setTimeout(resolve, 200));
  gc?.();
};
const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
const resident = () => mib(process.memoryUsage.rss());
const peak = () =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024);

const api = await startManyNodes(count);
const netConfPath = join(tmpdir(), `vxlane-net-conf-${process.pid}.json`);
writeFileSync(netConfPath, '{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}');
await settle();
const bare = resident();
const { createKubernetesSource } = await import('../src/flannel/kubernetes.ts');
const source = createKubernetesSource({
  ...(how === 'pod' ? api.pod : { kubeconfig: api.kubeconfig }),
  nodeName: 'nobody',
  netConfPath,
});
const ending = new AbortController();
const began = performance.now();
await source.config(ending.signal);
const loaded = performance.now() - began;
await settle();
const opened = resident();

let heard: (lease: Lease) => void = () => {};
let changes = 0;
const listed = performance.now();
const snapshot = await new Promise<readonly Lease[]>((resolve) => {
  void source.follow(
    {
      snapshot: resolve,
      change: (changed) => {
        changes += changed.length;
        for (const lease of changed) heard(lease);
      },
      own: () => {},
    },
    ending.signal,
  );
});
const snapshotMs = performance.now() - listed;
const afterList = resident();
await settle();
const afterGc = resident();

const latencies: number[] = [];
for (let round = 0; round < 200; round++) {
  const arrived = new Promise<[Lease, number]>((resolve) => {
    heard = (lease) => resolve([lease, now()]);
  });
  const { name, at } = await api.change();
  const [lease, when] = await arrived;
  if (lease.key !== name) throw new Error(`${lease.key} instead of ${name}`);
  latencies.push(when - at);
}
latencies.sort((a, b) => a - b);
const told = changes;
const cpu = process.cpuUsage();
for (let round = 0; round < 10; round++) await api.beat();
await new Promise((resolve) => setTimeout(resolve, 2000));
const { user, system } = process.cpuUsage(cpu);
await settle();
console.log(
  JSON.stringify({
    ...{ how, pages: process.env.KUBE_PAGES !== undefined, nodes: snapshot.length, nodeBytes: api.nodeBytes },
    milliseconds: {
      opened: Math.round(loaded),
      snapshot: Math.round(snapshotMs),
      changeMedian: Number(latencies[latencies.length >> 1]!.toFixed(2)),
      change99: Number(latencies[Math.floor(latencies.length * 0.99)]!.toFixed(2)),
    },
    residentMib: { bare, opened, afterList, afterGc, afterBeats: resident(), peak: peak() },
    heartbeats: {
      count: count,
      changesTold: changes - told,
      cpuMicrosecondsEach: Math.round((user + system) / count),
    },
  }),
);
ending.abort();
await source.close();
api.close();
