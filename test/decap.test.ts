/**
 * The way in: each verdict in the kernel's order, learning, ECN, bundles of datagrams, control messages
 * that lie, and a walk that needs several calls. support/naive-decap.ts says what must come out.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IP_TOS, IPV6_TCLASS, SOL_IP, SOL_IPV6, SOL_UDP, UDP_GRO } from '../assembly/layout.ts';
import type { DeviceRecord } from '../src/dataplane/devices.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, ipv6, rawPacket, vlan } from './support/frames.ts';
import { HotPath, LISTENER, OWN_MAC, VNI } from './support/hot-path.ts';
import { icmp, raw, udp } from './support/messages.ts';
import { decapNaively, type NaiveDevice } from './support/naive-decap.ts';
import { verifyFrame } from './support/parse.ts';
import { controlMessage, int32, type Received, SENDER } from './support/received-messages.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED } from './support/virtio.ts';

const HOST = '02:00:00:00:00:01';
const ping = (source = HOST) => ethernet({ source }, ipv4({}, icmp({}, new Uint8Array(56))));
const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);

for (const build of BUILDS) {
  describe(`decap (${build})`, async () => {
    const path = await HotPath.open(build);

    function deviceOf(fields: Partial<DeviceRecord> & { up?: boolean } = {}): [number, NaiveDevice] {
      const index = path.device(fields);
      const { up = true, learning = false } = fields;
      return [index, { vni: fields.vni ?? VNI + index - 1, mac: OWN_MAC, up, learning, fdb: new Map() }];
    }

    /** One datagram through the engine and through the reference; @returns the verdict both gave */
    function check(index: number, device: NaiveDevice, datagram: Received): string {
      const { bytes, sender = SENDER, tos = 0 } = datagram;
      const { verdict, frame, learned, device: found } = decapNaively(bytes, sender, tos, [device]);
      path.takeCounters(0);
      path.takeCounters(index);
      const writes = path.decap([datagram]);
      const row = found ? index : 0;
      assert.deepEqual(path.takeCounters(row === 0 ? index : 0), {}, 'no other device is concerned');
      assert.deepEqual(path.takeCounters(row), {
        [verdict]: 1,
        ...(learned && { [learned]: 1 }),
        ...(frame && frame.length > 14 && { decap_bytes: frame.length - 14 }),
      });
      assert.deepEqual(
        writes.map((write) => [write.device, write.virtio, write.frame]),
        frame ? [[index, NOTHING_ASKED, frame]] : [],
      );
      return verdict;
    }

    it('datagrams cut short at every length', () => {
      const [index, device] = deviceOf({ learning: true });
      const verdicts = new Map<string, number>();
      for (const inner of [
        ping(),
        ethernet({}, ipv6({}, icmp())),
        ethernet({}, rawPacket(0x88b5, new Uint8Array(60))),
      ]) {
        for (let length = 0; length <= 60; length++) {
          const verdict = check(index, device, {
            bytes: vxlan(device.vni, inner).subarray(0, length),
            tos: 2,
          });
          verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        }
      }
      assert.deepEqual(Object.fromEntries(verdicts), {
        drop_short_datagram: 3 * 8,
        drop_short_inner_frame: 3 * 14,
        drop_short_inner_ip_received: 20 + 39,
        decap_packets: 19 + 39,
      });
    });

    it('drop_no_vni_flag, drop_reserved_bits: each bit of the first word and the last byte', () => {
      const [index, device] = deviceOf({ vni: 0xa5a5a5 });
      for (let bit = 0; bit < 64; bit++) {
        const bytes = vxlan(device.vni, ping());
        bytes[bit >> 3]! ^= 0x80 >> (bit & 7);
        const isVni = bit >= 32 && bit < 56;
        const expected = isVni ? 'drop_unknown_vni' : 'drop_reserved_bits';
        const verdict = check(index, device, { bytes });
        assert.equal(verdict, bit === 4 ? 'drop_no_vni_flag' : expected, `bit ${bit}`);
      }
    });

    it('drop_unknown_vni: of another listener too', () => {
      const [index, device] = deviceOf();
      const bytes = vxlan(device.vni, ping());
      assert.equal(path.decap([{ bytes }], LISTENER + 1).length, 0);
      assert.deepEqual(path.takeCounters(0), { drop_unknown_vni: 1 });
      assert.equal(check(index, device, { bytes }), 'decap_packets');
    });

    it('drop_truncated: the buffer was too small', () => {
      const [, device] = deviceOf();
      const bytes = vxlan(device.vni, ping());
      const writes = path.decap([{ bytes, truncated: true }, { bytes, truncated: true, gro: 50 }, { bytes }]);
      assert.equal(writes.length, 1);
      assert.deepEqual(path.takeCounters(0), { drop_truncated: 2 });
    });

    it('drop_local_mac, drop_invalid_source_mac: the latter while learning only', () => {
      for (const learning of [true, false]) {
        const [index, device] = deviceOf({ learning });
        const verdict = (source: string) => check(index, device, { bytes: vxlan(device.vni, ping(source)) });
        assert.equal(verdict(OWN_MAC), 'drop_local_mac');
        for (const source of ['00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01']) {
          assert.equal(verdict(source), learning ? 'drop_invalid_source_mac' : 'decap_packets');
        }
      }
    });

    it('learns, follows a move, and drop_entry_exists where an entry is fixed', () => {
      const [index, device] = deviceOf({ learning: true });
      const FIXED = '02:00:00:00:00:0f';
      path.entry(index, FIXED, [{ address: '10.0.0.1' }]);
      device.fdb.set(FIXED, { sender: '10.0.0.1', fixed: true });
      const from = (sender: string, source?: string) =>
        check(index, device, { bytes: vxlan(device.vni, ping(source)), sender });
      assert.equal(from('10.0.0.1'), 'decap_packets');
      assert.equal(from('10.0.0.1'), 'decap_packets');
      assert.equal(from('10.0.0.2'), 'decap_packets');
      assert.equal(from('10.0.0.1', FIXED), 'decap_packets');
      assert.equal(from('10.0.0.2', FIXED), 'drop_entry_exists');
      const reply = ethernet({ destination: HOST }, ipv4({}, icmp()));
      assert.equal(path.encap([{ frame: reply, device: index }]).datagrams[0]?.remote, '10.0.0.2');
    });

    it('learns a link-local sender together with the interface it was heard on', () => {
      const [index, device] = deviceOf({ learning: true, family: 10 });
      const bytes = vxlan(device.vni, ping());
      path.decap([{ bytes, sender: 'fe80::98', scope: 7 }]);
      const reply = ethernet({ destination: HOST }, ipv4({}, icmp()));
      const [message] = path.encap([{ frame: reply, device: index }]).messages;
      assert.deepEqual([message?.remote, message?.scope, message?.ifindex], ['fe80::98', 7, 7]);
      assert.equal(path.takeCounters(index).fdb_learned, 1);
      path.decap([{ bytes, sender: 'fe80::98', scope: 7 }]);
      assert.equal(path.takeCounters(index).fdb_moved, undefined);
    });

    it('counts what does not fit into the table, and delivers it', () => {
      const [index, device] = deviceOf({ learning: true, maxaddress: 1 });
      const sources = [1, 2, 3].map((n) => `02:00:00:00:01:0${n}`);
      const writes = path.decap(sources.map((source) => ({ bytes: vxlan(device.vni, ping(source)) })));
      assert.equal(writes.length, 3);
      const { fdb_learned, fdb_full } = path.counters(index);
      assert.deepEqual([fdb_learned, fdb_full], [1, 2]);
    });

    it('counts what is not learned from while the table is written to, and delivers it; the next one is', () => {
      const [index, device] = deviceOf({ learning: true });
      const bytes = vxlan(device.vni, ping());
      path.engine.exports.fdbLock();
      assert.equal(path.decap([{ bytes }]).length, 1);
      path.engine.exports.fdbUnlock();
      assert.equal(path.counters(index).fdb_learned, undefined);
      assert.equal(path.counters(index).fdb_busy, 1);
      assert.equal(path.decap([{ bytes }]).length, 1);
      assert.equal(path.counters(index).fdb_learned, 1);
      assert.equal(path.counters(index).fdb_busy, 1);
    });

    it('ECN: the sixteen pairs, IPv4 with its checksum repaired, IPv6, and what is not looked at', () => {
      const [index, device] = deviceOf();
      for (let outer = 0; outer < 4; outer++) {
        for (let inner = 0; inner < 4; inner++) {
          const tos = 0xb8 | inner;
          const sides = [
            ethernet({}, ipv4({ tos }, udp())),
            ethernet({}, ipv4({ tos, checksum: 0x1234 }, udp())),
            ethernet({}, ipv6({ trafficClass: tos }, udp())),
            ethernet({}, vlan({ id: 2 }, ipv4({ tos }, udp()))),
            ethernet({}, rawPacket(0x88b5, new Uint8Array(60))),
          ];
          for (const [i, frame] of sides.entries()) {
            for (const sender of [SENDER, 'fd00::98']) {
              const datagram = { bytes: vxlan(device.vni, frame), tos: 0xfc | outer, sender };
              const verdict = check(index, device, datagram);
              assert.equal(verdict === 'drop_ecn', outer === 3 && inner === 0 && i < 3);
              const [write] = path.decap([datagram]);
              if (i !== 1 && write) assert.notEqual(verifyFrame(write.frame).ipv4, false);
            }
          }
        }
      }
    });

    it('a frame dropped for its ECN or length has still taught its source', () => {
      const [index, device] = deviceOf({ learning: true });
      const bytes = vxlan(device.vni, ping());
      assert.equal(check(index, device, { bytes, tos: 3 }), 'drop_ecn');
      const cut = vxlan(device.vni, ping('02:00:00:00:02:02')).subarray(0, 30);
      assert.equal(check(index, device, { bytes: cut }), 'drop_short_inner_ip_received');
      assert.equal(device.fdb.size, 2);
    });

    it('with latelearning only what is delivered has taught its source', () => {
      const [index, device] = deviceOf({ learning: true, features: { latelearning: true } });
      const arrive = (bytes: Uint8Array, tos: number) => {
        path.takeCounters(index);
        const writes = path.decap([{ bytes, sender: SENDER, tos }]);
        const { decap_bytes: _, ...counters } = path.takeCounters(index);
        return [counters, ...writes.map(({ frame }) => frame)] as const;
      };
      const bytes = vxlan(device.vni, ping());
      assert.deepEqual(arrive(bytes, 3), [{ drop_ecn: 1 }]);
      assert.deepEqual(arrive(bytes.subarray(0, 30), 0), [{ drop_short_inner_ip_received: 1 }]);
      const zero = vxlan(device.vni, ping('00:00:00:00:00:00'));
      assert.deepEqual(arrive(zero, 0), [{ drop_invalid_source_mac: 1 }]);
      path.setUp(index, false);
      assert.deepEqual(arrive(bytes, 0), [{ drop_device_down: 1 }]);
      path.setUp(index, true);
      assert.deepEqual(arrive(bytes, 0), [{ decap_packets: 1, fdb_learned: 1 }, ping()]);
      // Marks are carried over once, and what is fixed stays fixed.
      const able = ethernet({ source: HOST }, ipv4({ tos: 2 }, udp()));
      const marked = ethernet({ source: HOST }, ipv4({ tos: 3 }, udp()));
      assert.deepEqual(arrive(vxlan(device.vni, able), 3), [{ decap_packets: 1 }, marked]);
      path.entry(index, '02:00:00:00:00:0f', [{ address: '10.0.0.77' }]);
      const spoofed = vxlan(device.vni, ping('02:00:00:00:00:0f'));
      assert.deepEqual(arrive(spoofed, 0), [{ drop_entry_exists: 1 }]);
    });

    it('drop_device_down: last of all, and nothing is learned', () => {
      const [index, device] = deviceOf({ learning: true, up: false });
      const bytes = vxlan(device.vni, ping());
      assert.equal(check(index, device, { bytes }), 'drop_device_down');
      assert.equal(check(index, device, { bytes, tos: 3 }), 'drop_ecn');
      path.setUp(index, true);
      device.up = true;
      assert.equal(check(index, device, { bytes }), 'decap_packets');
    });

    it('takes bundles apart: every size, the last datagram shorter', () => {
      const [index, device] = deviceOf();
      for (const size of [1, 7, 22, 23, 49, 50, 106, 1458, 8958]) {
        for (const length of [size + 1, 2 * size - 1, 2 * size, 3 * size + 1, Math.min(65507, 64 * size)]) {
          if (length <= size) continue;
          const filler = vxlan(
            device.vni,
            ethernet({}, rawPacket(0x88b5, randomBytes(mulberry32(length), 9000))),
          );
          const parts = Array.from({ length: Math.ceil(length / size) }, (_, i) =>
            filler.subarray(0, Math.min(size, length - i * size)),
          );
          const verdicts = parts.map((part) => decapNaively(part, SENDER, 0, [device]));
          path.takeCounters(0);
          path.takeCounters(index);
          const writes = path.decap([{ bytes: concat(...parts), gro: size }]);
          assert.deepEqual(
            writes.map(({ frame }) => Buffer.from(frame).toString('base64')),
            verdicts.flatMap(({ frame }) => (frame ? [Buffer.from(frame).toString('base64')] : [])),
          );
          const counted = Object.values({ ...path.counters(0), ...path.counters(index), decap_bytes: 0 });
          assert.equal(
            counted.reduce((sum, count) => sum + count, 0),
            parts.length,
          );
        }
      }
    });

    it('goes on where the writes ran out: nothing lost, nothing twice, in order', () => {
      const [, device] = deviceOf();
      const bundle = (from: number) =>
        concat(
          ...Array.from({ length: 200 }, (_, i) =>
            vxlan(device.vni, ethernet({}, rawPacket(0x88b5, Uint8Array.of((from + i) >> 8, from + i)))),
          ),
        );
      const datagrams = [0, 1, 2, 3, 4].map((n) => ({ bytes: bundle(200 * n), gro: 24 }));
      const single = { bytes: vxlan(device.vni, ethernet({}, rawPacket(0x88b5, Uint8Array.of(3, 232)))) };
      const writes = path.decap([...datagrams, single]);
      assert.deepEqual(
        writes.map(({ frame }) => (frame[14]! << 8) | frame[15]!),
        Array.from({ length: 1001 }, (_, i) => i),
      );
      assert.equal(new Set(writes.map(({ call }) => call)).size, 4);
    });

    it('reads control messages no further than they go, and survives lies in them', () => {
      const [, device] = deviceOf();
      // One byte behind the packet, or it would be taken for a super-frame whatever the socket says.
      const frame = concat(ethernet({}, ipv4({ tos: 2 }, raw(253, new Uint8Array(10)))), new Uint8Array(1));
      const datagram = vxlan(device.vni, frame);
      const tos = (length: number) => controlMessage(SOL_IP, IP_TOS, Uint8Array.of(3), length);
      const gro = (length: number) => controlMessage(SOL_UDP, UDP_GRO, int32(20), length);
      const other = controlMessage(SOL_IP, 8, new Uint8Array(12));
      const nowhere = controlMessage(1, 2, new Uint8Array(80));
      /** Data, then how many writes it makes of the datagram and with which inner ECN. */
      const cases: [Uint8Array, number, number?][] = [
        [new Uint8Array(0), 1, 2],
        [tos(17), 1, 3],
        [concat(other, tos(17)), 1, 3],
        [concat(gro(20), tos(17)), 0],
        [concat(tos(17), gro(20)), 0],
        [tos(17).subarray(0, 17), 1, 3],
        [tos(17).subarray(0, 16), 1, 2],
        // No data, a part of the data, less than a header, nothing, beyond the end, far beyond it.
        [tos(16), 1, 2],
        [gro(16), 1, 2],
        [gro(19), 1, 2],
        [tos(15), 1, 2],
        [concat(controlMessage(0, 0, new Uint8Array(0), 0), tos(17)), 1, 2],
        [tos(25), 1, 2],
        [tos(2 ** 32 + 17), 1, 2],
        [tos(Number.MAX_SAFE_INTEGER), 1, 2],
        [concat(nowhere, tos(17)), 1, 2],
        [new Uint8Array(96).fill(0xff), 1, 2],
        [controlMessage(SOL_UDP, UDP_GRO, int32(0)), 1, 2],
        [controlMessage(SOL_UDP, UDP_GRO, int32(-20)), 1, 2],
        [controlMessage(SOL_UDP, UDP_GRO, int32(datagram.length)), 1, 2],
        [controlMessage(SOL_UDP, UDP_GRO, int32(0x7fffffff)), 1, 2],
        // The other family's word says nothing about this sender's datagram.
        [controlMessage(SOL_IPV6, IPV6_TCLASS, int32(3)), 1, 2],
      ];
      const results = [0x00, 0x03, 0xff].map((surroundings) => {
        path.surroundings = surroundings;
        return cases.map(([control]) => {
          const writes = path.decap([{ bytes: datagram, control }]);
          return [writes.length, writes[0] && writes[0].frame[15]! & 3];
        });
      });
      path.surroundings = 0xa5;
      for (const result of results) {
        for (const [i, [, count, ecn]] of cases.entries())
          assert.deepEqual(result[i], [count, ecn], `case ${i}`);
      }
    });
  });
}
