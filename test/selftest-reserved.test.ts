/**
 * Linux's selftest "vxlan reserved bits", from its description: 39 bits of the header that are neither the I flag nor
 * the VNI, each set alone in one packet.
 */
import assert from 'node:assert/strict';
import { ethernet, ipv4 } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { type Place, twice } from './support/selftest.ts';
import { counters, HERE, Underlay } from './support/selftest-underlay.ts';
import { vxlan } from './support/traffic-frames.ts';

const VNI = 100;
const I_FLAG = 4;
const RESERVED = Array.from({ length: 64 }, (_, bit) => bit).filter(
  (bit) => bit !== I_FLAG && (bit < 32 || bit > 55),
);
const MASK = 0xf7ffffff000000ffn;

const frame = ethernet(
  { destination: 'ff:ff:ff:ff:ff:ff', source: '02:00:00:00:00:01' },
  ipv4({}, udp({}, new Uint8Array(30))),
);

/** Bit 0 is the first on the wire. */
function withBit(bit?: number): { data: Uint8Array } {
  const flags = bit !== undefined && bit < 32 ? 0x08000000 + 2 ** (31 - bit) : 0x08000000;
  const low = bit !== undefined && bit > 55 ? 2 ** (63 - bit) : 0;
  return { data: vxlan(VNI, frame, flags, low) };
}

async function check(place: Place, reserved_bits?: bigint, tolerated?: number): Promise<void> {
  const net = await Underlay.join(place);
  const mask = reserved_bits === undefined ? {} : { reserved_bits };
  await place.device('add', 'vx0', { id: VNI, local: HERE, dstport: 4789, ...mask });
  place.ok('ip link set vx0 up');
  const clean = await net.delivered(
    'vx0',
    Array.from({ length: 10 }, () => withBit()),
  );
  assert.equal(clean.length, 10);
  const before = counters(place, 'vx0').rx.errors ?? 0;
  const passing = tolerated === undefined ? 0 : 1;
  const dirty = await net.delivered('vx0', RESERVED.map(withBit), { expected: passing });
  const errors = (counters(place, 'vx0').rx.errors ?? 0) - before;
  place.note('outcome', { delivered: dirty.length, errors });
  assert.deepEqual(
    { delivered: dirty.length, errors },
    { delivered: passing, errors: RESERVED.length - passing },
  );
}

assert.equal(RESERVED.length, 39);

twice('reserved bits', [
  {
    name: 'by default each of the 39 drops the packet and counts an error',
    steps: (place) => check(place),
  },
  {
    name: 'the default mask said in words does the same',
    steps: (place) => check(place, MASK),
  },
  ...[0, 10, 31, 56, 63].map((bit) => ({
    name: `with bit ${bit} out of the mask exactly that packet passes`,
    steps: (place: Place) => check(place, MASK & ~(1n << BigInt(63 - bit)), bit),
  })),
]);
