/**
 * What the FDB tells of its changes: each one once, in the kernel's order, after it has been made.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { AF_INET } from '../assembly/layout.ts';
import { fdbText } from '../src/cli/fdb-format.ts';
import { parseAddress, parseMac } from '../src/dataplane/fdb-text.ts';
import { loadEngine } from './support/engine.ts';
import { A, B, FdbFixture, GROUP, ZERO } from './support/fdb-fixture.ts';

describe('fdb events', () => {
  let fixture: FdbFixture;
  before(async () => {
    fixture = new FdbFixture(await loadEngine('release'));
  });
  beforeEach(() => fixture.reset());

  /** What was told since the last call, as `bridge monitor` prints it, with the reason of a removal. */
  const told = () => {
    const lines = fixture.events.map(({ deleted, entry, reason }) => {
      const line = fdbText([entry], { oneDevice: true, ages: false }).trim();
      return `${deleted ? `Deleted (${reason}) ` : ''}${line}`;
    });
    fixture.events.length = 0;
    return lines;
  };

  test('creation, each effective change, and nothing for what changes nothing', () => {
    fixture.apply('add', A, '192.0.2.2');
    assert.deepEqual(told(), [`${A} dst 192.0.2.2 self permanent`]);
    fixture.apply('replace', A, '192.0.2.2');
    fixture.apply('append', A, '192.0.2.9');
    fixture.apply('replace', A, '192.0.2.2', { use: true });
    assert.deepEqual(told(), []);
    fixture.apply('replace', A, '192.0.2.3', { port: 5 });
    fixture.apply('replace', A, '192.0.2.3', { port: 5, state: 'static' });
    fixture.apply('append', A, '192.0.2.9', { router: true, master: true });
    assert.deepEqual(told(), [
      `${A} dst 192.0.2.3 port 5 self permanent`,
      `${A} dst 192.0.2.3 port 5 self static`,
      `${A} dst 192.0.2.3 port 5 self router master permanent`,
    ]);
  });

  test('an appended remote is the one that is told of; a change of state tells of the first', () => {
    for (const dst of ['192.0.2.1', '192.0.2.2', '192.0.2.2']) fixture.apply('append', GROUP, dst);
    fixture.apply('append', GROUP, '192.0.2.2', { state: 'dynamic' });
    assert.deepEqual(told(), [
      `${GROUP} dst 192.0.2.1 self permanent`,
      `${GROUP} dst 192.0.2.2 self permanent`,
      `${GROUP} dst 192.0.2.1 self`,
    ]);
  });

  test('one removal for each remote that goes', () => {
    for (const dst of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) fixture.apply('append', GROUP, dst);
    told();
    fixture.apply('del', GROUP, '192.0.2.9');
    assert.deepEqual(told(), []);
    fixture.apply('del', GROUP, '192.0.2.2');
    assert.deepEqual(told(), [`Deleted (command) ${GROUP} dst 192.0.2.2 self permanent`]);
    fixture.apply('del', GROUP);
    assert.deepEqual(told(), [
      `Deleted (command) ${GROUP} dst 192.0.2.1 self permanent`,
      `Deleted (command) ${GROUP} dst 192.0.2.3 self permanent`,
    ]);
  });

  test('what ages out is told as stale', () => {
    fixture.apply('append', GROUP, '192.0.2.1', { state: 'dynamic' });
    fixture.apply('append', GROUP, '192.0.2.2', { state: 'dynamic' });
    told();
    fixture.now += 300;
    fixture.fdb.age(1);
    assert.deepEqual(told(), [
      `Deleted (aged) ${GROUP} dst 192.0.2.1 self stale`,
      `Deleted (aged) ${GROUP} dst 192.0.2.2 self stale`,
    ]);
  });

  test('a flush tells of the newest entry first, and only of what went', () => {
    fixture.apply('append', ZERO, '192.0.2.1');
    fixture.apply('append', ZERO, '192.0.2.2', { port: 7 });
    fixture.apply('add', A, '192.0.2.3', { port: 7 });
    fixture.apply('add', B, '192.0.2.3', { state: 'dynamic' });
    told();
    fixture.fdb.flush({ dev: 'vx0', port: 7 });
    assert.deepEqual(told(), [
      `Deleted (flushed) ${A} dst 192.0.2.3 port 7 self permanent`,
      `Deleted (flushed) ${ZERO} dst 192.0.2.2 port 7 self permanent`,
    ]);
    fixture.fdb.flushDown(1);
    assert.deepEqual(told(), [`Deleted (device) ${B} dst 192.0.2.3 self`]);
    fixture.fdb.flushDevice(1);
    assert.deepEqual(told(), [`Deleted (device) ${ZERO} dst 192.0.2.1 self permanent`]);
    fixture.fdb.flushDevice(1);
    assert.deepEqual(told(), []);
  });

  test('a default destination that moves: the new one, then the old one', () => {
    fixture.fdb.setDefaultRemote(1, undefined, '192.0.2.50', 0);
    fixture.fdb.setDefaultRemote(1, '192.0.2.50', '192.0.2.51', 0);
    fixture.fdb.setDefaultRemote(1, '192.0.2.51', '192.0.2.51', 0);
    fixture.fdb.setDefaultRemote(1, '192.0.2.51', undefined, 0);
    assert.deepEqual(told(), [
      `${ZERO} dst 192.0.2.50 self permanent`,
      `${ZERO} dst 192.0.2.51 self permanent`,
      `Deleted (command) ${ZERO} dst 192.0.2.50 self permanent`,
      `Deleted (command) ${ZERO} dst 192.0.2.51 self permanent`,
    ]);
  });

  test('a refusal is not told of', () => {
    fixture.apply('append', GROUP, '192.0.2.1');
    told();
    for (const op of ['add', 'replace'] as const)
      assert.throws(() => fixture.apply(op, GROUP, '192.0.2.2', { state: 'static' }));
    assert.throws(() => fixture.apply('del', A));
    assert.deepEqual(told(), []);
  });

  test('whoever hears of a change may ask the FDB about it', () => {
    const seen: number[] = [];
    const push = fixture.events.push.bind(fixture.events);
    fixture.events.push = (...events) => {
      seen.push(fixture.fdb.show('vx0').length);
      return push(...events);
    };
    try {
      fixture.apply('add', A, '192.0.2.2');
      fixture.fdb.flush({ dev: 'vx0' });
    } finally {
      fixture.events.push = push;
    }
    assert.deepEqual(seen, [1, 0]);
  });

  describe('what a worker has learned', () => {
    const describeLearned = (domain: number, mac: string, sender: string, ifindex = 0) => {
      const entry = fixture.fdb.describeLearned(domain, parseMac(mac)!, parseAddress(sender)!, ifindex);
      return fdbText([entry], { oneDevice: false, ages: true }).trim();
    };

    test('is the entry as it is', () => {
      fixture.learn('vx0', A, '192.0.2.2');
      assert.equal(describeLearned(1, A, '192.0.2.2'), `${A} dev vx0 dst 192.0.2.2 used 0/0 self`);
      fixture.apply('replace', A, '192.0.2.3', { port: 5, via: 'v3', state: 'dynamic', extern_learn: true });
      fixture.learn('vx0', A, '192.0.2.4');
      fixture.now += 3;
      assert.equal(
        describeLearned(1, A, '192.0.2.4'),
        `${A} dev vx0 dst 192.0.2.4 port 5 via v3 used 3/3 self extern_learn`,
      );
    });

    test('is told with the sender that was heard, also when the entry has moved on or gone', () => {
      fixture.learn('vx0', A, '192.0.2.2');
      fixture.learn('vx0', A, '192.0.2.3');
      assert.equal(describeLearned(1, A, '192.0.2.2'), `${A} dev vx0 dst 192.0.2.2 used 0/0 self`);
      fixture.fdb.flush({ dev: 'vx0' });
      assert.equal(describeLearned(1, A, '192.0.2.3'), `${A} dev vx0 dst 192.0.2.3 used 0/0 self`);
      assert.equal(describeLearned(3, A, 'fe80::1', 4), `${A} dev vx6 dst fe80::1 via v4 used 0/0 self`);
    });

    test('is a group when the MAC has one by now', () => {
      const member = { id: 1, weight: 1, family: AF_INET, gateway: '192.0.2.1' } as const;
      fixture.fdb.setNexthops([{ id: 10, fdb: true, members: [member] }]);
      fixture.fdb.apply({ op: 'add', dev: 'vx0', mac: A, nhid: 10 });
      assert.equal(describeLearned(1, A, '192.0.2.3'), `${A} dev vx0 nhid 10 used 0/0 self permanent`);
    });
  });
});
