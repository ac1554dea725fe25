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
  RECEIVE_EXTERNAL,
  RECEIVE_VNIFILTER,
} from '../../assembly/layout.ts';
import { writeDomain } from '../../src/dataplane/domains.ts';
import { Fdb } from '../../src/dataplane/fdb.ts';
import { Policies } from '../../src/dataplane/policies.ts';
import { Vni } from '../../src/dataplane/vni.ts';
import { setDefault, Vnis } from '../../src/dataplane/vnis.ts';
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
  readonly fdb: Fdb;
  readonly events: VtepEvent[] = [];
  /** "device address" that have been joined and not left. */
  readonly groups = new Set<string>();
  /** Devices whose domains have changed, each time. */
  readonly rebound: number[] = [];
  /** Called before a default destination moves or a group is joined: to throw. */
  trip: () => void = () => {};

  constructor(engine: TestEngine) {
    this.engine = engine;
    const { view, exports } = engine;
    for (const [at, device] of DEVICES.entries()) this.#setDevice(at + 1, device);
    this.table = new Vni(engine.memory);
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
        setDefault: (device, domain, before, after) => {
          this.trip();
          setDefault(this.fdb, device, domain, before, after);
        },
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
        rebind: (device) => this.rebound.push(device),
      },
      this.table,
    );
    this.fdb = new Fdb({
      view,
      exports,
      ...names,
      ifindex: (name) => (name === 'v3' ? LINK : 0),
      ifname: (index) => `v${index}`,
      now: () => 1000,
      domainOf: (device, vni, make) => this.vnis.domainOf(device, vni, make),
    });
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

  /** The all-zeros entries of a device's VNIs: "VNI dst ADDRESS vni VNI". */
  defaults(dev: string): string[] {
    return this.fdb
      .show(dev)
      .filter(({ mac, src_vni }) => mac === '00:00:00:00:00:00' && src_vni !== undefined)
      .map(({ src_vni, dst, vni, viaIf }) => `${src_vni} dst ${dst} vni ${vni}${viaIf ? ' via 3' : ''}`)
      .sort();
  }

  /** A static FDB entry of a VNI. */
  addEntry(dev: string, src_vni: number, mac: string): void {
    this.fdb.apply({ op: 'add', dev, mac, dst: '192.0.2.9', src_vni, state: 'static' });
  }

  flush(index: number): void {
    this.fdb.flushDevice(index);
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
