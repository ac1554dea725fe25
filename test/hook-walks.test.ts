/**
 * Hooks in the walks of worker threads: bundles, super-frames and unfinished checksums, which the embeddable doors have
 * not. What comes out is what a twin without hooks makes of the packets that the verdicts leave.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  HOOK_DROP,
  HOOK_MIRROR,
  HOOK_PASS,
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_MIRROR_OFFSET,
  HOOK_RECORD_TARGET_OFFSET,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORDS_OFFSET,
  HOOK_REDIRECT,
  HOOK_TARGET_TUNNEL,
  IP_PROTOCOL_TCP,
} from '../assembly/layout.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, set16 } from './support/frames.ts';
import { flowOf, nextFrames } from './support/gro-traffic.ts';
import { DECAP_WORKER, DEFAULT, ENCAP_WORKER, HotPath, type TapFrame, VNI } from './support/hot-path.ts';
import { tcp } from './support/messages.ts';
import type { Received } from './support/received-messages.ts';
import { mulberry32, pseudoIpv4, randomBytes } from './support/reference.ts';
import type { SentDatagram } from './support/sent-messages.ts';
import { partialHeader, superHeader } from './support/virtio.ts';

const RED = 1;
const BLUE = 2;
const PACKETS = 24;

async function openPath(build: (typeof BUILDS)[number], workers: number): Promise<HotPath> {
  const path = await HotPath.open(build, workers);
  for (const [index, address] of ['192.0.2.1', '192.0.2.2'].entries())
    path.entry(path.device(), DEFAULT, [{ address, port: 4789 + index }]);
  return path;
}

interface Verdict {
  verdict: number;
  target: number;
  mirror: number;
}

function verdictOf(prng: () => number): Verdict {
  const pick = (...from: number[]) => from[Math.floor(prng() * from.length)]!;
  return {
    verdict: pick(HOOK_PASS, HOOK_DROP, HOOK_REDIRECT, HOOK_REDIRECT) | (prng() < 0.3 ? HOOK_MIRROR : 0),
    target: pick(BLUE, BLUE | HOOK_TARGET_TUNNEL),
    mirror: pick(BLUE, BLUE | HOOK_TARGET_TUNNEL),
  };
}

/** Where copies and packets go: [device, into its tunnel], the copy first. @param own the way of what passes */
function waysOf({ verdict, target, mirror }: Verdict, own: boolean): [number, boolean][] {
  const ways: [number, boolean][] = [];
  const wayOf = (to: number): [number, boolean] => [to & 0xff, (to & HOOK_TARGET_TUNNEL) !== 0];
  if ((verdict & HOOK_MIRROR) !== 0) ways.push(wayOf(mirror));
  if ((verdict & 0xff) === HOOK_REDIRECT) ways.push(wayOf(target));
  else if ((verdict & 0xff) === HOOK_PASS) ways.push([RED, own]);
  return ways;
}

/** Has the path's hook give verdicts; @returns what it was shown and said. */
function judged(path: HotPath, prng: () => number): { frame: Uint8Array; verdict: Verdict }[] {
  const shown: { frame: Uint8Array; verdict: Verdict }[] = [];
  const { view, bytes } = path.engine;
  path.hook = (way, records) => {
    const first = (way === 'encap' ? ENCAP_WORKER : DECAP_WORKER) + HOOK_RECORDS_OFFSET;
    for (let record = first; record < first + records * HOOK_RECORD_BYTES; record += HOOK_RECORD_BYTES) {
      const at = view.getUint32(record + HOOK_RECORD_ADDRESS_OFFSET, true);
      const frame = bytes.slice(at, at + view.getUint32(record + HOOK_RECORD_LENGTH_OFFSET, true));
      const verdict = verdictOf(prng);
      view.setUint32(record + HOOK_RECORD_VERDICT_OFFSET, verdict.verdict, true);
      view.setUint32(record + HOOK_RECORD_TARGET_OFFSET, verdict.target, true);
      view.setUint32(record + HOOK_RECORD_MIRROR_OFFSET, verdict.mirror, true);
      shown.push({ frame, verdict });
    }
  };
  return shown;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const textOf = ({ bytes, remote, port, slot }: SentDatagram) => `${remote} ${port} ${slot} ${hex(bytes)}`;

function datagramOf(device: number, frame: Uint8Array): Uint8Array {
  const vni = VNI + device - 1;
  return Uint8Array.of(8, 0, 0, 0, vni >>> 16, (vni >>> 8) & 0xff, vni & 0xff, 0, ...frame);
}

/** A frame as a kernel on a virtual link leaves it: with the pseudo header's sum, and longer than any wire takes. */
function superFrame(prng: () => number, bytes: number): Required<Pick<TapFrame, 'frame' | 'virtio'>> {
  const frame = ethernet({}, ipv4({ identification: 7 }, tcp({ sequence: 99 }, randomBytes(prng, bytes))));
  const { checksumStart, checksumField } = partialHeader(frame);
  const pseudo = pseudoIpv4(frame.subarray(14), IP_PROTOCOL_TCP, frame.length - checksumStart);
  set16(frame, checksumStart + checksumField, pseudo);
  // An MSS that fits the devices' MTU of 1450.
  const virtio = bytes > 1410 ? superHeader(frame, 1410) : partialHeader(frame);
  return { frame, virtio };
}

for (const build of BUILDS) {
  describe(`hooks in the walks (${build})`, () => {
    it('datagrams, alone and in bundles, unfinished ones and super-frames', async () => {
      for (let seed = 1; seed <= 40; ++seed) {
        const prng = mulberry32(seed);
        const [path, twin] = [await openPath(build, 3), await openPath(build, 2)];
        path.setHooked('decap', RED);
        const shown = judged(path, prng);
        const unfinished = new Map<string, TapFrame>();
        const received: Received[] = [];
        const flows = Array.from({ length: 3 }, (_, number) => flowOf(prng, number));
        for (let packet = 0; packet < PACKETS; ) {
          if (prng() < 0.15) {
            const one = superFrame(prng, prng() < 0.5 ? 700 : 4000);
            unfinished.set(hex(one.frame), one);
            received.push({ bytes: datagramOf(RED, one.frame) });
            ++packet;
            continue;
          }
          const [frame] = nextFrames(prng, flows[Math.floor(prng() * 3)]!, 0.1);
          const count = prng() < 0.5 ? 1 : 2 + Math.floor(prng() * 5);
          const bundle = Array.from({ length: count }, () => datagramOf(RED, frame!));
          received.push({ bytes: concat(...bundle), ...(count > 1 && { gro: frame!.length + 8 }) });
          packet += count;
        }
        const writes = path.decap(received);
        const ways = shown.flatMap(({ frame, verdict }) =>
          waysOf(verdict, false).map(([device, tunnel]) => ({ frame, device, tunnel })),
        );
        const ports = ways.filter(({ tunnel }) => !tunnel);
        assert.ok(ports.length <= 64, 'one batch of the twin');
        const expected = twin.decap(ports.map(({ device, frame }) => ({ bytes: datagramOf(device, frame) })));
        const plain = (list: typeof writes) =>
          list.map(({ device, frame, virtio, frames }) => [device, frames, virtio, hex(frame)]);
        assert.deepEqual(plain(writes), plain(expected), `seed ${seed}`);
        const tunnels = ways
          .filter(({ tunnel }) => tunnel)
          .map(({ device, frame }) => ({ frame, ...unfinished.get(hex(frame)), device }));
        assert.deepEqual(
          path.forwarded.map(textOf),
          twin.encap(tunnels).datagrams.map(textOf),
          `seed ${seed}`,
        );
      }
    });

    it('frames of a TAP, whole and unfinished, more than there is room for', async () => {
      for (let seed = 1; seed <= 10; ++seed) {
        const prng = mulberry32(seed);
        const [path, twin] = [await openPath(build, 3), await openPath(build, 2)];
        path.setHooked('encap', RED);
        const shown = judged(path, prng);
        const flows = Array.from({ length: 3 }, (_, number) => flowOf(prng, number));
        const frames = Array.from({ length: 220 }, (): TapFrame => {
          if (prng() < 0.1) return superFrame(prng, prng() < 0.5 ? 700 : 20_000);
          return { frame: nextFrames(prng, flows[Math.floor(prng() * 3)]!, 0.1)[0]! };
        });
        const sent = path.encap(frames);
        assert.equal(shown.length, frames.length);
        const ways = shown.flatMap(({ verdict }, index) =>
          waysOf(verdict, true).map(([device, tunnel]) => ({ ...frames[index]!, device, tunnel })),
        );
        const expected = twin.encap(ways.filter(({ tunnel }) => tunnel));
        assert.deepEqual(
          sent.datagrams.map(textOf).sort(),
          expected.datagrams.map(textOf).sort(),
          `seed ${seed}`,
        );
        const ports = ways.filter(({ tunnel }) => !tunnel);
        assert.deepEqual(
          sent.injected.map(({ device, frame, virtio }) => [device, hex(frame), virtio.gsoType]),
          ports.map(({ device, frame, virtio }) => [device, hex(frame), virtio?.gsoType ?? 0]),
        );
      }
    });
  });
}
