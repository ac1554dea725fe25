/**
 * The mirror sink in memory: its walk against a naive reference over random and mutated datagrams, the blocks byte by
 * byte, sections that can be read alone, filters against a naive evaluator, and files.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SINK_COUNTER_COUNT, SINK_INTERFACE_MAX } from '../assembly/sink-layout.ts';
import { VtepError } from '../src/errors.ts';
import { openPortablePort } from '../src/io/portable.ts';
import { SINK_COUNTER_NAMES } from '../src/sink/counters.ts';
import { FileOutput, ROTATION_MIN_BYTES } from '../src/sink/file-output.ts';
import { compileFilter } from '../src/sink/filter.ts';
import { interfaceDescription, interfaceStatistics, sectionHeader } from '../src/sink/pcapng.ts';
import { Recorder } from '../src/sink/recorder.ts';
import { createSink } from '../src/sink/sink.ts';
import { Walk } from '../src/sink/walk.ts';
import { concat, ethernet, ipv4, ipv6, vlan } from './support/frames.ts';
import { icmp, tcp, udp } from './support/messages.ts';
import { naiveSink } from './support/naive-sink.ts';
import { readCapture } from './support/pcapng.ts';
import { type Fed, recorderOf, walkAll } from './support/sink-feed.ts';
import { readModule, SECTION } from './support/wasm-sections.ts';

const T = 1_790_000_000_123_456_789n;
const MSG_TRUNC = 0x20;

function vxlan(vni: number, frame: Uint8Array, flags = 0x08000000, last = 0): Uint8Array {
  const header = new Uint8Array(8);
  const view = new DataView(header.buffer);
  view.setUint32(0, flags);
  view.setUint32(4, vni * 256 + last);
  return concat(header, frame);
}

const ping = (bytes: number) =>
  ethernet(
    {},
    ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, icmp({}, new Uint8Array(bytes).fill(7))),
  );
const one = (datagram: Uint8Array, source = '192.0.2.1', time = T): Fed => ({
  source,
  datagrams: [datagram],
  time,
});

describe('blocks', () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

  it('of a section and an interface, byte by byte', () => {
    assert.equal(
      hex(sectionHeader('ab', 'x')),
      `0a0d0d0a${'30000000'}4d3c2b1a01000000ffffffffffffffff` +
        `03000100${'78000000'}04000200${'61620000'}00000000${'30000000'}`,
    );
    assert.equal(
      hex(interfaceDescription({ name: 'n', description: 'd', snaplen: 96, filter: 'ip' })),
      `01000000${'38000000'}0100000060000000` +
        `02000100${'6e000000'}03000100${'64000000'}09000100${'09000000'}0b000300${'00697000'}00000000${'38000000'}`,
    );
  });

  it('of statistics, byte by byte', () => {
    const block = {
      interface: 1,
      start: 1n << 32n,
      end: (2n << 32n) | 5n,
      received: 3,
      dropped: 2,
      systemDropped: 1,
    };
    assert.equal(
      hex(interfaceStatistics(block)),
      `05000000${'58000000'}01000000${'02000000'}${'05000000'}02000800${'01000000'}${'00000000'}` +
        `03000800${'02000000'}${'05000000'}04000800${'0300000000000000'}05000800${'0200000000000000'}` +
        `07000800${'0100000000000000'}00000000${'58000000'}`,
    );
  });

  it('of a packet, byte by byte, with the header in a comment when it is unusual', () => {
    const { recorder, finish } = recorderOf();
    const frame = ping(1);
    assert.equal(frame.length, 43);
    walkAll(recorder.walk, [one(vxlan(5, frame, 0x88000005, 1))]);
    const file = finish();
    const time = T.toString(16).padStart(16, '0');
    const word = (text: string) => text.match(/../g)!.reverse().join('');
    const comment = Buffer.from('VXLAN header 0x8800000500000501\0').toString('hex');
    const block =
      `06000000${'74000000'}01000000${word(time.slice(0, 8))}${word(time.slice(8))}2b0000002b000000` +
      `${hex(frame)}0001001f00${comment}00000000${'74000000'}`.replace('0001001f00', '0001001f00');
    assert.ok(hex(file).includes(block), 'packet block');
    assert.equal(readCapture(file).packets[0]!.comment, 'VXLAN header 0x8800000500000501');
  });
});

describe('walk', () => {
  it('is a module without data, start function or globals, and imports its memory and three questions', () => {
    const bytes = readFileSync(new URL('../build/sink.wasm', import.meta.url));
    const { globals, sections } = readModule(bytes);
    assert.equal(globals, 0);
    for (const section of Object.values(SECTION)) assert.ok(!sections.includes(section));
    const module = new WebAssembly.Module(new Uint8Array(bytes));
    assert.deepEqual(
      WebAssembly.Module.imports(module)
        .map(({ module: from, name }) => `${from}.${name}`)
        .sort(),
      ['env.memory', 'sink.accept', 'sink.admit', 'sink.flush'],
    );
  });

  it('refuses a module of another memory map', () => {
    const host = { accept: () => 0, admit: () => 0, flush() {} };
    // (module (func (export "layoutVersion") (result i32) i32.const 0))
    const older = Uint8Array.of(
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 2, 1, 0, 7, 17, 1, 13],
      ...[...Buffer.from('layoutVersion'), 0, 0, 10, 6, 1, 4, 0, 0x41, 0, 0x0b],
    );
    const oldest = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    for (const bytes of [older, oldest])
      assert.throws(
        () => new Walk(host, new WebAssembly.Module(bytes)),
        (error) => error instanceof VtepError && error.code === 'SYSTEM' && /layout/.test(error.message),
      );
    assert.ok(new Walk(host));
  });

  it('counts under the names of the memory map', () => {
    assert.equal(SINK_COUNTER_NAMES.length, SINK_COUNTER_COUNT);
    assert.deepEqual(
      Object.entries(recorderOf().recorder.counters()).filter(([, count]) => count !== 0),
      [],
    );
  });

  it('tells interfaces apart by VNI and source, IPv4 and IPv6, in the order of their first packets', () => {
    const { recorder, finish } = recorderOf();
    const frame = ping(10);
    walkAll(recorder.walk, [
      one(vxlan(5, frame)),
      one(vxlan(5, frame), '192.0.2.2'),
      one(vxlan(0xffffff, frame), '2001:db8::1'),
      one(vxlan(5, frame)),
      one(vxlan(0, frame)),
    ]);
    const { interfaces, packets, statistics } = readCapture(finish());
    assert.deepEqual(
      interfaces.map(({ name }) => name),
      ['vxlane', 'vni5-192.0.2.1', 'vni5-192.0.2.2', 'vni16777215-2001:db8::1', 'vni0-192.0.2.1'],
    );
    assert.equal(interfaces[3]!.description, 'VNI 16777215 from 2001:db8::1');
    assert.deepEqual(
      packets.map((packet) => packet.interface),
      [1, 2, 3, 1, 4],
    );
    assert.ok(packets.every(({ timestamp }) => timestamp === T));
    assert.deepEqual(
      statistics.map(({ received }) => Number(received)),
      [5, 2, 1, 1, 1],
    );
    assert.deepEqual(
      recorder.interfaces().map(({ octets, packets: count }) => [count, octets]),
      [
        [2, 104],
        [1, 52],
        [1, 52],
        [1, 52],
      ],
    );
  });

  it('has a limit of interfaces, counts what is beyond it, and goes on with those it has', () => {
    const { recorder, finish } = recorderOf();
    const messages = Array.from({ length: SINK_INTERFACE_MAX + 3 }, (_, vni) => one(vxlan(vni, ping(0))));
    walkAll(recorder.walk, [...messages, one(vxlan(7, ping(0)))]);
    assert.equal(recorder.counters().drop_interfaces, 3);
    assert.equal(recorder.counters().packets, SINK_INTERFACE_MAX + 1);
    const { interfaces, packets, statistics } = readCapture(finish());
    assert.equal(interfaces.length, SINK_INTERFACE_MAX + 1);
    assert.equal(packets.at(-1)!.interface, 8);
    assert.equal(statistics[0]!.comment, 'drop_interfaces 3');
    assert.equal(statistics[0]!.dropped, 3n);
  });

  it('splits bundles, and drops what the receive buffer has cut', () => {
    const { recorder, finish } = recorderOf();
    const datagrams = [1, 2, 3].map((vni) => vxlan(vni, ping(100)));
    datagrams.push(vxlan(4, ping(50)));
    walkAll(recorder.walk, [
      { source: '192.0.2.1', datagrams, time: T },
      { ...one(vxlan(5, ping(1))), flags: MSG_TRUNC },
    ]);
    const { packets } = readCapture(finish());
    assert.deepEqual(
      packets.map(({ data }) => data),
      datagrams.map((datagram) => datagram.slice(8)),
    );
    const { datagrams: count, drop_truncated, messages } = recorder.counters();
    assert.deepEqual([count, messages, drop_truncated], [5, 2, 1]);
  });

  it('keeps the original length of what the mirror or the snapshot length has cut', () => {
    const { recorder, finish } = recorderOf({ snaplen: 64 });
    const whole = ping(1400);
    const tagged = ethernet({}, vlan({ id: 5 }, ipv6({}, udp({}, new Uint8Array(1000)))));
    const cut = [whole.slice(0, 1000), whole.slice(0, 40), tagged.slice(0, 300), ping(0)];
    walkAll(
      recorder.walk,
      cut.map((frame) => one(vxlan(1, frame))),
    );
    const { packets } = readCapture(finish());
    assert.deepEqual(
      packets.map(({ data, original }) => [data.length, original]),
      [
        [64, whole.length],
        [40, whole.length],
        [64, tagged.length],
        [42, 42],
      ],
    );
    const { snapped, truncated } = recorder.counters();
    assert.deepEqual([truncated, snapped], [3, 2]);
  });

  it('says what GPE, Geneve, short and foreign datagrams are', () => {
    const { recorder, finish } = recorderOf();
    const geneve = new Uint8Array([0x02, 0, 0x65, 0x58, 0, 0, 5, 0, ...new Uint8Array(8), ...ping(1)]);
    walkAll(recorder.walk, [
      one(new Uint8Array()),
      one(new Uint8Array(7)),
      one(vxlan(1, ping(1), 0)),
      one(vxlan(1, ping(1), 0x0c000003)),
      one(geneve),
      one(vxlan(1, new Uint8Array(13))),
      one(vxlan(1, ping(1), 0x08000001)),
    ]);
    const counters = recorder.counters();
    assert.deepEqual(
      Object.entries(counters).filter(([name, count]) => count > 0 && !/octets|messages/.test(name)),
      [
        ['datagrams', 7],
        ['packets', 1],
        ['reserved_bits', 1],
        ['drop_short_datagram', 2],
        ['drop_no_vni_flag', 1],
        ['drop_gpe', 1],
        ['drop_geneve', 1],
        ['drop_short_inner_frame', 1],
      ],
    );
    assert.equal(
      readCapture(finish()).statistics[0]!.comment,
      'drop_short_datagram 2, drop_no_vni_flag 1, drop_gpe 1, drop_geneve 1, drop_short_inner_frame 1',
    );
  });

  it('agrees with the naive reference on whatever comes', () => {
    const frames = [
      ping(3),
      ping(1400),
      ethernet({}, vlan({ id: 9 }, ipv6({}, tcp({}, new Uint8Array(200))))),
    ];
    const flags = fc.constantFrom(
      0x08000000,
      0x0c000003,
      0x88000007,
      0x08006558,
      0x00006558,
      0x02000800,
      0x1c000000,
    );
    const built = fc
      .tuple(
        fc.nat(0xffffff),
        fc.constantFrom(...frames),
        fc.oneof(flags, fc.nat()),
        fc.constantFrom(0, 0, 9),
        fc.nat(1500),
      )
      .map(([vni, frame, word, last, cut]) => vxlan(vni, frame, word, last).slice(0, cut));
    const mutated = fc.tuple(built, fc.nat(60), fc.nat(255)).map(([datagram, at, value]) => {
      if (at < datagram.length) datagram[at] = value;
      return datagram;
    });
    const datagram = fc.oneof(built, mutated, fc.uint8Array({ maxLength: 80 }));
    const sources = fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1');
    const input = fc.array(fc.tuple(datagram, sources), { maxLength: 150 });
    fc.assert(
      fc.property(input, fc.constantFrom(0, 60, 1000), (sent, snaplen) => {
        const { recorder, finish } = recorderOf({ snaplen });
        walkAll(
          recorder.walk,
          sent.map(([bytes, source], index) => one(bytes, source, T + BigInt(index))),
        );
        const expected = sent.map(([bytes, source], index) => ({
          ...naiveSink(bytes),
          source,
          time: T + BigInt(index),
        }));
        for (const name of SINK_COUNTER_NAMES.filter((counter) => counter.startsWith('drop_')))
          assert.equal(
            recorder.counters()[name],
            expected.filter(({ counter }) => counter === name).length,
            name,
          );
        const { interfaces, packets } = readCapture(finish());
        const read = packets.map(({ comment, data, interface: id, original, timestamp }) => ({
          name: interfaces[id]!.name,
          data: Buffer.from(data).toString('hex'),
          original,
          comment,
          timestamp,
        }));
        const kept = expected.filter(({ counter }) => counter === 'packets');
        assert.deepEqual(
          read,
          kept.map(({ comment, frame, original, source, time, vni }) => ({
            name: `vni${vni}-${source}`,
            data: (snaplen === 0 ? frame : frame.subarray(0, snaplen)).toString('hex'),
            original,
            comment,
            timestamp: time,
          })),
        );
      }),
      { numRuns: 60 },
    );
  });
});

describe('sections', () => {
  it('can each be read alone, and together hold every packet in order', () => {
    const { recorder, output, finish } = recorderOf({}, 200_000);
    const sent = Array.from({ length: 3000 }, (_, index) => vxlan(index % 7, ping(index % 1400)));
    walkAll(
      recorder.walk,
      sent.map((datagram, index) => one(datagram, `192.0.2.${index % 5}`)),
    );
    finish();
    assert.ok(output.sections.length > 5, `${output.sections.length} sections`);
    const read = output.sections.map(readCapture);
    assert.ok(
      read.every(({ interfaces }) => interfaces.length === new Set(interfaces.map(({ name }) => name)).size),
    );
    assert.deepEqual(
      read.flatMap(({ packets }) => packets.map(({ data }) => data.length)),
      sent.map((datagram) => datagram.length - 8),
    );
    assert.deepEqual(
      output.sections.map(({ length }) => length).filter((bytes) => bytes > 280_000),
      [],
    );
    const sum = recorder.interfaces().reduce((total, { packets }) => total + packets, 0);
    assert.equal(sum, 3000);
    assert.equal(recorder.interfaces().length, 35);
  });

  it('become files for their owner alone, named when complete, the oldest removed', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vxlane-sink-'));
    try {
      const rotation = { size: ROTATION_MIN_BYTES, seconds: 0, files: 3 };
      const file = new FileOutput(join(folder, 'mirror.pcapng'), rotation);
      const recorder = new Recorder(
        { ports: [4789], vnis: undefined, filter: '', snaplen: 0 },
        [file],
        () => 0,
      );
      const frame = ping(1400);
      for (let turn = 0; turn < 60; ++turn)
        walkAll(
          recorder.walk,
          Array.from({ length: 64 }, () => one(vxlan(turn, frame))),
        );
      recorder.flush();
      const names = () => readdirSync(folder).sort();
      assert.equal(names().filter((name) => name.endsWith('.part')).length, 1);
      recorder.finish();
      file.close();
      assert.ok(file.files > 4);
      assert.equal(names().length, 3);
      for (const name of names()) {
        assert.match(name, /^mirror_\d{5}_\d{8}T\d{6}Z\.pcapng$/);
        const { mode, size } = statSync(join(folder, name));
        assert.equal(mode & 0o777, 0o600);
        assert.ok(size <= ROTATION_MIN_BYTES + 8192, String(size));
        assert.ok(readCapture(new Uint8Array(readFileSync(join(folder, name)))).packets.length > 0);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('files that the disk has no room for', () => {
  /** Writes blocks of 1000 bytes until it can't: what it says. */
  const FILLER = `
    import { FileOutput } from '${new URL('../dist/src/sink/file-output.js', import.meta.url).href}';
    const rotation = JSON.parse(process.argv[2]) ?? undefined;
    const file = new FileOutput(process.argv[1], rotation);
    const block = new Uint8Array(1000);
    new DataView(block.buffer).setUint32(4, block.length, true);
    const blocks = new Uint8Array(30 * block.length);
    for (let at = 0; at < blocks.length; at += block.length) blocks.set(block, at);
    try {
      for (;;) file.write(blocks);
    } catch ({ code, message }) {
      console.log(JSON.stringify({ code, message }));
    }
    file.close();
  `;
  for (const rotation of [null, { size: ROTATION_MIN_BYTES, seconds: 0, files: 0 }])
    it(`end with a whole block${rotation === null ? '' : ', and have no final name'}`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'vxlane-sink-'));
      try {
        const path = join(folder, 'mirror.pcapng');
        // 100 blocks of 512 or 1024 bytes, as the shell has it: no multiple of a block's 1000.
        const limited = ['-c', 'ulimit -f 100; exec "$@"', 'bash', process.execPath, '--input-type=module'];
        const words = [...limited, '-e', FILLER, path, JSON.stringify(rotation)];
        const { stdout, stderr } = spawnSync('bash', words, { encoding: 'utf8' });
        const { code, message } = JSON.parse(stdout || JSON.stringify({ message: stderr }));
        assert.equal(code, 'SYSTEM', message);
        assert.match(message, /^sink: writing .*mirror.*\.pcapng: EFBIG/);
        const [name = ''] = readdirSync(folder);
        assert.match(
          name,
          rotation === null ? /^mirror\.pcapng$/ : /^mirror_\d{5}_\d{8}T\d{6}Z\.pcapng\.part$/,
        );
        const { size } = statSync(join(folder, name));
        assert.ok(size > 40_000 && size % 1000 === 0, String(size));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
});

describe('files by the clock', () => {
  it('are begun anew when the last one is as old as it may be, while packets come and while none do', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vxlane-sink-'));
    /** Fills files for 2.3 s; milliseconds from the first to the last packet of each. */
    async function spansOf(engine: 'portable' | 'batched', turn: number): Promise<number[]> {
      const label = `${engine}${turn}`;
      const write = join(folder, `${label}.pcapng`);
      const rotation = { size: 0, seconds: 1, files: 0 };
      const created = Date.now();
      await using sink = await createSink({ ports: [0], address: '127.0.0.1', engine, write, rotation });
      const { send, close } = await openPortablePort('127.0.0.1', 0, () => {});
      let sent = 0;
      const began = Date.now();
      for (; Date.now() - began < 2300; ++sent) {
        send(vxlan(sent & 255, ping(sent % 500)), '127.0.0.1', sink.ports[0]!);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const { files } = await sink.close();
      const seconds = (Date.now() - created) / 1000;
      await close();
      const names = readdirSync(folder).filter((name) => name.startsWith(label));
      assert.equal(names.length, files, label);
      assert.ok(files > 1 && files <= 1 + seconds, `${files} files in ${seconds} s`);
      let number = 0;
      const spans: number[] = [];
      for (const name of names.sort()) {
        const { packets, interfaces } = readCapture(new Uint8Array(readFileSync(join(folder, name))));
        if (packets.length > 5) spans.push(Number(packets.at(-1)!.timestamp - packets[0]!.timestamp) / 1e6);
        for (const { data, interface: id } of packets) {
          assert.match(interfaces[id]!.name, new RegExp(`^vni${number & 255}-`));
          assert.deepEqual(data, ping(number++ % 500));
        }
      }
      assert.equal(number, sent);
      return spans;
    }
    try {
      for (const engine of ['portable', 'batched'] as const) {
        // A machine that holds the sink up makes files longer; not each time.
        const isPunctual = (spans: number[]) => spans.length === 3 && Math.max(...spans) <= 1100;
        let spans: number[] = [];
        for (let turn = 0; turn < 8 && !isPunctual(spans); turn++) spans = await spansOf(engine, turn);
        assert.ok(isPunctual(spans), `${engine}: ${spans} ms`);
      }
      // Nothing comes: files change all the same.
      const write = join(folder, 'idle.pcapng');
      const created = Date.now();
      await using sink = await createSink({ ports: [0], write, rotation: { size: 0, seconds: 1, files: 2 } });
      while ((await sink.stats()).files < 2) {
        assert.ok(Date.now() - created < 15_000, 'a second file');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.ok(Date.now() - created >= 990);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('filter', () => {
  const kinds = {
    tcp4: ethernet(
      {},
      ipv4({ source: '10.1.0.1', destination: '10.2.0.9' }, tcp({ sourcePort: 443, destinationPort: 1024 })),
    ),
    udp4: ethernet(
      {},
      ipv4(
        { source: '10.2.0.9', destination: '10.1.0.1' },
        udp({ sourcePort: 53, destinationPort: 443 }, new Uint8Array(4)),
      ),
    ),
    udp6: ethernet(
      {},
      vlan(
        { id: 3 },
        ipv6(
          { source: 'fd00:1::2', destination: 'fd00:2::9' },
          udp({ sourcePort: 53, destinationPort: 54 }, new Uint8Array(4)),
        ),
      ),
    ),
    icmp4: ping(3),
  };
  type Kind = keyof typeof kinds;
  const matches = (text: string, frame: Uint8Array, vni = 5) =>
    compileFilter(text)(frame, 0, frame.length, vni);

  /** Primitives, and the kinds that each one is true of: VNI 5 for all. */
  const truths: Record<string, Kind[]> = {
    tcp: ['tcp4'],
    udp: ['udp4', 'udp6'],
    ip: ['tcp4', 'udp4', 'icmp4'],
    ip6: ['udp6'],
    icmp: ['icmp4'],
    icmp6: [],
    arp: [],
    'port 443': ['tcp4', 'udp4'],
    'src port 443': ['tcp4'],
    'udp port 443': ['udp4'],
    'udp dst portrange 50-60': ['udp6'],
    'host 10.1.0.1': ['tcp4', 'udp4'],
    'src 10.1.0.1': ['tcp4'],
    'dst net 10.0.0.0/8': ['tcp4', 'udp4', 'icmp4'],
    'net 10.0.0.0/15': ['tcp4', 'udp4', 'icmp4'],
    'src net fd00:1::/32': ['udp6'],
    'fd00:2::9': ['udp6'],
    'vni 5': ['tcp4', 'udp4', 'udp6', 'icmp4'],
    'vni 1,6-9': [],
  };

  it('knows its primitives', () => {
    for (const [text, kind] of Object.entries(truths))
      for (const [name, frame] of Object.entries(kinds))
        assert.equal(matches(text, frame), kind.includes(name as Kind), `${text}: ${name}`);
  });

  it('joins them as pcap-filter does: not first, then from left to right', () => {
    interface Tree {
      text: string;
      holds(kind: Kind): boolean;
    }
    const leaf: fc.Arbitrary<Tree> = fc
      .constantFrom(...Object.keys(truths))
      .map((text) => ({ text, holds: (kind) => truths[text]!.includes(kind) }));
    const { tree } = fc.letrec<{ part: Tree; tree: Tree }>((tie) => ({
      part: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.tuple(fc.constantFrom('not ', '!'), tie('part')).map(([word, part]) => ({
          text: `${word}${part.text}`,
          holds: (kind: Kind) => !part.holds(kind),
        })),
        tie('tree').map((inner) => ({ text: `(${inner.text})`, holds: inner.holds })),
      ),
      tree: fc
        .tuple(
          tie('part'),
          fc.array(fc.tuple(fc.constantFrom(' and ', ' or ', '&&', ' || '), tie('part')), { maxLength: 3 }),
        )
        .map(([first, rest]) => ({
          text: rest.reduce((text, [word, part]) => text + word + part.text, first.text),
          holds: (kind: Kind) =>
            rest.reduce((sum, [word, part]) => {
              const right = part.holds(kind);
              return /and|&&/.test(word) ? sum && right : sum || right;
            }, first.holds(kind)),
        })),
    }));
    fc.assert(
      fc.property(tree, ({ holds, text }) => {
        for (const [name, frame] of Object.entries(kinds))
          assert.equal(matches(text, frame), holds(name as Kind), text);
      }),
      { numRuns: 500 },
    );
  });

  it('never throws and never reads beyond a frame', () => {
    const all = compileFilter('tcp port 1 or host 10.0.0.1 or net fd00::/8 or arp');
    const memory = new Uint8Array(4096).fill(0xff);
    for (const frame of Object.values(kinds))
      for (let length = 0; length <= frame.length; ++length) {
        const at = 1000;
        memory.fill(0xff);
        memory.set(frame.subarray(0, length), at);
        const beyond = all(memory, at, length, 1);
        memory.fill(0, at + length);
        assert.equal(all(memory, at, length, 1), beyond, `cut to ${length}`);
      }
  });

  it('tells where it is wrong', () => {
    const wrong: Record<string, RegExp> = {
      '': /at its end: a word/,
      'tcp and': /at its end: a word/,
      'tcp udp': /at 5, "udp": "and" or "or"/,
      'port http': /at 6, "http": a port is expected/,
      'icmp port 4': /at 6, "port": "icmp" has no ports/,
      '(tcp': /at its end: "\)"/,
      'net 10.0.0.1/8': /at 5, "10.0.0.1\/8": bits are set behind the first 8/,
      'net 10.0.0.0/33': /0 to 32/,
      'vni 5-2': /at 5, "5-2": VNIs/,
      'vni 16777216': /VNIs/,
      'port 65536': /a port/,
      'host nobody': /at 6, "nobody": an address/,
      'tcp & udp': /at 5, "&"/,
    };
    for (const [text, message] of Object.entries(wrong))
      assert.throws(() => compileFilter(text), { code: 'USAGE', message }, text);
  });

  it('drops are counted by what refused them', () => {
    const { recorder } = recorderOf({ vnis: [[5, 6]], filter: 'tcp' });
    walkAll(recorder.walk, [one(vxlan(5, kinds.tcp4)), one(vxlan(6, kinds.udp4)), one(vxlan(7, kinds.tcp4))]);
    const { drop_filter, drop_vni, packets } = recorder.counters();
    assert.deepEqual([packets, drop_filter, drop_vni], [1, 1, 1]);
    assert.deepEqual(
      recorder.interfaces().map(({ vni }) => vni),
      [5],
    );
  });
});
