/**
 * What flanneld does to the kernel's vxlan device, in its order, by `ip` and `bridge` in this namespace. One device
 * for each family: flannel.<VNI> and flannel-v6.<VNI>.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { baseText, type Cidr, cidrText, type Family, overlaps, parseCidr } from './kernel-node-subnets.ts';

const ATTEMPTS = 10;

/** Runs a command; throws with what it said on stderr. */
function run(command: string, ...words: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${words.join(' ')}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

const words = (text: string) => text.split(' ').filter(Boolean);
// biome-ignore lint/suspicious/noExplicitAny: iproute2's JSON
export const ipJson = (text: string): any => JSON.parse(run('ip', '-j', ...words(text)) || '[]');

/** flanneld's netlink calls are tried ten times, with longer and longer pauses. */
async function persist(command: string, text: string): Promise<void> {
  for (let attempt = 1; ; ++attempt) {
    try {
      run(command, ...words(text));
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await sleep(Math.min(10 * 2 ** attempt, 1000));
    }
  }
}

export interface Underlay {
  /** Interface that the tunnel runs over. */
  dev: string;
  mtu: number;
  /** The address that packets are sent from, by family. */
  address: Partial<Record<Family, string>>;
}

/** The interface's first global, permanent address of each family. */
export function underlayOf(dev: string): Underlay {
  const [link] = ipJson(`addr show dev ${dev}`);
  const address: Underlay['address'] = {};
  for (const { family, scope, local, temporary, deprecated } of link.addr_info) {
    if (scope !== 'global' || temporary || deprecated) continue;
    address[family === 'inet' ? 4 : 6] ??= local;
  }
  return { dev, mtu: link.mtu, address };
}

export interface DeviceOptions {
  vni: number;
  port: number;
  /** Of the device: that of the underlay less 50, in both families. */
  mtu: number;
  underlay: Underlay;
}

/** Another member, as one family sees it. */
export interface Remote {
  subnet: Cidr;
  mac: string;
  publicIp: string;
}

export class Device {
  readonly name: string;
  readonly #family: Family;
  readonly #directRouting: boolean;

  /** The interface is made, or kept when its settings are the same; its MAC and MTU are not among them. */
  constructor(family: Family, options: DeviceOptions & { directRouting: boolean }) {
    const { vni, port, mtu, underlay } = options;
    const local = underlay.address[family];
    if (local === undefined) throw new Error(`${underlay.dev} has no IPv${family} address`);
    this.name = family === 4 ? `flannel.${vni}` : `flannel-v6.${vni}`;
    this.#family = family;
    this.#directRouting = options.directRouting;
    if (existsSync(`/sys/class/net/${this.name}`) && !this.#isAs({ vni, port, local, dev: underlay.dev })) {
      run('ip', 'link', 'del', this.name);
    }
    if (!existsSync(`/sys/class/net/${this.name}`)) {
      run(
        'ip',
        ...words(
          `link add ${this.name} address ${newMac()} mtu ${mtu} type vxlan id ${vni} dev ${underlay.dev}`,
        ),
        ...words(`local ${local} dstport ${port} nolearning`),
      );
    }
    const acceptRa = `/proc/sys/net/ipv6/conf/${this.name}/accept_ra`;
    if (existsSync(acceptRa)) writeFileSync(acceptRa, '0');
  }

  #isAs(wanted: { vni: number; port: number; local: string; dev: string }): boolean {
    const { linkinfo, link } = ipJson(`-d link show ${this.name}`)[0];
    const { info_kind: kind, info_data: data = {} } = linkinfo ?? {};
    const local = data.local ?? data.local6;
    return (
      kind === 'vxlan' &&
      data.id === wanted.vni &&
      data.port === wanted.port &&
      local === wanted.local &&
      (data.link ?? link) === wanted.dev &&
      (data.group ?? data.group6) === undefined &&
      !data.l2miss &&
      !data.gbp
    );
  }

  mac(): string {
    return ipJson(`link show ${this.name}`)[0].address;
  }

  /** The subnet's network address as a host's; others inside the network go. Then the link goes up. */
  configure(subnet: Cidr, network: Cidr): void {
    const full = this.#family === 4 ? 32 : 128;
    const wanted = baseText(subnet);
    const [link] = ipJson(`addr show dev ${this.name}`);
    const mine = link.addr_info.filter(
      (one: { family: string; scope: string }) =>
        (one.family === 'inet') === (this.#family === 4) && one.scope !== 'link',
    );
    for (const { local, prefixlen } of mine) {
      const stale = local !== wanted && (this.#family === 6 || overlaps(parseCidr(`${local}/32`), network));
      if (stale) run('ip', 'addr', 'del', `${local}/${prefixlen}`, 'dev', this.name);
    }
    if (!mine.some(({ local }: { local: string }) => local === wanted)) {
      run('ip', 'addr', 'add', `${wanted}/${full}`, 'dev', this.name);
    }
    run('ip', 'link', 'set', this.name, 'up');
  }

  /** Neighbour, then FDB, then route: a route without its neighbour would have the kernel ask for it. */
  async add(remote: Remote): Promise<void> {
    if (this.#isDirect(remote)) {
      await persist('ip', this.#directRoute('replace', remote));
      return;
    }
    await persist('ip', this.#neighbour('replace', remote));
    try {
      await persist('bridge', this.#fdb('replace', remote));
    } catch (error) {
      this.#try('ip', this.#neighbour('del', remote));
      throw error;
    }
    try {
      await persist('ip', this.#route('replace', remote));
    } catch (error) {
      this.#try('ip', this.#neighbour('del', remote));
      this.#try('bridge', this.#fdb('del', remote));
      throw error;
    }
  }

  /** Whether it was routed directly is asked anew, as flanneld does, right or wrong. */
  remove(remote: Remote): void {
    if (this.#isDirect(remote)) {
      this.#try('ip', this.#directRoute('del', remote));
      return;
    }
    this.#try('ip', this.#neighbour('del', remote));
    this.#try('bridge', this.#fdb('del', remote));
    this.#try('ip', this.#route('del', remote));
  }

  /** Errors of a removal are told and forgotten. */
  #try(command: string, text: string): void {
    try {
      run(command, ...words(text));
    } catch (error) {
      console.error((error as Error).message);
    }
  }

  #isDirect({ publicIp }: Remote): boolean {
    if (!this.#directRouting) return false;
    const routes = ipJson(`route get ${publicIp}`);
    return routes.length === 1 && routes[0].gateway === undefined;
  }

  #neighbour(verb: 'replace' | 'del', { subnet, mac }: Remote): string {
    const state = verb === 'del' ? '' : ' nud permanent';
    return `neigh ${verb} ${baseText(subnet)} lladdr ${mac} dev ${this.name}${state}`;
  }

  #fdb(verb: 'replace' | 'del', { mac, publicIp }: Remote): string {
    const state = verb === 'del' ? '' : ' self permanent';
    return `fdb ${verb} ${mac} dev ${this.name} dst ${publicIp}${state}`;
  }

  #route(verb: 'replace' | 'del', { subnet }: Remote): string {
    return `route ${verb} ${cidrText(subnet)} via ${baseText(subnet)} dev ${this.name} onlink`;
  }

  #directRoute(verb: 'replace' | 'del', { subnet, publicIp }: Remote): string {
    return `route ${verb} ${cidrText(subnet)} via ${publicIp}`;
  }
}

/** Random, locally administered, no group. It is given at creation, so that nobody makes up another one. */
function newMac(): string {
  const octets = [...randomBytes(6)];
  octets[0] = (octets[0]! & 0xfe) | 0x02;
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}
