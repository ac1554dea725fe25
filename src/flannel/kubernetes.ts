/**
 * Leases of a Kubernetes cluster: the members are its nodes, a node's subnet is its podCIDR, and what a member says
 * of itself stands in annotations, as flannel's "kube subnet manager" has it. The configuration is a file, which a
 * ConfigMap brings. Nothing expires: a member is gone when its Node object is.
 */
import { readFile } from 'node:fs/promises';
import { VtepError } from '../errors.ts';
import type { Logger } from '../vtep/options.ts';
import { annotationNames } from './kube-annotations.ts';
import { KubeClient } from './kube-client.ts';
import type { CredentialsOptions } from './kube-credentials.ts';
import { KubeNodes } from './kube-nodes.ts';
import { KubePeers } from './kube-peers.ts';
import { readStored } from './kube-published.ts';
import { KubeSelf } from './kube-self.ts';
import { describe, KubeStatus } from './kube-status.ts';
import type {
  LeaseListener,
  LeaseSource,
  MemberRecord,
  NetConfig,
  SourceState,
  Stored,
  Subnets,
} from './lease.ts';
import { parseNetConfig } from './net-config.ts';

const NET_CONF = '/etc/kube-flannel/net-conf.json';
const PREFIX = 'flannel.alpha.coreos.com';
const RESYNC_MS = 300_000;

export interface KubernetesOptions extends CredentialsOptions {
  /** Absent: NODE_NAME of the environment, else the node of the pod POD_NAMESPACE/POD_NAME. */
  nodeName?: string;
  /** "/etc/kube-flannel/net-conf.json" unless given. */
  netConfPath?: string;
  /** "flannel.alpha.coreos.com" unless given. */
  annotationPrefix?: string;
  /** Clears the node's condition NetworkUnavailable once the others are known; true unless given. */
  setNodeNetworkUnavailable?: boolean;
  /** A snapshot is handed over this often, in milliseconds; 5 minutes unless given. */
  resyncMs?: number;
  logger?: Logger;
}

/** Nothing is opened yet. @throws VtepError USAGE for an annotation prefix that can't be right */
export function createKubernetesSource(options: KubernetesOptions = {}): LeaseSource {
  return new KubernetesSource(options);
}

class KubernetesSource implements LeaseSource {
  readonly #options: KubernetesOptions;
  readonly #names;
  readonly #status: KubeStatus;
  readonly #client: KubeClient;
  readonly #self: KubeSelf;
  #where = 'not opened';
  #config: NetConfig | undefined;
  #peers: KubePeers | undefined;
  #listener: LeaseListener | undefined;

  constructor(options: KubernetesOptions) {
    this.#options = options;
    this.#names = annotationNames(options.annotationPrefix ?? PREFIX);
    this.#status = new KubeStatus(options.logger ?? (() => {}));
    this.#client = new KubeClient(options);
    this.#self = new KubeSelf({
      client: this.#client,
      names: this.#names,
      status: this.#status,
      ...(options.nodeName !== undefined && { nodeName: options.nodeName }),
      environment: options.environment ?? process.env,
      setNodeNetworkUnavailable: options.setNodeNetworkUnavailable ?? true,
      own: (lease) => this.#listener?.own(lease),
    });
  }

  async config(signal: AbortSignal): Promise<NetConfig> {
    const where = this.#options.netConfPath ?? NET_CONF;
    let text: string;
    try {
      text = await readFile(where, { encoding: 'utf8', signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new VtepError(
        'USAGE',
        `${describe(error as Error)}: mount the ConfigMap kube-flannel-cfg there or give --net-config-path`,
      );
    }
    this.#config = parseNetConfig(text, { where, allocates: false });
    this.#where = await this.#client.open();
    return this.#config;
  }

  async stored(signal: AbortSignal): Promise<Stored> {
    const config = await this.#configured(signal);
    return readStored(await this.#self.fetch(signal), this.#names, config);
  }

  async acquire(self: MemberRecord, _previous: Subnets, signal: AbortSignal) {
    return this.#self.acquire(self, await this.#configured(signal), signal);
  }

  publish(self: MemberRecord): void {
    this.#self.publish(self);
  }

  async follow(listener: LeaseListener, signal: AbortSignal): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const peers = new KubePeers({
        names: this.#names,
        config: await this.#configured(signal),
        status: this.#status,
        listener,
        self: await this.#self.name(signal),
        own: (node) => this.#self.seen(node),
        ready: () => this.#self.ready(),
      });
      this.#peers = peers;
      this.#listener = listener;
      timer = setInterval(() => {
        if (peers.synced) peers.snapshot();
      }, this.#options.resyncMs ?? RESYNC_MS);
      await new KubeNodes(this.#client, peers).follow(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearInterval(timer);
      this.#listener = undefined;
    }
  }

  state(): SourceState {
    const { connected, since, error, counters } = this.#status;
    return {
      kind: 'kubernetes',
      where: this.#where,
      synced: this.#peers?.synced ?? false,
      connected,
      since,
      ...(error !== undefined && { error }),
      skipped: this.#peers?.skipped ?? [],
      counters: { ...counters },
    };
  }

  close(): Promise<void> {
    return this.#self.close();
  }

  async #configured(signal: AbortSignal): Promise<NetConfig> {
    return this.#config ?? this.config(signal);
  }
}
