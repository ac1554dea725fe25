/** flannel's keys in etcd, with what every part of the source needs beside them. */
import { posix } from 'node:path';
import { VtepError } from '../errors.ts';
import type { Logger } from '../vtep/options.ts';
import type { EtcdClient } from './etcd-client.ts';
import { DEADLINE_EXCEEDED, GrpcError, UNAVAILABLE } from './grpc.ts';
import type { NetConfig, Subnets } from './lease.ts';
import { formatSubnetKey } from './lease-value.ts';
import { parseNetConfig } from './net-config.ts';
import type { SourceHealth } from './source-health.ts';

/** Where something stands in the store, said with its remedy, but nothing is wrong with the store. */
export class NotReady extends Error {}

export class EtcdStore {
  readonly client: EtcdClient;
  readonly health: SourceHealth;
  readonly log: Logger;
  readonly configKey: string;
  /** Of all leases; without a slash at its end, as flannel reads and watches. */
  readonly subnetsPrefix: string;

  constructor(client: EtcdClient, health: SourceHealth, log: Logger, prefix: string) {
    this.client = client;
    this.health = health;
    this.log = log;
    this.configKey = posix.join(prefix, 'config');
    this.subnetsPrefix = posix.join(prefix, 'subnets');
  }

  keyOf(subnets: Subnets): string {
    return posix.join(this.subnetsPrefix, formatSubnetKey(subnets));
  }

  /** @throws NotReady while there is none; VtepError USAGE for one that can't be right */
  async config(): Promise<NetConfig> {
    const { kv } = await this.client.get(this.configKey);
    if (kv === undefined) {
      const example = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}';
      throw new NotReady(
        `etcd: no configuration at ${this.configKey}: etcdctl put ${this.configKey} '${example}'`,
      );
    }
    const config = parseNetConfig(kv.value, { where: `etcd ${this.configKey}` });
    if (!config.enableIpv4)
      throw new VtepError(
        'USAGE',
        `etcd ${this.configKey}: EnableIPv4 is false: flannel's keys in etcd have no form for IPv6 alone: enable both`,
      );
    return config;
  }

  works(activity: Activity): void {
    this.health.works(activity);
  }

  fails(activity: Activity, error: unknown): void {
    const { message } = error as Error;
    if (error instanceof GrpcError) {
      const unreachable = error.code === UNAVAILABLE || error.code === DEADLINE_EXCEEDED;
      // Who may read and not write is connected.
      this.health.fails(activity, message + this.#remedy(message), unreachable || activity !== 'own lease');
    } else if (error instanceof RangeError) {
      this.health.fails(activity, `etcd: an answer that can't be read: ${message}: is it etcd?`, true);
    } else this.health.fails(activity, message, false);
  }

  #remedy(message: string): string {
    const [, remedy] = REMEDIES.find(([pattern]) => pattern.test(message)) ?? [];
    return remedy === undefined ? '' : `: ${remedy.replace('PREFIX', posix.dirname(this.configKey))}`;
  }
}

/** What a source is at, as its messages name it. */
export type Activity = 'configuration' | 'own lease' | 'leases';

/** What etcd, TLS and the system say, and what helps. The first that fits. */
const REMEDIES: readonly [RegExp, string][] = [
  [/user name is empty/, 'give --etcd-username and --etcd-password'],
  [/authentication failed/, 'check --etcd-username and --etcd-password'],
  [/permission denied/, "grant the user's role readwrite on the prefix PREFIX/"],
  [/self.signed|local issuer|first certificate/, 'give the CA that signed its certificate: --etcd-cafile'],
  [/altnames|does not match/, "use a name or address that is in the server's certificate"],
  [/certificate required|bad certificate|handshake failure/, 'give --etcd-certfile and --etcd-keyfile'],
  [/wrong version number|packet length too long/, 'it speaks no TLS: write http://'],
  [/expired/, 'renew the certificate'],
  [/ENOTFOUND|EAI_AGAIN/, 'check the name of the endpoint'],
  [
    /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|within \d+ ms/,
    'is etcd running, and reachable from here?',
  ],
  [
    /no gRPC server|Protocol error|socket hang up|ECONNRESET|closed/,
    'is it etcd, and http or https as the endpoint says?',
  ],
];
