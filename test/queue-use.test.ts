/**
 * The batch door used rightly and wrongly: how long views last; and what comes of a mistake: a typed error, and a
 * dataplane that goes on.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FRAME_SLOT_COUNT } from '../assembly/layout.ts';
import { createDataplane } from '../src/dataplane/index.ts';
import { macOf, OWN, PORT, ping, planeWith, refused, SENDER, VNI, vxlan, ZERO } from './support/embedded.ts';
import { below } from './support/mutate.ts';
import { mulberry32 } from './support/reference.ts';

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
    const batch = queue.frames(FRAME_SLOT_COUNT, 65000);
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
    for (let remote = 0; remote < 1000; ++remote)
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
    assert.equal(count, 1000);
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
