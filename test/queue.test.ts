/** The batch door: what it carries against the naive references and the simple door, over random frames; and all tables. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  macOf,
  OWN,
  PORT,
  ping,
  planeWith,
  refused,
  SENDER,
  seedOf,
  send,
  VNI,
  vxlan,
  ZERO,
} from './support/embedded.ts';
import { laneOf } from './support/flow.ts';
import { arp, concat, ethernet, ipv4, ipv6, vlan } from './support/frames.ts';
import { icmp, tcp, udp } from './support/messages.ts';
import { below, mutated, type Prng } from './support/mutate.ts';
import { decapNaively, type NaiveDevice } from './support/naive-decap.ts';
import { encapNaively } from './support/naive-encap.ts';
import { verifyFrame } from './support/parse.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED } from './support/virtio.ts';

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
