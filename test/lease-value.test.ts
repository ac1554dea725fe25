/** A member's record as flannel keeps it: bytes out, anything in. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Lease, MemberRecord } from '../src/flannel/lease.ts';
import {
  formatLeaseValue,
  formatSubnetKey,
  isSkipped,
  parseBackendData,
  parseLease,
  parseSubnetKey,
} from '../src/flannel/lease-value.ts';

const KEY = '/coreos.com/network/subnets/10.244.1.0-24';
const backend = { vni: 1, mac: 'c6:d2:32:6f:8f:44' };
const data = { VNI: 1, VtepMAC: backend.mac };

/** Of a lease, what its value says. */
function recordOf(value: string): object {
  const { key: _, subnet, ...record } = parseLease(KEY, value) as Lease;
  assert.equal(subnet, '10.244.1.0/24');
  return record;
}

describe('keys of subnets', () => {
  it('are read and written as flannel does', () => {
    for (const [text, subnets] of [
      ['10.5.34.0-24', { subnet: '10.5.34.0/24' }],
      ['10.5.34.0-24&fd00:1:2::-64', { subnet: '10.5.34.0/24', subnetV6: 'fd00:1:2::/64' }],
    ] as const) {
      assert.deepEqual(parseSubnetKey(`/any/prefix/subnets/${text}`), subnets);
      assert.equal(formatSubnetKey(subnets), text);
    }
  });

  it('are refused when no route can be made of them', () => {
    for (const text of [
      ...[
        'config',
        '10.5.34-24',
        '10.5.34.0-33',
        '10.5.34.1-24',
        '10.5.34.256-24',
        '10.5.34.0-',
        '0.0.0.0-0',
      ],
      ...[
        '10.5.34.0-24&',
        '10.5.34.0-24&fd00::1-64',
        '10.5.34.0-24&fd00::-129',
        '10.5.34.0-24&::-0',
        '010.5.34.0-24',
      ],
      ...['10.5.34.0-24&fffff::-64', '10.5.34.0-24x', 'fd00:1::-64', '10.5.34.0-099'],
    ])
      assert.equal(parseSubnetKey(`/p/subnets/${text}`), undefined, text);
  });
});

describe('values of leases', () => {
  it('are written to the byte as flannel writes them', () => {
    const v4 = { publicIp: '192.0.2.1', backendType: 'vxlan', backend };
    assert.equal(
      formatLeaseValue(v4),
      '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
    );
    assert.equal(
      formatLeaseValue({
        publicIpV6: '2001:db8::1',
        backendType: 'vxlan',
        backendV6: { ...backend, port: 4789 },
      }),
      '{"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8::1","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44","Port":4789}}',
    );
    assert.equal(formatLeaseValue({ backendType: '' }), '{"PublicIP":"0.0.0.0","PublicIPv6":null}');
  });

  it('are read back', () => {
    const address = fc.integer({ min: 1, max: 250 });
    const mac = fc
      .uint8Array({ minLength: 6, maxLength: 6 })
      .map((bytes) => [bytes[0]! & 0xfe, ...bytes.subarray(1, 5), bytes[5]! | 1])
      .map((bytes) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':'));
    const vtep = fc.record(
      { vni: fc.integer({ min: 0, max: 2 ** 24 - 1 }), mac, port: fc.integer({ min: 1, max: 65535 }) },
      { requiredKeys: ['vni', 'mac'], noNullPrototype: true },
    );
    fc.assert(
      fc.property(address, vtep, fc.option(vtep, { nil: undefined }), (n, v4, v6) => {
        const record: MemberRecord = {
          publicIp: `198.51.100.${n}`,
          ...(v6 && { publicIpV6: `2001:db8::${n.toString(16)}` }),
          backendType: 'vxlan',
          backend: v4,
          ...(v6 && { backendV6: v6 }),
        };
        assert.deepEqual(recordOf(formatLeaseValue(record)), record);
      }),
    );
  });

  it('are read without regard to case, in every spelling of a MAC that Go reads', () => {
    for (const VTEPMAC of ['C6:D2:32:6F:8F:44', 'c6-d2-32-6f-8f-44', 'c6d2.326f.8f44'])
      assert.deepEqual(
        recordOf(
          JSON.stringify({ publicip: '192.0.2.1', BACKENDTYPE: 'VXLAN', backenddata: { vni: 1, VTEPMAC } }),
        ),
        { publicIp: '192.0.2.1', backendType: 'vxlan', backend },
      );
  });

  it('are taken for the family that is whole', () => {
    const half = parseLease(
      `${KEY}&fd00::-64`,
      JSON.stringify({ PublicIP: '192.0.2.1', BackendType: 'vxlan', BackendData: data }),
    );
    assert.deepEqual(half, {
      key: `${KEY}&fd00::-64`,
      subnet: '10.244.1.0/24',
      subnetV6: 'fd00::/64',
      publicIp: '192.0.2.1',
      backendType: 'vxlan',
      backend,
    });
    const other = recordOf(
      JSON.stringify({
        PublicIP: '0.0.0.0',
        PublicIPv6: '2001:DB8:0::1',
        BackendType: 'vxlan',
        BackendData: data,
        BackendV6Data: data,
      }),
    );
    assert.deepEqual(other, { publicIpV6: '2001:db8::1', backendType: 'vxlan', backendV6: backend });
  });

  it('of other backends are listed as they are', () => {
    assert.deepEqual(recordOf('{"PublicIP":"192.0.2.1","BackendType":"host-gw"}'), {
      publicIp: '192.0.2.1',
      backendType: 'host-gw',
    });
  });

  it('of old members name no VNI: they have the network’s', () => {
    assert.deepEqual(parseBackendData({ VtepMAC: backend.mac }, 'BackendData', 7), {
      vni: 7,
      mac: backend.mac,
    });
  });

  it('say what is wrong with them', () => {
    const bad = (value: unknown, reason: RegExp) => {
      const text =
        typeof value === 'string'
          ? value
          : JSON.stringify({
              PublicIP: '192.0.2.1',
              BackendType: 'vxlan',
              BackendData: data,
              ...(value as object),
            });
      const parsed = parseLease(KEY, text);
      assert.ok(isSkipped(parsed), text);
      assert.equal(parsed.key, KEY);
      assert.match(parsed.reason, reason);
    };
    bad('', /not JSON/);
    bad('null', /not a JSON object/);
    bad('[1]', /not a JSON object/);
    bad({ BackendType: 5 }, /BackendType is not a string/);
    for (const PublicIP of ['192.0.2', '192.0.2.256', 'host', 5, {}, '::1', '192.0.2.01', '192.0.2.1 '])
      bad({ PublicIP }, /^PublicIP .*: an IPv4 address is expected/);
    for (const PublicIP of ['224.0.0.1', '255.255.255.255']) bad({ PublicIP }, /one host/);
    bad({ PublicIPv6: 'ff02::1' }, /PublicIPv6 ff02::1: the address of one host/);
    bad({ PublicIPv6: 'fe80::1%eth0' }, /an IPv6 address/);
    bad({ PublicIP: '0.0.0.0' }, /PublicIP with BackendData, or/);
    bad({ BackendData: null }, /PublicIP with BackendData, or/);
    bad({ BackendData: 'x' }, /BackendData is not an object/);
    for (const VNI of [-1, 2 ** 24, 1.5, '1'])
      bad({ BackendData: { ...data, VNI } }, /BackendData\.VNI .*: 0 to 16777215/);
    for (const VtepMAC of [
      '',
      'xx',
      'c6:d2:32:6f:8f',
      'c6:d2:32:6f:8f:44:55',
      'ff:ff:ff:ff:ff:ff',
      '01:00:5e:00:00:01',
      '00:00:00:00:00:00',
      5,
      'c6:d2-32:6f:8f:44',
    ])
      bad({ BackendData: { ...data, VtepMAC } }, /BackendData\.VtepMAC .*six octets/);
    bad({ BackendData: { VNI: 1 } }, /VtepMAC \(missing\)/);
    for (const Port of [0, 65536, 'x']) bad({ BackendData: { ...data, Port } }, /BackendData\.Port/);
    bad({ PublicIPv6: '2001:db8::1', BackendV6Data: { VNI: 1 } }, /BackendV6Data\.VtepMAC/);
  });

  it('never throw, whatever they are', () => {
    const keys = fc.oneof(
      fc.string(),
      fc.constant(KEY),
      fc.string().map((end) => `${KEY}${end}`),
    );
    const value = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record({
          PublicIP: fc.anything(),
          PublicIPv6: fc.anything(),
          BackendType: fc.constant('vxlan'),
          BackendData: fc.anything(),
        })
        .map((one) => {
          try {
            return JSON.stringify(one) ?? '';
          } catch {
            return '{';
          }
        }),
    );
    fc.assert(
      fc.property(keys, value, (key, text) => void parseLease(key, text)),
      { numRuns: 2000 },
    );
  });
});
