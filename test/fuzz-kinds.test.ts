/**
 * Mutated packets through devices of every kind: external, with group policy and remote checksums, GPE, proxy and route
 * short circuit, bridged; with paths that are asked for, end in a loop, lead to this host or are narrow. Nothing may
 * trap or stand still or be written where it doesn't belong; each copy of a frame has exactly one outcome; what goes
 * out is what the naive segmenter makes, and virtio headers that come out fit their frames.
 *
 *   VXLANE_FUZZ_SEED=n      begins elsewhere; a failure names the seed to begin with again
 *   VXLANE_FUZZ_PACKETS=n   more of them, or fewer
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NTF_ROUTER, OFFLOAD_COALESCE, OFFLOAD_UDP_SEGMENT, RECEIVE_COUNT } from '../assembly/layout.ts';
import type { CounterName } from '../src/dataplane/counters.ts';
import { drainEvents } from '../src/dataplane/events.ts';
import { parseAddress, parseMac } from '../src/dataplane/fdb-text.ts';
import { Neighbours } from '../src/dataplane/neighbours.ts';
import { assertBytes } from './support/bytes.ts';
import { concat, ethernet, rawPacket } from './support/frames.ts';
import { flowOf, nextFrames } from './support/gro-traffic.ts';
import { guarded } from './support/guarded.ts';
import { DECAP_WORKER, DEFAULT, ENCAP_WORKER, HotPath, type Sent } from './support/hot-path.ts';
import { below, mutated, type Prng } from './support/mutate.ts';
import { datagramsNaively } from './support/naive-decap.ts';
import { encapNaively } from './support/naive-encap.ts';
import { segmentNaively } from './support/naive-segment.ts';
import type { Received } from './support/received-messages.ts';
import { mulberry32 } from './support/reference.ts';
import type { VirtioHeader } from './support/virtio.ts';

const SEED = Number(process.env.VXLANE_FUZZ_SEED ?? 19810901);
const PACKETS = Number(process.env.VXLANE_FUZZ_PACKETS ?? 200_000);
const BATCH = 64;
const LISTENER_EXTERNAL = 2;
const LISTENER_GBP = 3;
const LISTENER_GPE = 4;
const HERE = '10.0.1.1';
const ROUTER = '02:00:00:00:00:02';
const HOST = '02:00:00:00:00:33';
/** Where frames may go: out, to this host, to nobody, in circles, through a narrow path. */
const REMOTES = ['10.0.0.1', HERE, '0.0.0.0', '10.0.2.1', '10.0.3.1', '10.0.4.1'];
const COPIES = 3;
/** Packets that take every branch, whatever the seed. */
const ENOUGH = 50_000;

type Counts = Partial<Record<CounterName, number>>;
type Kind = 'external' | 'gbp' | 'gpe' | 'proxy' | 'bridged';

interface Fuzzed {
  kind: Kind;
  device: number;
  /** Remotes that each of its frames goes to. */
  copies: number;
}

/** Outcomes of a frame, whatever number of remotes it has. */
const OF_FRAMES: readonly CounterName[] = [
  'drop_short_frame',
  'drop_unmapped_vlan',
  'drop_unknown_protocol',
  'drop_no_target',
  'drop_short_request',
  'proxy_replies',
  'proxy_swallowed',
];
const OF_COPIES: readonly CounterName[] = [
  'drop_short_inner_ip',
  'drop_no_remote',
  'drop_route_loop',
  'drop_unknown_local_vni',
];

function sum(counts: Counts, names: readonly CounterName[]): number {
  return names.reduce((total, name) => total + (counts[name] ?? 0), 0);
}

/** Every copy of every frame of a device has one outcome. */
function assertOutcomes(counts: Counts, frames: number, copies: number): void {
  const known = [...OF_FRAMES, ...OF_COPIES, 'drop_bad_offload'];
  for (const name of Object.keys(counts))
    if (name.startsWith('drop_') && !name.includes('decap')) assert.ok(known.includes(name), name);
  const packets = (counts.encap_packets ?? 0) - (counts.segments_sent ?? 0);
  const passed = packets + (counts.super_frames_split ?? 0) + sum(counts, OF_COPIES);
  // What is wrong with a checksum is wrong with the frame; with a super-frame, it shows for each copy.
  const bad = counts.drop_bad_offload ?? 0;
  const left = copies * (frames - sum(counts, OF_FRAMES)) - passed - bad;
  const wrongFrames = copies === 1 ? 0 : left / (copies - 1);
  if (copies === 1) assert.equal(left, 0, JSON.stringify(counts));
  assert.ok(Number.isInteger(wrongFrames) && wrongFrames >= 0 && wrongFrames <= bad, JSON.stringify(counts));
}

/** Every branch has been taken: a fuzz test that goes nowhere finds nothing. */
function assertSeen(seen: Counts, names: readonly CounterName[]): void {
  for (const name of names) assert.ok(seen[name], `${name} has been seen`);
}

function add(seen: Counts, counts: Counts): void {
  for (const [name, count] of Object.entries(counts) as [CounterName, number][])
    seen[name] = (seen[name] ?? 0) + count;
}

/** One device of each kind that sends to one remote, and one that sends to three. */
function devicesOf(path: HotPath, prng: Prng): Fuzzed[] {
  const neighbours = new Neighbours(path.engine.memory);
  let vni = 100;
  let next = 0;
  let here = 0;
  const remotes = (copies: number) =>
    Array.from({ length: copies }, () => {
      const address = REMOTES[next++ % REMOTES.length]!;
      // Its own VNI, one that nobody has, or perhaps another's.
      const vni = [undefined, 0xffffff, 100 + below(prng, 40)][address === HERE ? here++ % 3 : 0];
      return { address, ...(vni !== undefined && { vni }) };
    });
  return [1, 1, COPIES, COPIES].flatMap((copies) => {
    const make = (kind: Kind, fields: NonNullable<Parameters<HotPath['device']>[0]>): Fuzzed => {
      // What is learned from a bypass has one remote.
      const learning = copies === 1;
      const device = path.device({ vni: vni++, learning, tos: 'inherit', ifindex: 50, ...fields });
      if (kind !== 'external') path.entry(device, DEFAULT, remotes(copies));
      return { kind, device, copies };
    };
    const external = make('external', {
      features: { external: true, localbypass: true, bridged: true },
      listener: LISTENER_EXTERNAL,
    });
    for (const vlan of copies === 1 ? [0, 5, 7] : [0, 7, 8]) {
      const domain = path.vni(external.device, {
        vni: vni++,
        vlan: vlan || 4000,
        pvid: vlan === 0,
        untagged: vlan === 7,
        listener: LISTENER_EXTERNAL,
      });
      path.entry(domain, DEFAULT, remotes(copies));
    }
    const proxy = make('proxy', { features: { proxy: true, rsc: true, l2miss: true, l3miss: true } });
    neighbours.set(proxy.device, parseAddress('10.0.0.2')!, parseMac(HOST)!, true);
    neighbours.set(proxy.device, parseAddress('10.244.2.2')!, parseMac(HOST)!, true);
    path.entry(proxy.device, ROUTER, remotes(copies), false, NTF_ROUTER);
    path.entry(proxy.device, HOST, remotes(copies));
    return [
      external,
      make('gbp', {
        features: { gbp: true, remcsumtx: true, remcsumrx: true, localbypass: true },
        listener: LISTENER_GBP,
      }),
      make('gpe', { features: { gpe: true, localbypass: true }, listener: LISTENER_GPE }),
      proxy,
      make('bridged', { features: { bridged: true, localbypass: true }, df: 'inherit' }),
    ];
  });
}

/** The frame that the walk has in hand: covered, or without its tag; and its virtio header. */
function atHand(kind: Kind, frame: Uint8Array, virtio: VirtioHeader): [Uint8Array, VirtioHeader] {
  const moved = (bytes: number): VirtioHeader => ({
    ...virtio,
    checksumStart: virtio.flags & 1 ? (virtio.checksumStart + bytes) & 0xffff : virtio.checksumStart,
  });
  if (kind === 'gpe' && frame.length > 0) {
    const type = frame[0]! >> 4 === 6 ? 0x86dd : 0x0800;
    const cover = ethernet({ source: DEFAULT, destination: DEFAULT }, rawPacket(type, new Uint8Array(frame)));
    return [cover, moved(14)];
  }
  const isTagged = kind === 'external' && frame.length >= 18 && frame[12] === 0x81 && frame[13] === 0;
  return isTagged ? [concat(frame.subarray(0, 12), frame.subarray(16)), moved(-4)] : [frame, virtio];
}

/** What went out for one frame is what the naive segmenter makes of it, for each remote. */
function assertWire(kind: Kind, frame: Uint8Array, virtio: VirtioHeader, sent: Sent, most: number): void {
  if (sent.datagrams.length === 0) return;
  const [inHand, moved] = atHand(kind, frame, virtio);
  // A checksum that begins in the MACs changes with them.
  if (kind === 'proxy' && (virtio.flags & 1) !== 0 && virtio.checksumStart < 12) return;
  // The frame as it is, where the far end completes the checksum.
  const isLeft = (sent.datagrams[0]!.bytes[1]! & 0x20) !== 0;
  const wire = isLeft ? [inHand] : encapNaively(inHand, moved, true, most);
  assert.ok(typeof wire !== 'string', `nothing should go out: ${String(wire)}`);
  assert.equal(sent.datagrams.length % wire.length, 0);
  // The proxy's device writes new MACs; a cover stays behind.
  const skipped = kind === 'gpe' ? 14 : kind === 'proxy' ? 12 : 0;
  const headers = kind === 'proxy' ? 8 + 12 : 8;
  for (const [i, { bytes }] of sent.datagrams.entries())
    assertBytes(bytes.subarray(headers), wire[i % wire.length]!.subarray(skipped));
}

function fuzzEncap(path: HotPath, packets: number, prng: Prng): void {
  const { paths } = path;
  paths.wanted = true;
  paths.routes.set(HERE, { local: true });
  paths.routes.set('10.0.2.1', { out: 50 });
  paths.routes.set('10.0.3.1', { mtu: 700 });
  paths.routes.set('10.0.4.1', { mtu: 49 });
  const devices = devicesOf(path, prng);
  const seen: Counts = {};
  const check = guarded(path, DECAP_WORKER);
  for (let done = 0, batch = 0; done < packets; batch++) {
    const most = batch % 4 === 0 ? 512 : 1536;
    path.offloads(batch % 4 === 0 ? 0 : OFFLOAD_UDP_SEGMENT);
    path.surroundings = below(prng, 256);
    paths.clock = batch * 37;
    if (prng() < 0.05) paths.change();
    const { kind, device, copies } = devices[below(prng, devices.length)]!;
    const frames = Array.from({ length: prng() < 0.8 ? 1 : BATCH }, () => {
      const { frame, virtio } = mutated(prng);
      const isPacket = kind === 'gpe' && prng() < 0.9 && frame.length >= 14;
      return { frame: isPacket ? frame.subarray(14) : frame, virtio, device };
    });
    done += frames.length;
    const sent = path.encap(frames);
    const all = new Map(devices.map((one) => [one.device, path.takeCounters(one.device)]));
    for (const counts of all.values()) add(seen, counts);
    assertOutcomes(all.get(device)!, frames.length, copies);
    const others = [...all].filter(([index]) => index !== device).map(([, counts]) => counts);
    for (const counts of others) assert.equal(counts.encap_packets, undefined, 'others only receive');
    const {
      encap_packets = 0,
      proxy_replies = 0,
      local_bypasses = 0,
      too_big_replies = 0,
    } = all.get(device)!;
    assert.equal(sent.datagrams.length, encap_packets - local_bypasses - too_big_replies);
    assert.equal(sent.injected.length, local_bypasses + too_big_replies + proxy_replies);
    const received = [...all.values()].reduce((total, counts) => total + (counts.decap_packets ?? 0), 0);
    assert.equal(received, local_bypasses + too_big_replies);
    if (frames.length === 1) {
      const { frame, virtio } = frames[0]!;
      assertWire(kind, frame, virtio, sent, most);
      for (const { frame: injected, virtio: given } of sent.injected) {
        if ((given.flags & 1) === 0) continue;
        // Tags and covers come and go in front of it: from the end, a checksum stays where it was.
        const fromEnd = (length: number, header: VirtioHeader) => (length - header.checksumStart) & 0xffff;
        assert.equal(fromEnd(injected.length, given), fromEnd(frame.length, virtio));
        assert.equal(given.gsoSize, virtio.gsoSize);
      }
    }
    drainEvents(path.engine, 0, () => {});
    if (batch % 512 === 0) check();
  }
  check();
  if (packets >= ENOUGH)
    assertSeen(seen, [
      ...OF_FRAMES.filter((name) => name !== 'drop_no_target'),
      ...OF_COPIES,
      ...(['drop_bad_offload', 'encap_packets', 'super_frames_split', 'checksums_completed'] as const),
      ...(['local_bypasses', 'too_big_replies', 'route_short_circuits', 'l3_misses'] as const),
    ]);
}

function fuzzDecap(path: HotPath, packets: number, prng: Prng): void {
  const external = path.device({
    vni: 1,
    features: { external: true },
    learning: true,
    maxaddress: 5,
    listener: LISTENER_EXTERNAL,
  });
  for (const vni of [10, 11, 12, 13])
    path.vni(external, { vni, vlan: vni, untagged: vni === 13, listener: LISTENER_EXTERNAL });
  const gbp = path.device({ vni: 2, features: { gbp: true, remcsumrx: true }, listener: LISTENER_GBP });
  const gpe = path.device({ vni: 3, features: { gpe: true }, listener: LISTENER_GPE });
  const flows = Array.from({ length: 6 }, (_, i) => flowOf(prng, i + 1));
  const kinds = [
    { listener: LISTENER_EXTERNAL, device: external, vnis: [10, 11, 12, 13, 14], words: [0x08000000] },
    {
      listener: LISTENER_GBP,
      device: gbp,
      vnis: [2],
      words: [0x08000000, 0x08200000, 0x88480007, 0x88200001],
    },
    { listener: LISTENER_GPE, device: gpe, vnis: [3], words: [1, 2, 3, 5, 0].map((n) => 0x0c000000 | n) },
  ];
  const one = ({ device, vnis, words }: (typeof kinds)[number]): Uint8Array => {
    const header = new Uint8Array(8);
    new DataView(header.buffer).setUint32(0, words[below(prng, words.length)]!);
    header[6] = vnis[below(prng, vnis.length)]!;
    if (device === gbp && prng() < 0.7) header[7] = below(prng, 256);
    const frame = prng() < 0.5 ? nextFrames(prng, flows[below(prng, 6)]!, 0.1)[0]! : mutated(prng).frame;
    if (prng() < 0.05) header[below(prng, 8)]! ^= 1 << below(prng, 8);
    const datagram = concat(header, device === gpe && frame.length > 14 ? frame.subarray(14) : frame);
    return prng() < 0.05 ? datagram.subarray(0, below(prng, datagram.length)) : datagram;
  };
  const seen: Counts = {};
  const check = guarded(path, ENCAP_WORKER);
  for (let done = 0, batch = 0; done < packets; done += RECEIVE_COUNT, batch++) {
    path.offloads(batch % 2 === 0 ? 0 : OFFLOAD_COALESCE);
    path.surroundings = below(prng, 256);
    const kind = kinds[below(prng, kinds.length)]!;
    let expected = 0;
    const messages = Array.from({ length: RECEIVE_COUNT }, (): Received => {
      const first = one(kind);
      const tos = prng() < 0.7 ? 0 : below(prng, 4);
      // Where a bundle of packets is cut is a question of its own (extensions.test.ts).
      if (kind.device === gpe || prng() < 0.8) {
        expected++;
        return { bytes: first, tos };
      }
      const bytes = concat(
        first,
        ...Array.from({ length: below(prng, 5) }, () => one(kind).subarray(0, first.length)),
      );
      expected += datagramsNaively(bytes, first.length).length;
      return { bytes, tos, gro: first.length };
    });
    const writes = path.decap(messages, kind.listener);
    const counted = [0, external, gbp, gpe].map((device) => path.takeCounters(device));
    for (const counts of counted) add(seen, counts);
    const verdicts = counted.flatMap((counts) =>
      Object.entries(counts).filter(([name]) => name.startsWith('drop_') || name === 'decap_packets'),
    );
    assert.equal(
      verdicts.reduce((total, [, count]) => total + count, 0),
      expected,
      'one outcome each',
    );
    const passed = counted.reduce((total, { decap_packets = 0 }) => total + decap_packets, 0);
    assert.equal(
      writes.reduce((total, { frames }) => total + frames, 0),
      passed,
    );
    for (const { device, frame, frames, virtio } of writes) {
      assert.equal(device, kind.device);
      if (virtio.flags === 0) continue;
      const cover = frame[0]! >> 4 === 6 ? 0x86dd : 0x0800;
      const shift = device === gpe ? 14 : 0;
      const cut = segmentNaively(shift ? ethernet({}, rawPacket(cover, frame)) : frame, {
        ...virtio,
        checksumStart: virtio.checksumStart + shift,
      });
      assert.ok(cut, 'the virtio header fits its frame');
      if (frames > 1) assert.equal(cut.length, frames);
    }
    drainEvents(path.engine, 1, () => {});
    if (batch % 64 === 0) check();
  }
  check();
  if (packets >= ENOUGH)
    assertSeen(seen, [
      ...(['drop_unknown_vni', 'drop_reserved_bits', 'drop_short_inner_frame', 'drop_ecn'] as const),
      ...(['drop_gpe_header', 'drop_gpe_protocol', 'drop_short_remcsum', 'drop_no_vni_flag'] as const),
      ...(['drop_short_inner_ip_received', 'drop_short_datagram', 'decap_packets', 'fdb_full'] as const),
      ...(['super_frames_merged', 'checksums_left_partial', 'merge_checksum_bad'] as const),
    ]);
}

for (const [build, packets] of [
  ['release', PACKETS],
  ['debug', Math.min(PACKETS, 10_000)],
] as const) {
  describe(`fuzz of kinds (${build}), VXLANE_FUZZ_SEED=${SEED}`, () => {
    it(`encap: ${packets / 2} mutated frames`, async () => {
      fuzzEncap(await HotPath.open(build), packets / 2, mulberry32(SEED));
    });

    it(`decap: ${packets / 2} mutated datagrams`, async () => {
      fuzzDecap(await HotPath.open(build), packets / 2, mulberry32(SEED + 1));
    });
  });
}
