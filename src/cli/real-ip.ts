/**
 * Neighbours and nexthop groups are the kernel's own, and a daemon follows its tables: their words go to the real
 * `ip` as they are, with the flags that change what is printed. Found in PATH, outside the folders of our wrappers.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { VtepError } from '../errors.ts';
import type { Command, Flags } from './command.ts';
import { withoutWrappers } from './wrap.ts';
import { RealTool } from './wrap-real.ts';

/** Where iproute2 is, also for those whose PATH leaves the administrator's folders out. */
const USUAL = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

export async function realIp(
  object: 'neigh' | 'nexthop',
  { words, flags, outside }: Command,
): Promise<number> {
  const skipped = outside.env.VXLANE_WRAP;
  const folders = withoutWrappers(outside.env.PATH)
    .split(delimiter)
    .filter((folder) => folder !== '' && folder !== skipped);
  const path = [...folders, ...USUAL].map((folder) => join(folder, 'ip')).find(isExecutable);
  if (path === undefined)
    throw new VtepError(
      'SYSTEM',
      `"${object}" is carried out by "ip", which is not in PATH: install iproute2`,
    );
  return new RealTool(path, outside).run([...optionsOf(flags), object, ...words]);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function optionsOf({ json, pretty, details, statistics, oneline, brief, family }: Flags): string[] {
  return [
    ...(json ? ['-j'] : []),
    ...(pretty ? ['-p'] : []),
    ...(details ? ['-d'] : []),
    ...Array<string>(statistics).fill('-s'),
    ...(oneline ? ['-o'] : []),
    ...(brief ? ['-br'] : []),
    ...(family === undefined ? [] : ['-f', family]),
  ];
}
