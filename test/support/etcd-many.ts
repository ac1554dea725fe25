/** Leases by the thousand, as flanneld's members would have written them. */
import type { EtcdClient } from '../../src/flannel/etcd-client.ts';
import { SUBNETS } from './etcd-world.ts';

const AT_ONCE = 500;

/** "10.0.1.0-24" is the key of 0. */
export const manyKey = (n: number) => `${SUBNETS}/10.${(n + 1) >> 8}.${(n + 1) & 255}.0-24`;

export function manyValue(n: number): string {
  const mac = `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
  return `{"PublicIP":"198.18.${n >> 8}.${n & 255}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
}

export async function fillEtcd(client: EtcdClient, count: number): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE) {
    const numbers = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, n) => from + n);
    await Promise.all(numbers.map((n) => client.put(manyKey(n), manyValue(n), 0n, { absent: true })));
  }
}
