/** When a worker sleeps and when it looks again: dense traffic must not pay for wake-ups, thin traffic not for looks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DENSE_MILLISECONDS, LOOKS_MAX, Waiting } from '../src/vtep/waiting.ts';

/** A worker that sleeps for `milliseconds`, then finds something. */
function sleepAndFind(waiting: Waiting, clock: { now: number }, milliseconds: number): void {
  assert.equal(waiting.next(), true, 'sleeps');
  clock.now += milliseconds;
  assert.equal(waiting.ended(true), true, 'what was found is served at once');
}

function setUp() {
  const clock = { now: 1 };
  return { clock, waiting: new Waiting(() => clock.now) };
}

test('sleeps at first, and again after a long sleep: thin traffic costs no looks', () => {
  const { clock, waiting } = setUp();
  for (let packet = 0; packet < 5; ++packet) sleepAndFind(waiting, clock, DENSE_MILLISECONDS);
  assert.equal(waiting.next(), true);
});

test('after a short sleep it looks a bounded number of times, offering the core, and then sleeps', () => {
  const { clock, waiting } = setUp();
  sleepAndFind(waiting, clock, 0.1);
  let offers = 0;
  for (let look = 0; look < LOOKS_MAX; ++look) {
    assert.equal(waiting.next(), false, `look ${look}`);
    if (!waiting.ended(false)) ++offers;
  }
  assert.equal(offers, LOOKS_MAX - 1, 'no offer before the sleep, which gives the core away anyway');
  assert.equal(waiting.next(), true);
});

test('a look that finds something begins the count anew', () => {
  const { clock, waiting } = setUp();
  sleepAndFind(waiting, clock, 0.1);
  for (let look = 0; look < LOOKS_MAX - 1; ++look) {
    waiting.next();
    waiting.ended(false);
  }
  assert.equal(waiting.next(), false);
  waiting.ended(true);
  for (let look = 0; look < LOOKS_MAX; ++look) {
    assert.equal(waiting.next(), false, `look ${look}`);
    waiting.ended(false);
  }
  assert.equal(waiting.next(), true);
});

test('a long sleep ends the looking', () => {
  const { clock, waiting } = setUp();
  sleepAndFind(waiting, clock, 0.1);
  for (let look = 0; look < LOOKS_MAX; ++look) {
    waiting.next();
    waiting.ended(false);
  }
  sleepAndFind(waiting, clock, 50);
  assert.equal(waiting.next(), true);
});
