/**
 * The lab without any privilege, on any system: two embedded dataplanes with UDP sockets on 127.0.0.1, and a tiny
 * host behind each. Frames, VXLAN and FDB are the real ones; devices, routes and TCP are what is missing.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { preferredBuild } from '../../dataplane/engine-file.ts';
import { createDataplane, type EmbeddedDataplane } from '../../dataplane/index.ts';
import { openPortablePort, type PortablePort } from '../../io/portable.ts';
import { fdbText } from '../fdb-format.ts';
import type { Flow, Lab, Sample, Tour, Traffic } from './lab.ts';
import { FAR, type HostPlan, MTU, NEAR, VNI, VTEP } from './plan.ts';
import { TinyHost } from './tiny-host.ts';
import { BODY_BYTES, TinyTransfers } from './tiny-transfer.ts';
import { tryNextInProcess } from './try-next.ts';
import { Undo } from './undo.ts';
import { dropsIn } from './vtep.ts';

const LOOPBACK = '127.0.0.1';
const ALL_ZEROS = '00:00:00:00:00:00';
const NEIGHBOUR_MS = 5000;
const TRANSFER_PERIOD_MS = 50;
const ECHO_PERIOD_MS = 100;
/** As ping sends. */
const ECHO_BYTES = 56;
const RTTS_KEPT = 100;
const TICK_MS = 1000;

/** A dataplane, its socket, and the host behind it. */
interface End {
  plane: EmbeddedDataplane;
  port: PortablePort;
  host: TinyHost;
  transfers: TinyTransfers;
}

export class InProcessLab implements Lab {
  readonly #undo = new Undo();
  readonly #traffic: Traffic = {
    transfers: { done: 0, bytesOut: 0, bytesIn: 0, corrupt: 0, failed: 0 },
    echoes: { sent: 0, received: 0, corrupt: 0, rtts: [] },
  };
  #ends: { near: End; far: End } | undefined;
  #stopped = false;

  async start(signal: AbortSignal): Promise<Tour> {
    const near = await this.#end(NEAR);
    const far = await this.#end(FAR);
    this.#ends = { near, far };
    join(near, FAR, far.port.port);
    join(far, NEAR, near.port.port);
    const patience = AbortSignal.any([signal, AbortSignal.timeout(NEIGHBOUR_MS)]);
    await near.host.findNeighbour(FAR.pod, patience);
    this.#every(TICK_MS, () => {
      near.plane.tick();
      far.plane.tick();
    });
    this.#startEchoes(near.host);
    void this.#keepTransferring(near, far);
    return {
      mode: 'in-process',
      near: 'vxlane',
      far: 'vxlane',
      transfers: 'UDP',
      header: [
        `Two hosts in this process, UDP and ping between ${NEAR.pod} and ${FAR.pod}.`,
        `A vxlane dataplane each, VNI ${VNI}, joined by UDP ${LOOPBACK}:${near.port.port} and :${far.port.port}.`,
      ],
      commands: tryNextInProcess(far.port.port),
    };
  }

  async sample(): Promise<Sample> {
    if (this.#ends === undefined) throw new Error('not started');
    const { near, far } = this.#ends;
    const counters = near.plane.counters(VTEP);
    const flow = (packets = 0, bytes = 0): Flow => ({ packets, bytes });
    const dropsOf = (side: HostPlan['side'], { plane }: End) =>
      dropsIn(side, plane.counters(''), plane.counters(VTEP));
    return {
      at: performance.now(),
      ...structuredClone(this.#traffic),
      tx: flow(counters.encap_packets, counters.encap_bytes),
      rx: flow(counters.decap_packets, counters.decap_bytes),
      fdb: fdbText(near.plane.fdb.show(VTEP), { oneDevice: true, ages: false }).split('\n').filter(Boolean),
      drops: [...dropsOf('near', near), ...dropsOf('far', far)],
      engine: `portable (dgram), ${preferredBuild() === 'scalar' ? 'scalar' : 'simd'} WebAssembly`,
      offloads: {},
    };
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return this.#undo.all();
  }

  /** Sockets and timers end with the process. */
  abandon(): void {
    this.#stopped = true;
  }

  async #end({ vtepMac, pod }: HostPlan): Promise<End> {
    const plane = createDataplane();
    const port = await openPortablePort(LOOPBACK, 0, (datagram, sender) => {
      for (const { bytes } of plane.decap(datagram, sender, port.port)) host.receive(bytes);
    });
    this.#undo.push(
      () => port.close(),
      () => {},
    );
    const host = new TinyHost(vtepMac, pod, (frame) => {
      for (const out of plane.encap(VTEP, frame)) port.send(out.bytes, out.address, out.port);
    });
    plane.addDevice({ name: VTEP, vni: VNI, address: vtepMac, port: port.port, learning: false, mtu: MTU });
    return { plane, port, host, transfers: new TinyTransfers(host) };
  }

  #startEchoes(host: TinyHost): void {
    const { echoes } = this.#traffic;
    const open = new Map<number, { data: Buffer; at: number }>();
    host.onPong = (sequence, data) => {
      const sent = open.get(sequence);
      if (sent === undefined || !sent.data.equals(data)) {
        ++echoes.corrupt;
        return;
      }
      open.delete(sequence);
      ++echoes.received;
      echoes.rtts.push(performance.now() - sent.at);
      if (echoes.rtts.length > RTTS_KEPT) echoes.rtts.shift();
    };
    this.#every(ECHO_PERIOD_MS, () => {
      const sequence = echoes.sent++ & 0xffff;
      const data = randomBytes(ECHO_BYTES);
      open.set(sequence, { data, at: performance.now() });
      host.ping(FAR.pod, sequence, data);
    });
  }

  async #keepTransferring(near: End, far: End): Promise<void> {
    const { transfers } = this.#traffic;
    for (let turn = 0; !this.#stopped; ++turn) {
      const due = performance.now() + TRANSFER_PERIOD_MS;
      const outwards = turn % 2 === 0;
      try {
        const intact = outwards ? await near.transfers.send(FAR.pod) : await far.transfers.send(NEAR.pod);
        if (!intact) ++transfers.corrupt;
        else if (outwards) transfers.bytesOut += BODY_BYTES;
        else transfers.bytesIn += BODY_BYTES;
        if (intact) ++transfers.done;
      } catch (error) {
        ++transfers.failed;
        transfers.lastFailure = (error as Error).message;
      }
      await pause(Math.max(0, due - performance.now()));
    }
  }

  #every(milliseconds: number, act: () => void): void {
    const timer = setInterval(act, milliseconds);
    this.#undo.push(
      async () => clearInterval(timer),
      () => {},
    );
  }
}

/** Broadcasts and the other host's MAC go to its socket. */
function join({ plane }: End, there: HostPlan, port: number): void {
  for (const mac of [ALL_ZEROS, there.vtepMac])
    plane.fdb.apply({ op: 'append', dev: VTEP, mac, dst: LOOPBACK, port });
}
