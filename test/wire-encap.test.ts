/**
 * The same inner frames into the kernel's VTEP and into the one under test: the packets on the underlay are the same
 * byte for byte. Only the IP id, the UDP source port and the checksums that follow from them may differ, and those are
 * verified by themselves. A second round of the kernel is the control.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Bed } from './support/netns.ts';
import { layer2 } from './support/scenario.ts';
import { hexdump, numberOf } from './support/traffic-frames.ts';
import { kinds, suite } from './support/traffic-gate.ts';
import { comparable, difference, faults, network, tunnelPacket } from './support/traffic-packets.ts';
import { type NumberedFrame, numbered } from './support/traffic-samples.ts';
import { encapSamples } from './support/traffic-samples-ip.ts';
import {
  HOSTS,
  type Host,
  type Kind,
  PORT,
  type Statistics,
  startVtep,
  UNDERLAY,
  VTEP,
  type VtepOptions,
} from './support/traffic-vtep.ts';

const OFF = { tx: false, tso: false, gso: false, gro: false };
const WORKER = HOSTS[1];
const framesFor = ({ ipv6 }: VtepOptions) => numbered(encapSamples(WORKER.vtepMac, ipv6 ? 1430 : 1450));

/** Outer packets by the number of their frame, fragments behind their first. */
type Outcome = Map<number, Uint8Array[]>;

const VARIANTS: { name: string; options: VtepOptions }[] = [
  { name: 'the defaults', options: {} },
  { name: 'ttl, tos and df inherited', options: { words: 'ttl inherit tos inherit df inherit' } },
  { name: 'ttl 7, tos 0xb8, df set', options: { words: 'ttl 7 tos 0xb8 df set' } },
  { name: 'ttl 255, tos 0x03 and df unset', options: { words: 'ttl 255 tos 0x03 df unset' } },
  { name: 'noudpcsum', options: { words: 'noudpcsum' } },
  { name: 'a range of source ports', options: { words: 'srcport 100 200' } },
  { name: 'an IPv6 underlay', options: { ipv6: true } },
  {
    name: 'an IPv6 underlay, ttl and tos inherited',
    options: { ipv6: true, words: 'ttl inherit tos inherit' },
  },
  { name: 'an IPv6 underlay, ttl 7 and tos 0xb8', options: { ipv6: true, words: 'ttl 7 tos 0xb8' } },
  { name: 'an IPv6 underlay, udp6zerocsumtx', options: { ipv6: true, words: 'udp6zerocsumtx' } },
];

/** What fragments of one packet have in common. */
function fragmentKey(packet: Uint8Array): string | undefined {
  const { at, type } = network(packet);
  if (type !== 0x0800 || (((packet[at + 6] ?? 0) << 8) | (packet[at + 7] ?? 0)) === 0) return undefined;
  return Buffer.from(packet.subarray(at + 4, at + 6)).toString('hex');
}

function carriesUdp(packet: Uint8Array): boolean {
  const { at, type } = network(packet);
  return (type === 0x0800 && packet[at + 9] === 17) || (type === 0x86dd && packet[at + 6] === 17);
}

interface Run {
  outcome: Outcome;
  /** Of UDP, fragments too. */
  packets: number;
  statistics: Statistics;
}

/** @param expected waited for before the silence that ends it */
async function run(
  bed: Bed,
  hosts: [Host, Host],
  kind: Kind,
  options: VtepOptions,
  expected = 0,
): Promise<Run> {
  const sender = await startVtep(bed, hosts[0], 0, kind, { ...options, remote: true });
  try {
    return await measure(hosts, sender, options, expected);
  } finally {
    assert.equal(await sender.stopVtep(), null);
  }
}

async function measure(
  hosts: [Host, Host],
  sender: Host,
  options: VtepOptions,
  expected: number,
): Promise<Run> {
  const capture = await hosts[1].agent.capture(UNDERLAY, { direction: 'in' });
  await sender.agent.call(
    'inject',
    VTEP,
    framesFor(options).map(({ frame }) => frame),
    { paceUs: 400 },
  );
  const { frames, missed } = await capture.stop({ frames: expected, quietMs: 150 });
  sender.assertAlive();
  const statistics = sender.statistics();
  assert.equal(missed, 0);
  const result: Outcome = new Map();
  const whose = new Map<string, number>();
  for (const { data, checksumNotReady, superFrame } of frames) {
    // The hosts' own talk: ARP, group reports.
    if (!carriesUdp(data)) continue;
    assert.ok(!checksumNotReady && !superFrame, `an unfinished packet on the wire:\n${hexdump(data)}`);
    const key = fragmentKey(data);
    const packet = tunnelPacket(data);
    const number = packet ? numberOf(packet.inner) : (whose.get(key ?? '') ?? -1);
    if (packet && key !== undefined) whose.set(key, number);
    result.set(number, [...(result.get(number) ?? []), data]);
  }
  const packets = [...result.values()].reduce((sum, list) => sum + list.length, 0);
  return { outcome: result, packets, statistics };
}

function compare(frames: readonly NumberedFrame[], kernel: Outcome, other: Outcome): string[] {
  const found: string[] = [];
  for (const { name, number, frame } of [
    ...frames,
    { name: 'strays', number: -1, frame: new Uint8Array(0) },
  ]) {
    const wanted = kernel.get(number) ?? [];
    const seen = other.get(number) ?? [];
    if (wanted.length !== seen.length) {
      const dump = [...seen, frame].map((bytes) => hexdump(bytes.subarray(0, 160))).join('\n--\n');
      found.push(`${name}: ${seen.length} packets, the kernel sends ${wanted.length}\n${dump}`);
      continue;
    }
    for (const [i, packet] of wanted.entries()) {
      const where = difference(comparable(packet), comparable(seen[i]!), ['kernel', 'seen']);
      if (where !== null) found.push(`${name}: ${where}`);
    }
  }
  return found;
}

/** What is wrong with packets by themselves: outer checksums, and source ports outside `range`. */
function wrong(seen: Outcome, range: readonly [number, number]): string[] {
  const found: string[] = [];
  for (const packets of seen.values())
    for (const data of packets) {
      const packet = tunnelPacket(data);
      const report = (what: string) => found.push(`${what}\n${hexdump(data.subarray(0, 160))}`);
      if (packet && packet.port === PORT) {
        const { sourcePort } = packet;
        if (sourcePort < range[0] || sourcePort >= range[1]) report(`source port ${sourcePort}`);
      }
      for (const fault of faults(data)) if (fault !== 'UDP checksum is zero') report(fault);
    }
  return found;
}

for (const kind of kinds)
  suite(`encapsulation by ${kind}`, ['kernel', kind], (bed) => {
    let hosts: [Host, Host];
    before(async () => {
      hosts = await layer2(bed, ['none', 'none']);
      for (const host of hosts) await host.agent.call('offloads', UNDERLAY, OFF);
      // Somebody must listen, or the worker's answers (port unreachable) would stop the sender of a real socket.
      const worker = { namespace: hosts[1].namespace, agent: hosts[1].agent };
      await startVtep(bed, worker, 1, 'kernel');
      worker.namespace.ip(
        `link add other type vxlan id 2 local ${WORKER.underlay6} dstport ${PORT}`,
        'link set other up',
      );
    });

    for (const { name, options } of VARIANTS) {
      let kernel: Run;
      let seen: Run;

      test(`sends what the kernel sends for each frame: ${name}`, async (t) => {
        const frames = framesFor(options);
        kernel = await run(bed, hosts, 'kernel', options);
        t.diagnostic(`${frames.length} frames, of which the kernel sends ${kernel.outcome.size}`);
        assert.ok(kernel.outcome.size > frames.length / 2, `the kernel sends only ${kernel.outcome.size}`);
        seen = await run(bed, hosts, kind, options, kernel.packets);
        const range = options.words?.includes('srcport') ? ([100, 200] as const) : ([32768, 60999] as const);
        const differences = [...compare(frames, kernel.outcome, seen.outcome), ...wrong(seen.outcome, range)];
        assert.equal(differences.length, 0, `${differences.length} differences\n${differences.join('\n')}`);
      });

      test(`counts what the kernel counts for these frames: ${name}`, () => {
        const { packets = 0, dropped = 0, ...others } = kernel.statistics.tx;
        // The kernel counts a frame of nothing but an Ethernet header as dropped, though it sends it.
        const sent = ({ frame, number }: NumberedFrame) => frame.length === 14 && kernel.outcome.has(number);
        const bare = framesFor(options).filter(sent).length;
        const expected = { ...others, packets: packets + bare, dropped: dropped - bare };
        assert.deepEqual(seen.statistics.tx, kind === 'kernel' ? kernel.statistics.tx : expected);
      });
    }
  });
