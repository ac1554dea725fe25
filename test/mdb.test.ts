/**
 * The MDB as commands see it, beyond what the transcript of bridge has (mdb-cli.test.ts): what is told of a
 * change, that a refusal changes nothing, and what becomes of entries when VNIs and devices come and go.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  DEVICE_FLAG_LEARNING,
  DEVICE_FLAG_MDB,
  DEVICE_FLAGS_OFFSET,
  FANOUT_MAX,
  FDB_CAPACITY,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_REMOTE_FREE_OFFSET,
  HEADER_REMOTE_FRESH_OFFSET,
  REMOTE_COUNT,
} from '../assembly/layout.ts';
import { mdbLine } from '../src/cli/mdb-format.ts';
import { deviceRecord } from '../src/dataplane/fdb-record.ts';
import { formatProtocol, parseProtocol } from '../src/dataplane/mdb-text.ts';
import { VtepError } from '../src/errors.ts';
import type { MdbRequest } from '../src/types.ts';
import { loadEngine } from './support/engine.ts';
import { refusal } from './support/fdb-fixture.ts';
import { DROP, ipFrame, MdbFixture, NOTHING } from './support/mdb-fixture.ts';

const G = '239.1.1.1';
const S1 = '192.0.2.1';
const S2 = '192.0.2.2';
const S3 = '192.0.2.3';
const R1 = '198.51.100.1';
const R2 = '198.51.100.2';

let fixture: MdbFixture;
before(async () => {
  fixture = new MdbFixture(await loadEngine('release'));
});
beforeEach(() => fixture.reset());

/** What was told since the last time, as `bridge -d monitor mdb` prints it, without the device. */
function told(): string[] {
  return fixture.events.splice(0).map(({ deleted, entry }) => {
    const line = mdbLine(entry, { details: true, timers: false });
    return `${deleted ? 'Deleted ' : ''}${line.replace(/^dev \S+ port \S+ grp /, '')}`;
  });
}

const lines = (dev = 'vx0') =>
  fixture.mdb.show(dev).map((entry) => mdbLine(entry, { details: true, timers: false }));

/** Everything that commands and packets can see. */
function everything(): unknown {
  const { mdb, engine } = fixture;
  const frames = ['239.1.1.1', '239.1.1.2', '239.8.8.8'].flatMap((group) =>
    [S1, S2, S3].map((source) => fixture.send(1, ipFrame(source, group))),
  );
  const { view } = engine;
  return [mdb.show(), frames, fixture.fdbCount(), poolUsed(view), fixture.events.length];
}

function poolUsed(view: DataView): number {
  let free = 0;
  let link = view.getUint32(HEADER_BASE + HEADER_REMOTE_FREE_OFFSET, true);
  const seen = new Set<number>();
  for (; link !== 0 && !seen.has(link); free++) {
    seen.add(link);
    link = fixture.linkAfter(link);
  }
  return view.getUint32(HEADER_BASE + HEADER_REMOTE_FRESH_OFFSET, true) - free;
}

describe('what is told of a change', () => {
  test('the entries of sources before the one that lists them, and after it when it goes', () => {
    const { mdb } = fixture;
    fixture.add(G, R1, { filter_mode: 'include', source_list: [S1, S2] });
    assert.deepEqual(told(), [
      `${G} src ${S1} permanent filter_mode include proto static dst ${R1}`,
      `${G} src ${S2} permanent filter_mode include proto static dst ${R1}`,
      `${G} permanent filter_mode include source_list ${S2}/0.00,${S1}/0.00 proto static dst ${R1}`,
    ]);
    const request: MdbRequest = { op: 'replace', dev: 'vx0', grp: G, dst: R1, proto: 'bgp', vni: 7 };
    mdb.apply({ ...request, filter_mode: 'exclude', source_list: [S2, S3] });
    assert.deepEqual(told(), [
      `${G} src ${S2} permanent filter_mode include proto bgp blocked dst ${R1} vni 7`,
      `${G} src ${S3} permanent filter_mode include proto bgp blocked dst ${R1} vni 7`,
      `Deleted ${G} src ${S1} permanent filter_mode include proto static dst ${R1}`,
      `${G} permanent filter_mode exclude source_list ${S3}/0.00,${S2}/0.00 proto bgp dst ${R1} vni 7`,
    ]);
    mdb.apply({ op: 'del', dev: 'vx0', grp: G, dst: R1 });
    assert.deepEqual(told(), [
      `Deleted ${G} permanent filter_mode exclude source_list ${S3}/0.00,${S2}/0.00 proto bgp dst ${R1} vni 7`,
      `Deleted ${G} src ${S3} permanent filter_mode include proto bgp blocked dst ${R1} vni 7`,
      `Deleted ${G} src ${S2} permanent filter_mode include proto bgp blocked dst ${R1} vni 7`,
    ]);
  });

  test('a flush, the newest entry first, each once; its count', () => {
    fixture.add(G, R1, { filter_mode: 'include', source_list: [S1] });
    fixture.add(G, R2);
    fixture.add('ff0e::1', R2, { src: '2001:db8::1' });
    told();
    assert.equal(fixture.mdb.flush({ dev: 'vx0' }), 4);
    assert.deepEqual(
      told().map((line) => line.replace(/ permanent.* dst/, '')),
      [
        `Deleted ff0e::1 src 2001:db8::1 ${R2}`,
        `Deleted ${G} src ${S1} ${R1}`,
        `Deleted ${G} ${R2}`,
        `Deleted ${G} ${R1}`,
      ],
    );
    assert.equal(fixture.mdb.flush({ dev: 'vx0' }), 0);
  });

  test('a flush by a word of the (*, G) takes its sources along', () => {
    fixture.add(G, R1, { filter_mode: 'include', source_list: [S1], proto: 'bgp' });
    fixture.mdb.apply({ op: 'replace', dev: 'vx0', grp: G, src: S1, dst: R1 });
    assert.equal(fixture.mdb.flush({ dev: 'vx0', proto: 'bgp' }), 2);
    assert.deepEqual(fixture.mdb.show(), []);
  });
});

describe('a refusal changes nothing', () => {
  test('a list of which the last source is refused', () => {
    fixture.add('239.1.1.2', R1, { src: S3 });
    fixture.add(G, R2);
    const cases: Partial<MdbRequest>[] = [
      { grp: '239.1.1.2', source_list: [S1, S2, S3] },
      { source_list: [S1, S2, S1] },
      { source_list: [S1, '239.9.9.9'] },
      { source_list: [S1, '::1'] },
      { source_list: [S1], via: 'nope' },
    ];
    const kept = everything();
    for (const more of cases) {
      const request: MdbRequest = { op: 'add', dev: 'vx0', grp: G, dst: R1, filter_mode: 'include', ...more };
      assert.throws(() => fixture.mdb.apply(request), VtepError);
      assert.deepEqual(everything(), kept);
    }
  });

  test('whatever the request', () => {
    const groups = [G, '239.1.1.2'];
    const request = fc.record({
      op: fc.constantFrom('add', 'replace', 'del'),
      dev: fc.constant('vx0'),
      grp: fc.constantFrom(...groups),
      dst: fc.constantFrom(R1, R2),
      filter_mode: fc.constantFrom('include', 'exclude'),
      source_list: fc.array(fc.constantFrom(S1, S2, S3), { maxLength: 3 }),
    }) as fc.Arbitrary<MdbRequest>;
    const children = fc.record({
      op: fc.constantFrom('add', 'replace', 'del'),
      dev: fc.constant('vx0'),
      grp: fc.constantFrom(...groups),
      src: fc.constantFrom(S1, S2, S3),
      dst: fc.constantFrom(R1, R2),
    }) as fc.Arbitrary<MdbRequest>;
    let refused = 0;
    fc.assert(
      fc.property(fc.array(fc.oneof(request, children), { minLength: 5, maxLength: 30 }), (requests) => {
        fixture.reset();
        for (const one of requests) {
          const kept = everything();
          try {
            fixture.mdb.apply(one);
          } catch (error) {
            assert.ok(error instanceof VtepError);
            assert.deepEqual(everything(), kept);
            refused++;
          }
        }
        fixture.reset();
        assert.equal(fixture.fdbCount(), 0);
        assert.equal(poolUsed(fixture.engine.view), 0);
      }),
      { numRuns: 60 },
    );
    assert.ok(refused > 100, `${refused} refusals`);
  });

  test('an entry has room for as many remotes as a frame may have copies', () => {
    const remote = (n: number) => `10.1.${n >> 8}.${n & 255}`;
    for (let n = 0; n < FANOUT_MAX; n++) fixture.add(G, remote(n));
    const kept = everything();
    assert.throws(() => fixture.add(G, R1), refusal('NO_SPACE', /at most 1024 remotes/));
    assert.deepEqual(everything(), kept);
    // A blocked one takes no room in what packets see.
    fixture.add(G, R1, { filter_mode: 'include', source_list: [S1] });
  });

  test('when the pool of remotes runs out in the middle of a list', () => {
    const remote = (n: number) => `10.1.${n >> 8}.${n & 255}`;
    const { view } = fixture.engine;
    // As if all but three had been handed out.
    const at = HEADER_BASE + HEADER_REMOTE_FRESH_OFFSET;
    fixture.add('239.1.1.2', remote(0), { src: S1 });
    fixture.add('239.1.1.2', remote(0), { src: S2 });
    fixture.add('239.1.1.2', remote(0), { src: S3 });
    const fresh = view.getUint32(at, true);
    const free = view.getUint32(HEADER_BASE + HEADER_REMOTE_FREE_OFFSET, true);
    view.setUint32(HEADER_BASE + HEADER_REMOTE_FREE_OFFSET, 0, true);
    view.setUint32(at, REMOTE_COUNT - 2, true);
    const kept = [fixture.mdb.show(), fixture.fdbCount(), fixture.send(1, ipFrame(S1, '239.1.1.2'))];
    assert.throws(
      () => fixture.add('239.1.1.2', R1, { filter_mode: 'include', source_list: [S1, S2, S3] }),
      refusal('NO_SPACE', /No space left on device/),
    );
    assert.deepEqual(
      [fixture.mdb.show(), fixture.fdbCount(), fixture.send(1, ipFrame(S1, '239.1.1.2'))],
      kept,
    );
    // Those two have come back.
    fixture.add('239.1.1.2', R1, { filter_mode: 'include', source_list: [S1, S2] });
    fixture.reset();
    view.setUint32(at, fresh, true);
    view.setUint32(HEADER_BASE + HEADER_REMOTE_FREE_OFFSET, free, true);
  });

  test('when the FDB, where the remotes stand, is full', () => {
    const { view } = fixture.engine;
    const at = HEADER_BASE + HEADER_FDB_COUNT_OFFSET;
    fixture.add(G, R1);
    const count = fixture.fdbCount();
    view.setUint32(at, FDB_CAPACITY, true);
    assert.throws(() => fixture.add(G, R2), refusal('NO_SPACE', /No space left on device/));
    view.setUint32(at, count, true);
    assert.deepEqual(fixture.send(1, ipFrame(S1, G)), [`${R1} 0 10 0`]);
    assert.equal(lines().length, 1);
  });
});

describe('devices and VNIs', () => {
  test('the flag of the device says whether there are entries, and touches no other', () => {
    const at = deviceRecord(1) + DEVICE_FLAGS_OFFSET;
    const { view } = fixture.engine;
    view.setUint32(at, DEVICE_FLAG_LEARNING, true);
    assert.equal(fixture.hasFlag(1), false);
    fixture.add(G, R1);
    fixture.add('ff0e::1', R1);
    assert.equal(view.getUint32(at, true), DEVICE_FLAG_LEARNING | DEVICE_FLAG_MDB);
    assert.equal(fixture.hasFlag(2), false);
    fixture.mdb.apply({ op: 'del', dev: 'vx0', grp: G, dst: R1 });
    assert.equal(fixture.hasFlag(1), true);
    // Its record was written anew.
    view.setUint32(at, 0, true);
    fixture.mdb.rebind(1);
    assert.equal(fixture.hasFlag(1), true);
    fixture.mdb.apply({ op: 'del', dev: 'vx0', grp: 'ff0e::1', dst: R1 });
    assert.equal(fixture.hasFlag(1), false);
    fixture.mdb.rebind(1);
    assert.equal(fixture.hasFlag(1), false);
  });

  test('one group in several VNIs of an external device', () => {
    fixture.add(G, R1, { dev: 'vxe', src_vni: 20 });
    fixture.add(G, R2, { dev: 'vxe', src_vni: 21, vni: 77, dst_port: 99, via: 'veth2' });
    assert.deepEqual(fixture.send(300, ipFrame(S1, G)), [`${R1} 0 20 0`]);
    assert.deepEqual(fixture.send(301, ipFrame(S1, G)), [`${R2} 99 77 3`]);
    assert.equal(fixture.send(3, ipFrame(S1, G)), NOTHING);
    assert.deepEqual(
      fixture.mdb.show('vxe').map(({ src_vni, vni }) => [src_vni, vni]),
      [
        [21, 77],
        [20, undefined],
      ],
    );
  });

  test('entries wait for their VNI, and keep when it goes', () => {
    fixture.domains.delete(21);
    fixture.add(G, R1, { dev: 'vxe', src_vni: 21 });
    fixture.add('239.1.1.2', R1, { dev: 'vxe', src_vni: 21, filter_mode: 'include', source_list: [S1] });
    assert.equal(fixture.send(301, ipFrame(S1, G)), NOTHING);
    fixture.domains.set(21, 302);
    fixture.mdb.rebind(3);
    assert.deepEqual(fixture.send(302, ipFrame(S1, G)), [`${R1} 0 21 0`]);
    assert.equal(fixture.send(302, ipFrame(S2, '239.1.1.2')), DROP);
    assert.equal(fixture.send(301, ipFrame(S1, G)), NOTHING);
    fixture.domains.set(21, 301);
    fixture.mdb.rebind(3);
    assert.deepEqual(fixture.send(301, ipFrame(S1, G)), [`${R1} 0 21 0`]);
    assert.equal(fixture.send(302, ipFrame(S1, G)), NOTHING);
    fixture.domains.delete(21);
    fixture.mdb.rebind(3);
    assert.equal(fixture.send(301, ipFrame(S1, G)), NOTHING);
    assert.equal(fixture.mdb.show('vxe').length, 3);
    // Changed and removed while nobody sees it.
    fixture.mdb.apply({ op: 'replace', dev: 'vxe', grp: G, dst: R1, src_vni: 21, vni: 5 });
    fixture.mdb.apply({ op: 'del', dev: 'vxe', grp: '239.1.1.2', dst: R1, src_vni: 21 });
    fixture.domains.set(21, 301);
    fixture.mdb.rebind(3);
    assert.deepEqual(fixture.send(301, ipFrame(S1, G)), [`${R1} 0 5 0`]);
    assert.equal(fixture.send(301, ipFrame(S1, '239.1.1.2')), NOTHING);
  });

  test('a VNI that the device does not have is kept and matches nothing', () => {
    fixture.add(G, R1, { src_vni: 99 });
    assert.equal(fixture.send(1, ipFrame(S1, G)), NOTHING);
    assert.equal(lines().length, 1);
    assert.equal(fixture.mdb.get('vx0', G, undefined, 99).length, 1);
    assert.throws(() => fixture.mdb.get('vx0', G), refusal('NOT_FOUND', /vxlan: MDB entry not found\./));
  });

  test('a device takes its entries along, and no others', () => {
    fixture.add(G, R1);
    fixture.add(G, R1, { dev: 'vy0' });
    told();
    assert.equal(fixture.mdb.flushDevice(1), 1);
    assert.deepEqual(told(), [`Deleted ${G} permanent filter_mode exclude proto static dst ${R1}`]);
    assert.deepEqual([lines('vx0').length, lines('vy0').length], [0, 1]);
    assert.equal(fixture.send(1, ipFrame(S1, G)), NOTHING);
    assert.deepEqual(fixture.send(4, ipFrame(S1, G)), [`${R1} 0 11 0`]);
    assert.equal(fixture.mdb.flushDevice(1), 0);
    assert.throws(() => fixture.mdb.show('nope'), refusal('NOT_FOUND', /Cannot find device "nope"/));
  });

  test('IPv6 underlay', () => {
    fixture.add('ff0e::1', '2001:db8::9', { dev: 'vx6', src: '2001:db8::1' });
    fixture.add(G, 'ff05::7', { dev: 'vx6', vni: 20 });
    assert.deepEqual(fixture.send(2, ipFrame('2001:db8::1', 'ff0e::1')), ['2001:db8::9 0 16 0']);
    assert.deepEqual(fixture.send(2, ipFrame(S1, G)), ['ff05::7 0 20 0']);
    assert.equal(fixture.send(2, ipFrame('2001:db8::2', 'ff0e::1')), NOTHING);
  });
});

test('protocols: names, numbers, and neither', () => {
  for (let number = 0; number < 256; number++) {
    assert.equal(parseProtocol(formatProtocol(number)), number);
    assert.equal(parseProtocol(String(number)), number);
  }
  assert.equal(parseProtocol('0xba'), 186);
  for (const text of ['256', '-1', '', 'nope', '4x', 'toString'])
    assert.equal(parseProtocol(text), undefined);
});
