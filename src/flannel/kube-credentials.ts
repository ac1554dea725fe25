/**
 * How an API server is reached and what is shown to it. A pod's service account is two files, read here; a kubeconfig
 * may hold anything (certificates, tokens, exec plugins, OIDC, proxies), so that one is read by the official client,
 * an optional package of 70 MiB in memory that a pod needn't load.
 */
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { join } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { VtepError } from '../errors.ts';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

export interface CredentialsOptions {
  /** Path of a kubeconfig; without it and without `apiUrl`, the pod's service account. */
  kubeconfig?: string;
  /** Replaces the server that the kubeconfig names; alone, it is asked without credentials. */
  apiUrl?: string;
  /** What stands before /var/run/secrets/kubernetes.io/serviceaccount. */
  podRoot?: string;
  environment?: NodeJS.ProcessEnv;
  /** Loads the client library. */
  load?: Load;
}

type Load = () => Promise<ClientLibrary>;

interface ClientLibrary {
  KubeConfig: new () => KubeConfig;
}

export interface Credentials {
  /** The API server's URL, without a slash at its end. */
  server: string;
  /** What a request needs: read anew each time, for tokens and certificates are rotated. */
  options(): Promise<RequestOptions>;
}

/**
 * @throws VtepError UNSUPPORTED for a kubeconfig without the client library; USAGE for a configuration that can't be
 * right
 */
export async function openCredentials(options: CredentialsOptions): Promise<Credentials> {
  const { kubeconfig, apiUrl, podRoot = '', environment = process.env, load } = options;
  if (kubeconfig !== undefined) return ofKubeconfig(kubeconfig, apiUrl, load ?? importClient);
  if (apiUrl !== undefined) return { server: trimmed(apiUrl), options: async () => ({}) };
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (host && port) return ofPod(host, port, podRoot);
  throw new VtepError(
    'USAGE',
    'kubernetes: no API server is known: give --kubeconfig-file or --kube-api-url, or run in a pod',
  );
}

function ofPod(host: string, port: string, root: string): Credentials {
  const at = (name: string) => readFile(join(root, SERVICE_ACCOUNT, name), 'utf8');
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    async options() {
      const [ca, token] = await Promise.all([at('ca.crt'), at('token')]);
      return { ca, headers: { authorization: `Bearer ${token.trim()}` } };
    },
  };
}

async function ofKubeconfig(path: string, apiUrl: string | undefined, load: Load): Promise<Credentials> {
  const { KubeConfig } = await loadClient(load);
  const config = new KubeConfig();
  try {
    config.loadFromFile(path);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    throw new VtepError(
      'USAGE',
      `kubernetes: kubeconfig ${path}: ${reason}: give the path of a readable kubeconfig`,
    );
  }
  const cluster = config.getCurrentCluster();
  if (!cluster) {
    throw new VtepError(
      'USAGE',
      `kubernetes: kubeconfig ${path}: current-context names no cluster: see kubectl config get-contexts`,
    );
  }
  const server = trimmed(apiUrl ?? cluster.server);
  // The client refuses http:// unless it is told that nothing is verified there, which is so.
  const skipTLSVerify = cluster.skipTLSVerify || server.startsWith('http:');
  config.clusters = config.clusters.map((one) =>
    one.name === cluster.name ? { ...one, server, skipTLSVerify } : one,
  );
  return {
    server,
    async options() {
      const request: RequestOptions = { headers: {} };
      await config.applyToHTTPSOptions(request);
      const headers = request.headers as Record<string, string>;
      // A token's file may end in a newline, which a header must not.
      if (headers.Authorization !== undefined) headers.Authorization = headers.Authorization.trim();
      return request;
    },
  };
}

const importClient: Load = () => import('@kubernetes/client-node');

async function loadClient(load: Load): Promise<ClientLibrary> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new VtepError(
      'UNSUPPORTED',
      'kubernetes: a kubeconfig is read by the client library, which is not installed: npm install @kubernetes/client-node',
    );
  }
}

const trimmed = (url: string) => url.replace(/\/+$/, '');
