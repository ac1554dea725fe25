/** flannel's configuration of a network: keys in any case, flannel's defaults and limits, errors with a remedy. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VtepError } from '../src/errors.ts';
import { parseNetConfig } from '../src/flannel/net-config.ts';

const Backend = { Type: 'vxlan' };
const parse = (json: object, allocates = true) =>
  parseNetConfig(JSON.stringify(json), { where: 'net-conf.json', allocates });

function refused(json: object | string, message: RegExp, allocates = true): void {
  const text = typeof json === 'string' ? json : JSON.stringify(json);
  assert.throws(
    () => parseNetConfig(text, { where: 'net-conf.json', allocates }),
    (error) => {
      assert.ok(error instanceof VtepError);
      assert.equal(error.code, 'USAGE');
      assert.match(error.message, /^net-conf\.json: [^\n]+$/);
      assert.match(error.message, message);
      return true;
    },
  );
}

describe('configuration of a network', () => {
  it('fills in what flannel fills in', () => {
    assert.deepEqual(parse({ Network: '10.244.0.0/16', Backend }), {
      enableIpv4: true,
      enableIpv6: false,
      network: '10.244.0.0/16',
      subnetLen: 24,
      subnetMin: '10.244.1.0',
      subnetMax: '10.244.255.0',
      ipv6SubnetLen: 64,
      backend: { type: 'vxlan', vni: 1, port: 8472, gbp: false, learning: false, directRouting: false },
    });
  });

  it('reads keys without regard to case, and null as absent', () => {
    const config = parse({
      NETWORK: '10.1.0.0/16',
      subnetlen: 26,
      SubNetMin: '10.1.2.0',
      SUBNETMAX: '10.1.3.64',
      EnableIPv6: null,
      backend: {
        TYPE: 'VXLAN',
        vni: 4096,
        PORT: 4789,
        Mtu: 1400,
        gbp: true,
        LEARNING: true,
        directrouting: true,
      },
    });
    assert.equal(config.subnetLen, 26);
    assert.equal(config.subnetMin, '10.1.2.0');
    assert.equal(config.subnetMax, '10.1.3.64');
    assert.deepEqual(config.backend, {
      type: 'vxlan',
      vni: 4096,
      port: 4789,
      mtu: 1400,
      gbp: true,
      learning: true,
      directRouting: true,
    });
  });

  it('takes the last of two keys that differ in case only, as Go does', () => {
    const text = '{"Network":"10.1.0.0/16","network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}';
    assert.equal(parseNetConfig(text, { where: 'x' }).network, '10.2.0.0/16');
  });

  it('sizes subnets as flannel does', () => {
    const sizes = (Network: string) => {
      const { subnetLen, subnetMin, subnetMax } = parse({ Network, Backend });
      return [subnetLen, subnetMin, subnetMax];
    };
    assert.deepEqual(sizes('10.0.0.0/8'), [24, '10.0.1.0', '10.255.255.0']);
    assert.deepEqual(sizes('10.0.4.0/22'), [24, '10.0.5.0', '10.0.7.0']);
    assert.deepEqual(sizes('10.0.4.0/23'), [25, '10.0.4.128', '10.0.5.128']);
    assert.deepEqual(sizes('10.0.0.16/28'), [30, '10.0.0.20', '10.0.0.28']);
    assert.deepEqual(sizes('10.244.77.5/16'), [24, '10.244.1.0', '10.244.255.0'], 'host bits are cleared');
  });

  it('takes both families, or IPv6 alone', () => {
    const v6 = { EnableIPv6: true, IPv6Network: 'fd00:10:244::/48', Backend };
    const both = parse({ Network: '10.244.0.0/16', ...v6 });
    assert.deepEqual(
      [both.ipv6Network, both.ipv6SubnetLen, both.ipv6SubnetMin, both.ipv6SubnetMax],
      ['fd00:10:244::/48', 64, 'fd00:10:244:1::', 'fd00:10:244:ffff::'],
    );
    const alone = parse({ EnableIPv4: false, ...v6, IPv6Network: 'fd00::/64' });
    assert.equal(alone.network, undefined);
    assert.equal(alone.subnetMin, undefined);
    assert.equal(alone.ipv6SubnetLen, 66);
    assert.equal(alone.ipv6SubnetMin, 'fd00::4000:0:0:0');
  });

  it('leaves subnets alone where they are given', () => {
    const config = parse({ Network: '10.1.0.0/31', SubnetLen: 99, SubnetMin: 'x', Backend }, false);
    assert.equal(config.network, '10.1.0.0/31');
    assert.equal(config.subnetMin, undefined);
  });

  it('says what to write when there is no Backend, or another one', () => {
    refused(
      { Network: '10.1.0.0/16' },
      /Backend is missing: flannel would take "udp".*add "Backend": \{"Type": "vxlan"\}/,
    );
    refused({ Network: '10.1.0.0/16', Backend: null }, /Backend is missing/);
    refused({ Network: '10.1.0.0/16', Backend: {} }, /Backend\.Type \(missing\): vxlan/);
    refused(
      { Network: '10.1.0.0/16', Backend: { Type: 'host-gw' } },
      /Backend\.Type "host-gw": vxlan is the only/,
    );
    refused({ Network: '10.1.0.0/16', Backend: 'vxlan' }, /Backend is not an object: write/);
  });

  it('names the key and the remedy of whatever else is wrong', () => {
    const Network = '10.1.0.0/16';
    refused('{"Network"', /not JSON: .*: write \{"Network"/);
    refused('[]', /not a JSON object: write/);
    refused('null', /not a JSON object/);
    refused(
      { Backend },
      /Network \(missing\): an IPv4 network is needed: write "Network": "10\.244\.0\.0\/16"/,
    );
    refused({ Network: '10.1.0.0', Backend }, /Network "10\.1\.0\.0": an IPv4 network/);
    refused({ Network: 'fd00::/48', Backend }, /Network "fd00::\/48": an IPv4/);
    refused({ Network: '0.0.0.0/0', Backend }, /an IPv4 network is needed/);
    refused({ Network: '10.1.0.0/29', Backend }, /Network 10\.1\.0\.0\/29: too small .*: \/28 at most/);
    refused({ Network, SubnetLen: 17, Backend }, /SubnetLen 17: 18 to 30 with Network 10\.1\.0\.0\/16/);
    refused({ Network, SubnetLen: 31, Backend }, /SubnetLen 31: 18 to 30/);
    refused({ Network, SubnetLen: '24', Backend }, /SubnetLen "24": a number of 0 to 32/);
    refused({ Network, SubnetMin: '10.2.0.0', Backend }, /SubnetMin "10\.2\.0\.0": not in 10\.1\.0\.0\/16/);
    refused(
      { Network, SubnetMax: '10.1.9.1', Backend },
      /SubnetMax "10\.1\.9\.1": not the address of a \/24: write "10\.1\.9\.0"/,
    );
    refused(
      { Network, SubnetMin: '10.1.9.0', SubnetMax: '10.1.8.0', Backend },
      /SubnetMin is above SubnetMax/,
    );
    refused({ Network, EnableIPv4: false, Backend }, /at least one family/);
    refused({ Network, EnableIPv4: 'yes', Backend }, /EnableIPv4 "yes": true or false/);
    refused({ Network, EnableIPv6: true, Backend }, /IPv6Network \(missing\): .*"fd00:10:244::\/48"/);
    refused({ Network, EnableIPv6: true, IPv6Network: 'fd00::/125', Backend }, /too small .*\/124/);
    refused(
      { Network, Backend: { Type: 'vxlan', VNI: 2 ** 24 } },
      /Backend\.VNI 16777216: a number of 1 to 16777215/,
    );
    refused({ Network, Backend: { Type: 'vxlan', Port: 65536 } }, /Backend\.Port 65536/);
    refused({ Network, Backend: { Type: 'vxlan', MTU: 100 } }, /Backend\.MTU 100: .*576/);
    refused({ Network, Backend: { Type: 'vxlan', GBP: 1 } }, /Backend\.GBP 1: true or false/);
  });
});
