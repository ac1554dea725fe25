/** A node of a flannel network that is `vxlane flannel`, and what it has to have programmed. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SUBNETS } from './flannel-network.ts';
import { type NodeOptions, NodeProcess } from './kernel-node.ts';
import { type Namespace, REPOSITORY } from './netns.ts';

const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');

export interface VxlaneOptions extends NodeOptions {
  stateDirectory: string;
  /** Control socket. */
  socket: string;
}

export function startVxlaneNode(namespace: Namespace, options: VxlaneOptions): NodeProcess {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run "npm run build" first`);
  const { endpoints, iface, subnetFile, stateDirectory, socket, flags = [] } = options;
  const words = [
    ...[PROGRAM, '--socket', socket, 'flannel', '--etcd-endpoints', endpoints.join(',')],
    ...['--iface', iface, '--subnet-file', subnetFile, '--state-dir', stateDirectory, ...flags],
  ];
  return new NodeProcess(namespace, words, /our lease is/);
}

/** Runs the command line against the node and reads its JSON. */
export function ask(namespace: Namespace, socket: string, ...words: string[]) {
  return JSON.parse(namespace.run(process.execPath, PROGRAM, '--socket', socket, '-j', ...words) || '[]');
}

/** What a node holds of its peers, one line each: routes into the network, permanent neighbours, FDB entries. */
export interface Programmed {
  routes: string[];
  neighbours: string[];
  fdb: string[];
}

/**
 * What the leases in etcd ask of a node whose own subnet is left out. A lease that is no vxlan lease asks for nothing.
 * @param leases keys and values under `subnets`
 */
export function desired(leases: Record<string, string>, own: string): Programmed {
  const result: Programmed = { routes: [], neighbours: [], fdb: [] };
  for (const [key, text] of Object.entries(leases)) {
    const subnet = key.slice(SUBNETS.length + 1).replace('-', '/');
    if (subnet === own) continue;
    const { PublicIP: publicIp, BackendData: data } = JSON.parse(text);
    const gateway = subnet.split('/')[0]!;
    result.routes.push(`${subnet} via ${gateway} dev flannel.1 onlink`);
    result.neighbours.push(`${gateway} lladdr ${data.VtepMAC} PERMANENT`);
    result.fdb.push(`${data.VtepMAC} dst ${publicIp}`);
  }
  return sorted(result);
}

/** Every route into 10.244.0.0/16 but those that the kernel makes of addresses, every neighbour of flannel.1, its FDB. */
export function programmed(namespace: Namespace, socket: string): Programmed {
  const routes = namespace.ipJson('route', 'show', 'table', 'all') as {
    dst: string;
    gateway?: string;
    dev?: string;
    flags: string[];
    protocol?: string;
    type?: string;
  }[];
  const neighbours = namespace.ipJson('neigh', 'show', 'dev', 'flannel.1') as {
    dst: string;
    lladdr?: string;
    state: string[];
  }[];
  const fdb = ask(namespace, socket, 'fdb', 'show', 'dev', 'flannel.1') as { mac: string; dst?: string }[];
  return sorted({
    routes: routes
      .filter(({ dst, protocol }) => dst.startsWith('10.244.') && protocol !== 'kernel')
      .map(({ dst, gateway, dev, flags }) => `${dst} via ${gateway} dev ${dev} ${flags.join(' ')}`),
    neighbours: neighbours
      .filter(({ dst }) => !dst.includes(':'))
      .map(({ dst, lladdr, state }) => `${dst} lladdr ${lladdr} ${state.join(' ')}`),
    fdb: fdb.map(({ mac, dst }) => `${mac} dst ${dst}`),
  });
}

function sorted({ routes, neighbours, fdb }: Programmed): Programmed {
  return { routes: routes.sort(), neighbours: neighbours.sort(), fdb: fdb.sort() };
}

/** @throws AssertionError with the difference when anything is missing or left over */
export function assertProgrammed(namespace: Namespace, socket: string, wanted: Programmed): void {
  assert.deepEqual(programmed(namespace, socket), wanted);
}
