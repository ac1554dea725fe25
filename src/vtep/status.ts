/** What `status` and `link show` tell, read out of the memory. */
import { AF_INET, FDB_CAPACITY } from '../../assembly/layout.ts';
import { type CounterName, readCounter, readCounters } from '../dataplane/counters.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import { preferredBuild } from '../dataplane/engine-file.ts';
import type { Views } from '../dataplane/memory.ts';
import type { DeviceInfo, DirectionStats, VtepStatus, WorkerStatus } from '../types.ts';
import { version } from '../version.ts';
import type { Core } from './core.ts';
import type { Device } from './device.ts';
import { offloadTable } from './offloads.ts';
import { workerProfile } from './profile.ts';
import { refusedSources } from './sources.ts';

/** Of a device, whatever carries its frames. */
type Described = Pick<Device, 'index' | 'config' | 'family' | 'ifindex' | 'up'>;

export function deviceInfo(
  { views, policies }: { views: Views; policies: Pick<Dataplane['policies'], 'ofDevice'> },
  workers: number,
  device: Described,
): DeviceInfo {
  const { index } = device;
  const config = { ...device.config };
  // Commands change it, too.
  const policy = policies.ofDevice(index)?.id;
  if (policy === undefined) delete config.policy;
  else config.policy = policy;
  const count = (...names: CounterName[]) =>
    names.reduce((sum, name) => sum + readCounter(views, workers, index, name), 0);
  // What does not fit through is an error of the IPv6 stack and a drop of the IPv4 one, as the driver counts.
  const tooBig = count('drop_too_big');
  const aborted = device.family === AF_INET ? 0 : tooBig;
  const loops = count('drop_route_loop');
  const noRoute = count('drop_unreachable');
  const tx: DirectionStats = {
    bytes: count('encap_bytes'),
    packets: count('encap_packets'),
    errors:
      noRoute + loops + aborted + count('drop_send_error', 'drop_unknown_local_vni', 'drop_unknown_protocol'),
    dropped:
      tooBig -
      aborted +
      count(
        'drop_no_target',
        'drop_short_inner_ip',
        'drop_no_remote',
        'drop_no_nexthop',
        'drop_short_request',
        'drop_socket_full',
        'drop_no_buffers',
        'drop_short_frame',
        'drop_bad_offload',
        'drop_hook',
        'drop_hook_fault',
        'drop_hook_target',
        'drop_hook_stopped',
      ),
    carrier_errors: noRoute,
    collisions: loops,
    aborted_errors: aborted,
  };
  const rx: DirectionStats = {
    bytes: count('decap_bytes'),
    packets: count('decap_packets'),
    errors: count('drop_reserved_bits', 'drop_ecn', 'drop_short_inner_ip_received'),
    dropped: count(
      'drop_device_down',
      'drop_tap_write',
      'drop_policy',
      'drop_unknown_sender',
      'drop_unknown_peer',
      'drop_peer_address',
      'drop_peer_subnet',
      'drop_hook_received',
      'drop_hook_fault_received',
      'drop_hook_target_received',
      'drop_hook_forward',
      'drop_hook_stopped_received',
    ),
    frame_errors: count('drop_reserved_bits', 'drop_ecn'),
    length_errors: count('drop_short_inner_ip_received'),
  };
  return { config: { ...config }, ifindex: device.ifindex, number: index, up: device.up, stats: { rx, tx } };
}

export interface StatusSources {
  plane: Dataplane;
  /** Threads that count, the first ones. */
  workers: number;
  devices: readonly Described[];
  /** Milliseconds since the epoch. */
  started: number;
}

/** What only one kind of VTEP knows. */
export type OwnStatus = Pick<VtepStatus, 'offloads' | 'workers' | 'listeners' | 'hooks'> & {
  engine: Pick<VtepStatus['engine'], 'io' | 'uring'>;
};

export function vtepStatus(
  { plane, workers, devices, started }: StatusSources,
  { engine, offloads, workers: threads, listeners, hooks = [] }: OwnStatus,
): VtepStatus {
  const { views } = plane;
  const counters: VtepStatus['counters'] = {};
  const names = devices.map(({ index, config }) => [index, config.name] as const);
  for (const [index, name] of [[0, ''] as const, ...names]) {
    const found = readCounters(views, workers, index);
    if (Object.keys(found).length > 0) counters[name] = found as Record<string, number>;
  }
  return {
    version: version(),
    pid: process.pid,
    uptime: Math.round((Date.now() - started) / 1000),
    engine: {
      ...engine,
      wasm: preferredBuild() === 'scalar' ? 'scalar' : 'simd',
      memoryBytes: views.memory.buffer.byteLength,
    },
    ...{ offloads, workers: threads, listeners },
    devices: devices.map((device) => deviceInfo(plane, workers, device)),
    counters,
    ...(hooks.length > 0 && { hooks }),
    fdb: { entries: plane.entries, capacity: FDB_CAPACITY },
    ...(plane.lostEvents > 0 && { lostEvents: plane.lostEvents }),
  };
}

/** On TAPs and sockets. @param underlay the underlay TAP: in use, or why not */
export function batchedStatus(
  { plane: { views }, workers, listeners, offloads, hooks }: Omit<Core, 'devices'>,
  devices: readonly Device[],
  underlay: string,
): OwnStatus {
  const nameOf = (index: number) => devices.find((device) => device.index === index)?.config.name ?? '';
  return {
    engine: { io: workers.uring === 'on' ? 'uring' : 'batched', uring: workers.uring },
    offloads: { ...offloadTable(offloads, devices, refusedSources(views)), 'tunnel-gso': underlay },
    workers: workers.statistics().map(({ name, index, kind, syscalls, batches, sleeps }) => ({
      name,
      ...profileOf(views, index),
      packets: workerSum(views, index, devices, kind === 'encap' ? 'encap_packets' : 'decap_packets'),
      bytes: workerSum(views, index, devices, kind === 'encap' ? 'encap_bytes' : 'decap_bytes'),
      batches,
      syscalls,
      sleeps,
    })),
    listeners: listeners.all().map(({ family, port, devices: of }) => ({
      family: family === AF_INET ? 'inet' : 'inet6',
      port,
      devices: [...of].map(nameOf),
    })),
    hooks: hooks.show(),
  };
}

function profileOf(views: Views, worker: number): Pick<WorkerStatus, 'profile'> {
  const profile = workerProfile(views, worker);
  return profile === undefined ? {} : { profile };
}

function workerSum(views: Views, worker: number, devices: readonly Device[], name: CounterName): number {
  return devices.reduce((sum, device) => sum + readCounter(views, 1, device.index, name, worker), 0);
}
