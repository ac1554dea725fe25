/// <reference lib="esnext.disposable" preserve="true" />
/** A VTEP, as the daemon, the command line and embedders drive it. */
import type { DeviceChange, DeviceInfo, DeviceRequest } from './device.ts';
import type { VtepEvent } from './event.ts';
import type { FdbEntry, FdbFlush, FdbRequest } from './fdb.ts';
import type { HookInfo, HookRequest } from './hook.ts';
import type { MdbEntry, MdbFlush, MdbRequest } from './mdb.ts';
import type { PeerInfo, PeerRequest } from './peer.ts';
import type { PolicyInfo, PolicyRequest } from './policy.ts';
import type { VtepStatus } from './status.ts';
import type { VniInfo, VniRequest } from './vni.ts';

/** What the daemon, the command line and embedders drive. Every refusal is a VtepError. */
export interface Vtep extends AsyncDisposable {
  /** @throws VtepError USAGE, EXISTS, IN_USE, PERMISSION, UNSUPPORTED, NO_SPACE, SYSTEM; then there is no device */
  addDevice(config: DeviceRequest): Promise<DeviceInfo>;
  /** `ip link set`: what is left out stays. @throws VtepError NOT_FOUND, USAGE, EXISTS, UNSUPPORTED, SYSTEM */
  setDevice(name: string, change: DeviceChange): Promise<DeviceInfo>;
  /** Its entries go with it. @throws VtepError NOT_FOUND */
  deleteDevice(name: string): Promise<void>;
  /** In the order of their making. */
  devices(): DeviceInfo[];
  /** @throws VtepError EXISTS, NOT_FOUND, UNSUPPORTED, USAGE, NO_SPACE; then nothing has changed */
  fdb(request: FdbRequest): void;
  /** Newest entry first, as the kernel dumps. `dev` absent: all devices. */
  fdbShow(dev?: string): FdbEntry[];
  /** `vni` chooses the table of an external device; absent: 0. */
  fdbGet(dev: string, mac: string, vni?: number): FdbEntry;
  /** @returns how many remotes went. @throws VtepError NOT_FOUND, USAGE */
  fdbFlush(filter: FdbFlush): number;
  /** VNIs of an external device. @throws VtepError NOT_FOUND, EXISTS, USAGE, UNSUPPORTED; then nothing has changed */
  vni(request: VniRequest): void;
  /** By device, then by VNI. */
  vniShow(dev?: string): VniInfo[];
  /** Group policies of a device with `gbp`. @throws VtepError NOT_FOUND, USAGE, UNSUPPORTED, NO_SPACE */
  policy(request: PolicyRequest): void;
  /** Devices with `gbp`. */
  policyShow(dev?: string): PolicyInfo[];
  /** @throws VtepError NOT_FOUND, USAGE, UNSUPPORTED (`gpe`), NO_SPACE; then nothing has changed */
  peer(request: PeerRequest): void;
  /** By device; of one device in the order of their making, but for places that were free again. */
  peerShow(dev?: string): PeerInfo[];
  /**
   * Resolves when every thread runs the new program; no packet waits for that or is lost.
   * @throws VtepError NOT_FOUND, EXISTS, USAGE (the program is refused), UNSUPPORTED; then nothing has changed
   */
  hook(request: HookRequest): Promise<void>;
  /** By device, encap first. */
  hookShow(dev?: string): HookInfo[];
  /** @throws VtepError EXISTS, NOT_FOUND, USAGE, NO_SPACE; then nothing has changed */
  mdb(request: MdbRequest): void;
  /** Newest entry first, newest remote first. */
  mdbShow(dev?: string): MdbEntry[];
  /** The remotes of one entry. @throws VtepError NOT_FOUND, USAGE */
  mdbGet(dev: string, grp: string, src?: string, src_vni?: number): MdbEntry[];
  /** @returns how many remotes went. @throws VtepError NOT_FOUND, USAGE */
  mdbFlush(filter: MdbFlush): number;
  /** Hears of every change and miss until the returned function is called. */
  subscribe(listener: (event: VtepEvent) => void): () => void;
  /** Engine, offloads, threads, listening ports, devices and counters, as they are now. */
  status(): VtepStatus;
  /** Does every thread that carries frames finish a round of its loop within this time? */
  responds(milliseconds: number): Promise<boolean>;
  /** Takes every device down and frees all. Safe to call twice. */
  close(): Promise<void>;
}

/** Frames of a device ("" = none: datagrams of unknown VNIs and the like) dropped since the last event, by reason. */
export interface VtepDrop {
  ifname: string;
  /** A counter's name: "drop_no_target" ... */
  reason: string;
  packets: number;
}

/** Events of a `Vtep` as an EventEmitter, with what their listeners are given. */
export type VtepEvents = {
  /** Everything that `subscribe` tells. */
  event: [event: VtepEvent];
  /** A packet has taught a MAC; or that it is behind another remote now. */
  learned: [entry: FdbEntry];
  moved: [entry: FdbEntry];
  /** Learned, and not heard of for the ageing time. */
  aged: [entry: FdbEntry];
  /**
   * With `l2miss` and `l3miss`: no entry for this MAC (`lladdr`), no neighbour of this address (`dst`). The frame is
   * dropped, or has gone to the default destinations; an entry that the listener makes serves the next one.
   */
  miss: [miss: { ifname: string; lladdr?: string; dst?: string }];
  /** At most once a second for each device and reason. */
  drop: [drop: VtepDrop];
  link: [link: { deleted: boolean; ifname: string; ifindex: number; up: boolean }];
  /** A hook was changed, has failed (at most twice a second), or was stopped. */
  hook: [hook: Omit<Extract<VtepEvent, { event: 'hook' }>, 'event'>];
};
