/** What the kernel can do for us, and what the operator leaves on: a table for `status`. */
import { hasUdpGro, hasUdpSegment } from '../io/udp.ts';

/** "on", or "off: why" */
export interface Offloads {
  udpSegment: string;
  udpGro: string;
  coalesce: string;
  tapUso: string;
}

export function probeOffloads(wanted: Partial<Record<keyof Offloads, boolean>>): Offloads {
  return {
    udpSegment: state(wanted.udpSegment, hasUdpSegment, 'Linux 4.18 or newer is needed'),
    udpGro: state(wanted.udpGro, hasUdpGro, 'Linux 5.0 or newer is needed'),
    coalesce: state(wanted.coalesce, () => true, ''),
    // Each TAP is asked when it is made.
    tapUso: state(wanted.tapUso, () => true, ''),
  };
}

function state(wanted: boolean | undefined, has: () => boolean, without: string): string {
  if (wanted === false) return 'off: by configuration';
  return has() ? 'on' : `off: ${without}`;
}
