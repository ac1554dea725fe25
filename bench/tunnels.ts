/** Linux's own vxlan device, and vxlane in any number of variants: what is held against each other. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '../src/daemon/client.ts';
import { ip, ROOT, run, type Tunnel, UNDERLAY, VTEP, waitForLine } from './testbed.ts';

/** One variant of vxlane to measure. */
export interface Candidate {
  name: string;
  /** Words after those that every device of the bench has: `gso tunnel`. */
  words: string[];
  /** Flags of `vxlane run`: `--engine uring`. */
  flags: string[];
  env: Record<string, string>;
  /** The checkout whose build runs. */
  directory: string;
}

/** A candidate of this name is the kernel once more: what the table shows then is the noise. */
export const KERNEL = 'kernel';
const PROGRAM = 'dist/src/cli/main.js';

/**
 * `NAME[: [WORD...] [KEY=VALUE...] [@DIRECTORY] [-- FLAG...]]`.
 *
 * @throws Error with what is wrong
 */
export function parseCandidate(spec: string): Candidate {
  const [, name, rest = ''] = /^([^:]*)(?::(.*))?$/.exec(spec)!;
  if (!/^[\w.+-]+$/.test(name!)) throw new Error(`a candidate is NAME or "NAME: WORDS", not "${spec}"`);
  const all = rest.split(' ').filter(Boolean);
  const dashes = all.indexOf('--');
  const before = dashes < 0 ? all : all.slice(0, dashes);
  const candidate: Candidate = {
    name: name!,
    words: [],
    flags: dashes < 0 ? [] : all.slice(dashes + 1),
    env: {},
    directory: ROOT,
  };
  for (const word of before) {
    const [, key, value] = /^([A-Z]\w*)=(.*)$/.exec(word) ?? [];
    if (key !== undefined) candidate.env[key] = value!;
    else if (word.startsWith('@')) candidate.directory = word.slice(1);
    else candidate.words.push(word);
  }
  return candidate;
}

/** Why it can't be run, or undefined. */
export function lacksBuild({ name, directory }: Candidate): string | undefined {
  const program = join(directory, PROGRAM);
  return name === KERNEL || existsSync(program) ? undefined : `${program} is not built: npm run build`;
}

const options = (underlay: string) => `id 1 local ${underlay} dev ${UNDERLAY} dstport 8472 nolearning`;

/** Linux's vxlan device. `offloads` false: its packets are neither split late nor merged early, whatever the underlay can. */
export function kernelTunnel(offloads = true): Tunnel {
  return {
    start(_bed, host) {
      ip(host, `link add ${VTEP} type vxlan ${options(host.underlay)}`);
      if (offloads) return;
      const off = 'tso off gso off gro off'.split(' ');
      run('ip', 'netns', 'exec', host.namespace, 'ethtool', '-K', VTEP, ...off);
    },
    learn: (host, mac, remote) => {
      run('bridge', '-n', host.namespace, ...`fdb append ${mac} dev ${VTEP} dst ${remote}`.split(' '));
    },
  };
}

export function tunnelOf(candidate: Candidate): Tunnel {
  if (candidate.name === KERNEL) return kernelTunnel();
  const { words, flags, env, directory } = candidate;
  const program = join(directory, PROGRAM);
  return {
    async start(bed, host) {
      host.socket = join(host.directory, 'vxlane.sock');
      const device = ['run', VTEP, ...options(host.underlay).split(' '), ...words];
      host.process = bed.spawn(
        host,
        process.execPath,
        [program, ...device, '--socket', host.socket, ...flags],
        { env },
      );
      await waitForLine(host.process, ' up:');
    },
    learn: (host, mac, dst) => createClient(host.socket!).fdbChange({ op: 'append', dev: VTEP, mac, dst }),
  };
}
