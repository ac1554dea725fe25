/**
 * A VTEP of this process and a far host, with a router between them that cuts what comes whole: what the far host sees
 * is what a wire would carry.
 *
 *   here - u0 ===== west - router - east ===== u0 - far
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createVtep } from '../../src/create-vtep.ts';
import type { DeviceConfig, Vtep } from '../../src/types.ts';
import { deviceConfig } from './device-config.ts';
import { ethernet, ipv4, ipv6, vlan } from './frames.ts';
import { tcp, tcpTimestamps } from './messages.ts';
import type { Bed, Namespace } from './netns.ts';
import { enter, until } from './own-namespace.ts';
import { mulberry32, randomBytes } from './reference.ts';
import { injectSuperFrames, type SuperFrame } from './super-frames.ts';
import { Agent, type RemoteCapture } from './traffic.ts';
import { superHeader } from './virtio.ts';

export const PORT = 4789;
export const VNI = 42;
export const MAC = '02:aa:00:00:00:01';
export const FAR_MAC = '02:aa:00:00:00:02';
/** TCP payload of a segment. */
export const SEGMENT = 1300;
const SLOW = { gso: false, tso: false, tx: false };

export interface TunnelWorld {
  here: Namespace;
  far: Namespace;
  agents: { here: Agent; far: Agent };
  vtep: Vtep;
  /** What the VTEP has logged. */
  log: string[];
  counters(): Record<string, number>;
  /** Of tunnel GSO, in the status. */
  state(): string;
  underlayTaps(): string[];
  /** Adds vx0 and takes it up. */
  add(differences?: Partial<DeviceConfig>): Promise<void>;
  /** The first datagram of a source port opens its socket; until then super-frames are split. */
  open(frames: readonly SuperFrame[]): Promise<void>;
}

export async function tunnelWorld(bed: Bed): Promise<TunnelWorld> {
  const here = bed.namespace('here');
  const router = bed.namespace('router');
  const far = bed.namespace('far');
  for (const namespace of [here, router, far]) {
    namespace.sysctl({ 'net.ipv6.conf.default.accept_dad': 0, 'net.ipv6.conf.default.addr_gen_mode': 1 });
  }
  router.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  const links = [
    [here, 'west', '02:bb:00:00:00:0', 1],
    [far, 'east', '02:cc:00:00:00:0', 2],
  ] as const;
  for (const [namespace, end, mac] of links) {
    namespace.ip(
      `link add u0 address ${mac}1 mtu 1600 type veth peer name ${end} address ${mac}2 mtu 1600 netns ${router.name}`,
    );
  }
  const ends = [
    [here, 'u0', '10.1.0.1/24', 'fd01::1/64'],
    [router, 'west', '10.1.0.2/24', 'fd01::2/64'],
    [router, 'east', '10.2.0.2/24', 'fd02::2/64'],
    [far, 'u0', '10.2.0.1/24', 'fd02::1/64'],
  ] as const;
  for (const [namespace, name, address, address6] of ends) {
    namespace.ip(
      `addr add ${address} dev ${name}`,
      `addr add ${address6} dev ${name} nodad`,
      `link set ${name} up`,
    );
  }
  // Nobody has a link-local address to ask for neighbours from.
  for (const [namespace, end, mac, net] of links) {
    namespace.ip(
      `neigh add fd0${net}::2 lladdr ${mac}2 dev u0 nud permanent`,
      `route add default via 10.${net}.0.2`,
      `route add ::/0 via fd0${net}::2`,
    );
    router.ip(`neigh add fd0${net}::1 lladdr ${mac}1 dev ${end} nud permanent`);
  }
  const agents = { here: await Agent.start(here), far: await Agent.start(far) };
  const cutter = await Agent.start(router);
  await cutter.call('offloads', 'east', SLOW);
  enter(here);
  const log: string[] = [];
  const vtep = await createVtep({ logger: (level, message) => log.push(`${level}: ${message}`) });
  const counters = () => vtep.status().counters.vx0 ?? {};
  return {
    ...{ here, far, agents, vtep, log, counters },
    state: () => vtep.status().offloads['tunnel-gso']!,
    underlayTaps: () => readdirSync('/proc/sys/net/ipv4/conf').filter((name) => name.startsWith('vxgso')),
    async add(differences = {}) {
      const fixed = { name: 'vx0', id: VNI, address: MAC, dstport: PORT, mtu: 1500, gso: 'tunnel' } as const;
      await vtep.addDevice(deviceConfig({ ...fixed, ...differences }));
      await vtep.setDevice('vx0', { up: true });
    },
    async open(frames) {
      injectSuperFrames('vx0', frames);
      await until('sent', () => (counters().encap_packets ?? 0) > 0, 10_000);
      await sleep(50);
    },
  };
}

/** What has been captured behind the router, as many as expected at least: finished packets, nothing missed. */
export async function wireOf(capture: RemoteCapture, expected: number): Promise<Uint8Array[]> {
  const { frames, missed } = await capture.stop({ frames: expected, quietMs: 150 });
  assert.equal(missed, 0);
  for (const { superFrame, checksumNotReady } of frames) assert.ok(!superFrame && !checksumNotReady);
  return frames.map(({ data }) => data);
}

/** Super-frames of all kinds. */
export function superFrames(): SuperFrame[] {
  const options = tcpTimestamps(7, 8);
  const stream = (bytes: number, flags = 'A') =>
    tcp({ checksum: 'partial', options, flags, sequence: 0xfffff000 }, randomBytes(mulberry32(bytes), bytes));
  const macs = { source: MAC, destination: FAR_MAC };
  const id = { identification: 0xfffe };
  return [
    ethernet(macs, ipv4({ ...id, dontFragment: true }, stream(20_000, 'PA'))),
    ethernet(macs, ipv4({ ...id, tos: 0xb9, ttl: 7 }, stream(3001, 'FA'))),
    ethernet(macs, ipv4({ tos: 2, options: new Uint8Array(8).fill(1) }, stream(60_000))),
    ethernet(macs, ipv6({ trafficClass: 3, hopLimit: 9, flowLabel: 77 }, stream(9000, 'PA'))),
    ethernet(macs, vlan({ id: 5 }, ipv4({ dontFragment: true }, stream(5000)))),
    ethernet(macs, vlan({ id: 6 }, ipv6({}, stream(5000)))),
  ].map((frame) => ({ frame, virtio: superHeader(frame, SEGMENT) }));
}
