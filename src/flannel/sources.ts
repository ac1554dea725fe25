/** Where a network's leases come from. What a source is made of is loaded only when it is the one. */
import { readFile } from 'node:fs/promises';
import { VtepError } from '../errors.ts';
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

/** @throws VtepError UNSUPPORTED when the package of its client is missing, NOT_FOUND for a file of its TLS */
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
  const { kind: _, cafile, certfile, keyfile, renewMargin, ...options } = setup;
  const [ca, cert, key] = await Promise.all([
    contents('etcd-cafile', cafile),
    contents('etcd-certfile', certfile),
    contents('etcd-keyfile', keyfile),
  ]);
  const tls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  return createEtcdSource({
    ...options,
    renewMarginMinutes: renewMargin,
    ...(Object.keys(tls).length > 0 ? { tls } : {}),
    logger,
  });
}

async function contents(what: string, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message;
    throw new VtepError('NOT_FOUND', `${what} ${path}: ${reason}`);
  }
}
