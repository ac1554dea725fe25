/**
 * `knownpeers`: what is taken, what is refused and what is counted, compared with a naive list of peers, over random
 * tables and frames; on every path that frames come by; the table when it is full and while it is changed.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  AF_INET6,
  HEADER_BASE,
  PEER_BUCKETS_BASE,
  PEER_BUCKETS_BYTES,
  PEER_COUNT,
} from '../assembly/layout.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { Peers } from '../src/dataplane/peers.ts';
import { VtepError } from '../src/errors.ts';
import type { PeerInfo, PeerRequest } from '../src/types.ts';
import { BUILDS } from './support/engine.ts';
import { refusal } from './support/fdb-fixture.ts';
import { arp, concat, ethernet, ipv4, ipv6, type Packet, rawPacket, vlan } from './support/frames.ts';
import { DECAP_WORKER, HotPath, LISTENER, OWN_MAC, SOURCE, VNI } from './support/hot-path.ts';
import { icmp, tcp, udp } from './support/messages.ts';
import { decapNaively, type NaiveDevice } from './support/naive-decap.ts';
import { NaivePeers } from './support/naive-peers.ts';
import type { Received } from './support/received-messages.ts';
import { mulberry32, randomBytes } from './support/reference.ts';

const LISTENER_6 = 5;
const LISTENER_EXTERNAL = 6;
const LISTENER_GPE = 7;
const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const NOW = 1000;
const datagram = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);
const ping = (source: string, from: string) =>
  ethernet({ source }, ipv4({ source: from }, icmp({}, new Uint8Array(56))));
const byName = (one: PeerInfo, other: PeerInfo) =>
  `${one.ifname} ${one.mac}` < `${other.ifname} ${other.mac}` ? -1 : 1;

for (const build of BUILDS) {
  describe(`peers (${build})`, async () => {
    const path = await HotPath.open(build);
    const { view } = path.engine;
    const clock = { now: NOW };
    const peers = new Peers({
      view,
      deviceIndex: (name) => Number(name.slice(3)),
      deviceName: (index) => `dev${index}`,
      now: () => clock.now,
    });
    type Fields = NonNullable<Parameters<HotPath['device']>[0]>;
    const deviceOf = ({ features, ...fields }: Fields = {}) =>
      path.device({ ...fields, features: { knownpeers: true, ...features } });
    const set = (device: number, mac: string, src: string, ...prefixes: string[]) =>
      peers.apply({ op: 'set', dev: `dev${device}`, mac, src, prefixes });

    /** What becomes of one frame from a sender. */
    function arrive(device: number, frame: Uint8Array, sender: string, listener = LISTENER): string[] {
      path.takeCounters(device);
      const vni = VNI + device - 1;
      path.decap([{ bytes: datagram(vni, frame), sender }], listener);
      const counted = Object.keys(path.takeCounters(device));
      return counted.filter((name) => name === 'decap_packets' || name.startsWith('drop_'));
    }

    it('drop_unknown_peer, drop_peer_address, drop_peer_subnet: each by its own fault, and counted there', () => {
      const device = deviceOf();
      assert.deepEqual(arrive(device, ping(A, '10.0.1.5'), '192.0.2.1'), ['drop_unknown_peer']);
      set(device, A, '192.0.2.1', '10.0.1.0/24');
      assert.deepEqual(arrive(device, ping(A, '10.0.1.5'), '192.0.2.1'), ['decap_packets']);
      assert.deepEqual(arrive(device, ping(B, '10.0.1.5'), '192.0.2.1'), ['drop_unknown_peer']);
      assert.deepEqual(arrive(device, ping(A, '10.0.1.5'), '192.0.2.2'), ['drop_peer_address']);
      assert.deepEqual(arrive(device, ping(A, '10.0.2.5'), '192.0.2.1'), ['drop_peer_subnet']);
      clock.now += 7;
      const [shown] = peers.show(`dev${device}`);
      assert.deepEqual(shown, {
        ...{ ifname: `dev${device}`, mac: A, src: '192.0.2.1', prefixes: ['10.0.1.0/24'], last: 7 },
        stats: {
          rx: { packets: 1, bytes: 84, address_drops: 1, subnet_drops: 1 },
          tx: { packets: 0, bytes: 0 },
        },
      });
      clock.now = NOW;
      // Changed: the counters go on. Made anew: they do not.
      set(device, A, '192.0.2.2', '10.0.2.0/24');
      assert.deepEqual(arrive(device, ping(A, '10.0.2.5'), '192.0.2.2'), ['decap_packets']);
      assert.equal(peers.show(`dev${device}`)[0]!.stats.rx.packets, 2);
      peers.apply({ op: 'del', dev: `dev${device}`, mac: A });
      assert.deepEqual(arrive(device, ping(A, '10.0.2.5'), '192.0.2.2'), ['drop_unknown_peer']);
      set(device, A, '192.0.2.2', '10.0.2.0/24');
      const [again] = peers.show(`dev${device}`);
      assert.deepEqual([again!.stats.rx.packets, again!.last], [0, undefined]);
    });

    it('a device of its own each; devices without it take all', () => {
      const [one, other, open] = [deviceOf(), deviceOf(), path.device()];
      set(one, A, '192.0.2.1', '10.0.1.0/24');
      assert.deepEqual(arrive(one, ping(A, '10.0.1.5'), '192.0.2.1'), ['decap_packets']);
      assert.deepEqual(arrive(other, ping(A, '10.0.1.5'), '192.0.2.1'), ['drop_unknown_peer']);
      assert.deepEqual(arrive(open, ping(A, '10.0.1.5'), '192.0.2.1'), ['decap_packets']);
      assert.equal(peers.show(`dev${open}`).length, 0);
    });

    it('peers over IPv6, all 16 bytes of the address; all VNIs of an external device', () => {
      const six = deviceOf({ family: AF_INET6, listener: LISTENER_6 });
      set(six, A, '2001:db8::1', 'fd00:1::/64');
      const frame = ethernet({ source: A }, ipv6({ source: 'fd00:1::5' }, icmp()));
      assert.deepEqual(arrive(six, frame, '2001:db8::1', LISTENER_6), ['decap_packets']);
      for (const sender of ['2001:db8::2', '2001:db9::1', '::1'])
        assert.deepEqual(arrive(six, frame, sender, LISTENER_6), ['drop_peer_address'], sender);
      assert.throws(() => set(six, B, '192.0.2.1'), refusal('UNSUPPORTED', /family not supported.*IPv6/));
      const many = deviceOf({ features: { external: true }, listener: LISTENER_EXTERNAL });
      const domains = [0x700, 0x701].map((vni) =>
        path.vni(many, { vni, vlan: vni & 15, listener: LISTENER_EXTERNAL }),
      );
      set(many, A, '192.0.2.1', '10.0.1.0/24');
      for (const [i, vni] of [0x700, 0x701].entries()) {
        for (const from of ['10.0.1.5', '10.0.2.5'])
          path.decap([{ bytes: datagram(vni, ping(A, from)), sender: '192.0.2.1' }], LISTENER_EXTERNAL);
        const counted = path.takeVniCounters(domains[i]!);
        assert.deepEqual(counted, { rx_bytes: 84, rx_packets: 1, rx_drops: 1 });
      }
      assert.equal(path.takeCounters(many).drop_peer_subnet, 2);
    });

    it('is what a naive list says, of random tables and frames', () => {
      const naive = new NaivePeers();
      const macs = [...Array.from({ length: 10 }, (_, i) => `02:00:00:00:00:1${i}`), OWN_MAC];
      const sources = ['192.0.2.1', '192.0.2.2'];
      const senders = [...sources, '192.0.3.1'];
      const prefixes = ['10.0.0.0/8', '10.0.1.0/24', '10.0.1.128/25', '10.0.1.7', '0.0.0.0/0'];
      const prefixes6 = ['fd00::/16', 'fd00:1::/64', 'fd00:1:0:0:8000::/65', 'fd00:1::/127', '::/0'];
      const inside = ['10.0.1.7', '10.0.1.200', '10.1.0.1', '11.0.0.1', '0.0.0.0', '255.255.255.255'];
      const inside6 = [
        'fd00:1::1',
        'fd00:1::8000:0:0:1',
        'fd00:2::1',
        'fe80::1',
        '::',
        'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
      ];
      const [plain, learns, down] = [{}, { learning: true }, { up: false }].map((fields) =>
        deviceOf({ ...fields, features: { groOff: true, usoOff: true } }),
      ) as [number, number, number];
      const devices = [plain, learns, down];
      const naiveDevices = new Map<number, NaiveDevice>();
      for (const index of devices) {
        naiveDevices.set(index, {
          ...{ vni: VNI + index - 1, mac: OWN_MAC, up: index !== down, learning: index === learns },
          fdb: new Map(),
          refusal: (frame, sender) => naive.refusal(`dev${index}`, frame, sender, NOW),
        });
      }
      const seen: Record<string, number> = {};
      for (let seed = 1; seed <= 8; seed++) {
        const prng = mulberry32(seed);
        const pick = <T>(list: readonly T[]) => list[Math.floor(prng() * list.length)]!;
        const changeOf = (): PeerRequest => {
          const named = { dev: `dev${pick(devices)}`, mac: pick(macs) };
          if (prng() < 0.3) return { op: 'del', ...named };
          const chosen = [
            ...(prng() < 0.8 ? [pick(prefixes)] : []),
            ...(prng() < 0.6 ? [pick(prefixes6)] : []),
          ];
          return {
            op: 'set',
            ...named,
            src: pick(sources),
            prefixes: prng() < 0.5 ? chosen : chosen.reverse(),
          };
        };
        const packetOf = (): Packet => {
          const choice = prng();
          if (choice < 0.35)
            return ipv4({ source: pick(inside), tos: pick([0, 0, 1, 2]) }, pick([udp(), tcp(), icmp()]));
          if (choice < 0.6) return ipv6({ source: pick(inside6) }, pick([udp(), tcp(), icmp()]));
          if (choice < 0.7) return rawPacket(pick([0x88b5, 0x8035, 0x86de]), randomBytes(prng, 50));
          if (choice < 0.8) return vlan({ id: 5, type: pick([0x8100, 0x88a8]) }, packetOf());
          const message = arp({ senderIp: pick(inside), targetIp: '10.0.0.1' });
          if (prng() < 0.4) message.bytes[Math.floor(prng() * 6)]! ^= 1 << Math.floor(prng() * 4);
          return message;
        };
        for (let step = 0; step < 60; step++) {
          const change = changeOf();
          try {
            peers.apply(change);
            naive.apply(change);
          } catch (error) {
            assert.ok(error instanceof VtepError && error.code === 'NOT_FOUND' && change.op === 'del');
            assert.ok(!naive.list.some(({ ifname, mac }) => ifname === change.dev && mac === change.mac));
          }
          const index = pick(devices);
          const expected: Record<string, number> = {};
          const frames: Uint8Array[] = [];
          const received: Received[] = [];
          for (let i = 0; i < 12; i++) {
            const source = prng() < 0.05 ? '03:00:00:00:00:01' : pick(macs);
            let frame = ethernet({ source }, packetOf());
            if (prng() < 0.1) frame = frame.slice(0, 14 + Math.floor(prng() * (frame.length - 14)));
            const [sender, tos] = [pick(senders), pick([0, 0, 0, 3])];
            const bytes = datagram(VNI + index - 1, frame);
            received.push({ bytes, sender, tos });
            const outcome = decapNaively(bytes, sender, tos, [naiveDevices.get(index)!]);
            for (const name of [outcome.verdict, outcome.learned])
              if (name) expected[name] = (expected[name] ?? 0) + 1;
            if (outcome.frame) frames.push(outcome.frame);
            seen[outcome.verdict] = (seen[outcome.verdict] ?? 0) + 1;
          }
          const bytes = frames.reduce((sum, frame) => sum + frame.length - 14, 0);
          if (bytes > 0) expected.decap_bytes = bytes;
          path.takeCounters(index);
          const written = path.decap(received);
          assert.deepEqual(path.takeCounters(index), expected, `seed ${seed} step ${step}`);
          assert.deepEqual(
            written.map(({ frame }) => frame),
            frames,
          );
        }
        for (const index of devices) {
          const ours = naive.list.filter(({ ifname }) => ifname === `dev${index}`);
          const wanted = ours.map(({ last, prefixes, ...rest }) => ({
            ...{ ...rest, prefixes: prefixes.map((text) => (text.includes('/') ? text : `${text}/32`)) },
            ...(last === undefined ? {} : { last: NOW - last }),
          }));
          assert.deepEqual(peers.show(`dev${index}`).sort(byName), wanted.sort(byName), `seed ${seed}`);
        }
      }
      const refused = [
        'drop_unknown_peer',
        'drop_peer_address',
        'drop_peer_subnet',
        'drop_short_inner_ip_received',
      ];
      for (const name of [...refused, 'decap_packets', 'drop_local_mac', 'drop_device_down'])
        assert.ok((seen[name] ?? 0) >= 20, `${name}: ${seen[name]}`);
    });

    it('bundles, merging, and super-frames in one piece with unfinished checksums', () => {
      const device = deviceOf({ mtu: 1450 });
      const vni = VNI + device - 1;
      set(device, A, '192.0.2.1', '10.0.1.0/24', 'fd00:1::/64');
      const segment = (from: string, i: number) =>
        datagram(
          vni,
          ethernet(
            { source: A },
            ipv4(
              { source: from, identification: i, dontFragment: true },
              tcp({ sequence: 1 + i * 1000 }, new Uint8Array(1000)),
            ),
          ),
        );
      // Forged ones among those of one bundle are none of the super-frame.
      const bundle = concat(...[0, 1, 9, 2, 9, 3].map((i) => segment(i === 9 ? '10.0.2.5' : '10.0.1.5', i)));
      const gro = segment('10.0.1.5', 0).length;
      const written = path.decap([{ bytes: bundle, gro, sender: '192.0.2.1' }]);
      assert.deepEqual(
        written.map(({ frames, frame }) => [frames, frame.length]),
        [[4, 54 + 4000]],
      );
      assert.deepEqual(path.takeCounters(device), {
        ...{ decap_packets: 4, decap_bytes: 4 * 1040, drop_peer_subnet: 2 },
        ...{ segments_merged: 3, super_frames_merged: 1 },
      });
      const whole = (from: string, message: 'tcp' | 'udp') => {
        const payload = new Uint8Array(40_000);
        const inner =
          message === 'tcp' ? tcp({ checksum: 'partial' }, payload) : udp({ checksum: 'partial' }, payload);
        const packet = from.includes(':') ? ipv6({ source: from }, inner) : ipv4({ source: from }, inner);
        return {
          bytes: datagram(vni, ethernet({ source: A }, packet)),
          ...(message === 'udp' && { gro: 1008 }),
        };
      };
      for (const message of ['tcp', 'udp'] as const) {
        for (const from of ['10.0.1.5', 'fd00:1::5']) {
          const frames = path.decap([{ ...whole(from, message), sender: '192.0.2.1' }]);
          assert.equal(frames.length, 1);
          assert.ok(frames[0]!.frame.length > 40_000 && frames[0]!.virtio.gsoType !== 0);
        }
        for (const from of ['10.0.2.5', 'fd00:2::5'])
          assert.equal(path.decap([{ ...whole(from, message), sender: '192.0.2.1' }]).length, 0);
        assert.equal(path.decap([{ ...whole('10.0.1.5', message), sender: '192.0.2.9' }]).length, 0);
      }
      const { decap_packets, drop_peer_subnet, drop_peer_address, super_frames_received } =
        path.takeCounters(device);
      assert.deepEqual(
        { decap_packets, drop_peer_subnet, drop_peer_address, super_frames_received },
        { decap_packets: 4, drop_peer_subnet: 4, drop_peer_address: 2, super_frames_received: 4 },
      );
      assert.deepEqual(peers.show(`dev${device}`)[0]!.stats.rx.packets, 8);
    });

    it('what is sent to each is counted, whole batches of mixed peers too', () => {
      const device = deviceOf();
      path.entry(device, '00:00:00:00:00:00', [{ address: '192.0.2.1' }]);
      const macs = Array.from({ length: 80 }, (_, i) => `02:00:00:00:09:${i.toString(16).padStart(2, '0')}`);
      for (const mac of macs) set(device, mac, '192.0.2.1', '10.0.0.0/8');
      const prng = mulberry32(5);
      const naive = new NaivePeers();
      for (const mac of macs)
        naive.apply({ op: 'set', dev: `dev${device}`, mac, src: '192.0.2.1', prefixes: ['10.0.0.0/8'] });
      for (let batch = 0; batch < 5; batch++) {
        const taps: { frame: Uint8Array; device: number }[] = [];
        const received: Received[] = [];
        for (let i = 0; i < 200; i++) {
          const mac = prng() < 0.1 ? B : macs[Math.floor(prng() * macs.length * (batch % 2 ? 1 : 0.1))]!;
          const frame = ethernet(
            { destination: mac },
            ipv4({ source: '10.0.0.9' }, udp({}, randomBytes(prng, Math.floor(prng() * 900)))),
          );
          taps.push({ frame, device });
          naive.sent(`dev${device}`, mac, 1, frame.length - 14);
          const back = ethernet(
            { source: mac },
            ipv4({ source: '10.0.0.9' }, udp({ sourcePort: i }, randomBytes(prng, Math.floor(prng() * 900)))),
          );
          received.push({ bytes: datagram(VNI + device - 1, back), sender: '192.0.2.1' });
          naive.refusal(`dev${device}`, back, '192.0.2.1', NOW);
        }
        path.encap(taps);
        path.decap(received);
      }
      const wanted = naive.list.map(({ last, ...peer }) => ({
        ...peer,
        ...(last === undefined ? {} : { last: 0 }),
      }));
      assert.deepEqual(peers.show(`dev${device}`).sort(byName), wanted.sort(byName));
      assert.ok(wanted.some(({ stats }) => stats.tx.packets > 1));
    });

    it('frames that another device hands over come from its own address, or from where they go', () => {
      const here = '192.0.2.77';
      const here6 = '2001:db8::77';
      Object.assign(path.paths, { wanted: true, clock: 1000 });
      for (const address of [here, here6]) path.paths.routes.set(address, { local: true });
      const underlay4: Fields = {};
      const underlay6: Fields = { family: AF_INET6, listener: LISTENER_6 };
      for (const [local, address, from, loopback, underlay] of [
        ['', here, here, '127.0.0.1', underlay4],
        ['198.51.100.7', here, '198.51.100.7', '127.0.0.1', underlay4],
        ['', here6, here6, '::1', underlay6],
        ['2001:db8:1::7', here6, '2001:db8:1::7', '::1', underlay6],
      ] as const) {
        const target = deviceOf({ ...underlay, learning: true });
        const device = path.device({ ...underlay, features: { localbypass: true } });
        path.source(SOURCE, { local });
        path.entry(device, '00:00:00:00:00:00', [{ address, vni: VNI + target - 1 }]);
        const send = (frame: Uint8Array) => {
          path.takeCounters(target);
          const { injected } = path.encap([{ frame, device }]);
          const { drop_unknown_peer, drop_peer_address, drop_peer_subnet } = path.takeCounters(target);
          return { injected: injected.length, drop_unknown_peer, drop_peer_address, drop_peer_subnet };
        };
        const refused = {
          injected: 0,
          drop_unknown_peer: undefined,
          drop_peer_address: undefined,
          drop_peer_subnet: undefined,
        };
        assert.deepEqual(send(ping(A, '10.0.1.5')), { ...refused, drop_unknown_peer: 1 });
        set(target, A, loopback, '10.0.1.0/24');
        assert.deepEqual(send(ping(A, '10.0.1.5')), { ...refused, drop_peer_address: 1 });
        set(target, A, from, '10.0.1.0/24');
        assert.deepEqual(send(ping(A, '10.0.2.5')), { ...refused, drop_peer_subnet: 1 });
        assert.deepEqual(send(ping(A, '10.0.1.5')), { ...refused, injected: 1 });
        assert.equal(peers.show(`dev${target}`)[0]!.stats.rx.packets, 1);
      }
      path.source(SOURCE, {});
      path.paths.wanted = false;
    });

    it('refuses what can’t be right; then nothing has changed', () => {
      const device = deviceOf();
      const dev = `dev${device}`;
      const gpe = path.device({ features: { gpe: true }, listener: LISTENER_GPE });
      set(device, A, '192.0.2.1', '10.0.1.0/24');
      const before = peers.show(dev);
      const asked = { op: 'set', dev, mac: A, src: '192.0.2.1' } as const;
      for (const [request, code, words] of [
        [{ ...asked, dev: 'dev0' }, 'NOT_FOUND', /Cannot find device/],
        [{ ...asked, dev: `dev${gpe}` }, 'UNSUPPORTED', /gpe/],
        [{ ...asked, mac: '02:00' }, 'USAGE', /MAC/],
        [{ ...asked, mac: '01:00:5e:00:00:01' }, 'USAGE', /unicast/],
        [{ ...asked, mac: '00:00:00:00:00:00' }, 'USAGE', /unicast/],
        [{ ...asked, src: 'there' }, 'USAGE', /address/],
        [{ ...asked, src: '0.0.0.0' }, 'USAGE', /address/],
        [{ ...asked, src: '2001:db8::1' }, 'UNSUPPORTED', /family/],
        ...[
          '10.0.1.1/24',
          '10.0.1.0/33',
          'fd00::/129',
          'fd00::1/64',
          '10.0.1.0/',
          '10.0.1/24',
          '',
          '/24',
          '10.0.1.0/-1',
        ].map((prefix) => [{ ...asked, prefixes: [prefix] }, 'USAGE', /prefix|address/] as const),
        [{ ...asked, prefixes: ['10.0.1.0/24', '10.0.2.0/24'] }, 'USAGE', /one IPv4/],
        [{ ...asked, prefixes: ['fd00::/64', 'fd01::/64'] }, 'USAGE', /one IPv6/],
        [{ op: 'del', dev, mac: B }, 'NOT_FOUND', /No such file/],
      ] as const)
        assert.throws(() => peers.apply(request), refusal(code, words), JSON.stringify(request));
      assert.throws(() => peers.show('dev0'), refusal('NOT_FOUND', /Cannot find device/));
      assert.deepEqual(peers.show(dev), before);
      set(device, B, '192.0.2.2', 'fd00::/64', '10.1.0.0/16');
      assert.deepEqual(peers.show(dev).find(({ mac }) => mac === B)!.prefixes, ['10.1.0.0/16', 'fd00::/64']);
      peers.remove(device);
      assert.deepEqual(peers.show(dev), []);
    });
  });
}

describe('table of peers', () => {
  const macOf = (n: number) =>
    `02:${[n >>> 24, n >>> 16, n >>> 8, n].map((byte) => (byte & 255).toString(16).padStart(2, '0')).join(':')}:01`;

  it('has room for as many as it says, and is empty when they have gone', async () => {
    const path = await HotPath.open('release');
    const device = path.device({ features: { knownpeers: true } });
    const dev = 'dev1';
    const peers = new Peers({
      ...{ view: path.engine.view, deviceIndex: () => device, deviceName: () => dev, now: () => NOW },
    });
    const set = (n: number) =>
      peers.apply({
        op: 'set',
        dev,
        mac: macOf(n),
        src: '192.0.2.1',
        prefixes: [`10.${(n >> 8) & 255}.${n & 255}.0/24`],
      });
    const take = (n: number) => {
      path.takeCounters(device);
      const from = `10.${(n >> 8) & 255}.${n & 255}.9`;
      path.decap([{ bytes: datagram(VNI + device - 1, ping(macOf(n), from)), sender: '192.0.2.1' }]);
      return path.takeCounters(device).decap_packets === 1;
    };
    assert.ok(PEER_COUNT >= 131_072);
    for (let n = 0; n < PEER_COUNT; n++) set(n);
    assert.throws(() => set(PEER_COUNT), refusal('NO_SPACE', /No space left on device/));
    set(7);
    for (let n = 0; n <= PEER_COUNT; n += 64) assert.equal(take(n), n < PEER_COUNT, `${n}`);
    // One goes, one comes, many times: those that stay are found.
    for (let n = 0; n < 1000; n++) {
      peers.apply({ op: 'del', dev, mac: macOf(n) });
      set(PEER_COUNT + n);
    }
    for (let n = 0; n < PEER_COUNT + 1000; n += 71) assert.equal(take(n), n >= 1000, `${n}`);
    assert.equal(peers.show(dev).length, PEER_COUNT);
    peers.remove(device);
    const slots = path.engine.bytes.subarray(PEER_BUCKETS_BASE, PEER_BUCKETS_BASE + PEER_BUCKETS_BYTES);
    assert.ok(slots.every((byte) => byte === 0));
    assert.equal(take(5), false);
  });

  it('changed while a worker walks: each frame meets the old peer or the new one, and all are counted', async () => {
    const path = await HotPath.open('release');
    const { view, u32, memory } = path.engine;
    const device = path.device({ features: { knownpeers: true } });
    const dev = 'dev1';
    const peers = new Peers({ view, deviceIndex: () => device, deviceName: () => dev, now: () => NOW });
    // Of both peers that change, one frame's address and source are of one state, or of two, which never is right.
    const C = '02:00:00:00:00:0c';
    const states = [
      { src: '192.0.2.1', prefixes: ['10.0.1.0/24'] },
      { src: '192.0.2.2', prefixes: ['10.0.2.0/24'] },
    ];
    const messageOf = (mac: string, sender: string, from: string) => ({
      sender,
      bytes: datagram(VNI + device - 1, ping(mac, from)),
    });
    const messages = [
      messageOf(A, '192.0.2.1', '10.0.2.5'),
      messageOf(A, '192.0.2.2', '10.0.1.5'),
      messageOf(C, '192.0.2.1', '10.0.1.5'),
      messageOf(C, '192.0.2.2', '10.0.2.5'),
      messageOf(B, '192.0.2.3', '10.0.3.5'),
    ];
    for (const mac of [A, C]) peers.apply({ op: 'set', dev, mac, ...states[0]! });
    peers.apply({ op: 'set', dev, mac: B, src: '192.0.2.3', prefixes: ['10.0.3.0/24'] });
    path.decap(messages);
    assert.equal(path.takeCounters(device).decap_packets, 2);
    for (const mac of [A, B, C]) peers.apply({ op: 'del', dev, mac });
    for (const mac of [A, C]) peers.apply({ op: 'set', dev, mac, ...states[0]! });
    peers.apply({ op: 'set', dev, mac: B, src: '192.0.2.3', prefixes: ['10.0.3.0/24'] });
    // The messages lie where they were; the worker walks them again and again.
    const flag = HEADER_BASE + 4000;
    const worker = new Worker(
      `const { workerData: { module, memory, worker, listener, count, flag } } = require('node:worker_threads');
       const { exports } = new WebAssembly.Instance(module, { env: { memory } });
       const lengths = new DataView(memory.buffer);
       const words = new Int32Array(memory.buffer);
       let rounds = 0;
       while (Atomics.load(words, flag >> 2) === 0) {
         exports.decap(worker, listener, count);
         exports.decapDone(worker, count);
         rounds++;
         Atomics.store(words, (flag >> 2) + 1, rounds);
       }
       require('node:worker_threads').parentPort.postMessage(rounds);`,
      {
        eval: true,
        workerData: {
          module: compileEngine('release'),
          memory,
          worker: DECAP_WORKER,
          listener: LISTENER,
          count: messages.length,
          flag,
        },
      },
    );
    const rounds = new Promise<number>((done, failed) => worker.once('message', done).once('error', failed));
    while (Atomics.load(u32, (flag >> 2) + 1) === 0) await new Promise((next) => setTimeout(next, 1));
    let changes = 0;
    // Longer where others have the cores: until the worker has walked often enough.
    const [until, latest] = [Date.now() + 400, Date.now() + 20_000];
    const isEnough = () => changes > 2000 && Atomics.load(u32, (flag >> 2) + 1) > 200;
    for (; Date.now() < until || (!isEnough() && Date.now() < latest); changes++) {
      for (const mac of [A, C]) peers.apply({ op: 'set', dev, mac, ...states[changes & 1]! });
      if (changes % 64 === 0) {
        peers.apply({ op: 'set', dev, mac: macOf(changes), src: '192.0.2.9' });
        if (changes % 128 === 0) peers.apply({ op: 'del', dev, mac: macOf(changes) });
      }
      if (changes % 4096 === 0) await new Promise((next) => setImmediate(next));
    }
    Atomics.store(u32, flag >> 2, 1);
    const walked = await rounds;
    await worker.terminate();
    assert.ok(changes > 1000 && walked > 100, `${changes} changes, ${walked} rounds`);
    const counted = path.takeCounters(device);
    const shown = peers.show(dev);
    const of = (mac: string) => shown.find((peer) => peer.mac === mac)!.stats.rx;
    assert.equal(of(A).packets, 0, 'no half of a change is believed');
    assert.equal(of(B).packets, walked, 'a peer that stays as it is is taken from each time');
    assert.ok(of(C).packets > 0 && of(C).packets <= 2 * walked, `${of(C).packets} of ${walked} rounds`);
    const { decap_packets = 0, drop_peer_address = 0, drop_peer_subnet = 0 } = counted;
    assert.equal(decap_packets + drop_peer_address + drop_peer_subnet, walked * messages.length);
    const sum = (key: 'packets' | 'address_drops' | 'subnet_drops') => of(A)[key] + of(B)[key] + of(C)[key];
    assert.deepEqual(
      [sum('packets'), sum('address_drops'), sum('subnet_drops')],
      [decap_packets, drop_peer_address, drop_peer_subnet],
    );
  });
});
