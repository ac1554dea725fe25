/**
 * Pods that talk across the tunnel: the scenario with the kernel's device or vxlane on either side. Everything that
 * is sent comes back or arrives unchanged, in both directions, and the kernel's counters stay clean.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { layer3, type Scenario } from './support/scenario.ts';
import { pairings, suite } from './support/traffic-gate.ts';
import type { SweepResult } from './support/traffic-sweep.ts';
import { HOSTS, type Host, UNDERLAY, VTEP } from './support/traffic-vtep.ts';

const MIB = 1 << 20;
const TRANSFER_BYTES = Number(process.env.VXLANE_TEST_TRANSFER_MIB ?? 1024) * MIB;
const SMALLEST_FRAME = 60;
const DIRECTIONS = [
  { name: 'master to worker', from: 0, to: 1 },
  { name: 'worker to master', from: 1, to: 0 },
] as const;
const FAMILIES = [
  { name: 'IPv4', overhead: 14 + 20 + 8, key: 'pod' },
  { name: 'IPv6', overhead: 14 + 40 + 8, key: 'pod6' },
] as const;
/** What an underlay may be able to do, other than what a fresh veth does. */
const UNDERLAYS: { name: string; features: Record<string, boolean> }[] = [
  {
    name: 'cannot segment tunnels',
    features: { 'tx-udp_tnl-segmentation': false, 'tx-udp_tnl-csum-segmentation': false },
  },
  { name: 'cannot segment UDP', features: { 'tx-udp-segmentation': false } },
  { name: 'merges what it receives', features: { gro: true } },
  { name: 'has no offloads', features: { tx: false, tso: false, gso: false, gro: false } },
];

interface Counters {
  errors: number;
  dropped: number;
}

function counters(host: Host): Counters {
  const [link] = host.namespace.ipJson('-s', '-s', 'link', 'show', VTEP);
  const { rx, tx } = link.stats64;
  const total = (direction: Record<string, number>, keys: string[]) =>
    keys.reduce((sum, key) => sum + (direction[key] ?? 0), 0);
  return {
    errors:
      total(rx, ['errors', 'length_errors', 'crc_errors', 'frame_errors', 'fifo_errors', 'over_errors']) +
      total(tx, [
        'errors',
        'aborted_errors',
        'carrier_errors',
        'fifo_errors',
        'heartbeat_errors',
        'collisions',
      ]),
    dropped: total(rx, ['dropped', 'missed_errors', 'nohandler']) + total(tx, ['dropped']),
  };
}

function assertAllCameBack(result: SweepResult, expected: number): void {
  assert.equal(result.lost.join(' '), '', 'payload sizes without a reply');
  assert.equal(result.corrupt.join(' '), '', 'payload sizes with a reply of other bytes');
  assert.equal(result.duplicate.join(' '), '', 'payload sizes with more than one reply');
  assert.equal(result.sent, expected);
}

async function transfer(scenario: Scenario, from: 0 | 1, to: 0 | 1, key: 'pod' | 'pod6', bytes: number) {
  const address = HOSTS[to][key];
  const port = await scenario.pods[to].call('receiveTransfer', address);
  const started = performance.now();
  const sent = await scenario.pods[from].call('sendTransfer', address, port, bytes);
  const received = await scenario.pods[to].call('transferResult', port);
  const seconds = (performance.now() - started) / 1e3;
  assert.equal(received.bytes, bytes);
  assert.equal(received.hash, sent.hash);
  return `${Math.round(bytes / MIB)} MiB in ${seconds.toFixed(2)} s, ${((bytes * 8) / seconds / 1e9).toFixed(2)} Gbit/s`;
}

for (const pairing of pairings) {
  const name = pairing.join(' to ');

  suite(`pods over ${name}`, pairing, (bed) => {
    let scenario: Scenario;
    let atStart: Counters[];
    before(async () => {
      scenario = await layer3(bed, pairing);
      // The interface's own group reports have no destination and count as drops: they are sent by now.
      await new Promise((done) => setTimeout(done, 300));
      atStart = scenario.hosts.map((host) => counters(host));
    });

    for (const { name: family, overhead, key } of FAMILIES) {
      for (const { name: direction, from, to } of DIRECTIONS) {
        test(`${family} echo answers for every frame size from ${SMALLEST_FRAME} bytes to the MTU, ${direction}`, async () => {
          const first = Math.max(0, SMALLEST_FRAME - overhead);
          const last = 1450 + 14 - overhead;
          const sweep = await scenario.pods[from].call('icmpSweep', HOSTS[from][key], HOSTS[to][key], {
            first,
            last,
          });
          assertAllCameBack(sweep, last - first + 1);
        });

        test(`${family} UDP of every frame size from ${SMALLEST_FRAME} bytes to the MTU comes back, ${direction}`, async () => {
          const first = Math.max(4, SMALLEST_FRAME - overhead);
          const last = 1450 + 14 - overhead;
          const port = await scenario.pods[to].call('udpEchoServer', HOSTS[to][key]);
          const sweep = await scenario.pods[from].call('udpSweep', HOSTS[to][key], port, { first, last });
          assertAllCameBack(sweep, last - first + 1);
        });

        test(`${family} datagrams larger than the MTU cross in fragments, ${direction}`, async () => {
          const port = await scenario.pods[to].call('udpEchoServer', HOSTS[to][key]);
          const options = { first: 1451, last: 9000, step: 151, window: 4 };
          const sweep = await scenario.pods[from].call('udpSweep', HOSTS[to][key], port, options);
          assertAllCameBack(sweep, 50);
        });

        test(`${family} TCP messages of 1 to 3000 bytes and of 1 MiB come back, ${direction}`, async () => {
          const sizes = [...Array.from({ length: 3000 }, (_, i) => i + 1), 65_535, 65_536, MIB];
          const port = await scenario.pods[to].call('tcpEchoServer', HOSTS[to][key]);
          const wrong = await scenario.pods[from].call('tcpEchoClient', HOSTS[to][key], port, sizes);
          assert.equal(wrong.join(' '), '', 'message sizes that came back different');
        });
      }
    }

    for (const { name: direction, from, to } of DIRECTIONS)
      test(`a TCP transfer of ${TRANSFER_BYTES / MIB} MiB arrives with the same hash, ${direction}`, async (t) => {
        t.diagnostic(await transfer(scenario, from, to, 'pod', TRANSFER_BYTES));
      });

    test('an IPv6 TCP transfer of 128 MiB arrives with the same hash, both directions', async (t) => {
      t.diagnostic(await transfer(scenario, 0, 1, 'pod6', 128 * MIB));
      t.diagnostic(await transfer(scenario, 1, 0, 'pod6', 128 * MIB));
    });

    test('sixteen transfers at once, IPv4 and IPv6 in both directions, arrive with the same hashes', async () => {
      const flows = Array.from({ length: 16 }, (_, i) =>
        transfer(scenario, i & 1 ? 1 : 0, i & 1 ? 0 : 1, i & 2 ? 'pod6' : 'pod', 8 * MIB + i),
      );
      await Promise.all(flows);
    });

    for (const { name: ability, features } of UNDERLAYS)
      test(`transfers arrive with the same hash when the underlay ${ability}`, async (t) => {
        const before = await scenario.hosts[0].agent.call('features', UNDERLAY);
        for (const host of scenario.hosts) await host.agent.call('offloads', UNDERLAY, features);
        const now = await scenario.hosts[0].agent.call('features', UNDERLAY);
        const changed = Object.entries(before).filter(([feature, on]) => now[feature] !== on);
        assert.ok(changed.length > 0, 'the underlay is what it was');
        try {
          for (const { from, to } of DIRECTIONS)
            for (const { key } of FAMILIES) t.diagnostic(await transfer(scenario, from, to, key, 64 * MIB));
        } finally {
          const undo = Object.fromEntries(changed);
          for (const host of scenario.hosts) await host.agent.call('offloads', UNDERLAY, undo);
        }
      });

    test('the VTEPs are alive, and the kernel counted no error and no drop, as between two kernels', () => {
      scenario.hosts.forEach((host, side) => {
        host.assertAlive();
        if (host.kind !== 'kernel') return;
        const seen = counters(host);
        const dump = () => JSON.stringify(host.namespace.ipJson('-s', '-s', 'link', 'show', VTEP));
        assert.deepEqual(seen, atStart[side], `on the ${side === 0 ? 'master' : 'worker'}: ${dump()}`);
      });
    });

    test('the VTEPs stop cleanly and take their interface with them', async () => {
      for (const host of scenario.hosts) {
        assert.equal(await host.stopVtep(), null);
        const names = host.namespace.ipJson('link', 'show').map((link: { ifname: string }) => link.ifname);
        assert.ok(!names.includes(VTEP), `${VTEP} is still there`);
      }
    });
  });

  suite(`pods over ${name} on a jumbo underlay`, pairing, (bed) => {
    let scenario: Scenario;
    before(async () => {
      scenario = await layer3(bed, pairing, { underlayMtu: 9000 });
    });

    for (const { name: family, overhead, key } of FAMILIES)
      for (const { name: direction, from, to } of DIRECTIONS)
        test(`${family} echo answers for sizes up to the MTU of 8950, ${direction}`, async () => {
          const last = 8950 + 14 - overhead;
          const options = { first: last - 11 * 700, last, step: 11 };
          const sweep = await scenario.pods[from].call(
            'icmpSweep',
            HOSTS[from][key],
            HOSTS[to][key],
            options,
          );
          assertAllCameBack(sweep, 701);
        });

    for (const { name: direction, from, to } of DIRECTIONS)
      test(`a TCP transfer of 128 MiB arrives with the same hash, ${direction}`, async (t) => {
        t.diagnostic(await transfer(scenario, from, to, 'pod', 128 * MIB));
      });
  });
}
