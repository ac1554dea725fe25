/**
 * Two flannel networks in one daemon, each with its VNI, port, families and options, beside the kernel's own devices:
 * one of both families, on a node that flanneld has left its device on, and one that listens on one address only.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { NetworkStatus } from '../src/flannel/network-status.ts';
import {
  Bed,
  missingForKernelVxlan,
  missingForNamespaces,
  missingForTap,
  type Namespace,
  REPOSITORY,
} from './support/netns.ts';

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();
const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const HEALTH_PORT = 18_081;
/** Of the device that flanneld left. */
const LEFT_MAC = '0a:00:00:00:00:01';
const FAR = { 4: '0a:00:00:00:00:02', 6: '0a:00:00:00:00:06', second: '0a:00:00:00:00:22' };

describe('flannel networks in one daemon', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let ours: Namespace;
  let kernel: Namespace;
  let directory: string;
  let socket: string;

  const status = (): NetworkStatus[] =>
    JSON.parse(ours.run(process.execPath, PROGRAM, 'flannel', 'status', '-j', '--socket', socket)).networks;
  const until = async (what: string, holds: () => boolean) => {
    for (const end = Date.now() + 10_000; ; ) {
      if (holds()) return;
      if (Date.now() > end) throw new Error(`not in time: ${what}: ${JSON.stringify(status())}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const udp = () =>
    ours
      .run('ss', '-lnuH')
      .split('\n')
      .map((line) => line.trim().split(/\s+/)[3] ?? '');
  const ping = (from: Namespace, ...words: string[]) => from.run('ping', '-c', '1', '-W', '2', ...words);

  before(async () => {
    ours = bed.namespace('ours');
    kernel = bed.namespace('kernel');
    directory = bed.directory();
    socket = join(directory, 's.sock');
    for (const namespace of [ours, kernel])
      namespace.sysctl({
        'net.ipv4.ip_forward': 1,
        'net.ipv6.conf.all.forwarding': 1,
        'net.ipv6.conf.default.accept_dad': 0,
      });
    ours.ip(
      `link add eth0 type veth peer name eth0 netns ${kernel.name}`,
      ...['addr add 192.0.2.1/24 dev eth0', 'addr add 2001:db8::1/64 dev eth0 nodad', 'link set eth0 up'],
      `link add flannel.1 address ${LEFT_MAC} type vxlan id 1 dev eth0 local 192.0.2.1 dstport 8472 nolearning`,
      ...['addr add 10.244.1.0/32 dev flannel.1', 'link set flannel.1 up'],
    );
    const vxlan = 'dev eth0 nolearning';
    kernel.ip(
      ...['addr add 192.0.2.2/24 dev eth0', 'addr add 2001:db8::2/64 dev eth0 nodad', 'link set eth0 up'],
      `link add flannel.1 address ${FAR[4]} mtu 1430 type vxlan id 1 local 192.0.2.2 dstport 8472 ${vxlan}`,
      `link add flannel-v6.1 address ${FAR[6]} mtu 1430 type vxlan id 1 local 2001:db8::2 dstport 8472 ${vxlan}`,
      `link add flannel.2 address ${FAR.second} mtu 1450 type vxlan id 2 local 192.0.2.2 dstport 8473 ${vxlan}`,
      ...['addr add 10.244.2.0/32 dev flannel.1', 'addr add fd00:0:0:2::/128 dev flannel-v6.1 nodad'],
      'addr add 10.245.2.0/32 dev flannel.2',
      ...['link set flannel.1 up', 'link set flannel-v6.1 up', 'link set flannel.2 up'],
    );
    writeFileSync(
      join(directory, 'one.yaml'),
      `config: { Network: 10.244.0.0/16, IPv6Network: "fd00::/48", EnableIPv6: true, Backend: { type: VXLAN } }
subnet: 10.244.1.0/24
subnetV6: fd00:0:0:1::/64
leases:
  - { name: far, publicIp: 192.0.2.2, subnet: 10.244.2.0/24, mac: "${FAR[4]}", publicIpV6: "2001:db8::2", subnetV6: "fd00:0:0:2::/64", macV6: "${FAR[6]}" }
`,
    );
    writeFileSync(
      join(directory, 'two.yaml'),
      `config: { Network: 10.245.0.0/16, Backend: { Type: vxlan, VNI: 2, Port: 8473 } }
subnet: 10.245.1.0/24
leases: [{ name: far, publicIp: 192.0.2.2, subnet: 10.245.2.0/24, mac: "${FAR.second}", vni: 2 }]
`,
    );
    const common = `iface: [eth0], stateDirectory: ${directory}, reconcileInterval: 1`;
    writeFileSync(
      join(directory, 'config.yaml'),
      `flannel:
  - { name: one, leases: { file: ${directory}/one.yaml }, subnetFile: ${directory}/one.env, ${common} }
  - { name: two, leases: { file: ${directory}/two.yaml }, subnetFile: ${directory}/two.env, bind: true, ${common} }
health: { ip: 127.0.0.1, port: ${HEALTH_PORT} }
`,
    );
    ours.spawn(
      process.execPath,
      [PROGRAM, 'daemon', '--config', join(directory, 'config.yaml'), '--socket', socket],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    await until('both run', () => existsSync(socket) && status().every(({ phase }) => phase === 'running'));
    const [one, two] = status();
    const macs = [...one!.overlays, ...two!.overlays].map(({ mac }) => mac);
    for (const [dev, network, subnet, outer, mac] of [
      ['flannel.1', '10.244.1.0', '10.244.1.0/24', '192.0.2.1', macs[0]],
      ['flannel-v6.1', 'fd00:0:0:1::', 'fd00:0:0:1::/64', '2001:db8::1', macs[1]],
      ['flannel.2', '10.245.1.0', '10.245.1.0/24', '192.0.2.1', macs[2]],
    ] as const) {
      kernel.ip(`neigh replace ${network} lladdr ${mac} dev ${dev} nud permanent`);
      kernel.run('bridge', 'fdb', 'replace', mac!, 'dev', dev, 'dst', outer);
      kernel.ip(`route replace ${subnet} via ${network} dev ${dev} onlink`);
    }
  });
  after(() => bed.close());

  it('carry both families, with one MTU that fits both', () => {
    const [one] = status();
    assert.deepEqual(
      one!.overlays.map(({ name, mtu, up, local }) => [name, mtu, up, local]),
      [
        ['flannel.1', 1430, true, '192.0.2.1'],
        ['flannel-v6.1', 1430, true, '2001:db8::1'],
      ],
    );
    assert.equal(
      readFileSync(join(directory, 'one.env'), 'utf8'),
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n' +
        'FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\n' +
        'FLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n',
    );
    for (const size of ['56', '1382']) {
      ping(ours, '-s', size, '-M', 'do', '-I', '10.244.1.0', '10.244.2.0');
      ping(ours, '-s', size, '-I', 'fd00:0:0:1::', 'fd00:0:0:2::');
    }
    ping(kernel, '10.244.1.0');
    ping(kernel, 'fd00:0:0:1::');
    const [v6] = ours.ipJson('-6', 'addr', 'show', 'dev', 'flannel-v6.1', 'scope', 'global')[0].addr_info;
    assert.deepEqual([v6.local, v6.prefixlen], ['fd00:0:0:1::', 128]);
    assert.equal(ours.run('cat', '/proc/sys/net/ipv6/conf/flannel-v6.1/accept_ra').trim(), '0');
  });

  it('take the place of the device that flanneld left, with its MAC', () => {
    const [link] = ours.ipJson('-d', 'link', 'show', 'flannel.1');
    assert.deepEqual([link.linkinfo.info_kind, link.address], ['tun', LEFT_MAC]);
  });

  it('are apart from each other, and listen where they are told to', () => {
    ping(ours, '-I', '10.245.1.0', '10.245.2.0');
    ping(kernel, '-I', '10.245.2.0', '10.245.1.0');
    assert.ok(udp().includes('0.0.0.0:8472'));
    assert.ok(udp().includes('192.0.2.1:8473'), udp().join());
    const [one, two] = status();
    assert.deepEqual([...one!.problems, ...two!.problems], []);
    assert.deepEqual(
      one!.peers.map(({ family, state, subnet }) => [family, state, subnet]),
      [
        [4, 'tunnel', '10.244.2.0/24'],
        [6, 'tunnel', 'fd00:0:0:2::/64'],
      ],
    );
    assert.ok(one!.peers[0]!.stats!.rx.packets > 0);
  });

  it('take nothing from a peer that is not from its subnet, and count that', () => {
    kernel.ip('addr add 10.244.9.9/32 dev flannel.1');
    assert.throws(() => kernel.run('ping', '-c', '1', '-W', '1', '-I', '10.244.9.9', '10.244.1.0'));
    kernel.ip('addr del 10.244.9.9/32 dev flannel.1');
    const { rx } = status()[0]!.peers[0]!.stats!;
    assert.deepEqual([rx.subnet_drops, rx.address_drops], [1, 0]);
  });

  it('answer for their health', async () => {
    const ask = (path: string) =>
      ours.run(
        process.execPath,
        '-e',
        `fetch('http://127.0.0.1:${HEALTH_PORT}${path}').then(async (r) => console.log(r.status, (await r.text()).trim()))`,
      );
    assert.equal(ask('/healthz').trim(), '200 ok');
    await until('peers answer', () =>
      status().every(({ peers }) => peers.every((one) => one.reachability?.state === 'answers')),
    );
    assert.equal(ask('/readyz').trim(), '200 ok');
  });

  it('a bound one listens on another address when that has become ours', async () => {
    ours.ip('addr del 192.0.2.1/24 dev eth0', 'addr add 192.0.2.9/24 dev eth0');
    await until('they use it', () => status().every(({ lease }) => lease?.publicIp === '192.0.2.9'));
    await until('it is listened on', () => udp().includes('192.0.2.9:8473'));
    assert.ok(!udp().includes('192.0.2.1:8473'));
    const { mac } = status()[1]!.overlays[0]!;
    kernel.run('bridge', 'fdb', 'replace', mac, 'dev', 'flannel.2', 'dst', '192.0.2.9');
    await until('routes are back', () => ours.ipJson('route', 'show', 'dev', 'flannel.2').length === 1);
    ping(ours, '-I', '10.245.1.0', '10.245.2.0');
  });
});
