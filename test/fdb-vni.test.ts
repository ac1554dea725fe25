/**
 * The FDB of an external device: a table for each VNI, and what is printed of it.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { fdbText } from '../src/cli/fdb-format.ts';
import { readKey } from '../src/dataplane/fdb-record.ts';
import type { FdbFlush, FdbRequest } from '../src/types.ts';
import { loadEngine } from './support/engine.ts';
import { A, B, FdbFixture, GROUP, refusal, ZERO } from './support/fdb-fixture.ts';

describe('fdb of an external device', () => {
  let fixture: FdbFixture;
  before(async () => {
    fixture = new FdbFixture(await loadEngine('release'));
  });
  beforeEach(() => fixture.reset());

  const on = (dev: string, op: FdbRequest['op'], mac: string, dst?: string, more: Partial<FdbRequest> = {}) =>
    fixture.fdb.apply({ op, dev, mac, ...(dst !== undefined && { dst }), ...more });
  const ex0 = (op: FdbRequest['op'], mac: string, dst?: string, more: Partial<FdbRequest> = {}) =>
    on('ex0', op, mac, dst, more);
  const lines = (dev: string) =>
    fdbText(fixture.fdb.show(dev), { oneDevice: true, ages: false }).trim().split('\n');

  test('one MAC in three VNIs is three entries', () => {
    ex0('add', A, '192.0.2.1');
    ex0('add', A, '192.0.2.2', { src_vni: 5 });
    ex0('add', A, '192.0.2.3', { src_vni: 6, vni: 6 });
    assert.throws(() => ex0('add', A, '192.0.2.9', { src_vni: 5 }), refusal('EXISTS', /File exists/));
    assert.throws(() => ex0('add', A, '192.0.2.9', { src_vni: 0 }), refusal('EXISTS', /File exists/));
    assert.deepEqual(lines('ex0'), [
      `${A} dst 192.0.2.3 vni 6 src_vni 6 self permanent`,
      `${A} dst 192.0.2.2 src_vni 5 self permanent`,
      `${A} dst 192.0.2.1 self permanent`,
    ]);
    assert.deepEqual(
      [fixture.fdb.get('ex0', A), fixture.fdb.get('ex0', A, 5), fixture.fdb.get('ex0', A, 6)].map(
        ({ dst }) => dst,
      ),
      ['192.0.2.1', '192.0.2.2', '192.0.2.3'],
    );
    ex0('replace', A, '192.0.2.4', { src_vni: 5 });
    ex0('append', A, '192.0.2.4', { src_vni: 5, state: 'static' });
    ex0('del', A);
    assert.deepEqual(lines('ex0'), [
      `${A} dst 192.0.2.3 vni 6 src_vni 6 self permanent`,
      `${A} dst 192.0.2.4 src_vni 5 self static`,
    ]);
    assert.deepEqual(
      fixture.events.map(({ deleted, entry }) => [deleted, entry.src_vni, entry.dst]),
      [
        [false, undefined, '192.0.2.1'],
        [false, 5, '192.0.2.2'],
        [false, 6, '192.0.2.3'],
        [false, 5, '192.0.2.4'],
        [false, 5, '192.0.2.4'],
        [true, undefined, '192.0.2.1'],
      ],
    );
  });

  test('a VNI that has no table has no entries, and asking for them makes none', () => {
    assert.throws(() => ex0('del', A, undefined, { src_vni: 7 }), refusal('NOT_FOUND', /No such file/));
    assert.throws(() => fixture.fdb.get('ex0', A, 7), refusal('NOT_FOUND', /Fdb entry not found\./));
    ex0('add', A, '192.0.2.1', { src_vni: 7 });
    assert.equal(fixture.fdb.get('ex0', A, 7).src_vni, 7);
  });

  test('other devices have the one table, whatever VNI is named', () => {
    on('vx0', 'add', A, '192.0.2.1', { src_vni: 77 });
    assert.deepEqual(lines('vx0'), [`${A} dst 192.0.2.1 self permanent`]);
    assert.equal(fixture.fdb.get('vx0', A, 99).dst, '192.0.2.1');
    on('vx0', 'del', A, undefined, { src_vni: 5 });
    assert.deepEqual(fixture.fdb.show('vx0'), []);
  });

  test('numbers that are no VNI, port or nexthop are refused', () => {
    for (const more of [
      { src_vni: 16777216 },
      { vni: -1 },
      { port: 65536 },
      { nhid: 1.5 },
      { src_vni: Number.NaN },
    ])
      assert.throws(
        () => ex0('add', A, '192.0.2.1', more),
        refusal('USAGE', new RegExp(`${Object.keys(more)[0]} `)),
      );
    assert.throws(() => fixture.fdb.get('ex0', A, 16777216), refusal('USAGE', /vni 16777216/));
    assert.deepEqual(fixture.fdb.show(), []);
  });

  test('the default destination of one VNI', () => {
    ex0('add', A, '192.0.2.1', { src_vni: 5 });
    const entry = fixture.engine.exports.fdbNext(4, 0);
    const { domain } = readKey(fixture.engine.view, entry);
    fixture.fdb.setDefaultRemote(4, undefined, '192.0.2.50', 0, domain);
    assert.deepEqual(lines('ex0'), [
      `${ZERO} dst 192.0.2.50 vni 5 src_vni 5 self permanent`,
      `${A} dst 192.0.2.1 src_vni 5 self permanent`,
    ]);
    fixture.fdb.setDefaultRemote(4, undefined, '192.0.2.60', 0);
    assert.equal(fixture.fdb.flush({ dev: 'ex0', src_vni: 5 }), 2);
    assert.deepEqual(lines('ex0'), [`${ZERO} dst 192.0.2.60 self permanent`]);
  });

  test('an interface that has gone is named by its index', () => {
    on('vx0', 'add', A, '192.0.2.1', { via: 'v9' });
    assert.deepEqual(lines('vx0'), [`${A} dst 192.0.2.1 via if9 self permanent`]);
    assert.equal(fixture.fdb.get('vx0', A).viaIfIndex, 9);
    assert.equal(fixture.fdb.get('vx0', A).viaIf, undefined);
  });

  describe('flush', () => {
    beforeEach(() => {
      const member = { id: 1, weight: 1, family: 2, gateway: '192.0.2.1' } as const;
      fixture.fdb.setNexthops([10, 11].map((id) => ({ id, fdb: true, members: [member] })));
      ex0('add', A, '192.0.2.1');
      ex0('add', A, '192.0.2.2', { src_vni: 5, sticky: true });
      ex0('append', GROUP, '192.0.2.3', { src_vni: 5, vni: 6 });
      ex0('append', GROUP, '0.0.0.0', { src_vni: 5, port: 9 });
      ex0('add', A, '192.0.2.4', { src_vni: 6, vni: 5, router: true });
      fixture.fdb.apply({ op: 'add', dev: 'ex0', mac: B, nhid: 10 });
      fixture.fdb.apply({ op: 'add', dev: 'ex0', mac: B, nhid: 11, src_vni: 6, extern_learn: true });
    });
    const ALL = [
      '6 nhid 11',
      '0 nhid 10',
      '6 192.0.2.4',
      '5 192.0.2.3',
      '5 0.0.0.0',
      '5 192.0.2.2',
      '0 192.0.2.1',
    ];
    const left = () =>
      fixture.fdb.show('ex0').map(({ src_vni = 0, dst, nhid }) => `${src_vni} ${dst ?? `nhid ${nhid}`}`);

    // What goes, measured on the kernel's device; a number that is 0 is no filter.
    const cases: [Omit<FdbFlush, 'dev'>, string[]][] = [
      [{}, ALL],
      [{ src_vni: 5 }, ['5 192.0.2.3', '5 0.0.0.0', '5 192.0.2.2']],
      [{ src_vni: 6 }, ['6 nhid 11', '6 192.0.2.4']],
      [{ src_vni: 7 }, []],
      [{ src_vni: 0 }, ALL],
      [{ vni: 5 }, ['6 192.0.2.4']],
      [{ vni: 6 }, ['5 192.0.2.3']],
      [{ vni: 0, port: 0, nhid: 0 }, ALL],
      [{ port: 9 }, ['5 0.0.0.0']],
      [{ port: 4790 }, ['6 192.0.2.4', '5 192.0.2.3', '5 192.0.2.2', '0 192.0.2.1']],
      [{ dst: '0.0.0.0' }, ['5 0.0.0.0']],
      [{ nhid: 10 }, ['0 nhid 10']],
      [{ nhid: 12 }, []],
      [{ nhid: 10, dst: '192.0.2.1' }, []],
      [{ dst: '192.0.2.1' }, ['0 192.0.2.1']],
      [{ src_vni: 6, router: true }, ['6 192.0.2.4']],
      [{ src_vni: 6, extern_learn: true }, ['6 nhid 11']],
      [{ sticky: false }, ALL.filter((line) => line !== '5 192.0.2.2')],
      [{ offloaded: true }, []],
      [{ offloaded: false }, ALL],
      [{ permanent: true, dynamic: true }, []],
    ];
    for (const [filter, gone] of cases) {
      test(JSON.stringify(filter), () => {
        assert.deepEqual(left(), ALL);
        assert.equal(fixture.fdb.flush({ dev: 'ex0', ...filter }), gone.length);
        assert.deepEqual(
          left(),
          ALL.filter((line) => !gone.includes(line)),
        );
      });
    }

    test('what it can not be asked for', () => {
      const refused: [Omit<FdbFlush, 'dev'> & { dev?: string }, string, RegExp][] = [
        [{ sticky: true }, 'UNSUPPORTED', /: Unsupported fdb flush ndm flag bits set\.;/],
        [{ vni: 16777216 }, 'USAGE', /vni 16777216/],
        [{ src_vni: -1 }, 'USAGE', /src_vni -1/],
        [{ port: 65536 }, 'USAGE', /port 65536/],
        [{ dst: 'x' }, 'USAGE', /"x" is not an IP address/],
        [{ dev: 'nope' }, 'NOT_FOUND', /Cannot find bridge device "nope"/],
      ];
      for (const [filter, code, words] of refused)
        assert.throws(() => fixture.fdb.flush({ dev: 'ex0', ...filter }), refusal(code, words));
      assert.deepEqual(left(), ALL);
    });
  });
});
