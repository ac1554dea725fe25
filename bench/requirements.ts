/** What the bench needs on a machine, and what is missing, each with its remedy. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Options } from './options.ts';
import { PEERS, type Peer } from './peers.ts';
import { lacksBuild } from './tunnels.ts';

/** sbin is not in everybody's path. */
const DIRECTORIES = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];

const lacks = (program: string) => !DIRECTORIES.some((directory) => existsSync(join(directory, program)));

/** What keeps these rows from being measured here, with the remedy; undefined when nothing does. */
export function missing({ candidates, trials, field, pin }: Options): string | undefined {
  if (process.platform !== 'linux') return 'Linux is needed (network namespaces and its vxlan device)';
  if (process.getuid?.() !== 0) return 'root is needed (network namespaces): sudo npm run bench';
  const packages: [program: string, name: string, wanted: boolean][] = [
    ['ip', 'iproute2', true],
    ['iperf3', 'iperf3', trials.some(({ name }) => /^(tcp|bidir|to-|from-)/.test(name))],
    ['ethtool', 'ethtool', field || trials.some(({ offloads }) => offloads === false)],
    ['taskset', 'util-linux', pin],
  ];
  const wanted = packages.flatMap(([program, name, isWanted]) => (isWanted && lacks(program) ? [name] : []));
  if (wanted.length > 0) return `programs are missing: apt-get install ${wanted.join(' ')}`;
  return candidates.map(lacksBuild).find((why) => why !== undefined);
}

/** The peers that are installed, and a line for each that is not. */
export function installedPeers(): { peers: Peer[]; absent: string[] } {
  const peers = PEERS.filter(({ programs }) => !programs.some(lacks));
  const absent = PEERS.filter((peer) => !peers.includes(peer)).map(
    ({ title, package: name }) =>
      `${title} is not installed: apt-get install --no-install-recommends ${name}`,
  );
  return { peers, absent };
}
