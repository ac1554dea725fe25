/**
 * A flannel network on one machine: nodes on an underlay bridge, a real etcd on it too, and a pod on each node behind
 * its own gateway address, routed as a CNI bridge would.
 *
 *   pod .2 - pod0 (.1) - node0 - eth0 \
 *   pod .2 - pod0 (.1) - node1 - eth0 - br0 - etcd 10.169.72.1
 *   pod .2 - pod0 (.1) - node2 - eth0 /
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EtcdServer } from './flannel-etcd-server.ts';
import type { Bed, Namespace } from './netns.ts';
import { Agent } from './traffic.ts';

export const PREFIX = '/coreos.com/network';
export const SUBNETS = `${PREFIX}/subnets`;
export const UNDERLAY = 'eth0';
const UNDERLAY_NETWORK = '10.169.72';

/** Calls until the work doesn't throw any more; then its last error, with the time that was given. */
export async function eventually<T>(work: () => T | Promise<T>, withinMs = 20_000): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > until) {
        (error as Error).message += ` (after ${withinMs} ms)`;
        throw error;
      }
      await sleep(50);
    }
  }
}

export interface SubnetEnv {
  network: string;
  /** Of the gateway: "10.244.1.1/24". */
  gateway: string;
  mtu: number;
  text: string;
}

/** subnet.env, read as flannel's consumers read it. @throws when it isn't there or not whole */
export function readSubnetEnv(path: string): SubnetEnv {
  const text = readFileSync(path, 'utf8');
  const value = (key: string) => {
    const found = new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1];
    if (found === undefined) throw new Error(`${path}: ${key} is missing: ${text}`);
    return found;
  };
  return {
    network: value('FLANNEL_NETWORK'),
    gateway: value('FLANNEL_SUBNET'),
    mtu: Number(value('FLANNEL_MTU')),
    text,
  };
}

/** A pod's side of a conversation. */
export interface PodEnd {
  address: string;
  agent: Agent;
}

/** One TCP connection and a sweep of datagrams from one pod to another and back. @throws when anything is lost */
export async function talk(from: PodEnd, to: PodEnd): Promise<void> {
  const tcp = await to.agent.call('tcpEchoServer', to.address);
  const wrong = await from.agent.call('tcpEchoClient', to.address, tcp, [1, 1000, 1400, 3000, 65_536]);
  if (wrong.length > 0)
    throw new Error(`TCP ${from.address} to ${to.address}: wrong sizes ${wrong.join(' ')}`);
  const udp = await to.agent.call('udpEchoServer', to.address);
  const sweep = await from.agent.call('udpSweep', to.address, udp, { first: 4, last: 1422, step: 29 });
  const bad = [...sweep.lost, ...sweep.corrupt, ...sweep.duplicate];
  if (bad.length > 0) throw new Error(`UDP ${from.address} to ${to.address}: wrong sizes ${bad.join(' ')}`);
}

export class Place {
  readonly namespace: Namespace;
  readonly subnetFile: string;
  /** Directory for the node's other files. */
  readonly directory: string;
  readonly #bed: Bed;
  readonly #number: number;
  #agent: Agent | undefined;
  #pod: Namespace | undefined;
  #address = '';
  #underlay: string;

  constructor(bed: Bed, hub: Namespace, number: number) {
    this.#bed = bed;
    this.#number = number;
    this.namespace = bed.namespace(`node${number}`);
    this.directory = bed.directory();
    this.subnetFile = join(this.directory, 'subnet.env');
    this.#underlay = `${UNDERLAY_NETWORK}.${11 + number}`;
    this.namespace.ip(
      `link add ${UNDERLAY} type veth peer name port${number} netns ${hub.name}`,
      `addr add ${this.#underlay}/24 dev ${UNDERLAY}`,
      `link set ${UNDERLAY} up`,
      `route add default via ${UNDERLAY_NETWORK}.1`,
    );
    hub.ip(`link set port${number} master br0 up`);
    this.namespace.sysctl({ 'net.ipv4.ip_forward': 1 });
  }

  /** Public address of the node. */
  get underlay(): string {
    return this.#underlay;
  }

  /** Gives the node another address in place of its own. */
  moveTo(address: string): void {
    this.namespace.ip(
      `addr del ${this.#underlay}/24 dev ${UNDERLAY}`,
      `addr add ${address}/24 dev ${UNDERLAY}`,
      `route replace default via ${UNDERLAY_NETWORK}.1`,
    );
    this.#underlay = address;
  }

  /** "10.244.1.0/24": the node's subnet by subnet.env. */
  get subnet(): string {
    return readSubnetEnv(this.subnetFile).gateway.replace(/\.1\//, '.0/');
  }

  get pod(): PodEnd {
    if (this.#agent === undefined) throw new Error(`node ${this.#number} has no pod`);
    return { address: this.#address, agent: this.#agent };
  }

  /** Puts a pod behind the gateway that subnet.env names. Called again after the subnet has changed. */
  async attachPod(): Promise<void> {
    const { gateway, mtu } = readSubnetEnv(this.subnetFile);
    const first = gateway.split('/')[0]!;
    const address = first.replace(/\.1$/, '.2');
    if (this.#pod === undefined) {
      this.#pod = this.#bed.namespace(`pod${this.#number}`);
      this.namespace.ip(
        `link add pod0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${this.#pod.name}`,
      );
      this.#agent = await Agent.start(this.#pod);
    }
    this.namespace.ip('addr flush dev pod0', `addr add ${gateway} dev pod0`, 'link set pod0 up');
    this.#pod.ip(
      'addr flush dev eth0',
      `addr add ${address}/24 dev eth0`,
      'link set eth0 up',
      `route replace default via ${first}`,
    );
    this.#address = address;
  }
}

export class FlannelWorld {
  readonly etcd: EtcdServer;
  readonly places: readonly Place[];
  readonly #hub: Namespace;

  private constructor(hub: Namespace, etcd: EtcdServer, places: readonly Place[]) {
    this.#hub = hub;
    this.etcd = etcd;
    this.places = places;
  }

  static async make(bed: Bed, nodes: number, netConfig: object): Promise<FlannelWorld> {
    const hub = bed.namespace('hub');
    hub.ip('link add br0 type bridge', `addr add ${UNDERLAY_NETWORK}.1/24 dev br0`, 'link set br0 up');
    // Firewalls of bridges would look into what passes.
    hub.run(
      'sh',
      '-c',
      'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ -e $f ] && echo 0 > $f; done; :',
    );
    const places = Array.from({ length: nodes }, (_, number) => new Place(bed, hub, number));
    const etcd = new EtcdServer(bed, hub, `${UNDERLAY_NETWORK}.1`);
    await etcd.start();
    etcd.ctl('put', `${PREFIX}/config`, JSON.stringify(netConfig));
    return new FlannelWorld(hub, etcd, places);
  }

  /** Takes a node off the underlay, or puts it back. */
  plug(number: number, plugged: boolean): void {
    this.#hub.ip(`link set port${number} ${plugged ? 'up' : 'down'}`);
  }

  /** Every pair of pods, both ways. */
  async talkAll(places: readonly Place[] = this.places): Promise<void> {
    for (const from of places) {
      for (const to of places) if (from !== to) await talk(from.pod, to.pod);
    }
  }
}
