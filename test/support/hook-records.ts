/** Writes records as the engine does (assembly/layout.ts), for a program that runs by itself. */
import {
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_DEVICE_OFFSET,
  HOOK_RECORD_FLAGS_OFFSET,
  HOOK_RECORD_L3_OFFSET,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_ROOM_END_OFFSET,
  HOOK_RECORD_ROOM_OFFSET,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORD_VNI_OFFSET,
  HOOK_UNDECIDED,
} from '../../assembly/layout.ts';

export interface RecordFields {
  /** Address and length of the frame. */
  address: number;
  length: number;
  ipOffset: number;
  device?: number;
  vni?: number;
  flags?: number;
}

export const ROOM_BYTES = 32;

export function writeRecord(view: DataView, at: number, fields: RecordFields): void {
  const { address, length, ipOffset, device = 1, vni = 42, flags = 0 } = fields;
  for (let offset = 0; offset < HOOK_RECORD_BYTES; offset += 4) view.setUint32(at + offset, 0, true);
  view.setUint32(at + HOOK_RECORD_ADDRESS_OFFSET, address, true);
  view.setUint32(at + HOOK_RECORD_LENGTH_OFFSET, length, true);
  view.setUint32(at + HOOK_RECORD_VERDICT_OFFSET, HOOK_UNDECIDED, true);
  view.setUint16(at + HOOK_RECORD_DEVICE_OFFSET, device, true);
  view.setUint16(at + HOOK_RECORD_L3_OFFSET, ipOffset, true);
  view.setUint32(at + HOOK_RECORD_VNI_OFFSET, vni, true);
  view.setUint16(at + HOOK_RECORD_FLAGS_OFFSET, flags, true);
  view.setUint32(at + HOOK_RECORD_ROOM_OFFSET, address - ROOM_BYTES, true);
  view.setUint32(at + HOOK_RECORD_ROOM_END_OFFSET, address + length + ROOM_BYTES, true);
}

export function verdictOf(view: DataView, at: number): number {
  return view.getUint32(at + HOOK_RECORD_VERDICT_OFFSET, true);
}
