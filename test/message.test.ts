/**
 * What sendmmsg reads: addresses, control messages, and which datagrams share a UDP_SEGMENT message. The
 * layout of each structure is checked by support/sent-messages.ts with every message of every test; here
 * are the values, and the bytes of one message of each family as Linux's headers define them.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  AF_INET6,
  ENVELOPES_OFFSET,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  MESSAGES_OFFSET,
  OFFLOAD_UDP_SEGMENT,
  SOURCE_GROUP_BYTES,
  SOURCE_PEERS_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_SEGMENT_OFFSET,
  SOURCES_BASE,
} from '../assembly/layout.ts';
import type { DeviceRecord } from '../src/dataplane/devices.ts';
import { BUILDS } from './support/engine.ts';
import { laneOf } from './support/flow.ts';
import { arp, ethernet, ipv4, ipv6, rawPacket, vlan } from './support/frames.ts';
import {
  DEFAULT,
  ENCAP_WORKER,
  HASH_SEED,
  HotPath,
  PORT,
  SOURCE,
  SOURCE_DF,
  type TapFrame,
} from './support/hot-path.ts';
import { raw, tcp } from './support/messages.ts';
import { ECN_ENCAPSULATION } from './support/reference.ts';
import type { SentMessage } from './support/sent-messages.ts';
import { superHeader } from './support/virtio.ts';

const REMOTE = '10.169.72.98';
const v4 = (fields: object) => ethernet({}, ipv4(fields, raw(253)));
const v6 = (fields: object) => ethernet({}, ipv6(fields, raw(253)));
const tagged = (fields: object) => ethernet({}, vlan({ id: 9 }, ipv4(fields, raw(253))));
const other = ethernet({}, arp({ senderIp: '10.0.0.1', targetIp: '10.0.0.2' }));
/** Frames of one flow: whatever its length, such a frame hashes by its ethertype. */
const sized = (...lengths: number[]) =>
  lengths.map((length) => ethernet({}, rawPacket(0x88b5, new Uint8Array(length - 14))));

for (const build of BUILDS) {
  describe(`message (${build})`, async () => {
    const path = await HotPath.open(build);
    const { view, bytes } = path.engine;

    function send(fields: Partial<DeviceRecord>, frames: readonly Uint8Array[]): SentMessage[] {
      const device = path.device(fields);
      const address = fields.family === AF_INET6 ? 'fd00::98' : REMOTE;
      path.entry(device, DEFAULT, [{ address }]);
      return path.encap(frames.map((frame) => ({ frame, device }))).messages;
    }

    const marks = (fields: Partial<DeviceRecord>, frame: Uint8Array) => {
      const [{ tos, ttl }] = send(fields, [frame]) as [SentMessage];
      return [tos, ttl];
    };

    it('TTL and TOS: the device’s own, or the inner packet’s', () => {
      const inherit = { ttl: 'inherit', tos: 'inherit' } as const;
      const ip = { tos: 0x40, ttl: 9 };
      assert.deepEqual(marks({}, v4(ip)), [0, 0], 'the socket’s own');
      assert.deepEqual(marks({ ttl: 255, tos: 0xb8 }, v4(ip)), [0xb8, 255]);
      assert.deepEqual(
        marks({ ttl: 1, tos: 0x13 }, v6({})),
        [0x10, 1],
        'ECN bits of a fixed TOS don’t count',
      );
      assert.deepEqual(marks({ ttl: 7, tos: 4 }, other), [4, 7]);
      assert.deepEqual(marks(inherit, v4(ip)), [0x40, 9]);
      assert.deepEqual(marks(inherit, v6({ trafficClass: 0xfc, hopLimit: 2 })), [0xfc, 2]);
      assert.deepEqual(marks(inherit, tagged(ip)), [0x40, 9]);
      assert.deepEqual(marks(inherit, other), [0, 0]);
      assert.deepEqual(marks({ ...inherit, family: AF_INET6 }, v4(ip)), [0x40, 9]);
    });

    it('ECN: RFC 6040 section 4.1, CE becoming ECT(0)', () => {
      for (const [inner, outer] of ECN_ENCAPSULATION) {
        for (const tos of [0, 0x28, 'inherit'] as const) {
          const expected = (tos === 'inherit' ? 0x44 : tos) | outer;
          assert.equal(marks({ tos }, v4({ tos: 0x44 | inner }))[0], expected);
          assert.equal(marks({ tos }, v6({ trafficClass: 0x44 | inner }))[0], expected);
          assert.equal(marks({ tos }, tagged({ tos: 0x44 | inner }))[0], expected);
        }
      }
    });

    it('DF chooses the source group', () => {
      const group = (df: DeviceRecord['df'], frame: Uint8Array) => send({ df }, [frame])[0]!.source >> 6;
      const [set, clear] = [{ dontFragment: true }, { dontFragment: false }];
      for (const frame of [v4(set), v4(clear), v6({}), tagged(set), other]) {
        assert.equal(group('unset', frame), SOURCE);
        assert.equal(group('set', frame), SOURCE_DF);
      }
      assert.equal(group('inherit', v4(set)), SOURCE_DF);
      assert.equal(group('inherit', v4(clear)), SOURCE);
      assert.equal(group('inherit', v6({})), SOURCE_DF);
      assert.equal(group('inherit', tagged(set)), SOURCE, 'what a tag hides doesn’t count');
      assert.equal(group('inherit', other), SOURCE);
    });

    it('IPv4: sockaddr_in and control messages byte for byte, at absolute addresses', () => {
      const base = 0x7f0012340000n;
      view.setBigUint64(HEADER_BASE + HEADER_ADDRESS_OFFSET, base, true);
      path.source(SOURCE, { local: '10.169.72.93' });
      const device = path.device({ ttl: 64, tos: 0x20, port: 0x1234 });
      path.entry(device, DEFAULT, [{ address: REMOTE, ifindex: 0x01020304 }]);
      path.fill([...sized(60, 60)].map((frame) => ({ frame, device })));
      assert.equal(path.engine.exports.encap(ENCAP_WORKER), 1);
      const message = ENCAP_WORKER + MESSAGES_OFFSET;
      const envelope = ENCAP_WORKER + ENVELOPES_OFFSET;
      const hex = (at: number, length: number) => Buffer.from(bytes.slice(at, at + length)).toString('hex');
      assert.equal(view.getBigUint64(message, true), base + BigInt(envelope));
      assert.equal(view.getBigUint64(message + 32, true), base + BigInt(envelope + 32));
      assert.equal(view.getBigUint64(message + 40, true), 104n);
      assert.equal(hex(envelope, 16), '020012340aa948620000000000000000');
      // cmsg_len 20, SOL_IP, IP_TOS; 20, SOL_IP, IP_TTL; 28, SOL_IP, IP_PKTINFO; 18, SOL_UDP, UDP_SEGMENT
      assert.equal(hex(envelope + 32, 24), '14000000000000000000000001000000' + '2000000000000000');
      assert.equal(hex(envelope + 56, 24), '14000000000000000000000002000000' + '4000000000000000');
      const info = '040302010aa9485d0000000000000000';
      assert.equal(hex(envelope + 80, 32), `1c000000000000000000000008000000${info}`);
      assert.equal(hex(envelope + 112, 18), '12000000000000001100000067000000' + '4400');
      view.setBigUint64(HEADER_BASE + HEADER_ADDRESS_OFFSET, 0n, true);
      path.source(SOURCE, {});
    });

    it('IPv6: sockaddr_in6 with scope, traffic class, hop limit, packet information', () => {
      path.source(SOURCE, { local: 'fd00::93', family: AF_INET6 });
      const device = path.device({ family: AF_INET6, ttl: 3, tos: 0xb8 });
      path.entry(device, DEFAULT, [{ address: 'fe80::98', ifindex: 7, port: 4789 }]);
      const [message] = path.encap([{ frame: v4({}), device }]).messages;
      const { family, remote, port, scope, tos, ttl, ifindex, local } = message!;
      assert.deepEqual([family, remote, port, scope], [AF_INET6, 'fe80::98', 4789, 7]);
      assert.deepEqual([tos, ttl, ifindex, local], [0xb8, 3, 7, 'fd00::93']);
      path.source(SOURCE, {});
      const [plain] = send({ family: AF_INET6 }, [v4({})]);
      assert.deepEqual([plain!.remote, plain!.port, plain!.scope, plain!.local], ['fd00::98', PORT, 0, '']);
    });

    /** Lengths of the datagrams of each message, without VXLAN. */
    const shape = (messages: SentMessage[]) =>
      messages.map(({ datagrams }) => datagrams.map(({ length }) => length - 8));

    it('joins equal datagrams, and one shorter that closes the message', () => {
      const sent = send({}, sized(100, 100, 100, 60, 60, 100, 60, 61));
      assert.deepEqual(shape(sent), [[100, 100, 100, 60], [60], [100, 60], [61]]);
      assert.deepEqual(
        sent.map(({ gsoSize }) => gsoSize),
        [108, 0, 108, 0],
      );
    });

    it('lets a larger datagram go before a smaller one of another flow, and takes that along', () => {
      const lane = laneOf(sized(60)[0]!, HASH_SEED, SOURCE_PORT_COUNT);
      const twin = (from: number): number => {
        const frame = ethernet({}, rawPacket(from, new Uint8Array(46)));
        return laneOf(frame, HASH_SEED, SOURCE_PORT_COUNT) === lane ? from : twin(from + 1);
      };
      const types = [0x88b5, twin(0x9000)];
      types.push(twin(types[1]! + 1));
      /** Frames of three flows of one lane. */
      const mixed = (...frames: [flow: number, length: number][]) =>
        frames.map(([flow, length]) => ethernet({}, rawPacket(types[flow]!, new Uint8Array(length - 14))));
      const flows = (sent: SentMessage[]) =>
        sent.map(({ datagrams }) =>
          datagrams.map((datagram) => {
            const type = (datagram[20]! << 8) | datagram[21]!;
            return `${types.indexOf(type)}:${datagram.length - 8}`;
          }),
        );
      const of = (...frames: [number, number][]) => flows(send({}, mixed(...frames)));
      assert.deepEqual(of([0, 60], [1, 100]), [['1:100', '0:60']]);
      assert.deepEqual(of([0, 60], [0, 100]), [['0:60'], ['0:100']], 'never within a flow');
      assert.deepEqual(of([0, 60], [1, 100], [2, 60]), [['1:100', '0:60'], ['2:60']], 'it is closed');
      assert.deepEqual(of([0, 60], [0, 60], [1, 100]), [['0:60', '0:60'], ['1:100']], 'one, not several');
      assert.deepEqual(of([0, 60], [1, 100], [1, 61], [0, 62], [2, 70]), [
        ['1:100', '0:60'],
        ['0:62', '1:61'],
        ['2:70'],
      ]);
      assert.deepEqual(of([0, 20], [1, 65507]), [['0:20'], ['1:65507']], 'they must fit');
      const sent = send({}, mixed([0, 60], [1, 100]));
      assert.deepEqual([sent[0]!.gsoSize, sent[0]!.iovecs.length], [108, 2]);

      path.offloads(0);
      assert.deepEqual(of([0, 60], [1, 100]), [['0:60'], ['1:100']], 'no UDP_SEGMENT');
      path.offloads(OFFLOAD_UDP_SEGMENT);
      const device = path.device();
      path.entry(device, DEFAULT, [{ address: REMOTE }, { address: '10.0.0.1' }]);
      const fan = path.encap(mixed([0, 60], [1, 100]).map((frame) => ({ frame, device }))).messages;
      assert.deepEqual(flows(fan), [['0:60'], ['0:60'], ['1:100'], ['1:100']], 'to other remotes');
    });

    it('holds at most 64 datagrams and 65507 bytes in a message', () => {
      const counts = (lengths: number[]) => shape(send({}, sized(...lengths))).map((each) => each.length);
      assert.deepEqual(counts(new Array(129).fill(60)), [64, 64, 1]);
      assert.deepEqual(counts(new Array(16).fill(9000)), [7, 7, 2]);
      // 2 * (32745 + 8) = 65506 bytes fit, two more do not.
      assert.deepEqual(counts([32745, 32745]), [2]);
      assert.deepEqual(counts([32746, 32746]), [1, 1]);
      assert.deepEqual(counts([65507, 20]), [1, 1]);
      const frame = ethernet({}, ipv4({}, tcp({ checksum: 'partial' }, new Uint8Array(64000))));
      for (const [size, most] of [
        [1390, 45],
        [100, 64],
      ] as const) {
        const device = path.device();
        path.entry(device, DEFAULT, [{ address: REMOTE }]);
        const sent = path.encap([{ frame, device, virtio: superHeader(frame, size) }]).messages;
        for (const { datagrams } of sent.slice(0, -1)) assert.equal(datagrams.length, most);
      }
    });

    it('never joins what differs in source, remote, port, way out or marks', () => {
      const device = path.device({ tos: 'inherit', df: 'inherit' });
      const remotes = [
        { address: REMOTE },
        { address: '10.0.0.1' },
        { address: '10.0.0.1', port: 1 },
        { address: '10.0.0.1', port: 1, ifindex: 2 },
        { address: '10.0.0.1', port: 1, ifindex: 2, vni: 5 },
      ];
      path.entry(device, DEFAULT, remotes);
      const fan = path.encap([{ frame: other, device }]).messages;
      assert.deepEqual(shape(fan), [[42], [42], [42, 42], [42]], 'the VNI is inside the datagram');
      const same = { tos: 0, dontFragment: false };
      path.entry(device, '02:00:00:00:00:02', [{ address: REMOTE }]);
      const frames = [same, { ...same, tos: 4 }, { ...same, tos: 4, dontFragment: true }].map(v4);
      const flow = v4({ ...same, tos: 4, dontFragment: true, source: '10.7.7.7' });
      const sent = path.encap([...frames, flow].map((frame) => ({ frame, device }))).messages;
      assert.equal(sent.length, 4);
      assert.equal(new Set(sent.map(({ source }) => source)).size, 3);
    });

    it('never joins where the source or the dataplane forbids it', () => {
      path.source(SOURCE, { segment: false });
      assert.deepEqual(shape(send({}, sized(60, 60))), [[60], [60]]);
      path.source(SOURCE, {});
      path.offloads(0);
      assert.deepEqual(shape(send({}, sized(60, 60))), [[60], [60]]);
      path.offloads(OFFLOAD_UDP_SEGMENT);
      assert.deepEqual(shape(send({}, sized(60, 60))), [[60, 60]]);
    });

    it('sorts by source: one run each, in which the order of a flow is kept', () => {
      // readRuns() refuses neighbours that should be one run.
      const flows = [1, 2, 3, 1, 2, 1].map((n, ttl) => v4({ source: `10.3.0.${n}`, ttl }));
      const sent = send({}, [...flows, ...sized(1000, 60, 1000)]);
      const sources = sent.map(({ source }) => source).filter((source, i, all) => source !== all[i - 1]);
      assert.equal(new Set(sources).size, 4);
      assert.equal(sources.length, 4);
      assert.deepEqual(shape(sent), [[34, 34, 34], [34, 34], [34], [1000, 60], [1000]]);
      const ttls = sent.slice(0, 3).map(({ datagrams }) => datagrams.map((bytes) => bytes[30]));
      assert.deepEqual(ttls, [[0, 3, 5], [1, 4], [2]]);
    });

    it('leaves the name away where the socket is connected to just that, and nothing else is said', () => {
      const namesOf = (runs: number) =>
        Array.from({ length: runs }, (_, i) =>
          view.getUint32(ENCAP_WORKER + MESSAGES_OFFSET + i * 64 + 8, true),
        );
      const one = (fields: Partial<DeviceRecord>, remote: object, frame = other) => {
        const device = path.device(fields);
        path.entry(device, DEFAULT, [{ address: REMOTE, ...remote }]);
        path.fill([{ frame, device }]);
        return namesOf(path.engine.exports.encap(ENCAP_WORKER));
      };
      const [{ source }] = send({}, [other]) as [SentMessage];
      const peer = SOURCES_BASE + SOURCE * SOURCE_GROUP_BYTES + SOURCE_PEERS_OFFSET + (source % 64) * 32;
      bytes.set([2, 0, PORT >> 8, PORT & 255, 10, 169, 72, 98], peer);
      assert.deepEqual(one({}, {}), [0]);
      assert.deepEqual(one({}, { port: 1 }), [16]);
      assert.deepEqual(one({}, { address: '10.169.72.99' }), [16]);
      assert.deepEqual(one({}, { ifindex: 3 }), [16]);
      assert.deepEqual(one({ ttl: 9 }, {}), [16]);
      bytes.fill(0, peer, peer + 32);
      assert.deepEqual(one({}, {}), [16]);
      const six = { family: AF_INET6 } as const;
      bytes.set([10, 0, PORT >> 8, PORT & 255], peer);
      bytes.set([0xfd, ...new Array(14).fill(0), 0x98], peer + 8);
      assert.deepEqual(one(six, { address: 'fd00::98' }), [0]);
      assert.deepEqual(one(six, { address: 'fd00::99' }), [28]);
      assert.deepEqual(one({ ...six, flowlabel: 5 }, { address: 'fd00::98' }), [28]);
      bytes.fill(0, peer, peer + 32);
    });

    it('keeps the iovecs of a message together, however many come between', () => {
      for (const turns of [2, 3, 7, 21, 64]) {
        const all = Array.from({ length: 128 }, (_, i) =>
          v4({ source: `10.3.0.${i % turns}`, identification: i }),
        );
        const sent = send({}, all);
        for (const { datagrams } of sent) {
          const order = datagrams.map((bytes) => (bytes[26]! << 8) | bytes[27]!);
          assert.deepEqual(
            order,
            [...order].sort((one, other) => one - other),
          );
        }
        const seen = sent.flatMap(({ datagrams }) =>
          datagrams.map((bytes) => Buffer.from(bytes).toString('hex')),
        );
        assert.equal(new Set(seen).size, 128, `${turns} flows`);
      }
    });

    it('stays inside its memory when a source loses UDP_SEGMENT while a frame is being cut', async () => {
      const device = path.device();
      path.entry(device, DEFAULT, [{ address: REMOTE }]);
      const at = SOURCES_BASE + SOURCE * SOURCE_GROUP_BYTES + SOURCE_SEGMENT_OFFSET;
      const script = `
        const { workerData: { buffer, at }, parentPort } = require('node:worker_threads');
        const bytes = new Uint8Array(buffer);
        let stop = false;
        parentPort.on('message', () => { stop = true; });
        // Now and then within the microseconds that a frame takes, and for the rest of them.
        const turn = () => {
          for (let i = 0; i < 2000; i++) {
            Atomics.xor(bytes, at, 1);
            for (let wait = (i % 97) * 40; wait > 0; wait--) Atomics.load(bytes, at);
          }
          if (stop) parentPort.close(); else setImmediate(turn);
        };
        turn();`;
      const worker = new Worker(script, {
        eval: true,
        workerData: { buffer: path.engine.memory.buffer, at },
      });
      await new Promise((resolve) => worker.once('online', resolve));
      const frame = ethernet({}, ipv4({}, tcp({ checksum: 'partial' }, new Uint8Array(60000))));
      const frames: TapFrame[] = [{ frame, device, virtio: superHeader(frame, 45) }];
      for (let round = 0; round < 400; round++) {
        path.takeCounters(device);
        const { datagrams } = path.encap(frames);
        const dropped = path.counters(device).drop_bad_offload ?? 0;
        assert.equal(datagrams.length, dropped === 1 ? 0 : 1334);
      }
      worker.postMessage('stop');
      await new Promise((resolve) => worker.once('exit', resolve));
      path.source(SOURCE, {});
    });
  });
}
