/**
 * Two nodes and a pod on each: ours runs `vxlane flannel` on leases from a file, the other is the kernel's own vxlan
 * device, which is programmed by hand as flanneld does.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkStatus } from '../../src/flannel/network-status.ts';
import { type Bed, type Namespace, REPOSITORY } from './netns.ts';

const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
export const OURS = { address: '192.0.2.1', network: '10.244.1.0', pod: '10.244.1.2' };
export const KERNEL = {
  ...{ address: '192.0.2.2', network: '10.244.2.0', pod: '10.244.2.2' },
  mac: '36:3c:de:36:68:58',
};
const READY_MS = 20_000;

export class World {
  readonly ours: Namespace;
  readonly kernel: Namespace;
  readonly pods: { ours: Namespace; kernel: Namespace };
  readonly directory: string;
  readonly #socket: string;
  #node: ChildProcess | undefined;
  /** Flags of where the leases come from. */
  source: readonly string[];
  /** What the node has said, since it was started. */
  said = '';

  constructor(bed: Bed) {
    this.ours = bed.namespace('ours');
    this.kernel = bed.namespace('kernel');
    this.pods = { ours: bed.namespace('pod-o'), kernel: bed.namespace('pod-k') };
    this.directory = bed.directory();
    this.#socket = join(this.directory, 'vxlane.sock');
    this.source = ['--lease-file', this.leaseFile];
    this.addUnderlay();
    for (const side of ['ours', 'kernel'] as const) {
      const { pod, network } = side === 'ours' ? OURS : KERNEL;
      const gateway = network.replace(/0$/, '1');
      this[side].sysctl({ 'net.ipv4.ip_forward': 1 });
      this[side].ip(
        `link add pod type veth peer name eth0 netns ${this.pods[side].name}`,
        `addr add ${gateway}/24 dev pod`,
        'link set pod up',
      );
      this.pods[side].ip(
        `addr add ${pod}/24 dev eth0`,
        'link set eth0 mtu 1450 up',
        `route add default via ${gateway}`,
      );
    }
    this.kernel.ip(
      `link add flannel.1 address ${KERNEL.mac} mtu 1450 type vxlan id 1 dev eth0 local ${KERNEL.address} dstport 8472 nolearning`,
      `addr add ${KERNEL.network}/32 dev flannel.1`,
      'link set flannel.1 up',
    );
    this.writeLeases();
  }

  /** Also again, after our end was deleted. */
  addUnderlay(): void {
    this.ours.ip(
      `link add eth0 type veth peer name ours0 netns ${this.kernel.name}`,
      `addr add ${OURS.address}/24 dev eth0`,
      'link set eth0 up',
    );
    if (!this.kernel.ipJson('link', 'show').some((link: { ifname: string }) => link.ifname === 'eth0'))
      this.kernel.ip(
        'link add eth0 type bridge',
        `addr add ${KERNEL.address}/24 dev eth0`,
        'link set eth0 up',
      );
    this.kernel.ip('link set ours0 master eth0 up');
  }

  get leaseFile(): string {
    return join(this.directory, 'leases.yaml');
  }

  get subnetFile(): string {
    return join(this.directory, 'run/subnet.env');
  }

  writeLeases(text: string = leases()): void {
    writeFileSync(`${this.leaseFile}.new`, text);
    renameSync(`${this.leaseFile}.new`, this.leaseFile);
  }

  /** Resolves when the node is running. */
  async start(...flags: string[]): Promise<number> {
    this.said = '';
    const args = [
      ...['flannel', ...this.source, '-iface', 'eth0', '--reconcile-interval=1'],
      ...['--subnet-file', this.subnetFile, '--state-dir', join(this.directory, 'state')],
      ...['--socket', this.#socket, ...flags],
    ];
    const begun = performance.now();
    this.#node = this.ours.spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const hear = (chunk: Buffer) => {
      this.said += chunk.toString();
    };
    this.#node.stdout?.on('data', hear);
    this.#node.stderr?.on('data', hear);
    await this.until(
      'the node runs',
      () => existsSync(this.#socket) && this.status().phase === 'running',
      READY_MS,
    );
    return performance.now() - begun;
  }

  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#node?.once('exit', resolve));
    this.#node?.kill('SIGKILL');
    await gone;
  }

  status(): NetworkStatus {
    const text = this.ours.run(
      process.execPath,
      PROGRAM,
      'flannel',
      'status',
      '-j',
      '--socket',
      this.#socket,
    );
    return JSON.parse(text).networks[0];
  }

  text(): string {
    return this.ours.run(process.execPath, PROGRAM, 'flannel', 'status', '--socket', this.#socket);
  }

  subnetEnv(): string {
    return readFileSync(this.subnetFile, 'utf8');
  }

  /** What flanneld does of a lease with our subnet. */
  program(mac: string, address: string = OURS.address): void {
    this.kernel.ip(`neigh replace ${OURS.network} lladdr ${mac} dev flannel.1 nud permanent`);
    this.kernel.run('bridge', 'fdb', 'replace', mac, 'dev', 'flannel.1', 'dst', address);
    this.kernel.ip(`route replace ${OURS.network}/24 via ${OURS.network} dev flannel.1 onlink`);
  }

  /** Both ways, pod to pod. Throws when one way nothing comes back. */
  ping(): void {
    const flags = ['-c', '1', '-W', '2', '-s', '1000'];
    this.pods.ours.run('ping', ...flags, KERNEL.pod);
    this.pods.kernel.run('ping', ...flags, OURS.pod);
  }

  /** What the device has: MAC, MTU, and the routes that lead through it. */
  device(): { mac: string; mtu: number; routes: string[] } | undefined {
    const links = this.ours.ipJson('link', 'show') as { ifname: string; address: string; mtu: number }[];
    const link = links.find(({ ifname }) => ifname === 'flannel.1');
    if (link === undefined) return undefined;
    const routes = this.ours.ipJson('route', 'show', 'dev', 'flannel.1') as { dst: string }[];
    return { mac: link.address, mtu: link.mtu, routes: routes.map(({ dst }) => dst).sort() };
  }

  async until(what: string, holds: () => boolean, milliseconds = 15_000): Promise<void> {
    const deadline = performance.now() + milliseconds;
    let failure: unknown;
    for (;;) {
      try {
        if (holds()) return;
      } catch (error) {
        failure = error;
      }
      if (performance.now() > deadline)
        throw new Error(`not within ${milliseconds} ms: ${what}: ${failure ?? ''} ${this.said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The file of leases: the kernel's node, and others. */
export function leases(...others: string[]): string {
  return `config:
  Network: 10.244.0.0/16
  Backend: { Type: vxlan }
subnet: ${OURS.network}/24
leases:
  - { name: kernel, publicIp: ${KERNEL.address}, subnet: ${KERNEL.network}/24, mac: "${KERNEL.mac}" }
${others.map((one) => `  - ${one}\n`).join('')}`;
}
