/**
 * The batch door: what it carries against the naive references and the simple door, over random frames; how long views
 * last; and what comes of using it wrongly: a typed error, and a dataplane that goes on.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HEADER_BASE, HEADER_HASH_SEED_OFFSET } from '../assembly/layout.ts';
import {
  createDataplane,
  type DataplaneQueue,
  type EmbeddedDataplane,
  VtepError,
  type VtepErrorCode,
} from '../src/dataplane/index.ts';
import { laneOf } from './support/flow.ts';
import { arp, concat, ethernet, ipv4, ipv6, vlan } from './support/frames.ts';
import { icmp, tcp, udp } from './support/messages.ts';
import { below, mutated, type Prng } from './support/mutate.ts';
import { decapNaively, type NaiveDevice } from './support/naive-decap.ts';
import { encapNaively } from './support/naive-encap.ts';
import { verifyFrame } from './support/parse.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED } from './support/virtio.ts';

const OWN = '02:00:00:00:00:ff';
const PORT = 4789;
const VNI = 42;
const ZERO = '00:00:00:00:00:00';
const SENDER = '192.0.2.9';

const macOf = (number: number) => `02:00:00:00:01:${number.toString(16).padStart(2, '0')}`;
const ping = (destination: string, bytes = 56, source = macOf(0)) =>
  ethernet({ source, destination }, ipv4({}, icmp({}, new Uint8Array(bytes).fill(bytes))));
const seedOf = ({ memory }: DataplaneQueue) =>
  new DataView(memory.buffer).getUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, true);
const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);

function refused(code: VtepErrorCode, work: () => unknown): void {
  assert.throws(work, (error) => error instanceof VtepError && error.code === code);
}

function planeWith(options: Parameters<EmbeddedDataplane['addDevice']>[0] | object = {}) {
  const plane = createDataplane();
  const number = plane.addDevice({ name: 'a', vni: VNI, address: OWN, port: PORT, ...options });
  return { plane, queue: plane.queue, number };
}

interface Taken {
  address: string;
  port: number;
  flow: number;
  bytes: Uint8Array;
}

/** A batch of its own for each call. */
function send(queue: DataplaneQueue, device: number, frames: readonly Uint8Array[]): Taken[] {
  const batch = queue.frames(frames.length, 9216);
  for (const [index, slot] of batch.slots.entries()) {
    slot.write(frames[index]!);
    slot.device = device;
  }
  const sent = queue.encap(batch);
  const taken: Taken[] = [];
  while (sent.next()) {
    const { address, port, flow, bytes, length } = sent;
    assert.equal(bytes.length, length);
    taken.push({ address, port, flow, bytes: Uint8Array.from(bytes) });
  }
  batch.release();
  return taken;
}

describe('batches carry what the references say', () => {
  function someFrame(prng: Prng): Uint8Array {
    const macs = { destination: macOf(below(prng, 24)), source: macOf(below(prng, 24)) };
    const payload = randomBytes(prng, below(prng, 5) === 0 ? below(prng, 8000) : below(prng, 200));
    const message = [udp({}, payload), tcp({}, payload), icmp({}, payload)][below(prng, 3)]!;
    const packet = below(prng, 3) === 0 ? ipv6({}, message) : ipv4({}, message);
    const frame = ethernet(macs, below(prng, 6) === 0 ? vlan({ id: 1 + below(prng, 4000) }, packet) : packet);
    if (below(prng, 4) === 0) return frame.subarray(0, below(prng, Math.min(frame.length, 80)));
    return below(prng, 6) === 0 ? mutated(prng).frame.subarray(0, 9000) : frame;
  }

  for (const seed of [1, 2, 3]) {
    test(`encap, seed ${seed}`, () => {
      const prng = mulberry32(seed);
      const { plane, queue, number } = planeWith();
      // No default remote with the first seed: what is not known has no target.
      const remotes = new Map<string, string[]>();
      const defaults = seed === 1 ? [] : ['198.51.100.1', '198.51.100.2', '198.51.100.3'];
      for (const dst of defaults) plane.fdb.apply({ op: 'append', dev: 'a', mac: ZERO, dst });
      for (let mac = 0; mac < 16; ++mac) {
        remotes.set(macOf(mac), [`10.0.0.${mac}`]);
        plane.fdb.apply({ op: 'add', dev: 'a', mac: macOf(mac), dst: `10.0.0.${mac}` });
      }
      // As the kernel: the first of the list comes last.
      const copies = [...defaults.slice(1), ...defaults.slice(0, 1)];
      for (let round = 0; round < 40; ++round) {
        const frames = Array.from({ length: 1 + below(prng, 64) }, () => someFrame(prng));
        const drops: Record<string, number> = {};
        const expected = frames.flatMap((frame) => {
          const mac = [...frame.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
          const targets = remotes.get(mac) ?? copies;
          const result = encapNaively(frame, NOTHING_ASKED, targets.length > 0);
          if (Array.isArray(result))
            return targets.map((address) => ({ address, port: PORT, bytes: vxlan(VNI, frame) }));
          drops[result] = (drops[result] ?? 0) + (result === 'drop_short_inner_ip' ? targets.length : 1);
          return [];
        });
        const before = plane.counters('a');
        const taken = send(queue, number, frames);
        assert.deepEqual(
          taken.map(({ address, port, bytes }) => ({ address, port, bytes })),
          expected,
        );
        for (const { flow, bytes } of taken)
          assert.equal(flow, laneOf(bytes.subarray(8), seedOf(queue), 64), 'the flow’s number');
        const after = plane.counters('a');
        assert.equal((after.encap_packets ?? 0) - (before.encap_packets ?? 0), expected.length);
        for (const [name, count] of Object.entries(drops)) {
          const key = name as keyof typeof after;
          assert.equal((after[key] ?? 0) - (before[key] ?? 0), count, name);
        }
        // The simple door says the same, flows too.
        const simple = frames.flatMap((frame) => plane.encap('a', frame));
        assert.deepEqual(
          simple.map(({ address, flow, bytes }) => [address, flow, Buffer.from(bytes).toString('hex')]),
          taken.map(({ address, flow, bytes }) => [address, flow, Buffer.from(bytes).toString('hex')]),
        );
      }
    });

    test(`decap, seed ${seed}`, () => {
      const prng = mulberry32(seed);
      const { plane, queue, number } = planeWith({ maxaddress: seed === 3 ? 8 : 0 });
      const device: NaiveDevice = {
        ...{ vni: VNI, mac: OWN, up: true, learning: true, fdb: new Map() },
        ...(seed === 3 && { limit: 8 }),
      };
      const batch = queue.datagrams(64, 9216);
      for (let round = 0; round < 40; ++round) {
        const count = 1 + below(prng, 64);
        const expected: { frame: Uint8Array; slot: number }[] = [];
        const verdicts: Record<string, number> = {};
        const before = { ...plane.counters('a'), ...plane.counters('') };
        for (const [slot, room] of batch.slots.slice(0, count).entries()) {
          const datagram = vxlan(below(prng, 20) === 0 ? 7 : VNI, someFrame(prng));
          if (below(prng, 12) === 0) datagram[below(prng, 8)]! ^= 1 << below(prng, 8);
          const bytes = below(prng, 12) === 0 ? datagram.subarray(0, below(prng, 60)) : datagram;
          const sender = below(prng, 4) === 0 ? `2001:db8::${below(prng, 3)}` : `192.0.2.${below(prng, 3)}`;
          const tos = below(prng, 256);
          room.write(bytes, sender);
          room.tos = tos;
          // Its device is of the IPv4 underlay.
          const devices = sender.includes(':') ? [] : [device];
          const { verdict, frame, learned } = decapNaively(bytes, sender, tos, devices);
          if (frame) expected.push({ frame, slot });
          for (const name of learned ? [verdict, learned] : [verdict])
            verdicts[name] = (verdicts[name] ?? 0) + 1;
        }
        const arrived = queue.decap(batch, PORT, count);
        for (const { frame, slot } of expected) {
          assert.ok(arrived.next());
          const { bytes, device: to, vni, slot: from } = arrived;
          assert.deepEqual([to, vni, from], [number, VNI, slot]);
          assert.deepEqual(Uint8Array.from(bytes), frame);
        }
        assert.ok(!arrived.next());
        const after = { ...plane.counters('a'), ...plane.counters('') };
        for (const [name, number] of Object.entries(verdicts)) {
          const key = name as keyof typeof after;
          assert.equal((after[key] ?? 0) - (before[key] ?? 0), number, name);
        }
      }
      const known = plane.fdb.show('a').map(({ mac, dst }) => [mac, dst]);
      assert.deepEqual(known.sort(), [...device.fdb].map(([mac, { sender }]) => [mac, sender]).sort());
    });
  }

  test('frames of every size fit slots of their size, and not a byte more is theirs', () => {
    const { plane, queue, number } = planeWith({ remote: '192.0.2.2' });
    for (const size of [14, 15, 64, 65, 1514, 9014, 65590]) {
      const batch = queue.frames(3, size);
      const frame = randomBytes(mulberry32(size), size);
      frame.set([0x88, 0xb5], 12);
      for (const slot of batch.slots) {
        slot.write(frame);
        slot.device = number;
        assert.equal(slot.bytes.length, size);
      }
      const sent = queue.encap(batch);
      for (let count = 0; count < 3; ++count) {
        assert.ok(sent.next());
        assert.deepEqual(Uint8Array.from(sent.bytes), vxlan(VNI, frame));
        assert.deepEqual(
          Uint8Array.from(queue.memory.subarray(sent.offset, sent.offset + sent.length)),
          vxlan(VNI, frame),
        );
      }
      refused('USAGE', () => batch.slots[0]!.write(new Uint8Array(size + 1)));
      batch.release();
    }
    assert.equal(plane.counters('a').encap_packets, 21);
  });

  test('a frame to many: the copies share the slot, and those of another VNI are copies', () => {
    const { plane, queue, number } = planeWith();
    for (let remote = 0; remote < 200; ++remote) {
      plane.fdb.apply({ op: 'append', dev: 'a', mac: ZERO, dst: `10.0.${remote >> 7}.${remote & 127}` });
    }
    plane.fdb.apply({ op: 'append', dev: 'a', mac: ZERO, dst: '10.1.0.1', vni: 7, port: 5000 });
    const batch = queue.frames(8);
    for (const [index, slot] of batch.slots.entries()) {
      slot.write(ping('ff:ff:ff:ff:ff:ff', 100 + index));
      slot.device = number;
    }
    const sent = queue.encap(batch);
    let count = 0;
    const seen = new Set<string>();
    for (let index = 0; index < 8; ++index) {
      const frame = ping('ff:ff:ff:ff:ff:ff', 100 + index);
      for (let copy = 0; copy < 201; ++copy, ++count) {
        assert.ok(sent.next(), `${count}`);
        const isOther = sent.address === '10.1.0.1';
        assert.deepEqual(Uint8Array.from(sent.bytes), vxlan(isOther ? 7 : VNI, frame));
        assert.equal(sent.port, isOther ? 5000 : PORT);
        assert.equal(sent.offset === -1, isOther);
        if (!isOther) assert.equal(sent.bytes.buffer, queue.memory.buffer);
        seen.add(`${index} ${sent.address}`);
      }
    }
    assert.ok(!sent.next());
    assert.equal(seen.size, 8 * 201);
  });

  test('outer TOS, TTL, DF, flow label and IPv6 addresses are told', () => {
    const marks = { ttl: 17, tos: 'inherit', df: 'set', flowlabel: 0x12345 } as const;
    const { queue, number } = planeWith({ remote: '2001:db8::7', ...marks });
    const batch = queue.frames(1);
    batch.slots[0]!.write(ethernet({}, ipv4({ tos: 0xb8 }, udp())));
    batch.slots[0]!.device = number;
    const sent = queue.encap(batch);
    assert.ok(sent.next());
    const { address, ttl, tos, df, flowLabel, device } = sent;
    assert.deepEqual(
      { address, ttl, tos, df, flowLabel, device },
      { address: '2001:db8::7', ttl: 17, tos: 0xb8, df: true, flowLabel: 0x12345, device: number },
    );
  });

  test('a checksum that the sender left open is told, and completed on demand', () => {
    const { plane, queue } = planeWith();
    const datagrams = [udp, tcp].flatMap((message) =>
      [ipv4, ipv6].map((ip) =>
        vxlan(VNI, ethernet({}, ip({}, message({ checksum: 'partial' }, randomBytes(mulberry32(5), 333))))),
      ),
    );
    const batch = queue.datagrams(4);
    for (const [index, slot] of batch.slots.entries()) slot.write(datagrams[index]!, SENDER);
    const arrived = queue.decap(batch, PORT);
    for (let index = 0; index < 4; ++index) {
      assert.ok(arrived.next() && arrived.isPartial);
      assert.equal(verifyFrame(Uint8Array.from(arrived.bytes)).l4, false);
      arrived.complete();
      assert.ok(!arrived.isPartial);
      assert.equal(verifyFrame(Uint8Array.from(arrived.bytes)).l4, true);
    }
    const [frame] = plane.decap(datagrams[0]!, SENDER, PORT);
    assert.equal(verifyFrame(frame!.bytes).l4, true, 'the simple door does so by itself');
  });
});

describe('what lasts how long', () => {
  test('views last until the slot is filled again; two batches take turns', () => {
    const { queue, number } = planeWith({ remote: '192.0.2.2' });
    const [first, second] = [queue.frames(2), queue.frames(2)];
    const fill = (batch: typeof first, bytes: number) => {
      for (const slot of batch.slots) {
        slot.write(ping(macOf(1), bytes));
        slot.device = number;
      }
      const sent = queue.encap(batch);
      assert.ok(sent.next());
      return sent.bytes;
    };
    const one = fill(first, 10);
    const other = fill(second, 20);
    assert.deepEqual(
      Uint8Array.from(one),
      vxlan(VNI, ping(macOf(1), 10)),
      'as it was, the other batch notwithstanding',
    );
    assert.deepEqual(Uint8Array.from(other), vxlan(VNI, ping(macOf(1), 20)));
    assert.equal(fill(first, 10), one, 'the same view for the same slot and size');
  });

  test('a released batch is over, and its slots are another’s', () => {
    const { queue, number } = planeWith({ remote: '192.0.2.2' });
    const batch = queue.frames(64, 65000);
    refused('NO_SPACE', () => queue.frames(64, 65000));
    const [slot] = batch.slots;
    slot!.write(ping(macOf(1)));
    slot!.device = number;
    const sent = queue.encap(batch, 1);
    batch.release();
    refused('USAGE', () => batch.release());
    refused('USAGE', () => slot!.bytes);
    refused('USAGE', () => slot!.write(ping(macOf(1))));
    refused('USAGE', () => queue.encap(batch, 1));
    refused('USAGE', () => sent.next());
    refused('USAGE', () => sent.bytes);
    const again = queue.frames(64, 65000);
    again.slots[63]!.write(ping(macOf(2)));
    again.release();
    const datagrams = queue.datagrams(4);
    const [arrival] = datagrams.slots;
    arrival!.write(vxlan(VNI, ping(macOf(1))), SENDER);
    const arrived = queue.decap(datagrams, PORT, 1);
    assert.ok(arrived.next());
    datagrams.release();
    refused('USAGE', () => datagrams.release());
    refused('USAGE', () => arrival!.bytes);
    refused('USAGE', () => queue.decap(datagrams, PORT));
    refused('USAGE', () => arrived.next());
    refused('USAGE', () => arrived.bytes);
  });

  test('memory is handed out and taken back in any order', () => {
    const { queue } = planeWith();
    const prng = mulberry32(9);
    const batches: ReturnType<typeof queue.frames>[] = [];
    for (let step = 0; step < 300; ++step) {
      if (below(prng, 2) === 0 && batches.length > 0)
        batches.splice(below(prng, batches.length), 1)[0]!.release();
      else if (batches.length < 20) batches.push(queue.frames(1 + below(prng, 8), 1 + below(prng, 20000)));
      const ranges = batches
        .flatMap(({ slots }) =>
          slots.map(({ bytes }) => [bytes.byteOffset - 64, bytes.byteOffset + bytes.length] as const),
        )
        .sort(([one], [other]) => one - other);
      for (const [at, [start]] of ranges.entries()) assert.ok(at === 0 || start >= ranges[at - 1]![1]);
    }
    for (const batch of batches) batch.release();
    queue.frames(64, 65000).release();
  });

  test('the datagrams of a batch end with the next encap', () => {
    const { queue, number } = planeWith({ remote: '192.0.2.2' });
    const batches = [queue.frames(2), queue.frames(2)];
    for (const { slots } of batches)
      for (const slot of slots) {
        slot.write(ping(macOf(1)));
        slot.device = number;
      }
    const sent = queue.encap(batches[0]!);
    refused('USAGE', () => sent.bytes);
    assert.ok(sent.next() && sent.next() && !sent.next() && !sent.next());
    refused('USAGE', () => sent.port);
    const next = queue.encap(batches[1]!);
    refused('USAGE', () => sent.next());
    assert.ok(next.next());
    queue.encap(batches[1]!);
    assert.ok(next.next() && next.next() && !next.next(), 'a batch that is sent again begins again');
  });

  test('what does not fit the records at once must be taken, or its batch released', () => {
    const { plane, queue, number } = planeWith();
    for (let remote = 0; remote < 600; ++remote)
      plane.fdb.apply({ op: 'append', dev: 'a', mac: ZERO, dst: `10.0.${remote >> 7}.${remote & 127}` });
    const batch = queue.frames(2);
    for (const slot of batch.slots) {
      slot.write(ping('ff:ff:ff:ff:ff:ff'));
      slot.device = number;
    }
    const other = queue.frames(1);
    other.slots[0]!.write(ping('ff:ff:ff:ff:ff:ff', 7));
    other.slots[0]!.device = number;
    assert.ok(queue.encap(batch).next());
    refused('USAGE', () => queue.encap(other));
    batch.release();
    const sent = queue.encap(other);
    let count = 0;
    for (; sent.next(); ++count)
      assert.deepEqual(Uint8Array.from(sent.bytes), vxlan(VNI, ping('ff:ff:ff:ff:ff:ff', 7)));
    assert.equal(count, 600);
  });
});

describe('wrong use', () => {
  test('is refused before anything happens', () => {
    const { plane, queue, number } = planeWith({ remote: '192.0.2.2' });
    const stranger = planeWith({ remote: '192.0.2.2' });
    const batch = queue.frames(2);
    const good = () => {
      for (const slot of batch.slots) {
        slot.write(ping(macOf(1)));
        slot.device = number;
      }
    };
    good();
    const no = undefined as unknown;
    refused('USAGE', () => queue.encap(no as typeof batch));
    refused('USAGE', () => queue.encap({ slots: batch.slots } as typeof batch));
    refused('USAGE', () => stranger.queue.encap(batch));
    for (const count of [-1, 3, 1.5, Number.NaN, '1' as unknown as number])
      refused('USAGE', () => queue.encap(batch, count));
    for (const length of [-1, 2049, 1.5, Number.NaN, 2 ** 32, no as number, '60' as unknown as number]) {
      batch.slots[1]!.length = length;
      refused('USAGE', () => queue.encap(batch));
    }
    good();
    for (const device of [0, number + 1, -1, 256, 65537, 1.5, Number.NaN, no as number]) {
      batch.slots[1]!.device = device;
      refused('NOT_FOUND', () => queue.encap(batch));
    }
    for (const [count, bytes] of [
      [0, 64],
      [257, 64],
      [1.5, 64],
      [1, 0],
      [1, 65591],
      [1, Number.NaN],
    ] as const) {
      refused('USAGE', () => queue.frames(count, bytes));
      refused('USAGE', () => queue.datagrams(count, bytes));
    }
    const arrivals = queue.datagrams(2);
    refused('USAGE', () => queue.decap(arrivals, PORT));
    for (const sender of ['', 'here', '192.0.2', '192.0.2.256', no as string, 5 as unknown as string])
      refused('USAGE', () => arrivals.slots[0]!.write(new Uint8Array(8), sender));
    for (const slot of arrivals.slots) slot.sender = SENDER;
    for (const port of [-1, 65536, 1.5, '8472' as unknown as number])
      refused('USAGE', () => queue.decap(arrivals, port));
    refused('USAGE', () => stranger.queue.decap(arrivals, PORT));
    refused('USAGE', () => plane.encap('a', 'frame' as unknown as Uint8Array));
    refused('USAGE', () => plane.decap([8, 0] as unknown as Uint8Array, SENDER));
    assert.deepEqual(plane.counters('a'), {}, 'nothing has been sent or taken');
    assert.deepEqual(plane.counters(''), {});
    good();
    const sent = queue.encap(batch);
    assert.ok(sent.next() && sent.next() && !sent.next(), 'and all goes on');
  });

  test('options that cannot be', () => {
    refused('USAGE', () => createDataplane({ queues: 0 }));
    refused('USAGE', () => createDataplane({ queues: 9 }));
    refused('USAGE', () => createDataplane({ bytes: new Uint8Array(8) }));
    refused('USAGE', () => createDataplane({ bytes: new Uint8Array(8), module: {} as WebAssembly.Module }));
    const plane = createDataplane();
    const device = { name: 'b', vni: 1, address: OWN };
    for (const wrong of [
      { name: '' },
      { vni: 2 ** 24 },
      { address: '02:00' },
      { remote: 'there' },
      { port: 0 },
      { external: true },
      { vnifilter: true },
      { gpe: true, gbp: true },
    ])
      refused('USAGE', () => plane.addDevice({ ...device, ...wrong }));
    assert.equal(plane.addDevice(device), 1, 'none of them has left anything behind');
    assert.deepEqual(plane.devices(), ['b']);
  });

  test('a device that has gone, a queue and a dataplane that are closed', () => {
    const { plane, queue, number } = planeWith({ remote: '192.0.2.2' });
    const batch = queue.frames(1);
    batch.slots[0]!.write(ping(macOf(1)));
    batch.slots[0]!.device = number;
    const datagrams = queue.datagrams(1);
    datagrams.slots[0]!.write(vxlan(VNI, ping(macOf(1))), SENDER);
    plane.deleteDevice('a');
    refused('NOT_FOUND', () => queue.encap(batch));
    refused('NOT_FOUND', () => plane.deleteDevice('a'));
    assert.ok(!queue.decap(datagrams, PORT).next());
    assert.equal(plane.counters('').drop_unknown_vni, 1);
    assert.equal(plane.nameOf(number), '');
    assert.equal(plane.addDevice({ name: 'b', vni: VNI, address: OWN, port: PORT }), number);
    assert.deepEqual(plane.counters('b'), {}, 'it has not counted anything yet');
    assert.deepEqual(plane.fdb.show('b'), []);
    queue.close();
    queue.close();
    refused('USAGE', () => queue.frames(1));
    refused('USAGE', () => queue.encap(batch));
    refused('USAGE', () => queue.decap(datagrams));
    refused('USAGE', () => batch.slots[0]!.bytes);
    plane.close();
    refused('USAGE', () => plane.addDevice({ name: 'c', vni: 1, address: OWN }));
    refused('USAGE', () => plane.encap('b', ping(macOf(1))));
    refused('USAGE', () => plane.fdb);
    refused('USAGE', () => plane.tick());
  });

  test('ports of devices come and go: their listeners are used again', () => {
    const plane = createDataplane();
    for (let port = 1; port <= 1000; ++port) {
      plane.addDevice({ name: 'x', vni: VNI, address: OWN, port });
      assert.equal(plane.decap(vxlan(VNI, ping(macOf(1))), SENDER, port).length, 1);
      plane.deleteDevice('x');
      assert.equal(plane.decap(vxlan(VNI, ping(macOf(1))), SENDER, port).length, 0);
    }
  });
});

describe('all that the tables have', () => {
  test('an external device: VNIs by VLAN, in both directions', () => {
    const { plane, queue, number } = planeWith({ vni: 0, external: true, vnifilter: true });
    plane.vnis.apply({ op: 'add', dev: 'a', vni: [[100, 101]], remote: '192.0.2.2' });
    plane.vnis.apply({ op: 'add', dev: 'a', vni: [[100, 101]], vlan: [10, 11] });
    const frame = (id: number) => ethernet({}, vlan({ id }, ipv4({}, udp({}, new Uint8Array(20)))));
    const [ten, eleven, ...others] = send(queue, number, [frame(10), frame(11), frame(12)]);
    assert.deepEqual(others, []);
    const plain = ethernet({}, ipv4({}, udp({}, new Uint8Array(20))));
    assert.deepEqual(ten!.bytes, vxlan(100, plain));
    assert.deepEqual(eleven!.bytes, vxlan(101, plain));
    const batch = queue.datagrams(2);
    batch.slots[0]!.write(vxlan(101, plain), SENDER);
    batch.slots[1]!.write(vxlan(102, plain), SENDER);
    const arrived = queue.decap(batch, PORT);
    assert.ok(arrived.next());
    assert.deepEqual([arrived.vni, arrived.slot, Uint8Array.from(arrived.bytes)], [101, 0, frame(11)]);
    assert.ok(!arrived.next());
  });

  test('a GPE device: packets without Ethernet header', () => {
    const { plane, queue, number } = planeWith({ gpe: true, remote: '192.0.2.2' });
    const packets = [ipv4({}, udp({ sourcePort: 7 })), ipv6({}, tcp({ sourcePort: 9 }))];
    const taken = send(
      queue,
      number,
      packets.map(({ bytes }) => bytes),
    );
    for (const [index, { bytes, flow }] of taken.entries()) {
      const { bytes: packet } = packets[index]!;
      assert.deepEqual(bytes, concat(Uint8Array.of(12, 0, 0, index + 1, 0, 0, VNI, 0), packet));
      assert.equal(flow, laneOf(ethernet({}, packets[index]!), seedOf(queue), 64));
      assert.deepEqual(plane.decap(bytes, SENDER, PORT), [{ device: 'a', bytes: packet }]);
    }
    assert.equal(taken.length, 2);
  });

  test('misses and what is learned, to subscribers; answers of the proxy, to the queue', () => {
    const { plane, queue, number } = planeWith({ l2miss: true, l3miss: true, proxy: true });
    const events: unknown[] = [];
    const stop = plane.subscribe((event) => events.push(event));
    assert.deepEqual(send(queue, number, [ping(macOf(7))]), []);
    plane.poll();
    assert.deepEqual(events.splice(0), [{ event: 'miss', ifname: 'a', lladdr: macOf(7) }]);
    plane.decap(vxlan(VNI, ping(OWN, 56, macOf(9))), SENDER, PORT);
    plane.tick();
    assert.deepEqual(
      events.splice(0).map((event) => (event as { entry: { mac: string; dst: string } }).entry.mac),
      [macOf(9)],
    );
    const who = arpRequest('10.0.0.1', '10.0.0.9');
    const replies: { device: number; frame: Uint8Array }[] = [];
    const reply = () => replies.at(-1);
    queue.replied = (device, frame) => replies.push({ device, frame: Uint8Array.from(frame) });
    send(queue, number, [who]);
    plane.poll();
    assert.deepEqual(events.splice(0), [{ event: 'miss', ifname: 'a', dst: '10.0.0.9' }]);
    assert.deepEqual(replies, []);
    plane.setNeighbour('a', '10.0.0.9', macOf(9));
    send(queue, number, [who, who]);
    assert.equal(replies.length, 2);
    assert.equal(reply()?.device, number);
    assert.deepEqual(
      [...(reply()?.frame.subarray(0, 14) ?? [])],
      [...who.subarray(6, 12), 2, 0, 0, 0, 1, 9, 8, 6],
    );
    plane.setNeighbour('a', '10.0.0.9');
    send(queue, number, [who]);
    assert.equal(replies.length, 2);
    stop();
    send(queue, number, [ping(macOf(7))]);
    plane.poll();
    assert.deepEqual(events, []);
  });

  test('known peers and senders: others are refused, and what passes is counted for them', () => {
    const { plane, queue, number } = planeWith({ knownpeers: true, knownsenders: true });
    plane.fdb.apply({ op: 'add', dev: 'a', mac: macOf(3), dst: SENDER });
    plane.peers.apply({ op: 'set', dev: 'a', mac: macOf(3), src: SENDER, prefixes: ['10.0.0.0/8'] });
    const batch = queue.datagrams(3);
    const inside = (source: string) =>
      ethernet({ source: macOf(3), destination: OWN }, ipv4({ source }, udp({}, new Uint8Array(10))));
    batch.slots[0]!.write(vxlan(VNI, inside('10.1.2.3')), SENDER);
    batch.slots[1]!.write(vxlan(VNI, inside('11.1.2.3')), SENDER);
    batch.slots[2]!.write(vxlan(VNI, inside('10.1.2.3')), '192.0.2.10');
    const arrived = queue.decap(batch, PORT);
    assert.ok(arrived.next());
    assert.equal(arrived.slot, 0);
    assert.ok(!arrived.next());
    assert.equal(send(queue, number, [ping(macOf(3)), ping(macOf(3))]).length, 2);
    const { drop_peer_subnet, drop_unknown_sender, decap_packets } = plane.counters('a');
    assert.deepEqual([drop_peer_subnet, drop_unknown_sender, decap_packets], [1, 1, 1]);
    const [peer] = plane.peers.show('a');
    assert.deepEqual([peer?.stats.rx.packets, peer?.stats.tx.packets], [1, 2]);
  });

  test('senders are taken as sockets report them', () => {
    const { plane, queue } = planeWith();
    const batch = queue.datagrams(1);
    for (const sender of ['192.0.2.77', '::ffff:192.0.2.78', '192.0.2.77'])
      for (const [slot] of [batch.slots]) {
        slot!.write(vxlan(VNI, ping(OWN, 56, macOf(3))), sender);
        assert.equal(slot!.sender, sender);
        assert.ok(queue.decap(batch, PORT).next(), sender);
        assert.equal(plane.fdb.get('a', macOf(3)).dst, sender.replace('::ffff:', ''));
      }
    plane.addDevice({ name: 'six', vni: VNI, address: OWN, port: PORT, family: 'inet6' });
    batch.slots[0]!.write(vxlan(VNI, ping(OWN, 56, macOf(3))), 'fe80::1%eth0');
    assert.ok(queue.decap(batch, PORT).next());
    assert.equal(plane.fdb.get('six', macOf(3)).dst, 'fe80::1');
  });
});

function arpRequest(from: string, of: string): Uint8Array {
  return ethernet(
    { source: macOf(1), destination: 'ff:ff:ff:ff:ff:ff' },
    arp({ senderMac: macOf(1), senderIp: from, targetIp: of }),
  );
}
