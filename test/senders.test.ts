/**
 * `knownsenders`: who may send is who is a remote of an entry that a command made, after any sequence of commands,
 * learning, ageing and changes of nexthop groups, compared with a list made anew from the FDB. And `ageing never`.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AF_INET6, SENDERS_BASE, SENDERS_BYTES } from '../assembly/layout.ts';
import { Fdb } from '../src/dataplane/fdb.ts';
import type { NexthopInfo } from '../src/dataplane/nexthops.ts';
import { VtepError } from '../src/errors.ts';
import type { FdbRequest } from '../src/types.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4 } from './support/frames.ts';
import { HotPath, VNI } from './support/hot-path.ts';
import { icmp } from './support/messages.ts';
import { mulberry32 } from './support/reference.ts';

const LISTENER_6 = 5;
const LISTENER_EXTERNAL = 6;
const ZERO = '00:00:00:00:00:00';
const frameOf = (source: string) => ethernet({ source }, ipv4({}, icmp({}, new Uint8Array(56))));
const datagram = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);
const group = (id: number, gateways: readonly string[]): NexthopInfo[] => [
  ...gateways.map((_, i) => ({ id: id * 100 + i, fdb: true })),
  {
    ...{ id, fdb: true },
    members: gateways.map((gateway, i) => ({ id: id * 100 + i, weight: 1, family: 2 as const, gateway })),
  },
];

for (const build of BUILDS) {
  describe(`senders (${build})`, async () => {
    const path = await HotPath.open(build);
    const { view, exports } = path.engine;
    const clock = { now: 1000 };
    const domains = new Map<number, number>();
    const fdb = new Fdb({
      ...{ view, exports },
      deviceIndex: (name) => Number(name.slice(3)),
      deviceName: (index) => `dev${index}`,
      ifindex: () => 0,
      ifname: () => '',
      now: () => clock.now,
      domainOf: (_, vni) => domains.get(vni) ?? 0,
    });
    type Fields = NonNullable<Parameters<HotPath['device']>[0]>;

    function deviceOf({ features, ...fields }: Fields = {}): number {
      const device = path.device({ ...fields, features: { knownsenders: true, ...features } });
      fdb.setKnownSenders(device, true);
      return device;
    }

    /** What becomes of a datagram. */
    function arrive(device: number, sender: string, vni = VNI + device - 1, listener?: number): string {
      path.takeCounters(device);
      const bytes = datagram(vni, frameOf('02:00:00:00:00:01'));
      const count = path.decap([{ bytes, sender }], listener).length;
      const { decap_packets = 0, drop_unknown_sender = 0 } = path.takeCounters(device);
      assert.deepEqual([count, decap_packets + drop_unknown_sender], [decap_packets, 1]);
      return decap_packets === 1 ? 'taken' : 'drop_unknown_sender';
    }

    it('drop_unknown_sender: all but the default destination and remotes of entries made by commands', () => {
      const device = deviceOf();
      const dev = `dev${device}`;
      assert.equal(arrive(device, '192.0.2.1'), 'drop_unknown_sender');
      fdb.setDefaultRemote(device, undefined, '192.0.2.1', 0);
      assert.equal(arrive(device, '192.0.2.1'), 'taken');
      assert.equal(arrive(device, '192.0.2.2'), 'drop_unknown_sender');
      fdb.apply({ op: 'append', dev, mac: ZERO, dst: '192.0.2.2' });
      fdb.apply({ op: 'add', dev, mac: '02:00:00:00:00:02', dst: '192.0.2.2', state: 'static' });
      fdb.apply({ op: 'del', dev, mac: ZERO, dst: '192.0.2.2' });
      assert.equal(arrive(device, '192.0.2.2'), 'taken', 'another entry has it still');
      fdb.apply({ op: 'replace', dev, mac: '02:00:00:00:00:02', dst: '192.0.2.3' });
      assert.equal(arrive(device, '192.0.2.2'), 'drop_unknown_sender');
      assert.equal(arrive(device, '192.0.2.3'), 'taken');
      fdb.apply({ op: 'add', dev, mac: '02:00:00:00:00:04', dst: '192.0.2.4', state: 'dynamic' });
      assert.equal(arrive(device, '192.0.2.4'), 'drop_unknown_sender');
      fdb.flush({ dev });
      for (const last of [1, 2, 3]) assert.equal(arrive(device, `192.0.2.${last}`), 'drop_unknown_sender');
    });

    it('each device has its own, devices without it take all, and a stranger teaches nothing', () => {
      const [one, other] = [deviceOf({ learning: true }), deviceOf()];
      const open = path.device();
      fdb.setDefaultRemote(one, undefined, '192.0.2.9', 0);
      assert.equal(arrive(other, '192.0.2.9'), 'drop_unknown_sender');
      assert.equal(arrive(open, '192.0.2.99'), 'taken');
      assert.equal(arrive(one, '192.0.2.99'), 'drop_unknown_sender');
      assert.equal(fdb.show(`dev${one}`).length, 1);
      assert.equal(arrive(one, '192.0.2.9'), 'taken');
      assert.equal(fdb.show(`dev${one}`).length, 2);
    });

    it('switched on later it knows what is there; switched off it leaves nothing behind', () => {
      const device = path.device({ features: { knownsenders: true } });
      const dev = `dev${device}`;
      fdb.apply({ op: 'append', dev, mac: ZERO, dst: '198.51.100.1' });
      assert.equal(arrive(device, '198.51.100.1'), 'drop_unknown_sender');
      fdb.setKnownSenders(device, true);
      fdb.setKnownSenders(device, true);
      assert.equal(arrive(device, '198.51.100.1'), 'taken');
      fdb.setKnownSenders(device, false);
      assert.equal(arrive(device, '198.51.100.1'), 'drop_unknown_sender');
    });

    it('IPv6 senders, all 16 bytes of them; VNIs of an external device', () => {
      const six = deviceOf({ family: AF_INET6, listener: LISTENER_6 });
      fdb.setDefaultRemote(six, undefined, '2001:db8::1', 0);
      const vni = VNI + six - 1;
      assert.equal(arrive(six, '2001:db8::1', vni, LISTENER_6), 'taken');
      for (const sender of ['2001:db8::2', '2001:db9::1', '::1'])
        assert.equal(arrive(six, sender, vni, LISTENER_6), 'drop_unknown_sender', sender);
      const many = deviceOf({ features: { external: true }, listener: LISTENER_EXTERNAL });
      domains.set(0x700, path.vni(many, { vni: 0x700, vlan: 7, listener: LISTENER_EXTERNAL }));
      assert.equal(arrive(many, '192.0.2.1', 0x700, LISTENER_EXTERNAL), 'drop_unknown_sender');
      fdb.apply({ op: 'append', dev: `dev${many}`, mac: ZERO, dst: '192.0.2.1', src_vni: 0x700 });
      assert.equal(arrive(many, '192.0.2.1', 0x700, LISTENER_EXTERNAL), 'taken');
      for (const device of [six, many]) fdb.setKnownSenders(device, false);
    });

    it('is what the FDB says after any sequence of changes, and empty in the end', () => {
      const devices = [deviceOf({ learning: true }), deviceOf()];
      const pool = Array.from({ length: 12 }, (_, i) => `10.9.0.${i + 1}`);
      const macs = [ZERO, ...Array.from({ length: 6 }, (_, i) => `02:00:00:00:01:0${i}`)];
      const groups = new Map<number, string[]>();
      const seen = { taken: 0, drop_unknown_sender: 0, refused: 0 };
      for (let seed = 1; seed <= 8; seed++) {
        const prng = mulberry32(seed);
        const pick = <T>(list: readonly T[]) => list[Math.floor(prng() * list.length)]!;
        for (let step = 0; step < 120; step++) {
          const device = pick(devices);
          const dev = `dev${device}`;
          const mac = pick(macs);
          const target = prng() < 0.2 ? { nhid: pick([1, 2]) } : { dst: pick([...pool, '0.0.0.0']) };
          const choice = prng();
          try {
            if (choice < 0.5) {
              const op = pick(['add', 'append', 'replace'] as const);
              const state = pick(['permanent', 'static', 'dynamic'] as const);
              const request: FdbRequest = { op, dev, mac, state, ...target };
              fdb.apply({ ...request, extern_learn: prng() < 0.2 });
            } else if (choice < 0.7) {
              fdb.apply({ op: 'del', dev, mac, ...(prng() < 0.5 && { dst: pick(pool) }) });
            } else if (choice < 0.8) {
              groups.set(pick([1, 2]), [pick(pool), pick(pool)].slice(prng() < 0.5 ? 1 : 0));
              if (prng() < 0.2) groups.delete(2);
              fdb.setNexthops([...groups].flatMap(([id, gateways]) => group(id, gateways)));
            } else if (choice < 0.85) {
              fdb.flush({ dev, ...(prng() < 0.8 && { dst: pick(pool) }) });
            } else if (choice < 0.9) {
              fdb.setDefaultRemote(device, pick(pool), pick(pool), 0);
            } else {
              clock.now += 200;
              fdb.age(device);
            }
          } catch (error) {
            assert.ok(error instanceof VtepError, String(error));
            seen.refused++;
          }
          const known = new Set<string>();
          for (const entry of fdb.show(dev)) {
            const isMade =
              ['permanent', 'static'].includes(entry.state) || entry.flags.includes('extern_learn');
            if (entry.nhid !== undefined) for (const gateway of groups.get(entry.nhid)!) known.add(gateway);
            else if (isMade && entry.dst !== '0.0.0.0') known.add(entry.dst!);
          }
          for (const sender of pool) {
            const expected = known.has(sender) ? 'taken' : 'drop_unknown_sender';
            assert.equal(verdictOf(device, sender), expected, `seed ${seed} step ${step}: ${sender}`);
            seen[expected]++;
          }
        }
      }
      for (const [what, count] of Object.entries(seen)) assert.ok(count > 100, `${what}: ${count}`);
      for (let device = 1; device <= 20; device++) {
        fdb.flushDevice(device);
        fdb.setKnownSenders(device, false);
      }
      const table = path.engine.bytes.subarray(SENDERS_BASE, SENDERS_BASE + SENDERS_BYTES);
      assert.ok(table.every((byte) => byte === 0));

      /** Whatever else becomes of it: a fixed entry may keep the frame from being delivered. */
      function verdictOf(device: number, sender: string): 'taken' | 'drop_unknown_sender' {
        path.takeCounters(device);
        path.decap([{ bytes: datagram(VNI + device - 1, frameOf('02:00:00:00:01:05')), sender }]);
        return path.takeCounters(device).drop_unknown_sender === 1 ? 'drop_unknown_sender' : 'taken';
      }
    });

    it('ageing never: what was learned stays', () => {
      for (const [ageing, left] of [
        [300, 0],
        ['never', 1],
        [0xfffffffe, 1],
      ] as const) {
        const device = path.device({ learning: true, ageing });
        path.decap([{ bytes: datagram(VNI + device - 1, frameOf('02:00:00:00:00:01')), sender: '10.0.0.1' }]);
        assert.equal(fdb.show(`dev${device}`).length, 1);
        clock.now += 2 ** 30;
        const { removed, next } = fdb.age(device);
        assert.deepEqual([removed, next], [1 - left, 10], String(ageing));
        assert.equal(fdb.show(`dev${device}`).length, left);
        clock.now -= 2 ** 30;
      }
    });
  });
}
