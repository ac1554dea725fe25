/** Where blocks go. */
export interface Output {
  /** Whole blocks, in memory that is used again after the call. @throws VtepError; SinkEnded when nobody reads */
  write(blocks: Uint8Array): void;
  /** Bytes that it takes before it has to be asked again. */
  room(): number;
  /** Time for the next file? @param now milliseconds since 1970 */
  wantsSection(now: number): boolean;
  /** What comes now begins a section. */
  nextSection(): void;
  /** Milliseconds until it will want a section by itself; Infinity = never. */
  dueIn(now: number): number;
  /** There is a new interface. */
  admitted?(id: number, vni: number, source: string): void;
  close(): void;
}

/** The reader has gone: no error, but the end. */
export class SinkEnded extends Error {}
