/**
 * RFC 6040 both ways against the matrix measured on Linux, and the two bits put into real headers.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BUILDS, loadEngine } from './support/engine.ts';
import { ethernet, ipv4, ipv6 } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { verifyFrame } from './support/parse.ts';
import { ECN_DECAPSULATION, ECN_ENCAPSULATION } from './support/reference.ts';

const CODEPOINTS = [0, 1, 2, 3];
const IP_OFFSET = 14;

for (const build of BUILDS) {
  describe(`ecn (${build})`, async () => {
    const { exports, bytes, scratch } = await loadEngine(build);

    function apply(frame: Uint8Array, call: (ip: number, ecn: number) => void, ecn: number): Uint8Array {
      bytes.set(frame, scratch);
      call(scratch + IP_OFFSET, ecn);
      return bytes.slice(scratch, scratch + frame.length);
    }

    it('encapsulates', () => {
      for (const inner of CODEPOINTS) {
        assert.equal(exports.ecnEncapsulate(inner), ECN_ENCAPSULATION.get(inner));
        assert.equal(exports.ecnEncapsulate(0xb8 | inner), ECN_ENCAPSULATION.get(inner), 'with a DSCP');
      }
    });

    it('decapsulates all sixteen pairs', () => {
      for (const inner of CODEPOINTS) {
        for (const outer of CODEPOINTS) {
          const expected = ECN_DECAPSULATION.get(inner)![outer];
          assert.equal(exports.ecnDecapsulate(outer, inner), expected, `outer ${outer}, inner ${inner}`);
          assert.equal(exports.ecnDecapsulate(0xb8 | outer, 0x28 | inner), expected, 'with DSCPs');
        }
      }
    });

    it('rewrites an IPv4 header and its checksum, and nothing else', () => {
      const codepoint = fc.nat(3);
      fc.assert(
        fc.property(fc.nat(255), codepoint, fc.nat(0xffff), fc.nat(255), (tos, ecn, identification, ttl) => {
          const fields = { identification, ttl };
          const before = ethernet({}, ipv4({ ...fields, tos }, udp()));
          const after = ethernet({}, ipv4({ ...fields, tos: (tos & 0xfc) | ecn }, udp()));
          assert.deepEqual(apply(before, exports.ecnApplyIpv4, ecn), after);
        }),
        { numRuns: 500 },
      );
    });

    it('leaves a wrong IPv4 checksum wrong', () => {
      for (const checksum of [0x0000, 0x1234, 0xffff]) {
        const frame = ethernet({}, ipv4({ tos: 2, checksum }, udp()));
        assert.equal(verifyFrame(apply(frame, exports.ecnApplyIpv4, 3)).ipv4, false);
      }
    });

    it('rewrites an IPv6 header, and nothing else', () => {
      fc.assert(
        fc.property(fc.nat(255), fc.nat(3), fc.nat(0xfffff), (trafficClass, ecn, flowLabel) => {
          const before = ethernet({}, ipv6({ trafficClass, flowLabel }, udp()));
          const after = ethernet({}, ipv6({ trafficClass: (trafficClass & 0xfc) | ecn, flowLabel }, udp()));
          assert.deepEqual(apply(before, exports.ecnApplyIpv6, ecn), after);
        }),
        { numRuns: 500 },
      );
    });
  });
}
