/** Files of a flannel node: subnet.env to the byte, the state that outlives it, and the file of leases. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createFileSource } from '../src/flannel/file.ts';
import { parseLeaseFile } from '../src/flannel/file-schema.ts';
import type { Lease, LeaseSource } from '../src/flannel/lease.ts';
import { readState, statePath, writeState } from '../src/flannel/node-state.ts';
import { formatSubnetEnv, readSubnetEnv, writeSubnetEnv } from '../src/flannel/subnet-env.ts';

const directory = mkdtempSync(join(tmpdir(), 'vxlane-'));
after(() => rmSync(directory, { recursive: true }));

const DUAL = {
  ...{ network: '10.244.0.0/16', networkV6: 'fd00::/48' },
  ...{ subnet: '10.244.1.0/24', subnetV6: 'fd00:0:0:1::/64', mtu: 1430, ipMasq: true },
};

describe('subnet.env', () => {
  it('has the bytes that CNI plugins read', () => {
    assert.equal(
      formatSubnetEnv(DUAL),
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n' +
        'FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\n' +
        'FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n',
    );
    const { networkV6: _, subnetV6: __, ...v4 } = DUAL;
    assert.equal(
      formatSubnetEnv({ ...v4, mtu: 1450, ipMasq: false }),
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
    );
    const { network: ___, subnet: ____, ...v6 } = DUAL;
    assert.match(formatSubnetEnv(v6), /^FLANNEL_IPV6_NETWORK=/);
  });

  it('is written whole, with its modes whatever the umask is, and only when it differs', () => {
    const umask = process.umask(0o077);
    try {
      const path = join(directory, 'run/flannel/subnet.env');
      assert.equal(writeSubnetEnv(path, DUAL), true);
      assert.equal(readFileSync(path, 'utf8'), formatSubnetEnv(DUAL));
      assert.equal(statSync(path).mode & 0o777, 0o644);
      assert.equal(statSync(join(directory, 'run/flannel')).mode & 0o777, 0o755);
      const { ino } = statSync(path);
      assert.equal(writeSubnetEnv(path, DUAL), false);
      assert.equal(statSync(path).ino, ino);
      assert.equal(writeSubnetEnv(path, { ...DUAL, mtu: 1380 }), true);
      assert.notEqual(statSync(path).ino, ino);
      assert.deepEqual(readSubnetEnv(path), { subnet: '10.244.1.0/24', subnetV6: 'fd00:0:0:1::/64' });
    } finally {
      process.umask(umask);
    }
  });

  it('of an earlier life is read as far as it makes sense', () => {
    const path = join(directory, 'odd.env');
    assert.deepEqual(readSubnetEnv(path), {});
    writeFileSync(path, 'FLANNEL_SUBNET=nonsense\nFLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\n');
    assert.deepEqual(readSubnetEnv(path), { subnetV6: 'fd00:0:0:1::/64' });
  });
});

describe('the state of a node', () => {
  it('is found again, and is for its owner alone', () => {
    const path = statePath(join(directory, 'lib'), 'default');
    assert.deepEqual(readState(path), {});
    const state = { mac: '02:00:00:00:00:01', subnet: '10.244.1.0/24' };
    writeState(path, state);
    assert.deepEqual(readState(path), state);
    assert.equal(path, join(directory, 'lib/flannel-default.json'));
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('that somebody broke is as none', () => {
    const path = statePath(directory, 'broken');
    for (const [text, found] of [
      ['{', {}],
      ['[]', {}],
      ['{"mac":7,"subnet":"x"}', {}],
      ['{"mac":"01:02","macV6":"02:00:00:00:00:01"}', { macV6: '02:00:00:00:00:01' }],
    ] as const) {
      writeFileSync(path, text);
      assert.deepEqual(readState(path), found, text);
    }
  });
});

describe('a file of leases', () => {
  it('is refused with line and column', async () => {
    const at = async (text: string) =>
      parseLeaseFile(text, 'f').then(
        () => 'taken',
        (error: Error) => error.message,
      );
    const head = 'config: { Network: 10.244.0.0/16, Backend: { Type: vxlan } }\n';
    const lease = 'publicIp: 192.0.2.2, subnet: 10.244.2.0/24';
    assert.equal(await at(`${head}leases: [{ ${lease} }]`), 'taken');
    for (const [text, said] of [
      ['config: [', /^f:1:\d+: /],
      ['leases: []', /^f:1:1: config: missing$/],
      [`${head}lease: []`, /^f:2:8: lease: no such key$/],
      [`${head}leases:\n  - { ${lease}, mac: 02 }`, /^f:3:\d+: leases\.0\.mac: a MAC such as/],
      [`${head}leases:\n  - { ${lease}, via: eth0 }`, /^f:3:\d+: leases\.0\.via: no such key$/],
      [`${head}leases:\n  - { publicIp: 192.0.2.2 }`, /^f:3:5: leases\.0: publicIp with subnet/],
      [`${head}leases:\n  - { publicIp: 192.0.2.2, subnet: 10.244.2.1/24 }`, /subnet: a subnet such as 10/],
      [`${head}leases:\n  - { publicIp: 192.0.2.2, subnet: 10.244.2.0 }`, /subnet: a subnet such as/],
      [`${head}leases:\n  - { publicIp: fe80::1, subnet: 10.244.2.0/24 }`, /publicIp: an IPv4 address/],
      [
        `${head}leases:\n  - { ${lease} }\n  - { ${lease} }`,
        /^f:4:5: leases\.1: "192\.0\.2\.2" is there twice/,
      ],
      [`${head}subnet: 7`, /^f:2:9: subnet: a subnet such as/],
    ] as const)
      assert.match(await at(text), said, text);
  });

  it('gives leases of both families', async () => {
    const { leases, self } = await parseLeaseFile(
      `{"config": {}, "self": "a", "leases": [{"name": "a", "publicIp": "192.0.2.1", "subnet": "10.244.1.0/24",
        "publicIpV6": "2001:DB8::1", "subnetV6": "fd00:0:0:1::/64", "mac": "AA:00:00:00:00:01", "macV6": "aa:00:00:00:00:02",
        "vni": 7, "port": 4789}]}`,
      'f',
    );
    assert.equal(self, 'a');
    assert.deepEqual(leases, [
      {
        ...{ key: 'a', backendType: 'vxlan', publicIp: '192.0.2.1', publicIpV6: '2001:db8::1' },
        ...{ subnet: '10.244.1.0/24', subnetV6: 'fd00:0:0:1::/64' },
        backend: { vni: 7, mac: 'aa:00:00:00:00:01', port: 4789 },
        backendV6: { vni: 7, mac: 'aa:00:00:00:00:02', port: 4789 },
      },
    ]);
  });
});

describe('leases from a file', () => {
  const sources: LeaseSource[] = [];
  const log: string[] = [];
  const signal = new AbortController().signal;
  const open = (path: string) => {
    const source = createFileSource({ path, logger: (level, message) => log.push(`${level} ${message}`) });
    sources.push(source);
    return source;
  };
  afterEach(async () => {
    for (const source of sources.splice(0)) await source.close();
    log.length = 0;
  });
  const put = (path: string, text: string) => {
    writeFileSync(`${path}.tmp`, text);
    renameSync(`${path}.tmp`, path);
  };
  const until = async (what: string, holds: () => boolean) => {
    for (let waited = 0; !holds(); waited += 10) {
      assert.ok(waited < 3000, `not in time: ${what}: ${log.join('; ')}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const member = (n: number) =>
    `  - { name: n${n}, publicIp: 203.0.113.${n}, subnet: 10.244.${n}.0/24, mac: "02:00:00:00:00:0${n}" }\n`;
  const file = (more: string, ...members: number[]) =>
    `config: { Network: 10.244.0.0/16, Backend: { Type: vxlan, VNI: 7 } }\n${more}leases:\n${members.map(member).join('')}`;
  const self = {
    backendType: 'vxlan',
    publicIp: '203.0.113.1',
    backend: { vni: 7, mac: '02:00:00:00:00:99' },
  };

  it('the example is one, and says how it is used', async () => {
    const path = fileURLToPath(new URL('../examples/flannel/leases.yaml', import.meta.url));
    assert.match(
      readFileSync(path, 'utf8'),
      /^# {3}vxlane flannel --lease-file examples\/flannel\/leases\.yaml$/m,
    );
    const source = open(path);
    assert.deepEqual((await source.config(signal)).network, '10.244.0.0/16');
    const ours = { ...self, publicIp: '192.0.2.1' };
    assert.equal((await source.acquire(ours, {}, signal)).subnet, '10.244.1.0/24');
  });

  it('are waited for, read again when the file changes, and kept while it is broken', async () => {
    const folder = join(directory, 'later');
    const path = join(folder, 'leases.yaml');
    const source = open(path);
    await until('it is missed', () => source.state().error !== undefined);
    assert.deepEqual(
      [source.state().error, source.state().synced, source.state().connected],
      [`${path}: no such file: it is waited for`, false, false],
    );
    mkdirSync(folder);
    put(path, file('', 1, 2));
    assert.equal((await source.config(signal)).backend.vni, 7);
    assert.deepEqual(await source.stored(signal), {});
    const own = await source.acquire(self, {}, signal);
    assert.deepEqual(own, { ...self, key: 'n1', subnet: '10.244.1.0/24' });

    const snapshots: Lease[][] = [];
    const owns: Lease[] = [];
    const stop = new AbortController();
    const following = source.follow(
      {
        snapshot: (leases) => snapshots.push([...leases]),
        change: () => assert.fail('snapshots alone are expected'),
        own: (lease) => owns.push(lease),
      },
      stop.signal,
    );
    const keys = () =>
      snapshots
        .at(-1)
        ?.map(({ key }) => key)
        .join();
    assert.equal(keys(), 'n2');
    put(path, file('', 1, 2, 3));
    await until('the third', () => keys() === 'n2,n3');
    const before = snapshots.length;
    put(path, file('', 1, 2).replace('10.244.2.0/24', '10.244.2.0/99'));
    await until('the error', () => source.state().error !== undefined);
    assert.match(source.state().error!, /leases\.yaml:4:\d+: leases\.1\.subnet/);
    assert.deepEqual([snapshots.length, keys(), source.state().counters.malformed], [before, 'n2,n3', 2]);
    put(path, file('self: n3\n', 1, 3));
    await until('another is us', () => keys() === 'n1');
    assert.deepEqual(owns.at(-1)?.subnet, '10.244.3.0/24');
    assert.equal(source.state().error, undefined);
    stop.abort();
    await following;
    assert.ok(
      log.some((line) => line.startsWith('error leases: ') && line.endsWith('what was known before stays')),
    );
  });

  it('that give us no subnet are waited for, and say so', async () => {
    const path = join(directory, 'homeless.yaml');
    put(path, file('', 2));
    const source = open(path);
    const acquiring = source.acquire(self, {}, signal);
    await until('it is said', () => /gives us no subnet: add "subnet: ..."/.test(source.state().error ?? ''));
    put(path, file('subnet: 10.244.9.0/24\n', 2));
    assert.equal((await acquiring).subnet, '10.244.9.0/24');
    assert.equal(source.state().error, undefined);
    source.publish({ ...self, publicIp: '203.0.113.9' });
  });

  it('stop being waited for at the signal', async () => {
    const source = open(join(directory, 'never.yaml'));
    const stop = new AbortController();
    const waiting = assert.rejects(source.config(stop.signal), /enough/);
    stop.abort(new Error('enough'));
    await waiting;
  });
});
