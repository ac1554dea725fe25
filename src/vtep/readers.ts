/**
 * What programs hand in, looked at key by key and filled in, by those who know the words (the daemon's schemas; they
 * stand on a higher floor). Each throws VtepError USAGE that names the key.
 */
import type {
  DeviceChange,
  DeviceConfig,
  FdbFlush,
  FdbRequest,
  HookRequest,
  MdbFlush,
  MdbRequest,
  PeerRequest,
  PolicyRequest,
  VniRequest,
} from '../types.ts';

export interface Readers {
  device(input: unknown): DeviceConfig;
  change(input: unknown): DeviceChange;
  fdb(input: unknown): FdbRequest;
  fdbFlush(input: unknown): FdbFlush;
  vni(input: unknown): VniRequest;
  policy(input: unknown): PolicyRequest;
  peer(input: unknown): PeerRequest;
  hook(input: unknown): HookRequest;
  mdb(input: unknown): MdbRequest;
  mdbFlush(input: unknown): MdbFlush;
  /** The name of a device. */
  dev(input: unknown): string;
  /** What an entry is asked for by. */
  fdbKey(dev: unknown, mac: unknown, vni: unknown): FdbKey;
  mdbKey(dev: unknown, grp: unknown, src: unknown, src_vni: unknown): MdbKey;
  listener<T>(input: T): T;
  milliseconds(input: unknown): number;
}

export type FdbKey = [dev: string, mac: string, vni?: number];
export type MdbKey = [dev: string, grp: string, src?: string, src_vni?: number];

const asGiven = (input: unknown) => input as never;

/** For those who have looked at it and filled it in before. */
export const AS_GIVEN: Readers = {
  ...{ device: asGiven, change: asGiven, fdb: asGiven, fdbFlush: asGiven, vni: asGiven, policy: asGiven },
  ...{
    peer: asGiven,
    hook: asGiven,
    mdb: asGiven,
    mdbFlush: asGiven,
    dev: asGiven,
    listener: asGiven,
    milliseconds: asGiven,
  },
  fdbKey: (...key) => key as FdbKey,
  mdbKey: (...key) => key as MdbKey,
};
