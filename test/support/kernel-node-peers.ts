/** What flanneld makes of the leases it hears of, with its faults. */
import type { Device, Remote } from './kernel-node-device.ts';
import type { WatchEvent } from './kernel-node-etcd.ts';
import { FAMILIES, type Member, memberOf, nameOf, sameSubnet, subnetsOf } from './kernel-node-lease.ts';
import type { Family } from './kernel-node-subnets.ts';

/** The others as last heard, and the kernel programmed with them. */
export class Peers {
  readonly #devices: Partial<Record<Family, Device>>;
  readonly #own: Member['subnets'];
  #known: Member[] = [];

  constructor(devices: Partial<Record<Family, Device>>, own: Member['subnets']) {
    this.#devices = devices;
    this.#own = own;
  }

  /** Only subnets that are new or gone are seen. */
  async snapshot(members: readonly Member[]): Promise<void> {
    const others = members.filter(({ subnets }) => !sameSubnet(subnets, this.#own));
    const gone = this.#known.filter((old) => !others.some((one) => sameSubnet(one.subnets, old.subnets)));
    const fresh = others.filter((one) => !this.#known.some((old) => sameSubnet(one.subnets, old.subnets)));
    this.#known = [...others];
    for (const member of gone) this.#remove(member);
    for (const member of fresh) await this.#add(member);
  }

  async change({ type, kv }: WatchEvent): Promise<void> {
    const subnets = subnetsOf(kv.key);
    if (sameSubnet(subnets, this.#own)) {
      if (type === 'PUT') return;
      console.error('Lease has been revoked. Shutting down daemon.');
      process.exit(0);
    }
    const old = this.#known.find((one) => sameSubnet(one.subnets, subnets));
    this.#known = this.#known.filter((one) => one !== old);
    if (type === 'DELETE') {
      if (old) this.#remove(old);
      return;
    }
    const member = memberOf(kv);
    if (!member) return;
    this.#known.push(member);
    await this.#add(member);
  }

  #remotes({ subnets, value }: Member): { device: Device; remote: Remote }[] {
    if (value.BackendType !== 'vxlan') {
      console.error(`${nameOf(subnets)}: backend ${value.BackendType} is not ours`);
      return [];
    }
    return FAMILIES.flatMap((family) => {
      const data = family === 4 ? value.BackendData : value.BackendV6Data;
      const publicIp = family === 4 ? value.PublicIP : value.PublicIPv6;
      const [subnet, device] = [subnets[family], this.#devices[family]];
      if (!subnet || !device || !data || !publicIp) return [];
      return [{ device, remote: { subnet, mac: data.VtepMAC, publicIp } }];
    });
  }

  async #add(member: Member): Promise<void> {
    for (const { device, remote } of this.#remotes(member)) {
      await device.add(remote).catch((error: Error) => console.error(error.message));
    }
  }

  #remove(member: Member): void {
    for (const { device, remote } of this.#remotes(member)) device.remove(remote);
  }
}
