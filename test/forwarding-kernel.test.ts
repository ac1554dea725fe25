/**
 * A gateway between two VNIs in a portable VTEP over batched sockets, the kernel's devices on either side. Their links are
 * virtual: they send super-frames of TCP and UDP in one piece, with open checksums.
 *
 *   left (VNI 1) ===== here: red, blue ===== right (VNI 2)
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { batchedUnderlay, createMemoryPort, createVtep, type PortableVtep } from '../src/index.ts';
import { assertBytes } from './support/bytes.ts';
import { ethernet, ipv4, ipv6 } from './support/frames.ts';
import { tcp, tcpTimestamps, udp } from './support/messages.ts';
import { segmentNaively } from './support/naive-segment.ts';
import type { Bed, Namespace } from './support/netns.ts';
import { enter } from './support/own-namespace.ts';
import { macText, parseFrame } from './support/parse.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import type { SuperFrame } from './support/super-frames.ts';
import { Agent } from './support/traffic.ts';
import { suite } from './support/traffic-gate.ts';
import { partialHeader, superHeader } from './support/virtio.ts';

const TRANSFER_BYTES = 48 << 20;
const LEFT = '10.1.0.2';
const RIGHT = '10.1.0.3';

suite('a gateway between VNIs in a portable VTEP', ['kernel'], (bed: Bed) => {
  const spaces: Record<'here' | 'left' | 'right', Namespace> = {} as never;
  const agents: Record<'left' | 'right', Agent> = {} as never;
  let vtep: PortableVtep;
  const heard: string[] = [];

  before(async () => {
    for (const name of ['here', 'left', 'right'] as const) {
      spaces[name] = bed.namespace(name);
      spaces[name].sysctl({ 'net.ipv6.conf.default.disable_ipv6': 1 });
    }
    for (const [id, name, address] of [
      [1, 'left', LEFT],
      [2, 'right', RIGHT],
    ] as const) {
      const far = spaces[name];
      far.ip(
        `link add u0 type veth peer name u${id} netns ${spaces.here.name}`,
        `addr add 192.0.${id}.2/24 dev u0`,
        'link set u0 up',
        `link add vx0 mtu 1450 type vxlan id ${id} dstport 4789 remote 192.0.${id}.1 local 192.0.${id}.2 dev u0`,
        `addr add ${address}/24 dev vx0`,
        'link set vx0 up',
      );
      spaces.here.ip(`addr add 192.0.${id}.1/24 dev u${id}`, `link set u${id} up`);
      // What a socket's buffer holds is the most that may be under way, so that nothing has to be lost; and nobody sends
      // again because an answer takes its time.
      far.sysctl({ 'net.ipv4.tcp_rmem': '4096 131072 1048576', 'net.ipv4.tcp_early_retrans': 0 });
    }
    for (const name of ['left', 'right'] as const) agents[name] = await Agent.start(spaces[name]);
    enter(spaces.here);
    vtep = await createVtep({ underlay: batchedUnderlay() });
    for (const [id, name] of [
      [1, 'red'],
      [2, 'blue'],
    ] as const) {
      const [mine, its] = createMemoryPort();
      mine.start({ frames: () => heard.push(name) });
      const device = { name, id, dstport: 4789, remote: `192.0.${id}.2`, mtu: 1450, port: its };
      await vtep.addDevice({ ...device, learning: false });
    }
    // Numbers are given in the order of the devices' making.
    for (const [name, to] of [
      ['red', 2],
      ['blue', 1],
    ] as const)
      vtep.setHook(name, 'decap', (batch) => {
        while (batch.next()) batch.redirect(to, 'tunnel');
      });
  });
  after(() => vtep?.close());

  const counters = (name: string) => vtep.status().counters[name] ?? {};
  /** Counters of a namespace, as /proc/net/snmp and netstat have them. */
  function statistics(space: Namespace, protocol: string): Record<string, number> {
    const text = space.run('cat', '/proc/net/snmp', '/proc/net/netstat');
    const lines = text.split('\n').filter((line) => line.startsWith(`${protocol}: `));
    const [names, values] = lines.map((line) => line.split(' ').slice(1)) as [string[], string[]];
    return Object.fromEntries(names.map((name, index) => [name, Number(values[index])]));
  }

  const linkOf = (space: Namespace) => space.ipJson('-s', 'link', 'show', 'vx0')[0].stats64;

  async function transfer(from: Agent, to: Agent, address: string): Promise<void> {
    const port = await to.call('receiveTransfer', address);
    const [sent, received] = await Promise.all([
      from.call('sendTransfer', address, port, TRANSFER_BYTES),
      to.call('transferResult', port),
    ]);
    assert.deepEqual(received, sent);
  }

  test('TCP both ways, one after the other and at once: bytes intact, nothing lost, nothing sent again', async () => {
    const { left, right } = agents;
    await transfer(left, right, RIGHT);
    await transfer(right, left, LEFT);
    await Promise.all([transfer(left, right, RIGHT), transfer(right, left, LEFT)]);
    await pause(50);
    for (const [name, other, gate, back] of [
      ['left', 'right', 'red', 'blue'],
      ['right', 'left', 'blue', 'red'],
    ] as const) {
      const { tx } = linkOf(spaces[name]);
      const { rx } = linkOf(spaces[other]);
      assert.equal(counters(gate).hook_redirects_received, tx.packets, `all of ${name}'s were taken`);
      assert.deepEqual([rx.packets, rx.dropped, rx.errors], [counters(back).encap_packets, 0, 0], other);
      // What was sent again, because an answer was late, had arrived.
      const { RetransSegs: again } = statistics(spaces[name], 'Tcp');
      const { TCPDSACKOldSent: known } = statistics(spaces[other], 'TcpExt');
      assert.ok(again! <= known!, `${name} sent ${again} again, ${other} had ${known} of them`);
      assert.equal(statistics(spaces[name], 'Tcp').InErrs, 0);
      assert.ok(
        counters(gate).super_frames_split! > 300,
        `${counters(gate).super_frames_split} super-frames`,
      );
      assert.deepEqual(
        Object.keys(counters(gate)).filter((counter) => counter.startsWith('drop_')),
        [],
      );
    }
    const { RcvbufErrors, InErrors, SndbufErrors } = statistics(spaces.here, 'Udp');
    assert.deepEqual([RcvbufErrors, InErrors, SndbufErrors], [0, 0, 0]);
    assert.deepEqual(heard, []);
  });

  test('super-frames arrive on the other side as the frames that the kernel would have sent', async () => {
    const random = mulberry32(8);
    const addresses = { source: '02:00:00:00:00:aa', destination: '02:00:00:00:00:bb' };
    const mtu = 1450;
    const frames: SuperFrame[] = [];
    for (const bytes of [1, 1398, 1399, 2796, 5000, 20_000, 60_000])
      for (const wrap of [ipv4, ipv6]) {
        const payload = randomBytes(random, bytes);
        const options = tcpTimestamps(1, 2);
        const stream = ethernet(
          addresses,
          wrap({}, tcp({ checksum: 'partial', flags: 'CPA', options }, payload)),
        );
        const headers = stream.length - bytes;
        const size = mtu + 14 - headers;
        const isSuper = bytes > size;
        frames.push({ frame: stream, virtio: isSuper ? superHeader(stream, size) : partialHeader(stream) });
        const train = ethernet(addresses, wrap({}, udp({ checksum: 'partial' }, payload)));
        const segment = 1 + Math.floor(random() * 1300);
        const few = bytes > segment && bytes / segment <= 60;
        if (few || bytes < 1399)
          frames.push({ frame: train, virtio: few ? superHeader(train, segment) : partialHeader(train) });
      }
    await agents.right.call('offloads', 'vx0', { gro: false });
    const capture = await agents.right.capture('vx0', { direction: 'in' });
    await agents.left.call('superFrames', 'vx0', frames);
    const expected = frames.flatMap(({ frame, virtio }) => segmentNaively(frame, virtio)!);
    const { frames: captured, missed } = await capture.stop({ frames: expected.length });
    assert.equal(missed, 0);
    const found = captured
      .map(({ data }) => data)
      .filter((data) => macText(data, 0) === addresses.destination);
    // Each flow leaves from a port of its own.
    const flowOf = (frame: Uint8Array) =>
      Buffer.from(frame.subarray(12, 14)).toString('hex') + parseFrame(frame).protocol;
    for (const flow of new Set(expected.map(flowOf))) {
      const [mine, right] = [found, expected].map((all) => all.filter((frame) => flowOf(frame) === flow)) as [
        Uint8Array[],
        Uint8Array[],
      ];
      assert.equal(mine.length, right.length, flow);
      for (const [index, frame] of mine.entries()) assertBytes(frame, right[index], `${flow}: ${index}`);
    }
    assert.equal(found.length, expected.length);
  });
});
