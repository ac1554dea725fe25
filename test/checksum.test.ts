/**
 * RFC 1071 and RFC 1624 against the byte-pair loop: every length to 2100 at every kind of alignment, the
 * carries of all-ones inputs, and proof that nothing around the input is read or written.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BUILDS, loadEngine } from './support/engine.ts';
import { ethernet, ipv4, ipv6, vlan } from './support/frames.ts';
import { icmp, icmpv6, tcp, tcpTimestamps, udp } from './support/messages.ts';
import { parseFrame, verifyFrame } from './support/parse.ts';
import { internetSum, mulberry32, pseudoIpv4, pseudoIpv6, randomBytes, swap16 } from './support/reference.ts';

const GUARD_BYTES = 128;
const LONG_LENGTHS = [2304, 4095, 8999, 9000, 9001, 65534, 65535, 65536, 131070, 131071];
/** RFC 1071 section 3 */
const RFC_1071_BYTES = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
const RFC_1071_SUM = 0xddf2;
/** A UDP packet's IPv4 header, checksum 0xb861. */
const IPV4_HEADER = Uint8Array.from(Buffer.from('45000073000040004011b861c0a80001c0a800c7', 'hex'));

for (const build of BUILDS) {
  describe(`checksum (${build})`, async () => {
    const { exports, bytes, memory, scratch } = await loadEngine(build);
    const target = scratch + 2 * 131072 + 1024;

    /** Puts data between two guards. */
    function place(data: Uint8Array, address: number, guard: number): void {
      bytes.fill(guard, address - GUARD_BYTES, address + data.length + GUARD_BYTES);
      bytes.set(data, address);
    }

    function check(data: Uint8Array, offset: number): void {
      const address = scratch + GUARD_BYTES + offset;
      const expected = internetSum(data);
      for (const guard of [0x00, 0xff, 0xa5]) {
        place(data, address, guard);
        const what = `${data.length} bytes at ${offset}, guard ${guard}`;
        assert.equal(swap16(exports.checksum(address, data.length)), expected, what);
      }
    }

    function checkCopy(data: Uint8Array, from: number, to: number): void {
      place(data, scratch + GUARD_BYTES + from, 0xff);
      place(new Uint8Array(data.length), target + to, 0xa5);
      const sum = exports.checksumCopy(scratch + GUARD_BYTES + from, target + to, data.length);
      assert.equal(swap16(sum), internetSum(data), `${data.length} bytes from ${from} to ${to}`);
      const end = target + to + data.length;
      assert.deepEqual(bytes.slice(target + to, end), data);
      assert.ok(bytes.slice(target + to - GUARD_BYTES, target + to).every((byte) => byte === 0xa5));
      assert.ok(bytes.slice(end, end + GUARD_BYTES).every((byte) => byte === 0xa5));
    }

    it('sums every length from 0 to 2100', () => {
      for (const seed of [1, 2]) {
        const prng = mulberry32(seed);
        for (let length = 0; length <= 2100; length++) {
          check(randomBytes(prng, length), Math.floor(prng() * 64));
        }
      }
    });

    it('sums at every alignment', () => {
      const prng = mulberry32(3);
      for (let offset = 0; offset < 64; offset++) {
        for (const length of [1, 20, 63, 127, 128, 129, 191, 1447]) check(randomBytes(prng, length), offset);
      }
    });

    it('sums super-frames', () => {
      const prng = mulberry32(4);
      for (const length of LONG_LENGTHS) check(randomBytes(prng, length), length % 64);
    });

    it('loses no carry of all-ones input, and takes zeros for zero', () => {
      for (let length = 0; length <= 600; length++) {
        check(new Uint8Array(length).fill(0xff), length % 64);
        check(new Uint8Array(length), length % 64);
      }
      for (const length of LONG_LENGTHS) {
        check(new Uint8Array(length).fill(0xff), 7);
        check(new Uint8Array(length), 7);
        check(new Uint8Array(length).fill(0x80), 7);
        check(new Uint8Array(length).fill(0x7f), 7);
      }
    });

    it('reads up to the last byte of the memory and not beyond', () => {
      const end = memory.buffer.byteLength;
      for (const length of [1, 2, 3, 15, 16, 127, 129, 200, 1447]) {
        const data = randomBytes(mulberry32(length), length);
        bytes.set(data, end - length);
        assert.equal(swap16(exports.checksum(end - length, length)), internetSum(data));
      }
    });

    it('agrees on any bytes anywhere', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 4000 }), fc.nat(63), (data, offset) => check(data, offset)),
        { numRuns: 300 },
      );
    });

    it('copies while it sums', () => {
      const prng = mulberry32(5);
      for (let length = 0; length <= 600; length++) {
        checkCopy(randomBytes(prng, length), Math.floor(prng() * 64), Math.floor(prng() * 64));
      }
      for (const length of LONG_LENGTHS) checkCopy(randomBytes(prng, length), 5, 38);
      for (const length of LONG_LENGTHS) checkCopy(new Uint8Array(length).fill(0xff), 1, 2);
    });

    it('sums what RFC 1071 sums', () => {
      bytes.set(RFC_1071_BYTES, scratch);
      assert.equal(swap16(exports.checksum(scratch, RFC_1071_BYTES.length)), RFC_1071_SUM);
    });

    it('computes an IPv4 header checksum whatever is in the field', () => {
      bytes.set(IPV4_HEADER, scratch);
      assert.equal(swap16(exports.ipv4HeaderChecksum(scratch, 20)), 0xb861);
      const words = fc.integer({ min: 5, max: 15 });
      fc.assert(
        fc.property(words, fc.uint8Array({ minLength: 60, maxLength: 60 }), (count, header) => {
          header[0] = 0x40 | count;
          bytes.set(header, scratch);
          header.fill(0, 10, 12);
          const expected = internetSum(header.subarray(0, count * 4)) ^ 0xffff;
          assert.equal(swap16(exports.ipv4HeaderChecksum(scratch, count * 4)), expected);
        }),
      );
    });

    it('sums pseudo headers', () => {
      const header = fc.uint8Array({ minLength: 40, maxLength: 40 });
      fc.assert(
        fc.property(header, fc.nat(255), fc.nat(0xffff), fc.nat(131071), (ip, protocol, short, long) => {
          bytes.set(ip, scratch);
          const v4 = exports.pseudoIpv4(scratch, protocol, short);
          const v6 = exports.pseudoIpv6(scratch, protocol, long);
          assert.equal(swap16(v4), pseudoIpv4(ip, protocol, short));
          assert.equal(swap16(v6), pseudoIpv6(ip, protocol, long));
        }),
      );
    });

    it('updates a checksum as if it had been computed anew', () => {
      const data = fc.uint8Array({ minLength: 20, maxLength: 20 });
      fc.assert(
        fc.property(data, fc.nat(8), fc.nat(0xffff), (header, word, to) => {
          // Data of zeros alone have a second right answer (RFC 1624 section 3).
          header[19] = 1;
          const view = new DataView(header.buffer, header.byteOffset);
          const before = internetSum(header) ^ 0xffff;
          const from = view.getUint16(word * 2);
          view.setUint16(word * 2, to);
          const after = internetSum(header) ^ 0xffff;
          assert.equal(swap16(exports.checksumUpdate(swap16(before), swap16(from), swap16(to))), after);
        }),
      );
    });

    it('finishes a segment of each kind the way a receiver verifies it', () => {
      const prng = mulberry32(6);
      for (const length of [0, 1, 99, 1448]) {
        for (const frame of segments(randomBytes(prng, length))) {
          const { ipv4: v4, network, transport, protocol } = parseFrame(frame);
          bytes.set(frame, scratch);
          const size = frame.length - transport;
          const pseudo = v4
            ? exports.pseudoIpv4(scratch + network, protocol, size)
            : exports.pseudoIpv6(scratch + network, protocol, size);
          const start = protocol === 1 ? 0 : pseudo;
          const whole = internetSum(
            Uint8Array.of(start & 0xff, start >> 8),
            swap16(exports.checksum(scratch + transport, size)),
          );
          assert.equal(whole, 0xffff);
        }
      }
    });
  });
}

describe('builders and the verifier', () => {
  it('agree on every kind of segment', () => {
    for (const frame of segments(randomBytes(mulberry32(7), 333))) {
      const { ipv4: v4 } = parseFrame(frame);
      assert.deepEqual(verifyFrame(frame), v4 ? { ipv4: true, l4: true } : { l4: true });
      frame[frame.length - 1]! ^= 0x10;
      assert.equal(verifyFrame(frame).l4, false);
    }
  });

  it('know absent, partial and wrong checksums', () => {
    assert.deepEqual(verifyFrame(ethernet({}, ipv4({}, udp({ checksum: 0 })))), { ipv4: true });
    assert.deepEqual(verifyFrame(ethernet({}, ipv6({}, udp({ checksum: 0 })))), { l4: false });
    assert.deepEqual(verifyFrame(ethernet({}, ipv4({ moreFragments: true }, udp()))), { ipv4: true });
    const partial = ethernet({}, ipv4({ checksum: 1 }, tcp({ checksum: 'partial' })));
    assert.deepEqual(verifyFrame(partial), { ipv4: false, l4: false });
    assert.equal(parseFrame(partial).tcp!.checksum, pseudoIpv4(partial.subarray(14), 6, 20));
  });

  it('know a header that was seen on the wire', () => {
    const fields = { source: '192.168.0.1', destination: '192.168.0.199', dontFragment: true };
    const frame = ethernet({}, ipv4(fields, udp({}, new Uint8Array(0x73 - 28))));
    assert.deepEqual(frame.subarray(14, 34), IPV4_HEADER);
  });

  it('come back from the parser as they went into the builder', () => {
    const options = tcpTimestamps(0x01020304, 0x05060708);
    const segment = {
      sourcePort: 5,
      destinationPort: 6,
      sequence: 7,
      acknowledgment: 0xfffffff0,
      flags: 'SAE',
    };
    const header = {
      source: 'fd00::1',
      destination: 'fd00::2',
      trafficClass: 0xba,
      flowLabel: 0xabcde,
      hopLimit: 3,
    };
    const tag = { id: 7, priority: 5, dropEligible: true, type: 0x88a8 };
    const payload = Uint8Array.of(1, 2, 3);
    const packet = ipv6({ ...header, extensions: [{ type: 60 }] }, tcp({ ...segment, options }, payload));
    const parsed = parseFrame(ethernet({ destination: '02:00:00:00:00:99' }, vlan(tag, packet)));
    assert.equal(parsed.ethernet.destination, '02:00:00:00:00:99');
    assert.deepEqual(parsed.vlans, [tag]);
    const v6 = { ...header, extensions: [60], nextHeader: 60, payloadLength: 8 + 20 + 12 + 3 };
    assert.deepEqual(parsed.ipv6, v6);
    const { checksum, ...rest } = parsed.tcp!;
    assert.deepEqual(rest, { ...segment, options, window: 65535, urgent: 0 });
    assert.notEqual(checksum, 0);
    assert.deepEqual(parsed.payload, payload);
  });
});

function segments(payload: Uint8Array): Uint8Array[] {
  return [
    ethernet({}, ipv4({}, tcp({ options: tcpTimestamps(1, 2) }, payload))),
    ethernet({}, ipv4({ options: Uint8Array.of(1, 1, 1, 0) }, udp({}, payload))),
    ethernet({}, ipv4({}, icmp({ identifier: 3, sequence: 4 }, payload))),
    ethernet({}, ipv6({}, tcp({}, payload))),
    ethernet({}, vlan({ id: 9 }, ipv6({ extensions: [{ type: 0 }] }, udp({}, payload)))),
    ethernet({}, ipv6({}, icmpv6({ identifier: 3, sequence: 4 }, payload))),
  ];
}
