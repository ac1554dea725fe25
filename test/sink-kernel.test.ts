/**
 * The sink as a command, as nobody, fed by kernel vxlan devices of several VNIs and senders over IPv4 and IPv6: every
 * inner packet is in the file as it was sent, and tshark and tcpdump read the file. And what it refuses.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it, test } from 'node:test';
import { openPortablePort } from '../src/io/portable.ts';
import type { SinkPacket } from '../src/sink/packet-output.ts';
import { createSink } from '../src/sink/sink.ts';
import { ethernet, ipv4, rawPacket } from './support/frames.ts';
import { icmp, udp } from './support/messages.ts';
import { type Bed, type Namespace, REPOSITORY } from './support/netns.ts';
import { writePcap } from './support/pcap.ts';
import { readCapture } from './support/pcapng.ts';
import { suite } from './support/traffic-gate.ts';

const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
const READY_MS = 30_000;

/** Sends frames, given as JSON on its input, out of an interface. */
const INJECTOR = `
import json, socket, sys
for name, frames in json.load(sys.stdin):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((name, 0))
    for frame in frames: link.send(bytes.fromhex(frame))
`;

function inject(namespace: Namespace, links: [string, string[]][]): void {
  const result = spawnSync('ip', ['netns', 'exec', namespace.name, 'python3', '-c', INJECTOR], {
    input: JSON.stringify(links),
    encoding: 'utf8',
  });
  assert.equal(result.status, 0, result.stderr);
}

interface Running {
  child: ChildProcess;
  stdout: Buffer[];
  stderr(): string;
  /** Ends it and answers its exit code. */
  interrupt(): Promise<number | null>;
}

/** Starts `vxlane sink` as nobody and waits until it receives. */
async function startSink(where: Namespace, flags: readonly string[], user = NOBODY): Promise<Running> {
  const child = where.spawn('setpriv', [...user, process.execPath, PROGRAM, ...flags]);
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout!.on('data', (bytes: Buffer) => stdout.push(bytes));
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`not ready: ${stderr}`)), READY_MS);
    child.stderr!.on('data', (bytes: Buffer) => {
      stderr += bytes;
      if (!stderr.includes('receives on')) return;
      clearTimeout(late);
      resolve();
    });
    child.once('close', () => reject(new Error(`ended: ${stderr}`)));
  });
  const interrupt = () => {
    child.kill('SIGINT');
    return closed;
  };
  return { child, stdout, stderr: () => stderr, interrupt };
}

/** Two senders behind one wire, with kernel devices to the collector's IPv4 and IPv6 addresses. */
function mirrors(bed: Bed): { sender: Namespace; collector: Namespace } {
  const [sender, collector] = [bed.namespace('mirror'), bed.namespace('sink')];
  sender.ip(`link add eth0 type veth peer name eth0 netns ${collector.name}`);
  for (const namespace of [sender, collector]) {
    namespace.sysctl({ 'net.ipv6.conf.default.accept_dad': 0, 'net.ipv6.conf.eth0.accept_dad': 0 });
    namespace.ip('link set eth0 mtu 9000 up');
  }
  sender.ip(
    'addr add 192.0.2.1/24 dev eth0',
    'addr add 192.0.2.3/24 dev eth0',
    'addr add 2001:db8::1/64 dev eth0 nodad',
  );
  collector.ip('addr add 192.0.2.2/24 dev eth0', 'addr add 2001:db8::2/64 dev eth0 nodad');
  const devices = [
    'vxa type vxlan id 42 local 192.0.2.1 remote 192.0.2.2',
    'vxb type vxlan id 42 local 2001:db8::1 remote 2001:db8::2',
    'vxc type vxlan id 16777215 local 192.0.2.1 remote 192.0.2.2',
    'vxd type vxlan id 7 local 192.0.2.3 remote 192.0.2.2',
  ];
  for (const device of devices) {
    const name = device.slice(0, 3);
    sender.ip(`link add ${device} dstport 4789 dev eth0`);
    // What the stack says by itself when a link comes up is not ours.
    sender.sysctl({ [`net.ipv6.conf.${name}.disable_ipv6`]: 1 });
    sender.ip(`link set ${name} up`);
  }
  return { sender, collector };
}

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
/** Frames of every length from an ARP's up, and one that no protocol knows. */
function framesOf(seed: number): string[] {
  const sizes = [0, 1, 2, 3, 18, 64, 333, 1000, 1400, 8000];
  const packets = sizes.map((bytes) =>
    ethernet({}, ipv4({}, udp({ sourcePort: 1000 + seed }, new Uint8Array(bytes).fill(seed)))),
  );
  const other = ethernet({}, rawPacket(0x88b5, new Uint8Array(100).fill(seed)));
  return [...packets, ethernet({}, ipv4({}, icmp({}, new Uint8Array(56)))), other].map(hexOf);
}

suite('the sink of kernel devices', ['kernel'], (bed) => {
  const network = () => mirrors(bed);
  let world: ReturnType<typeof mirrors> | undefined;
  const links = ['vxa', 'vxb', 'vxc', 'vxd'].map((name, index): [string, string[]] => [
    name,
    framesOf(index + 1),
  ]);
  const names = ['vni42-192.0.2.1', 'vni42-2001:db8::1', 'vni16777215-192.0.2.1', 'vni7-192.0.2.3'];

  it('has every inner packet in its file, without any right', async () => {
    world = network();
    const folder = bed.directory();
    chmodSync(folder, 0o777);
    const file = join(folder, 'mirror.pcapng');
    const sink = await startSink(world.collector, ['sink', '--write', file, '--json']);
    inject(world.sender, links);
    sink.child.kill('SIGUSR1');
    for (const end = Date.now() + 10_000; sink.stdout.length === 0 && Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await sink.interrupt(), 0, sink.stderr());
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(file).uid, 65534);
    const { interfaces, packets, statistics } = readCapture(new Uint8Array(readFileSync(file)));
    assert.deepEqual(
      interfaces
        .map(({ name }) => name)
        .slice(1)
        .sort(),
      [...names].sort(),
    );
    for (const [index, [, frames]] of links.entries()) {
      const id = interfaces.findIndex(({ name }) => name === names[index]);
      const read = packets.filter((packet) => packet.interface === id);
      assert.deepEqual(
        read.map(({ data }) => hexOf(data)),
        frames,
        names[index],
      );
      assert.equal(Number(statistics.find((one) => one.interface === id)!.received), frames.length);
    }
    const now = BigInt(Date.now()) * 1_000_000n;
    assert.ok(packets.every(({ timestamp }) => timestamp > now - 60n * 10n ** 9n && timestamp <= now));
    const [first, last] = Buffer.concat(sink.stdout)
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(last.packets, packets.length);
    assert.equal(last.drops.drop_kernel, 0);
    assert.deepEqual(Object.keys(first), Object.keys(last));

    const tshark = spawnSync(
      'tshark',
      ['-r', file, '-T', 'fields', '-e', 'frame.interface_name', '-e', 'frame.len'],
      { encoding: 'utf8' },
    );
    assert.equal(tshark.status, 0, `tshark: ${tshark.error?.message ?? tshark.stderr}`);
    assert.deepEqual(
      tshark.stdout.trim().split('\n'),
      packets.map((packet) => `${interfaces[packet.interface]!.name}\t${packet.original}`),
    );
    const tcpdump = spawnSync('tcpdump', ['-nr', file], { encoding: 'utf8' });
    assert.equal(tcpdump.status, 0, tcpdump.stderr);
    assert.ok(tcpdump.stdout.split('\n').length >= packets.length);
  });

  it('has every packet of a pcap that is replayed at a rate, cut and oddly headed ones too', async () => {
    const folder = bed.directory();
    chmodSync(folder, 0o777);
    const [file, pcap] = [join(folder, 'replay.pcapng'), join(folder, 'traffic.pcap')];
    // Mirrors that cut at the MTU, group policy and flags that some senders set; Geneve and GPE belong to nobody.
    const datagrams = Array.from({ length: 700 }, (_, index) => {
      const frame = ethernet(
        {},
        ipv4({}, udp({ sourcePort: index }, new Uint8Array((index * 37) % 1400).fill(index))),
      );
      const kept = index % 5 === 0 ? frame.slice(0, Math.min(frame.length, 200)) : frame;
      const first =
        index % 11 === 0
          ? 0x0200_6558
          : index % 13 === 0
            ? 0x0c00_0003
            : index % 7 === 0
              ? 0x8800_0005
              : 0x0800_0000;
      const datagram = new Uint8Array(8 + kept.length);
      new DataView(datagram.buffer).setUint32(0, first);
      new DataView(datagram.buffer).setUint32(4, (1 + (index % 9)) << 8);
      datagram.set(kept, 8);
      return { datagram, frame: kept, original: frame.length, isKept: index % 11 !== 0 && index % 13 !== 0 };
    });
    writeFileSync(
      pcap,
      writePcap(
        datagrams.map(({ datagram }) => datagram),
        4789,
      ),
    );
    const where = bed.namespace('replay');
    const sink = await startSink(where, ['sink', '--write', file, '--json']);
    const sender = where.spawn(process.execPath, [
      ...['--import', 'tsx', join(REPOSITORY, 'bench/sink-sender.ts')],
      ...['127.0.0.1', pcap, '20000', '1'],
    ]);
    let said = '';
    sender.stdout!.on('data', (data) => {
      said += data;
    });
    await new Promise((resolve) => sender.once('close', resolve));
    const { sent } = JSON.parse(said) as { sent: number };
    assert.ok(sent > 10_000, said);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(await sink.interrupt(), 0, sink.stderr());
    const totals = JSON.parse(Buffer.concat(sink.stdout).toString().trim().split('\n').at(-1)!);
    const wanted = Array.from({ length: sent }, (_, index) => datagrams[index % datagrams.length]!);
    const kept = wanted.filter(({ isKept }) => isKept);
    assert.equal(totals.drops.drop_kernel, 0);
    assert.equal(totals.packets, kept.length);
    assert.equal(totals.drops.drop_geneve + totals.drops.drop_gpe, sent - kept.length);
    const { packets } = readCapture(new Uint8Array(readFileSync(file)));
    assert.equal(packets.length, kept.length);
    for (const [index, { data, original }] of packets.entries()) {
      assert.equal(original, kept[index]!.original, `packet ${index}`);
      assert.ok(Buffer.compare(data, kept[index]!.frame) === 0, `packet ${index}`);
    }
    const tshark = spawnSync('tshark', ['-r', file, '-T', 'fields', '-e', 'frame.len'], {
      ...{ encoding: 'utf8', maxBuffer: 1 << 26 },
    });
    assert.equal(tshark.status, 0, `tshark: ${tshark.error?.message ?? tshark.stderr}`);
    assert.equal(tshark.stdout.trim().split('\n').length, kept.length);
  });

  it('gives a stream that tcpdump reads, and ends with its reader', async () => {
    const { collector, sender } = world!;
    const sink = await startSink(collector, ['sink', '--write', '-', '--filter', 'udp', '--vni', '7,42']);
    inject(sender, links);
    // Live: what has come can be read before the end.
    const read = () => readCapture(new Uint8Array(Buffer.concat(sink.stdout)));
    let before = read();
    for (const end = Date.now() + 10_000; before.packets.length < 3 * 10 && Date.now() < end; before = read())
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(before.packets.length, 3 * 10);
    assert.equal(before.statistics.length, 0);
    sink.child.stdout!.destroy();
    const ended = new Promise((resolve) => sink.child.once('exit', resolve));
    inject(sender, links);
    assert.equal(await ended, 0, sink.stderr());
    assert.match(sink.stderr(), /drop_vni \d+, drop_filter \d+/);
  });

  it('writes to a TAP with rights, and says which one is missing without', async () => {
    const { collector, sender } = world!;
    await assert.rejects(
      startSink(collector, ['sink', '--tap', 'mirror0']),
      /TUNSETIFF: EPERM: CAP_NET_ADMIN|net\/tun: EACCES/,
    );
    const sink = await startSink(collector, ['sink', '--tap', 'mirror0', '--json'], ['--reuid=0']);
    inject(sender, links.slice(0, 1));
    const dropped = () => {
      const line = Buffer.concat(sink.stdout).toString().split('\n').at(-2);
      return line === undefined ? 0 : JSON.parse(line).drops.drop_tap_write;
    };
    for (const end = Date.now() + 10_000; dropped() < links[0]![1].length && Date.now() < end; ) {
      sink.child.kill('SIGUSR1');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    collector.sysctl({ 'net.ipv6.conf.mirror0.disable_ipv6': 1 });
    collector.ip('link set mirror0 up');
    inject(sender, links.slice(0, 2));
    const wanted = links[0]![1].length + links[1]![1].length;
    const received = () => collector.ipJson('-s', 'link', 'show', 'dev', 'mirror0')[0].stats64.rx.packets;
    for (const end = Date.now() + 10_000; received() < wanted && Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(received(), wanted);
    assert.equal(await sink.interrupt(), 0);
    assert.match(sink.stderr(), new RegExp(`drop_tap_write ${links[0]![1].length}\\b`), 'down at first');
  });

  it('refuses what can be no capture', () => {
    const run = (...flags: string[]) => {
      const { status, stderr } = spawnSync(process.execPath, [PROGRAM, 'sink', ...flags], {
        encoding: 'utf8',
      });
      return `${status} ${stderr}`;
    };
    assert.match(run(), /^1 .*nothing to do with the packets/);
    assert.match(run('--write', '/nonexistent/x'), /^2 .*--write \/nonexistent\/x: ENOENT/);
    assert.match(run('--stats', '--filter', 'port x'), /^1 .*at 6, "x": a port/);
    assert.match(run('--stats', '--vni', '5-2'), /^1 .*--vni takes/);
    assert.match(run('--stats', '--port', '99999'), /^1 .*port 99999 is not between/);
    assert.match(run('--write', 'x', '--rotate', 'size=10'), /^1 .*from 1Mi/);
    assert.match(run('--write', '-', '--rotate', 'seconds=1'), /^1 .*needs a file/);
    assert.match(run('--stats', '--address', 'nobody'), /^1 .*no IP address/);
    const terminal = spawnSync(
      'script',
      ['-qec', `${process.execPath} ${PROGRAM} sink --write -`, '/dev/null'],
      { encoding: 'utf8' },
    );
    if (terminal.error === undefined) assert.match(terminal.stdout, /standard output is a terminal/);
  });
});

for (const engine of ['batched', 'portable'] as const) {
  test(`the callback of the ${engine} engine has what was sent, and a malformed rest is counted`, async () => {
    const got: SinkPacket[] = [];
    await using sink = await createSink({
      engine,
      ports: [0],
      address: '127.0.0.1',
      onPackets: (packets) => got.push(...packets),
    });
    const port = await openPortablePort('127.0.0.1', 0, () => {});
    const to = sink.ports[0]!;
    const frames = framesOf(9).map((hex) => Buffer.from(hex, 'hex'));
    const header = (vni: number) => Buffer.from(`08000000${vni.toString(16).padStart(6, '0')}00`, 'hex');
    frames.forEach((frame, index) => {
      port.send(Buffer.concat([header(index), frame]), '127.0.0.1', to);
    });
    for (let size = 0; size < 22; ++size) port.send(Buffer.alloc(size, 8), '127.0.0.1', to);
    const until = Date.now() + 5000;
    let stats = await sink.stats();
    while (stats.counters.datagrams < frames.length + 22 && Date.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      stats = await sink.stats();
    }
    await port.close();
    const last = await sink.close();
    assert.deepEqual(
      got.map(({ data }) => hexOf(data)),
      framesOf(9),
    );
    assert.deepEqual(
      got.map(({ vni }) => vni),
      frames.map((_, index) => index),
    );
    assert.ok(
      got.every(
        ({ data, originalLength, source }) => source === '127.0.0.1' && originalLength === data.length,
      ),
    );
    assert.equal(last.counters.drop_short_datagram, 8);
    assert.equal(last.counters.drop_short_inner_frame, 14);
    assert.deepEqual((await sink.stats()).counters, last.counters);
    await assert.rejects(createSink({ ports: [] }), { code: 'USAGE' });
  });
}

for (const signal of ['SIGTERM', 'SIGHUP'] as const)
  test(`${signal} ends the command, with what it has to tell`, async () => {
    const child = spawn(process.execPath, [PROGRAM, 'sink', '--port', '0', '--stats']);
    let [out, err] = ['', ''];
    child.stdout.on('data', (text) => {
      out += text;
    });
    child.stderr.on('data', (text) => {
      if (err === '') child.kill(signal);
      err += text;
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, err);
    assert.match(out, /^datagrams 0, 0 bytes$/m);
    assert.match(err, /^vxlane sink: 0 datagrams, 0 packets kept, none dropped$/m);
  });

test('a port that is taken is named, and a signal ends a sink', async () => {
  const stop = new AbortController();
  const sink = await createSink({ ports: [0], signal: stop.signal });
  await assert.rejects(createSink({ ports: [...sink.ports] }), {
    code: 'IN_USE',
    message: /UDP port \d+: EADDRINUSE/,
  });
  stop.abort();
  assert.equal((await sink.ended).counters.datagrams, 0);
});
