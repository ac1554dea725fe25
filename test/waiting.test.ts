/** When a worker sleeps and when it looks again: answers are met awake, thin traffic must not pay for looks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROBE_EVERY, SPIN_MICROSECONDS, VAIN_MAX, Waiting } from '../src/vtep/waiting.ts';

const MILLISECONDS = SPIN_MICROSECONDS / 1000;

function setUp(spin = SPIN_MICROSECONDS) {
  const clock = { now: 1 };
  return { clock, waiting: new Waiting(spin, () => clock.now) };
}

/** A wait that finds something, and its work. Returns whether it was a sleep. */
function find(waiting: Waiting, kind: 'encap' | 'decap' = 'encap'): boolean {
  const slept = waiting.next();
  assert.equal(waiting.ended(true), false, 'what was found is served at once');
  waiting.worked(kind);
  return slept;
}

/** Looks until it sleeps, a microsecond a look. Returns how often the core was offered. */
function lookInVain({ waiting, clock }: ReturnType<typeof setUp>): number {
  for (let offers = 0; ; ++offers) {
    if (waiting.next()) return offers;
    clock.now += 0.001;
    if (!waiting.ended(false)) {
      assert.equal(waiting.next(), true, 'no offer before the sleep, which gives the core away anyway');
      return offers;
    }
  }
}

test('sleeps at first; after work it looks as long as it is told to, offering the core, and then sleeps', () => {
  const state = setUp();
  assert.equal(find(state.waiting), true);
  const offers = lookInVain(state);
  assert.ok(Math.abs(offers - SPIN_MICROSECONDS) <= 2, `${offers} looks of 1 us`);
});

test('a look that finds something begins the time anew', () => {
  const state = setUp();
  find(state.waiting);
  for (let packet = 0; packet < 50; ++packet) {
    state.clock.now += MILLISECONDS * 0.9;
    assert.equal(find(state.waiting), false, 'awake');
  }
  assert.ok(lookInVain(state) > 0);
});

test('looks that are never rewarded are left out, but for one now and then', () => {
  const state = setUp();
  const looked: boolean[] = [];
  for (let packet = 0; packet < VAIN_MAX + 3 * PROBE_EVERY; ++packet) {
    find(state.waiting);
    looked.push(lookInVain(state) > 0);
    state.clock.now += 10;
  }
  assert.ok(
    looked.slice(0, VAIN_MAX).every((one) => one),
    'at first it looks each time',
  );
  const later = looked.slice(VAIN_MAX).filter((one) => one).length;
  assert.ok(later >= 2 && later <= 4, `${later} of ${3 * PROBE_EVERY}`);
});

test('one reward and it looks again', () => {
  const state = setUp();
  let packets = 0;
  for (; packets < 2 * VAIN_MAX; ++packets) {
    find(state.waiting);
    lookInVain(state);
  }
  // The next probe is rewarded.
  do {
    find(state.waiting);
  } while (state.waiting.next() && ++packets < 3 * PROBE_EVERY);
  assert.equal(find(state.waiting), false);
  lookInVain(state);
  assert.equal(find(state.waiting), true);
  assert.ok(lookInVain(state) > 0);
});

test('an echo every two milliseconds: looks for the answer, and for nothing after it', () => {
  const state = setUp();
  let vain = 0;
  for (let echo = 0; echo < 100; ++echo) {
    assert.equal(find(state.waiting, 'encap'), true, 'the request wakes it');
    state.clock.now += MILLISECONDS / 2;
    assert.equal(find(state.waiting, 'decap'), false, 'the answer does not have to');
    if (lookInVain(state) > 0) ++vain;
    state.clock.now += 2;
  }
  assert.ok(vain >= VAIN_MAX && vain <= VAIN_MAX + 100 / PROBE_EVERY + 1, `${vain} looks after answers`);
});

test('answers that come too late for looking are waited for asleep, whatever the other direction does', () => {
  const state = setUp();
  let vain = 0;
  for (let echo = 0; echo < 100; ++echo) {
    find(state.waiting, 'encap');
    if (lookInVain(state) > 0) ++vain;
    state.clock.now += 5;
    assert.equal(find(state.waiting, 'decap'), true);
    // The rest of a burst rewards looks in this direction.
    state.clock.now += MILLISECONDS / 2;
    assert.equal(find(state.waiting, 'decap'), false);
    lookInVain(state);
  }
  assert.ok(vain <= VAIN_MAX + 100 / PROBE_EVERY + 1, `${vain} looks after requests`);
});

test('0 microseconds: it never looks', () => {
  const state = setUp(0);
  for (let packet = 0; packet < 10; ++packet) {
    find(state.waiting);
    assert.equal(state.waiting.next(), true);
  }
});
