/**
 * Listeners: the sockets that datagrams arrive at. As in the kernel, devices share one per (family, port)
 * when they agree on what it accepts; it is bound to the wildcard address.
 */
import {
  AF_INET,
  LISTENER_BYTES,
  LISTENER_COUNT,
  LISTENER_SOCKET_OFFSET,
  LISTENERS_BASE,
} from '../../assembly/layout.ts';
import type { Views } from '../dataplane/memory.ts';
import { VtepError } from '../errors.ts';
import type { Family } from '../io/family.ts';
import { syscalls } from '../io/syscalls.ts';
import { openListener } from '../io/udp.ts';
import { holderOf } from './port-holder.ts';

const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;

export interface Listener {
  readonly id: number;
  readonly fd: number;
  readonly family: Family;
  readonly port: number;
  readonly zeroChecksum: boolean;
  /** Devices that listen here. */
  readonly devices: Set<number>;
}

/** The descriptor of a listener, -1 when it has gone. Called by workers. */
export function listenerSocket(i32: Int32Array, id: number): number {
  return i32[(LISTENERS_BASE + id * LISTENER_BYTES + LISTENER_SOCKET_OFFSET) >>> 2]! || -1;
}

export class Listeners {
  readonly #views: Views;
  readonly #gro: boolean;
  readonly #open = new Map<number, Listener>();

  constructor(views: Views, gro: boolean) {
    this.#views = views;
    this.#gro = gro;
  }

  all(): Listener[] {
    return [...this.#open.values()];
  }

  /**
   * The listener of a family and port, opened when there is none.
   * @throws VtepError IN_USE: says who holds the port and what to do
   */
  async retain(device: number, family: Family, port: number, zeroChecksum: boolean): Promise<Listener> {
    const same = this.all().find((listener) => listener.family === family && listener.port === port);
    if (same !== undefined) {
      if (same.zeroChecksum !== zeroChecksum) {
        throw new VtepError(
          'IN_USE',
          `dstport ${port}: a device with another udp6zerocsumrx has it: use the same, or another dstport`,
        );
      }
      same.devices.add(device);
      return same;
    }
    const fd = openListener({
      family,
      port,
      zeroChecksum,
      gro: this.#gro,
      bufferBytes: RECEIVE_BUFFER_BYTES,
    });
    if (fd < 0) throw new VtepError('IN_USE', `dstport ${port}: ${await holderOf(family === AF_INET, port)}`);
    const listener = { id: this.#freeId(), fd, family, port, zeroChecksum, devices: new Set([device]) };
    this.#open.set(listener.id, listener);
    this.#views.i32[(LISTENERS_BASE + listener.id * LISTENER_BYTES) >>> 2] = fd;
    return listener;
  }

  /** One device less. Returns true when it was the last: then `close` follows, once no worker reads it. */
  release(listener: Listener, device: number): boolean {
    listener.devices.delete(device);
    if (listener.devices.size > 0) return false;
    this.#views.i32[(LISTENERS_BASE + listener.id * LISTENER_BYTES) >>> 2] = 0;
    this.#open.delete(listener.id);
    return true;
  }

  close(listener: Listener): void {
    syscalls().close(listener.fd);
  }

  #freeId(): number {
    for (let id = 1; id < LISTENER_COUNT; ++id) if (!this.#open.has(id)) return id;
    throw new VtepError('NO_SPACE', `dstport: ${LISTENER_COUNT - 1} ports are in use`);
  }
}
