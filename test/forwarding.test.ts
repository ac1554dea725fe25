/**
 * Super-frames where a program takes the datagrams itself: those that a hook of decap sends on into another tunnel, and
 * those that ports and programs hand to encap, against the slow truth of naive-segment.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createDataplane,
  createMemoryNetwork,
  createVtep,
  type EmbeddedDataplane,
  type FramePort,
  type FrameSink,
  type SentDatagrams,
} from '../src/index.ts';
import { assertBytes } from './support/bytes.ts';
import { concat, ethernet, ipv4, ipv6, type Packet, vlan } from './support/frames.ts';
import { raw, tcp, udp } from './support/messages.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { parseFrame, verifyFrame } from './support/parse.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import {
  NOTHING_ASKED,
  partialHeader,
  superHeader,
  type VirtioHeader,
  writeVirtio,
} from './support/virtio.ts';

const PORT = 4789;
const SENDER = '192.0.2.9';
const REMOTES = ['192.0.2.2', '192.0.2.3', '192.0.2.4'];
const BLUE = '02:00:00:00:02:02';
const MTUS = [576, 1280, 1450, 1500, 9000];
const FLAGS = ['A', 'PA', 'FPA', 'CEPA', 'S'];

interface Case {
  frame: Uint8Array;
  /** What is to leave, in order. */
  expected: Uint8Array[];
}

type Random = () => number;
const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;

/** An inner frame with this much payload, whose transport checksum is left open, or is not. */
function frameOf(random: Random, bytes: number, isOpen: boolean): Uint8Array {
  const payload = randomBytes(random, bytes);
  const checksum = isOpen ? { checksum: 'partial' as const } : {};
  const flags = pick(random, FLAGS);
  const options = randomBytes(random, 4 * Math.floor(random() * 10));
  const sequence = Math.floor(random() * 2 ** 32);
  const message =
    random() < 0.8
      ? tcp({ ...checksum, flags, options, sequence, sourcePort: 1 + Math.floor(random() * 60000) }, payload)
      : isOpen
        ? udp(checksum, payload.subarray(0, 1400))
        : pick(random, [udp({}, payload), raw(47, payload)]);
  const identification = Math.floor(random() * 65536);
  const packet: Packet = pick(random, [
    ipv4({ identification, tos: 2, dontFragment: random() < 0.5 }, message),
    ipv4({ identification, options: new Uint8Array(8).fill(1) }, message),
    ipv6({ trafficClass: 0xb9, flowLabel: 0xabcde }, message),
  ]);
  const addresses = { source: '02:00:00:00:01:01', destination: BLUE };
  return ethernet(addresses, random() < 0.2 ? vlan({ id: 7 }, packet) : packet);
}

/** What a virtio header would say of a frame that came in, where nothing longer than the MTU goes out. */
function openAs(frame: Uint8Array, mtu: number): VirtioHeader {
  const { tcp: inner, network } = parseFrame(frame);
  const headers = superHeader(frame, 0).headerBytes;
  const size = mtu + network - headers;
  if (inner === undefined || frame.length - network <= mtu || size <= 0) return partialHeader(frame);
  return superHeader(frame, size);
}

function arriving(random: Random, mtu: number): Case {
  const isOpen = random() < 0.7;
  const bytes = pick(random, [0, 1, 500, 1400, 3000, 9000, 40000, 65000]);
  const most = isOpen ? 65300 : 1300;
  const frame = frameOf(random, Math.min(most, Math.floor(bytes * (1 + random() / 2))), isOpen);
  return { frame, expected: segmentNaively(frame, isOpen ? openAs(frame, mtu) : NOTHING_ASKED)! };
}

function plane(mtus: readonly [number, number], remotes: readonly string[] = REMOTES.slice(0, 1)) {
  const dataplane = createDataplane();
  const [red, blue] = ['red', 'blue'].map((name, index) =>
    dataplane.addDevice({
      ...{ name, vni: 10 * (index + 1), address: `02:00:00:00:00:0${index}`, port: PORT },
      ...{ mtu: mtus[index]!, learning: false },
    }),
  ) as [number, number];
  for (const dst of remotes)
    dataplane.fdb.apply({ op: 'append', dev: 'blue', mac: '00:00:00:00:00:00', dst });
  return { dataplane, red, blue };
}

function gateway(mtus: readonly [number, number], remotes?: readonly string[]) {
  const made = plane(mtus, remotes);
  made.dataplane.setHook('red', 'decap', (batch) => {
    while (batch.next()) batch.redirect(made.blue, 'tunnel');
  });
  return made;
}

/** The frames that went to each of the remotes; every header is looked at. */
function taken(sent: SentDatagrams, memory: Uint8Array): Map<string, Uint8Array[]> {
  const frames = new Map<string, Uint8Array[]>(REMOTES.map((remote) => [remote, []]));
  const flows = new Map<string, number>();
  while (sent.next()) {
    const { bytes, offset, length, address } = sent;
    assert.deepEqual([...bytes.subarray(0, 8)], [8, 0, 0, 0, 0, 0, 20, 0]);
    assert.equal(bytes.length, length);
    if (offset >= 0) assertBytes(memory.subarray(offset, offset + length), bytes, 'in the memory');
    const frame = bytes.slice(8);
    frames.get(address)!.push(frame);
    const flow = Buffer.from(frame.subarray(26, 38)).toString('hex');
    if (frame[12] === 8 && frame[14] === 0x45) {
      assert.equal(sent.flow, flows.get(flow) ?? sent.flow, 'one source port for all of a flow');
      flows.set(flow, sent.flow);
    }
  }
  return frames;
}

function compare(found: readonly Uint8Array[], cases: readonly Case[], what: string): void {
  const expected = cases.flatMap((one) => one.expected);
  assert.equal(found.length, expected.length, what);
  for (const [index, frame] of found.entries())
    assertBytes(frame, expected[index], `${what}: ${index} of ${found.length}`);
}

const total = (dataplane: EmbeddedDataplane, name: string, counter: string) =>
  (dataplane.counters(name) as Record<string, number>)[counter] ?? 0;

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`what a hook sends on into a tunnel leaves cut, in order, with right checksums, seed ${seed}`, () => {
    const random = mulberry32(seed);
    const mtus = [pick(random, MTUS), pick(random, MTUS)] as const;
    const remotes = REMOTES.slice(0, 1 + (seed % 3));
    const { dataplane } = gateway(mtus, remotes);
    const { queue } = dataplane;
    const slots = 48;
    const datagrams = queue.datagrams(slots, 65536);
    let count = 0;
    let cut = 0;
    for (let round = 0; round < 12; ++round) {
      const cases = Array.from({ length: 1 + Math.floor(random() * slots) }, () =>
        arriving(random, Math.min(...mtus)),
      );
      for (const [index, { frame }] of cases.entries())
        datagrams.slots[index]!.write(concat(Uint8Array.of(8, 0, 0, 0, 0, 0, 10, 0), frame), SENDER);
      assert.equal(queue.decap(datagrams, PORT, cases.length).next(), false);
      const found = taken(queue.forwarded, queue.memory);
      for (const remote of remotes) compare(found.get(remote)!, cases, `round ${round}, ${remote}`);
      for (const frame of found.get(remotes[0]!)!) {
        const { ipv4: ip, l4 } = verifyFrame(frame);
        assert.ok(ip !== false && l4 !== false);
      }
      count += cases.length;
      cut += cases.filter(({ expected }) => expected.length > 1).length;
    }
    assert.ok(cut > 20, `${cut} super-frames`);
    assert.equal(total(dataplane, 'red', 'hook_redirects_received'), count);
    assert.equal(total(dataplane, 'red', 'drop_hook_forward'), 0);
    assert.equal(total(dataplane, 'blue', 'super_frames_split'), cut * remotes.length);
  });
}

/** What a port with offloads hands over: any size that a sender may ask for, at times a header that lies. */
function offered(random: Random): Case & { virtio: Uint8Array | undefined } {
  const isOpen = random() < 0.8;
  const bytes = Math.floor(pick(random, [0, 1, 500, 1400, 3000, 9000, 65300]) * random());
  const frame = frameOf(random, Math.min(bytes, isOpen ? 65300 : 1300), isOpen);
  if (!isOpen) return { frame, virtio: undefined, expected: [frame] };
  const { payload } = parseFrame(frame);
  const size = pick(random, [48, 536, 1398, 1448, 8948, payload.length - 1]);
  const fits = payload.length > size && payload.length / size <= 1536 && size > 0;
  const header = fits ? superHeader(frame, size) : partialHeader(frame);
  const lies = random() < 0.05;
  if (lies) header.checksumStart = pick(random, [0, 13, 65535]);
  const virtio = new Uint8Array(10);
  writeVirtio(new DataView(virtio.buffer), 0, header);
  return { frame, virtio, expected: segmentNaively(frame, header) ?? [] };
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`frames with virtio headers leave cut, through each of the doors, seed ${seed}`, () => {
    const random = mulberry32(seed);
    const remotes = REMOTES.slice(0, 1 + (seed % 3));
    const { dataplane, blue } = plane([1500, 1500], remotes);
    const { queue } = dataplane;
    const frames = queue.frames(32, 65590);
    const ring = queue.ring(16, 65590);
    const producer = ring.produce();
    let bad = 0;
    for (let round = 0; round < 24; ++round) {
      const cases = Array.from({ length: 1 + Math.floor(random() * 16) }, () => offered(random));
      let found: Map<string, Uint8Array[]>;
      const door = round % 3;
      if (door === 0) {
        for (const [index, { frame, virtio }] of cases.entries()) {
          frames.slots[index]!.write(frame, virtio);
          frames.slots[index]!.device = blue;
        }
        found = taken(queue.encap(frames, cases.length), queue.memory);
      } else if (door === 1) {
        for (const { frame, virtio } of cases) {
          const slot = producer.claim()!;
          slot.write(frame, virtio);
          slot.device = blue;
          assert.equal(slot.length, frame.length);
        }
        producer.publish();
        found = taken(queue.encap(ring), queue.memory);
        ring.release();
      } else {
        found = new Map(remotes.map((remote) => [remote, []]));
        for (const { frame, virtio } of cases)
          for (const { bytes, address } of dataplane.encap('blue', frame, virtio))
            found.get(address)!.push(bytes.slice(8));
      }
      for (const remote of remotes) compare(found.get(remote)!, cases, `round ${round}, ${remote}`);
      bad += cases.filter(({ expected }) => expected.length === 0).length;
    }
    const dropped = total(dataplane, 'blue', 'drop_bad_offload');
    // A lie about a super-frame shows for each copy of it.
    assert.ok(dropped >= bad && dropped <= bad * remotes.length, `${dropped} of ${bad}`);
    // A header is the frame's that it came with, and not that of the next one in the slot.
    const { frame, virtio } = offered(mulberry32(7));
    frames.slots[0]!.write(frame, virtio);
    taken(queue.encap(frames, 1), queue.memory);
    assert.equal(frames.slots[0]!.virtio, undefined);
    frames.slots[0]!.bytes.set(frame);
    const [again] = taken(queue.encap(frames, 1), queue.memory).values();
    assert.deepEqual(again, [frame]);
  });
}

test('a ring’s consumer is shown the virtio header; one of another length is refused', () => {
  const { dataplane, blue } = plane([1500, 1500]);
  const ring = dataplane.queue.ring(2, 2000);
  const [producer, consumer] = [ring.produce(), ring.consume()];
  const virtio = Uint8Array.of(1, 0x81, 54, 0, 200, 5, 34, 0, 16, 0);
  const frame = new Uint8Array(1999).fill(3);
  for (const header of [virtio, undefined]) {
    const slot = producer.claim()!;
    slot.write(frame, header);
    slot.device = blue;
  }
  producer.publish();
  const first = consumer.peek()!;
  assert.deepEqual([first.length, first.device, first.virtio], [1999, blue, virtio]);
  assert.deepEqual([consumer.peek()!.virtio, first.bytes.subarray(0, 1999)], [undefined, frame]);
  consumer.release();
  const slot = producer.claim()!;
  const frames = dataplane.queue.frames(1, 2000).slots[0]!;
  for (const bad of [new Uint8Array(9), new Uint8Array(12), 'text' as unknown as Uint8Array])
    for (const one of [slot, frames]) assert.throws(() => one.write(frame, bad), { code: 'USAGE' });
});

test('a hook sends super-frames out of another port with their headers', () => {
  const { dataplane, red } = plane([1500, 1500]);
  const told: [number, Uint8Array, Uint8Array | undefined][] = [];
  dataplane.queue.replied = (device, frame, virtio) =>
    told.push([device, frame.slice(), virtio === undefined ? virtio : virtio.slice()]);
  dataplane.setHook('blue', 'encap', (batch) => {
    while (batch.next()) batch.redirect(red);
  });
  const frame = ethernet({}, ipv4({}, tcp({ checksum: 'partial' }, new Uint8Array(5000))));
  const virtio = new Uint8Array(10);
  writeVirtio(new DataView(virtio.buffer), 0, superHeader(frame, 1400));
  assert.deepEqual(dataplane.encap('blue', frame, virtio), []);
  assert.deepEqual(dataplane.encap('blue', frame), []);
  assert.deepEqual(told, [
    [red, frame, virtio],
    [red, frame, undefined],
  ]);
});

for (const seed of [1, 2, 3, 4])
  test(`a bundle is as good as its datagrams, and a super-frame of UDP is told from it, seed ${seed}`, () => {
    const random = mulberry32(seed);
    const { dataplane } = gateway([1500, 1500]);
    const { queue } = dataplane;
    const datagrams = queue.datagrams(8, 65536);
    for (let round = 0; round < 40; ++round) {
      const cases: Case[] = [];
      for (const slot of datagrams.slots) {
        const head = Uint8Array.of(8, 0, 0, 0, 0, 0, 10, 0);
        if (random() < 0.4) {
          const size = 1 + Math.floor(random() * 1400);
          const payload = randomBytes(random, Math.min(64000, 1 + Math.floor(random() * 32) * size));
          const frame = ethernet({}, ipv4({}, udp({ checksum: 'partial' }, payload)));
          const isOne = payload.length <= size;
          slot.write(concat(head, frame), SENDER);
          slot.segment = size;
          const virtio = isOne ? partialHeader(frame) : superHeader(frame, size);
          cases.push({ frame, expected: segmentNaively(frame, virtio)! });
        } else {
          const size = 42 + Math.floor(random() * 1400);
          const frames = Array.from({ length: 1 + Math.floor(random() * 30) }, (_, index, last = random()) =>
            ethernet({}, ipv4({}, udp({}, randomBytes(random, index > 0 && last < 0.05 ? size - 42 : size)))),
          );
          // All but the last one are of one length.
          while (frames.length > 1 && frames.slice(0, -1).some(({ length }) => length !== frames[0]!.length))
            frames.pop();
          const bundle = concat(...frames.map((frame) => concat(head, frame)));
          slot.write(bundle, SENDER);
          if (frames.length > 1) slot.segment = 8 + frames[0]!.length;
          cases.push(...frames.map((frame) => ({ frame, expected: [frame] })));
        }
      }
      assert.equal(queue.decap(datagrams, PORT).next(), false);
      compare(taken(queue.forwarded, queue.memory).get(REMOTES[0]!)!, cases, `round ${round}`);
    }
    const [slot] = datagrams.slots;
    slot!.write(new Uint8Array(65536), SENDER);
    assert.equal(slot!.segment, 0);
    slot!.segment = 100;
    assert.throws(() => queue.decap(datagrams, PORT), { code: 'USAGE' });
    for (const bad of [-1, 1.5, 65537]) assert.throws(() => (slot!.segment = bad), { code: 'USAGE' });
  });

test('a port hands over super-frames; a port that takes none is given their segments', async () => {
  const network = createMemoryNetwork();
  const [near, far] = await Promise.all(
    ['192.0.2.1', '192.0.2.2'].map((address) => createVtep({ underlay: network.host(address) })),
  );
  try {
    const heard: Record<string, Uint8Array[]> = { red: [], far: [] };
    let sink: FrameSink | undefined;
    const port: FramePort = {
      kind: 'test',
      start: (own) => {
        sink = own;
      },
      write: (frames) => frames.length,
      close() {},
    };
    const listening = (name: string): FramePort => ({
      ...{ kind: 'test', start() {}, close() {} },
      write: (frames) => heard[name]!.push(...frames.map((frame) => frame.slice())) && frames.length,
    });
    await near!.addDevice({ name: 'red', id: 10, remote: '192.0.2.2', port: listening('red') });
    await near!.addDevice({ name: 'blue', id: 20, remote: '192.0.2.2', port });
    await far!.addDevice({ name: 'far', id: 20, remote: '192.0.2.1', port: listening('far'), mtu: 9000 });
    const random = mulberry32(3);
    const offers = Array.from({ length: 60 }, () => offered(random));
    const expected = offers.flatMap((offer) => offer.expected);
    const all = async (name: string) => {
      for (let turn = 0; turn < 500 && heard[name]!.length < expected.length; ++turn)
        await new Promise((done) => setImmediate(done));
      assert.equal(heard[name]!.length, expected.length);
      for (const [index, frame] of heard[name]!.entries())
        assertBytes(frame, expected[index], `${name}: ${index}`);
    };
    const hand = () =>
      sink!.frames(
        offers.map(({ frame }) => frame),
        offers.map(({ virtio }) => virtio),
      );
    hand();
    await all('far');
    near!.setHook('blue', 'encap', (batch) => {
      while (batch.next()) batch.redirect(1);
    });
    // What is no header loses its frame, and no other.
    sink!.frames([offers[0]!.frame], [new Uint8Array(3)]);
    assert.equal(near!.status().counters.blue!.drop_tap_read, 1);
    const isSound = ({ expected: [first] }: Case) => first !== undefined;
    const sound = offers.filter(isSound);
    offers.splice(0, offers.length, ...sound);
    hand();
    await all('red');
  } finally {
    await near!.close();
    await far!.close();
  }
});
