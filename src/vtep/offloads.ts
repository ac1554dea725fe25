/**
 * What the kernel can do for us, what it does wrong, and what the operator leaves on: a table for `status`. What is
 * off here is off for every device; what is on, each device may be without (`gso`, `gro`, `uso`).
 */
import { testTap } from '../io/selftest-tap.ts';
import { testBundles, testSegmentation } from '../io/selftest-udp.ts';
import { type Syscalls, syscalls } from '../io/syscalls.ts';
import { hasUdpGro, hasUdpSegment } from '../io/udp.ts';
import type { Device } from './device.ts';

/** "on", or "off: why" */
export interface Offloads {
  udpSegment: string;
  udpGro: string;
  coalesce: string;
  tapUso: string;
}

/** Words of `status`. */
const NAMES: Readonly<Record<keyof Offloads, string>> = {
  udpSegment: 'udp-segment',
  udpGro: 'udp-gro',
  coalesce: 'coalesce',
  tapUso: 'tap-uso',
};
const FAILED = 'off: self-test: ';

/** Asks the kernel, and tries what it says it has; takes some 25 ms. */
export function probeOffloads(
  wanted: Partial<Record<keyof Offloads, boolean>>,
  sys: Syscalls = syscalls(),
): Offloads {
  const udpSegment = state(wanted.udpSegment, hasUdpSegment, 'Linux 4.18 or newer is needed', () =>
    testSegmentation(sys),
  );
  const isTap = wanted.coalesce !== false || wanted.tapUso !== false;
  const faults = isTap ? testTap(sys) : {};
  return {
    udpSegment,
    udpGro: state(wanted.udpGro, hasUdpGro, 'Linux 5.0 or newer is needed', () =>
      // The test sends in segments.
      udpSegment === 'on' ? testBundles(sys) : undefined,
    ),
    coalesce: state(
      wanted.coalesce,
      () => true,
      '',
      () => faults.tso,
    ),
    // Each TAP is asked when it is made whether the kernel has it.
    tapUso: state(
      wanted.tapUso,
      () => true,
      '',
      () => faults.uso,
    ),
  };
}

/** A line for each that is off although nobody asked for that. */
export function failuresOf(offloads: Offloads): string[] {
  return Object.entries(offloads)
    .filter(([, use]) => use.startsWith(FAILED))
    .map(([key, use]) => `${NAMES[key as keyof Offloads]} ${use}`);
}

/**
 * The table of `status`.
 * @param refused local addresses from which the kernel has refused messages in segments since
 */
export function offloadTable(
  offloads: Offloads,
  devices: readonly Pick<Device, 'config' | 'tap'>[],
  refused: readonly string[],
): Record<string, string> {
  const without = (use: string, isOff: (config: Device['config']) => boolean) => {
    const names = devices.filter(({ config }) => isOff(config)).map(({ config }) => config.name);
    return use === 'on' && names.length > 0 ? `on, off for ${names.join(', ')}` : use;
  };
  const segment = without(offloads.udpSegment, ({ gso }) => gso === 'off');
  const isRefused = offloads.udpSegment === 'on' && refused.length > 0;
  const lacksUso = devices.some(({ config, tap }) => !tap.uso && !config.gpe && config.uso !== false);
  return {
    [NAMES.udpSegment]: isRefused ? `${segment}, refused by the kernel from ${refused.join(', ')}` : segment,
    [NAMES.udpGro]: without(offloads.udpGro, ({ gro }) => gro === false),
    [NAMES.coalesce]: without(offloads.coalesce, ({ gro }) => gro === false),
    [NAMES.tapUso]:
      offloads.tapUso === 'on' && lacksUso
        ? 'off: Linux 6.2 or newer is needed'
        : without(offloads.tapUso, ({ uso }) => uso === false),
  };
}

function state(
  wanted: boolean | undefined,
  has: () => boolean,
  without: string,
  test: () => string | undefined,
): string {
  if (wanted === false) return 'off: by configuration';
  if (!has()) return `off: ${without}`;
  const fault = test();
  return fault === undefined ? 'on' : `${FAILED}${fault}`;
}
