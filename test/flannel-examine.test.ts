/**
 * From leases to peers: each thing that can be wrong with a lease is told in clear words and leads nowhere, the same
 * leases give the same peers in whatever order, and a plain comparison of all with all finds the same ones.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { examine } from '../src/flannel/examine.ts';
import type { Lease } from '../src/flannel/lease.ts';
import { contains, networkKey, parseIp, parsePrefix } from '../src/flannel/prefix.ts';
import type { ProblemCode } from '../src/flannel/problem.ts';
import { dualLeaseOf, leaseOf, OVERLAYS, OWN_MAC, SELF } from './support/flannel-world.ts';
import { naiveExamine } from './support/naive-examine.ts';

const [V4, V6] = [OVERLAYS[0]!, OVERLAYS[1]!];
const good = leaseOf(7);
const backend = (differences: Partial<NonNullable<Lease['backend']>>) => ({
  ...good.backend!,
  ...differences,
});

describe('a lease', () => {
  const cases: [ProblemCode, Partial<Lease>, RegExp][] = [
    ['backend-type', { backendType: 'host-gw' }, /BackendType "host-gw" is not vxlan/],
    ['malformed', { subnet: '10.0.7.1/24' }, /"10\.0\.7\.1\/24" is not an IPv4 network/],
    ['malformed', { subnet: '10.0.7.0' }, /is not an IPv4 network/],
    ['malformed', { subnet: '10.0.7.0/33' }, /is not an IPv4 network/],
    ['malformed', { subnet: 'fd00:244:7::/64' }, /is not an IPv4 network/],
    ['mac', { backend: backend({ mac: '01:00:5e:00:00:01' }) }, /multicast/],
    ['mac', { backend: backend({ mac: '00:00:00:00:00:00' }) }, /is no address/],
    ['mac', { backend: backend({ mac: '02:00' }) }, /six octets/],
    ['own-mac', { backend: backend({ mac: OWN_MAC.toUpperCase() }) }, /is our own/],
    ['public-ip', { publicIp: '0.0.0.0' }, /is unspecified/],
    ['public-ip', { publicIp: '224.0.0.1' }, /no address of a host/],
    ['public-ip', { publicIp: '255.255.255.255' }, /no address of a host/],
    ['public-ip', { publicIp: '127.0.0.1' }, /loopback/],
    ['public-ip', { publicIp: '172.16.0.256' }, /not an IP address/],
    ['public-ip', { publicIp: 'fd00:1::7' }, /not of IPv4/],
    ['own-public-ip', { publicIp: SELF.publicIps[0]! }, /is our own/],
    ['outside-network', { subnet: '192.168.7.0/24' }, /not in the network/],
    ['outside-network', { subnet: '0.0.0.0/0' }, /not in the network/],
    ['own-subnet', { subnet: '10.0.0.0/25' }, /overlaps with our own/],
    ['own-subnet', { subnet: '10.0.0.0/16' }, /overlaps with our own/],
    ['public-ip-inside', { publicIp: '10.0.0.9' }, /lies in our own subnet/],
    ['public-ip-inside', { publicIp: '10.0.7.9' }, /lies in 10\.0\.7\.0\/24 of member 7/],
  ];
  for (const [code, differences, words] of cases) {
    it(`is left out and told of: ${code} ${JSON.stringify(differences)}`, () => {
      const other = leaseOf(8);
      const { peers, problems } = examine([leaseOf(7, differences), other], [V4], SELF);
      assert.deepEqual(
        peers.map(({ lease }) => lease),
        [other],
      );
      assert.equal(problems.length, 1);
      assert.deepEqual([problems[0]!.code, problems[0]!.skipped], [code, ['member 7']]);
      assert.match(problems[0]!.text, words);
      assert.match(problems[0]!.text, /^lease member 7: .*: left out$/);
    });
  }

  it('without address or MAC is incomplete; without a subnet of the family it is none of it', () => {
    const { publicIp: _ip, ...nowhere } = good;
    const { backend: _mac, ...nobody } = leaseOf(8);
    const { subnet: _subnet, ...other } = leaseOf(9);
    const { peers, problems } = examine([nowhere, nobody, other], [V4], SELF);
    assert.deepEqual([peers, problems.map(({ code }) => code)], [[], ['incomplete', 'incomplete']]);
  });

  it('that holds our public address in its subnet', () => {
    const { problems, peers } = examine([good], [V4], { ...SELF, publicIps: ['10.0.7.200'] });
    assert.deepEqual([peers, problems.map(({ code }) => code)], [[], ['own-address']]);
  });

  it('that disagrees in VNI, port or MTU is programmed and told of', () => {
    const odd = leaseOf(7, { backend: backend({ vni: 2, port: 4789, mtu: 1400 }) });
    const { peers, problems } = examine([odd], [V4], SELF);
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['vni', 'mtu', 'port'],
    );
    assert.deepEqual(
      problems.map(({ skipped }) => skipped),
      [[], [], []],
    );
    assert.equal(peers[0]!.port, 4789);
    const same = leaseOf(7, { backend: backend({ port: V4.port, mtu: V4.mtu }) });
    const fine = examine([same], [V4], SELF);
    assert.deepEqual([fine.problems, fine.peers[0]!.port], [[], undefined]);
  });

  it('is looked at anew when we have changed', () => {
    assert.equal(examine([good], [V4], SELF).peers.length, 1);
    assert.equal(examine([good], [V4], { ...SELF, subnets: ['10.0.7.0/24'] }).peers.length, 0);
    assert.equal(examine([good], [{ ...V4, vni: 5 }], SELF).problems[0]!.code, 'vni');
  });

  it('of both families has each looked at on its own', () => {
    const half = dualLeaseOf(7, { publicIpV6: '::' });
    const { peers, problems } = examine([half, dualLeaseOf(8)], [V4, V6], SELF);
    assert.deepEqual(
      peers.map(({ version, subnet }) => [version, subnet]),
      [
        [4, '10.0.7.0/24'],
        [4, '10.0.8.0/24'],
        [6, 'fd00:244:8:1::/64'],
      ],
    );
    assert.deepEqual(
      problems.map(({ code, family }) => [code, family]),
      [['public-ip', 6]],
    );
  });
});

describe('leases among each other', () => {
  const look = (...leases: Lease[]) => {
    const forth = examine(leases, [V4], SELF);
    const back = examine([...leases].reverse(), [V4], SELF);
    const keys = (peers: typeof forth.peers) => peers.map(({ lease }) => lease.key).sort();
    assert.deepEqual(keys(forth.peers), keys(back.peers));
    assert.deepEqual(forth.problems, back.problems);
    return { kept: keys(forth.peers), problems: forth.problems };
  };

  it('with one public address: the lowest key has it, all are told of', () => {
    const { kept, problems } = look(...[1, 2, 3].map((n) => leaseOf(n, { publicIp: '172.16.9.9' })));
    assert.deepEqual(kept, ['member 1']);
    assert.deepEqual(problems, [
      {
        code: 'duplicate-public-ip',
        family: 4,
        keys: ['member 1', 'member 2', 'member 3'],
        skipped: ['member 2', 'member 3'],
        text: 'public address 172.16.9.9 is claimed by member 1, member 2, member 3: member 1 has it, the others are left out',
      },
    ]);
  });

  it('with one public address and two ports: both', () => {
    const nat = leaseOf(2, {
      publicIp: leaseOf(1).publicIp!,
      backend: { ...leaseOf(2).backend!, port: 9999 },
    });
    assert.deepEqual(look(leaseOf(1), nat).kept, ['member 1', 'member 2']);
  });

  it('with one MAC', () => {
    const { kept, problems } = look(leaseOf(1), leaseOf(2, { backend: leaseOf(1).backend! }));
    assert.deepEqual([kept, problems[0]!.code], [['member 1'], 'duplicate-mac']);
  });

  it('with overlapping subnets: one that contains another is left out, of equal ones the lowest key stays', () => {
    const wide = leaseOf(200, { key: 'a wide one', subnet: '10.0.0.0/9' });
    const within = examine([wide], [V4], { ...SELF, subnets: [] });
    assert.equal(within.peers.length, 1);
    const outer = leaseOf(5, { subnet: '10.0.4.0/23' });
    const { kept, problems } = look(leaseOf(4), outer, leaseOf(6, { subnet: '10.0.4.0/24' }));
    assert.deepEqual(kept, ['member 4']);
    assert.deepEqual(
      problems.map(({ code, skipped }) => [code, skipped]),
      [
        ['overlap', ['member 6']],
        ['overlap', ['member 5']],
      ],
    );
    assert.equal(problems[1]!.text, 'lease member 5: 10.0.4.0/23 contains 10.0.4.0/24 of member 4: left out');
  });

  it('of random kinds are the same ones as by comparing all with all', () => {
    const lease = (family: 4 | 6) =>
      fc
        .record({
          subnet: fc.tuple(fc.nat(20), fc.constantFrom(22, 23, 24, 24, 24, 25, 28)),
          ip: fc.tuple(
            fc.constantFrom('172.16', '10.0', '172.31', '127.0', '239.0', '240.0'),
            fc.nat(3),
            fc.nat(12),
          ),
          mac: fc.nat(12),
          port: fc.constantFrom(undefined, undefined, 8472, 4789),
          type: fc.constantFrom('vxlan', 'vxlan', 'vxlan', 'vxlan', 'udp'),
        })
        .map(({ subnet: [block, length], ip: [start, third, last], mac, port, type }): Omit<Lease, 'key'> => {
          const step = 2 ** (24 - Math.min(24, length));
          const third4 = block - (block % step);
          const data = {
            vni: 1,
            mac: mac === 0 ? '00:00:00:00:00:00' : `0${mac === 1 ? 1 : 2}:00:00:00:00:0${mac.toString(16)}`,
            ...(port !== undefined && { port }),
          };
          return family === 4
            ? {
                backendType: type,
                subnet: `10.0.${third4}.0/${length}`,
                publicIp: `${start}.${third}.${last}`,
                backend: data,
              }
            : {
                backendType: type,
                subnetV6: `fd00:244:${(third4 * 256).toString(16)}::/${length + 16}`,
                publicIpV6:
                  start === '10.0'
                    ? `fd00:244:${(third * 256).toString(16)}::${last + 1}`
                    : `fd00:1::${last}`,
                backendV6: data,
              };
        });
    let conflicts = 0;
    for (const [family, overlay] of [
      [4, V4],
      [6, V6],
    ] as const) {
      fc.assert(
        fc.property(fc.array(lease(family), { maxLength: 14 }), (drawn) => {
          const leases = drawn.map((one, index) => ({ ...one, key: `m${index}` }));
          const { peers, problems } = examine(leases, [overlay], SELF);
          assert.deepEqual(peers.map((peer) => peer.lease.key).sort(), naiveExamine(leases, overlay, SELF));
          const told = new Set(problems.flatMap(({ skipped }) => skipped));
          assert.equal(told.size + peers.length, leases.length, 'each is a peer or told of');
          if (peers.length < leases.length && peers.length > 1) ++conflicts;
        }),
        { numRuns: 2000 },
      );
    }
    assert.ok(conflicts > 500, `${conflicts}`);
  });
});

describe('prefixes', () => {
  it('are read as numbers would be', () => {
    for (const text of ['10.0.0.0/24', '0.0.0.0/0', '10.1.2.3/32', 'fd00::/8', '::/0', 'fd00:1:2:3::/64'])
      assert.ok(parsePrefix(text) !== undefined, text);
    for (const text of [
      '10.0.0.1/24',
      '010.0.0.0/33',
      '10.0.0.0',
      '10.0/16',
      '10.0.0.0/x',
      'fd00::1/64',
      '1/2',
      '',
      '/',
      'fe80::%eth0/64',
    ])
      assert.equal(parsePrefix(text), undefined, text);
    for (const text of ['0x7f000001', '127.1', '010.0.0.1', '1.2.3', '1.2.3.4.5', '::%1', 'nobody'])
      assert.equal(parseIp(text), undefined, text);
  });

  it('contain what begins as they do, bit by bit', () => {
    const bits = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.nat(32),
        fc.boolean(),
        (one, random, length, near) => {
          const other = near ? one.map((byte, at) => byte ^ (at === 3 ? random[3]! & 3 : 0)) : random;
          const same = bits(one).slice(0, length) === bits(other).slice(0, length);
          assert.equal(contains({ bytes: one, length }, other), same);
          assert.equal(networkKey(one, length) === networkKey(other, length), same);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
