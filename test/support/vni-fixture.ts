/**
 * External devices on an engine of its own, with VNIs and policies: what their tests drive. The FDB's default
 * destinations are real entries; groups and events are written down.
 */
import {
  AF_INET,
  AF_INET6,
  DEVICE_BYTES,
  DEVICE_FAMILY_OFFSET,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAG_GBP,
  DEVICE_FLAGS_OFFSET,
  DEVICE_LINK_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_RECEIVE_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  NTF_SELF,
  NUD_PERMANENT,
  NUD_REACHABLE,
  RECEIVE_EXTERNAL,
  RECEIVE_VNIFILTER,
} from '../../assembly/layout.ts';
import { readDomain, writeDomain } from '../../src/dataplane/domains.ts';
import { FdbEntries } from '../../src/dataplane/fdb-entries.ts';
import { formatAddress, isZero, parseAddress, parseMac, ZERO_MAC } from '../../src/dataplane/fdb-text.ts';
import { Policies } from '../../src/dataplane/policies.ts';
import { Vni } from '../../src/dataplane/vni.ts';
import { type Destination, Vnis } from '../../src/dataplane/vnis.ts';
import type { VniRequest, VtepEvent } from '../../src/types.ts';
import type { TestEngine } from './engine.ts';

export const WORKERS = 2;
export const LINK = 3;

interface TestDevice {
  name: string;
  flags: number;
  receive: number;
  family: number;
  port: number;
  link: number;
}

const filtering = {
  flags: DEVICE_FLAG_EXTERNAL | DEVICE_FLAG_GBP,
  receive: RECEIVE_EXTERNAL | RECEIVE_VNIFILTER,
  family: AF_INET,
  port: 4789,
};

/** By index, from 1. */
const DEVICES: readonly TestDevice[] = [
  { name: 'vx1', ...filtering, link: LINK },
  { name: 'vx2', ...filtering, link: 0 },
  { name: 'vx3', ...filtering, port: 8472, link: LINK },
  { name: 'vx4', ...filtering, receive: RECEIVE_EXTERNAL, link: 0 },
  { name: 'vx5', flags: DEVICE_FLAG_GBP, receive: 0, family: AF_INET, port: 4789, link: 0 },
  { name: 'vx6', ...filtering, family: AF_INET6, link: LINK },
  { name: 'vx7', flags: 0, receive: 0, family: AF_INET, port: 4789, link: 0 },
];

export class VniFixture {
  readonly engine: TestEngine;
  readonly table: Vni;
  readonly vnis: Vnis;
  readonly policies: Policies;
  readonly entries: FdbEntries;
  readonly events: VtepEvent[] = [];
  /** "device address" that have been joined and not left. */
  readonly groups = new Set<string>();
  /** Called before a default destination moves or a group is joined: to throw. */
  trip: () => void = () => {};

  constructor(engine: TestEngine) {
    this.engine = engine;
    const { view, exports } = engine;
    for (const [at, device] of DEVICES.entries()) this.#setDevice(at + 1, device);
    this.table = new Vni(engine.memory);
    this.entries = new FdbEntries(view, exports);
    const names = {
      deviceIndex: (name: string) => DEVICES.findIndex((device) => device.name === name) + 1,
      deviceName: (index: number) => DEVICES[index - 1]?.name ?? '',
    };
    this.vnis = new Vnis(
      {
        view,
        exports,
        workers: WORKERS,
        ...names,
        setDefault: (domain, vni, before, after) => this.#setDefault(domain, vni, before, after),
        joinGroup: (device, address) => {
          this.trip();
          if (this.groups.has(`${device} ${address}`)) throw new Error(`${address} is joined twice`);
          this.groups.add(`${device} ${address}`);
        },
        leaveGroup: (device, address) => {
          if (!this.groups.delete(`${device} ${address}`)) throw new Error(`${address} was not joined`);
        },
        emit: (event) => this.events.push(event),
        forgetVni: (device, vni) => this.policies.forgetVni(device, vni),
      },
      this.table,
    );
    const domainOf = (device: number, vni: number) =>
      this.vnis.has(device, vni) ? this.vnis.domainOf(device, vni) : 0;
    this.policies = new Policies({ view, workers: WORKERS, ...names, domainOf });
  }

  /** "10", "10-12" or "10,20-22" of a device. */
  vni(op: VniRequest['op'], dev: string, list: string, more: Partial<VniRequest> = {}): void {
    const vni = list.split(',').map((text) => {
      const [first, last] = text.split('-').map(Number) as [number, number?];
      return [first, last ?? first] as const;
    });
    this.vnis.apply({ op, dev, vni, ...more });
  }

  vlan(op: VniRequest['op'], dev: string, vlan: string, vni: string, more: Partial<VniRequest> = {}): void {
    const [first, last] = vlan.split('-').map(Number) as [number, number?];
    this.vni(op, dev, vni, { vlan: [first, last ?? first], ...more });
  }

  /** VNIs of a device in short. */
  lines(dev: string): string[] {
    return this.vnis
      .show(dev)
      .map(({ vni, listed, remote, group, vlan, pvid, untagged }) =>
        [
          vni,
          listed && 'listed',
          remote ?? group,
          vlan && `vlan ${vlan}`,
          pvid && 'pvid',
          untagged && 'untagged',
        ]
          .filter(Boolean)
          .join(' '),
      );
  }

  /** The all-zeros entries of a device, but for its own VNI: "VNI dst ADDRESS vni VNI". */
  defaults(dev: string): string[] {
    const index = DEVICES.findIndex(({ name }) => name === dev) + 1;
    const found: string[] = [];
    this.entries.each(index, (at) => {
      const { mac, domain, remotes } = this.entries.read(at);
      if (!isZero(mac)) return;
      const src = readDomain(this.engine.view, domain).vni;
      for (const { address, vni, ifindex } of remotes) {
        found.push(
          `${src} dst ${formatAddress(address)} vni ${vni}${ifindex === 0 ? '' : ` via ${ifindex}`}`,
        );
      }
    });
    return found.sort();
  }

  /** A static FDB entry in a domain. */
  addEntry(index: number, domain: number, mac: string, dst: string): void {
    const what = `fdb add ${mac}`;
    const remote = { address: parseAddress(dst)!, port: 0, vni: 0xffffffff, ifindex: 0 };
    const wanted = {
      what,
      op: 'add' as const,
      mac: parseMac(mac)!,
      remote,
      state: 0xc0,
      flags: 2,
      refresh: false,
    };
    this.entries.locked(() => this.entries.put(this.#fdbDevice(index, domain), wanted, 1000));
  }

  flush(index: number): void {
    this.entries.each(index, (at) => this.entries.removeRemotes(at, () => true));
  }

  /** Removes every device's VNIs and policies, and makes the devices as they were. */
  reset(): void {
    this.trip = () => {};
    for (const index of DEVICES.keys()) {
      this.flush(index + 1);
      this.policies.remove(index + 1);
      this.vnis.remove(index + 1);
    }
    this.events.length = 0;
  }

  #setDefault(domain: number, vni: number, before?: Destination, after?: Destination): void {
    this.trip();
    const remoteOf = ({ address, ifindex }: Destination) => ({
      address: parseAddress(address)!,
      port: 0,
      vni,
      ifindex,
    });
    const state = NUD_REACHABLE | NUD_PERMANENT;
    const entry = { what: 'vni', mac: ZERO_MAC, state, flags: NTF_SELF, refresh: false };
    const device = this.#fdbDevice(readDomain(this.engine.view, domain).device, domain);
    this.entries.locked(() => {
      if (after) this.entries.put(device, { ...entry, op: 'append', remote: remoteOf(after) }, 1000);
      if (before) this.entries.remove(domain, ZERO_MAC, remoteOf(before));
    });
  }

  #fdbDevice(index: number, domain: number) {
    const { name, family, port } = DEVICES[index - 1]!;
    return { index, domain, name, family, port, vni: 0 };
  }

  #setDevice(index: number, { flags, receive, family, port, link }: TestDevice): void {
    const { view } = this.engine;
    writeDomain(view, index, { device: index, vni: 0 });
    const record = DEVICES_BASE + index * DEVICE_BYTES;
    view.setUint32(record + DEVICE_STATE_OFFSET, DEVICE_UP, true);
    view.setUint32(record + DEVICE_FLAGS_OFFSET, flags, true);
    view.setUint32(record + DEVICE_RECEIVE_OFFSET, receive, true);
    view.setUint8(record + DEVICE_FAMILY_OFFSET, family);
    view.setUint16(record + DEVICE_PORT_OFFSET, port, true);
    view.setUint32(record + DEVICE_LINK_OFFSET, link, true);
  }
}
