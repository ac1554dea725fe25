/** The bench of growth, where it reckons: what a curve looks like, medians, and that parsers for many texts read as the library does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { inTurns } from '../bench/growth/measure.ts';
import { fit, type Point, shapeOf } from '../bench/growth/shape.ts';
import { median } from '../bench/samples.ts';
import { formatMac, parseAddress, parseMac } from '../src/dataplane/fdb-text.ts';

const curve = (of: (x: number) => number): Point[] => [1, 10, 100, 1000].map((x) => [x, of(x)]);

test('a curve is flat, linear, logarithmic or none of them', () => {
  assert.equal(
    shapeOf(
      curve(() => 50),
      'entry',
    ),
    'flat, 50.0 to 50.0 ns',
  );
  assert.match(
    shapeOf(
      curve((x) => 15 + 45.4 * x),
      'remote',
    ),
    /^linear, 15\.0 ns and 45\.4 ns per remote \(R² 1\.000\)$/,
  );
  assert.match(
    shapeOf(
      curve((x) => 20 + 8 * Math.log10(x)),
      'entry',
    ),
    /^logarithmic at most, 20\.0 ns at first and 8 ns more/,
  );
  assert.match(
    shapeOf(
      [
        [1, 10],
        [10, 90],
        [100, 10],
        [1000, 90],
      ],
      'flow',
    ),
    /^of no clear shape, 10\.0 to 90\.0 ns$/,
  );
  assert.deepEqual(
    fit([
      [0, 1],
      [1, 3],
      [2, 5],
    ]),
    { slope: 2, intercept: 1, explained: 1 },
  );
});

test('medians, and what is prepared is taken off', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  let runs = 0;
  let prepared = 0;
  let least = Number.POSITIVE_INFINITY;
  const spin = (microseconds: number) => {
    const until = performance.now() + microseconds / 1000;
    while (performance.now() < until);
  };
  const burst = {
    ops: 2,
    prepare: () => {
      prepared++;
      spin(200);
    },
    run: () => {
      runs++;
    },
  };
  // What holds the machine up makes many of them longer; without the deduction none could be as short.
  for (let turns = 0; turns < 50 && least >= 100_000; turns++) {
    const { one } = inTurns({ one: burst }, 15);
    assert.equal(one.length, 15);
    least = Math.min(...one);
  }
  assert.ok(runs > 0 && prepared > runs);
  assert.ok(least < 100_000, `${least} ns of 100,000 that were prepared`);
});

test('MACs and IPv4 addresses are read as a pattern and the library read them', () => {
  const part = fc.oneof(
    fc.nat({ max: 300 }).map(String),
    fc.constantFrom('', '00', '01', ' 1', '0x1', '-1', '256', '1e2'),
  );
  const address = fc.oneof(
    fc.ipV4(),
    fc.array(part, { minLength: 3, maxLength: 5 }).map((parts) => parts.join('.')),
    fc.string({ maxLength: 12 }),
  );
  fc.assert(
    fc.property(address, (text) => {
      const found = parseAddress(text);
      assert.equal(found?.family === 2, ipaddr.IPv4.isValidFourPartDecimal(text), text);
      if (found?.family === 2)
        assert.deepEqual([...found.bytes.subarray(0, 4)], ipaddr.IPv4.parse(text).toByteArray());
    }),
    { numRuns: 5000 },
  );
  const digit = fc.constantFrom(...'0123456789abcdefABCDEFgG:-. /`@'.split(''));
  const mac = fc.oneof(
    fc
      .array(fc.nat({ max: 255 }), { minLength: 6, maxLength: 6 })
      .map((bytes) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')),
    fc
      .array(
        fc.tuple(digit, digit).map((two) => two.join('')),
        { minLength: 6, maxLength: 6 },
      )
      .map((bytes) => bytes.join(':')),
    fc.array(digit, { minLength: 16, maxLength: 18 }).map((all) => all.join('')),
  );
  fc.assert(
    fc.property(mac, (text) => {
      const found = parseMac(text);
      assert.equal(found !== undefined, /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text), text);
      if (found) assert.equal(formatMac(found), text.toLowerCase());
    }),
    { numRuns: 5000 },
  );
});
