/**
 * The MDB as packets see it: every kind of frame against a naive reference, a full table, and a reader on
 * another thread while entries come and go.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import {
  HEADER_BASE,
  HEADER_REMOTE_FREE_OFFSET,
  HEADER_REMOTE_FRESH_OFFSET,
  MDB_BASE,
  MDB_BYTES,
  MDB_CAPACITY,
  REMOTE_BYTES,
  REMOTE_NEXT_OFFSET,
  REMOTES_BASE,
} from '../assembly/layout.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { VtepError } from '../src/errors.ts';
import type { MdbRequest } from '../src/types.ts';
import { BUILDS, loadEngine } from './support/engine.ts';
import { refusal } from './support/fdb-fixture.ts';
import { DROP, ipFrame, MDB_DEVICES, MdbFixture, NOTHING } from './support/mdb-fixture.ts';
import { sendNaively } from './support/naive-mdb.ts';

const GROUPS_IPV4 = ['239.1.1.1', '239.1.1.2', '0.0.0.0'];
const GROUPS_IPV6 = ['ff0e::1', 'ff12::2', '::'];
const SOURCES_IPV4 = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
const SOURCES_IPV6 = ['2001:db8::1', '2001:db8::2', '2001:db8::3'];

const REMOTES = ['198.51.100.1', '198.51.100.2', '239.9.9.9'];
/** Of the table while a reader looks on. */
const WRITES_MIN = 200;
const REMOTES_IPV6 = ['2001:db8:9::1', '2001:db8:9::2', 'ff05::9'];
/** Devices with the domain and VNI of frames, two of them of the external device. */
const PLACES: [at: number, domain: number, vni: number][] = [
  [0, 1, 10],
  [1, 2, 16],
  [2, 300, 20],
  [2, 301, 21],
];

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });

/** Requests that are right, and some that are refused. */
const requests: fc.Arbitrary<MdbRequest> = fc
  .record({
    op: fc.constantFrom('add', 'add', 'add', 'replace', 'del'),
    place: fc.constantFrom(PLACES[0]!, PLACES[0]!, ...PLACES),
    isIpv4: fc.boolean(),
    pick: fc.array(fc.nat(5), { minLength: 3, maxLength: 3 }),
    filter_mode: maybe(fc.constantFrom('include', 'exclude')),
    listed: fc.uniqueArray(fc.nat(2), { maxLength: 3 }),
    vni: maybe(fc.constantFrom(0, 10, 77)),
    dst_port: maybe(fc.constantFrom(0, 4789, 99)),
    via: maybe(fc.constantFrom('veth1', 'veth2')),
  })
  .map(({ op, place: [at, , vni], isIpv4, pick, filter_mode: mode, listed, ...rest }) => {
    const sources = isIpv4 ? SOURCES_IPV4 : SOURCES_IPV6;
    const { name } = MDB_DEVICES[at]!;
    const named = Object.entries(rest).filter(([, value]) => value !== undefined);
    const src = pick[1]! < 3 && mode === undefined ? sources[pick[1]!] : undefined;
    return {
      op,
      dev: name,
      grp: (isIpv4 ? GROUPS_IPV4 : GROUPS_IPV6)[pick[0]! % 3]!,
      dst: (name === 'vx6' ? REMOTES_IPV6 : REMOTES)[pick[2]! % 3]!,
      ...(src !== undefined && { src }),
      ...(mode && { filter_mode: mode, source_list: listed.map((source) => sources[source]!) }),
      ...(name === 'vxe' && { src_vni: vni }),
      ...Object.fromEntries(named),
    } as MdbRequest;
  });

const frames: fc.Arbitrary<Uint8Array> = fc
  .record({
    isIpv4: fc.boolean(),
    source: fc.nat(3),
    destination: fc.nat(5),
    mac: fc.constantFrom('group', 'group', 'group', 'group', 'broadcast', 'unicast'),
    type: fc.constantFrom(0, 0, 0, 0, 0, 0x0806, 0x8100),
    cut: maybe(fc.integer({ min: 14, max: 62 })),
  })
  .map(({ isIpv4, source, destination, mac, type, cut }) => {
    const sources = isIpv4 ? [...SOURCES_IPV4, '10.0.0.1'] : [...SOURCES_IPV6, 'fe80::1'];
    const groups = isIpv4
      ? [...GROUPS_IPV4.slice(0, 2), '224.0.1.1', '224.0.0.5', '239.8.8.8', '192.0.2.7']
      : [...GROUPS_IPV6.slice(0, 2), 'ff32::3', 'ff02::1', 'ff0e::8', 'fe80::7'];
    const frame = ipFrame(sources[source]!, groups[destination]!, mac);
    if (type !== 0) frame.set([type >> 8, type & 0xff], 12);
    // A frame that the other ethertype's header would fit as well.
    return cut === undefined || cut % 4 > 0 ? frame : frame.subarray(0, cut);
  });

for (const build of BUILDS) {
  describe(`mdb table, ${build}`, () => {
    let fixture: MdbFixture;
    before(async () => {
      fixture = new MdbFixture(await loadEngine(build));
    });
    beforeEach(() => fixture.reset());

    /** Whether nothing is left of anything: slots, entries, and remotes of the pool. */
    function assertClean(): void {
      const { bytes, view } = fixture.engine;
      fixture.reset();
      assert.equal(fixture.fdbCount(), 0);
      assert.ok(bytes.subarray(MDB_BASE, MDB_BASE + MDB_BYTES).every((byte) => byte === 0));
      let free = 0;
      let link = view.getUint32(HEADER_BASE + HEADER_REMOTE_FREE_OFFSET, true);
      for (; link !== 0; free++) {
        link = view.getUint16(REMOTES_BASE + (link - 1) * REMOTE_BYTES + REMOTE_NEXT_OFFSET, true);
      }
      assert.equal(free, view.getUint32(HEADER_BASE + HEADER_REMOTE_FRESH_OFFSET, true));
    }

    test('finds what the naive reference finds', () => {
      const seen = new Map<string, number>();
      let refused = 0;
      fc.assert(
        fc.property(
          fc.array(requests, { minLength: 40, maxLength: 80 }),
          fc.array(frames, { minLength: 20, maxLength: 40 }),
          (changes, sent) => {
            for (const change of changes) {
              try {
                fixture.mdb.apply(change);
              } catch (error) {
                assert.ok(error instanceof VtepError);
                refused++;
              }
            }
            for (const [at, domain, vni] of PLACES) {
              const device = MDB_DEVICES[at]!;
              const lines = fixture.mdb.show(device.name);
              for (const frame of sent) {
                const expected = sendNaively(lines, device, vni, frame);
                assert.deepEqual(fixture.send(domain, frame), expected);
                const kind = typeof expected === 'string' ? expected : `${expected.length} remotes`;
                seen.set(kind, (seen.get(kind) ?? 0) + 1);
              }
            }
            fixture.reset();
          },
        ),
        { numRuns: 150 },
      );
      for (const kind of [NOTHING, DROP, '1 remotes', '2 remotes', '3 remotes']) {
        assert.ok((seen.get(kind) ?? 0) > 3, `${kind}: ${seen.get(kind)}`);
      }
      assert.ok(refused > 100, `${refused} refusals`);
      assertClean();
    });

    test('reads nothing behind the end of a frame', () => {
      const { bytes, exports, memory, scratch } = fixture.engine;
      fixture.add('239.1.1.1', '198.51.100.1');
      fixture.add('ff0e::1', '198.51.100.2');
      const end = memory.buffer.byteLength;
      const cases: [Uint8Array, number][] = [
        [ipFrame('192.0.2.1', '239.1.1.1'), 34],
        [ipFrame('2001:db8::1', 'ff0e::1'), 54],
      ];
      for (const [frame, least] of cases) {
        for (let length = 14; length <= frame.length; length++) {
          bytes.set(frame.subarray(0, length), end - length);
          const count = exports.mdbCollect(1, end - length, length, scratch, 4);
          assert.equal(count, length >= least ? 1 : -1, `${length} bytes`);
        }
      }
    });

    test('remotes: at most as many as there is room for, and the newest first', () => {
      for (const last of [1, 2, 3, 4]) fixture.add('239.1.1.1', `198.51.100.${last}`);
      const frame = ipFrame('192.0.2.1', '239.1.1.1');
      const newest = ['198.51.100.4 0 10 0', '198.51.100.3 0 10 0'];
      assert.deepEqual((fixture.send(1, frame) as string[]).slice(0, 2), newest);
      assert.deepEqual(fixture.send(1, frame, frame.length, 2), newest);
      assert.equal(fixture.send(1, frame).length, 4);
    });

    test('a full table: all are found, the next is refused, and gaps close', () => {
      const group = (n: number) => `239.${1 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
      const remote = (n: number) => `10.0.${n >> 8}.${n & 255}`;
      for (let n = 0; n < MDB_CAPACITY; n++) fixture.add(group(n), remote(n));
      const before = fixture.fdbCount();
      assert.throws(() => fixture.add(group(MDB_CAPACITY), '10.0.0.1'), refusal('NO_SPACE', /No space left/));
      assert.throws(
        () => fixture.add('ff0e::1', '10.0.0.1', { filter_mode: 'include', source_list: ['2001:db8::1'] }),
        refusal('NO_SPACE', new RegExp(`may have ${MDB_CAPACITY} entries`)),
      );
      // One that is there may have more remotes.
      fixture.add(group(0), '10.9.9.9');
      fixture.mdb.apply({ op: 'del', dev: 'vx0', grp: group(0), dst: '10.9.9.9' });
      assert.equal(fixture.fdbCount(), before);
      const check = (isThere: (n: number) => boolean) => {
        for (let n = 0; n < MDB_CAPACITY; n++) {
          const expected = isThere(n) ? [`${remote(n)} 0 10 0`] : NOTHING;
          assert.deepEqual(fixture.send(1, ipFrame('192.0.2.1', group(n))), expected, group(n));
        }
      };
      check(() => true);
      for (let n = 0; n < MDB_CAPACITY; n++) {
        if (n % 3 > 0) fixture.mdb.apply({ op: 'del', dev: 'vx0', grp: group(n), dst: remote(n) });
      }
      check((n) => n % 3 === 0);
      assertClean();
    });

    test('a reader on another thread sees the table before a change or after it', {
      timeout: 60_000,
    }, async (context) => {
      // Long runs of slots, so that removals move others.
      for (let n = 0; n < 3000; n++) fixture.add(`239.5.${n >> 8}.${n & 255}`, '198.51.100.1');
      fixture.add('0.0.0.0', '198.51.100.9', { vni: 9, dst_port: 9 });
      // Always there; its remotes change, port and VNI alike.
      fixture.add('239.1.1.1', '198.51.100.2', { vni: 1, dst_port: 1 });
      const { bytes, i32, memory, scratch } = fixture.engine;
      const listed = ipFrame('192.0.2.1', '239.1.1.2');
      const sent = [ipFrame('192.0.2.1', '239.1.1.1'), listed, ipFrame('192.0.2.7', '239.1.1.2')];
      sent.forEach((frame, at) => {
        bytes.set(frame, scratch + 4096 + at * 128);
      });
      const stop = scratch + 8064;
      i32[stop / 4] = 0;
      i32[stop / 4 + 1] = 0;
      const reader = new Worker(READER, {
        eval: true,
        workerData: {
          ...{ module: compileEngine(build), memory, stop },
          ...{ frames: scratch + 4096, length: listed.length, into: scratch + 65536 },
        },
      });
      context.after(() => reader.terminate());
      const report = new Promise<{ looks: number; kinds: Record<string, number>; wrong: string }>(
        (resolve, reject) => {
          reader.once('error', reject);
          reader.once('message', resolve);
        },
      );
      await new Promise((resolve) => reader.once('online', resolve));

      const { mdb } = fixture;
      const star = { dev: 'vx0', grp: '239.1.1.2', dst: '198.51.100.3', vni: 3, dst_port: 3 };
      const [until, latest] = [Date.now() + 1200, Date.now() + 30_000];
      const isSeen = () => Atomics.load(i32, stop / 4 + 1) >= 8;
      let writes = 0;
      // Longer where others have the cores: until the reader has seen each state.
      for (; Date.now() < until || ((writes <= WRITES_MIN || !isSeen()) && Date.now() < latest); writes++) {
        const mark = 10 + (writes % 200);
        const same = { dst_port: mark, vni: mark };
        mdb.apply({ op: 'replace', dev: 'vx0', grp: '239.1.1.1', dst: '198.51.100.2', ...same });
        // Each remote more or less makes a list of its own, under another number.
        const more = { dev: 'vx0', grp: '239.1.1.1', dst: '198.51.100.4', ...same };
        mdb.apply({ ...more, op: writes % 2 === 0 ? 'add' : 'del' });
        // From nothing to an include list with its (S, G), to an exclude list, and back.
        mdb.apply({ ...star, op: 'add', filter_mode: 'include', source_list: ['192.0.2.1'] });
        mdb.apply({ ...star, op: 'replace', filter_mode: 'exclude', source_list: ['192.0.2.1'] });
        mdb.apply({ ...star, op: 'del' });
        const n = writes % 3000;
        const churned = { dev: 'vx0', grp: `239.5.${n >> 8}.${n & 255}`, dst: '198.51.100.1' };
        mdb.apply({ ...churned, op: 'del' });
        mdb.apply({ ...churned, op: 'add' });
        if (writes % 64 === 0) mdb.show('vx0');
      }
      Atomics.store(i32, stop / 4, 1);
      const { looks, kinds, wrong } = await report;
      assert.equal(wrong, '');
      assert.ok(looks > 5000 && writes > WRITES_MIN, `${looks} looks, ${writes} writes`);
      // Each state of each frame has been seen: a test that sees one only would prove nothing.
      for (const kind of ['0:1', '0:2', '1:drop', '1:3', '1:9', '2:drop', '2:3', '2:9']) {
        assert.ok(kinds[kind]! > 0, `${kind}: ${JSON.stringify(kinds)}`);
      }
      assertClean();
    });
  });
}

/**
 * Frame 0 has one or two remotes, each of one piece. Frame 1 comes from the listed source and frame 2 from
 * another: remote 3 or a drop by the group's own entries, or remote 9, the one of all groups.
 */
const READER = `
const { parentPort, workerData } = require('node:worker_threads');
const { module, memory, stop, frames, length, into } = workerData;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const i32 = new Int32Array(memory.buffer);
const view = new DataView(memory.buffer);
const kinds = {};
let looks = 0, wrong = '';
while (wrong === '' && Atomics.load(i32, stop / 4) === 0) {
  for (let frame = 0; frame < 3; frame++) {
    looks++;
    const count = exports.mdbCollect(1, frames + frame * 128, length, into, 16);
    for (let at = into; at < into + count * 32; at += 32) {
      const port = view.getUint16(at + 12, true);
      const last = view.getUint8(at + 19);
      const vni = view.getUint32(at + 8, true);
      const fits = frame === 0 ? last === 2 || last === 4 : last === port;
      if (vni !== port || !fits) wrong = 'frame ' + frame + ': ' + [last, port, vni];
    }
    const last = view.getUint8(into + 19);
    const kind = frame === 0 ? String(count) : count === 1 ? String(last) : count === -2 ? 'drop' : 'x' + count;
    const fits = frame === 0 ? count === 1 || count === 2 : ['drop', '3', '9'].includes(kind);
    if (!fits) wrong = wrong || 'frame ' + frame + ': ' + kind;
    kinds[frame + ':' + kind] = (kinds[frame + ':' + kind] || 0) + 1;
    if (looks > 6000) Atomics.store(i32, stop / 4 + 1, Object.keys(kinds).length);
  }
}
parentPort.postMessage({ looks, kinds, wrong });
`;
