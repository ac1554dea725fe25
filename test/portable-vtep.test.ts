/** A VTEP on ports and underlays of any kind: frames go through, tables and events work, and bad use is contained. */
import assert from 'node:assert/strict';
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import {
  createMemoryNetwork,
  createMemoryPort,
  createVtep,
  dgramUnderlay,
  type FramePort,
  type FrameSink,
  type MemoryNetworkOptions,
  type MemoryPort,
  type PortableVtepOptions,
  type PortDeviceRequest,
  VtepError,
} from '../src/index.ts';

const MACS = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'];
const ALL_ZEROS = '00:00:00:00:00:00';

const open: { close(): Promise<void> | void }[] = [];
after(async () => {
  for (const one of open) await one.close();
});

type Running = Awaited<ReturnType<typeof portable>>;

async function portable(options: PortableVtepOptions) {
  const vtep = await createVtep(options);
  open.push(vtep);
  return vtep;
}

/** An end of a pair that keeps what it hears. */
function listening(port: MemoryPort): Uint8Array[] {
  const heard: Uint8Array[] = [];
  port.start({
    frames: (batch) => heard.push(...batch.map((frame) => frame.slice())),
    closed() {},
    warn() {},
  });
  return heard;
}

async function withPort(vtep: Running, request: Omit<PortDeviceRequest, 'port'>) {
  const [mine, its] = createMemoryPort();
  await vtep.addDevice({ ...request, port: its });
  return { mine, its, heard: listening(mine) };
}

function bytesOf(mac: string): number[] {
  return mac.split(':').map((byte) => Number.parseInt(byte, 16));
}

function frame(to: string, from: string, body: string): Uint8Array {
  return Uint8Array.of(...bytesOf(to), ...bytesOf(from), 0x88, 0xb5, ...Buffer.from(body.padEnd(46)));
}

const textOf = (one: Uint8Array | undefined) =>
  Buffer.from(one ?? [])
    .toString('latin1', 14)
    .trim();

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !condition(); await pause(2))
    if (performance.now() > end) throw new Error(`not within 10 s: ${what}`);
}

/** Hosts 192.0.2.1 and up, a VTEP with device vx0 on each, joined to the first two. */
async function lab(
  count: number,
  device: Partial<PortDeviceRequest> = {},
  network: MemoryNetworkOptions = {},
) {
  const net = createMemoryNetwork(network);
  const hosts = [];
  for (let number = 0; number < count; ++number) {
    const vtep = await portable({ underlay: net.host(`192.0.2.${number + 1}`) });
    hosts.push({
      vtep,
      ...(await withPort(vtep, { name: 'vx0', id: 42, address: MACS[number]!, ...device })),
    });
  }
  for (const [number, { vtep }] of hosts.entries())
    for (let other = 0; other < count; ++other)
      if (other !== number)
        vtep.fdb({ op: 'append', dev: 'vx0', mac: ALL_ZEROS, dst: `192.0.2.${other + 1}` });
  return { net, hosts };
}

const code = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof VtepError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};

describe('a portable VTEP', () => {
  it('carries frames both ways over dgram, without privilege', async () => {
    const a = await portable({ underlay: dgramUnderlay({ address: '127.0.0.1' }) });
    const b = await portable({ underlay: dgramUnderlay({ address: '127.0.0.2' }) });
    const left = await withPort(a, { name: 'vx0', id: 7, dstport: 24789, remote: '127.0.0.2' });
    const right = await withPort(b, { name: 'vx0', id: 7, dstport: 24789, remote: '127.0.0.1' });
    left.mine.write([frame(MACS[1]!, MACS[0]!, 'there')]);
    await until('a frame', () => right.heard.length === 1);
    right.mine.write([frame(MACS[0]!, MACS[1]!, 'back')]);
    await until('the answer', () => left.heard.length === 1);
    assert.equal(textOf(right.heard[0]), 'there');
    assert.equal(textOf(left.heard[0]), 'back');
    const learned = a.fdbGet('vx0', MACS[1]!);
    assert.equal(learned.dst, '127.0.0.2');
    const status = a.status();
    assert.equal(status.engine.io, 'portable (dgram)');
    assert.deepEqual(status.listeners, [{ family: 'inet', port: 24789, devices: ['vx0'] }]);
    assert.equal(status.devices[0]!.stats.tx.packets, 1);
    assert.equal(status.devices[0]!.stats.rx.packets, 1);
  });

  it('carries them over IPv6, in order, whatever their length, and many at a time', async () => {
    const a = await portable({ underlay: dgramUnderlay({ address6: '::1' }) });
    const [mine, its] = createMemoryPort();
    const local = { dstport: 24790, local: '::1', remote: '::1' };
    await a.addDevice({ name: 'one', id: 1, ...local, port: its });
    const heard = listening(mine);
    // Its own datagrams come back to it: the underlay is the loopback.
    const sent = Array.from({ length: 200 }, (_, index) =>
      frame(MACS[1]!, MACS[0]!, `${index} `.repeat(index)),
    );
    mine.write(sent);
    await until('all', () => heard.length === sent.length);
    assert.deepEqual(heard.map(textOf), sent.map(textOf));
  });

  it('is a switch of three in memory: floods, learns, and then sends to one', async () => {
    const { hosts } = await lab(3);
    const [a, b, c] = hosts as [(typeof hosts)[0], (typeof hosts)[0], (typeof hosts)[0]];
    a.mine.write([frame('ff:ff:ff:ff:ff:ff', '02:00:00:00:01:0a', 'to all')]);
    await until('both', () => b.heard.length === 1 && c.heard.length === 1);
    b.mine.write([frame('02:00:00:00:01:0a', '02:00:00:00:01:0b', 'to one')]);
    await until('one', () => a.heard.length === 1);
    await pause(20);
    assert.equal(c.heard.length, 1);
    assert.equal(textOf(a.heard[0]), 'to one');
  });

  it('tells of what is learned, moved, aged and dropped, and on diagnostics channels', async () => {
    const { hosts } = await lab(3, { ageing: 1 });
    const [a, b, c] = hosts as [(typeof hosts)[0], (typeof hosts)[0], (typeof hosts)[0]];
    const told: string[] = [];
    const published: unknown[] = [];
    const hear = (message: unknown) => published.push(message);
    channel('vxlane:fdb').subscribe(hear);
    try {
      a.vtep.on('learned', ({ mac, dst }) => told.push(`learned ${mac} ${dst}`));
      a.vtep.on('moved', ({ mac, dst }) => told.push(`moved ${mac} ${dst}`));
      a.vtep.on('aged', ({ mac }) => told.push(`aged ${mac}`));
      a.vtep.on('drop', ({ ifname, reason, packets }) => told.push(`drop ${ifname} ${reason} ${packets}`));
      await pause(600);
      b.mine.write([frame(MACS[0]!, '02:00:00:00:01:0b', 'x')]);
      await until('learned', () => told.length === 1);
      c.mine.write([frame(MACS[0]!, '02:00:00:00:01:0b', 'x'), Uint8Array.of(1, 2, 3)]);
      a.mine.write([Uint8Array.of(1, 2, 3)]);
      await until('aged', () => told.some((line) => line.startsWith('aged')));
      assert.deepEqual(told.toSorted(), [
        'aged 02:00:00:00:01:0b',
        'drop vx0 drop_short_frame 1',
        'learned 02:00:00:00:01:0b 192.0.2.2',
        'moved 02:00:00:00:01:0b 192.0.2.3',
      ]);
      assert.ok(published.length >= 3);
    } finally {
      channel('vxlane:fdb').unsubscribe(hear);
    }
  });

  it('a control plane answers misses: the frame is dropped, the next one arrives', async () => {
    const net = createMemoryNetwork();
    const directory = new Map([[MACS[1]!, '192.0.2.2']]);
    const a = await portable({ underlay: net.host('192.0.2.1') });
    const b = await portable({ underlay: net.host('192.0.2.2') });
    const words = { name: 'vx0', id: 42, learning: false, proxy: true, l2miss: true, l3miss: true };
    const left = await withPort(a, words);
    const right = await withPort(b, { ...words, proxy: false });
    const misses: object[] = [];
    a.on('miss', (miss) => {
      misses.push(miss);
      const dst = directory.get(miss.lladdr ?? '');
      if (dst !== undefined) a.fdb({ op: 'add', dev: 'vx0', mac: miss.lladdr!, dst });
      if (miss.dst === '10.0.0.2') a.setNeighbour('vx0', miss.dst, MACS[1]!);
    });
    const data = frame(MACS[1]!, MACS[0]!, 'data');
    left.mine.write([data]);
    await until('the miss', () => misses.length === 1);
    assert.deepEqual(misses, [{ ifname: 'vx0', lladdr: MACS[1] }]);
    assert.equal(right.heard.length, 0);
    left.mine.write([data]);
    await until('the frame', () => right.heard.length === 1);
    // Who has 10.0.0.2? Nobody knows; then the proxy does.
    const arp = Uint8Array.of(
      ...[255, 255, 255, 255, 255, 255, ...bytesOf(MACS[0]!), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
      ...[...bytesOf(MACS[0]!), 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2],
    );
    left.mine.write([arp]);
    await until('the miss', () => misses.length === 2);
    assert.deepEqual(misses[1], { ifname: 'vx0', dst: '10.0.0.2' });
    left.mine.write([arp]);
    await until('the reply', () => left.heard.length === 1);
    assert.deepEqual([...left.heard[0]!.subarray(22, 28)], bytesOf(MACS[1]!));
  });

  it('keeps VNIs apart on an external device', async () => {
    const net = createMemoryNetwork();
    const a = await portable({ underlay: net.host('192.0.2.1') });
    const b = await portable({ underlay: net.host('192.0.2.2') });
    const trunk = await withPort(a, { name: 'trunk', external: true });
    for (const id of [10, 20]) {
      a.vni({ op: 'add', dev: 'trunk', vni: [[id, id]], vlan: [id, id] });
      a.fdb({ op: 'append', dev: 'trunk', mac: ALL_ZEROS, dst: '192.0.2.2', src_vni: id });
    }
    const ten = await withPort(b, { name: 'ten', id: 10 });
    const twenty = await withPort(b, { name: 'twenty', id: 20 });
    const tagged = frame(MACS[1]!, MACS[0]!, 'x');
    trunk.mine.write([Uint8Array.of(...tagged.subarray(0, 12), 0x81, 0, 0, 20, ...tagged.subarray(12))]);
    await until('the frame', () => twenty.heard.length === 1);
    assert.deepEqual(twenty.heard[0], tagged);
    assert.equal(ten.heard.length, 0);
  });

  it('delays and loses what the network is told to, and counts it', async () => {
    let turn = 0;
    const { net, hosts } = await lab(
      2,
      {},
      { delay: 30, loss: 0.5, random: () => (turn++ % 2 === 0 ? 0.9 : 0.1) },
    );
    const [a, b] = hosts as [(typeof hosts)[0], (typeof hosts)[0]];
    const began = performance.now();
    a.mine.write([1, 2, 3, 4].map((number) => frame(MACS[1]!, '02:00:00:00:01:0a', `${number}`)));
    await until('half', () => b.heard.length === 2);
    assert.ok(performance.now() - began >= 25);
    assert.deepEqual(b.heard.map(textOf), ['1', '3']);
    assert.equal(net.lost, 2);
    assert.equal(net.carried, 2);
  });

  it('counts what the underlay and the port refuse', async () => {
    const { hosts } = await lab(2, {}, { queue: 10 });
    const [a, b] = hosts as [(typeof hosts)[0], (typeof hosts)[0]];
    const many = Array.from({ length: 30 }, (_, index) => frame(MACS[1]!, '02:00:00:00:01:0a', `${index}`));
    a.mine.write(many);
    await until('what fits', () => b.heard.length === 10);
    assert.equal(a.vtep.status().counters.vx0?.drop_socket_full, 20);
    assert.equal(a.vtep.devices()[0]!.stats.tx.packets, 10);
    assert.equal(a.vtep.devices()[0]!.stats.tx.bytes, 10 * 46);
    const [, its] = createMemoryPort({ queue: 1 });
    await b.vtep.deleteDevice('vx0');
    await b.vtep.addDevice({ name: 'vx0', id: 42, port: its });
    a.mine.write(many.slice(0, 5));
    await until('drops', () => b.vtep.status().counters.vx0?.drop_tap_write === 4);
  });

  it('changes, renames, lowers and raises devices', async () => {
    const { hosts } = await lab(2);
    const [a, b] = hosts as [(typeof hosts)[0], (typeof hosts)[0]];
    const links: string[] = [];
    a.vtep.on('link', ({ ifname, up, deleted }) => links.push(`${ifname} ${deleted ? 'gone' : up}`));
    await a.vtep.setDevice('vx0', { name: 'vx1', up: false });
    a.mine.write([frame(MACS[1]!, '02:00:00:00:01:0a', 'down')]);
    await a.mine.drained();
    assert.equal((await a.vtep.setDevice('vx1', { up: true, mtu: 1400 })).config.mtu, 1400);
    // Permanent entries survive.
    a.mine.write([frame(MACS[1]!, '02:00:00:00:01:0a', 'up')]);
    await until('a frame', () => b.heard.length === 1);
    assert.equal(textOf(b.heard[0]), 'up');
    await a.vtep.deleteDevice('vx1');
    assert.deepEqual(links.at(-1), 'vx1 gone');
    assert.throws(
      () => a.vtep.fdb({ op: 'add', dev: 'vx1', mac: MACS[2]!, dst: '192.0.2.9' }),
      code('NOT_FOUND'),
    );
    assert.deepEqual(a.vtep.status().listeners, []);
  });
});

describe('bad use of a portable VTEP', () => {
  it('wrong types are typed errors, and nothing is left behind', async () => {
    // biome-ignore lint/suspicious/noExplicitAny: that is the point
    const make = createVtep as any;
    await assert.rejects(make(null), code('USAGE'));
    await assert.rejects(make({ underlay: {} }), code('USAGE'));
    await assert.rejects(make({ underlay: dgramUnderlay(), signal: 1 }), code('USAGE'));
    assert.throws(() => dgramUnderlay({ address: 'here' }), code('USAGE'));
    assert.throws(() => createMemoryPort({ queue: 0 }), code('USAGE'));
    assert.throws(() => createMemoryNetwork({ loss: 2 }), code('USAGE'));
    // biome-ignore lint/suspicious/noExplicitAny: likewise
    for (const wrong of [new Uint8Array(60), [60], [new Uint8Array(60), 'x'], undefined] as any[])
      assert.throws(() => createMemoryPort()[0].write(wrong), code('USAGE'));
    const vtep = await portable({ underlay: createMemoryNetwork().host('192.0.2.1') });
    // biome-ignore lint/suspicious/noExplicitAny: likewise
    const any = vtep as any;
    const [, port] = createMemoryPort();
    await assert.rejects(any.addDevice(), code('USAGE'));
    await assert.rejects(any.addDevice({ name: 'vx0', id: 'x', port }), code('USAGE'));
    await assert.rejects(any.addDevice({ name: 'vx0', id: 1, port, bogus: 1 }), code('USAGE'));
    await assert.rejects(any.addDevice({ name: 'vx0', id: 1 }), code('USAGE'));
    await assert.rejects(any.addDevice({ name: 'vx0', id: 1, port, dev: 'eth0' }), code('UNSUPPORTED'));
    await assert.rejects(
      any.addDevice({ name: 'vx0', id: 1, port, local: '192.0.2.9' }),
      code('UNSUPPORTED'),
    );
    await vtep.addDevice({ name: 'vx0', id: 1, port });
    const [, other] = createMemoryPort();
    await assert.rejects(any.addDevice({ name: 'vx0', id: 2, port: other }), code('EXISTS'));
    await assert.rejects(any.addDevice({ name: 'vx1', id: 1, port: other }), code('EXISTS'));
    await assert.rejects(any.addDevice({ name: 'vx1', id: 2, port }), code('IN_USE'));
    assert.throws(() => any.fdb(undefined), code('USAGE'));
    assert.throws(() => any.fdb({ op: 'add', dev: 'vx0', mac: 5, dst: '192.0.2.2' }), code('USAGE'));
    assert.throws(() => any.setNeighbour('vx0', 5), code('USAGE'));
    await assert.rejects(any.setDevice('vx0', { mtu: 'x' }), code('USAGE'));
    assert.deepEqual(
      vtep.devices().map(({ config }) => config.name),
      ['vx0'],
    );
  });

  it('a port in use on the host is IN_USE', async () => {
    const address = '127.0.0.1';
    const first = await portable({ underlay: dgramUnderlay({ address }) });
    await withPort(first, { name: 'vx0', id: 1, dstport: 24791 });
    const second = await portable({ underlay: dgramUnderlay({ address }) });
    await assert.rejects(withPort(second, { name: 'vx0', id: 1, dstport: 24791 }), code('IN_USE'));
    assert.deepEqual(second.devices(), []);
  });

  it('a closed VTEP says so, twice is once, a signal closes, and so does `await using`', async () => {
    const control = new AbortController();
    const vtep = await portable({
      underlay: dgramUnderlay({ address: '127.0.0.1' }),
      signal: control.signal,
    });
    const { mine } = await withPort(vtep, { name: 'vx0', id: 1, dstport: 24792 });
    control.abort();
    await vtep.close();
    await vtep[Symbol.asyncDispose]();
    assert.equal(mine.write([frame(MACS[0]!, MACS[1]!, 'x')]), 0);
    assert.throws(() => vtep.fdbShow(), code('USAGE'));
    assert.throws(() => vtep.fdb({ op: 'del', dev: 'vx0', mac: MACS[0]! }), code('USAGE'));
    const [, port] = createMemoryPort();
    await assert.rejects(vtep.addDevice({ name: 'vx0', id: 1, port }), code('USAGE'));
    const again = await portable({ underlay: dgramUnderlay({ address: '127.0.0.1' }) });
    await withPort(again, { name: 'vx0', id: 1, dstport: 24792 });
    await assert.rejects(createVtep({ underlay: dgramUnderlay(), signal: control.signal }), code('USAGE'));
  });

  it('a port that is closed under the device takes it down; other devices go on', async () => {
    const { hosts } = await lab(2);
    const [a, b] = hosts as [(typeof hosts)[0], (typeof hosts)[0]];
    const other = await withPort(a.vtep, { name: 'other', id: 43, remote: '192.0.2.2' });
    const far = await withPort(b.vtep, { name: 'other', id: 43 });
    a.its.close();
    await until('down', () => a.vtep.devices()[0]!.up === false);
    await assert.rejects(a.vtep.setDevice('vx0', { up: true }), code('USAGE'));
    other.mine.write([frame(MACS[1]!, '02:00:00:00:01:0a', 'on')]);
    await until('a frame', () => far.heard.length === 1);
    await a.vtep.deleteDevice('vx0');
  });

  it('ports, underlays and listeners that throw or call back at once are contained', async (context) => {
    const lines: string[] = [];
    const net = createMemoryNetwork();
    const a = await portable({ underlay: net.host('192.0.2.1'), logger: (_, line) => lines.push(line) });
    const far = await portable({ underlay: net.host('192.0.2.2') });
    const source = await withPort(far, { name: 'vx0', id: 42, remote: '192.0.2.1' });
    let sink: FrameSink | undefined;
    let writes = 0;
    const echo: FramePort = {
      kind: 'echo',
      start: (given) => {
        sink = given;
      },
      write: (frames) => {
        if (++writes === 2) throw new Error('on fire');
        sink!.frames(
          frames.map((one) =>
            Uint8Array.of(...one.subarray(6, 12), ...one.subarray(0, 6), ...one.subarray(12)),
          ),
        );
        return frames.length;
      },
      close: () => {
        throw new Error('will not');
      },
    };
    await a.addDevice({ name: 'vx0', id: 42, address: MACS[2]!, remote: '192.0.2.2', port: echo });
    a.on('learned', () => {
      throw new Error('a listener');
    });
    a.on('event', () => {
      throw new Error('a listener of all');
    });
    a.subscribe(() => {
      throw new Error('a subscriber');
    });
    const subscribed: string[] = [];
    a.subscribe(({ event }) => subscribed.push(event));
    const published: unknown[] = [];
    const publish = (message: unknown) => published.push(message);
    subscribe('vxlane:fdb', publish);
    context.after(() => unsubscribe('vxlane:fdb', publish));
    source.mine.write([frame(MACS[1]!, '02:00:00:00:01:0a', 'first')]);
    await until('the echo', () => source.heard.length === 1);
    source.mine.write([frame(MACS[1]!, '02:00:00:00:01:0a', 'second')]);
    await until('a drop', () => a.status().counters.vx0?.drop_tap_write === 1);
    // biome-ignore lint/suspicious/noExplicitAny: what no port should send
    sink!.frames([undefined, 'text', new Uint8Array(70_000)] as any);
    assert.equal(a.status().counters.vx0?.drop_tap_read, 3);
    source.mine.write([frame(MACS[1]!, '02:00:00:00:01:0a', 'third')]);
    await until('the echo', () => source.heard.length === 2);
    assert.equal(textOf(source.heard[1]), 'third');
    assert.ok(lines.some((line) => line.includes('on fire')));
    for (const words of ['a listener', 'a listener of all', 'a subscriber'])
      assert.ok(
        lines.some((line) => line.includes(`Error: ${words}\n`)),
        words,
      );
    a.fdb({ op: 'add', dev: 'vx0', mac: '02:00:00:00:00:77', dst: '192.0.2.2' });
    assert.equal(subscribed.filter((event) => event === 'fdb').length, 2);
    assert.ok(published.length >= 2);
    await a.close();
    assert.ok(lines.some((line) => line.includes('will not')));
  });
});
