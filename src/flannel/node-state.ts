/**
 * What a node has to find again when it is started anew: its MACs, so that no peer has to learn another one, and its
 * subnets, so that pods keep their addresses.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeWhole } from './atomic-file.ts';
import type { Subnets } from './lease.ts';

/** It is nobody else's business. */
const FILE_MODE = 0o600;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

export const STATE_DIRECTORY = '/var/lib/vxlane';

export interface NodeState extends Subnets {
  mac?: string;
  macV6?: string;
}

export function statePath(directory: string, network: string): string {
  return join(directory, `flannel-${network}.json`);
}

/** What was known last of the network and its members (remembering.ts). */
export function membersPath(directory: string, network: string): string {
  return join(directory, `flannel-${network}.members.json`);
}

/** What can't be read, or isn't what it should be, is not there. */
export function readState(path: string): NodeState {
  try {
    const input = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    const take = (key: keyof NodeState, is: (text: string) => boolean) => {
      const value = input[key];
      return typeof value === 'string' && is(value) ? { [key]: value } : {};
    };
    const isMac = (text: string) => MAC.test(text);
    const isSubnet = (text: string) => /^[0-9a-f.:]+\/\d+$/.test(text);
    return {
      ...take('mac', isMac),
      ...take('macV6', isMac),
      ...take('subnet', isSubnet),
      ...take('subnetV6', isSubnet),
    };
  } catch {
    return {};
  }
}

/** @throws Error of node:fs */
export function writeState(path: string, state: NodeState): void {
  const text = `${JSON.stringify(state)}\n`;
  try {
    if (readFileSync(path, 'utf8') === text) return;
  } catch {
    // It is not there yet.
  }
  writeWhole(path, text, FILE_MODE);
}
