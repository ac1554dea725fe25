/**
 * The tests of each offload at start: a kernel that does right passes them, and each way of doing wrong that is known
 * fails the one that is meant for it. Kernels that do wrong are played by a port of system calls that spoils
 * what the real ones bring.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createVtep } from '../src/create-vtep.ts';
import { EINVAL, EIO, ENETUNREACH } from '../src/io/errno.ts';
import { testTap } from '../src/io/selftest-tap.ts';
import { testBundles, testSegmentation } from '../src/io/selftest-udp.ts';
import { type Syscalls, syscalls } from '../src/io/syscalls.ts';
import { failuresOf, type Offloads, offloadTable, probeOffloads } from '../src/vtep/offloads.ts';
import { deviceConfig } from './support/device-config.ts';
import { Bed, missingForNamespaces, missingForTap, type Namespace } from './support/netns.ts';
import { enter } from './support/own-namespace.ts';

const missing = missingForNamespaces() ?? missingForTap();
const MMSGHDR_BYTES = 64;

/** Real system calls, but for those that `replace` returns; what lies at an address can be looked at. */
function faulty(
  replace: (real: Syscalls, memory: (address: number) => DataView) => Partial<Syscalls>,
): Syscalls {
  const real = syscalls();
  const regions: { address: number; bytes: Uint8Array }[] = [];
  const memory = (address: number) => {
    const region = regions.findLast(
      (one) => address >= one.address && address < one.address + one.bytes.length,
    );
    assert.ok(region, 'an address that was asked for');
    return new DataView(region.bytes.buffer, region.bytes.byteOffset + address - region.address);
  };
  const addressOf = (bytes: Uint8Array) => {
    const address = real.addressOf(bytes);
    regions.push({ address, bytes });
    return address;
  };
  return { ...real, addressOf, ...replace(real, memory) };
}

/** Each message that arrives is handed to `spoil` with its header and data. */
function receiving(
  spoil: (header: DataView, data: DataView, at: (offset: number) => DataView) => void,
): Syscalls {
  return faulty((real, memory) => ({
    recvmmsg: (fd, messages, count, flags, timeout) => {
      const received = real.recvmmsg(fd, messages, count, flags, timeout);
      for (let index = 0; index < received; index++) {
        const header = memory(messages + index * MMSGHDR_BYTES);
        const at = (offset: number) => memory(Number(header.getBigUint64(offset, true)));
        const iovec = at(16);
        spoil(header, memory(Number(iovec.getBigUint64(0, true))), at);
      }
      return received;
    },
  }));
}

/** A call that fails when `when` says so. */
function failing(call: 'sendmsg' | 'writev', errno: number, when: (first: DataView) => boolean): Syscalls {
  let failed = 0;
  return faulty((real, memory) => ({
    errno: () => failed || real.errno(),
    [call]: (fd: number, address: number, last: number) => {
      failed = 0;
      const first =
        call === 'sendmsg' ? memory(address) : memory(Number(memory(address).getBigUint64(0, true)));
      if (!when(first)) return real[call](fd, address, last);
      failed = errno;
      return -1;
    },
  }));
}

describe('self-tests of offloads', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let here: Namespace;
  before(() => {
    here = bed.namespace('offloads');
    enter(here);
    here.ip('link set lo up');
  });
  after(() => bed.close());

  it('pass on this kernel, quickly, and leave nothing behind', () => {
    const links = here.ipJson('link', 'show').length;
    let took = Number.POSITIVE_INFINITY;
    // A machine that is busy holds some of them up.
    for (let tries = 0; tries < 20 && took >= 200; tries++) {
      const start = performance.now();
      assert.equal(testSegmentation(syscalls()), undefined);
      assert.equal(testBundles(syscalls()), undefined);
      assert.deepEqual(testTap(syscalls()), {});
      took = performance.now() - start;
    }
    assert.ok(took < 200, `${took} ms`);
    assert.equal(here.ipJson('link', 'show').length, links);
  });

  const DAMAGE: [what: string, spoil: Parameters<typeof receiving>[0], found: RegExp][] = [
    ['a byte of a datagram', (_, data) => data.setUint8(150, data.getUint8(150) ^ 1), /with other bytes$/],
    [
      'the UDP header: the port',
      (_header, _data, at) => at(0).setUint16(2, at(0).getUint16(2) ^ 0x101),
      /from another port$/,
    ],
    [
      'the length',
      (header) => header.setUint32(56, header.getUint32(56, true) - 1, true),
      /with .*199.* bytes instead of|with other bytes|with .* bytes instead/,
    ],
  ];
  for (const [what, spoil, found] of DAMAGE) {
    it(`segments: find damage to ${what}`, () => {
      assert.match(testSegmentation(receiving(spoil)) ?? '', found);
    });
    it(`bundles: find damage to ${what}`, () => {
      assert.match(testBundles(receiving(spoil)) ?? '', found);
    });
  }

  it('segments: find datagrams of equal length spoiled, and those alone', () => {
    let arrived = 0;
    const sys = receiving((_, data) => {
      if (arrived++ < 4) data.setUint8(0, data.getUint8(0) ^ 0xff);
    });
    assert.equal(testSegmentation(sys), 'datagrams of equal length arrive with other bytes');
  });

  it('segments: find what is spoiled only behind a shorter last one', () => {
    let arrived = 0;
    const sys = receiving((_, data) => {
      if (arrived++ >= 4) data.setUint8(0, data.getUint8(0) ^ 0xff);
    });
    assert.equal(testSegmentation(sys), 'datagrams with a shorter last one arrive with other bytes');
  });

  it('segments: find one that does not arrive', () => {
    const sys = faulty((real) => ({
      recvmmsg: (fd, messages, count, flags, timeout) =>
        Math.min(3, real.recvmmsg(fd, messages, count, flags, timeout)),
    }));
    assert.match(testSegmentation(sys) ?? '', /arrive with 200 \+ 200 \+ 200 bytes instead of/);
  });

  it('bundles: find a length that is not the datagrams’', () => {
    const sys = receiving((_header, _data, at) => at(32).setInt32(16, 150, true));
    assert.match(testBundles(sys) ?? '', /^datagrams of equal length are bundled with 150 \+ 150/);
    const none = receiving((_header, _data, at) => at(32).setInt32(16, 0, true));
    assert.match(testBundles(none) ?? '', /are bundled without a length$/);
  });

  it('segments: a refusal is one, no loopback is none', () => {
    const hasControl = (header: DataView) => header.getBigUint64(40, true) !== 0n;
    assert.equal(
      testSegmentation(failing('sendmsg', EIO, hasControl)),
      'a message of datagrams of equal length is refused: EIO',
    );
    assert.equal(testSegmentation(failing('sendmsg', ENETUNREACH, () => true)), undefined);
    const deaf = faulty(() => ({ poll: () => 0 }));
    assert.equal(testSegmentation(deaf), undefined);
  });

  it('TAP: find super-frames of TCP or UDP refused, and their tails', () => {
    const gsoType = (virtio: DataView) => virtio.getUint8(1);
    const tcp = failing('writev', EINVAL, (virtio) => gsoType(virtio) !== 5);
    assert.deepEqual(testTap(tcp), { tso: 'a super-frame of TCP over IPv4 is refused: EINVAL' });
    const v6 = failing('writev', EINVAL, (virtio) => gsoType(virtio) === 4);
    assert.deepEqual(testTap(v6), { tso: 'a super-frame of TCP over IPv6 is refused: EINVAL' });
    const udp = failing('writev', EINVAL, (virtio) => gsoType(virtio) === 5);
    assert.deepEqual(testTap(udp), { uso: 'a super-frame of UDP over IPv4 is refused: EINVAL' });
    let writes = 0;
    const tail = failing('writev', EINVAL, () => writes++ === 1);
    assert.deepEqual(testTap(tail), { tso: 'a super-frame of TCP over IPv4 is refused: EINVAL' });
    assert.deepEqual(testTap(faulty(() => ({ open: () => -1 }))), {});
  });

  it('TAP: the kernel tells a frame that it does not understand from one that a TAP that is down refuses', () => {
    // What the test relies on: with a segment length of 0 the header is invalid.
    const sys = faulty((real, memory) => ({
      writev: (fd, iovecs, count) => {
        memory(Number(memory(iovecs).getBigUint64(0, true))).setUint16(4, 0, true);
        return real.writev(fd, iovecs, count);
      },
    }));
    assert.deepEqual(Object.keys(testTap(sys)), ['tso', 'uso']);
  });

  it('switch off what fails, with the reason, and nothing else', () => {
    const on = { udpSegment: 'on', udpGro: 'on', coalesce: 'on', tapUso: 'on' };
    assert.deepEqual(probeOffloads({}), on);
    assert.deepEqual(failuresOf(probeOffloads({})), []);
    const segments = probeOffloads(
      {},
      failing('sendmsg', EIO, (header) => header.getBigUint64(40, true) !== 0n),
    );
    const why = 'off: self-test: a message of datagrams of equal length is refused: EIO';
    assert.deepEqual(segments, { ...on, udpSegment: why });
    assert.deepEqual(failuresOf(segments), [`udp-segment ${why}`]);
    const frames = probeOffloads(
      {},
      failing('writev', EINVAL, () => true),
    );
    assert.deepEqual(failuresOf(frames), [
      'coalesce off: self-test: a super-frame of TCP over IPv4 is refused: EINVAL',
      'tap-uso off: self-test: a super-frame of UDP over IPv4 is refused: EINVAL',
    ]);
    let messages = 0;
    // The first eight datagrams are those of the test of segments.
    const bundles = receiving((_, data) => {
      if (messages++ >= 8) data.setUint8(0, data.getUint8(0) ^ 1);
    });
    assert.deepEqual(probeOffloads({}, bundles), {
      ...on,
      udpGro: 'off: self-test: datagrams of equal length are bundled with other bytes',
    });
    const configured = probeOffloads({ udpSegment: false, udpGro: true, coalesce: false, tapUso: false });
    const off = 'off: by configuration';
    assert.deepEqual(configured, { udpSegment: off, udpGro: 'on', coalesce: off, tapUso: off });
    assert.deepEqual(failuresOf(configured), []);
  });

  it('status tells which devices do without, and what the kernel has refused since', () => {
    const on: Offloads = { udpSegment: 'on', udpGro: 'on', coalesce: 'on', tapUso: 'on' };
    const device = (name: string, fields: object, uso = true) => ({
      config: { ...deviceConfig({ name }), address: '', mtu: 1500, ...fields },
      tap: { name, ifindex: 1, queues: [], uso },
    });
    const devices = [device('a', { gso: 'off', gro: false }), device('b', { uso: false, gso: 'off' }, false)];
    assert.deepEqual(offloadTable(on, devices, []), {
      'udp-segment': 'on, off for a, b',
      'udp-gro': 'on, off for a',
      coalesce: 'on, off for a',
      'tap-uso': 'on, off for b',
    });
    const table = offloadTable(on, [device('a', { gso: 'tunnel' }, false)], ['192.0.2.1', 'any address']);
    assert.equal(table['udp-segment'], 'on, refused by the kernel from 192.0.2.1, any address');
    assert.equal(table['tap-uso'], 'off: Linux 6.2 or newer is needed');
    const off = offloadTable({ ...on, tapUso: 'off: by configuration' }, devices, []);
    assert.equal(off['tap-uso'], 'off: by configuration');
  });

  it('a VTEP starts with them and shows them', async () => {
    const log: string[] = [];
    const vtep = await createVtep({ offloads: { tapUso: false }, logger: (_, message) => log.push(message) });
    try {
      await vtep.addDevice(deviceConfig({ name: 'vx0', gro: false }));
      assert.deepEqual(vtep.status().offloads, {
        'udp-segment': 'on',
        'udp-gro': 'on, off for vx0',
        coalesce: 'on, off for vx0',
        'tap-uso': 'off: by configuration',
        'tunnel-gso': 'off: no device asks for it (gso tunnel)',
      });
      assert.deepEqual(log, []);
    } finally {
      await vtep.close();
    }
  });
});
