/**
 * The lab in network namespaces: two hosts and two pods, the near VTEP a vxlane process, the far one the kernel's
 * device where there is one. Nothing is simulated: the packets go through the kernel's routes, bridges and wires.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, POD } from './child.ts';
import { layPod, layRoute, layUnderlay, type Place } from './hosts.ts';
import type { Lab, Sample, Tour, Traffic } from './lab.ts';
import { Namespace, sweep, tagOf } from './namespace.ts';
import { FAR, type HostPlan, NEAR, PORT, VNI, VTEP } from './plan.ts';
import { tryNext } from './try-next.ts';
import { Undo } from './undo.ts';
import { type DemoVtep, KernelVtep, VxlaneVtep } from './vtep.ts';

const POD_READY_MS = 15_000;
const POD_ANSWER_MS = 5000;

const isReady = (message: unknown): message is 'ready' => message === 'ready';
const isTraffic = (message: unknown): message is Traffic =>
  typeof message === 'object' && message !== null && 'transfers' in message;

export class NamespaceLab implements Lab {
  readonly #undo = new Undo();
  readonly #kernelPeer: boolean;
  #near: VxlaneVtep | undefined;
  #far: DemoVtep | undefined;
  #client: Child | undefined;

  constructor({ kernelPeer }: { kernelPeer: boolean }) {
    this.#kernelPeer = kernelPeer;
  }

  async start(signal: AbortSignal): Promise<Tour> {
    sweep();
    const tag = tagOf(process.pid, randomBytes(3).toString('hex'));
    const directory = this.#directory(tag);
    const near = await this.#place(tag, NEAR, signal);
    const far = await this.#place(tag, FAR, signal);
    await layUnderlay(near, far);
    await Promise.all([layPod(near), layPod(far)]);
    signal.throwIfAborted();

    const server = this.#process('the server in the far pod', far.pod, 'server', FAR.pod);
    const serving = server.hear(isReady, POD_READY_MS, signal);
    // A failure of the VTEPs comes first; this one is awaited below.
    serving.catch(() => {});
    const [nearVtep, farVtep] = await Promise.all([
      VxlaneVtep.start(near.host, NEAR, directory, this.#undo, signal),
      this.#kernelPeer
        ? KernelVtep.start(far.host, FAR)
        : VxlaneVtep.start(far.host, FAR, directory, this.#undo, signal),
    ]);
    this.#near = nearVtep;
    this.#far = farVtep;
    await this.#join(near, nearVtep, FAR);
    await this.#join(far, farVtep, NEAR);
    await serving;

    this.#client = this.#process('the client in the near pod', near.pod, 'client', FAR.pod, NEAR.pod);
    await this.#client.hear(isReady, POD_READY_MS, signal);
    return {
      mode: 'namespaces',
      near: nearVtep.kind,
      far: farVtep.kind,
      transfers: 'HTTP',
      header: [
        `Two hosts, a pod on each: ${NEAR.pod} talks HTTP and UDP echo to ${FAR.pod}.`,
        `${VTEP}, VNI ${VNI}, UDP ${PORT}: here vxlane, there ${farVtep.kind === 'kernel' ? "the kernel's vxlan device" : 'vxlane too'}.`,
      ],
      commands: tryNext(nearVtep.socket, near),
    };
  }

  async sample(): Promise<Sample> {
    const [near, far, client] = [this.#near, this.#far, this.#client];
    if (near === undefined || far === undefined || client === undefined) throw new Error('not started');
    client.assertAlive();
    const answer = client.hear(isTraffic, POD_ANSWER_MS);
    client.process.send('sample');
    const [traffic, mine, theirs] = await Promise.all([answer, near.sample(), far.drops()]);
    return { at: performance.now(), ...traffic, ...mine, drops: [...mine.drops, ...theirs] };
  }

  stop(): Promise<void> {
    return this.#undo.all();
  }

  abandon(): void {
    this.#undo.now();
  }

  /** For the control sockets, which must stay out of other users' reach. */
  #directory(tag: string): string {
    const path = join(tmpdir(), tag);
    mkdirSync(path, { mode: 0o700 });
    const remove = () => rmSync(path, { recursive: true, force: true });
    this.#undo.push(async () => remove(), remove);
    return path;
  }

  async #place(tag: string, plan: HostPlan, signal: AbortSignal): Promise<Place> {
    const host = await this.#namespace(`${tag}-${plan.side}`, signal);
    const pod = await this.#namespace(`${tag}-${plan.side}-pod`, signal);
    return { plan, host, pod };
  }

  async #namespace(name: string, signal: AbortSignal): Promise<Namespace> {
    const namespace = new Namespace(name);
    await namespace.add();
    this.#undo.push(
      () => namespace.delete(),
      () => namespace.deleteNow(),
    );
    signal.throwIfAborted();
    return namespace;
  }

  #process(what: string, pod: Namespace, ...args: string[]): Child {
    const child = new Child(what, pod, POD, ...args);
    this.#undo.push(
      () => child.end(),
      () => child.endNow(),
    );
    return child;
  }

  async #join(here: Place, vtep: DemoVtep, there: HostPlan): Promise<void> {
    await layRoute(here, there);
    await vtep.addRemote(there.vtepMac, there.underlay);
  }
}
