/** What stands on a Node object: names of the annotations, leases read from them, and what we write there. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { VtepError } from '../src/errors.ts';
import { annotationNames, type KubeNode, readNode, subnetsOf } from '../src/flannel/kube-annotations.ts';
import { annotationPatch, readStored } from '../src/flannel/kube-published.ts';
import type { NetConfig } from '../src/flannel/lease.ts';
import { parseNetConfig } from '../src/flannel/net-config.ts';

const F = 'flannel.alpha.coreos.com/';
const NAMES = annotationNames('flannel.alpha.coreos.com');
const config = (text: string): NetConfig =>
  parseNetConfig(`{${text},"Backend":{"Type":"vxlan","VNI":7}}`, { where: 'test', allocates: false });
const V4 = config('"Network":"10.244.0.0/16"');
const DUAL = config('"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/48"');
const V6 = config('"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10:244::/48"');

const V4_ANNOTATIONS = {
  [`${F}kube-subnet-manager`]: 'true',
  [`${F}backend-type`]: 'vxlan',
  [`${F}backend-data`]: '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}',
  [`${F}public-ip`]: '192.168.0.2',
};
const V6_ANNOTATIONS = {
  [`${F}backend-v6-data`]: '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e4"}',
  [`${F}public-ipv6`]: '2001:DB8:0::2',
};
const LEASE_V4 = {
  key: 'n',
  backendType: 'vxlan',
  subnet: '10.244.2.0/24',
  publicIp: '192.168.0.2',
  backend: { vni: 1, mac: '12:c6:65:89:b4:e3' },
};
const LEASE_V6 = {
  subnetV6: 'fd00:10:244:2::/64',
  publicIpV6: '2001:db8::2',
  backendV6: { vni: 1, mac: '12:c6:65:89:b4:e4' },
};
const CIDRS = ['10.244.2.0/24', 'fd00:10:244:2::/64'];

const node = (annotations: Record<string, string>, ...podCIDRs: string[]): KubeNode => ({
  metadata: { name: 'n', annotations },
  spec: { ...(podCIDRs[0] && { podCIDR: podCIDRs[0] }), podCIDRs },
});

describe('names of annotations', () => {
  for (const [prefix, name] of [
    ['flannel.alpha.coreos.com', 'flannel.alpha.coreos.com/public-ip'],
    ['flannel.alpha.coreos.com/', 'flannel.alpha.coreos.com/public-ip'],
    ['example.org/second', 'example.org/second-public-ip'],
    ['example.org/second-', 'example.org/second-public-ip'],
  ] as const) {
    it(`under ${prefix}`, () => assert.equal(annotationNames(prefix).v4.publicIp, name));
  }

  for (const prefix of ['', 'flannel', 'a.b/c/d', 'Example.org', 'example.org/Second', 'example.org/a.b']) {
    it(`refuses "${prefix}"`, () =>
      assert.throws(
        () => annotationNames(prefix),
        (error) =>
          error instanceof VtepError && error.code === 'USAGE' && error.message.includes(`"${prefix}"`),
      ));
  }
});

describe('a lease from a node', () => {
  it('of one family', () => {
    assert.deepEqual(readNode(node(V4_ANNOTATIONS, CIDRS[0]!), NAMES, V4), { lease: LEASE_V4 });
    const v6 = { ...V4_ANNOTATIONS, ...V6_ANNOTATIONS };
    const { key, backendType } = LEASE_V4;
    assert.deepEqual(readNode(node(v6, CIDRS[1]!), NAMES, V6), { lease: { key, backendType, ...LEASE_V6 } });
  });

  it('of both', () => {
    const both = node({ ...V4_ANNOTATIONS, ...V6_ANNOTATIONS }, ...CIDRS);
    assert.deepEqual(readNode(both, NAMES, DUAL), { lease: { ...LEASE_V4, ...LEASE_V6 } });
    assert.deepEqual(readNode(both, NAMES, V4), { lease: LEASE_V4 });
  });

  it('of spec.podCIDR alone, and with bits of a host set, as Go reads it', () => {
    const old: KubeNode = {
      metadata: { name: 'n', annotations: V4_ANNOTATIONS },
      spec: { podCIDR: '10.244.2.9/24' },
    };
    assert.deepEqual(readNode(old, NAMES, V4), { lease: LEASE_V4 });
  });

  it('of flannel’s own example of a node that isn’t one, which names no VNI', () => {
    const fake = { ...V4_ANNOTATIONS, [`${F}backend-data`]: '{"VtepMAC":"96:59:b2:3f:04:ee"}' };
    const { lease } = readNode(node(fake, CIDRS[0]!), NAMES, V4);
    assert.deepEqual(lease?.backend, { vni: 7, mac: '96:59:b2:3f:04:ee' });
  });

  it('of another backend is listed without what vxlan needs', () => {
    const gateway = { ...V4_ANNOTATIONS, [`${F}backend-type`]: 'host-gw', [`${F}backend-data`]: 'null' };
    const { backend: _, ...rest } = LEASE_V4;
    assert.deepEqual(readNode(node(gateway, CIDRS[0]!), NAMES, V4), {
      lease: { ...rest, backendType: 'host-gw' },
    });
  });

  it('is none without kube-subnet-manager', () => {
    const { [`${F}kube-subnet-manager`]: _, ...others } = V4_ANNOTATIONS;
    assert.deepEqual(readNode(node(others, CIDRS[0]!), NAMES, V4), {});
    const no = { ...V4_ANNOTATIONS, [`${F}kube-subnet-manager`]: 'false' };
    assert.deepEqual(readNode(node(no, CIDRS[0]!), NAMES, V4), {});
    assert.deepEqual(readNode({ metadata: { name: 'n' } }, NAMES, V4), {});
  });

  it('takes the family that is whole where the other is missing', () => {
    assert.deepEqual(readNode(node(V4_ANNOTATIONS, ...CIDRS), NAMES, DUAL), { lease: LEASE_V4 });
    assert.deepEqual(readNode(node(V4_ANNOTATIONS, CIDRS[0]!), NAMES, DUAL), { lease: LEASE_V4 });
  });

  it('takes the family that is whole where the other is of no use, and says so', () => {
    const both = { ...V4_ANNOTATIONS, ...V6_ANNOTATIONS };
    assert.deepEqual(readNode(node(both, CIDRS[0]!), NAMES, DUAL), {
      lease: LEASE_V4,
      reason: 'spec.podCIDRs has no IPv6 subnet',
    });
    const broken = { ...both, [`${F}public-ip`]: 'x' };
    const { lease, reason } = readNode(node(broken, ...CIDRS), NAMES, DUAL);
    assert.deepEqual(lease, { key: 'n', backendType: 'vxlan', ...LEASE_V6 });
    assert.match(reason!, /public-ip "x": the IPv4 address of a host is expected/);
  });

  const malformed: [annotations: Record<string, string>, cidrs: string[], reason: RegExp][] = [
    [{ [`${F}backend-type`]: '' }, CIDRS, /backend-type is missing/],
    [{ [`${F}public-ip`]: '' }, CIDRS, /public-ip "": the IPv4 address/],
    [{ [`${F}public-ip`]: '0.0.0.0' }, CIDRS, /public-ip "0.0.0.0": the IPv4 address of a host/],
    [{ [`${F}public-ip`]: '224.0.0.1' }, CIDRS, /public-ip "224.0.0.1"/],
    [{ [`${F}public-ip`]: '255.255.255.255' }, CIDRS, /public-ip "255.255.255.255"/],
    [{ [`${F}public-ip`]: '010.0.0.1' }, CIDRS, /public-ip "010.0.0.1"/],
    [{ [`${F}public-ip`]: '2001:db8::1' }, CIDRS, /public-ip "2001:db8::1": the IPv4/],
    [{ [`${F}backend-data`]: 'null' }, CIDRS, /backend-data is not an object/],
    [{ [`${F}backend-data`]: '{"VNI":1' }, CIDRS, /backend-data is not an object/],
    [{ [`${F}backend-data`]: '{"VNI":1}' }, CIDRS, /backend-data.VtepMAC .*missing/],
    [{ [`${F}backend-data`]: '{"VtepMAC":"12:c6"}' }, CIDRS, /backend-data.VtepMAC "12:c6"/],
    [{ [`${F}backend-data`]: '{"VtepMAC":"01:00:5e:00:00:01"}' }, CIDRS, /VtepMAC "01:00:5e:00:00:01"/],
    [{ [`${F}backend-data`]: '{"VNI":-1,"VtepMAC":"12:c6:65:89:b4:e3"}' }, CIDRS, /VNI -1/],
    [{}, [], /spec.podCIDRs has no IPv4 subnet/],
    [{}, [CIDRS[1]!], /spec.podCIDRs has no IPv4 subnet/],
    [{}, ['10.244.2.0'], /podCIDR "10.244.2.0": a subnet like/],
    [{}, ['0.0.0.0/0'], /podCIDR "0.0.0.0\/0": a subnet like/],
    [{}, ['10.245.2.0/24'], /podCIDR 10.245.2.0\/24 is not inside the network 10.244.0.0\/16/],
    [{}, ['10.0.0.0/8'], /podCIDR 10.0.0.0\/8 is not inside/],
    [{}, ['10.244.2.0/24', '10.244.3.0/24', 'fd00::/64'], /spec.podCIDRs has 3 entries/],
  ];
  for (const [annotations, cidrs, reason] of malformed) {
    it(`is none: ${reason.source}`, () => {
      const reading = readNode(node({ ...V4_ANNOTATIONS, ...annotations }, ...cidrs), NAMES, V4);
      assert.equal(reading.lease, undefined);
      assert.match(reading.reason!, reason);
    });
  }

  it('never throws, and is whole or has a reason', () => {
    const value = fc.oneof(
      fc.string(),
      fc.json(),
      fc.ipV4(),
      fc.ipV6(),
      fc.constantFrom(...Object.values({ ...V4_ANNOTATIONS, ...V6_ANNOTATIONS })),
    );
    const names = Object.keys({ ...V4_ANNOTATIONS, ...V6_ANNOTATIONS });
    const cidr = fc.oneof(
      fc.string(),
      fc.constantFrom(...CIDRS),
      fc.ipV4().map((ip) => `${ip}/24`),
    );
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...names), value),
        fc.array(cidr, { maxLength: 3 }),
        fc.constantFrom(V4, V6, DUAL),
        (annotations, cidrs, network) => {
          const given = node({ ...annotations, [`${F}kube-subnet-manager`]: 'true' }, ...cidrs);
          const { lease, reason } = readNode(given, NAMES, network);
          assert.ok(lease !== undefined || reason !== undefined);
          if (!lease) return;
          assert.equal(lease.subnet === undefined, lease.publicIp === undefined);
          assert.equal(lease.subnetV6 === undefined, lease.publicIpV6 === undefined);
          assert.ok(lease.subnet !== undefined || lease.subnetV6 !== undefined);
          if (lease.backendType === 'vxlan')
            assert.ok(lease.backend !== undefined || lease.backendV6 !== undefined);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('what we write to our node', () => {
  const self = { backendType: 'vxlan', publicIp: '192.0.2.1', backend: { vni: 1, mac: '0a:00:00:00:00:01' } };
  const written = {
    [`${F}kube-subnet-manager`]: 'true',
    [`${F}backend-type`]: 'vxlan',
    [`${F}public-ip`]: '192.0.2.1',
    [`${F}backend-data`]: '{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}',
  };

  it('is flannel’s annotations to the byte, and nothing when they stand', () => {
    assert.deepEqual(annotationPatch(node({ other: 'x' }), self, NAMES), written);
    assert.equal(annotationPatch(node(written), self, NAMES), undefined);
  });

  it('is only what differs', () => {
    const moved = annotationPatch(node(written), { ...self, publicIp: '192.0.2.9' }, NAMES);
    assert.deepEqual(moved, { [`${F}public-ip`]: '192.0.2.9' });
  });

  it('has both families, and takes off the one that we have no more', () => {
    const v6 = { publicIpV6: '2001:db8::1', backendV6: { vni: 1, mac: '0a:00:00:00:00:02' } };
    const more = annotationPatch(node(written), { ...self, ...v6 }, NAMES);
    assert.deepEqual(more, {
      [`${F}public-ipv6`]: '2001:db8::1',
      [`${F}backend-v6-data`]: '{"VNI":1,"VtepMAC":"0a:00:00:00:00:02"}',
    });
    const less = annotationPatch(node({ ...written, ...(more as Record<string, string>) }), self, NAMES);
    assert.deepEqual(less, { [`${F}public-ipv6`]: null, [`${F}backend-v6-data`]: null });
  });

  it('is the administrator’s public-ip-overwrite, where that is an address', () => {
    const behind = { ...written, [`${F}public-ip-overwrite`]: '203.0.113.5' };
    assert.deepEqual(annotationPatch(node(behind), self, NAMES), { [`${F}public-ip`]: '203.0.113.5' });
    const wrong = { ...written, [`${F}public-ip-overwrite`]: 'somewhere' };
    assert.equal(annotationPatch(node(wrong), self, NAMES), undefined);
  });
});

describe('what a node holds of us', () => {
  it('is MAC, address and subnets of an earlier life', () => {
    assert.deepEqual(readStored(node({ ...V4_ANNOTATIONS, ...V6_ANNOTATIONS }, ...CIDRS), NAMES, DUAL), {
      backendType: 'vxlan',
      publicIp: '192.168.0.2',
      publicIpV6: '2001:db8::2',
      backend: LEASE_V4.backend,
      backendV6: LEASE_V6.backendV6,
      subnet: CIDRS[0],
      subnetV6: CIDRS[1],
    });
    assert.deepEqual(readStored(node({}), NAMES, V4), {});
  });

  it('is the address that the administrator wants, and not one that stands in its place', () => {
    const given = {
      ...V4_ANNOTATIONS,
      [`${F}node-public-ip`]: '198.51.100.7',
      [`${F}node-public-ipv6`]: 'nonsense',
      [`${F}public-ip-overwrite`]: '203.0.113.5',
    };
    const { wantedPublicIp, wantedPublicIpV6, publicIp } = readStored(node(given), NAMES, V4);
    assert.equal(wantedPublicIp, '198.51.100.7');
    assert.equal(wantedPublicIpV6, undefined);
    assert.equal(publicIp, undefined);
  });

  it('has one subnet a family', () => {
    assert.deepEqual(subnetsOf(node({}, ...CIDRS)), { subnet: CIDRS[0], subnetV6: CIDRS[1] });
    assert.throws(() => subnetsOf(node({}, 'x')), /podCIDR "x"/);
  });
});
