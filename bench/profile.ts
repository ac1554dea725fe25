import type { Options } from './options.ts';
import type { Probe } from './probe.ts';
import type { Testbed } from './testbed.ts';
export async function profile(
  _bed: Testbed,
  _probe: Probe,
  _options: Options,
  _print: (text: string) => void,
): Promise<void> {}
