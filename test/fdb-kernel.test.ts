/**
 * The FDB beside the kernel's own device: thousands of random commands to both, and after each of them the same
 * refusal, the same entries in the same order, and the same events.
 *
 * Not among the commands is what is deliberately otherwise here, and in tests of its own (test/fdb.test.ts):
 *   - A refused `replace` of a MAC that has an entry changes nothing; the kernel has overwritten state and flags.
 *   - `src_vni` on a device that isn't external is the device's VNI; the kernel makes an entry that nothing finds.
 *   - A remote appended to a group MAC that has a nexthop group is not kept; the kernel keeps it unseen.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { fdbObjects, fdbText } from '../src/cli/fdb-format.ts';
import { VtepError } from '../src/errors.ts';
import type { FdbEntry, FdbRequest } from '../src/types.ts';
import { loadEngine } from './support/engine.ts';
import { flushFilter, type Get, type Operation, operation, wordsOf } from './support/fdb-commands.ts';
import { FdbFixture } from './support/fdb-fixture.ts';
import { FdbKernel, NEXTHOPS, type Outcome } from './support/fdb-kernel.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces } from './support/netns.ts';

const SEQUENCES = 600;
const LENGTH = 30;
const BATCH = 50;
const FLUSHES = 200;
const SEED = 20;

const missing = missingForNamespaces() ?? missingForKernelVxlan();

describe('fdb beside the kernel', { skip: missing ?? false }, () => {
  const bed = new Bed();
  let kernel: FdbKernel;
  let fixture: FdbFixture;

  before(async () => {
    kernel = new FdbKernel(bed);
    fixture = new FdbFixture(await loadEngine('release'));
    await kernel.monitor();
  });
  after(() => bed.close());

  /** JSON as it is printed: keys in their order. */
  const print = (entries: FdbEntry[], oneDevice: boolean): object[] =>
    JSON.parse(JSON.stringify(fdbObjects(entries, { oneDevice, ages: false })));

  function ours(asked: Operation): Outcome {
    try {
      if (asked.op === 'get') {
        const { dev, mac, vni } = asked as Get;
        return { printed: print([fixture.fdb.get(dev, mac, vni)], true) };
      }
      if (asked.op === 'flush') {
        const { op, ...filter } = asked;
        fixture.fdb.flush(filter);
      } else fixture.fdb.apply(asked as never);
      return {};
    } catch (error) {
      if (!(error instanceof VtepError)) throw error;
      return { refused: error.message };
    }
  }

  /** What the kernel is known to do otherwise. */
  function isOtherwise(asked: Operation): boolean {
    if (asked.op !== 'replace' || !('mac' in asked)) return false;
    const { dev, mac, src_vni, nhid } = asked as {
      dev: string;
      mac: string;
      src_vni?: number;
      nhid?: number;
    };
    try {
      const known = fixture.fdb.get(dev, mac, src_vni);
      const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1 || mac === '00:00:00:00:00:00';
      return (
        isGroup ||
        (known.nhid !== undefined && nhid !== undefined && !(dev === 'vx6' ? [20] : [10, 11]).includes(nhid))
      );
    } catch {
      return false;
    }
  }

  test(`${SEQUENCES} random sequences of ${LENGTH} commands`, { timeout: 180_000 }, async () => {
    fixture.fdb.setNexthops(NEXTHOPS);
    const sequences = fc.sample(fc.array(operation, { minLength: LENGTH, maxLength: LENGTH }), {
      numRuns: SEQUENCES,
      seed: SEED,
    });
    const met = new Set<string>();
    for (let first = 0; first < SEQUENCES; first += BATCH) {
      const commands: string[] = [];
      const expected: Outcome[] = [];
      for (const sequence of sequences.slice(first, first + BATCH)) {
        for (const asked of sequence) {
          if (isOtherwise(asked)) continue;
          // In a batch `get` prints entries of the device that was shown last, and no other.
          if (asked.op === 'get') {
            commands.push(`fdb show dev ${asked.dev}`);
            expected.push({ printed: print(fixture.fdb.show(asked.dev), true) });
          }
          commands.push(wordsOf(asked), `fdb show dev ${asked.dev}`);
          expected.push(ours(asked), { printed: print(fixture.fdb.show(asked.dev), true) });
        }
        for (const dev of ['vx0', 'vx1', 'vx6', 'ex0']) {
          commands.push(`fdb flush dev ${dev}`);
          expected.push({});
          fixture.fdb.flush({ dev });
        }
      }
      const outcomes = kernel.run(commands, (command) => /^fdb (show|get)/.test(command));
      for (const [at, { refused, printed }] of outcomes.entries()) {
        const context = `${commands
          .slice(Math.max(0, at - 2 * LENGTH), at + 1)
          .filter((line) => !line.includes('show'))
          .join('\n')}\n`;
        const own = expected[at]!;
        if (refused === undefined) assert.equal(own.refused, undefined, context);
        else assert.ok(own.refused?.includes(refused), `${context}${refused}\n${own.refused}`);
        if (refused !== undefined) met.add(refused);
        assert.deepEqual(own.printed, printed, context);
        assert.equal(JSON.stringify(own.printed), JSON.stringify(printed), context);
      }
      const told = fixture.events.map(({ deleted, entry }) => {
        const line = fdbText([entry], { oneDevice: false, ages: false }).slice(0, -1);
        return deleted ? `Deleted ${line}` : line;
      });
      fixture.events.length = 0;
      assert.deepEqual(told, await kernel.takeEvents());
    }
    // Every refusal that can be brought about has been.
    for (const sentence of [
      'File exists',
      'No such file or directory',
      'Operation not supported',
      'Address family not supported by protocol',
      'No space left on device',
      'Fdb entry not found.',
      'Unsupported fdb flush ndm flag bits set.',
      'Nexthop id does not exist.',
      'Nexthop is not a fdb nexthop.',
      'Nexthop is not a multipath group.',
      'Nexthop group family not supported.',
      'Cannot append to a nexthop fdb.',
      'Cannot replace an existing non nexthop fdb with a nexthop.',
      'DST, VNI, ifindex and port are mutually exclusive with NH_ID.',
    ]) {
      assert.ok(met.has(sentence), `${sentence} has not been met: ${[...met].join(' | ')}`);
    }
  });

  test(`${FLUSHES} tables flushed by every filter there is`, { timeout: 120_000 }, async () => {
    fixture.fdb.setNexthops(NEXTHOPS);
    const tables = fc.sample(fc.array(operation, { minLength: 30, maxLength: 30 }), {
      numRuns: FLUSHES,
      seed: SEED,
    });
    const filters = fc.sample(flushFilter, { numRuns: FLUSHES, seed: SEED });
    let flushed = 0;
    for (const [at, filter] of filters.entries()) {
      const commands: string[] = [];
      for (const asked of tables[at]!.filter(({ op }) => op === 'add' || op === 'append')) {
        // All on the device that is to be flushed.
        const { src_vni, ...rest } = asked as FdbRequest;
        const external = filter.dev === 'ex0' && src_vni !== undefined ? { src_vni } : {};
        const here = { ...rest, ...external, dev: filter.dev };
        commands.push(wordsOf(here));
        ours(here);
      }
      kernel.run(commands, () => false);
      const before = print(fixture.fdb.show(filter.dev), true);
      const done = await kernel.flush(filter);
      const { refused } = ours({ ...filter, op: 'flush' });
      assert.equal(refused === undefined, done, `${JSON.stringify(filter)} ${refused}`);
      const show = ['vx0', 'vx1', 'vx6', 'ex0'].map((dev) => `fdb show dev ${dev}`);
      const left = kernel.run(show, () => true);
      for (const [index, dev] of ['vx0', 'vx1', 'vx6', 'ex0'].entries()) {
        const own = print(fixture.fdb.show(dev), true);
        assert.deepEqual(own, left[index]!.printed, `${JSON.stringify(filter)} of ${JSON.stringify(before)}`);
        if (dev === filter.dev && own.length > 0 && own.length < before.length) flushed++;
        fixture.fdb.flush({ dev });
      }
      kernel.run(
        ['vx0', 'vx1', 'vx6', 'ex0'].map((dev) => `fdb flush dev ${dev}`),
        () => false,
      );
    }
    assert.ok(flushed > FLUSHES / 8, `only ${flushed} filters chose some and left some`);
  });
});
