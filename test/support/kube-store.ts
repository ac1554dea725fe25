/**
 * What an API server keeps in etcd: objects with resource versions, and a history that can be compacted. Patches are
 * strategic merges: maps merge, null removes, `conditions` and `addresses` merge by `type`.
 */
export interface StoredNode {
  apiVersion: 'v1';
  kind: 'Node';
  metadata: {
    name: string;
    uid: string;
    resourceVersion: string;
    annotations: Record<string, string>;
    labels?: Record<string, string>;
  };
  spec: { podCIDR?: string; podCIDRs?: string[] };
  status: {
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    [key: string]: unknown;
  };
}

export interface NodeSeed {
  name: string;
  annotations?: Record<string, string>;
  podCIDR?: string;
  podCIDRs?: string[];
  status?: StoredNode['status'];
}

export interface NodeEvent {
  version: number;
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** The object as JSON: watchers see it as it was then. */
  object: string;
}

const MERGED_BY_TYPE = new Set(['conditions', 'addresses']);

export class KubeStore {
  readonly nodes = new Map<string, StoredNode>();
  version = 1000;
  /** Watches from before this are told 410 Gone. */
  oldest = 1000;
  readonly #history: NodeEvent[] = [];
  readonly #watchers = new Set<(event: NodeEvent) => void>();
  #uid = 0;

  put({ name, annotations = {}, podCIDR, podCIDRs, status = {} }: NodeSeed): void {
    const before = this.nodes.get(name);
    const uid = before?.metadata.uid ?? `uid-${++this.#uid}`;
    const spec = { ...(podCIDR && { podCIDR }), ...(podCIDRs && { podCIDRs }) };
    const metadata = { name, uid, resourceVersion: '', annotations: { ...annotations } };
    this.#store({ apiVersion: 'v1', kind: 'Node', metadata, spec, status }, before ? 'MODIFIED' : 'ADDED');
  }

  delete(name: string): void {
    const node = this.nodes.get(name);
    if (!node) throw new Error(`no node ${name}`);
    this.nodes.delete(name);
    this.#tell('DELETED', node);
  }

  /** As an administrator does with kubectl annotate. */
  annotate(name: string, annotations: Record<string, string | null>): void {
    this.merge(name, { metadata: { annotations } });
  }

  /** A heartbeat: everything but the version and a time stays. */
  touch(name: string): void {
    this.merge(name, {
      status: { conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: `${this.version}` }] },
    });
  }

  assign(name: string, podCIDRs: string[]): void {
    const node = structuredClone(this.nodes.get(name)!);
    node.spec = { podCIDR: podCIDRs[0]!, podCIDRs };
    this.#store(node, 'MODIFIED');
  }

  /** Strategic merge. `status`: as the subresource takes it, which leaves the spec alone. */
  merge(name: string, patch: Record<string, unknown>, isStatus = false): StoredNode | undefined {
    const before = this.nodes.get(name);
    if (!before) return undefined;
    const { spec: _, ...allowed } = patch;
    const node = merged(before, isStatus ? allowed : patch) as StoredNode;
    if (JSON.stringify(node) !== JSON.stringify(before)) this.#store(node, 'MODIFIED');
    return this.nodes.get(name);
  }

  /** Forgets the history, as etcd's compaction does after five minutes. */
  compact(): void {
    this.oldest = this.version;
    this.#history.length = 0;
  }

  since(version: number): NodeEvent[] {
    return this.#history.filter((event) => event.version > version);
  }

  subscribe(watcher: (event: NodeEvent) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #store(node: StoredNode, type: NodeEvent['type']): void {
    this.nodes.set(node.metadata.name, node);
    this.#tell(type, node);
  }

  #tell(type: NodeEvent['type'], node: StoredNode): void {
    node.metadata.resourceVersion = `${++this.version}`;
    const event = { version: this.version, type, object: JSON.stringify(node) };
    this.#history.push(event);
    for (const watcher of this.#watchers) watcher(event);
  }
}

function merged(before: unknown, patch: unknown, key = ''): unknown {
  if (Array.isArray(patch)) return MERGED_BY_TYPE.has(key) ? mergedByType(before, patch) : patch;
  if (typeof patch !== 'object' || patch === null) return patch;
  const result: Record<string, unknown> = { ...(before as object | undefined) };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value, name);
  }
  return result;
}

function mergedByType(before: unknown, patch: unknown[]): unknown[] {
  const result = [...((before ?? []) as { type: string }[])];
  for (const one of patch as { type: string }[]) {
    const at = result.findIndex(({ type }) => type === one.type);
    if (at < 0) result.push(one);
    else result[at] = merged(result[at], one) as { type: string };
  }
  return result;
}
