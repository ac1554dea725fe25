/** The two kinds of VTEP that stand at an end of the tunnel: vxlane as a process, or the kernel's own device. */
import { join } from 'node:path';
import { type Client, createClient } from '../../daemon/client.ts';
import type { VtepStatus } from '../../types.ts';
import { fdbText } from '../fdb-format.ts';
import { reason } from '../status-format.ts';
import { Child, PROGRAM } from './child.ts';
import type { Drop, Sample } from './lab.ts';
import type { Namespace } from './namespace.ts';
import { type HostPlan, MTU, PORT, UNDERLAY, VNI, VTEP } from './plan.ts';
import type { Undo } from './undo.ts';

const READY_MS = 15_000;
const ANSWER_MS = 5000;

export interface DemoVtep {
  readonly kind: 'vxlane' | 'kernel';
  addRemote(mac: string, address: string): Promise<void>;
  drops(): Promise<Drop[]>;
}

export type NearSample = Pick<Sample, 'tx' | 'rx' | 'fdb' | 'drops' | 'engine' | 'offloads'>;

export class VxlaneVtep implements DemoVtep {
  readonly kind = 'vxlane';
  readonly socket: string;
  readonly #child: Child;
  readonly #client: Client;
  readonly #side: HostPlan['side'];

  private constructor(child: Child, socket: string, side: HostPlan['side']) {
    this.#child = child;
    this.socket = socket;
    this.#side = side;
    this.#client = createClient(socket, ANSWER_MS);
  }

  static async start(
    namespace: Namespace,
    plan: HostPlan,
    directory: string,
    undo: Undo,
    signal: AbortSignal,
  ): Promise<VxlaneVtep> {
    const socket = join(directory, `${plan.side}.sock`);
    const words = [
      'id',
      `${VNI}`,
      'local',
      plan.underlay,
      'dev',
      UNDERLAY,
      'dstport',
      `${PORT}`,
      'nolearning',
    ];
    const device = [VTEP, 'address', plan.vtepMac, 'mtu', `${MTU}`, ...words];
    const child = new Child('vxlane run', namespace, PROGRAM, 'run', ...device, '--socket', socket);
    undo.push(
      () => child.end(),
      () => child.endNow(),
    );
    await child.prints(' up:', READY_MS, signal);
    return new VxlaneVtep(child, socket, plan.side);
  }

  async addRemote(mac: string, dst: string): Promise<void> {
    await this.#client.fdbChange({ op: 'append', dev: VTEP, mac, dst });
  }

  async drops(): Promise<Drop[]> {
    return this.#dropsOf(await this.#status());
  }

  async sample(): Promise<NearSample> {
    const [status, fdb] = await Promise.all([this.#status(), this.#client.fdb(VTEP)]);
    const stats = status.devices[0]?.stats;
    const { io, wasm, memoryBytes } = status.engine;
    return {
      tx: { packets: stats?.tx.packets ?? 0, bytes: stats?.tx.bytes ?? 0 },
      rx: { packets: stats?.rx.packets ?? 0, bytes: stats?.rx.bytes ?? 0 },
      fdb: fdbText(fdb, { oneDevice: true, ages: false }).split('\n').filter(Boolean),
      drops: this.#dropsOf(status),
      engine: `${io}, ${wasm} WebAssembly, ${Math.round(memoryBytes / 2 ** 20)} MiB of shared memory`,
      offloads: status.offloads,
    };
  }

  async #status(): Promise<VtepStatus> {
    this.#child.assertAlive();
    return this.#client.status();
  }

  #dropsOf(status: VtepStatus): Drop[] {
    return dropsIn(this.#side, ...Object.values(status.counters));
  }
}

export class KernelVtep implements DemoVtep {
  readonly kind = 'kernel';
  readonly #namespace: Namespace;
  readonly #side: HostPlan['side'];

  private constructor(namespace: Namespace, side: HostPlan['side']) {
    this.#namespace = namespace;
    this.#side = side;
  }

  static async start(namespace: Namespace, plan: HostPlan): Promise<KernelVtep> {
    const words = `id ${VNI} local ${plan.underlay} dev ${UNDERLAY} dstport ${PORT} nolearning`;
    await namespace.ip(
      `link add ${VTEP} address ${plan.vtepMac} mtu ${MTU} type vxlan ${words}`,
      `link set ${VTEP} up`,
    );
    return new KernelVtep(namespace, plan.side);
  }

  async addRemote(mac: string, address: string): Promise<void> {
    await this.#namespace.run('bridge', 'fdb', 'append', mac, 'dev', VTEP, 'dst', address);
  }

  async drops(): Promise<Drop[]> {
    const { stats64 } = await this.#namespace.link(VTEP);
    return (['rx', 'tx'] as const).flatMap((direction) =>
      (['errors', 'dropped'] as const)
        .map((key) => ({
          side: this.#side,
          reason: `the kernel counts ${direction} ${key}`,
          count: stats64[direction]?.[key] ?? 0,
        }))
        .filter(({ count }) => count > 0),
    );
  }
}

/** Counters of drops, with their reason in words; the same counter of several devices is one line. */
export function dropsIn(side: Drop['side'], ...counters: Record<string, number>[]): Drop[] {
  const counts = new Map<string, number>();
  for (const [counter, count] of counters.flatMap((each) => Object.entries(each)))
    if (counter.startsWith('drop')) counts.set(reason(counter), (counts.get(reason(counter)) ?? 0) + count);
  return [...counts].map(([why, count]) => ({ side, reason: why, count }));
}
