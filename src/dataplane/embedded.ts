/**
 * The dataplane as a module: frames in, datagrams out, and back. This is the simple door, which copies: one
 * frame or datagram per call, plain byte arrays. Nothing here needs a privilege, a device or a socket.
 */
import ipaddr from 'ipaddr.js';
import {
  AF_INET,
  AF_INET6,
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  ENVELOPE_BYTES,
  ENVELOPE_SOURCE_OFFSET,
  ENVELOPES_OFFSET,
  FRAME_HEADROOM_BYTES,
  FRAME_MAX_BYTES,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  MESSAGES_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  RECEIPT_NAME_OFFSET,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFER_BYTES,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVES_OFFSET,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  RUN_BYTES,
  RUN_COUNT_OFFSET,
  RUN_FIRST_OFFSET,
  RUNS_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCES_BASE,
  VIRTIO_HEADER_BYTES,
  WRITE_BYTES,
  WRITE_DEVICE_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITES_OFFSET,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { type CounterName, readCounters } from './counters.ts';
import { Dataplane } from './dataplane.ts';
import type { Fdb } from './fdb.ts';
import { workerBase } from './memory.ts';

/** A device of an embedded dataplane. Defaults are the kernel driver's where it has one. */
export interface EmbeddedDevice {
  /** Any name; it stands for the device in all calls. */
  name: string;
  /** 0 to 16777215 */
  vni: number;
  /** Frames from this MAC are refused on arrival: `aa:bb:cc:dd:ee:ff`. */
  address: string;
  /** UDP port that datagrams go to and are expected at; 8472 */
  port?: number;
  /** Default destination. */
  remote?: string;
  /** Family of the underlay when there is no `remote`; "inet" */
  family?: 'inet' | 'inet6';
  /** Learn source MACs; true */
  learning?: boolean;
  /** Seconds; 300 */
  ageing?: number | 'never';
  /** 0 = no limit */
  maxaddress?: number;
  /** Bytes of the largest inner packet; 1500 */
  mtu?: number;
}

/** What is to be sent. */
export interface Datagram {
  /** VXLAN header and frame. */
  bytes: Uint8Array;
  address: string;
  port: number;
  /** 0 to 63, by the hash of the inner flow: choose the source port by it. */
  flow: number;
}

/** What has arrived for a device. */
export interface Frame {
  device: string;
  bytes: Uint8Array;
}

export interface EmbeddedDataplane {
  readonly fdb: Pick<Fdb, 'apply' | 'show' | 'get' | 'flush'>;
  /** @throws VtepError EXISTS, USAGE, NO_SPACE */
  addDevice(device: EmbeddedDevice): void;
  /** @throws VtepError NOT_FOUND */
  deleteDevice(name: string): void;
  /**
   * An Ethernet frame (14 to 65,590 bytes) that the device is to send. A frame that must be dropped gives
   * no datagram and a counter.
   * @throws VtepError NOT_FOUND (no such device), USAGE (longer than a slot)
   */
  encap(device: string, frame: Uint8Array): Datagram[];
  /** The UDP payload that `sender` sent to `port` (8472) of this host. */
  decap(datagram: Uint8Array, sender: string, port?: number): Frame[];
  /** Counters that are not zero; "" = datagrams that belong to no device. */
  counters(device: string): Partial<Record<CounterName, number>>;
  /** Lets learned entries expire; to be called every second or so. */
  tick(): void;
}

const VXLAN_PORT = 8472;

/**
 * A dataplane of its own, in this thread.
 *
 * @example
 * const dataplane = createDataplane();
 * dataplane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:01', remote: '192.0.2.2' });
 * for (const { bytes, address, port } of dataplane.encap('a', frame)) socket.send(bytes, port, address);
 */
export function createDataplane(): EmbeddedDataplane {
  return new Embedded();
}

class Embedded implements EmbeddedDataplane {
  readonly #plane = new Dataplane(2, 0);
  /** "family/port" -> listener */
  readonly #listeners = new Map<string, number>();
  readonly #placed = new Map<string, { listener: number; vni: number }>();
  readonly #encapBase = workerBase(0);
  readonly #decapBase = workerBase(1);

  constructor() {
    this.#plane.exports.decapPrepare(this.#decapBase);
    // One source group stands for all: the flow's number is all that an embedder is told.
    this.#plane.views.view.setUint32(SOURCES_BASE + SOURCE_PORTS_OFFSET, SOURCE_PORT_COUNT, true);
  }

  get fdb(): Fdb {
    return this.#plane.fdb;
  }

  addDevice(device: EmbeddedDevice): void {
    const { devices, fdb, vni } = this.#plane;
    const { name, port = VXLAN_PORT } = device;
    if (devices.indexOf(name) !== 0)
      throw new VtepError('EXISTS', `device ${name}: there is one of that name`);
    const isIpv6 =
      device.remote === undefined ? device.family === 'inet6' : ipaddr.IPv6.isValid(device.remote);
    const family = isIpv6 ? AF_INET6 : AF_INET;
    const listener = this.#listenerOf(family, port);
    const index = devices.claim(name);
    try {
      devices.write(index, {
        vni: device.vni,
        address: device.address,
        mtu: device.mtu ?? 1500,
        family,
        port,
        learning: device.learning ?? true,
        ageing: device.ageing || 300,
        maxaddress: device.maxaddress ?? 0,
        ttl: 0,
        tos: 0,
        df: 'unset',
        source: 0,
        sourceDf: 0,
      });
      fdb.setDefaultRemote(index, undefined, device.remote, 0);
      devices.setUp(index, true);
      vni.add(listener, device.vni, index);
      this.#placed.set(name, { listener, vni: device.vni });
    } catch (error) {
      // The VNI came last: it is another device's, or nobody's.
      fdb.flushDevice(index);
      devices.release(index);
      throw error;
    }
  }

  deleteDevice(name: string): void {
    const index = this.#indexOf(name);
    const { listener, vni } = this.#placed.get(name)!;
    this.#plane.vni.remove(listener, vni);
    this.#plane.fdb.flushDevice(index);
    this.#plane.devices.release(index);
    this.#placed.delete(name);
  }

  encap(device: string, frame: Uint8Array): Datagram[] {
    const { views, exports } = this.#plane;
    const { u32, bytes } = views;
    const base = this.#encapBase;
    if (frame.length > FRAME_MAX_BYTES - VIRTIO_HEADER_BYTES) {
      throw new VtepError('USAGE', `encap: a frame of ${frame.length} bytes is longer than any IP packet`);
    }
    const header = base + ENCAP_ARENA_OFFSET + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES;
    bytes.fill(0, header, header + VIRTIO_HEADER_BYTES);
    bytes.set(frame, header + VIRTIO_HEADER_BYTES);
    const ring = (base + ENCAP_RING_OFFSET) >>> 2;
    const cursor = u32[ring + (RING_FILLED_OFFSET >> 2)]!;
    const slot = cursor & (ENCAP_RING_COUNT - 1);
    const descriptor = ring + ((RING_DESCRIPTORS_OFFSET + slot * DESCRIPTOR_BYTES) >>> 2);
    u32[descriptor + (DESCRIPTOR_ADDRESS_OFFSET >> 2)] = header;
    u32[descriptor + (DESCRIPTOR_LENGTH_OFFSET >> 2)] = frame.length;
    u32[descriptor + (DESCRIPTOR_DEVICE_OFFSET >> 2)] = this.#indexOf(device);
    u32[ring + (RING_FILLED_OFFSET >> 2)] = cursor + 1;
    const datagrams: Datagram[] = [];
    while (u32[ring + (RING_TAKEN_OFFSET >> 2)] !== u32[ring + (RING_FILLED_OFFSET >> 2)]) {
      const runs = exports.encap(base);
      for (let run = 0; run < runs; ++run) this.#readRun(run, datagrams);
    }
    u32[ring + (RING_FREED_OFFSET >> 2)] = cursor + 1;
    return datagrams;
  }

  decap(datagram: Uint8Array, sender: string, port = VXLAN_PORT): Frame[] {
    const { bytes, view } = this.#plane.views;
    const base = this.#decapBase;
    if (datagram.length > RECEIVE_BUFFER_BYTES) {
      throw new VtepError('USAGE', `decap: ${datagram.length} bytes are more than a datagram has`);
    }
    const from = ipaddr.parse(sender);
    const family = from.kind() === 'ipv4' ? AF_INET : AF_INET6;
    const listener = this.#listeners.get(`${family}/${port}`) ?? 0;
    const name = base + RECEIPTS_OFFSET + RECEIPT_NAME_OFFSET;
    view.setUint16(name, family, true);
    bytes.set(from.toByteArray(), name + (family === AF_INET ? 4 : 8));
    bytes.set(datagram, base + RECEIVE_BUFFERS_OFFSET);
    view.setUint32(base + RECEIVES_OFFSET + MMSGHDR_LENGTH_OFFSET, datagram.length, true);
    view.setUint32(base + RECEIVES_OFFSET + MMSGHDR_CONTROL_LENGTH_OFFSET, 0, true);
    const frames: Frame[] = [];
    do {
      const writes = this.#plane.exports.decap(base, listener, 1);
      for (let write = 0; write < writes; ++write) frames.push(this.#readWrite(write));
    } while (!this.#plane.exports.decapDone(base, 1));
    return frames;
  }

  counters(device: string): Partial<Record<CounterName, number>> {
    const index = device === '' ? 0 : this.#indexOf(device);
    return readCounters(this.#plane.views, this.#plane.blocks, index);
  }

  tick(): void {
    this.#plane.tick();
    for (const name of this.#placed.keys()) this.#plane.fdb.age(this.#indexOf(name));
  }

  #indexOf(name: string): number {
    const index = this.#plane.devices.indexOf(name);
    if (index === 0) throw new VtepError('NOT_FOUND', `device ${name}: there is none of that name`);
    return index;
  }

  #listenerOf(family: number, port: number): number {
    const key = `${family}/${port}`;
    const known = this.#listeners.get(key);
    if (known !== undefined) return known;
    this.#listeners.set(key, this.#listeners.size + 1);
    return this.#listeners.size;
  }

  #readRun(run: number, into: Datagram[]): void {
    const { u32, bytes, view } = this.#plane.views;
    const base = this.#encapBase;
    const at = (base + RUNS_OFFSET + run * RUN_BYTES) >>> 2;
    const first = u32[at + (RUN_FIRST_OFFSET >> 2)]!;
    for (let message = first; message < first + u32[at + (RUN_COUNT_OFFSET >> 2)]!; ++message) {
      const header = base + MESSAGES_OFFSET + message * MMSGHDR_BYTES;
      const envelope = base + ENVELOPES_OFFSET + message * ENVELOPE_BYTES;
      const iovecs = view.getUint32(header + MMSGHDR_IOVEC_OFFSET, true);
      const count = view.getUint32(header + MMSGHDR_IOVEC_COUNT_OFFSET, true);
      const ipv4 = view.getUint16(envelope, true) === AF_INET;
      const address = [...bytes.subarray(envelope + (ipv4 ? 4 : 8), envelope + (ipv4 ? 8 : 24))];
      into.push({
        bytes: this.#gather(iovecs, count),
        address: ipaddr.fromByteArray(address).toString(),
        port: view.getUint16(envelope + 2, false),
        flow: view.getUint32(envelope + ENVELOPE_SOURCE_OFFSET, true) % SOURCE_PORT_COUNT,
      });
    }
  }

  #readWrite(write: number): Frame {
    const { view } = this.#plane.views;
    const base = this.#decapBase;
    const record = base + WRITES_OFFSET + write * WRITE_BYTES;
    const iovecs = base + WRITE_IOVECS_BASE_OFFSET + write * WRITE_IOVEC_MAX * IOVEC_BYTES;
    const count = view.getUint32(record + WRITE_IOVECS_OFFSET, true);
    return {
      device: this.#plane.devices.nameOf(view.getUint16(record + WRITE_DEVICE_OFFSET, true)),
      // The first iovec is the virtio header, which asks for nothing without offloads.
      bytes: this.#gather(iovecs + IOVEC_BYTES, count - 1),
    };
  }

  #gather(iovecs: number, count: number): Uint8Array {
    const { bytes, view } = this.#plane.views;
    const parts: Uint8Array[] = [];
    for (let at = iovecs; at < iovecs + count * IOVEC_BYTES; at += IOVEC_BYTES) {
      const address = view.getUint32(at, true);
      parts.push(bytes.subarray(address, address + view.getUint32(at + IOVEC_LENGTH_OFFSET, true)));
    }
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}
