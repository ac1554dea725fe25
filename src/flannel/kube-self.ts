/**
 * Our own Node object: its name, the podCIDR that it gets, and the annotations that we keep on it. podCIDR comes
 * first: peers that run flanneld look at a node when its annotations change and never again.
 */
import { VtepError } from '../errors.ts';
import { Backoff, pause } from './backoff.ts';
import { type AnnotationNames, asNode, type KubeNode, subnetsOf } from './kube-annotations.ts';
import type { KubeClient } from './kube-client.ts';
import { annotationPatch, leaseOf, networkAvailable, wholeOf } from './kube-published.ts';
import { describe, type KubeStatus } from './kube-status.ts';
import type { Lease, MemberRecord, NetConfig, Subnets } from './lease.ts';

const FIRST_WAIT_MS = 250;
const LAST_WAIT_MS = 10_000;
/** podCIDR is looked for this often. */
const POD_CIDR_MS = 1000;
const ASSIGNED_BY = 'kube-controller-manager assigns it, given --allocate-node-cidrs=true and --cluster-cidr';
/** Annotations that somebody took away are put back after this, and ever later if it happens again and again. */
const REPAIR_FIRST_MS = 500;
const REPAIR_LAST_MS = 60_000;
const QUIET_MS = 300_000;

export interface KubeSelfParts {
  client: KubeClient;
  names: AnnotationNames;
  status: KubeStatus;
  nodeName?: string;
  environment: NodeJS.ProcessEnv;
  setNodeNetworkUnavailable: boolean;
  /** Told when our subnet has become another one. */
  own(lease: Lease): void;
}

export class KubeSelf {
  readonly #parts: KubeSelfParts;
  readonly #closed = new AbortController();
  readonly #repairs = new Backoff(REPAIR_FIRST_MS, REPAIR_LAST_MS);
  #repaired = 0;
  #name: string | undefined;
  #config: NetConfig | undefined;
  #wanted: MemberRecord | undefined;
  /** What we hold of the network; undefined until then. */
  #held: Subnets | undefined;
  /** As it was last seen; undefined while it is gone or its podCIDR is of no use. */
  #node: KubeNode | undefined;
  #isReady = false;
  /** The uid of the node whose condition has been set. */
  #conditionOf: string | undefined;
  #working: Promise<void> | undefined;
  /** Cuts its pauses short. */
  #hurry = new AbortController();

  constructor(parts: KubeSelfParts) {
    this.#parts = parts;
  }

  /** @throws VtepError USAGE when nothing says what the node is called */
  async name(signal: AbortSignal): Promise<string> {
    if (this.#name !== undefined) return this.#name;
    const { nodeName, environment, client } = this.#parts;
    const given = nodeName || environment.NODE_NAME;
    if (given) {
      this.#name = given;
      return given;
    }
    const { POD_NAME: pod, POD_NAMESPACE: namespace } = environment;
    if (!pod || !namespace) {
      throw new VtepError(
        'USAGE',
        'kubernetes: this node’s name is not known: set NODE_NAME, or POD_NAME and POD_NAMESPACE',
      );
    }
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}`;
    this.#name = await this.#persist(async () => {
      const { spec } = (await client.get(path, signal)) as { spec?: { nodeName?: string } };
      if (!spec?.nodeName) throw new Error(`pod ${namespace}/${pod} has no spec.nodeName yet`);
      return spec.nodeName;
    }, signal);
    return this.#name;
  }

  /** Our node as it is now. Waits until there is one. */
  async fetch(signal: AbortSignal): Promise<KubeNode> {
    const path = nodePath(await this.name(signal));
    return this.#persist(async () => {
      const node = asNode(await this.#parts.client.get(path, signal));
      if (!node) throw new Error(`GET ${path}: the answer is not a Node`);
      return node;
    }, signal);
  }

  /** Waits for podCIDR, then publishes. @throws VtepError USAGE for a podCIDR outside the network */
  async acquire(self: MemberRecord, config: NetConfig, signal: AbortSignal): Promise<Lease> {
    this.#config = config;
    const path = nodePath(await this.name(signal));
    const lease = await this.#persist(
      async () => {
        const node = asNode(await this.#parts.client.get(path, signal));
        const found = node && leaseOf(node, self, config);
        if (!found) throw new Error(`${path} has no podCIDR yet: ${ASSIGNED_BY}`);
        this.#node = node;
        return found;
      },
      signal,
      POD_CIDR_MS,
    );
    this.#wanted = self;
    this.#held = lease;
    await this.#persist(() => this.#patch(signal), signal);
    this.#kick();
    return lease;
  }

  publish(self: MemberRecord): void {
    this.#wanted = self;
    this.#kick();
  }

  /** Our node has been seen in a list or a watch; undefined: it is gone. */
  seen(node: KubeNode | undefined): void {
    if (node && this.#node && isOlder(node, this.#node)) return;
    this.#node = node;
    if (!node || !this.#wanted || !this.#held) return;
    try {
      const lease = leaseOf(node, this.#wanted, this.#config!);
      if (lease && (lease.subnet !== this.#held.subnet || lease.subnetV6 !== this.#held.subnetV6)) {
        this.#held = lease;
        this.#parts.status.count('reacquired');
        this.#parts.own(lease);
      }
      this.#parts.status.solved('subnet');
    } catch (error) {
      this.#node = undefined;
      this.#parts.status.problem('subnet', describe(error as Error));
      return;
    }
    if (this.#isDue()) this.#kick(this.#repairDelay());
  }

  /** The others are known: the node may say that its network is there. */
  ready(): void {
    this.#isReady = true;
    this.#kick();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#hurry.abort();
    await this.#working;
  }

  #repairDelay(): number {
    if (Date.now() - this.#repaired > QUIET_MS) this.#repairs.reset();
    this.#repaired = Date.now();
    return this.#repairs.next();
  }

  #kick(delayMs = 0): void {
    if (this.#closed.signal.aborted) return;
    if (delayMs === 0) this.#hurry.abort();
    this.#working ??= this.#work(delayMs).finally(() => {
      this.#working = undefined;
    });
  }

  async #work(delayMs: number): Promise<void> {
    const { signal } = this.#closed;
    for (let delay = delayMs; ; ) {
      this.#hurry = new AbortController();
      await pause(delay, this.#hurry.signal);
      if (signal.aborted || !this.#isDue()) return;
      this.#hurry = new AbortController();
      await this.#persist(() => this.#patch(signal), signal).catch(() => {});
      if (!this.#isDue()) return;
      // Whatever takes away at once what we write meets a pause; news of ours don't.
      delay = this.#hurry.signal.aborted ? 0 : this.#repairDelay();
    }
  }

  #isDue(): boolean {
    return this.#node !== undefined && this.#due(this.#node) !== undefined;
  }

  /** What is to be written to a node. */
  #due(node: KubeNode): object | undefined {
    const { names, setNodeNetworkUnavailable } = this.#parts;
    if (!this.#wanted || !this.#held) return undefined;
    const subnets = subnetsOf(node);
    const annotations = annotationPatch(node, wholeOf(this.#wanted, subnets), names);
    const isConditionDue =
      setNodeNetworkUnavailable && this.#isReady && this.#conditionOf !== (node.metadata.uid ?? '');
    if (subnets.subnet === undefined && subnets.subnetV6 === undefined) return undefined;
    if (!annotations && !isConditionDue) return undefined;
    return {
      ...(annotations && { metadata: { annotations } }),
      ...(isConditionDue && { status: { conditions: [networkAvailable()] } }),
    };
  }

  async #patch(signal: AbortSignal): Promise<void> {
    const node = this.#node;
    const body = node && this.#due(node);
    if (!body) return;
    const answer = asNode(
      await this.#parts.client.patch(`${nodePath(node.metadata.name)}/status`, body, signal),
    );
    if ('status' in body) this.#conditionOf = node.metadata.uid ?? '';
    // A watch may have told of something newer, or that the node is gone.
    if (answer && this.#node && !isOlder(answer, this.#node)) this.#node = answer;
    this.#parts.status.count('published');
  }

  /** Until it succeeds. @throws the signal's reason; VtepError */
  async #persist<T>(attempt: () => Promise<T>, signal: AbortSignal, lastWaitMs = LAST_WAIT_MS): Promise<T> {
    const backoff = new Backoff(FIRST_WAIT_MS, lastWaitMs);
    for (;;) {
      signal.throwIfAborted();
      try {
        const result = await attempt();
        this.#parts.status.solved('request');
        return result;
      } catch (error) {
        if (error instanceof VtepError) throw error;
        if (!signal.aborted) this.#parts.status.problem('request', describe(error as Error));
        await pause(backoff.next(), signal);
      }
    }
  }
}

/**
 * Of two states of one object the earlier. Resource versions are numbers that grow in every API server there is (and
 * by contract since Kubernetes 1.35); others are taken as they come.
 */
function isOlder({ metadata: one }: KubeNode, { metadata: other }: KubeNode): boolean {
  const [first, second] = [one.resourceVersion ?? '', other.resourceVersion ?? ''];
  const areNumbers = /^\d+$/.test(first) && /^\d+$/.test(second);
  return one.uid === other.uid && areNumbers && BigInt(first) < BigInt(second);
}

function nodePath(name: string): string {
  return `/api/v1/nodes/${encodeURIComponent(name)}`;
}
