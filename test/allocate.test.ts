/** Which subnet a member takes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { chooseSubnets, fits, freeSubnets } from '../src/flannel/allocate.ts';
import { parseNetConfig } from '../src/flannel/net-config.ts';
import { formatAddress, formatNetwork, networkOf, parseNetwork } from '../src/flannel/subnets.ts';
import { naiveFree } from './support/naive-allocate.ts';

const config = (json: object) =>
  parseNetConfig(JSON.stringify({ Backend: { Type: 'vxlan' }, ...json }), { where: 'test' });
const v4 = config({ Network: '10.244.0.0/16' });
const both = config({ Network: '10.244.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:1::/48' });

describe('subnets that a member may have', () => {
  it('are of the right size and in range', () => {
    assert.ok(fits(v4, { subnet: '10.244.1.0/24' }) && fits(v4, { subnet: '10.244.255.0/24' }));
    for (const subnet of ['10.244.0.0/24', '10.245.1.0/24', '10.244.1.0/25', '10.244.2.0/23'])
      assert.ok(!fits(v4, { subnet }), subnet);
    assert.ok(!fits(v4, {}));
  });

  it('are of all families that are enabled, and of no other', () => {
    const subnet = '10.244.1.0/24';
    assert.ok(fits(both, { subnet, subnetV6: 'fd00:1:0:1::/64' }));
    assert.ok(!fits(both, { subnet }) && !fits(both, { subnet, subnetV6: 'fd00:2:0:1::/64' }));
    assert.ok(!fits(v4, { subnet, subnetV6: 'fd00:1:0:1::/64' }));
  });
});

describe('the choice of subnets', () => {
  it('is the one from before while it is free and fits', () => {
    const previous = { subnet: '10.244.9.0/24' };
    assert.deepEqual(chooseSubnets(v4, [], previous), previous);
    assert.notDeepEqual(chooseSubnets(v4, [previous], previous), previous);
    assert.notDeepEqual(chooseSubnets(v4, [{ subnet: '10.244.8.0/23' }], previous), previous);
    assert.notDeepEqual(chooseSubnets(both, [], previous)?.subnetV6, undefined);
  });

  it('is one of the first hundred, each about as often as the others', () => {
    const seen = new Map<string, number>();
    for (let n = 0; n < 5000; n++) {
      const { subnet } = chooseSubnets(v4, [], {})!;
      seen.set(subnet!, (seen.get(subnet!) ?? 0) + 1);
    }
    assert.equal(seen.size, 100);
    assert.ok(seen.has('10.244.1.0/24') && seen.has('10.244.100.0/24'));
    for (const [subnet, count] of seen) assert.ok(count > 15 && count < 110, `${subnet}: ${count} times`);
  });

  it('is none when a family has none left', () => {
    const small = config({ Network: '10.1.0.0/22', EnableIPv6: true, IPv6Network: 'fd00::/62' });
    const taken = ['10.1.1.0/24', '10.1.2.0/24', '10.1.3.0/24'].map((subnet) => ({ subnet }));
    assert.equal(chooseSubnets(small, taken, {}), undefined);
    assert.equal(chooseSubnets(small, [{ subnetV6: 'fd00::/61' }], {}), undefined);
    assert.equal(chooseSubnets(small, taken.slice(1), {})?.subnet, '10.1.1.0/24');
  });

  it('ends where something large is taken in a very large network', () => {
    const large = config({ Network: '10.0.0.0/8', EnableIPv6: true, IPv6Network: 'fd00::/16' });
    const from = performance.now();
    const chosen = chooseSubnets(large, [{ subnetV6: 'fd00::/17' }], {}, () => 0);
    assert.equal(chosen?.subnetV6, 'fd00:8000::/64');
    assert.ok(performance.now() - from < 5000);
  });
});

describe('free subnets', () => {
  it('are those that flannel finds', () => {
    const taken = (lengths: [number, number], network: string) =>
      fc.array(
        fc
          .tuple(fc.integer({ min: lengths[0], max: lengths[1] }), fc.integer({ min: 0, max: 2 ** 20 }))
          .map(([length, offset]) => {
            const outer = parseNetwork(network)!;
            const bits = BigInt(length - outer.length);
            const step = 1n << BigInt((outer.family === 4 ? 32 : 128) - length);
            const value = outer.value + (BigInt(offset) % (1n << bits)) * step;
            return formatNetwork(networkOf({ family: outer.family, value }, length));
          }),
        { maxLength: 200 },
      );
    fc.assert(
      fc.property(
        taken([20, 28], '10.244.0.0/16'),
        fc.integer({ min: 18, max: 27 }),
        (subnets, SubnetLen) => {
          const network = config({ Network: '10.244.0.0/16', SubnetLen });
          const leases = subnets.map((subnet) => ({ subnet }));
          assert.deepEqual(freeSubnets(network, leases, 4).map(formatNetwork), naiveFree(network, leases, 4));
        },
      ),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(taken([52, 66], 'fd00:1::/48'), (subnets) => {
        const leases = subnets.map((subnetV6) => ({ subnetV6 }));
        assert.deepEqual(freeSubnets(both, leases, 6).map(formatNetwork), naiveFree(both, leases, 6));
      }),
      { numRuns: 100 },
    );
  });

  it('are found at once among thousands of leases', () => {
    const large = config({ Network: '10.0.0.0/8' });
    const leases = Array.from({ length: 5000 }, (_, n) => ({
      subnet: `${formatAddress({ family: 4, value: (10n << 24n) + BigInt(n + 1) * 256n })}/24`,
    }));
    const from = performance.now();
    assert.equal(chooseSubnets(large, leases, {}, () => 0)?.subnet, '10.19.137.0/24');
    assert.ok(performance.now() - from < 5000);
  });
});
