/**
 * Every combination of offloads carries the same traffic. In memory: whatever a device and the VTEP leave on, the wire
 * sees the segments of the naive segmenter and the TAP every frame of the wire, each flow in order. Between hosts:
 * streams and datagrams to and from the kernel's device arrive unchanged while the switches are turned.
 */
import assert from 'node:assert/strict';
import { before, describe, it, test } from 'node:test';
import { OFFLOAD_COALESCE, OFFLOAD_UDP_SEGMENT, SOURCE_PORT_COUNT } from '../assembly/layout.ts';
import type { DeviceFeatures } from '../src/dataplane/device-features.ts';
import { BUILDS } from './support/engine.ts';
import { assertLanes, flowHash, laneOf } from './support/flow.ts';
import { concat, ethernet, ipBytes, ipv4, ipv6 } from './support/frames.ts';
import { flowOf, nextFrames } from './support/gro-traffic.ts';
import { DEFAULT, HASH_SEED, HotPath, VNI } from './support/hot-path.ts';
import { tcp, udp } from './support/messages.ts';
import { isBegun } from './support/naive-coalesce.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { layer3, type Scenario } from './support/scenario.ts';
import { pattern } from './support/traffic-frames.ts';
import { suite } from './support/traffic-gate.ts';
import { HOSTS } from './support/traffic-vtep.ts';
import { superHeader } from './support/virtio.ts';

const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);

/** All ways to choose of each of these. */
function product(...choices: readonly (readonly string[])[]): string[] {
  return choices.reduce<string[]>(
    (found, words) => found.flatMap((before) => words.map((word) => `${before} ${word}`.trim())),
    [''],
  );
}

const WORDS = product(['gso on', 'gso off', 'gso tunnel'], ['gro on', 'gro off'], ['uso on', 'uso off']);

function featuresOf(words: string): DeviceFeatures {
  return {
    gsoOff: words.includes('gso off'),
    gsoTunnel: words.includes('gso tunnel'),
    groOff: words.includes('gro off'),
    usoOff: words.includes('uso off'),
  };
}

/** A flow of gro-traffic.ts has a source address and a protocol of its own; IPv4 ids and checksums are made anew. */
function flowsOf(frames: readonly Uint8Array[]): Map<string, string[]> {
  const flows = new Map<string, string[]>();
  for (const frame of frames) {
    const l3 = frame[12] === 0x81 ? 18 : 14;
    const isIpv4 = frame[l3 - 2] === 8;
    const copy = Buffer.from(frame);
    if (isIpv4) copy.fill(0, l3 + 4, l3 + 6).fill(0, l3 + 10, l3 + 12);
    const name = [l3, isIpv4, frame[l3 + (isIpv4 ? 15 : 23)], frame[l3 + (isIpv4 ? 9 : 6)]].join();
    flows.set(name, [...(flows.get(name) ?? []), copy.toString('hex')]);
  }
  return flows;
}

for (const build of BUILDS) {
  describe(`offloads in memory (${build})`, async () => {
    const path = await HotPath.open(build);
    path.entry(path.device(), DEFAULT, [{ address: '192.0.2.2' }]);
    for (const words of WORDS) {
      const device = path.device({ features: featuresOf(words) });
      path.entry(device, DEFAULT, [{ address: '192.0.2.2' }]);
      for (const bits of [0, OFFLOAD_UDP_SEGMENT, OFFLOAD_COALESCE, OFFLOAD_UDP_SEGMENT | OFFLOAD_COALESCE]) {
        it(`${words}, VTEP ${bits}: the wire and the TAP see the same frames`, () => {
          path.offloads(bits);
          const prng = mulberry32(bits * 100 + WORDS.indexOf(words));
          for (let round = 0; round < 8; round++) {
            const frames = Array.from({ length: 12 }, () => {
              const payload = randomBytes(prng, 1 + Math.floor(prng() * 9000));
              const message = prng() < 0.5 ? tcp({ flags: 'PA' }, payload) : udp({}, payload);
              const frame = ethernet({}, prng() < 0.5 ? ipv4({}, message) : ipv6({}, message));
              const size = 100 + Math.floor(prng() * 1300);
              if (payload.length <= size) return { frame, device };
              return { frame, device, virtio: superHeader(frame, size) };
            });
            const wire = frames.flatMap(({ frame, virtio }) =>
              (virtio ? segmentNaively(frame, virtio)! : [frame]).map((segment) => ({
                slot: laneOf(frame, HASH_SEED, SOURCE_PORT_COUNT),
                flow: flowHash(frame, HASH_SEED),
                bytes: vxlan(VNI + device - 1, segment),
              })),
            );
            const { datagrams, messages } = path.encap(frames);
            assertLanes(datagrams, wire);
            const maySegment = (bits & OFFLOAD_UDP_SEGMENT) !== 0 && !words.includes('gso off');
            assert.equal(messages.length < wire.length, maySegment, 'messages of several datagrams');

            const flows = Array.from({ length: 4 }, (_, i) => flowOf(prng, i + 1));
            const arrivals: Uint8Array[] = [];
            while (arrivals.length < 60) {
              const flow = flows[Math.floor(prng() * 4)]!;
              for (let burst = 0; burst < 4; burst++) arrivals.push(...nextFrames(prng, flow, 0.1));
            }
            const complete = arrivals.filter((frame) => !isBegun(frame)).slice(0, 60);
            const writes = path.decap(complete.map((frame) => ({ bytes: vxlan(VNI + device - 1, frame) })));
            const out = writes.flatMap(({ frame, virtio }) => segmentNaively(frame, virtio)!);
            assert.deepEqual(flowsOf(out), flowsOf(complete));
            const mayMerge = (bits & OFFLOAD_COALESCE) !== 0 && !words.includes('gro off');
            if (!mayMerge) assert.equal(writes.length, complete.length);
            const isUdp = (frame: Uint8Array) => (frame[12] === 8 ? frame[23] : frame[20]) === 17;
            const trains = writes.filter(({ frame, frames: count }) => count > 1 && isUdp(frame));
            if (!mayMerge || words.includes('uso off')) assert.equal(trains.length, 0);
          }
        });
      }
    }
  });
}

const FAMILIES = ['pod', 'pod6'] as const;
const DIRECTIONS = [
  [0, 1],
  [1, 0],
] as const;
const TRANSFER_BYTES = 8 << 20;
const SEGMENT_BYTES = 1000;
const SEGMENTS = 24;

/** One sender's datagrams, sent in segments, come out whole and in order. */
async function datagrams(scenario: Scenario, from: 0 | 1, to: 0 | 1, key: 'pod' | 'pod6', round: number) {
  const address = HOSTS[to][key];
  const port = await scenario.pods[to].call('udpReceiver', address);
  const ends = { from: ipBytes(HOSTS[from][key]), to: ipBytes(address), sourcePort: 20_000 + round, port };
  for (const tail of [SEGMENT_BYTES, 77]) {
    const parts = Array.from({ length: SEGMENTS }, (_, i) =>
      pattern(i === SEGMENTS - 1 ? tail : SEGMENT_BYTES, round * 100 + i),
    );
    const message = [{ data: concat(...parts) }];
    await scenario.pods[from].call('datagrams', message, { ...ends, segmentBytes: SEGMENT_BYTES });
    // And each by itself.
    const single = parts.map((data) => ({ data }));
    await scenario.pods[from].call('datagrams', single, ends);
    const arrived = await scenario.pods[to].call('udpArrivals', port, 2 * SEGMENTS);
    assert.deepEqual(
      arrived.map(({ length }) => length),
      [...parts, ...parts].map(({ length }) => length),
    );
    assert.ok(
      Buffer.concat(arrived).equals(Buffer.concat([...parts, ...parts])),
      'with the bytes that were sent',
    );
  }
}

async function transfer(scenario: Scenario, from: 0 | 1, to: 0 | 1, key: 'pod' | 'pod6') {
  const port = await scenario.pods[to].call('receiveTransfer', HOSTS[to][key]);
  const sent = await scenario.pods[from].call('sendTransfer', HOSTS[to][key], port, TRANSFER_BYTES);
  assert.deepEqual(await scenario.pods[to].call('transferResult', port), sent);
}

for (const pairing of [
  ['vxlane', 'kernel'],
  ['vxlane', 'vxlane'],
] as const)
  suite(`offloads between ${pairing.join(' and ')}`, pairing, (bed) => {
    let scenario: Scenario;
    before(async () => {
      scenario = await layer3(bed, pairing);
    });

    for (const [round, words] of WORDS.entries())
      test(`${words}: streams and datagrams arrive unchanged both ways`, async () => {
        for (const host of scenario.hosts) host.set(...words.split(' '));
        for (const [from, to] of DIRECTIONS)
          for (const key of FAMILIES) {
            await transfer(scenario, from, to, key);
            await datagrams(scenario, from, to, key, round);
          }
        for (const host of scenario.hosts) host.assertAlive();
      });
  });
