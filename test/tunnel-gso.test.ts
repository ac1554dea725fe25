/**
 * Super-frames that leave whole: which of them do, what stands in front of them, byte for byte, in which order they go,
 * and what becomes of one that the kernel refuses.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AF_INET,
  AF_INET6,
  ENCAP_OUTER_ID_OFFSET,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_UNDERLAY_MAC_OFFSET,
  HEADER_UNDERLAY_ON_OFFSET,
  PATH_WHOLE,
  PATH_WHOLE_CHECKSUM,
  SOURCE_UNDERLAY_TAP,
  VIRTIO_GSO_ECN,
} from '../assembly/layout.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, ipv6, type Message, macBytes, vlan } from './support/frames.ts';
import { DEFAULT, ENCAP_WORKER, HotPath, PORT, SOURCE, SOURCE_DF, VNI } from './support/hot-path.ts';
import { tcp, tcpTimestamps, udp } from './support/messages.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { type OuterFields, wholeNaively } from './support/naive-tunnel.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { readMessage, type SentMessage } from './support/sent-messages.ts';
import { superHeader } from './support/virtio.ts';

const MAC = '02:be:ef:00:11:22';
const FIRST_PORT = 40_000;
const REMOTE = '10.1.0.9';
const REMOTE_6 = 'fd00::9';
const WHOLE = { source: '10.1.0.1', hops: 61, flags: PATH_WHOLE | PATH_WHOLE_CHECKSUM };
const WHOLE_6 = { ...WHOLE, source: 'fd00::1' };
const SOURCE_6 = 9;
const TUNNEL = { features: { gsoTunnel: true } };

const wraps: ((message: Message, tos: number, ttl: number) => Uint8Array)[] = [
  (message, tos, ttl) => ethernet({}, ipv4({ tos, ttl, dontFragment: true }, message)),
  (message, trafficClass, hopLimit) =>
    ethernet({}, ipv6({ trafficClass, hopLimit, flowLabel: 0x12345 }, message)),
  (message, tos, ttl) =>
    ethernet({}, vlan({ id: 5 }, ipv4({ tos, ttl, options: new Uint8Array(8) }, message))),
  (message, trafficClass, hopLimit) =>
    ethernet({}, vlan({ id: 6, type: 0x88a8 }, vlan({ id: 7 }, ipv6({ trafficClass, hopLimit }, message)))),
];
const stream = (bytes: number) =>
  tcp({ checksum: 'partial', options: tcpTimestamps(7, 8) }, randomBytes(mulberry32(bytes), bytes));
const superFrame = (bytes = 5000, wrap = wraps[0]!) => wrap(stream(bytes), 0, 64);
const isWhole = ({ source }: SentMessage) => source === SOURCE_UNDERLAY_TAP;

for (const build of BUILDS) {
  describe(`tunnel GSO (${build})`, async () => {
    const path = await HotPath.open(build);
    const { view, bytes, exports } = path.engine;
    path.paths.wanted = true;
    path.paths.clock = 1000;
    bytes.set(macBytes(MAC), HEADER_BASE + HEADER_UNDERLAY_MAC_OFFSET);
    const use = (on: boolean) => view.setUint32(HEADER_BASE + HEADER_UNDERLAY_ON_OFFSET, Number(on), true);
    use(true);
    path.source(SOURCE, { number: FIRST_PORT });
    path.source(SOURCE_DF, { number: FIRST_PORT, df: true });
    path.source(SOURCE_6, { number: FIRST_PORT, family: AF_INET6 });
    path.paths.routes.set(REMOTE, { whole: WHOLE });
    path.paths.routes.set(REMOTE_6, { whole: WHOLE_6 });

    function deviceTo(remotes: readonly string[], fields: Parameters<HotPath['device']>[0] = TUNNEL): number {
      const device = path.device(fields);
      path.entry(
        device,
        DEFAULT,
        remotes.map((address) => ({ address })),
      );
      return device;
    }
    const send = (device: number, frame: Uint8Array, gsoSize = 1300, gsoType = 0) => {
      const virtio = superHeader(frame, gsoSize);
      return path.encap([{ frame, device, virtio: { ...virtio, gsoType: virtio.gsoType | gsoType } }]);
    };
    /** Another look at the paths. */
    const routes = (name: string, fields: NonNullable<ReturnType<typeof path.paths.routes.get>>) => {
      path.paths.routes.set(name, fields);
      path.paths.change();
    };

    it('writes the headers that a naive reference writes, for random devices and frames', () => {
      const random = mulberry32(0x6e5);
      const dice = (n: number) => Math.floor(random() * n);
      let whole = 0;
      for (let round = 0; round < 180; round++) {
        const v6 = dice(3) === 0;
        const noChecksum = dice(3) === 0;
        const df = dice(2) === 0;
        const inherit = dice(3) === 0;
        const group = 16 + dice(8);
        path.source(group, { number: FIRST_PORT, family: v6 ? AF_INET6 : AF_INET, noChecksum, df });
        const ttl = dice(4) === 0 ? 0 : dice(256);
        const tos = dice(64) << 2;
        const label = v6 && dice(2) === 0 ? dice(1 << 20) : 0;
        const device = deviceTo([v6 ? REMOTE_6 : REMOTE], {
          ...{ family: v6 ? AF_INET6 : AF_INET, ttl: inherit ? 'inherit' : ttl, tos, flowlabel: label },
          ...{ source: group, sourceDf: group, df: df ? 'set' : 'unset', features: { gsoTunnel: true } },
        });
        const mtu = 1200 + dice(400);
        routes(v6 ? REMOTE_6 : REMOTE, { mtu, whole: v6 ? WHOLE_6 : WHOLE });
        const innerTtl = dice(256);
        const inner = dice(4);
        const bytes = 1 + dice(dice(2) ? 65_300 : 3000);
        const payload = randomBytes(random, bytes);
        const message =
          dice(5) === 0
            ? udp({ checksum: 'partial' }, payload)
            : tcp(
                { checksum: 'partial', options: dice(2) ? tcpTimestamps(1, 2) : new Uint8Array(0) },
                payload,
              );
        const frame = wraps[dice(4)]!(message, inner, innerTtl);
        const gsoSize = 536 + dice(900);
        const virtio = superHeader(frame, gsoSize);
        const hops = (inherit ? innerTtl : ttl) || WHOLE.hops;
        const outer = (v6 ? 40 : 20) + 16;
        const fits =
          hops !== 255 &&
          outer + frame.length <= 65535 &&
          virtio.headerBytes + gsoSize < frame.length &&
          outer + virtio.headerBytes + gsoSize <= mtu;
        const id = view.getUint32(ENCAP_WORKER + ENCAP_STATE_OFFSET + ENCAP_OUTER_ID_OFFSET, true);
        path.takeCounters(device);
        const { messages } = send(device, frame, gsoSize);
        assert.equal(messages.some(isWhole), fits, `round ${round}`);
        if (!fits) continue;
        whole++;
        assert.equal(messages.length, 1);
        const sourcePort = view.getUint16(messages[0]!.iovecs[0]![0] + 24 + 14 + (v6 ? 40 : 20));
        assert.ok(sourcePort >= FIRST_PORT && sourcePort < FIRST_PORT + 64);
        const expected: OuterFields = {
          ...{ ipv6: v6, mac: MAC, sourcePort, port: PORT, df, label, vni: VNI + device - 1 },
          ...{ source: v6 ? WHOLE_6.source : WHOLE.source, destination: v6 ? REMOTE_6 : REMOTE },
          ...{ tos: tos | (inner === 3 ? 2 : inner), ttl: hops, id: id & 0xffff, checksum: !noChecksum },
        };
        assertBytes(messages[0]!.datagrams[0]!, wholeNaively(frame, virtio, expected));
        const counters = path.counters(device);
        assert.equal(counters.super_frames_whole, 1);
        assert.equal(counters.encap_packets, 1);
        if (!v6) {
          const segments = Math.ceil((frame.length - virtio.headerBytes) / gsoSize);
          const next = view.getUint32(ENCAP_WORKER + ENCAP_STATE_OFFSET + ENCAP_OUTER_ID_OFFSET, true);
          assert.equal(next, (id + segments) >>> 0, 'an id for each segment');
        }
      }
      assert.ok(whole > 40, `${whole} of 180 left whole`);
    });

    it('a flow keeps its source port, whether small or whole', () => {
      const device = deviceTo([REMOTE]);
      const small = ethernet({}, ipv4({}, tcp({ options: tcpTimestamps(7, 8) })));
      routes(REMOTE, { whole: WHOLE });
      const { datagrams } = path.encap([{ frame: small, device }]);
      const { messages } = send(device, superFrame());
      assert.equal(view.getUint16(messages[0]!.iovecs[0]![0] + 24 + 34), FIRST_PORT + datagrams[0]!.slot);
    });

    it('everything leaves in the order in which it was read', () => {
      const device = deviceTo([REMOTE]);
      const small = (n: number) =>
        ethernet({}, ipv4({ identification: n }, tcp({ options: tcpTimestamps(7, 8) })));
      const large = superFrame(20_000);
      const virtio = superHeader(large, 1300);
      const { messages } = path.encap([
        { frame: small(1), device },
        { frame: large, virtio, device },
        { frame: large, virtio, device },
        { frame: small(2), device },
        { frame: large, virtio, device },
      ]);
      assert.deepEqual(messages.map(isWhole), [false, true, true, false, true]);
    });

    it('the inner frame is named where it lies, not copied', () => {
      const device = deviceTo([REMOTE]);
      const frame = superFrame();
      const { messages } = send(device, frame);
      assert.equal(messages[0]!.iovecs[1]![1], frame.length);
      assertBytes(bytes.slice(messages[0]!.iovecs[1]![0], messages[0]!.iovecs[1]![0] + frame.length), frame);
    });

    const split: [string, () => SentMessage[]][] = [
      ['a device that does not ask for it', () => send(deviceTo([REMOTE], {}), superFrame()).messages],
      [
        'several remotes',
        () => {
          routes('10.1.0.8', { whole: WHOLE });
          return send(deviceTo([REMOTE, '10.1.0.8']), superFrame()).messages;
        },
      ],
      [
        'a path without the offload',
        () => {
          routes('10.1.0.7', {});
          return send(deviceTo(['10.1.0.7']), superFrame()).messages;
        },
      ],
      [
        'checksums that the path does not take',
        () => {
          routes('10.1.0.6', { whole: { ...WHOLE, flags: PATH_WHOLE } });
          return send(deviceTo(['10.1.0.6']), superFrame()).messages;
        },
      ],
      [
        'no checksums where the path wants them',
        () => {
          routes('10.1.0.5', { whole: { ...WHOLE, flags: PATH_WHOLE_CHECKSUM } });
          path.source(12, { number: FIRST_PORT, noChecksum: true });
          return send(deviceTo(['10.1.0.5'], { ...TUNNEL, source: 12, sourceDf: 12 }), superFrame()).messages;
        },
      ],
      [
        'a local address that the path was not asked for',
        () => {
          path.source(13, { number: FIRST_PORT, local: '10.1.0.2' });
          return send(deviceTo([REMOTE], { ...TUNNEL, source: 13, sourceDf: 13 }), superFrame()).messages;
        },
      ],
      [
        'a source port whose socket is not open',
        () => {
          path.source(14, { number: 0 });
          return send(deviceTo([REMOTE], { ...TUNNEL, source: 14, sourceDf: 14 }), superFrame()).messages;
        },
      ],
      ['a TTL of 255', () => send(deviceTo([REMOTE], { ...TUNNEL, ttl: 255 }), superFrame()).messages],
      ['segments that are larger than the path', () => send(deviceTo([REMOTE]), superFrame(), 1460).messages],
      ['a single segment', () => send(deviceTo([REMOTE]), superFrame(1000), 1000).messages],
      ['an ECN super-frame', () => send(deviceTo([REMOTE]), superFrame(), 1300, VIRTIO_GSO_ECN).messages],
      [
        'no underlay TAP',
        () => {
          use(false);
          const { messages } = send(deviceTo([REMOTE]), superFrame());
          use(true);
          return messages;
        },
      ],
    ];
    for (const [name, messagesOf] of split) {
      it(`is split: ${name}`, () => {
        routes(REMOTE, { whole: WHOLE });
        const messages = messagesOf();
        assert.ok(messages.length > 0);
        assert.ok(!messages.some(isWhole));
      });
    }

    it('one that is refused is split behind the batch, with nothing lost and the counters as if it had been', () => {
      const device = deviceTo([REMOTE]);
      routes(REMOTE, { whole: WHOLE });
      const frame = superFrame(20_000);
      const virtio = superHeader(frame, 1300);
      const small = ethernet({}, ipv4({}, tcp({ options: tcpTimestamps(7, 8) })));
      const { messages } = path.encap([
        { frame, virtio, device },
        { frame: small, device },
      ]);
      assert.deepEqual(messages.map(isWhole), [true, false]);
      const count = exports.encapCut(ENCAP_WORKER, 0);
      assert.equal(count, 1);
      const cut = readMessage(path.engine, ENCAP_WORKER, 2, messages[1]!.source);
      assert.deepEqual([cut.remote, cut.port], [REMOTE, PORT]);
      const header = Uint8Array.of(
        8,
        0,
        0,
        0,
        ...[16, 8, 0].map((bits) => ((VNI + device - 1) >> bits) & 255),
        0,
      );
      const segments = segmentNaively(frame, virtio)!;
      assert.equal(cut.datagrams.length, segments.length);
      for (const [i, datagram] of cut.datagrams.entries())
        assertBytes(datagram, concat(header, segments[i]!));
      const { encap_packets, encap_bytes, super_frames_split, super_frames_refused } = path.counters(device);
      assert.equal(encap_packets, segments.length + 1);
      const sum = [...segments, small].reduce((all, { length }) => all + length - 14, 0);
      assert.equal(encap_bytes, sum);
      assert.deepEqual([super_frames_split, super_frames_refused], [1, 1]);
    });

    it('refusals that find no room are told so', () => {
      const device = deviceTo([REMOTE]);
      const frame = superFrame(60_000);
      const virtio = superHeader(frame, 300);
      path.encap(Array.from({ length: 2 }, () => ({ frame, virtio, device })));
      const counts: number[] = [];
      for (let turn = 0; turn < 100 && counts.at(-1) !== 0; turn++)
        counts.push(exports.encapCut(ENCAP_WORKER, 0));
      assert.ok(counts.length > 2);
      assert.equal(counts.at(-1), 0);
    });
  });
}
