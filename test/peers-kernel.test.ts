/**
 * `knownpeers` against the kernel's device as the peer: what it sends honestly arrives, whole super-frames with
 * unfinished checksums too; what it forges (MAC, source inside, source outside) is dropped and counted by name.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { PeerInfo } from '../src/types.ts';
import { arp, ethernet, ipv4, ipv6 } from './support/frames.ts';
import { icmp, udp } from './support/messages.ts';
import { layer3, type Scenario } from './support/scenario.ts';
import { suite } from './support/traffic-gate.ts';
import { HOSTS, UNDERLAY, VTEP } from './support/traffic-vtep.ts';

const [THERE, HERE] = HOSTS;
const STRANGER = '02:00:00:00:00:99';
const OTHER_UNDERLAY = '10.169.72.94';
const TRANSFER_BYTES = 8 << 20;
const SETTLE_MS = 10_000;

suite('peers of a vxlane device, the kernel’s the one', ['kernel', 'vxlane'], (bed) => {
  let scenario: Scenario;

  const counters = () => scenario.hosts[1].counters();
  const shown = (): PeerInfo[] => JSON.parse(scenario.hosts[1].command('-s', '-j', 'peer', 'show'));

  /** Has frames leave the kernel's device, and waits until `counter` has counted them. */
  async function forge(counter: string, frames: Uint8Array[]): Promise<Record<string, number>> {
    const before = await counters();
    const wanted = (before[counter] ?? 0) + frames.length;
    await scenario.hosts[0].agent.call('inject', VTEP, frames, {});
    let now = await counters();
    for (const end = Date.now() + SETTLE_MS; (now[counter] ?? 0) < wanted && Date.now() < end; ) {
      await new Promise((done) => setTimeout(done, 20));
      now = await counters();
    }
    return Object.fromEntries(
      Object.entries(now)
        .map(([name, value]) => [name, value - (before[name] ?? 0)] as const)
        .filter(([name, value]) => value !== 0 && /^drop_|^decap_packets/.test(name)),
    );
  }

  const from = (source: string, packet = ipv4({ source: THERE.pod, destination: HERE.pod }, udp())) =>
    ethernet({ source, destination: HERE.vtepMac }, packet);

  before(async () => {
    scenario = await layer3(bed, ['kernel', 'vxlane']);
    const [, host] = scenario.hosts;
    // Before it is switched on: nothing is lost in between.
    host.command(
      ...['peer', 'set', THERE.vtepMac, 'dev', VTEP, 'src', THERE.underlay],
      ...['prefix', `${THERE.subnet}/24,${THERE.subnet6}/64`],
    );
    host.set('type', 'vxlan', 'knownpeers');
    // Group reports of the interfaces themselves come from link-local addresses: they have been sent by now.
    await new Promise((done) => setTimeout(done, 300));
  });

  test('what a peer sends arrives, TCP in whole super-frames too, and is counted as its', async () => {
    const before = await counters();
    for (const key of ['pod', 'pod6'] as const) {
      const port = await scenario.pods[1].call('udpEchoServer', HERE[key]);
      const sweep = await scenario.pods[0].call('udpSweep', HERE[key], port, {
        first: 4,
        last: 1400,
        step: 97,
      });
      assert.deepEqual([sweep.lost, sweep.corrupt], [[], []]);
      for (const [to, there] of [
        [1, 0],
        [0, 1],
      ] as const) {
        const address = HOSTS[to][key];
        const tcp = await scenario.pods[to].call('receiveTransfer', address);
        const sent = await scenario.pods[there].call('sendTransfer', address, tcp, TRANSFER_BYTES);
        assert.deepEqual(await scenario.pods[to].call('transferResult', tcp), sent);
      }
    }
    const after = await counters();
    const grown = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
    assert.ok(grown('super_frames_received') > 50, 'the kernel’s device sends super-frames whole');
    for (const name of ['drop_unknown_peer', 'drop_peer_address', 'drop_peer_subnet'])
      assert.equal(grown(name), 0, name);
    const [peer, ...others] = shown();
    assert.deepEqual(others, []);
    const { ifname, mac, src, prefixes, last, stats } = peer!;
    assert.deepEqual(
      { ifname, mac, src, prefixes },
      {
        ...{ ifname: VTEP, mac: THERE.vtepMac, src: THERE.underlay },
        prefixes: [`${THERE.subnet}/24`, `${THERE.subnet6}/64`],
      },
    );
    assert.ok(last! <= 5, `${last} s`);
    assert.ok(stats.rx.packets >= grown('decap_packets') && stats.rx.bytes >= grown('decap_bytes'));
    assert.ok(stats.tx.bytes > 2 * TRANSFER_BYTES && stats.tx.packets > 100);
  });

  test('drop_unknown_peer: a forged MAC', async () => {
    assert.deepEqual(await forge('drop_unknown_peer', [from(STRANGER), from(STRANGER)]), {
      drop_unknown_peer: 2,
    });
  });

  test('drop_peer_subnet: a forged source inside, of IPv4, IPv6 and ARP', async () => {
    const forged = [
      from(THERE.vtepMac, ipv4({ source: '10.244.7.1', destination: HERE.pod }, udp())),
      from(THERE.vtepMac, ipv4({ source: HERE.pod, destination: HERE.pod }, icmp())),
      from(THERE.vtepMac, ipv6({ source: HERE.pod6, destination: HERE.pod6 }, udp())),
      from(THERE.vtepMac, ipv6({ source: 'fe80::1', destination: HERE.pod6 }, udp())),
      from(THERE.vtepMac, arp({ senderIp: HERE.gateway, targetIp: HERE.subnet, senderMac: THERE.vtepMac })),
    ];
    const [before] = shown();
    assert.deepEqual(await forge('drop_peer_subnet', forged), { drop_peer_subnet: 5 });
    assert.equal(shown()[0]!.stats.rx.subnet_drops - before!.stats.rx.subnet_drops, 5);
  });

  test('drop_peer_address: a forged outer source; the address that it moves to is said and taken', async () => {
    const { namespace } = scenario.hosts[0];
    namespace.ip(
      `addr add ${OTHER_UNDERLAY}/24 dev ${UNDERLAY}`,
      `link set ${VTEP} type vxlan id 1 local ${OTHER_UNDERLAY} dev ${UNDERLAY}`,
    );
    const honest = from(THERE.vtepMac);
    assert.deepEqual(await forge('drop_peer_address', [honest, honest, honest]), { drop_peer_address: 3 });
    scenario.hosts[1].command(
      ...['peer', 'set', THERE.vtepMac, 'dev', VTEP, 'src', OTHER_UNDERLAY],
      ...['prefix', `${THERE.subnet}/24`],
    );
    assert.deepEqual(await forge('decap_packets', [honest]), { decap_packets: 1 });
    const [peer] = shown();
    assert.deepEqual([peer!.src, peer!.stats.rx.address_drops], [OTHER_UNDERLAY, 3]);
    const sixth = from(THERE.vtepMac, ipv6({ source: THERE.pod6, destination: HERE.pod6 }, udp()));
    assert.deepEqual(await forge('drop_peer_subnet', [sixth]), { drop_peer_subnet: 1 });
    scenario.hosts[1].command('peer', 'del', THERE.vtepMac, 'dev', VTEP);
    assert.deepEqual(await forge('drop_unknown_peer', [honest]), { drop_unknown_peer: 1 });
    scenario.hosts[1].set('type', 'vxlan', 'noknownpeers');
    assert.deepEqual(await forge('decap_packets', [honest]), { decap_packets: 1 });
  });
});
