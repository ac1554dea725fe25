/**
 * A million mutated packets through the release build, half of them each way, and some thousands through
 * the debug build. Nothing may trap or stand still; every packet gets the verdict of the naive walk and the
 * bytes of the naive segmenter; and memory that belongs to nobody stays as it was.
 *
 *   VXLANE_FUZZ_SEED=n      begins elsewhere; a failure names the seed to begin with again
 *   VXLANE_FUZZ_PACKETS=n   more of them, or fewer
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  OFFLOAD_COALESCE,
  OFFLOAD_UDP_SEGMENT,
  RECEIVE_COUNT,
  SOURCE_PORT_COUNT,
  WRITE_COUNT,
} from '../assembly/layout.ts';
import type { CounterName } from '../src/dataplane/counters.ts';
import { assertBytes } from './support/bytes.ts';
import { assertLanes, flowHash, laneOf } from './support/flow.ts';
import { concat, macBytes } from './support/frames.ts';
import { type Flow, flowOf, nextFrames } from './support/gro-traffic.ts';
import { guarded } from './support/guarded.ts';
import {
  DECAP_WORKER,
  DEFAULT,
  ENCAP_WORKER,
  HASH_SEED,
  HotPath,
  OWN_MAC,
  type TapFrame,
  VNI,
} from './support/hot-path.ts';
import { below, mutated, type Prng } from './support/mutate.ts';
import { type Arrival, coalesceNaively } from './support/naive-coalesce.ts';
import { datagramsNaively, decapNaively, type NaiveDevice } from './support/naive-decap.ts';
import { encapNaively } from './support/naive-encap.ts';
import { networkOffset, segmentNaively } from './support/naive-segment.ts';
import type { Received } from './support/received-messages.ts';
import { mulberry32 } from './support/reference.ts';

const SEED = Number(process.env.VXLANE_FUZZ_SEED ?? 20140801);
const PACKETS = Number(process.env.VXLANE_FUZZ_PACKETS ?? 1_000_000);
const ENCAP_BATCH = 128;
const SENDERS = ['10.0.0.1', '10.0.0.2', 'fd00::1'];
const FIXED_MAC = '02:00:00:00:00:0f';
const MACS = [OWN_MAC, FIXED_MAC, DEFAULT, 'ff:ff:ff:ff:ff:ff', '02:00:00:00:00:07'];

type Counts = Partial<Record<CounterName, number>>;

function add(counts: Counts, name: CounterName, amount = 1): void {
  if (amount !== 0) counts[name] = (counts[name] ?? 0) + amount;
}

const FLAGS = Uint8Array.of(8, 0, 0, 0);
const vxlan = (vni: number, frame: Uint8Array) =>
  concat(FLAGS, Uint8Array.of(vni >> 16, vni >> 8, vni, 0), frame);

async function fuzzEncap(path: HotPath, packets: number, prng: Prng): Promise<void> {
  const [one, two, none, untunnelled] = [1, 2, 3, 4].map(() => path.device({ tos: 'inherit' })) as number[];
  path.entry(one!, DEFAULT, [{ address: '10.0.0.1' }]);
  path.entry(two!, DEFAULT, [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);
  path.entry(untunnelled!, DEFAULT, [{ address: '0.0.0.0' }]);
  const devices = [one!, one!, one!, two!, none!, untunnelled!];
  const check = guarded(path, DECAP_WORKER);
  for (let done = 0, batch = 0; done < packets; done += ENCAP_BATCH, batch++) {
    path.offloads(batch % 4 === 0 ? 0 : OFFLOAD_UDP_SEGMENT);
    path.surroundings = below(prng, 256);
    const most = batch % 4 === 0 ? 512 : 1536;
    const frames: TapFrame[] = [];
    const wire: { slot: number; flow: number; bytes: Uint8Array }[] = [];
    const expected = new Map<number, Counts>(devices.map((device) => [device, {}]));
    for (let i = 0; i < ENCAP_BATCH; i++) {
      const device = devices[below(prng, devices.length)]!;
      const { frame, virtio } = mutated(prng);
      const outcome = encapNaively(frame, virtio, device !== none, most);
      const counts = expected.get(device)!;
      const copies = device === two ? 2 : 1;
      const isSuper = (virtio.gsoType & 0x7f) !== 0;
      frames.push({ frame, virtio, device });
      // What is wrong with a super-frame, or an inner IP header, shows for each remote.
      const perCopy = outcome === 'drop_short_inner_ip' || (isSuper && outcome === 'drop_bad_offload');
      if (
        device === untunnelled &&
        (typeof outcome !== 'string' || (isSuper && outcome === 'drop_bad_offload'))
      ) {
        add(counts, 'drop_no_remote');
      } else if (typeof outcome === 'string') {
        add(counts, outcome, perCopy ? copies : 1);
      } else {
        // A checksum that is completed where a mutation points may change the flow, but not where it is looked for.
        const read = isSuper ? frame : outcome[0]!;
        const slot = laneOf(read, HASH_SEED, SOURCE_PORT_COUNT, networkOffset(frame));
        const flow = flowHash(read, HASH_SEED, networkOffset(frame));
        for (let copy = 0; copy < copies; copy++) {
          for (const segment of outcome) wire.push({ slot, flow, bytes: vxlan(VNI + device - 1, segment) });
        }
        add(counts, 'encap_packets', copies * outcome.length);
      }
    }
    const { datagrams } = path.encap(frames);
    assertLanes(datagrams, wire);
    for (const [device, counts] of expected) {
      const counted = path.takeCounters(device);
      assert.deepEqual(verdictsOf(counted, 'encap_packets'), counts);
    }
    if (batch % 64 === 0) check();
  }
  check();
}

/** Drops, and what went through. */
function verdictsOf(counts: Counts, through: CounterName): Counts {
  const names = Object.keys(counts) as CounterName[];
  return Object.fromEntries(
    names
      .filter((name) => name.startsWith('drop_') || name === through || name.startsWith('fdb_'))
      .map((name) => [name, counts[name]]),
  );
}

/** One message: a mutated datagram, the next segment of a stream, or a bundle of either. */
function received(prng: Prng, devices: readonly NaiveDevice[], flows: readonly Flow[]): Received {
  const one = (): Uint8Array => {
    const { vni } = devices[prng() < 0.6 ? 0 : below(prng, devices.length)]!;
    if (prng() < 0.5) {
      const segment = vxlan(vni, nextFrames(prng, flows[below(prng, flows.length)]!, 0.1)[0]!);
      if (prng() < 0.1) segment[below(prng, 100) % segment.length]! ^= 1 << below(prng, 8);
      return segment;
    }
    const datagram = vxlan(vni, mutated(prng).frame);
    if (prng() < 0.1) datagram[below(prng, 8)]! ^= 1 << below(prng, 8);
    if (prng() < 0.3 && datagram.length > 20) datagram.set(macBytes(MACS[below(prng, MACS.length)]!), 14);
    return prng() < 0.05 ? datagram.subarray(0, below(prng, datagram.length)) : datagram;
  };
  const shared = {
    tos: prng() < 0.7 ? 0 : below(prng, 256),
    sender: SENDERS[below(prng, SENDERS.length)]!,
    truncated: prng() < 0.01,
  };
  if (prng() < 0.8) return { ...shared, bytes: one(), ...(prng() < 0.1 && { gro: below(prng, 3000) - 100 }) };
  const first = one();
  const parts = [first, ...Array.from({ length: below(prng, 6) }, () => one().subarray(0, first.length))];
  return { ...shared, bytes: concat(...parts), gro: prng() < 0.9 ? first.length : 60 + below(prng, 2000) };
}

async function fuzzDecap(path: HotPath, packets: number, prng: Prng): Promise<void> {
  const fields = [{}, { learning: true, maxaddress: 50 }, { up: false }, { learning: true, up: false }];
  const indexes = fields.map((field) => path.device(field));
  const devices: NaiveDevice[] = fields.map((field, i) => ({
    vni: VNI + indexes[i]! - 1,
    mac: OWN_MAC,
    up: true,
    learning: false,
    fdb: new Map(),
    limit: 0,
    ...('maxaddress' in field && { limit: field.maxaddress }),
    ...field,
  }));
  path.entry(indexes[1]!, FIXED_MAC, [{ address: SENDERS[0]! }]);
  devices[1]!.fdb.set(FIXED_MAC, { sender: SENDERS[0]!, fixed: true });
  const flows = Array.from({ length: 6 }, (_, i) => flowOf(prng, i + 1));
  const check = guarded(path, ENCAP_WORKER);
  for (let done = 0, batch = 0; done < packets; done += RECEIVE_COUNT, batch++) {
    path.offloads(batch % 2 === 0 ? 0 : OFFLOAD_COALESCE);
    path.surroundings = below(prng, 256);
    const datagrams = Array.from({ length: RECEIVE_COUNT }, () => received(prng, devices, flows));
    const expected = new Map<number, Counts>([0, ...indexes].map((device) => [device, {}]));
    const arrivals: Arrival[] = [];
    for (const { bytes, tos = 0, sender = '', gro, truncated } of datagrams) {
      if (truncated) add(expected.get(0)!, 'drop_truncated');
      if (truncated) continue;
      for (const datagram of datagramsNaively(bytes, gro)) {
        const { verdict, device, frame, learned } = decapNaively(datagram, sender, tos, devices);
        const index = device ? indexes[devices.indexOf(device)]! : 0;
        add(expected.get(index)!, verdict);
        if (learned) add(expected.get(index)!, learned);
        if (frame) arrivals.push({ device: index, frame });
      }
    }
    const writes = path.decap(datagrams);
    for (const [device, counts] of expected) {
      assert.deepEqual(verdictsOf(path.takeCounters(device), 'decap_packets'), counts);
    }
    const isOneCall = writes.length < WRITE_COUNT;
    const groups: number[][] | undefined =
      batch % 2 === 0 ? arrivals.map((_, i) => [i]) : isOneCall ? coalesceNaively(arrivals) : undefined;
    if (!groups) continue;
    assert.deepEqual(
      writes.map(({ frames }) => frames),
      groups.map(({ length }) => length),
    );
    for (const [i, { frame, device, frames, virtio }] of writes.entries()) {
      const arrival: Arrival = arrivals[groups[i]![0]!]!;
      assert.equal(device, arrival.device);
      if (frames > 1) {
        const cut = segmentNaively(frame, virtio)!;
        assert.equal(cut.length, frames);
        // From the addresses on: the IPv4 id before them is counted up anew.
        for (const [n, segment] of cut.entries()) {
          const merged = arrivals[groups[i]![n]!]!.frame;
          assertBytes(segment.subarray(26), merged.subarray(26));
        }
      }
      if (frames === 1) assertBytes(frame, arrival.frame);
    }
    if (batch % 64 === 0) check();
  }
  check();
}

for (const [build, packets] of [
  ['release', PACKETS],
  ['debug', Math.min(PACKETS, 20_000)],
] as const) {
  describe(`fuzz (${build}), VXLANE_FUZZ_SEED=${SEED}`, () => {
    it(`encap: ${packets / 2} mutated frames`, async () => {
      await fuzzEncap(await HotPath.open(build), packets / 2, mulberry32(SEED));
    });

    it(`decap: ${packets / 2} mutated datagrams`, async () => {
      await fuzzDecap(await HotPath.open(build), packets / 2, mulberry32(SEED + 1));
    });
  });
}
