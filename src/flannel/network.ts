/**
 * One flannel network of this node, from its configuration to its peers:
 *
 *   configuration (waits for the source) -> underlay -> devices -> lease -> addresses, up -> subnet.env -> peers
 *
 * What was once reached is held level-triggered: `settle` brings everything to what it has to be, from whatever state
 * it is in, at every change that is heard of and at an interval. That something can't be done now is a problem that
 * the status shows; it is tried again. Only `close` ends it.
 */
import { readFileSync } from 'node:fs';
import { Backoff, pause } from './backoff.ts';
import type { Lease, MemberRecord, NetConfig, Stored } from './lease.ts';
import type { NetworkOptions, NetworkParts } from './network-options.ts';
import { NetworkPeers } from './network-peers.ts';
import type { NetworkPhase, NetworkStatus } from './network-status.ts';
import { type NodeState, readState, statePath, writeState } from './node-state.ts';
import { familiesOf } from './overlay.ts';
import { Overlays } from './overlays.ts';
import { ownRecord, previousSubnets } from './own-record.ts';
import { Problems } from './problems.ts';
import { readSubnetEnv, writeSubnetEnv } from './subnet-env.ts';
import { followUnderlay, type Underlay, type UnderlayFollower } from './underlay.ts';

const RETRY_MS_FIRST = 1000;
const RETRY_MS_MOST = 30_000;
const FORWARDING = {
  4: { file: '/proc/sys/net/ipv4/ip_forward', key: 'net.ipv4.ip_forward' },
  6: { file: '/proc/sys/net/ipv6/conf/all/forwarding', key: 'net.ipv6.conf.all.forwarding' },
};

export class Network {
  readonly #options: NetworkOptions;
  readonly #parts: NetworkParts;
  readonly #overlays: Overlays;
  readonly #peers: NetworkPeers;
  readonly #problems: Problems;
  readonly #stateFile: string;
  readonly #ending = new AbortController();
  #state: NodeState;
  #phase: NetworkPhase = 'configuration';
  #config: NetConfig | undefined;
  #follower: UnderlayFollower | undefined;
  /** The last one that there was. */
  #underlay: Underlay | undefined;
  #lease: Lease | undefined;
  /** What was last published, as JSON. */
  #published = '';
  #isWritten = false;
  #settled: Promise<unknown> = Promise.resolve();
  #queued: Promise<unknown> | undefined;
  /** Called when it is worth looking again. */
  #again: () => void = () => {};
  #ended: Promise<void> = Promise.resolve();

  constructor(options: NetworkOptions, parts: NetworkParts) {
    const log: NetworkParts['log'] = (level, message) =>
      parts.log(level, `flannel ${options.name}: ${message}`);
    this.#options = options;
    this.#parts = { ...parts, log };
    this.#stateFile = statePath(options.stateDirectory, options.name);
    this.#state = readState(this.#stateFile);
    this.#problems = new Problems(log);
    this.#overlays = new Overlays(options, parts.vtep, log);
    this.#peers = new NetworkPeers({
      ...{ vtep: parts.vtep, log },
      intervalMs: options.reconcileInterval * 1000,
    });
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

  /** Resolves when the members that there were at the start have been programmed. */
  get programmed(): Promise<void> {
    return this.#peers.programmed;
  }

  status(): NetworkStatus {
    return {
      name: this.#options.name,
      phase: this.#phase,
      source: this.#parts.source.state(),
      ...(this.#config === undefined ? {} : { config: this.#config }),
      ...(this.#lease === undefined ? {} : { lease: this.#lease }),
      overlays: this.#overlays.status(),
      problems: [...this.#problems.list(), ...this.#peers.problems()],
      peers: this.#peers.status(),
    };
  }

  /** Whether pods can be made, which takes subnet.env; and in a few words what it does. */
  summary(): { serving: boolean; text: string } {
    const { kind, connected, error } = this.#parts.source.state();
    const subnets = [this.#lease?.subnet, this.#lease?.subnetV6].filter((one) => one !== undefined);
    const does = this.#phase === 'running' ? subnets.join(', ') : `waits for its ${this.#phase}`;
    const away = connected ? '' : `, ${kind} is away${error === undefined ? '' : ` (${error})`}`;
    return { serving: this.#isWritten, text: `${this.#options.name}: ${does}${away}` };
  }

  /** Whether traffic may be sent here, as /readyz means it, and what is missing. */
  ready(): string[] {
    const { source } = this.#parts;
    const { synced, error } = source.state();
    const missing: string[] = [];
    if (!synced) missing.push(`leases are not synced${error === undefined ? '' : `: ${error}`}`);
    if (this.#phase !== 'running') missing.push(`it waits for its ${this.#phase}`);
    else if (!this.#isWritten) missing.push('subnet.env is not written');
    missing.push(...this.#peers.ready());
    return missing.map((reason) => `flannel ${this.#options.name}: ${reason}`);
  }

  /** Takes the devices down; the lease stays, for a restart to find. */
  async close(): Promise<void> {
    this.#ending.abort(new Error('closed'));
    await this.#ended;
    await this.#settled;
    await this.#follower?.close();
    await this.#parts.source.close();
    await this.#peers.close();
    await this.#overlays.close();
  }

  async #live(): Promise<void> {
    const { source } = this.#parts;
    const { signal } = this.#ending;
    try {
      const config = await this.#insist('configuration', () => source.config(signal));
      const stored = await this.#insist('stored lease', () => source.stored(signal));
      this.#config = config;
      this.#overlays.begin(config, {
        4: stored.backend?.mac ?? this.#state.mac,
        6: stored.backendV6?.mac ?? this.#state.macV6,
      });
      this.#phase = 'underlay';
      this.#follower = await this.#insist('underlay', () => this.#follow(config, stored));
      const self = await this.#record(config);
      this.#phase = 'lease';
      const previous = previousSubnets(stored, this.#state, readSubnetEnv(this.#options.subnetFile));
      const lease = await this.#insist('lease', () => source.acquire(self, previous, signal));
      this.#published = JSON.stringify(self);
      this.#take(lease);
      await this.settle();
      this.#phase = 'running';
      await source.follow(
        {
          snapshot: (leases) => this.#peers.snapshot(leases),
          change: (changed, removed) => this.#peers.change(changed, removed),
          own: (changed) => {
            this.#take(changed);
            this.#soon();
          },
        },
        signal,
      );
    } catch (error) {
      if (!signal.aborted) this.#problems.set('leases', (error as Error).message);
    }
  }

  /** Everything as it has to be, as far as that is known and possible. Never rejects. */
  settle(): Promise<unknown> {
    this.#queued ??= this.#settled.then(() => {
      this.#queued = undefined;
      this.#settled = this.#problems.attempt('network', () => this.#settle());
      return this.#settled;
    });
    return this.#queued;
  }

  #soon(): void {
    void this.settle();
    this.#again();
  }

  async #settle(): Promise<void> {
    const config = this.#config;
    const news = this.#follower?.current;
    if (config === undefined || news === undefined || this.#ending.signal.aborted) return;
    this.#problems.set('underlay', news.reason);
    this.#underlay = news.underlay ?? this.#underlay;
    const underlay = this.#underlay;
    if (underlay === undefined) return;
    await this.#problems.attempt('devices', () => this.#overlays.settleDevices(underlay));
    this.#problems.set('mtu', this.#overlays.complaint(underlay));
    const lease = this.#lease;
    if (lease === undefined) return;
    await this.#problems.attempt('addresses', () => this.#overlays.settleAddresses(lease));
    await this.#problems.attempt('publishing', () => this.#publish(config, underlay));
    await this.#problems.attempt('state', () => this.#persist(lease));
    await this.#problems.attempt('subnet.env', () => this.#writeSubnetEnv(config, lease));
    await this.#problems.attempt('peers', () =>
      this.#peers.settle(config, this.#lease!, this.#overlays.status(), underlay),
    );
    this.#problems.set('forwarding', forwardingComplaint(config));
  }

  #take(lease: Lease): void {
    const words = [lease.subnet, lease.subnetV6].filter((one) => one !== undefined).join(' and ');
    this.#parts.log('info', `our lease is ${words}`);
    this.#lease = lease;
  }

  #follow(config: NetConfig, { wantedPublicIp, wantedPublicIpV6 }: Stored): Promise<UnderlayFollower> {
    const { iface, ifaceRegex, ifaceCanReach, publicIp, publicIpV6 } = this.#options;
    const options = {
      ...{ ipv4: config.enableIpv4, ipv6: config.enableIpv6 },
      ...{ iface, ifaceRegex, ifaceCanReach },
      publicIp: publicIp ?? wantedPublicIp,
      publicIpV6: publicIpV6 ?? wantedPublicIpV6,
    };
    return followUnderlay(options, () => this.#soon());
  }

  /** What we are to the others, as soon as we are. */
  async #record(config: NetConfig): Promise<MemberRecord> {
    const { signal } = this.#ending;
    for (;;) {
      await this.settle();
      const underlay = this.#underlay;
      const record = underlay && ownRecord(config, underlay, (version) => this.#overlays.macOf(version));
      if (record !== undefined) return record;
      signal.throwIfAborted();
      // Something may have changed since, and everything is looked at again at the interval.
      await new Promise<void>((resolve) => {
        this.#again = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  #publish(config: NetConfig, underlay: Underlay): void {
    const record = ownRecord(config, underlay, (version) => this.#overlays.macOf(version));
    const text = JSON.stringify(record);
    if (record === undefined || text === this.#published) return;
    this.#published = text;
    this.#parts.log('info', `publishing ${text}`);
    this.#parts.source.publish(record);
    this.#lease = { ...this.#lease!, ...record };
  }

  #persist({ subnet, subnetV6 }: Lease): void {
    const [mac, macV6] = [this.#overlays.macOf(4), this.#overlays.macOf(6)];
    const entries = Object.entries({ mac, macV6, subnet, subnetV6 }).filter(([, one]) => one !== undefined);
    this.#state = Object.fromEntries(entries) as NodeState;
    writeState(this.#stateFile, this.#state);
  }

  #writeSubnetEnv({ network, ipv6Network }: NetConfig, { subnet, subnetV6 }: Lease): void {
    const { subnetFile, ipMasq } = this.#options;
    const { mtu } = this.#overlays;
    if (mtu === undefined) return;
    writeSubnetEnv(subnetFile, {
      ...(network === undefined ? {} : { network }),
      ...(ipv6Network === undefined ? {} : { networkV6: ipv6Network }),
      ...(subnet === undefined ? {} : { subnet }),
      ...(subnetV6 === undefined ? {} : { subnetV6 }),
      ...{ mtu, ipMasq },
    });
    this.#isWritten = true;
  }

  /** Until it succeeds or we are closed. */
  async #insist<T>(topic: string, work: () => Promise<T>): Promise<T> {
    const { signal } = this.#ending;
    const backoff = new Backoff(RETRY_MS_FIRST, RETRY_MS_MOST);
    for (;;) {
      try {
        const answer = await work();
        this.#problems.set(topic, undefined);
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        this.#problems.set(topic, (error as Error).message);
        await pause(backoff.next(), signal);
      }
    }
  }
}

/** It is the operator's to say whether this host is a router; without it no pod hears of another node's. */
function forwardingComplaint(config: NetConfig): string | undefined {
  const off = familiesOf(config).filter((version) => {
    try {
      return readFileSync(FORWARDING[version].file, 'utf8').trim() === '0';
    } catch {
      return false;
    }
  });
  const [version] = off;
  if (version === undefined) return undefined;
  const keys = off.map((one) => `${FORWARDING[one].key}=1`).join(' ');
  return `this host forwards no IPv${off.join(' and IPv')}: pods reach nobody beyond it: sysctl -w ${keys}`;
}
