/**
 * What happens, for programs: typed events of an EventEmitter, and node:diagnostics_channel for those who watch a
 * process from outside. Nothing is put into words while nobody listens, and a listener that throws ends in the log.
 */
import { type Channel, channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { COUNTERS, type CounterName, readCounter } from '../dataplane/counters.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import type { FdbEntry, VtepDrop, VtepEvent, VtepEvents } from '../types.ts';
import type { Logger } from './options.ts';

const DROPS = (Object.keys(COUNTERS) as CounterName[]).filter((name) => name.startsWith('drop_'));
const NAMES = ['event', 'learned', 'moved', 'aged', 'miss', 'drop', 'link', 'hook'] as const;

/** Subscribers of these hear of all VTEPs of the process. */
const CHANNELS: Readonly<Record<VtepEvent['event'] | 'drop', Channel>> = {
  fdb: channel('vxlane:fdb'),
  vni: channel('vxlane:vni'),
  mdb: channel('vxlane:mdb'),
  miss: channel('vxlane:miss'),
  link: channel('vxlane:link'),
  hook: channel('vxlane:hook'),
  lost: channel('vxlane:lost'),
  drop: channel('vxlane:drop'),
};

export class Happenings extends EventEmitter<VtepEvents> {
  #plane: Dataplane | undefined;
  #log: Logger = () => {};
  /** Device and counter -> what has been told. */
  readonly #told = new Map<string, number>();
  #wereDropsHeard = false;

  /** To be called once, by the VTEP itself. */
  protected watch(plane: Dataplane, log: Logger): void {
    this.#plane = plane;
    this.#log = log;
    plane.notices.failed = (error) => this.#failed('subscribe', error);
    plane.notices.subscribe(
      (event, cause) => this.#tell(event, cause),
      () => this.#isHeard,
    );
  }

  /**
   * Tells of drops since the last call: nothing is told packet by packet.
   * @param devices index -> name; 0 and "" are datagrams of no device
   */
  protected tellDrops(devices: Iterable<readonly [index: number, name: string]>): void {
    const isHeard = this.listenerCount('drop') > 0 || CHANNELS.drop.hasSubscribers;
    // Whoever begins to listen hears of what is dropped from then on.
    const isFirst = isHeard && !this.#wereDropsHeard;
    this.#wereDropsHeard = isHeard;
    if (!isHeard) return;
    const { views, blocks } = this.#plane!;
    for (const [index, ifname] of devices) {
      for (const reason of DROPS) {
        const total = readCounter(views, blocks, index, reason);
        const key = `${index} ${reason}`;
        const packets = total - (this.#told.get(key) ?? 0);
        this.#told.set(key, total);
        if (!isFirst && packets > 0) this.#safely('drop', { ifname, reason, packets }, CHANNELS.drop);
      }
    }
  }

  /** Another device has the number now, and its counters begin anew. */
  protected forgetDrops(index: number): void {
    for (const reason of DROPS) this.#told.delete(`${index} ${reason}`);
  }

  get #isHeard(): boolean {
    for (const name of NAMES) if (name !== 'drop' && this.listenerCount(name) > 0) return true;
    for (const [name, of] of Object.entries(CHANNELS)) if (name !== 'drop' && of.hasSubscribers) return true;
    return false;
  }

  #tell(event: VtepEvent, cause?: 'learned' | 'moved'): void {
    this.#safely('event', event, CHANNELS[event.event]);
    if (event.event === 'fdb') {
      if (cause !== undefined) this.#safely(cause, event.entry);
      else if (event.deleted && event.reason === 'aged') this.#safely('aged', event.entry);
    } else if (event.event === 'miss') {
      const { event: _, ...miss } = event;
      this.#safely('miss', miss);
    } else if (event.event === 'link') {
      const { event: _, ...link } = event;
      this.#safely('link', link);
    } else if (event.event === 'hook') {
      const { event: _, ...hook } = event;
      this.#safely('hook', hook);
    }
  }

  #safely(name: keyof VtepEvents, message: FdbEntry | VtepEvent | VtepDrop | object, on?: Channel): void {
    try {
      (this as EventEmitter).emit(name, message);
    } catch (error) {
      this.#failed(name, error);
    }
    if (on?.hasSubscribers) on.publish(message);
  }

  #failed(name: string, error: unknown): void {
    this.#log('error', `a listener of "${name}" failed: ${String((error as Error)?.stack ?? error)}`);
  }
}
