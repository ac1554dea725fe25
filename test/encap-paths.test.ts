/**
 * What the path to a remote makes of a frame: the walk stops until the host has told the path, and then the frame goes
 * out, ends in a loop, stays on this host, goes back where it came from, or is answered because it is too big.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AF_INET,
  AF_INET6,
  DEVICE_BYTES,
  DEVICE_FLAG_POLICIES,
  DEVICE_FLAGS_OFFSET,
  DEVICE_POLICY_OFFSET,
  DEVICE_REFUSED_OFFSET,
  DEVICES_BASE,
  INJECT_COUNT,
  NTF_ROUTER,
  PATH_KNOWN_MILLISECONDS,
  REFUSED_BASE,
} from '../assembly/layout.ts';
import { drainEvents } from '../src/dataplane/events.ts';
import { writeRemote } from '../src/dataplane/fdb-record.ts';
import { formatAddress, parseAddress, parseMac } from '../src/dataplane/fdb-text.ts';
import { Neighbours } from '../src/dataplane/neighbours.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, ipv6, macBytes, vlan } from './support/frames.ts';
import { DEFAULT, HotPath, VNI } from './support/hot-path.ts';
import { icmp, tcp, udp } from './support/messages.ts';
import { tooBigNaively } from './support/naive-too-big.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED, partialHeader, superHeader } from './support/virtio.ts';

const UNICAST = '02:00:00:00:00:02';
const HERE = '10.0.0.100';
const HERE_6 = 'fd00::100';
const LISTENER_6 = 2;
const LISTENER_GBP = 3;
const LISTENER_GPE = 4;
const LISTENER_EXTERNAL = 5;

const ping = (destination = UNICAST) => ethernet({ destination }, ipv4({}, icmp({}, new Uint8Array(56))));
const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);
const payload = (bytes: number) => randomBytes(mulberry32(bytes), bytes);
const superFrame = (wrap = (inner: ReturnType<typeof tcp>) => ipv4({ dontFragment: true }, inner)) =>
  ethernet({}, wrap(tcp({ checksum: 'partial' }, payload(5000))));

for (const build of BUILDS) {
  describe(`paths (${build})`, async () => {
    const path = await HotPath.open(build);
    const { paths } = path;
    paths.wanted = true;
    paths.clock = 1000;
    paths.routes.set(HERE, { local: true, out: 1, mtu: 65536 });
    paths.routes.set(HERE_6, { local: true, out: 1, mtu: 65536 });

    type Fields = NonNullable<Parameters<HotPath['device']>[0]>;

    function deviceTo(addresses: readonly string[], fields: Fields = {}): number {
      const device = path.device(fields);
      const remotes = addresses.map((address) => ({ address }));
      if (remotes.length > 0) path.entry(device, DEFAULT, remotes);
      return device;
    }

    /** MACs learned since the last call, as "domain remote". */
    function learned(): string[] {
      const seen: string[] = [];
      drainEvents(path.engine, 0, (event) => {
        if (event.kind === 'learned') seen.push(`${event.domain} ${formatAddress(event.remote)}`);
      });
      return seen;
    }

    describe('the question', () => {
      it('is asked once, and the frame goes on where it was', () => {
        const device = deviceTo(['10.1.0.1']);
        const frames = [{ frame: ping(), device }];
        const first = path.encap(frames);
        assert.deepEqual([first.asked, first.calls], [['10.1.0.1'], 2]);
        assertBytes(first.datagrams[0]!.bytes, vxlan(VNI + device - 1, ping()));
        const second = path.encap(frames);
        assert.deepEqual([second.asked, second.calls, second.datagrams.length], [[], 1, 1]);
        assert.deepEqual(path.counters(device), { encap_packets: 2, encap_bytes: 168 });
      });

      it('is asked for each remote of a fan-out; no copy is sent twice', () => {
        const device = deviceTo(['10.2.0.1', '10.2.0.2', '10.2.0.3']);
        const sent = path.encap(
          [1, 2].map((n) => ({ frame: ethernet({}, ipv4({ ttl: n }, udp())), device })),
        );
        const order = ['10.2.0.2', '10.2.0.3', '10.2.0.1'];
        assert.deepEqual(sent.asked, order);
        assert.deepEqual(
          sent.datagrams.map(({ remote, bytes }) => [remote, bytes[30]]),
          [1, 2].flatMap((ttl) => order.map((remote) => [remote, ttl])),
        );
        assert.equal(path.counters(device).encap_packets, 6);
      });

      it('comes in turns from two remotes that share a slot', () => {
        const { exports, scratch, view } = path.engine;
        const slots = new Map<number, string>();
        const slotOf = (address: string) => {
          writeRemote(view, scratch + 4_000_000, {
            address: parseAddress(address)!,
            port: 0,
            vni: 0,
            ifindex: 0,
          });
          return exports.pathSlot(scratch, scratch + 4_000_000);
        };
        let pair: string[] = [];
        for (let n = 0; pair.length === 0; n++) {
          const address = `10.3.${n >> 8}.${n & 255}`;
          const other = slots.get(slotOf(address));
          if (other) pair = [other, address];
          slots.set(slotOf(address), address);
        }
        const device = deviceTo(pair);
        const sent = path.encap([
          { frame: ping(), device },
          { frame: ping(), device },
        ]);
        const order = [pair[1]!, pair[0]!, pair[1]!, pair[0]!];
        assert.deepEqual(sent.asked, order);
        assert.deepEqual(
          sent.datagrams.map(({ remote }) => remote),
          order,
        );
      });

      it('is asked again when the answer has expired, though the clock wraps around', () => {
        const device = deviceTo(['10.4.0.1']);
        const asks = (clock: number) => {
          paths.clock = clock >>> 0;
          return path.encap([{ frame: ping(), device }]).asked.length === 1;
        };
        for (const start of [5000, 0xffffff80, 0xffffffff, 0]) {
          assert.ok(asks(start), 'another time');
          assert.ok(!asks(start));
          assert.ok(!asks(start + PATH_KNOWN_MILLISECONDS - 1));
          assert.ok(asks(start + PATH_KNOWN_MILLISECONDS), 'expired');
          const again = start + PATH_KNOWN_MILLISECONDS;
          // Nobody sent for days or weeks: it is no younger for that.
          assert.ok(asks(again + 2 ** 31 - 1));
          assert.ok(asks(again + 2 ** 31 - 1 + 2 ** 31 + 1000));
          paths.change();
        }
        paths.clock = 1000;
        paths.change();
      });

      it('is asked again when routes have changed', () => {
        const device = deviceTo(['10.5.0.1']);
        const asks = () => path.encap([{ frame: ping(), device }]).asked.length;
        assert.deepEqual([asks(), asks()], [1, 0]);
        paths.change();
        assert.deepEqual([asks(), asks()], [1, 0]);
      });

      it('is another one through another interface, and of another family', () => {
        const device = path.device();
        path.source(9, { family: AF_INET6 });
        const six = path.device({ family: AF_INET6, listener: LISTENER_6, source: 9, sourceDf: 9 });
        path.entry(device, DEFAULT, [
          { address: '10.6.0.1', ifindex: 3 },
          { address: '10.6.0.1', ifindex: 4 },
          { address: '10.6.0.1' },
        ]);
        path.entry(six, DEFAULT, [{ address: 'a06:1::', ifindex: 3 }]);
        const asked = [device, six].flatMap((one) => path.encap([{ frame: ping(), device: one }]).asked);
        assert.deepEqual(asked, ['10.6.0.1%4', '10.6.0.1', '10.6.0.1%3', 'a06:1::%3']);
      });

      it('is not asked for frames that go nowhere', () => {
        const device = deviceTo(['0.0.0.0']);
        assert.deepEqual(path.encap([{ frame: ping(), device }]).asked, []);
        assert.deepEqual(path.counters(device), { drop_no_remote: 1 });
      });
    });

    it('drop_route_loop: the path leads back into the device; for other copies it does not', () => {
      paths.routes.set('10.7.0.1', { out: 77 });
      const device = deviceTo(['10.7.0.1', '10.7.0.2'], { ifindex: 77 });
      const sent = path.encap([{ frame: ping(), device }]);
      assert.deepEqual(
        sent.datagrams.map(({ remote }) => remote),
        ['10.7.0.2'],
      );
      assert.deepEqual(path.counters(device), { drop_route_loop: 1, encap_packets: 1, encap_bytes: 84 });
    });

    it('what is unreachable is left to the socket, a device without an index too', () => {
      paths.routes.set('10.8.0.1', { out: 0, mtu: 0 });
      const device = deviceTo(['10.8.0.1'], { features: { bridged: true } });
      assert.equal(path.encap([{ frame: ping(), device }]).datagrams.length, 1);
      assert.deepEqual(path.counters(device), { encap_packets: 1, encap_bytes: 84 });
    });

    describe('local bypass', () => {
      /** A device whose remote is here, at the VNI of another; both counters are of whole frames. */
      function pairOf(fields: Fields = {}, targetFields: Fields = {}): [number, number] {
        const target = path.device({ ...fields, ...targetFields });
        const device = path.device({
          ...fields,
          features: { ...fields.features, localbypass: true },
        });
        const address = fields.family === AF_INET6 ? HERE_6 : HERE;
        path.entry(device, DEFAULT, [{ address, vni: targetFields.vni ?? VNI + target - 1 }]);
        return [device, target];
      }

      it('hands a frame to the device that has the VNI; its source is learned as 127.0.0.1', () => {
        learned();
        const [device, target] = pairOf({ learning: true });
        const sent = path.encap([{ frame: ping(), device }]);
        assert.deepEqual(sent.messages, []);
        assert.deepEqual(
          sent.injected.map(({ device: to, virtio }) => [to, virtio]),
          [[target, NOTHING_ASKED]],
        );
        assertBytes(sent.injected[0]!.frame, ping());
        const length = ping().length;
        assert.deepEqual(path.counters(device), {
          encap_packets: 1,
          encap_bytes: length,
          local_bypasses: 1,
        });
        assert.deepEqual(path.counters(target), {
          decap_packets: 1,
          decap_bytes: length,
          fdb_learned: 1,
        });
        assert.deepEqual(learned(), [`${target} 127.0.0.1`]);
      });

      it('of an IPv6 underlay learns ::1; without learning, nothing', () => {
        const six = { family: AF_INET6, listener: LISTENER_6, source: 9, sourceDf: 9 } as const;
        for (const learning of [true, false]) {
          const [device, target] = pairOf({ ...six, learning });
          assert.equal(path.encap([{ frame: ping(), device }]).injected.length, 1);
          assert.deepEqual(learned(), learning ? [`${target} ::1`] : []);
        }
      });

      it('delivers whatever learning says: sources of no use, and those that belong elsewhere', () => {
        const [device, target] = pairOf({ learning: true });
        path.entry(target, '02:00:00:00:00:01', [{ address: '10.9.0.9' }]);
        const sources = ['02:00:00:00:00:01', '00:00:00:00:00:00', '03:00:00:00:00:01'];
        const frames = sources.map((source) => ({
          frame: ethernet({ source }, ipv4({}, icmp())),
          device,
        }));
        assert.equal(path.encap(frames).injected.length, 3);
        assert.deepEqual(learned(), []);
        assert.equal(path.counters(target).decap_packets, 3);
      });

      it('is off without the flag: the datagram goes through the loopback interface', () => {
        const target = path.device();
        const device = path.device();
        path.entry(device, DEFAULT, [{ address: HERE, vni: VNI + target - 1 }]);
        const sent = path.encap([{ frame: ping(), device }]);
        assert.deepEqual([sent.injected.length, sent.datagrams.length], [0, 1]);
        assert.deepEqual(path.counters(target), {});
      });

      it('leads back into the same device when it has that VNI itself', () => {
        const device = deviceTo([HERE], { features: { localbypass: true } });
        const sent = path.encap([{ frame: ping(), device }]);
        assert.deepEqual(
          sent.injected.map((one) => one.device),
          [device],
        );
        const length = ping().length;
        assert.deepEqual(path.counters(device), {
          encap_packets: 1,
          encap_bytes: length,
          decap_packets: 1,
          decap_bytes: length,
          local_bypasses: 1,
        });
      });

      it('drop_unknown_local_vni: another VNI, port, family or kind of socket', () => {
        const plain = path.device();
        const gbp = path.device({ features: { gbp: true }, listener: LISTENER_GBP });
        const device = path.device({ features: { localbypass: true } });
        path.entry(device, DEFAULT, [
          { address: HERE, vni: VNI + plain - 1 },
          { address: HERE, vni: 0xabcdef },
          { address: HERE, vni: VNI + plain - 1, port: 4789 },
          { address: HERE, vni: VNI + gbp - 1 },
          { address: HERE_6, vni: VNI + plain - 1 },
        ]);
        const sent = path.encap([{ frame: ping(), device }]);
        assert.deepEqual(sent.messages, []);
        assert.deepEqual(
          sent.injected.map((one) => one.device),
          [plain],
        );
        const { drop_unknown_local_vni, encap_packets } = path.counters(device);
        assert.deepEqual([drop_unknown_local_vni, encap_packets], [4, 1]);
      });

      it('drop_device_down: the device is about to go', () => {
        const [device, target] = pairOf({}, { up: false });
        const sent = path.encap([{ frame: ping(), device }]);
        assert.deepEqual([sent.injected, sent.messages], [[], []]);
        assert.deepEqual([path.counters(device), path.counters(target)], [{}, { drop_device_down: 1 }]);
      });

      it('hands super-frames over whole; a checksum left open is completed', () => {
        const [device, target] = pairOf();
        const frame = superFrame();
        const virtio = superHeader(frame, 1000);
        const whole = ethernet({}, ipv4({}, udp({}, payload(99))));
        const partial = ethernet({}, ipv4({}, udp({ checksum: 'partial' }, payload(99))));
        const { injected } = path.encap([
          { frame, virtio, device },
          { frame: partial, virtio: partialHeader(partial), device },
        ]);
        assert.deepEqual(
          injected.map((one) => one.virtio),
          [virtio, NOTHING_ASKED],
        );
        assertBytes(injected[0]!.frame, frame);
        assertBytes(injected[1]!.frame, whole);
        assert.deepEqual(path.counters(target), {
          decap_packets: 2,
          decap_bytes: frame.length + whole.length,
        });
      });

      it('leaves the other copies of a frame as they were', () => {
        const target = path.device();
        const device = path.device({ features: { localbypass: true } });
        path.entry(device, DEFAULT, [
          { address: '10.10.0.1' },
          { address: HERE, vni: VNI + target - 1 },
          { address: '10.10.0.2' },
        ]);
        const frame = superFrame();
        const sent = path.encap([
          { frame: ping(), device },
          { frame, virtio: superHeader(frame, 1000), device },
        ]);
        assert.equal(sent.injected.length, 2);
        assertBytes(sent.injected[0]!.frame, ping());
        assertBytes(sent.injected[1]!.frame, frame);
        assert.equal(sent.datagrams.length, 2 + 2 * 5);
        for (const { bytes } of sent.datagrams.slice(0, 2))
          assertBytes(bytes, vxlan(VNI + device - 1, ping()));
      });

      it('of link-local devices stays on its link', () => {
        const features = { linkLocal: true };
        const six = { family: AF_INET6, listener: LISTENER_6, source: 9, sourceDf: 9, features } as const;
        const target = path.device({ ...six, link: 5 });
        const device = path.device({ ...six, features: { ...features, localbypass: true } });
        for (const ifindex of [5, 6]) paths.routes.set(`fe80::1%${ifindex}`, { local: true });
        path.entry(device, DEFAULT, [
          { address: 'fe80::1', ifindex: 5, vni: VNI + target - 1 },
          { address: 'fe80::1', ifindex: 6, vni: VNI + target - 1 },
        ]);
        assert.equal(path.encap([{ frame: ping(), device }]).injected.length, 1);
        const { drop_unknown_local_vni, encap_packets } = path.counters(device);
        assert.deepEqual([drop_unknown_local_vni, encap_packets], [1, 1]);
      });

      it('puts the tag of an external device’s VNI on, and counts by VNI', () => {
        const external = path.device({
          features: { external: true },
          vni: 0,
          listener: LISTENER_EXTERNAL,
        });
        const features = { external: true, localbypass: true };
        const device = path.device({ features, vni: 1, listener: LISTENER_EXTERNAL, port: 8472 });
        const tagged = path.vni(external, { vni: 501, vlan: 101, listener: LISTENER_EXTERNAL });
        const untagged = path.vni(external, {
          vni: 502,
          vlan: 102,
          untagged: true,
          listener: LISTENER_EXTERNAL,
        });
        const own = path.vni(device, { vni: 503, vlan: 103, listener: LISTENER_EXTERNAL });
        path.entry(own, DEFAULT, [
          { address: HERE, vni: 502 },
          { address: HERE, vni: 501 },
        ]);
        const inner = superFrame().subarray(12);
        const withTag = (id: number) => concat(ping().subarray(0, 12), Uint8Array.of(0x81, 0, 0, id), inner);
        const given = withTag(103);
        const plain = concat(given.subarray(0, 12), inner);
        const { injected } = path.encap([{ frame: given, virtio: superHeader(given, 700), device }]);
        assert.deepEqual(
          injected.map((one) => one.device),
          [external, external],
        );
        assertBytes(injected[0]!.frame, withTag(101));
        assert.deepEqual(injected[0]!.virtio, superHeader(withTag(101), 700));
        assertBytes(injected[1]!.frame, plain);
        assert.deepEqual(injected[1]!.virtio, superHeader(plain, 700));
        const { length } = plain;
        assert.deepEqual(path.takeVniCounters(own), { tx_packets: 2, tx_bytes: 2 * length });
        for (const domain of [tagged, untagged])
          assert.deepEqual(path.takeVniCounters(domain), { rx_packets: 1, rx_bytes: length });
      });

      it('of GPE hands the packet over without its cover', () => {
        const gpe = { features: { gpe: true }, listener: LISTENER_GPE } as const;
        const [device, target] = pairOf(gpe);
        const packet = superFrame().subarray(14);
        const of = superHeader(superFrame(), 900);
        const virtio = { ...of, headerBytes: of.headerBytes - 14, checksumStart: of.checksumStart - 14 };
        path.entry(device, '02:00:00:00:00:09', [{ address: HERE }]);
        const { injected } = path.encap([
          { frame: packet, virtio, device },
          { frame: ping().subarray(14), device },
        ]);
        assert.deepEqual(
          injected.map((one) => [one.device, one.virtio]),
          [
            [target, virtio],
            [target, NOTHING_ASKED],
          ],
        );
        assertBytes(injected[0]!.frame, packet);
        assertBytes(injected[1]!.frame, ping().subarray(14));
        assert.equal(path.counters(target).decap_bytes, packet.length + ping().length - 14);
      });

      it('with honourdontlearn the D bit of what stays on this host teaches nothing either', () => {
        const { view } = path.engine;
        for (const [word, count] of [
          [0x80400001, undefined],
          [0x80000001, 1],
        ] as const) {
          const features = { gbp: true, honourdontlearn: true };
          const [device, target] = pairOf({ features, learning: true, listener: LISTENER_GBP });
          view.setUint32(DEVICES_BASE + device * DEVICE_BYTES + DEVICE_POLICY_OFFSET, word, true);
          assert.equal(path.encap([{ frame: ping(), device }]).injected.length, 1);
          assert.equal(path.counters(target).fdb_learned, count);
        }
      });

      it('drop_policy: a group that the other device refuses', () => {
        const { view, bytes } = path.engine;
        const [device, target] = pairOf({ features: { gbp: true }, listener: LISTENER_GBP });
        const record = DEVICES_BASE + target * DEVICE_BYTES;
        const flags = view.getUint32(record + DEVICE_FLAGS_OFFSET, true);
        view.setUint32(record + DEVICE_FLAGS_OFFSET, flags | DEVICE_FLAG_POLICIES, true);
        view.setUint16(record + DEVICE_REFUSED_OFFSET, 1, true);
        bytes[REFUSED_BASE]! |= 1;
        assert.deepEqual(path.encap([{ frame: ping(), device }]).injected, []);
        bytes[REFUSED_BASE]! &= ~1;
        assert.equal(path.encap([{ frame: ping(), device }]).injected.length, 1);
        const { drop_policy, decap_packets } = path.counters(target);
        assert.deepEqual([drop_policy, decap_packets], [1, 1]);
      });

      it('goes on when injections have run out, in the middle of a fan-out too', () => {
        const [device, target] = pairOf();
        const frames = Array.from({ length: 128 }, (_, n) =>
          ethernet({}, ipv4({ identification: n }, icmp())),
        );
        const sent = path.encap(frames.map((frame) => ({ frame, device })));
        assert.deepEqual(
          sent.injected.map(({ frame }) => frame),
          frames,
        );
        assert.equal(sent.calls, Math.ceil(128 / INJECT_COUNT) + sent.asked.length);
        assert.equal(path.counters(target).decap_packets, 128);

        const fanned = path.device({ features: { localbypass: true } });
        path.entry(
          fanned,
          DEFAULT,
          Array.from({ length: 150 }, () => ({ address: HERE, vni: VNI + target - 1 })),
        );
        assert.equal(path.encap([{ frame: ping(), device: fanned }]).injected.length, 150);
        assert.equal(path.counters(fanned).encap_packets, 150);
      });
    });

    it('rsc: a frame that was rewritten and whose remote is "any" goes back into the device', () => {
      const router = '02:00:00:00:00:fe';
      const host = '02:00:00:00:00:33';
      const neighbours = new Neighbours(path.engine.memory);
      for (const [any, family] of [
        ['0.0.0.0', AF_INET],
        ['::', AF_INET6],
      ] as const) {
        const device = path.device({
          features: { rsc: true },
          learning: true,
          family,
          ...(family === AF_INET6 && { listener: LISTENER_6, source: 9, sourceDf: 9 }),
        });
        path.entry(device, router, [{ address: any }], false, NTF_ROUTER);
        path.entry(device, host, [{ address: any }]);
        neighbours.set(device, parseAddress('10.0.0.33')!, parseMac(host)!, false);
        const to = (destination: string) =>
          ethernet({ destination: router }, ipv4({ destination }, icmp({}, new Uint8Array(56))));
        learned();
        const sent = path.encap([
          { frame: to('10.0.0.33'), device },
          { frame: to('10.0.0.34'), device },
        ]);
        assert.deepEqual(sent.messages, []);
        assert.equal(sent.injected.length, 1);
        const rewritten = to('10.0.0.33');
        rewritten.set(concat(macBytes(host), macBytes(router)));
        assertBytes(sent.injected[0]!.frame, rewritten);
        const { length } = rewritten;
        assert.deepEqual(path.counters(device), {
          route_short_circuits: 1,
          drop_no_remote: 1,
          encap_packets: 1,
          encap_bytes: length,
          decap_packets: 1,
          decap_bytes: length,
          local_bypasses: 1,
        });
        // The source is the router's MAC now, which is known to be here for good.
        assert.deepEqual(learned(), []);
      }
    });

    describe('too big for the path', () => {
      paths.routes.set('10.20.0.1', { mtu: 1400 });
      paths.routes.set('fd20::1', { mtu: 1400 });
      const bridged = { features: { bridged: true } } as const;
      const packetOf = (bytes: number, dontFragment = true) =>
        ethernet({}, ipv4({ dontFragment }, udp({}, payload(bytes - 28))));

      it('is answered on a bridge port, counted as sent and received', () => {
        for (const [remote, overhead, fields] of [
          ['10.20.0.1', 50, bridged],
          ['fd20::1', 70, { ...bridged, family: AF_INET6, listener: LISTENER_6, source: 9, sourceDf: 9 }],
        ] as const) {
          const device = deviceTo([remote], fields);
          const fits = packetOf(1400 - overhead);
          const frame = packetOf(1401 - overhead);
          const sent = path.encap([
            { frame: fits, device },
            { frame, device },
          ]);
          assert.equal(sent.datagrams.length, 1);
          const answer = tooBigNaively(frame, 1400 - overhead)!;
          assert.deepEqual(
            sent.injected.map((one) => [one.device, one.virtio, one.frame]),
            [[device, NOTHING_ASKED, answer]],
          );
          assert.deepEqual(path.counters(device), {
            encap_packets: 2,
            encap_bytes: fits.length - 14 + answer.length,
            decap_packets: 1,
            decap_bytes: answer.length,
            too_big_replies: 1,
          });
        }
      });

      it('goes out where no answer is due: no bridge port, no DF, a tag, a path that is not known', () => {
        const plain = deviceTo(['10.20.0.1']);
        const device = deviceTo(['10.20.0.1'], bridged);
        paths.routes.set('10.20.0.2', { mtu: 0 });
        paths.routes.set('10.20.0.3', { mtu: 49 });
        const unknown = deviceTo(['10.20.0.2', '10.20.0.3'], bridged);
        const tagged = ethernet({}, vlan({ id: 5 }, ipv4({ dontFragment: true }, udp({}, payload(1400)))));
        const sent = path.encap([
          { frame: packetOf(1450), device: plain },
          { frame: packetOf(1450, false), device },
          { frame: tagged, device },
          { frame: packetOf(1450), device: unknown },
        ]);
        assert.deepEqual([sent.datagrams.length, sent.injected.length], [5, 0]);
      });

      it('is asked of each segment of a super-frame: headers and segment size', () => {
        const device = deviceTo(['10.20.0.1'], bridged);
        const frame = superFrame();
        for (const [gsoSize, isAnswered] of [
          [1350 - 40, false],
          [1350 - 39, true],
        ] as const) {
          const sent = path.encap([{ frame, virtio: superHeader(frame, gsoSize), device }]);
          assert.equal(sent.injected.length, Number(isAnswered));
          assert.equal(sent.datagrams.length, isAnswered ? 0 : Math.ceil(5000 / gsoSize));
          if (isAnswered) assertBytes(sent.injected[0]!.frame, tooBigNaively(frame, 1350)!);
        }
        const six = superFrame((inner) => ipv6({}, inner));
        assert.equal(
          path.encap([{ frame: six, virtio: superHeader(six, 1350 - 60), device }]).injected.length,
          0,
        );
        // A header that doesn't fit the frame is a bad offload, however big it says the segments are.
        path.takeCounters(device);
        const lie = { ...superHeader(frame, 60000), checksumStart: 30 };
        assert.deepEqual(path.encap([{ frame, virtio: lie, device }]).injected, []);
        assert.deepEqual(path.counters(device), { drop_bad_offload: 1 });
      });

      it('is told per copy; the others go out', () => {
        const device = deviceTo(['10.20.0.1', '10.20.0.9'], bridged);
        const sent = path.encap([{ frame: packetOf(1400), device }]);
        assert.deepEqual(
          [sent.datagrams.map(({ remote }) => remote), sent.injected.length],
          [['10.20.0.9'], 1],
        );
      });

      it('of an external device is told in the VLAN it came from, and counted by VNI', () => {
        const device = path.device({
          features: { external: true, bridged: true },
          vni: 2,
          listener: LISTENER_EXTERNAL,
        });
        const domain = path.vni(device, { vni: 601, vlan: 61, listener: LISTENER_EXTERNAL });
        path.entry(domain, DEFAULT, [{ address: '10.20.0.1' }]);
        const frame = packetOf(1400);
        const tagged = (of: Uint8Array) =>
          concat(of.subarray(0, 12), Uint8Array.of(0x81, 0, 0, 61), of.subarray(12));
        const { injected } = path.encap([{ frame: tagged(frame), device }]);
        const answer = tooBigNaively(frame, 1350)!;
        assertBytes(injected[0]!.frame, tagged(answer));
        assert.deepEqual(path.takeVniCounters(domain), {
          tx_packets: 1,
          tx_bytes: answer.length,
          rx_packets: 1,
          rx_bytes: answer.length,
        });
      });

      it('goes on when there is no room for another answer', () => {
        const device = deviceTo(['10.20.0.1'], bridged);
        const frames = Array.from({ length: 100 }, () => ({ frame: packetOf(1400), device }));
        const sent = path.encap(frames);
        assert.equal(sent.injected.length, 100);
        assert.equal(path.counters(device).too_big_replies, 100);
      });
    });

    it('per VNI: what has no way is an error, all else that is dropped is a drop', () => {
      const device = path.device({
        features: { external: true, localbypass: true },
        vni: 3,
        ifindex: 78,
        listener: LISTENER_EXTERNAL,
      });
      paths.routes.set('10.30.0.1', { out: 78 });
      const domainTo = (vni: number, remotes: Parameters<HotPath['entry']>[2]) => {
        const domain = path.vni(device, { vni, vlan: vni - 600, listener: LISTENER_EXTERNAL });
        if (remotes.length > 0) path.entry(domain, DEFAULT, remotes);
        return domain;
      };
      const send = (domain: number, vlanId: number, packet = ipv4({}, icmp())) => {
        path.encap([{ frame: ethernet({}, vlan({ id: vlanId }, packet)), device }]);
        return path.takeVniCounters(domain);
      };
      assert.deepEqual(send(domainTo(611, [{ address: '10.30.0.1' }]), 11), { tx_errors: 1 });
      assert.deepEqual(send(domainTo(612, [{ address: HERE, vni: 0xffffff }]), 12), { tx_errors: 1 });
      assert.deepEqual(send(domainTo(613, []), 13), { tx_drops: 1 });
      assert.deepEqual(send(domainTo(614, [{ address: '0.0.0.0' }]), 14), { tx_drops: 1 });
      const short = { type: 0x0800, bytes: new Uint8Array(19) };
      const two = domainTo(615, [{ address: '10.30.0.2' }, { address: '10.30.0.3' }]);
      assert.deepEqual(send(two, 15, short), { tx_drops: 2 });
      assert.deepEqual(send(two, 15), { tx_packets: 2, tx_bytes: 2 * 28 });
    });
  });
}
