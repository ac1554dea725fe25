/** Members of a flannel network in a test's etcd: sources of ours, and records as flanneld writes them. */
import { createEtcdSource, type EtcdSourceOptions, type EtcdTimes } from '../../src/flannel/etcd.ts';
import type { LeaseSource, MemberRecord } from '../../src/flannel/lease.ts';
import type { TestEtcd } from './etcd.ts';
import { Heard } from './lease-listener.ts';

export const PREFIX = '/coreos.com/network';
export const SUBNETS = `${PREFIX}/subnets`;
export const CONFIG = `${PREFIX}/config`;
export const NETWORK = { Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } };

/** Short enough for a test to see leases end. */
export const TIMES: Partial<EtcdTimes> = {
  leaseSeconds: 60,
  dialMs: 1000,
  callMs: 1000,
  pingMs: 200,
  pingTimeoutMs: 300,
  retryMinMs: 20,
  retryMaxMs: 200,
};

export const member = (n: number): MemberRecord => ({
  publicIp: `192.0.2.${n}`,
  backendType: 'vxlan',
  backend: { vni: 1, mac: `02:00:00:00:00:${n.toString(16).padStart(2, '0')}` },
});

/** As flanneld writes it. */
export const flannelValue = (n: number) =>
  `{"PublicIP":"192.0.2.${n}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${member(n).backend!.mac}"}}`;

/** Sources and listeners of one test, ended together. */
export class Members {
  readonly lines: string[] = [];
  readonly #etcd: TestEtcd;
  readonly #sources: LeaseSource[] = [];
  readonly #stop = new AbortController();
  readonly #following: Promise<void>[] = [];

  constructor(etcd: TestEtcd) {
    this.#etcd = etcd;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  source(options: EtcdSourceOptions = {}): LeaseSource {
    const source = createEtcdSource({
      endpoints: [this.#etcd.endpoint],
      // Of the free subnets none of the first: tests write those as other members.
      random: () => 0.5 + Math.random() / 2,
      logger: (level, message) => void this.lines.push(`${level} ${message}`),
      ...options,
      times: { ...TIMES, ...options.times },
    });
    this.#sources.push(source);
    return source;
  }

  follow(source: LeaseSource): Heard {
    const heard = new Heard();
    this.#following.push(source.follow(heard, this.signal));
    return heard;
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#following);
    await Promise.all(this.#sources.map((source) => source.close()));
  }
}

/** Configuration anew, and no lease. */
export async function begin(etcd: TestEtcd, config: object = NETWORK): Promise<void> {
  await etcd.ctl('del', '--prefix', PREFIX);
  await etcd.ctl('put', CONFIG, JSON.stringify(config));
}

/** How many leases there are, in use or not. */
export async function countLeases(etcd: TestEtcd): Promise<number> {
  return JSON.parse(await etcd.ctl('lease', 'list', '-w', 'json')).leases?.length ?? 0;
}

/** What is stored under the subnets: value by key, and the lease of each. */
export async function stored(etcd: TestEtcd): Promise<Map<string, { value: string; lease: string }>> {
  const json = await etcd.ctl('get', '--prefix', SUBNETS, '-w', 'json');
  // A lease's number has more digits than JSON.parse keeps.
  const { kvs = [] } = JSON.parse(json.replace(/"lease":(\d+)/g, '"lease":"$1"'));
  const text = (base64: string) => Buffer.from(base64, 'base64').toString();
  return new Map(
    kvs.map((kv: { key: string; value: string; lease?: string }) => [
      text(kv.key),
      { value: text(kv.value), lease: kv.lease ?? '0' },
    ]),
  );
}
