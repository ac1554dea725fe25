/**
 * What happens, told to whoever wants to hear: changes that commands make, and what workers learn and miss.
 */
import type { VtepEvent } from '../types.ts';
import { readDomain } from './domains.ts';
import type { WorkerEvent } from './events.ts';
import type { Fdb } from './fdb.ts';
import { formatAddress, formatMac, isZero } from './fdb-text.ts';

/** @param cause of an entry that packets made, rather than commands */
type Listener = (event: VtepEvent, cause?: 'learned' | 'moved') => void;

export class Notices {
  readonly #listeners = new Map<Listener, () => boolean>();
  /**
   * What becomes of the error of a listener, which is no matter of whoever made the change, nor of other listeners. Unless
   * somebody has a log: it is thrown when the work at hand is done, as that of an EventTarget's listener.
   */
  failed: (error: unknown) => void = (error) =>
    queueMicrotask(() => {
      throw error;
    });

  /**
   * Returns what ends it.
   * @param listens whether it has a use for events right now; nothing is put into words for nobody
   */
  subscribe(listener: Listener, listens: () => boolean = () => true): () => void {
    this.#listeners.set(listener, listens);
    return () => this.#listeners.delete(listener);
  }

  get isHeard(): boolean {
    for (const listens of this.#listeners.values()) if (listens()) return true;
    return false;
  }

  emit(event: VtepEvent, cause?: 'learned' | 'moved'): void {
    for (const listener of this.#listeners.keys())
      try {
        listener(event, cause);
      } catch (error) {
        this.failed(error);
      }
  }

  /** A worker's event in the words of the control API. */
  relay(event: WorkerEvent, view: DataView, nameOf: (device: number) => string, fdb: Fdb): void {
    if (!this.isHeard) return;
    const ifname = nameOf(readDomain(view, event.domain).device);
    // The device has gone since.
    if (ifname === '') return;
    switch (event.kind) {
      case 'learned':
      case 'moved': {
        const entry = fdb.describeLearned(event.domain, event.mac, event.remote, event.ifindex);
        this.emit({ event: 'fdb', deleted: false, entry }, event.kind);
        break;
      }
      case 'l2-miss':
        // The kernel has no word for the zero MAC: it stands for none.
        this.emit({ event: 'miss', ifname, ...(!isZero(event.mac) && { lladdr: formatMac(event.mac) }) });
        break;
      case 'l3-miss':
        this.emit({ event: 'miss', ifname, dst: formatAddress(event.address) });
    }
  }
}
