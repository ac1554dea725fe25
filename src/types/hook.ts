/** Programs that decide on each packet. */

/**
 * Where a hook stands: `encap` sees frames of the device's interface before the FDB does, `decap` inner frames that have
 * passed all checks, before they are merged and handed over.
 */
export type HookDirection = 'encap' | 'decap';

/** What becomes of packets when their program has been stopped: they pass, or are counted `drop_hook_stopped`. */
export type OnStop = 'pass' | 'drop';

/** A program that decides on each packet of a device. One a direction; `replace` also adds. */
export type HookRequest =
  | {
      op: 'add' | 'replace';
      /** Device name. */
      dev: string;
      direction: HookDirection;
      /** WebAssembly: what it is called when it is shown. JavaScript: absolute path of the module. */
      file: string;
      /** The module's bytes; absent: `file` is JavaScript. */
      wasm?: Uint8Array;
      /** Handed to the program's `configure` before it sees a packet. */
      rules?: Uint8Array;
      /** Loops and calls that the program may make for each packet of a batch; WebAssembly only. */
      fuel?: number;
      /** Absent: JavaScript pass, WebAssembly drop. */
      onstop?: OnStop;
    }
  | { op: 'del'; dev: string; direction: HookDirection };

/** A hook as it is now: `vxlane hook show`. */
export interface HookInfo {
  ifname: string;
  direction: HookDirection;
  kind: 'wasm' | 'js';
  file: string;
  /** Counts the programs that the VTEP was ever given. */
  generation: number;
  fuel?: number;
  onstop: OnStop;
  /** Why the program was taken off its threads; absent: it runs. */
  stopped?: string;
  /** What the last fault was; absent: none yet. */
  fault?: string;
  /** Since the hook was added; `replace` lets them go on. Packets that a super-frame stands for count as one. */
  stats: HookStats;
  /** What a module in WebAssembly counts itself (its COUNTERS), over all threads. A replacement begins at 0. */
  counters?: number[];
}

/** What a hook has decided. */
export interface HookStats {
  /** What the program was shown. */
  packets: number;
  dropped: number;
  redirected: number;
  /** Copies. */
  mirrored: number;
  /** Packets dropped because the program failed before it had decided. */
  faults: number;
  /** Packets dropped because it had been stopped, with `onstop: 'drop'`. */
  stopped: number;
}
