/**
 * One flannel network of this node, from its configuration to its peers:
 *
 *   configuration (waits for the source) -> underlay -> devices -> lease -> addresses, up -> subnet.env -> peers
 *
 * What was once reached is held level-triggered: `#settle` brings everything to what it has to be, from whatever
 * state it is in, at every change that is heard of and at an interval. That something can't be done now is a problem
 * that the status shows; it is tried again. Only `close` ends it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease, MemberRecord, NetConfig, Subnets } from './lease.ts';
import type { NetworkOptions, NetworkParts } from './network-options.ts';
import type { NetworkPhase, NetworkStatus } from './network-status.ts';
import { type NodeState, readState, statePath, writeState } from './node-state.ts';
import { familiesOf } from './overlay.ts';
import { Overlays } from './overlays.ts';
import { chooseUnderlay, Simple, type Underlay } from './simple.ts';
import { readSubnetEnv, writeSubnetEnv } from './subnet-env.ts';

const RETRY_MS_FIRST = 1000;
const RETRY_MS_MOST = 30_000;

export class Network {
  readonly #options: NetworkOptions;
  readonly #parts: NetworkParts;
  readonly #overlays: Overlays;
  readonly #reconciler: Simple;
  readonly #stateFile: string;
  readonly #ending = new AbortController();
  /** By topic. */
  readonly #problems = new Map<string, string>();
  #state: NodeState;
  #phase: NetworkPhase = 'configuration';
  #config: NetConfig | undefined;
  #underlay: Underlay | undefined;
  #lease: Lease | undefined;
  /** What was last published, as JSON. */
  #published = '';
  #settled: Promise<void> = Promise.resolve();
  #queued: Promise<void> | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: NetworkOptions, parts: NetworkParts) {
    this.#options = options;
    this.#parts = parts;
    this.#stateFile = statePath(options.stateDirectory, options.name);
    this.#state = readState(this.#stateFile);
    this.#overlays = new Overlays(options, parts.vtep, parts.log);
    this.#reconciler = new Simple(parts.vtep);
  }

  start(): void {
    const unsubscribe = this.#parts.vtep.subscribe((event) => {
      if (event.event === 'link' && this.#overlays.has(event.ifname)) this.#soon();
    });
    const timer = setInterval(() => this.#soon(), this.#options.reconcileInterval * 1000);
    this.#ended = this.#live().finally(() => {
      unsubscribe();
      clearInterval(timer);
    });
  }

  status(): NetworkStatus {
    return {
      name: this.#options.name,
      phase: this.#phase,
      source: this.#parts.source.state(),
      ...(this.#config === undefined ? {} : { config: this.#config }),
      ...(this.#lease === undefined ? {} : { lease: this.#lease }),
      overlays: this.#overlays.status(),
      problems: [...this.#problems.values()],
    };
  }

  /** Takes the devices down; the lease stays, for a restart to find. */
  async close(): Promise<void> {
    this.#ending.abort(new Error('closed'));
    await this.#ended;
    await this.#settled;
    await this.#parts.source.close();
    await this.#overlays.close();
  }

  async #live(): Promise<void> {
    const { source } = this.#parts;
    const { signal } = this.#ending;
    try {
      this.#config = await this.#insist('configuration', () => source.config(signal));
      const stored = await this.#insist('stored lease', () => source.stored(signal));
      this.#overlays.begin(this.#config, {
        4: stored.backend?.mac ?? this.#state.mac,
        6: stored.backendV6?.mac ?? this.#state.macV6,
      });
      this.#phase = 'underlay';
      const self = await this.#insist('underlay', async () => {
        await this.settle();
        return this.#record();
      });
      this.#phase = 'lease';
      const previous = this.#previous(stored);
      const lease = await this.#insist('lease', () => source.acquire(self, previous, signal));
      this.#published = JSON.stringify(self);
      this.#take(lease);
      await this.settle();
      this.#phase = 'running';
      await source.follow(
        {
          snapshot: (leases) => this.#hear(() => this.#reconciler.snapshot(leases)),
          change: () => undefined,
          own: (changed) => {
            this.#take(changed);
            this.#soon();
          },
        },
        signal,
      );
    } catch (error) {
      if (!signal.aborted) this.#problem('network', (error as Error).message);
    }
  }

  /** Everything as it has to be, as far as that is known and possible. Never rejects. */
  settle(): Promise<void> {
    this.#queued ??= this.#settled.then(() => {
      this.#queued = undefined;
      this.#settled = this.#settle();
      return this.#settled;
    });
    return this.#queued;
  }

  #soon(): void {
    void this.settle();
  }

  async #settle(): Promise<void> {
    const config = this.#config;
    if (config === undefined || this.#ending.signal.aborted) return;
    await this.#attempt('underlay', async () => {
      this.#underlay = chooseUnderlay(this.#options);
    });
    const underlay = this.#underlay;
    if (underlay === undefined) return;
    await this.#attempt('devices', () => this.#overlays.settleDevices(underlay));
    const lease = this.#lease;
    if (lease === undefined) return;
    await this.#attempt('addresses', () => this.#overlays.settleAddresses(lease));
    await this.#attempt('lease', async () => this.#publish());
    await this.#attempt('state', async () => this.#persist(lease));
    await this.#attempt('subnet.env', async () => this.#writeSubnetEnv(config, lease));
    await this.#attempt('peers', () => this.#reconciler.setOverlays(this.#overlays.status()[0]!.name));
  }

  #hear(work: () => Promise<void>): void {
    this.#settled = this.#settled.then(() => this.#attempt('peers', work));
  }

  #take(lease: Lease): void {
    const { log } = this.#parts;
    const { subnet, subnetV6 } = lease;
    const words = [subnet, subnetV6].filter((one) => one !== undefined).join(' and ');
    log('info', `flannel ${this.#options.name}: our lease is ${words}`);
    this.#lease = lease;
  }

  /** What we are to the others; undefined until we are. */
  #record(): MemberRecord {
    const underlay = this.#underlay;
    const config = this.#config;
    if (underlay === undefined || config === undefined)
      throw new Error(this.#problems.get('underlay') ?? 'none');
    const record: MemberRecord = { backendType: 'vxlan' };
    for (const version of familiesOf(config)) {
      const mac = this.#overlays.macOf(version);
      if (mac === undefined) throw new Error(this.#problems.get('devices') ?? 'no device');
      const backend = { vni: config.backend.vni, mac };
      const [v4, v6] = [underlay.publicIp ?? underlay.address, underlay.publicIpV6 ?? underlay.addressV6];
      if (version === 4) Object.assign(record, { publicIp: v4, backend });
      else Object.assign(record, { publicIpV6: v6, backendV6: backend });
    }
    return record;
  }

  #publish(): void {
    const record = this.#record();
    const text = JSON.stringify(record);
    if (text === this.#published) return;
    this.#published = text;
    this.#parts.log('info', `flannel ${this.#options.name}: publishing ${text}`);
    this.#parts.source.publish(record);
    if (this.#lease !== undefined) this.#lease = { ...this.#lease, ...record };
  }

  #previous(stored: Subnets): Subnets {
    const { subnet, subnetV6 } = {
      ...readSubnetEnv(this.#options.subnetFile),
      ...this.#state,
      ...stored,
    };
    return { ...(subnet === undefined ? {} : { subnet }), ...(subnetV6 === undefined ? {} : { subnetV6 }) };
  }

  #persist({ subnet, subnetV6 }: Subnets): void {
    const [mac, macV6] = [this.#overlays.macOf(4), this.#overlays.macOf(6)];
    const entries = Object.entries({ mac, macV6, subnet, subnetV6 }).filter(([, one]) => one !== undefined);
    this.#state = Object.fromEntries(entries) as NodeState;
    writeState(this.#stateFile, this.#state);
  }

  #writeSubnetEnv(config: NetConfig, { subnet, subnetV6 }: Subnets): void {
    const mtu = this.#overlays.mtu;
    if (mtu === undefined) return;
    const { network, ipv6Network } = config;
    writeSubnetEnv(this.#options.subnetFile, {
      ...(network === undefined ? {} : { network }),
      ...(ipv6Network === undefined ? {} : { networkV6: ipv6Network }),
      ...(subnet === undefined ? {} : { subnet }),
      ...(subnetV6 === undefined ? {} : { subnetV6 }),
      mtu,
      ipMasq: this.#options.ipMasq,
    });
  }

  /** Until it succeeds or we are closed. */
  async #insist<T>(topic: string, work: () => Promise<T>): Promise<T> {
    const { signal } = this.#ending;
    for (let pause = RETRY_MS_FIRST; ; pause = Math.min(pause * 2, RETRY_MS_MOST)) {
      try {
        const answer = await work();
        this.#problem(topic, undefined);
        return answer;
      } catch (error) {
        if (signal.aborted) throw error;
        this.#problem(topic, (error as Error).message);
        await sleep(pause, undefined, { signal });
      }
    }
  }

  async #attempt(topic: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#problem(topic, undefined);
    } catch (error) {
      this.#problem(topic, (error as Error).message);
    }
  }

  /** Said once, and once that it is over. */
  #problem(topic: string, sentence: string | undefined): void {
    const { log } = this.#parts;
    const before = this.#problems.get(topic);
    if (sentence === before) return;
    if (sentence === undefined) {
      this.#problems.delete(topic);
      log('info', `flannel ${this.#options.name}: ${topic}: as it should be again`);
    } else {
      this.#problems.set(topic, sentence);
      log('warn', `flannel ${this.#options.name}: ${sentence}`);
    }
  }
}
