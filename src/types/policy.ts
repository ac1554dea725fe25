/** Group policies of devices with `gbp`. */
import type { NumberRange } from './vni.ts';

/** A group policy as the header of the extension has it. */
export interface Policy {
  /** 0 to 65535 */
  id: number;
  /** The far end is not to learn from it. */
  dontlearn?: boolean;
  /** The policy has been applied. */
  applied?: boolean;
}

/** Group policy of a device with `gbp`: what is sent, and what is refused when it arrives. */
export type PolicyRequest =
  /** For frames from a source MAC, else of a VNI (external devices), else of the device. Replaces what was there. */
  | ({ op: 'add'; dev: string; vni?: number; mac?: string } & Policy)
  | { op: 'del'; dev: string; vni?: number; mac?: string }
  /** A datagram without the extension counts as id 0. */
  | { op: 'refuse'; dev: string; id: readonly NumberRange[] }
  | { op: 'allow'; dev: string; id: readonly NumberRange[] };

/** Group policies of one device. */
export interface PolicyInfo {
  ifname: string;
  /** The device's first, then by VNI, then by MAC. */
  sent: (Policy & { vni?: number; mac?: string })[];
  refused: NumberRange[];
  /** Ids that have arrived, refused ones too, by id. */
  received: { id: number; packets: number }[];
}
