import type { FdbEntry } from './fdb.ts';
import type { HookDirection } from './hook.ts';
import type { MdbEntry } from './mdb.ts';
import type { VniInfo } from './vni.ts';

/** What happens, as it happens: `vxlane monitor`, and `bridge monitor` in the wrappers. */
export type VtepEvent =
  /** `reason` of a removal: command, aged, flushed, or device (it went down or away). */
  | { event: 'fdb'; deleted: boolean; entry: FdbEntry; reason?: string }
  | { event: 'vni'; deleted: boolean; entry: Omit<VniInfo, 'stats'> }
  | { event: 'mdb'; deleted: boolean; entry: MdbEntry }
  /** `l2miss`: an unknown MAC; `l3miss`: an unknown IP address. */
  | { event: 'miss'; ifname: string; lladdr?: string; dst?: string }
  | { event: 'link'; deleted: boolean; ifname: string; ifindex: number; up: boolean }
  /** `fault`: the program failed, `packets` were dropped undecided since the last such event; `stopped`: it hung. */
  | {
      event: 'hook';
      change: 'added' | 'replaced' | 'deleted' | 'fault' | 'stopped';
      ifname: string;
      direction: HookDirection;
      file: string;
      generation: number;
      reason?: string;
      packets?: number;
    }
  /** So many were not told: packets taught and missed faster than they were taken, or the daemon's client reads too slowly. */
  | { event: 'lost'; lost: number };
