/**
 * Sections of a capture: the walk writes packets, this the blocks around them. A section has an interface 0 for what
 * belongs to no VNI, and one for each VNI and outer source as they appear; it ends with their statistics. An output
 * that asks for a new section (rotation) gets one that can be read alone.
 */
import { release, type } from 'node:os';
import {
  SINK_INTERFACE_MAX,
  SINK_INTERFACE_OCTETS_OFFSET,
  SINK_INTERFACE_PACKETS_OFFSET,
  SINK_INTERFACES_BASE,
  SINK_INTERFACES_BYTES,
  SINK_KEEP,
  SINK_OUTPUT_BASE,
  SINK_OUTPUT_BYTES,
  SINK_REFUSE_FILTER,
  SINK_REFUSE_VNI,
  SINK_STATE_ASK_OFFSET,
  SINK_STATE_BASE,
  SINK_STATE_END_OFFSET,
  SINK_STATE_LAST_OFFSET,
  SINK_STATE_NEXT_OFFSET,
  SINK_STATE_SEED_OFFSET,
  SINK_STATE_SNAPLEN_OFFSET,
} from '../../assembly/sink-layout.ts';
import { version } from '../version.ts';
import { readCounters, type SinkCounters } from './counters.ts';
import { compileFilter } from './filter.ts';
import type { Output } from './output.ts';
import { interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.ts';
import { sourceText } from './source.ts';
import { Walk } from './walk.ts';

const WHOLE = 0xffffffff;

export interface RecorderOptions {
  /** UDP ports, for the description of interface 0. */
  ports: readonly number[];
  /** undefined = any. */
  vnis: readonly (readonly [first: number, last: number])[] | undefined;
  /** '' = none. */
  filter: string;
  /** Bytes kept of a packet; 0 = all. */
  snaplen: number;
}

/** A VNI and an outer source, in the order of their first packets. */
export interface SinkInterface {
  vni: number;
  source: string;
  packets: number;
  /** Bytes of the packets before anybody cut them. */
  octets: number;
}

interface Admitted {
  slot: number;
  vni: number;
  source: string;
}

export class Recorder {
  readonly walk: Walk;
  readonly #options: RecorderOptions;
  readonly #outputs: readonly Output[];
  readonly #kernelDrops: () => number;
  /** Of this section; interface 1 is the first. */
  #admitted: Admitted[] = [];
  /** Of sections that have ended, by VNI and source. */
  readonly #ended = new Map<string, SinkInterface>();
  #sectionStart = 0n;
  #before: { counters: SinkCounters; kernelDrops: number };

  /** @param kernelDrops datagrams that the kernel had no room for, since the sink began */
  constructor(options: RecorderOptions, outputs: readonly Output[], kernelDrops: () => number) {
    this.#options = options;
    this.#outputs = outputs;
    this.#kernelDrops = kernelDrops;
    const { filter, snaplen, vnis } = options;
    const matches = filter === '' ? undefined : compileFilter(filter);
    const wanted = (vni: number) => vnis?.some(([first, last]) => vni >= first && vni <= last) ?? true;
    this.walk = new Walk({
      accept: (packet, bytes, vni) => {
        if (!wanted(vni)) return SINK_REFUSE_VNI;
        if (matches === undefined || matches(this.walk.bytes, packet, bytes, vni)) return SINK_KEEP;
        return SINK_REFUSE_FILTER;
      },
      admit: (source, vni) => this.#admit(source, vni),
      flush: () => this.flush(),
    });
    this.#state(SINK_STATE_SEED_OFFSET, Math.floor(Math.random() * 2 ** 32));
    this.#state(SINK_STATE_SNAPLEN_OFFSET, snaplen === 0 ? WHOLE : snaplen);
    this.#state(SINK_STATE_ASK_OFFSET, Number(vnis !== undefined || matches !== undefined));
    this.#before = { counters: this.counters(), kernelDrops: 0 };
    this.#beginSection();
  }

  counters(): SinkCounters {
    return readCounters(this.walk.view);
  }

  /** Hands what has been written to the outputs; those that are full begin a new section. */
  flush(): void {
    this.#drain();
    const now = Date.now();
    if (this.#outputs.some((output) => output.wantsSection(now))) this.#rotate();
    this.#makeRoom();
  }

  /** Ends the last section. */
  finish(): void {
    this.#endSection();
    this.#drain();
  }

  interfaces(): SinkInterface[] {
    const all = new Map([...this.#ended].map(([key, one]) => [key, { ...one }]));
    for (const admitted of this.#admitted) add(all, this.#countsOf(admitted));
    return [...all.values()];
  }

  #rotate(): void {
    this.#endSection();
    this.#drain();
    for (const output of this.#outputs) output.nextSection();
    this.#beginSection();
  }

  #drain(): void {
    const end = this.walk.view.getUint32(SINK_STATE_BASE + SINK_STATE_NEXT_OFFSET, true);
    this.#state(SINK_STATE_NEXT_OFFSET, SINK_OUTPUT_BASE);
    if (end === SINK_OUTPUT_BASE) return;
    const blocks = this.walk.bytes.subarray(SINK_OUTPUT_BASE, end);
    for (const output of this.#outputs) output.write(blocks);
  }

  #beginSection(): void {
    const { view, bytes } = this.walk;
    bytes.fill(0, SINK_INTERFACES_BASE, SINK_INTERFACES_BASE + SINK_INTERFACES_BYTES);
    this.#state(SINK_STATE_LAST_OFFSET, 0);
    this.#state(SINK_STATE_NEXT_OFFSET, SINK_OUTPUT_BASE);
    view.setUint32(SINK_STATE_BASE + SINK_STATE_END_OFFSET, SINK_OUTPUT_BASE + SINK_OUTPUT_BYTES, true);
    this.#sectionStart = now();
    this.#put(sectionHeader(`vxlane ${version()}`, `${type()} ${release()}`));
    const ports = this.#options.ports.join(', ');
    this.#describe('vxlane', `UDP port ${ports}: what belongs to no VNI`);
    this.#makeRoom();
  }

  #endSection(): void {
    const [counters, kernelDrops] = [this.counters(), this.#kernelDrops()];
    const gone = dropsSince(this.#before.counters, counters);
    const [start, end] = [this.#sectionStart, now()];
    this.#put(
      interfaceStatistics({
        interface: 0,
        start,
        end,
        received: counters.datagrams - this.#before.counters.datagrams,
        dropped: gone.reduce((sum, [, count]) => sum + count, 0),
        systemDropped: kernelDrops - this.#before.kernelDrops,
        ...(gone.length === 0 ? {} : { comment: gone.map(([name, count]) => `${name} ${count}`).join(', ') }),
      }),
    );
    this.#before = { counters, kernelDrops };
    this.#admitted.forEach((admitted, index) => {
      const counts = this.#countsOf(admitted);
      add(this.#ended, counts);
      const received = counts.packets;
      this.#put(
        interfaceStatistics({ interface: index + 1, start, end, received, dropped: 0, systemDropped: 0 }),
      );
    });
    this.#admitted = [];
  }

  #countsOf({ slot, vni, source }: Admitted): SinkInterface {
    const count = (offset: number) => Number(this.walk.view.getBigUint64(slot + offset, true));
    return {
      vni,
      source,
      packets: count(SINK_INTERFACE_PACKETS_OFFSET),
      octets: count(SINK_INTERFACE_OCTETS_OFFSET),
    };
  }

  #admit(slot: number, vni: number): number {
    if (this.#admitted.length === SINK_INTERFACE_MAX) return -1;
    const source = sourceText(this.walk.bytes.subarray(slot, slot + 16));
    this.#admitted.push({ slot, vni, source });
    this.#describe(`vni${vni}-${source}`, `VNI ${vni} from ${source}`);
    for (const output of this.#outputs) output.admitted?.(this.#admitted.length, vni, source);
    return this.#admitted.length;
  }

  #describe(name: string, description: string): void {
    const { filter, snaplen } = this.#options;
    this.#put(interfaceDescription({ name, description, snaplen, filter }));
  }

  #put(block: Uint8Array): void {
    const at = this.walk.view.getUint32(SINK_STATE_BASE + SINK_STATE_NEXT_OFFSET, true);
    if (at + block.length > SINK_OUTPUT_BASE + SINK_OUTPUT_BYTES) {
      this.#drain();
      this.#put(block);
      return;
    }
    this.walk.bytes.set(block, at);
    this.#state(SINK_STATE_NEXT_OFFSET, at + block.length);
  }

  /** How much may be written until the outputs are asked again. */
  #makeRoom(): void {
    const room = Math.min(SINK_OUTPUT_BYTES, ...this.#outputs.map((output) => output.room()));
    this.#state(SINK_STATE_END_OFFSET, SINK_OUTPUT_BASE + room);
  }

  #state(offset: number, value: number): void {
    this.walk.view.setUint32(SINK_STATE_BASE + offset, value, true);
  }
}

function add(all: Map<string, SinkInterface>, one: SinkInterface): void {
  const key = `${one.vni} ${one.source}`;
  const known = all.get(key);
  // Whoever makes up senders does not get the memory of this host.
  if (known === undefined && all.size >= 4 * SINK_INTERFACE_MAX) return;
  all.set(key, {
    ...one,
    packets: one.packets + (known?.packets ?? 0),
    octets: one.octets + (known?.octets ?? 0),
  });
}

function dropsSince(before: SinkCounters, now: SinkCounters): [string, number][] {
  return Object.entries(now)
    .map(([name, count]): [string, number] => [name, count - before[name as keyof SinkCounters]])
    .filter(([name, count]) => name.startsWith('drop_') && count > 0);
}

/** Nanoseconds since 1970. */
function now(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}
