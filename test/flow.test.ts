/**
 * What the flow hash counts and what it doesn't, as seen on Linux; that it spreads flows evenly; and that it
 * reads no further than the frame.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BUILDS, loadEngine } from './support/engine.ts';
import { flowHash } from './support/flow.ts';
import {
  arp,
  concat,
  ethernet,
  type Ipv4Fields,
  type Ipv6Fields,
  ipv4,
  ipv6,
  type Message,
  rawPacket,
  vlan,
} from './support/frames.ts';
import { icmp, icmpv6, raw, sctp, tcp, udp } from './support/messages.ts';
import { mulberry32, randomBytes } from './support/reference.ts';

const SEED = 0x1badb002;
const BUCKETS = 64;
const FLOWS = 4096;
/** Of 63 degrees of freedom; one in a million even spreads exceeds it. */
const CHI_SQUARE_MAX = 129;

const A = '10.244.1.2';
const B = '10.244.2.9';
const A6 = 'fd00:1::2';
const B6 = 'fd00:2::9';

const v4 = (inner: Message, fields: Ipv4Fields = {}) =>
  ethernet({}, ipv4({ source: A, destination: B, ...fields }, inner));
const v6 = (inner: Message, fields: Ipv6Fields = {}) =>
  ethernet({}, ipv6({ source: A6, destination: B6, ...fields }, inner));
const ports = (sourcePort: number, destinationPort: number) => ({ sourcePort, destinationPort });

for (const build of BUILDS) {
  describe(`flow (${build})`, async () => {
    const { exports, bytes, scratch } = await loadEngine(build);

    function hash(frame: Uint8Array, seed = SEED): number {
      bytes.fill(0xff, scratch, scratch + frame.length + 256);
      bytes.set(frame, scratch);
      return exports.flowHash(scratch, frame.length, seed) >>> 0;
    }

    function same(frame: Uint8Array, other: Uint8Array): void {
      assert.equal(hash(frame), hash(other));
    }

    function differ(...frames: Uint8Array[]): void {
      assert.equal(new Set(frames.map((frame) => hash(frame))).size, frames.length);
    }

    it('gives both directions one hash', () => {
      const back4 = { source: B, destination: A };
      const back6 = { source: B6, destination: A6 };
      for (const message of [tcp, udp, sctp]) {
        same(v4(message(ports(4000, 80))), v4(message(ports(80, 4000)), back4));
        same(v6(message(ports(4000, 80))), v6(message(ports(80, 4000)), back6));
      }
      same(v4(icmp()), v4(icmp(), back4));
      same(v6(icmpv6()), v6(icmpv6(), back6));
    });

    it('keeps an address with its port', () => {
      differ(v4(tcp(ports(4000, 80))), v4(tcp(ports(80, 4000))));
      differ(v6(tcp(ports(4000, 80))), v6(tcp(ports(80, 4000))));
    });

    it('counts addresses, protocol and ports', () => {
      const flow = ports(4000, 80);
      const other4 = { destination: '10.244.2.10' };
      const other6 = { destination: 'fd01:2::9' };
      differ(v4(tcp(flow)), v4(udp(flow)), v4(sctp(flow)), v4(tcp(ports(4001, 80))), v4(tcp(flow), other4));
      differ(v6(tcp(flow)), v6(udp(flow)), v6(sctp(flow)), v6(tcp(ports(4001, 80))), v6(tcp(flow), other6));
    });

    it('counts neither MACs nor TTL, TOS, lengths, flags and flow labels', () => {
      const payload = new Uint8Array(100);
      const macs = { source: '02:aa:aa:aa:aa:aa', destination: '02:bb:bb:bb:bb:bb' };
      const fields = { source: A, destination: B, ttl: 3, tos: 0xff, identification: 9, dontFragment: true };
      same(v4(tcp()), ethernet(macs, ipv4(fields, tcp({ sequence: 99, flags: 'SA', window: 1 }, payload))));
      const fields6 = { source: A6, destination: B6, hopLimit: 3, trafficClass: 0xff, flowLabel: 0x12345 };
      same(v6(udp()), ethernet(macs, ipv6(fields6, udp({}, payload))));
    });

    it('gives the fragments of a message one hash, without ports', () => {
      const first = v4(udp(ports(1, 2), new Uint8Array(64)), { moreFragments: true });
      same(first, v4(raw(17, new Uint8Array(64).fill(0x5a)), { fragmentOffset: 72, moreFragments: true }));
      same(first, v4(raw(17, new Uint8Array(8)), { fragmentOffset: 136 }));
      same(first, v4(udp(ports(8, 9)), { moreFragments: true }));
      differ(first, v4(udp(ports(1, 2))));
      const first6 = v6(udp(ports(1, 2), new Uint8Array(64)), { fragment: { offset: 0, more: true } });
      same(first6, v6(raw(17, new Uint8Array(64).fill(0x5a)), { fragment: { offset: 72, more: false } }));
      differ(first6, v6(udp(ports(1, 2))));
    });

    it('looks behind IPv4 options and a handful of IPv6 extension headers', () => {
      same(v4(tcp()), v4(tcp(), { options: new Uint8Array(40).fill(1) }));
      const options = [{ type: 0 }, { type: 60, bytes: new Uint8Array(20) }, { type: 43 }, { type: 60 }];
      same(v6(tcp()), v6(tcp(), { extensions: options }));
      const many = Array.from({ length: 7 }, () => ({ type: 60 }));
      same(v6(tcp(ports(1, 2)), { extensions: many }), v6(tcp(ports(3, 4)), { extensions: many }));
    });

    it('counts addresses alone in tagged frames', () => {
      const packet = (message: Message) => ipv4({ source: A, destination: B }, message);
      const frame = ethernet({}, vlan({ id: 5 }, packet(tcp(ports(1, 2)))));
      same(frame, ethernet({}, vlan({ id: 6, priority: 7 }, packet(tcp(ports(3, 4))))));
      same(frame, ethernet({}, vlan({ id: 6, type: 0x88a8 }, vlan({ id: 7 }, packet(udp())))));
      same(frame, ethernet({}, vlan({ id: 5 }, packet(icmp()))));
      differ(frame, ethernet({}, vlan({ id: 5 }, ipv4({ source: A, destination: A }, tcp()))));
      const packet6 = (message: Message) => ipv6({ source: A6, destination: B6 }, message);
      same(ethernet({}, vlan({ id: 5 }, packet6(tcp()))), ethernet({}, vlan({ id: 9 }, packet6(udp()))));
    });

    it('counts the ethertype alone of what is not IP', () => {
      const request = ethernet({}, arp({ senderIp: A, targetIp: B }));
      same(
        request,
        ethernet({ source: '02:cc:cc:cc:cc:cc' }, arp({ operation: 2, senderIp: B, targetIp: A })),
      );
      differ(
        request,
        ethernet({}, rawPacket(0x8847, new Uint8Array(50))),
        ethernet({}, rawPacket(0x0800, new Uint8Array(19))),
      );
    });

    it('counts addresses and protocol alone of ICMP', () => {
      same(v4(icmp({ identifier: 1 })), v4(icmp({ type: 0, identifier: 2, sequence: 3 })));
      same(v6(icmpv6({ identifier: 1 })), v6(icmpv6({ type: 129, identifier: 2, sequence: 3 })));
    });

    it('agrees with the plain version on any frame cut anywhere', () => {
      const prng = mulberry32(1);
      const extensions = [{ type: 0 }, { type: 60, bytes: new Uint8Array(9) }];
      const tags = (count: number) =>
        Array.from({ length: count }).reduce<ReturnType<typeof ipv4>>(
          (inner) => vlan({ id: 1 }, inner),
          ipv4({}, udp()),
        );
      const frames = [
        v4(tcp()),
        v4(udp(), { options: new Uint8Array(40) }),
        v4(sctp(ports(7, 8))),
        v4(icmp()),
        v4(udp(), { moreFragments: true }),
        v6(tcp()),
        v6(udp(), { extensions }),
        v6(udp(), { extensions, fragment: { offset: 8, more: true } }),
        ethernet({}, tags(3)),
        ethernet({}, tags(8)),
        ethernet({}, tags(9)),
        ethernet({}, arp({ senderIp: A, targetIp: B })),
      ];
      for (const frame of frames) {
        for (let length = 0; length <= frame.length; length++) {
          const seed = Math.floor(prng() * 2 ** 32);
          const cut = frame.subarray(0, length);
          const expected = flowHash(cut, seed);
          assert.equal(hash(cut, seed), expected, `${length} bytes`);
          bytes.set(randomBytes(prng, 128), scratch + length);
          assert.equal(
            exports.flowHash(scratch, length, seed) >>> 0,
            expected,
            `${length} bytes, others behind`,
          );
        }
      }
      const types = fc.constantFrom([8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8], [8, 6]);
      fc.assert(
        fc.property(types, fc.uint8Array({ maxLength: 120 }), fc.nat(), (type, rest, seed) => {
          const frame = concat(new Uint8Array(12), Uint8Array.from(type), rest);
          assert.equal(hash(frame, seed), flowHash(frame, seed));
        }),
        { numRuns: 1000 },
      );
    });

    it('depends on the seed', () => {
      const hashes = Array.from({ length: 100 }, (_, seed) => hash(v4(tcp()), seed));
      assert.equal(new Set(hashes).size, 100);
    });

    it('spreads flows evenly, by any of its bits and over ports and slots', () => {
      const shapes: Record<string, (i: number) => Uint8Array> = {
        'consecutive ports': (i) => v4(tcp(ports(32768 + i, 80))),
        'even ports, as Linux picks them': (i) => v4(tcp(ports(32768 + 2 * i, 5201))),
        'consecutive addresses': (i) => v4(udp(), { destination: `10.244.${i >> 8}.${i & 255}` }),
        'pods of two nodes': (i) =>
          v4(icmp(), { source: `10.244.1.${i & 63}`, destination: `10.244.2.${64 + (i >> 6)}` }),
        'pods and their ports': (i) => v4(tcp(ports(40000 + (i & 63), 80)), { source: `10.244.1.${i >> 6}` }),
        'IPv6 ports': (i) => v6(tcp(ports(32768 + i, 443))),
        'IPv6 addresses': (i) => v6(udp(), { destination: `fd00:2::${(i + 1).toString(16)}` }),
        'IPv6 subnets': (i) => v6(udp(), { destination: `fd00:${(i + 1).toString(16)}::9` }),
      };
      const buckets: Record<string, (hash: number) => number> = {
        'high bits': (value) => value >>> 26,
        'low bits': (value) => value & (BUCKETS - 1),
        slot: (value) => exports.flowSlot(value, BUCKETS),
        port: (value) => exports.flowPort(value, 49152, 49152 + BUCKETS) - 49152,
      };
      for (const [shape, frameOf] of Object.entries(shapes)) {
        for (const seed of [0, 1, SEED]) {
          const hashes = Array.from({ length: FLOWS }, (_, i) => hash(frameOf(i), seed));
          assert.ok(new Set(hashes).size > FLOWS - 4, `${shape}: hashes collide`);
          for (const [name, bucketOf] of Object.entries(buckets)) {
            const value = chiSquare(hashes.map(bucketOf));
            assert.ok(value < CHI_SQUARE_MAX, `${shape}, seed ${seed}, ${name}: chi-square ${value}`);
          }
        }
      }
    });

    it('scales a hash to a half-open range of ports and to slots as the kernel does', () => {
      const u32 = fc.integer({ min: 0, max: 0xffffffff });
      const edges = fc.oneof(fc.constantFrom(0, 1, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff), u32);
      fc.assert(
        fc.property(edges, fc.nat(65535), fc.nat(65535), (value, one, other) => {
          const [min, max] = [Math.min(one, other), Math.max(one, other)];
          const spread = BigInt((value ^ (value << 16)) >>> 0);
          const expected = Number((spread * BigInt(max - min)) >> 32n);
          assert.equal(exports.flowPort(value, min, max), min + expected);
          assert.equal(exports.flowSlot(value, max - min), expected);
        }),
        { numRuns: 1000 },
      );
      for (let value = 0; value < 1000; value++) {
        const mixed = Math.imul(value, 0x9e3779b1);
        assert.equal(exports.flowPort(mixed, 50000, 50001), 50000);
        assert.ok([50000, 50001].includes(exports.flowPort(mixed, 50000, 50002)));
        assert.equal(exports.flowPort(mixed, 50000, 50000), 50000);
      }
    });
  });
}

function chiSquare(drawn: number[]): number {
  const counts = new Array<number>(BUCKETS).fill(0);
  for (const bucket of drawn) counts[bucket]! += 1;
  const expected = drawn.length / BUCKETS;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}
