/** What a VTEP tells of itself. */
import type { DeviceInfo } from './device.ts';
import type { HookInfo } from './hook.ts';

/** A thread that carries packets, and what it has done since it began. */
export interface WorkerStatus {
  /** "encap 0", "decap 0" ... */
  name: string;
  packets: number;
  bytes: number;
  batches: number;
  syscalls: number;
  sleeps: number;
  /** Only with VXLANE_PROFILE in the daemon's environment. */
  profile?: WorkerProfile;
}

/** Where a worker's time goes. */
export interface WorkerProfile {
  /** Linux' number of the thread, for /proc and perf. */
  thread: number;
  /** What the stopwatch itself costs, in seconds a call; in no figure of `calls`. */
  secondsPerCall: number;
  /** By kind, the stopwatch's cost taken off: system calls by name, "wasm" = the engine, "asleep" = waits that may last. */
  calls: Record<string, { count: number; seconds: number }>;
}

/** What `vxlane status` shows. */
export interface VtepStatus {
  version: string;
  pid: number;
  /** Seconds since the VTEP started. */
  uptime: number;
  engine: {
    /** "batched", "uring" or "portable". */
    io: string;
    /** io_uring: "on", or "off: why". E.g. "off: io_uring is forbidden here (seccomp)" */
    uring: string;
    /** "simd" or "scalar". */
    wasm: string;
    memoryBytes: number;
  };
  /** In use ("on"), or why not. E.g. { "udp-segment": "on", "tap-uso": "off: Linux 6.2 or newer is needed" } */
  offloads: Record<string, string>;
  workers: WorkerStatus[];
  listeners: { family: 'inet' | 'inet6'; port: number; devices: string[] }[];
  devices: DeviceInfo[];
  /** device name ("" = no device: unknown VNI and the like) -> counter -> value, only those that are not zero. */
  counters: Record<string, Record<string, number>>;
  /** Absent where there is none. */
  hooks?: HookInfo[];
  /** Entries in all FDBs, and how many there may be. */
  fdb: { entries: number; capacity: number };
  /** Events that nobody could be told of, since it started: a thread had more than it has room for. Absent: none. */
  lostEvents?: number;
}
