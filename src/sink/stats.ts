/** What a sink has counted since it began. */
import type { SinkCounters } from './counters.ts';
import type { Recorder, SinkInterface } from './recorder.ts';

/** Counters of a sink, of all its sockets together. */
export interface SinkStats {
  counters: SinkCounters;
  /**
   * Messages that the kernel dropped because the sink was too slow: datagrams, or bundles of them (UDP_GRO).
   * undefined where the system does not tell.
   */
  kernelDrops: number | undefined;
  interfaces: SinkInterface[];
  /** Files begun. */
  files: number;
}

export function statsOf(recorder: Recorder, kernelDrops: number | undefined, files: number): SinkStats {
  return { counters: recorder.counters(), kernelDrops, interfaces: recorder.interfaces(), files };
}
