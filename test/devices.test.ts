/**
 * The device table: what a record says stands where packets look, what others keep in it stays, and the default
 * header bits are those that were measured on the kernel's device.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as layout from '../assembly/layout.ts';
import { type DeviceFeatures, receiveBits, reservedBits } from '../src/dataplane/device-features.ts';
import { type DeviceRecord, Devices } from '../src/dataplane/devices.ts';
import { createMemory, viewsOf } from '../src/dataplane/memory.ts';

const RECORD: DeviceRecord = {
  ...{ vni: 42, address: '02:00:00:00:00:01', mtu: 1450, family: layout.AF_INET, port: 4789 },
  ...{ learning: true, ageing: 300, maxaddress: 0, ttl: 0, tos: 0, df: 'unset', source: 1, sourceDf: 2 },
};

function written(record: Partial<DeviceRecord>) {
  const views = viewsOf(createMemory(1));
  const devices = new Devices(views);
  const index = devices.claim('vx0');
  const at = layout.DEVICES_BASE + index * layout.DEVICE_BYTES;
  devices.write(index, { ...RECORD, ...record });
  const word = (offset: number) => views.view.getUint32(at + offset, true);
  return { views, devices, index, at, word, flags: () => word(layout.DEVICE_FLAGS_OFFSET) };
}

describe('a device record', () => {
  const FLAGS: [keyof DeviceFeatures, number][] = [
    ['proxy', layout.DEVICE_FLAG_PROXY],
    ['rsc', layout.DEVICE_FLAG_RSC],
    ['l2miss', layout.DEVICE_FLAG_L2MISS],
    ['l3miss', layout.DEVICE_FLAG_L3MISS],
    ['localbypass', layout.DEVICE_FLAG_LOCALBYPASS],
    ['external', layout.DEVICE_FLAG_EXTERNAL],
    ['gbp', layout.DEVICE_FLAG_GBP],
    ['gpe', layout.DEVICE_FLAG_GPE],
    ['remcsumtx', layout.DEVICE_FLAG_REMCSUM_TX],
    ['remcsumrx', layout.DEVICE_FLAG_REMCSUM_RX],
    ['linkLocal', layout.DEVICE_FLAG_LINK_LOCAL],
    ['bridged', layout.DEVICE_FLAG_BRIDGED],
    ['proxyforward', layout.DEVICE_FLAG_PROXY_FORWARD],
    ['latelearning', layout.DEVICE_FLAG_LATE_LEARNING],
    ['honourdontlearn', layout.DEVICE_FLAG_HONOUR_DONT_LEARN],
    ['knownsenders', layout.DEVICE_FLAG_KNOWN_SENDERS],
    ['knownpeers', layout.DEVICE_FLAG_KNOWN_PEERS],
    ['gsoOff', layout.DEVICE_FLAG_GSO_OFF],
    ['gsoTunnel', layout.DEVICE_FLAG_GSO_TUNNEL],
    ['groOff', layout.DEVICE_FLAG_GRO_OFF],
    ['usoOff', layout.DEVICE_FLAG_USO_OFF],
  ];

  it('has one flag for each feature', () => {
    assert.equal(written({ learning: false }).flags(), 0);
    for (const [feature, flag] of FLAGS) {
      assert.equal(written({ learning: false, features: { [feature]: true } }).flags(), flag, feature);
    }
    const inherits = written({ learning: true, ttl: 'inherit', tos: 'inherit', flowlabel: 'inherit' });
    assert.equal(
      inherits.flags(),
      layout.DEVICE_FLAG_LEARNING |
        layout.DEVICE_FLAG_TTL_INHERIT |
        layout.DEVICE_FLAG_TOS_INHERIT |
        layout.DEVICE_FLAG_LABEL_INHERIT,
    );
  });

  it('has label, interfaces and receive bits', () => {
    const { word } = written({
      ...{ flowlabel: 0xabcde, ifindex: 7, link: 3 },
      features: { gbp: true, udp6zerocsumrx: true },
    });
    assert.equal(word(layout.DEVICE_LABEL_OFFSET), 0xabcde);
    assert.equal(word(layout.DEVICE_IFINDEX_OFFSET), 7);
    assert.equal(word(layout.DEVICE_LINK_OFFSET), 3);
    assert.equal(word(layout.DEVICE_RECEIVE_OFFSET), layout.RECEIVE_GBP | layout.RECEIVE_ZERO_CHECKSUM);
  });

  it('has the bits that make a datagram be dropped, in network order', () => {
    const bits = (record: Partial<DeviceRecord>) => {
      const { views, at } = written(record);
      return Buffer.from(
        views.bytes.slice(at + layout.DEVICE_RESERVED_OFFSET, at + layout.DEVICE_RESERVED_OFFSET + 8),
      ).toString('hex');
    };
    assert.equal(bits({}), 'f7ffffff000000ff');
    assert.equal(bits({ features: { gbp: true } }), '77000000000000ff');
    assert.equal(bits({ reservedBits: 0n }), '0000000000000000');
    assert.equal(bits({ reservedBits: 0x0123456789abcdefn }), '0123456789abcdef');
  });

  it('keeps what others have in it, and the VLAN and policy of its domain', () => {
    const { views, devices, index, at, flags } = written({});
    const mine = layout.DEVICE_FLAG_MDB | layout.DEVICE_FLAG_POLICIES;
    views.view.setUint32(at + layout.DEVICE_FLAGS_OFFSET, flags() | mine, true);
    views.view.setUint32(at + layout.DEVICE_UNTAGGED_OFFSET, 300, true);
    views.view.setUint32(at + layout.DEVICE_POLICY_OFFSET, 0x80001234, true);
    const domain = layout.DOMAINS_BASE + index * layout.DOMAIN_BYTES;
    views.view.setUint16(domain + layout.DOMAIN_VLAN_OFFSET, 10, true);
    views.view.setUint32(domain + layout.DOMAIN_POLICY_OFFSET, 77, true);
    devices.write(index, { ...RECORD, learning: false, features: { proxy: true } });
    assert.equal(flags(), mine | layout.DEVICE_FLAG_PROXY);
    assert.equal(views.view.getUint32(at + layout.DEVICE_UNTAGGED_OFFSET, true), 300);
    assert.equal(views.view.getUint32(at + layout.DEVICE_POLICY_OFFSET, true), 0x80001234);
    assert.equal(views.view.getUint16(domain + layout.DOMAIN_VLAN_OFFSET, true), 10);
    assert.equal(views.view.getUint32(domain + layout.DOMAIN_POLICY_OFFSET, true), 77);
    assert.equal(views.view.getUint32(domain + layout.DOMAIN_VNI_OFFSET, true), 42);
  });
});

describe('header bits', () => {
  it('are dropped on as the kernel’s device drops on them', () => {
    const masks: [DeviceFeatures, bigint][] = [
      [{}, 0xf7ffffff000000ffn],
      [{ gbp: true }, 0x77000000000000ffn],
      [{ gpe: true }, 0xc2ffff00000000ffn],
      [{ remcsumrx: true }, 0xf7dfffff00000000n],
      [{ gbp: true, remcsumrx: true }, 0x7700000000000000n],
    ];
    for (const [features, mask] of masks)
      assert.equal(reservedBits(features), mask, JSON.stringify(features));
  });

  it('six of a device’s features decide about sharing a port, and no others', () => {
    const all: DeviceFeatures = {
      ...{ gbp: true, gpe: true, udp6zerocsumrx: true, remcsumrx: true, external: true, vnifilter: true },
      ...{
        proxy: true,
        rsc: true,
        l2miss: true,
        l3miss: true,
        localbypass: true,
        remcsumtx: true,
        bridged: true,
      },
    };
    assert.equal(receiveBits(all), 63);
    for (const [key] of Object.entries(all)) {
      const bits = receiveBits({ [key]: true });
      assert.ok(bits === 0 || (bits & (bits - 1)) === 0, key);
    }
  });
});
