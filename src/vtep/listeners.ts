/**
 * Listeners: the sockets that datagrams arrive at. As in the kernel, devices share one per family and port, and
 * one port has one set of RECEIVE_* bits; it is bound to the wildcard address, unless a device asks for its own
 * (`bind`).
 */
import {
  AF_INET,
  HEADER_BASE,
  HEADER_LISTENERS_OFFSET,
  LISTENER_BYTES,
  LISTENER_COUNT,
  LISTENER_FAMILY_OFFSET,
  LISTENER_PORT_OFFSET,
  LISTENER_RECEIVE_OFFSET,
  LISTENER_SOCKETS_OFFSET,
  LISTENERS_BASE,
  RECEIVE_ZERO_CHECKSUM,
} from '../../assembly/layout.ts';
import type { Views } from '../dataplane/memory.ts';
import { VtepError } from '../errors.ts';
import type { Family } from '../io/family.ts';
import { syscalls } from '../io/syscalls.ts';
import { ADDRESS_MISSING, openListeners, PORT_TAKEN, setGro } from '../io/udp.ts';
import { holderOf } from './port-holder.ts';

const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;

/** What a device wants to hear. */
export interface Wanted {
  readonly family: Family;
  readonly port: number;
  /** RECEIVE_* bits */
  readonly receive: number;
  /** Only what is sent to this address; "" = to any of the host. */
  readonly local: string;
  /** ifindex that a link-local `local` belongs to, else 0. */
  readonly scope: number;
}

export interface Listener extends Wanted {
  readonly id: number;
  /** One for each queue; what one remote sends from one port always comes to the same. */
  readonly sockets: readonly number[];
  /** Devices that listen here. */
  readonly devices: Set<number>;
  /** Those of them that want datagrams in bundles: as long as there are any, all get them (UDP_GRO). */
  readonly bundled: Set<number>;
}

/** The descriptor that a queue has of a listener, -1 when it has gone. Called by workers. */
export function listenerSocket(i32: Int32Array, id: number, queue: number): number {
  return i32[socketAt(id, queue)]! || -1;
}

export class Listeners {
  readonly #views: Views;
  readonly #gro: boolean;
  readonly #queues: number;
  readonly #open = new Map<number, Listener>();

  constructor(views: Views, gro: boolean, queues = 1) {
    this.#views = views;
    this.#gro = gro;
    this.#queues = queues;
  }

  all(): Listener[] {
    return [...this.#open.values()];
  }

  /**
   * The listener that a device wants, opened when there is none: then it is the only one of its devices.
   * @param gro the device wants datagrams in bundles
   * @throws VtepError IN_USE: says who holds the port and what to do
   */
  async retain(device: number, wanted: Wanted, gro = true): Promise<Listener> {
    const { family, port, receive, local, scope } = wanted;
    const same = this.all().filter((listener) => listener.family === family && listener.port === port);
    const shared = same.find((listener) => listener.local === local && listener.scope === scope);
    const other = same.find((listener) => listener.receive !== receive);
    if (other !== undefined) {
      throw inUse(
        port,
        'a device that differs in gbp, gpe, remcsumrx, udp6zerocsumrx, external or vnifilter has it: give another dstport',
      );
    }
    if (shared !== undefined) {
      shared.devices.add(device);
      this.bundle(shared, device, gro);
      return shared;
    }
    const options = {
      family,
      port,
      local,
      scope,
      zeroChecksum: (receive & RECEIVE_ZERO_CHECKSUM) !== 0,
      bufferBytes: RECEIVE_BUFFER_BYTES,
    };
    const sockets = openListeners(options, this.#queues);
    if (sockets === ADDRESS_MISSING) {
      throw new VtepError('SYSTEM', `bind ${local}: Cannot assign requested address: "ip addr add" it first`);
    }
    if (sockets === PORT_TAKEN) throw inUse(port, await holderOf(family === AF_INET, port));
    const id = this.#freeId(sockets);
    const listener = { ...wanted, id, sockets, devices: new Set([device]), bundled: new Set<number>() };
    this.bundle(listener, device, gro);
    this.#open.set(listener.id, listener);
    this.#write(listener);
    return listener;
  }

  /** A device wants datagrams in bundles from now on, or no more. */
  bundle({ sockets, bundled }: Listener, device: number, wanted: boolean): void {
    const before = bundled.size > 0;
    if (wanted && this.#gro) bundled.add(device);
    else bundled.delete(device);
    if (bundled.size > 0 !== before) for (const fd of sockets) setGro(fd, !before);
  }

  /** One device less. Returns true when it was the last: then `close` follows, once no worker reads it. */
  release(listener: Listener, device: number): boolean {
    listener.devices.delete(device);
    if (listener.devices.size > 0) {
      this.bundle(listener, device, false);
      return false;
    }
    const { i32 } = this.#views;
    listener.sockets.forEach((_, queue) => {
      i32[socketAt(listener.id, queue)] = 0;
    });
    this.#open.delete(listener.id);
    this.#writeHighest();
    return true;
  }

  close(listener: Listener): void {
    for (const fd of listener.sockets) syscalls().close(fd);
  }

  /** The descriptors come last: until then nobody looks at the rest. */
  #write(listener: Listener): void {
    const { view, i32 } = this.#views;
    const at = recordOf(listener.id);
    view.setUint16(at + LISTENER_PORT_OFFSET, listener.port, true);
    view.setUint8(at + LISTENER_FAMILY_OFFSET, listener.family);
    view.setUint32(at + LISTENER_RECEIVE_OFFSET, listener.receive, true);
    listener.sockets.forEach((fd, queue) => {
      Atomics.store(i32, socketAt(listener.id, queue), fd);
    });
    this.#writeHighest();
  }

  #writeHighest(): void {
    const highest = Math.max(0, ...this.#open.keys());
    this.#views.view.setUint32(HEADER_BASE + HEADER_LISTENERS_OFFSET, highest, true);
  }

  #freeId(sockets: readonly number[]): number {
    for (let id = 1; id < LISTENER_COUNT; ++id) if (!this.#open.has(id)) return id;
    for (const fd of sockets) syscalls().close(fd);
    throw new VtepError('NO_SPACE', `dstport: ${LISTENER_COUNT - 1} ports are in use, the most there may be`);
  }
}

function inUse(port: number, remedy: string): VtepError {
  return new VtepError('IN_USE', `dstport ${port}: Address already in use: ${remedy}`);
}

function recordOf(id: number): number {
  return LISTENERS_BASE + id * LISTENER_BYTES;
}

/** Index into an Int32Array. */
function socketAt(id: number, queue: number): number {
  return (recordOf(id) + LISTENER_SOCKETS_OFFSET + queue * 4) >>> 2;
}
