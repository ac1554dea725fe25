/** Where a network's leases come from. What a source is made of is loaded only when it is the one. */
import type { LeaseSource } from './lease.ts';
import type { Logger } from './network-options.ts';

export type SourceSetup = FileSetup | EtcdSetup | KubernetesSetup;

export interface FileSetup {
  kind: 'file';
  path: string;
}

export interface EtcdSetup {
  kind: 'etcd';
  endpoints: readonly string[];
  /** "/coreos.com/network" */
  prefix: string;
  /** Files; an authority alone is enough. */
  cafile?: string;
  certfile?: string;
  keyfile?: string;
  username?: string;
  password?: string;
  /** Minutes before its end that a lease is renewed. */
  renewMargin: number;
}

export interface KubernetesSetup {
  kind: 'kubernetes';
  /** File; absent: the pod's own account. */
  kubeconfig?: string;
  apiUrl?: string;
  /** Absent: NODE_NAME of the environment, else the pod's. */
  nodeName?: string;
  netConfPath: string;
  annotationPrefix: string;
  setNodeNetworkUnavailable: boolean;
}

/** @throws VtepError for what can never be: an endpoint that is none, a file that can't be read, a package that is missing */
export async function openSource(setup: SourceSetup, logger: Logger): Promise<LeaseSource> {
  if (setup.kind === 'file') {
    const { createFileSource } = await import('./file.ts');
    return createFileSource({ path: setup.path, logger });
  }
  if (setup.kind === 'kubernetes') {
    const { kind: _, ...options } = setup;
    const { createKubernetesSource } = await import('./kubernetes.ts');
    return createKubernetesSource({ ...options, logger });
  }
  const { createEtcdSource } = await import('./etcd.ts');
  const { kind: _, cafile: ca, certfile: cert, keyfile: key, renewMargin, ...options } = setup;
  const tls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  return createEtcdSource({
    ...options,
    renewMarginMinutes: renewMargin,
    ...(Object.keys(tls).length > 0 ? { tls } : {}),
    logger,
  });
}
