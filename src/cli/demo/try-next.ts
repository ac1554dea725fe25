/** Three commands for another terminal, as they have to be typed on this machine. */
import { spawnSync } from 'node:child_process';
import { relative } from 'node:path';
import { PROGRAM } from './child.ts';
import type { Place } from './hosts.ts';
import { insideUserNamespace } from './mode.ts';
import { FAR, UNDERLAY, VTEP } from './plan.ts';

const BENCHMARK = 'npm run bench';

export function tryNext(socket: string, { host, pod }: Place): string[] {
  const sudo = process.env.SUDO_UID === undefined ? '' : 'sudo ';
  // Names of namespaces are known in this user namespace alone.
  const enter = insideUserNamespace() ? `nsenter -t ${process.pid} -U -m --preserve-credentials ` : sudo;
  const look = exists('ping')
    ? `ip netns exec ${pod.name} ping ${FAR.pod}`
    : exists('tcpdump')
      ? `ip netns exec ${host.name} tcpdump -nei ${UNDERLAY} -T vxlan`
      : `ip -n ${host.name} -s link show ${VTEP}`;
  return [`${sudo}${vxlane()} --socket ${socket} fdb show`, `${enter}${look}`, BENCHMARK];
}

/** @param port one end of the tunnel on the loopback interface */
export function tryNextInProcess(port: number): string[] {
  const linux = process.platform === 'linux';
  const root = process.getuid?.() === 0;
  const capture = `tcpdump -ni ${linux ? 'lo' : 'lo0'} -T vxlan udp port ${port}`;
  const more = linux && !root ? 'sudo npm start' : `${vxlane()} --help`;
  return [more, root ? capture : `sudo ${capture}`, BENCHMARK];
}

/** The command as it was started, unless it is installed. */
function vxlane(): string {
  if (!process.argv[1]?.endsWith('.js')) return 'vxlane';
  const path = relative(process.cwd(), PROGRAM);
  return `node ${path.startsWith('..') ? PROGRAM : path}`;
}

function exists(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' }).status === 0;
}
