/**
 * An FDB with four devices on an engine of its own, and a clock that stands still: what the FDB's
 * tests drive. `fdb` is the host's side; learn, lookup and touch are what packets do.
 */
import assert from 'node:assert/strict';
import {
  AF_INET,
  AF_INET6,
  DEVICE_AGEING_OFFSET,
  DEVICE_BYTES,
  DEVICE_FAMILY_OFFSET,
  DEVICE_FDB_LIMIT_OFFSET,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAGS_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICE_VNI_OFFSET,
  DEVICES_BASE,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
} from '../../assembly/layout.ts';
import { freeDomain, readDomain, releaseDomain, writeDomain } from '../../src/dataplane/domains.ts';
import { Fdb } from '../../src/dataplane/fdb.ts';
import { type Mac, parseAddress, parseMac } from '../../src/dataplane/fdb-text.ts';
import type { FdbRequest, VtepEvent } from '../../src/types.ts';
import type { TestEngine } from './engine.ts';
import type { ReferenceDevice } from './fdb-reference.ts';

export const A = '02:00:00:00:00:01';
export const B = '02:00:00:00:00:02';
export const GROUP = '01:00:5e:00:00:01';
export const ZERO = '00:00:00:00:00:00';

export const VX0: ReferenceDevice = { name: 'vx0', vni: 5, port: 8472, limit: 0, ageing: 300 };
export const VX1: ReferenceDevice = { name: 'vx1', vni: 6, port: 4789, limit: 4, ageing: 3 };
const VX6: ReferenceDevice = { name: 'vx6', vni: 7, port: 8472, limit: 0, ageing: 300 };
/** External: many VNIs. */
const EX0: ReferenceDevice = { name: 'ex0', vni: 0, port: 4790, limit: 0, ageing: 300 };
/** By device index. Interfaces are called v0 to v9 and have their digit for an index; v9 has no name any more. */
export const NAMES = ['', 'vx0', 'vx1', 'vx6', 'ex0'];

/** assembly/fdb.ts: LEARN_*, by their numbers. */
const VERDICTS = ['known', 'new', 'moved', 'refused', 'full', 'later', 'down'];

/** For assert.throws: a VtepError of one line. */
export function refusal(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    const { code: actual, message } = error as { code?: string; message: string };
    assert.equal(actual, code);
    assert.match(message, words);
    assert.ok(!message.includes('\n'), message);
    return true;
  };
}

export class FdbFixture {
  readonly engine: TestEngine;
  readonly fdb: Fdb;
  /** Seconds. */
  now = 1000;
  /** What the FDB told, oldest first. */
  readonly events: Extract<VtepEvent, { event: 'fdb' }>[] = [];
  /** VNI of ex0 -> domain. */
  readonly #domains = new Map<number, number>();

  constructor(engine: TestEngine) {
    this.engine = engine;
    this.#setDevice(1, VX0, AF_INET);
    this.#setDevice(2, VX1, AF_INET);
    this.#setDevice(3, VX6, AF_INET6);
    this.#setDevice(4, EX0, AF_INET);
    const flags = DEVICES_BASE + 4 * DEVICE_BYTES + DEVICE_FLAGS_OFFSET;
    engine.view.setUint32(flags, DEVICE_FLAG_EXTERNAL, true);
    this.fdb = new Fdb({
      view: engine.view,
      exports: engine.exports,
      deviceIndex: (name) => Math.max(0, NAMES.indexOf(name)),
      deviceName: (index) => NAMES[index]!,
      ifindex: (name) => (/^v\d$/.test(name) ? Number(name[1]) : 0),
      ifname: (index) => (index === 9 ? '' : `v${index}`),
      now: () => this.now,
      domainOf: (device, vni, make) => this.#domainOf(device, vni, make),
      emit: (event) => {
        if (event.event === 'fdb') this.events.push(event);
      },
    });
  }

  reset(): void {
    for (const device of [1, 2, 3, 4]) this.fdb.flushDevice(device);
    this.fdb.setNexthops([]);
    for (const domain of this.#domains.values()) releaseDomain(this.engine.view, domain);
    this.#domains.clear();
    this.events.length = 0;
    this.now = 1000;
  }

  apply(op: FdbRequest['op'], mac: string, dst?: string, more: Partial<FdbRequest> = {}): void {
    this.fdb.apply({ op, dev: 'vx0', mac, ...(dst !== undefined && { dst }), ...more });
  }

  learn(dev: string, mac: string, sender: string, ifindex = 0): string {
    const { bytes, view, scratch, exports } = this.engine;
    const address = parseAddress(sender)!;
    const at = scratch + 64;
    bytes.fill(0xee, at, at + 28);
    view.setUint16(at, address.family, true);
    if (address.family === AF_INET) bytes.set(address.bytes.subarray(0, 4), at + 4);
    else bytes.set(address.bytes, at + 8);
    const verdict = exports.fdbLearn(NAMES.indexOf(dev), this.macAt(parseMac(mac)!), at, ifindex, this.now);
    return VERDICTS[verdict]!;
  }

  /** IPv4 addresses of the remotes, as encap would send to them. */
  lookup(dev: string, mac: string, max = 64): string[] {
    const { bytes, scratch, exports } = this.engine;
    const device = NAMES.indexOf(dev);
    const at = this.macAt(parseMac(mac)!);
    const entry = exports.fdbFind(device, at);
    if (entry < 0) return [];
    const into = scratch + 4096;
    const count = exports.fdbCollect(entry, device, at, into, max);
    return Array.from({ length: count }, (_, position) => {
      const address = into + position * REMOTE_BYTES + REMOTE_ADDRESS_OFFSET;
      return [...bytes.subarray(address, address + 4)].join('.');
    });
  }

  touch(dev: string, mac: string): void {
    const { exports } = this.engine;
    const entry = exports.fdbFind(NAMES.indexOf(dev), this.macAt(parseMac(mac)!));
    if (entry >= 0) exports.fdbTouch(entry, this.now);
  }

  /** Address of a MAC, with two bytes behind it, as in a frame, which must not count. */
  macAt({ low, high }: Mac): number {
    const { view, scratch } = this.engine;
    view.setUint32(scratch, low, true);
    view.setUint32(scratch + 4, (0xbeef0000 | high) >>> 0, true);
    return scratch;
  }

  /** `fdb show` as short text: what differs from the device is named. */
  lines(dev?: string): string[] {
    return this.fdb
      .show(dev)
      .map(({ mac, dst, port, vni, viaIf, flags, state }) =>
        [mac, dst, port && `port ${port}`, vni && `vni ${vni}`, viaIf && `via ${viaIf}`, ...flags, state]
          .filter(Boolean)
          .join(' '),
      );
  }

  #domainOf(device: number, vni: number, make: boolean): number {
    const known = this.#domains.get(vni);
    if (known !== undefined || !make) return known ?? 0;
    const { view } = this.engine;
    const domain = freeDomain(view);
    writeDomain(view, domain, { device, vni });
    assert.equal(readDomain(view, domain).device, device);
    this.#domains.set(vni, domain);
    return domain;
  }

  #setDevice(index: number, { vni, port, limit, ageing }: ReferenceDevice, family: number): void {
    const { view } = this.engine;
    writeDomain(view, index, { device: index, vni });
    const record = DEVICES_BASE + index * DEVICE_BYTES;
    view.setUint32(record + DEVICE_STATE_OFFSET, DEVICE_UP, true);
    view.setUint32(record + DEVICE_VNI_OFFSET, vni, true);
    view.setUint8(record + DEVICE_FAMILY_OFFSET, family);
    view.setUint16(record + DEVICE_PORT_OFFSET, port, true);
    view.setUint32(record + DEVICE_FDB_LIMIT_OFFSET, limit, true);
    view.setUint32(record + DEVICE_AGEING_OFFSET, ageing, true);
  }
}
