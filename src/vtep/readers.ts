/**
 * What programs hand in, looked at key by key and filled in, by those who know the words (the daemon's schemas; they
 * stand on a higher floor). Each throws VtepError USAGE that names the key.
 */
import type { DeviceChange, DeviceConfig, FdbFlush, FdbRequest } from '../types.ts';

export interface Readers {
  device(input: unknown): DeviceConfig;
  change(input: unknown): DeviceChange;
  fdb(input: unknown): FdbRequest;
  fdbFlush(input: unknown): FdbFlush;
}
