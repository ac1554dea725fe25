/**
 * Hand-made datagrams into a VTEP: what comes out of flannel.1 is what comes out of the kernel's for the same
 * datagram, byte for byte, and nothing where the kernel gives nothing. The kernel's answers are taken first, in the same
 * place and by the same means; a second round of the kernel is the control.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Bed } from './support/netns.ts';
import { layer2 } from './support/scenario.ts';
import { ethernet, hexdump, numberedMac, numberOf, pattern, vxlan } from './support/traffic-frames.ts';
import { kinds, suite } from './support/traffic-gate.ts';
import { type Case, decapCases, ends, outerFrames } from './support/traffic-outer.ts';
import { difference } from './support/traffic-packets.ts';
import {
  type Host,
  type Kind,
  type Statistics,
  startVtep,
  UNDERLAY,
  VTEP,
  type VtepOptions,
} from './support/traffic-vtep.ts';

const SENTINEL = 0xfffe;
const [LOOKS, LOOK_MS] = [500, 20];

/** The frames that came out, by number; those that bear none under -1. */
type Outcome = Map<number, Uint8Array[]>;

interface Variant {
  name: string;
  options: VtepOptions;
  /** How the datagrams get on the wire. */
  by: 'packet socket' | 'UDP socket';
}

const VARIANTS: Variant[] = [
  { name: 'IPv4, from a packet socket', options: {}, by: 'packet socket' },
  { name: 'IPv4, from a UDP socket', options: {}, by: 'UDP socket' },
  { name: 'IPv4, learning', options: { learning: true }, by: 'packet socket' },
  { name: 'IPv6, from a packet socket', options: { ipv6: true }, by: 'packet socket' },
  { name: 'IPv6, from a UDP socket', options: { ipv6: true }, by: 'UDP socket' },
  {
    name: 'IPv6, zero checksums accepted',
    options: { ipv6: true, words: 'udp6zerocsumrx' },
    by: 'packet socket',
  },
];

async function send(from: Host, entries: readonly Case[], { options, by }: Variant): Promise<void> {
  const ipv6 = options.ipv6 ?? false;
  // Slow enough for each to be received by itself: what merging may do to packets is not the subject here.
  const paceUs = 400;
  if (by === 'packet socket') {
    const frames = entries.flatMap((entry) => outerFrames(entry, ipv6));
    await from.agent.call('inject', UNDERLAY, frames, { paceUs });
  } else {
    const datagrams = entries.map(({ datagram, tos = 0 }) => ({ data: datagram, tos }));
    await from.agent.call('datagrams', datagrams, { ...ends(ipv6), paceUs });
  }
}

function casesOf({ options, by }: Variant): { number: number; entry: Case }[] {
  const family = options.ipv6 ? 6 : 4;
  return decapCases()
    .map((entry, i) => ({ number: i + 1, entry }))
    .filter(({ entry }) => (entry.only ?? family) === family)
    .filter(({ entry }) => by === 'packet socket' || entry.packets === undefined);
}

interface Run {
  outcome: Outcome;
  statistics: Statistics;
}

async function run(bed: Bed, hosts: [Host, Host], kind: Kind, variant: Variant): Promise<Run> {
  const receiver = await startVtep(bed, hosts[1], 1, kind, variant.options);
  try {
    return await measure(hosts, receiver, variant);
  } finally {
    assert.equal(await receiver.stopVtep(), null);
  }
}

async function measure(hosts: [Host, Host], receiver: Host, variant: Variant): Promise<Run> {
  const capture = await receiver.agent.capture(VTEP, { direction: 'in' });
  // A last good datagram shows that the VTEP has survived all the others.
  const last = ethernet({ to: 'ff:ff:ff:ff:ff:ff', from: numberedMac(SENTINEL), type: 0x88b5 }, pattern(46));
  const cases = casesOf(variant).map(({ entry }) => entry);
  await send(hosts[0], [...cases, { name: 'sentinel', datagram: vxlan(1, last) }], variant);
  const come: Uint8Array[] = [];
  for (let looks = 0; looks < LOOKS && !come.some((data) => numberOf(data) === SENTINEL); looks++) {
    if (looks > 0) await new Promise((done) => setTimeout(done, LOOK_MS));
    come.push(...(await capture.take()).map(({ data }) => data));
  }
  const { frames, missed } = await capture.stop({ quietMs: 150 });
  come.push(...frames.map(({ data }) => data));
  receiver.assertAlive();
  const statistics = receiver.statistics();
  assert.equal(missed, 0);
  const result: Outcome = new Map();
  for (const data of come) {
    const number = numberOf(data);
    result.set(number, [...(result.get(number) ?? []), data]);
  }
  assert.equal(result.get(SENTINEL)?.length, 1, 'the good datagram at the end did not arrive');
  return { outcome: result, statistics };
}

function compare(variant: Variant, kernel: Outcome, other: Outcome): string[] {
  const found: string[] = [];
  const names = new Map(casesOf(variant).map(({ number, entry }) => [number, entry]));
  const sorted = (frames: Uint8Array[] = []) => [...frames].sort((a, b) => Buffer.compare(a, b));
  for (const number of new Set([...kernel.keys(), ...other.keys()])) {
    const [wanted, seen] = [sorted(kernel.get(number)), sorted(other.get(number))];
    const entry = names.get(number);
    const title = entry?.name ?? (number < 0 ? 'frames without a number' : `frame ${number}`);
    if (wanted.length !== seen.length) {
      const sent = entry ? `\nsent\n${hexdump(entry.datagram.subarray(0, 160))}` : '';
      found.push(`${title}: ${seen.length} frames, the kernel gives ${wanted.length}${sent}`);
    } else
      for (const [i, frame] of wanted.entries()) {
        const where = difference(frame, seen[i]!, ['kernel', 'seen']);
        if (where !== null) found.push(`${title}: ${where}`);
      }
  }
  return found;
}

/** Drops are left out: the kernel adds to its device's those of the stack behind it, which a TAP counts by itself. */
function miscounted(kernel: Run, seen: Run): string[] {
  return Object.entries(kernel.statistics.rx)
    .filter(([key, value]) => key !== 'dropped' && seen.statistics.rx[key] !== value)
    .map(([key, value]) => `rx ${key}: ${seen.statistics.rx[key]}, the kernel counts ${value}`);
}

for (const kind of kinds)
  suite(`decapsulation by ${kind}`, ['kernel', kind], (bed) => {
    let hosts: [Host, Host];
    before(async () => {
      hosts = await layer2(bed, ['none', 'none']);
    });

    for (const variant of VARIANTS)
      test(`gives and counts what the kernel does for each datagram: ${variant.name}`, async (t) => {
        const kernel = await run(bed, hosts, 'kernel', variant);
        const delivered = [...kernel.outcome.values()].reduce((sum, frames) => sum + frames.length, 0);
        const sent = casesOf(variant).length;
        t.diagnostic(`${sent} datagrams, of which the kernel delivers ${delivered - 1}`);
        // A table of which everything or nothing is delivered compares nothing.
        assert.ok(delivered > sent / 4 && delivered < sent, `${delivered} of ${sent}`);
        const seen = await run(bed, hosts, kind, variant);
        const differences = compare(variant, kernel.outcome, seen.outcome);
        differences.push(...miscounted(kernel, seen));
        assert.equal(differences.length, 0, `${differences.length} differences\n${differences.join('\n')}`);
      });
  });
