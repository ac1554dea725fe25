/**
 * A flannel node at scale, beside a real etcd in a network namespace:
 *
 *   npm run bench:flannel -- [--only etcd,netlink,simulation] [--leases N] [--starts N] [--changes N]
 *                            [--entries N] [--peers N] [--json FILE]
 *
 *   etcd        from the start of the process until N leases are programmed, from one change until it is, memory
 *   netlink     N routes and N neighbours in batches
 *   simulation  N peers from a source of leases that is no etcd: what the node itself costs
 *
 * Tables go to stdout, everything to the JSON file. It needs root, iproute2 and etcd, and a build.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { missingForEtcd } from '../test/support/flannel-etcd-server.ts';
import { UNDERLAY } from '../test/support/flannel-network.ts';
import { Bed, missingForNamespaces, missingForTap } from '../test/support/netns.ts';
import { enter } from '../test/support/own-namespace.ts';
import { type EtcdScale, measureEtcd } from './flannel/etcd-scale.ts';
import { ADDRESS } from './flannel/members.ts';
import { measureNetlink, type NetlinkScale } from './flannel/netlink-scale.ts';
import { type Simulation, simulate } from './flannel/simulation.ts';

const PARTS = ['etcd', 'netlink', 'simulation'];
/** What a node of 5,000 members is held against. */
const TARGETS = { startMs: 3000, changeMs: 50, residentBytes: 150e6 };

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: PARTS.join(',') },
    leases: { type: 'string', default: '5000' },
    starts: { type: 'string', default: '3' },
    changes: { type: 'string', default: '15' },
    entries: { type: 'string', default: '10000' },
    peers: { type: 'string', default: '100000' },
    json: { type: 'string' },
  },
});
const wanted = values.only.split(',');
const missing = missingForNamespaces() ?? missingForTap() ?? missingForEtcd();
const unknown = wanted.find((part) => !PARTS.includes(part));
if (missing !== null || unknown !== undefined) {
  process.stderr.write(
    `bench:flannel: ${missing ?? `no part "${unknown}"; there are ${PARTS.join(', ')}`}\n`,
  );
  process.exit(1);
}

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
const spread = (numbers: readonly number[], digits = 1) =>
  `${median(numbers).toFixed(digits)} (${Math.min(...numbers).toFixed(digits)}..${Math.max(...numbers).toFixed(digits)})`;
const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);

type Row = [what: string, value: string, target?: string];

function table(title: string, rows: readonly Row[]): void {
  const lines = rows.map(([what, value, target = '']) => `| ${what} | ${value} | ${target} |`);
  process.stdout.write(
    [`### ${title}`, '', '| | median (min..max) | target |', '|---|---|---|', ...lines, '', ''].join('\n'),
  );
}

function showEtcd(scale: EtcdScale): void {
  const change = `${TARGETS.changeMs} ms`;
  table(`${scale.leases} leases in etcd`, [
    ['start of the process to all programmed, ms', spread(scale.startMs, 0), `${TARGETS.startMs} ms`],
    ['a changed MAC to the neighbour, ms', spread(scale.macChangeMs), change],
    ['a new lease to the route, ms', spread(scale.joinMs), change],
    ['a lease that went to its route gone, ms', spread(scale.leaveMs), change],
    ['resident, MB', megabytes(scale.residentBytes), `${megabytes(TARGETS.residentBytes)} MB`],
    ['of that anonymous (not shared, not files), MB', megabytes(scale.anonymousBytes)],
    ['resident at most, MB', megabytes(scale.peakBytes)],
  ]);
}

function showNetlink({ entries, neighbours, routes, oneMetric }: NetlinkScale): void {
  const ms = (number: number) => number.toFixed(1);
  const onlyAdd = ms(oneMetric.add);
  table(`${entries} neighbours and ${entries} routes in batches, ms`, [
    [
      'neighbours: add, dump, remove',
      `${ms(neighbours.add)}, ${ms(neighbours.dump)}, ${ms(neighbours.remove)}`,
    ],
    ['routes: add, dump, remove', `${ms(routes.add)}, ${ms(routes.dump)}, ${ms(routes.remove)}`],
    ['routes, all of one metric: add', onlyAdd],
  ]);
}

function showSimulation(simulation: Simulation): void {
  const { peers, snapshotMs, changeMs, residentBefore, resident } = simulation;
  table(`${peers} peers from memory`, [
    ['snapshot to all programmed, ms', snapshotMs.toFixed(0)],
    ['a changed MAC to the neighbour, ms', spread(changeMs)],
    ['resident before and after, MB', `${megabytes(residentBefore)}, ${megabytes(resident)}`],
  ]);
}

const bed = new Bed();
const namespace = bed.namespace('scale');
namespace.ip(
  `link add ${UNDERLAY} type veth peer name far`,
  `addr add ${ADDRESS}/24 dev ${UNDERLAY}`,
  `link set ${UNDERLAY} up`,
  'link set far up',
  `route add default via 192.0.2.254 dev ${UNDERLAY}`,
);
enter(namespace);
const results: Record<string, unknown> = {};
try {
  if (wanted.includes('netlink')) {
    const scale = measureNetlink(namespace, Number(values.entries));
    results.netlink = scale;
    showNetlink(scale);
  }
  if (wanted.includes('etcd')) {
    const scale = await measureEtcd(bed, namespace, {
      leases: Number(values.leases),
      starts: Number(values.starts),
      changes: Number(values.changes),
    });
    results.etcd = scale;
    showEtcd(scale);
  }
  if (wanted.includes('simulation')) {
    const simulation = await simulate(bed, namespace, {
      peers: Number(values.peers),
      changes: Number(values.changes),
    });
    results.simulation = simulation;
    showSimulation(simulation);
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 1)}\n`);
} finally {
  await bed.close();
}
