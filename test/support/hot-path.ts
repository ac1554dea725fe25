/**
 * Both walks with nothing around them: a device, its FDB and its sources in the engine's memory, frames
 * and datagrams put where the host puts them, and everything that comes out read back.
 *
 *   encap   frames with virtio headers -> ring -> engine, as often as it asks -> messages -> datagrams
 *           and frames for TAPs, and questions about paths, answered from `routes`
 *   decap   datagrams with a sender, TOS, bundle size -> receive slots -> engine -> writes to TAPs
 *
 * Worker 0 is the encap worker, worker 1 the decap worker. HEADER_ADDRESS stays 0, so that addresses told
 * to the kernel are offsets in the memory.
 */
import assert from 'node:assert/strict';
import {
  AF_INET,
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  ENCAP_ARENA_BYTES,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  FDB_FLAGS_OFFSET,
  FDB_STATE_OFFSET,
  FRAME_HEADROOM_BYTES,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_LISTENERS_OFFSET,
  HEADER_NOW_OFFSET,
  HEADER_OFFLOADS_OFFSET,
  LISTENER_BYTES,
  LISTENER_FAMILY_OFFSET,
  LISTENER_PORT_OFFSET,
  LISTENER_RECEIVE_OFFSET,
  LISTENER_SOCKETS_OFFSET,
  LISTENERS_BASE,
  NUD_PERMANENT,
  NUD_REACHABLE,
  OFFLOAD_COALESCE,
  OFFLOAD_UDP_SEGMENT,
  REMOTE_VNI_DEFAULT,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  SOURCE_DF_OFFSET,
  SOURCE_FAMILY_OFFSET,
  SOURCE_GROUP_BYTES,
  SOURCE_LOCAL_OFFSET,
  SOURCE_NO_CHECKSUM_OFFSET,
  SOURCE_NUMBERS_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCE_SEGMENT_OFFSET,
  SOURCES_BASE,
  VIRTIO_HEADER_BYTES,
  WORKER_HOOKED_OFFSET,
} from '../../assembly/layout.ts';
import { type CounterName, clearCounters, readCounters } from '../../src/dataplane/counters.ts';
import { receiveBits } from '../../src/dataplane/device-features.ts';
import { type DeviceRecord, Devices } from '../../src/dataplane/devices.ts';
import { clearDomainStats, readDomainStats } from '../../src/dataplane/domain-counters.ts';
import { freeDomain, writeDomain } from '../../src/dataplane/domains.ts';
import type { EngineBuild } from '../../src/dataplane/engine.ts';
import { entryRecord, writeRemote } from '../../src/dataplane/fdb-record.ts';
import { parseAddress, parseMac } from '../../src/dataplane/fdb-text.ts';
import { workerBase } from '../../src/dataplane/memory.ts';
import { Vlans } from '../../src/dataplane/vlans.ts';
import { Vni } from '../../src/dataplane/vni.ts';
import { loadEngine, type TestEngine } from './engine.ts';
import { ipBytes } from './frames.ts';
import { type Injected, readInjected } from './injected-frames.ts';
import { PathAnswers } from './path-answers.ts';
import { type Received, receive, type Written } from './received-messages.ts';
import { datagramsOf, readRuns, type SentDatagram, type SentMessage } from './sent-messages.ts';
import { NOTHING_ASKED, type VirtioHeader, writeVirtio } from './virtio.ts';

export const HASH_SEED = 0x1badb002;
export const VNI = 0x123456;
export const PORT = 8472;
export const LISTENER = 1;
export const ENCAP_WORKER = workerBase(0);
export const DECAP_WORKER = workerBase(1);
/** Source groups: without DF, with DF. */
export const SOURCE = 3;
export const SOURCE_DF = 4;
/** The all-zeros MAC, which has the default remotes. */
export const DEFAULT = '00:00:00:00:00:00';
export const OWN_MAC = '46:4d:ab:d0:69:e1';

/** A call may bring nothing while another thread changes a source, but not for ever. */
const STALLS_MAX = 100;
/** Calls that a full ring may take. */
const TURNS_MAX = 2000;

export interface TapFrame {
  frame: Uint8Array;
  virtio?: VirtioHeader;
  device?: number;
  /** Address of the virtio header, if not in the arena. */
  at?: number;
}

export interface RemoteFields {
  address: string;
  port?: number;
  vni?: number;
  ifindex?: number;
  /** In a nexthop group. */
  weight?: number;
}

export interface VniFields {
  vni: number;
  vlan?: number;
  untagged?: boolean;
  pvid?: boolean;
  listener?: number;
}

export interface Sent {
  messages: SentMessage[];
  datagrams: SentDatagram[];
  /** For TAPs. */
  injected: Injected[];
  /** Remotes whose paths were asked for, in order. */
  asked: string[];
  /** How often the engine was called until it had walked all frames. */
  calls: number;
}

export class HotPath {
  readonly engine: TestEngine;
  /** What lies around frames and datagrams, and must not matter. */
  surroundings = 0xa5;
  readonly #devices: Devices;
  readonly #vnis: Vni;
  readonly #vlans: Vlans;
  /** What is answered when the walk asks for a path. */
  readonly paths: PathAnswers;
  /** Decides on so many records; absent: no device has one. */
  hook: ((way: 'encap' | 'decap', records: number) => void) | undefined;
  readonly forwarded: SentDatagram[] = [];

  constructor(engine: TestEngine) {
    this.engine = engine;
    this.#devices = new Devices(engine);
    this.#vnis = new Vni(engine.memory);
    this.#vlans = new Vlans(engine.view);
    this.paths = new PathAnswers(engine, ENCAP_WORKER);
    engine.view.setUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, HASH_SEED, true);
    engine.view.setUint32(HEADER_BASE + HEADER_NOW_OFFSET, 1000, true);
    this.offloads(OFFLOAD_UDP_SEGMENT | OFFLOAD_COALESCE);
    this.source(SOURCE, {});
    this.source(SOURCE_DF, {});
    engine.exports.decapPrepare(DECAP_WORKER);
  }

  /** @param workers blocks of the memory; one that is not used otherwise takes what hooks of decap send into tunnels */
  static async open(build: EngineBuild, workers = 2): Promise<HotPath> {
    return new HotPath(await loadEngine(build, workers));
  }

  /** OFFLOAD_* bits. */
  offloads(bits: number): void {
    this.engine.view.setUint32(HEADER_BASE + HEADER_OFFLOADS_OFFSET, bits, true);
  }

  source(
    group: number,
    {
      ports = SOURCE_PORT_COUNT,
      segment = true,
      local = '',
      family = AF_INET as number,
      df = false,
      noChecksum = false,
      /** What the sockets are bound to, from the first on; 0: they are not open. */
      number = 0,
    },
  ): void {
    const { view, bytes } = this.engine;
    const at = SOURCES_BASE + group * SOURCE_GROUP_BYTES;
    view.setUint32(at + SOURCE_PORTS_OFFSET, ports, true);
    view.setUint8(at + SOURCE_SEGMENT_OFFSET, Number(segment));
    view.setUint8(at + SOURCE_FAMILY_OFFSET, family);
    view.setUint8(at + SOURCE_DF_OFFSET, Number(df));
    view.setUint8(at + SOURCE_NO_CHECKSUM_OFFSET, Number(noChecksum));
    for (let port = 0; port < SOURCE_PORT_COUNT; port++) {
      view.setUint16(at + SOURCE_NUMBERS_OFFSET + port * 2, number === 0 ? 0 : number + port, true);
    }
    bytes.fill(0, at + SOURCE_LOCAL_OFFSET, at + SOURCE_LOCAL_OFFSET + 16);
    if (local) bytes.set(ipBytes(local), at + SOURCE_LOCAL_OFFSET);
  }

  /** A device that is up and, at a VNI of its own, reachable through a listener. Returns its index. */
  device(fields: Partial<DeviceRecord> & { up?: boolean; listener?: number } = {}): number {
    const name = `device${Math.random()}`;
    const index = this.#devices.claim(name);
    const { listener = LISTENER } = fields;
    const record = { ...DEVICE, vni: VNI + index - 1, ...fields };
    this.#devices.write(index, record);
    this.#devices.setUp(index, fields.up ?? true);
    this.#vnis.add(listener, record.vni, index);
    this.listen(listener, record.family, record.port, receiveBits(record.features ?? {}));
    return index;
  }

  /** Opens a listener, unless it is open. */
  listen(listener: number, family: number, port: number, receive: number): void {
    const { view } = this.engine;
    const at = LISTENERS_BASE + listener * LISTENER_BYTES;
    if (view.getInt32(at + LISTENER_SOCKETS_OFFSET, true) !== 0) return;
    view.setUint16(at + LISTENER_PORT_OFFSET, port, true);
    view.setUint8(at + LISTENER_FAMILY_OFFSET, family);
    view.setUint32(at + LISTENER_RECEIVE_OFFSET, receive, true);
    view.setInt32(at + LISTENER_SOCKETS_OFFSET, 100 + listener, true);
    const highest = HEADER_BASE + HEADER_LISTENERS_OFFSET;
    view.setUint32(highest, Math.max(listener, view.getUint32(highest, true)), true);
  }

  /** A VNI of an external device. Returns its domain. */
  vni(device: number, { vni, vlan, untagged, pvid, listener = LISTENER }: VniFields): number {
    const { view } = this.engine;
    const domain = freeDomain(view);
    writeDomain(view, domain, {
      device,
      vni,
      ...(vlan !== undefined && { vlan }),
      ...(untagged && { untagged }),
    });
    if (vlan !== undefined || pvid) this.#vlans.retain('test', device);
    if (vlan !== undefined) this.#vlans.set(device, vlan, domain);
    if (pvid) this.#vlans.setUntagged(device, domain);
    this.#vnis.add(listener, vni, domain, device);
    return domain;
  }

  /** What `bridge -s vni` shows of a domain; counting begins anew. Both workers together, zeros left out. */
  takeVniCounters(domain: number): Record<string, number> {
    const { rx, tx } = readDomainStats(this.engine.view, 2, domain)!;
    clearDomainStats(this.engine.view, 2, domain);
    const named = [
      ...Object.entries(tx).map(([name, value]) => [`tx_${name}`, value] as const),
      ...Object.entries(rx).map(([name, value]) => [`rx_${name}`, value] as const),
    ];
    return Object.fromEntries(named.filter(([, value]) => value !== 0));
  }

  setUp(device: number, up: boolean): void {
    this.#devices.setUp(device, up);
  }

  /**
   * Makes an FDB entry; a dynamic one may move to another sender.
   * @param flags NTF_* bits
   */
  entry(device: number, mac: string, remotes: readonly RemoteFields[], dynamic = false, flags = 0): number {
    const { exports, view } = this.engine;
    const { low, high } = parseMac(mac)!;
    exports.fdbLock();
    const entry = exports.fdbInsert(device, low, high, 1000);
    assert.ok(entry >= 0);
    view.setUint16(entryRecord(entry) + FDB_STATE_OFFSET, dynamic ? NUD_REACHABLE : NUD_PERMANENT, true);
    view.setUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, flags, true);
    for (const { address, port = 0, vni = REMOTE_VNI_DEFAULT, ifindex = 0, weight } of remotes) {
      const record = exports.fdbAddRemote(entry);
      assert.notEqual(record, 0);
      writeRemote(view, record, {
        address: parseAddress(address)!,
        port,
        vni,
        ifindex,
        ...(weight !== undefined && { weight }),
      });
    }
    exports.fdbPublish(entry);
    exports.fdbUnlock();
    return entry;
  }

  /** Counters of a device (0 = of none) that are not zero, both workers together. */
  counters(device: number): Partial<Record<CounterName, number>> {
    return readCounters(this.engine, 2, device);
  }

  /** The same, and begins to count anew. */
  takeCounters(device: number): Partial<Record<CounterName, number>> {
    const counters = this.counters(device);
    clearCounters(this.engine, 2, device);
    return counters;
  }

  /** Puts frames into the ring, as many as fit at a time, and has them all walked. */
  encap(frames: readonly TapFrame[]): Sent {
    const sent: Sent = { messages: [], datagrams: [], injected: [], asked: [], calls: 0 };
    for (let next = 0; next < frames.length; ) {
      const placed = this.fill(frames.slice(next, next + ENCAP_RING_COUNT));
      next += placed;
      const parked = this.engine.exports.encapPark(ENCAP_WORKER);
      if (parked > 0) this.hook!('encap', parked);
      let stalls = 0;
      let turns = 0;
      for (let left = placed; left > 0; ) {
        const before = this.#ring(RING_TAKEN_OFFSET);
        const runs = this.engine.exports.encap(ENCAP_WORKER);
        const messages = readRuns(this.engine, ENCAP_WORKER, runs);
        const injected = readInjected(this.engine, ENCAP_WORKER, sent.calls);
        const asked = this.paths.answer();
        const taken = this.#ring(RING_TAKEN_OFFSET);
        const stands = messages.length + injected.length + asked.length === 0;
        stalls = taken === before && stands ? stalls + 1 : 0;
        assert.ok(stalls < STALLS_MAX, 'the walk goes on');
        left -= (taken - before) >>> 0;
        sent.messages.push(...messages);
        sent.injected.push(...injected);
        sent.asked.push(...asked);
        sent.calls++;
        assert.ok(turns++ < TURNS_MAX, 'the walk comes to an end');
      }
      this.#setRing(RING_FREED_OFFSET, this.#ring(RING_TAKEN_OFFSET));
    }
    sent.datagrams = datagramsOf(sent.messages);
    return sent;
  }

  /** Puts frames where the host reads them to. @returns how many there was room for */
  fill(frames: readonly TapFrame[]): number {
    const { view, bytes } = this.engine;
    const start = ENCAP_WORKER + ENCAP_ARENA_OFFSET;
    let cursor = this.#ring(RING_FILLED_OFFSET);
    let at = start;
    let placed = 0;
    for (const { frame, virtio = NOTHING_ASKED, device = 1, at: given } of frames) {
      const header = given ?? ((at + 63) & ~63) + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES;
      const end = header + VIRTIO_HEADER_BYTES + frame.length;
      if (given === undefined) {
        if (end + 256 > start + ENCAP_ARENA_BYTES) break;
        bytes.fill(this.surroundings, at, end + 256);
        at = end;
      }
      writeVirtio(view, header, virtio);
      bytes.set(frame, header + VIRTIO_HEADER_BYTES);
      const slot = RING_DESCRIPTORS_OFFSET + (cursor & (ENCAP_RING_COUNT - 1)) * DESCRIPTOR_BYTES;
      const descriptor = ENCAP_WORKER + ENCAP_RING_OFFSET + slot;
      view.setUint32(descriptor + DESCRIPTOR_ADDRESS_OFFSET, header, true);
      view.setInt32(descriptor + DESCRIPTOR_LENGTH_OFFSET, frame.length, true);
      view.setUint32(descriptor + DESCRIPTOR_DEVICE_OFFSET, device, true);
      cursor = (cursor + 1) >>> 0;
      placed++;
    }
    this.#setRing(RING_FILLED_OFFSET, cursor);
    return placed;
  }

  /** @param listener the socket that received them */
  decap(datagrams: readonly Received[], listener = LISTENER): Written[] {
    return receive(this.engine, DECAP_WORKER, listener, datagrams, this.surroundings, (records) =>
      this.judge(records),
    );
  }

  /** Shows datagrams to the hooks; what they send into tunnels is in `forwarded`. Returns the number of writes. */
  judge(records: number): number {
    const { engine } = this;
    this.hook!('decap', records);
    const forward = workerBase(2);
    const writes = engine.exports.decapVerdicts(DECAP_WORKER, forward);
    const ring = (forward + ENCAP_RING_OFFSET) >>> 2;
    const cursor = (offset: number) => engine.u32[ring + (offset >> 2)]!;
    for (let turns = 0; cursor(RING_TAKEN_OFFSET) !== cursor(RING_FILLED_OFFSET); ++turns) {
      assert.ok(turns < TURNS_MAX, 'the walk comes to an end');
      this.forwarded.push(...datagramsOf(readRuns(engine, forward, engine.exports.encap(forward))));
    }
    engine.u32[ring + (RING_FREED_OFFSET >> 2)] = cursor(RING_TAKEN_OFFSET);
    return writes;
  }

  /** Shows frames of a device to the hook. */
  setHooked(way: 'encap' | 'decap', device: number): void {
    const worker = way === 'encap' ? ENCAP_WORKER : DECAP_WORKER;
    this.engine.bytes[worker + WORKER_HOOKED_OFFSET + device] = 1;
  }

  #ring(cursor: number): number {
    return Atomics.load(this.engine.u32, (ENCAP_WORKER + ENCAP_RING_OFFSET + cursor) >>> 2);
  }

  #setRing(cursor: number, value: number): void {
    Atomics.store(this.engine.u32, (ENCAP_WORKER + ENCAP_RING_OFFSET + cursor) >>> 2, value);
  }
}

const DEVICE: DeviceRecord = {
  vni: VNI,
  address: OWN_MAC,
  mtu: 1450,
  family: AF_INET,
  port: PORT,
  learning: false,
  ageing: 300,
  maxaddress: 0,
  ttl: 0,
  tos: 0,
  df: 'unset',
  source: SOURCE,
  sourceDf: SOURCE_DF,
};
