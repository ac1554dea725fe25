/**
 * UDP super-frames of the host's own stack, cut by the kernel below its vxlan device and by vxlane: the inner frames
 * on the underlay are the same, byte for byte. Only where IPv4 ids begin is the sending stack's choice, each time
 * anew: they are compared by how they count up, and the header checksum that follows from them is verified.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { assertBytes } from './support/bytes.ts';
import { concat, ipBytes, set16 } from './support/frames.ts';
import type { Bed } from './support/netns.ts';
import { internetSum } from './support/reference.ts';
import { layer2 } from './support/scenario.ts';
import { pattern } from './support/traffic-frames.ts';
import { suite } from './support/traffic-gate.ts';
import { tunnelPacket } from './support/traffic-packets.ts';
import { HOSTS, type Host, type Kind, startVtep, UNDERLAY, VTEP } from './support/traffic-vtep.ts';

const OFF = { tx: false, tso: false, gso: false, gro: false };
const ADDRESSES = [
  { here: '10.9.0.1', there: '10.9.0.2', bits: 24 },
  { here: 'fd09::1', there: 'fd09::2', bits: 64 },
] as const;
/** Payloads of each message, and the length it is cut at. */
const MESSAGES = [
  [5 * 700, 700],
  [4 * 700 + 123, 700],
  [40 * 333 + 1, 333],
  [64 * 1000, 1000],
  [3, 1],
] as const;
const EXPECTED = MESSAGES.reduce((sum, [bytes, segment]) => sum + Math.ceil(bytes / segment), 0);

/** IPv4 ids as distances from that of the message's first segment, and header checksums, which are right, blanked. */
function counted(frames: readonly Uint8Array[]): Uint8Array[] {
  const firsts = MESSAGES.flatMap(([bytes, segment]) =>
    Array.from({ length: Math.ceil(bytes / segment) }, (_, index) => index),
  );
  return frames.map((frame, at) => {
    assert.equal(internetSum(frame.subarray(14, 34)), 0xffff);
    const id = (one: Uint8Array) => (one[18]! << 8) | one[19]!;
    const copy = frame.slice();
    set16(copy, 18, (id(frame) - id(frames[at - (firsts[at] ?? 0)]!)) & 0xffff);
    set16(copy, 24, 0);
    return copy;
  });
}

/** Inner frames on the underlay, of what the sender's stack is asked to send in segments. */
async function sent(
  bed: Bed,
  hosts: [Host, Host],
  kind: Kind,
  at: (typeof ADDRESSES)[number],
): Promise<Uint8Array[]> {
  const sender = await startVtep(bed, hosts[0], 0, kind, { remote: true });
  try {
    sender.namespace.sysctl({ [`net/ipv6/conf/${VTEP}/disable_ipv6`]: 0 });
    const isIpv6 = at.bits === 64;
    sender.namespace.ip(
      `addr add ${at.here}/${at.bits} dev ${VTEP}${isIpv6 ? ' nodad' : ''}`,
      `neigh add ${at.there} lladdr ${HOSTS[1].vtepMac} dev ${VTEP} nud permanent`,
    );
    const capture = await hosts[1].agent.capture(UNDERLAY, { direction: 'in' });
    for (const [bytes, segmentBytes] of MESSAGES) {
      const ends = { from: ipBytes(at.here), to: ipBytes(at.there), sourcePort: 30_000, port: 53 };
      const data = concat(pattern(bytes, segmentBytes));
      await sender.agent.call('datagrams', [{ data }], { ...ends, segmentBytes });
    }
    const { frames, missed } = await capture.stop({ frames: EXPECTED, quietMs: 150 });
    assert.equal(missed, 0);
    const inner = frames
      .map(({ data }) => tunnelPacket(data)?.inner)
      .filter((frame) => frame !== undefined && frame[isIpv6 ? 20 : 23] === 17) as Uint8Array[];
    return isIpv6 ? inner : counted(inner);
  } finally {
    assert.equal(await sender.stopVtep(), null);
  }
}

suite('UDP super-frames cut by the kernel and by vxlane', ['kernel', 'vxlane'], (bed) => {
  let hosts: [Host, Host];
  before(async () => {
    hosts = await layer2(bed, ['none', 'none']);
    for (const host of hosts) await host.agent.call('offloads', UNDERLAY, OFF);
    await startVtep(bed, { namespace: hosts[1].namespace, agent: hosts[1].agent }, 1, 'kernel');
  });

  for (const at of ADDRESSES)
    test(`are the same on the wire: ${at.here}`, async () => {
      const kernel = await sent(bed, hosts, 'kernel', at);
      assert.equal(kernel.length, EXPECTED);
      const seen = await sent(bed, hosts, 'vxlane', at);
      assert.equal(seen.length, EXPECTED);
      for (const [i, frame] of kernel.entries()) assertBytes(seen[i]!, frame, `segment ${i}`);
    });
});
