/**
 * The batched underlay: whatever is sent arrives as it was, in the order of its flow, whether the kernel cuts and joins
 * it or not; outer headers are what was asked for; losses have reasons; and bad use is refused.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import {
  batchedUnderlay,
  createMemoryPort,
  createVtep,
  type OutgoingDatagram,
  type Underlay,
  VtepError,
} from '../src/index.ts';
import { syscalls } from '../src/io/syscalls.ts';
import { below } from './support/mutate.ts';
import { Bed, missingForNamespaces, REPOSITORY } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';
import { mulberry32 } from './support/reference.ts';

const SOCK_RAW_NONBLOCK = 3 | 0o4000;
const IPPROTO_UDP = 17;
const PORT = 24789;

interface Heard {
  bytes: Uint8Array;
  sender: string;
  port: number;
  tos: number;
}

interface Host {
  underlay: Underlay;
  heard: Heard[];
  lost: string[];
}

const missing = missingForNamespaces();

describe('the batched underlay', { skip: missing !== null && !process.env.CI && missing }, () => {
  let bed: Bed;
  const open: { close(): Promise<void> }[] = [];

  before(() => {
    assert.equal(missing, null);
    bed = new Bed();
    const here = bed.namespace('batched');
    here.ip('addr add 2001:db8::1/128 dev lo', 'addr add 2001:db8::2/128 dev lo');
    enter(here);
  });
  after(async () => {
    for (const one of open) await one.close();
    await bed?.close();
  });

  function host(address: string, address6 = '::', sources = 4): Host {
    const one: Host = { underlay: batchedUnderlay({ address, address6, sources }), heard: [], lost: [] };
    open.push(one.underlay);
    one.underlay.start({
      arrived: (bundle, sender, port, tos, segment = 0) => {
        for (let at = 0; at === 0 || at < bundle.length; at += segment || bundle.length || 1) {
          const bytes = bundle.slice(at, segment > 0 ? at + segment : bundle.length);
          one.heard.push({ bytes, sender, port, tos });
        }
      },
      lost: (device, bytes, reason) => one.lost.push(`${device} ${bytes} ${reason}`),
      warn: (line) => assert.fail(line),
    });
    return one;
  }

  const datagram = (of: Partial<OutgoingDatagram>): OutgoingDatagram => ({
    ...{ bytes: new Uint8Array(60), address: '127.0.0.2', port: PORT },
    ...{ flow: 0, tos: 0, ttl: 0, df: false, device: 1 },
    ...of,
  });

  for (const [family, from, to] of [
    ['inet', '127.0.0.1', '127.0.0.2'],
    ['inet6', '2001:db8::1', '2001:db8::2'],
  ] as const)
    it(`carries whatever is sent, in the order of its flow: ${family}`, async () => {
      const isIpv4 = family === 'inet';
      const near = isIpv4 ? host(from) : host('0.0.0.0', from);
      const far = isIpv4 ? host(to) : host('0.0.0.0', to);
      for (const port of [PORT, PORT + 1]) await far.underlay.open(family, port);
      const random = mulberry32(7);
      const flows = new Map<string, Heard[]>();
      let length = 100;
      let sum = 0;
      for (let burst = 0; burst < 60; ++burst) {
        for (let count = 1 + below(random, 90); count > 0; --count, ++sum) {
          if (below(random, 4) === 0)
            length = below(random, 50) === 0 ? 65_000 + below(random, 508) : 12 + below(random, 3000);
          const flow = below(random, 3);
          const port = PORT + below(random, 2);
          const tos = below(random, 8) === 0 ? 4 * below(random, 64) : 0;
          const bytes = Uint8Array.from({ length }, () => below(random, 256));
          new DataView(bytes.buffer).setUint32(0, flow);
          new DataView(bytes.buffer).setUint32(4, sum);
          const key = `${flow} ${port}`;
          flows.set(key, [...(flows.get(key) ?? []), { bytes: bytes.slice(), sender: from, port, tos }]);
          assert.equal(near.underlay.send(datagram({ bytes, address: to, port, flow, tos })), undefined);
          bytes.fill(0xee);
        }
        near.underlay.flush!();
        await until(`${sum} datagrams`, () => far.heard.length >= sum, 10_000);
      }
      assert.deepEqual(near.lost, []);
      assert.equal(far.heard.length, sum);
      for (const [key, sent] of flows) {
        const [flow, port] = key.split(' ').map(Number);
        const heard = far.heard.filter(
          (one) => one.port === port && new DataView(one.bytes.buffer).getUint32(0) === flow,
        );
        assert.deepEqual(heard, sent, key);
      }
    });

  it('has TOS, TTL and DF as asked, and a source port by flow', async () => {
    const sys = syscalls();
    const raw = sys.socket(2, SOCK_RAW_NONBLOCK, IPPROTO_UDP);
    assert.ok(raw >= 0);
    const near = host('127.0.0.1', '::', 2);
    await host('127.0.0.3').underlay.open('inet', PORT);
    const asked = [
      { tos: 0, ttl: 0, df: false, flow: 0 },
      { tos: 0xb8, ttl: 0, df: false, flow: 0 },
      { tos: 0, ttl: 7, df: true, flow: 1 },
      { tos: 0x04, ttl: 200, df: true, flow: 0 },
      { tos: 0x04, ttl: 200, df: false, flow: 3 },
    ];
    // Three of each: what goes as one message has the same headers.
    for (const one of asked)
      for (let time = 0; time < 3; ++time)
        near.underlay.send(
          datagram({ ...one, address: '127.0.0.3', bytes: Uint8Array.of(asked.indexOf(one), 1, 2) }),
        );
    near.underlay.flush!();
    const ports = new Map<number, Set<number>>();
    let seen = 0;
    const buffer = new Uint8Array(2048);
    await until(
      'all',
      () => {
        for (
          let length = sys.recv(raw, buffer, 2048, 0);
          length > 0;
          length = sys.recv(raw, buffer, 2048, 0)
        ) {
          const view = new DataView(buffer.buffer);
          if (view.getUint16(22) !== PORT || buffer[19] !== 3) continue;
          const { tos, ttl, df, flow } = asked[buffer[28]!]!;
          assert.equal(length % 3, 28 % 3);
          seen += (length - 28) / 3;
          assert.equal(buffer[1], tos);
          assert.equal(buffer[8], ttl === 0 ? 64 : ttl);
          assert.equal((buffer[6]! & 0x40) !== 0, df);
          const group = 2 * Number(df) + (flow % 2);
          ports.set(group, (ports.get(group) ?? new Set()).add(view.getUint16(20)));
        }
        return seen === 3 * asked.length;
      },
      3000,
    );
    sys.close(raw);
    assert.deepEqual(
      [...ports.values()].map((some) => some.size),
      Array(ports.size).fill(1),
    );
    assert.equal(new Set([...ports.values()].flatMap((some) => [...some])).size, ports.size);
  });

  it('goes in pieces where the way out cuts no messages, and tells what is lost, and why', async () => {
    const near = host('127.0.0.1');
    const far = host('127.0.0.5');
    await far.underlay.open('inet', PORT);
    const refill = (byte: number, length: number) =>
      Array.from({ length: 10 }, (_, index) => new Uint8Array(length).fill(byte + index));
    const here = (of: Partial<OutgoingDatagram>) =>
      near.underlay.send(datagram({ address: '127.0.0.5', ...of }));
    setMtu(1500);
    try {
      // Larger than the MTU: no segments of a message, but fragments.
      const large = refill(1, 1800);
      for (const bytes of large) here({ bytes });
      const small = refill(50, 900);
      for (const bytes of small) here({ bytes });
      near.underlay.flush!();
      await until('all', () => far.heard.length === 20, 10_000);
      assert.deepEqual(
        far.heard.map(({ bytes }) => bytes),
        [...large, ...small],
      );
      for (const bytes of large.slice(0, 3)) here({ bytes, df: true, device: 5 });
      here({ address: '203.0.113.1', device: 6, bytes: small[0]! });
      near.underlay.flush!();
      assert.deepEqual(near.lost.sort(), [...Array(3).fill('5 1800 too-big'), '6 900 unreachable']);
      assert.equal(here({ bytes: new Uint8Array(65_508) }), 'too-big');
    } finally {
      setMtu(65_536);
    }
  });

  function setMtu(bytes: number): void {
    const { status, stderr } = spawnSync('ip', ['link', 'set', 'lo', 'mtu', String(bytes)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  }

  it('is the underlay of a VTEP: frames, tables, counters; ports are opened and shut', async () => {
    const [a, b] = await Promise.all(
      ['127.0.0.1', '127.0.0.2'].map((address) => createVtep({ underlay: batchedUnderlay({ address }) })),
    );
    open.push(a!, b!);
    const device = { name: 'vx0', id: 7, dstport: PORT + 2, tos: 0x10, ttl: 9, df: 'set' as const };
    const [mine, its] = createMemoryPort();
    const [yours, theirs] = createMemoryPort();
    await a!.addDevice({ ...device, remote: '127.0.0.2', port: its });
    await b!.addDevice({ ...device, remote: '127.0.0.1', port: theirs });
    const frames = Array.from({ length: 200 }, (_, index) =>
      Uint8Array.of(
        2,
        0,
        0,
        0,
        0,
        2,
        2,
        0,
        0,
        0,
        0,
        1,
        0x88,
        0xb5,
        ...Buffer.from(`${index} `.repeat(20 + index)),
      ),
    );
    const heard: Uint8Array[] = [];
    const sink = {
      frames: (batch: readonly Uint8Array[]) => void heard.push(...batch.map((one) => one.slice())),
    };
    yours.start({ ...sink, closed() {}, warn() {} });
    mine.write(frames);
    await until('all frames', () => heard.length === frames.length, 10_000);
    assert.deepEqual(heard, frames);
    assert.equal(b!.fdbGet('vx0', '02:00:00:00:00:01').dst, '127.0.0.1');
    const status = a!.status();
    assert.equal(status.engine.io, 'portable (batched)');
    assert.deepEqual(status.offloads, { tos: 'on', ttl: 'on', df: 'on' });
    assert.equal(status.devices[0]!.stats.tx.packets, frames.length);
    a!.fdb({ op: 'add', dev: 'vx0', mac: '02:00:00:00:00:03', dst: '203.0.113.1' });
    mine.write([Uint8Array.of(2, 0, 0, 0, 0, 3, ...frames[0]!.subarray(6))]);
    await until('a drop', () => a!.status().counters.vx0?.drop_unreachable === 1, 10_000);
    assert.equal(a!.status().devices[0]!.stats.tx.packets, frames.length);
    await b!.setDevice('vx0', { up: false });
    const third = await createVtep({ underlay: batchedUnderlay({ address: '127.0.0.2' }) });
    open.push(third);
    const [, other] = createMemoryPort();
    await third.addDevice({ name: 'vx1', id: 7, dstport: device.dstport, port: other });
    await assert.rejects(b!.setDevice('vx0', { up: true }), refused('IN_USE'));
    await third.close();
    await b!.setDevice('vx0', { up: true });
    mine.write(frames.slice(0, 1));
    await until('a frame', () => heard.length === frames.length + 1, 10_000);
  });

  it('refuses what cannot be right, says what is missing, and leaves no descriptor behind', async () => {
    for (const wrong of [
      null,
      1,
      { address: '::1' },
      { address6: '127.0.0.1' },
      { sources: 0 },
      { sources: 1.5 },
    ])
      assert.throws(() => batchedUnderlay(wrong as never), refused('USAGE'));
    const taken = host('127.0.0.4');
    assert.throws(() => taken.underlay.start({ arrived() {}, lost() {}, warn() {} }), refused('IN_USE'));
    await taken.underlay.open('inet', PORT);
    await assert.rejects(host('127.0.0.4').underlay.open('inet', PORT), refused('IN_USE'));
    await assert.rejects(host('203.0.113.7').underlay.open('inet', PORT), refused('SYSTEM'));
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await taken.underlay.close();
    const before = descriptors();
    const one = host('127.0.0.4');
    await one.underlay.open('inet', PORT);
    one.underlay.send(datagram({}));
    assert.ok(descriptors() > before);
    await one.underlay.close();
    await one.underlay.close();
    assert.equal(descriptors(), before);
    assert.equal(one.underlay.send(datagram({})), 'unreachable');
    const program = `
      const { batchedUnderlay } = await import('./src/index.ts');
      const told = () => { try { batchedUnderlay(); return 'none'; } catch ({ code, message }) { return code + ' ' + message; } };
      const { platform } = process;
      Object.defineProperty(process, 'platform', { value: 'darwin' });
      console.log(told());
      Object.defineProperty(process, 'platform', { value: platform });
      const { default: Module } = await import('node:module');
      const load = Module._load;
      Module._load = (name, ...rest) => { if (name === 'koffi') throw new Error('no koffi'); return load(name, ...rest); };
      console.log(told());`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', program],
      { cwd: REPOSITORY, encoding: 'utf8' },
    );
    const lines = stdout.trim().split('\n');
    assert.match(lines[0] ?? stderr, /^UNSUPPORTED batched underlay: .*darwin.*dgramUnderlay/);
    assert.match(lines[1] ?? stderr, /^UNSUPPORTED batched underlay: .*koffi.*dgramUnderlay/);
  });
});

const refused = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof VtepError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};
