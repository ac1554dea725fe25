/** The words of `vxlane flannel`: flanneld's flags and variables, ours, the configuration file's keys, and the status as text. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseFlannel } from '../src/cli/flannel.ts';
import { FLANNELD_FLAGS, OWN_FLAGS } from '../src/cli/flannel-flags.ts';
import { flannelText } from '../src/cli/flannel-format.ts';
import { runCli } from '../src/cli/program.ts';
import { configOf, readConfig } from '../src/daemon/config.ts';
import { startDaemon } from '../src/daemon/daemon.ts';
import type { NetworkStatus, PeerStatus } from '../src/flannel/network-status.ts';
import { FakeVtep } from './support/fake-vtep.ts';

const parse = (line: string, env: Record<string, string> = {}) =>
  parseFlannel(line.split(' ').filter(Boolean), env);
const refused = (line: string, env: Record<string, string> = {}) => {
  try {
    parse(line, env);
  } catch (error) {
    return (error as Error).message;
  }
  return assert.fail(`taken: ${line}`);
};

const ETCD = {
  kind: 'etcd',
  endpoints: ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
  prefix: '/coreos.com/network',
  renewMargin: 60,
};
const KUBERNETES = {
  kind: 'kubernetes',
  netConfPath: '/etc/kube-flannel/net-conf.json',
  annotationPrefix: 'flannel.alpha.coreos.com',
  setNodeNetworkUnavailable: true,
};

describe('flags of flanneld', () => {
  it('have flanneld’s defaults', () => {
    assert.deepEqual(parse(''), {
      network: {
        ...{ name: 'default', source: ETCD, stateDirectory: '/var/lib/vxlane' },
        ...{ subnetFile: '/run/flannel/subnet.env', ipMasq: false, bind: false, validateSources: true },
        ...{ reconcileInterval: 10, iface: [], ifaceRegex: [] },
      },
      tuning: {},
      health: { ip: '0.0.0.0', port: 0 },
      notes: [],
    });
  });

  it('mean what they mean there, with one dash, two, or as variables', () => {
    for (const line of [
      '--etcd-endpoints=https://a:1,https://b:2 --etcd-prefix /x --etcd-cafile ca --etcd-certfile c --etcd-keyfile k --etcd-username u --etcd-password=p=q',
      '-etcd-endpoints https://a:1,https://b:2 -etcd-prefix=/x -etcd-cafile=ca -etcd-certfile c -etcd-keyfile k -etcd-username u -etcd-password p=q',
    ]) {
      assert.deepEqual(parse(line).network.source, {
        ...{ kind: 'etcd', endpoints: ['https://a:1', 'https://b:2'], prefix: '/x', renewMargin: 60 },
        ...{ cafile: 'ca', certfile: 'c', keyfile: 'k', username: 'u', password: 'p=q' },
      });
    }
    const variables = {
      ...{ FLANNELD_ETCD_ENDPOINTS: 'http://z:1', FLANNELD_ETCD_PASSWORD: 's', FLANNELD_IFACE: 'eth9' },
      ...{ FLANNELD_SUBNET_LEASE_RENEW_MARGIN: '30', FLANNELD_IP_MASQ: 'true', FLANNELD_HEALTHZ_PORT: '81' },
    };
    const { network, health } = parse('', variables);
    assert.deepEqual(network.source, {
      ...ETCD,
      ...{ endpoints: ['http://z:1'], password: 's', renewMargin: 30 },
    });
    assert.deepEqual([network.iface, network.ipMasq, health.port], [['eth9'], true, 81]);
    // What stands on the command line goes before.
    assert.deepEqual(parse('--iface eth0 -iface 192.0.2.1', variables).network.iface, ['eth0', '192.0.2.1']);
    assert.equal(parse('-ip-masq=false', variables).network.ipMasq, false);
  });

  it('choose the underlay and where files are', () => {
    const { network } = parse(
      '--iface-regex ^e.*{1,2}$ --iface-can-reach 192.0.2.9 --public-ip 198.51.100.1 --public-ipv6 2001:db8::1 --subnet-file /x/s.env',
    );
    const { ifaceRegex, ifaceCanReach, publicIp, publicIpV6, subnetFile } = network;
    assert.deepEqual(
      { ifaceRegex, ifaceCanReach, publicIp, publicIpV6, subnetFile },
      {
        ...{ ifaceRegex: ['^e.*{1,2}$'], ifaceCanReach: '192.0.2.9', publicIp: '198.51.100.1' },
        ...{ publicIpV6: '2001:db8::1', subnetFile: '/x/s.env' },
      },
    );
  });

  it('say that leases are Kubernetes’', () => {
    assert.deepEqual(parse('--ip-masq --kube-subnet-mgr').network.source, KUBERNETES);
    assert.deepEqual(
      parse(
        '--kube-subnet-mgr=true --kubeconfig-file k --kube-api-url https://h --kube-annotation-prefix p --net-config-path n --set-node-network-unavailable=false',
        { NODE_NAME: 'node-7' },
      ).network.source,
      {
        ...{ kind: 'kubernetes', kubeconfig: 'k', apiUrl: 'https://h', nodeName: 'node-7' },
        ...{ netConfPath: 'n', annotationPrefix: 'p', setNodeNetworkUnavailable: false },
      },
    );
  });

  it('without a meaning here say so, and those that can’t be honoured are refused', () => {
    const { notes } = parse(
      '-v=4 --vmodule a=1 --iptables-resync 5 --iptables-forward-rules=false --ip-masq',
      {
        FLANNELD_V: '7',
        FLANNELD_SERVICE_HOST: '10.96.0.1',
      },
    );
    assert.equal(notes.length, 7);
    for (const [index, start] of [
      '-v: without meaning here: ',
      '--vmodule: without meaning here: ',
      '--iptables-resync: without meaning here: ',
      '--iptables-forward-rules: without meaning here: ',
      'FLANNELD_V: without meaning here: ',
      'FLANNELD_SERVICE_HOST: without meaning here: no flag has this name',
      '--ip-masq: vxlane makes no rules',
    ].entries())
      assert.ok(notes[index]!.startsWith(start), notes[index]);
    assert.deepEqual(parse('--lease-file f --etcd-prefix /x').notes, [
      '--etcd-prefix: not used with --lease-file',
    ]);
    for (const [line, message] of [
      ['--log_dir /x', /^--log_dir: not supported: /],
      ['--ip-blackhole-route', /^--ip-blackhole-route: not supported: make it yourself/],
      ['--nope', /^--nope: unknown, neither flanneld nor vxlane has it, try --help$/],
      ['--iface', /^--iface: a value is missing/],
      ['--ip-masq=maybe', /^--ip-masq: argument "maybe" is wrong: true or false is expected$/],
      ['--subnet-lease-renew-margin 1440', /1 to 1439 is expected$/],
      ['--healthz-port x', /^--healthz-port: argument "x" is wrong: a number is expected$/],
      [
        '--public-ip 2001:db8::1',
        /^--public-ip: argument "2001:db8::1" is wrong: an IPv4 address is expected$/,
      ],
      ['--etcd-certfile c', /^--etcd-certfile and --etcd-keyfile: one needs the other$/],
      ['--lease-file f --kube-subnet-mgr', /one source of leases is expected, not two$/],
      ['--no-iface', /only a switch has a "no-" form/],
      ['--engine fast', /^--engine: argument "fast" is wrong/],
      ['nonsense', /^argument "nonsense" is wrong: flags or "status" are expected/],
    ] as const)
      assert.match(refused(line), message);
    assert.match(refused('', { FLANNELD_IP_MASQ: 'x' }), /^FLANNELD_IP_MASQ: argument "x" is wrong/);
  });

  it('and ours', () => {
    const { network, tuning } = parse(
      '--lease-file l.yaml --bind --no-validate-sources --reconcile-interval 3 --state-dir /s --engine batched --threads 1 --spin 0',
    );
    assert.deepEqual(network.source, { kind: 'file', path: 'l.yaml' });
    assert.deepEqual([network.bind, network.validateSources, network.reconcileInterval], [true, false, 3]);
    assert.equal(network.stateDirectory, '/s');
    assert.deepEqual(tuning, { engine: 'batched', threads: 1, spin: 0 });
    assert.equal(
      parse('', { STATE_DIRECTORY: '/var/lib/a:/var/lib/b' }).network.stateDirectory,
      '/var/lib/a',
    );
  });

  it('stand in the help, each', async () => {
    let out = '';
    const take = (text: string) => {
      out += text;
    };
    assert.equal(await runCli(['flannel', '--help'], { out: take, err: take, env: {} }), 0);
    for (const { name } of [...FLANNELD_FLAGS, ...OWN_FLAGS])
      assert.match(out, new RegExp(`^  --${name}\\b`, 'm'));
    for (const line of out.split('\n')) assert.ok(line.length <= 120, line);
    out = '';
    assert.equal(await runCli(['completion', 'bash'], { out: take, err: take, env: {} }), 0);
    assert.match(out, /'flannel'\) words='status --etcd-endpoints .*--iface .*--lease-file/);
  });
});

describe('the configuration file’s flannel networks', () => {
  const networks = async (text: string) => (await readConfig(text, 'f')).flannel;

  it('are as many as there are sources', async () => {
    const found = await networks(`
flannel:
  - leases: { etcd: { endpoints: [http://192.0.2.9:2379], username: u, password: p } }
  - name: second
    leases: { file: /l.yaml }
    subnetFile: /run/flannel/second.env
    iface: [eth1]
    bind: true
  - name: third
    leases: { kubernetes: {} }
    subnetFile: /run/flannel/third.env
health: { port: 8081 }
`);
    assert.deepEqual(
      found?.map(({ name }) => name),
      ['default', 'second', 'third'],
    );
    assert.deepEqual(found?.[0]?.source, {
      ...ETCD,
      ...{ endpoints: ['http://192.0.2.9:2379'], username: 'u', password: 'p' },
    });
    assert.deepEqual([found?.[1]?.iface, found?.[1]?.bind], [['eth1'], true]);
    assert.deepEqual(found?.[2]?.source, KUBERNETES);
    assert.deepEqual((await readConfig('health: { port: 8081 }', 'f')).health, { ip: '0.0.0.0', port: 8081 });
  });

  it('are refused with line and key', async () => {
    for (const [text, said] of [
      ['flannel: 7', /^config f:1:10: flannel: a list of flannel networks is expected/],
      ['flannel: [{ leases: {} }]', /leases: one of file, etcd and kubernetes is expected/],
      ['flannel: [{ leases: { file: a, etcd: {} } }]', /one of file, etcd and kubernetes is expected/],
      ['flannel: [{ leases: { etcd: { renewMargin: 0 } } }]', /renewMargin: a number from 1 to 1439/],
      ['flannel: [{ leases: { file: a }, publicIp: x }]', /publicIp: an IPv4 address is expected/],
      ['flannel: [{ leases: { file: a }, iface: eth0 }]', /iface: a list of interfaces is expected/],
      ['flannel: [{ leases: { file: a } }, { leases: { file: b } }]', /each network needs a name of its own/],
      ['flannel: [{ leases: { file: a } }, { leases: { file: b }, name: b }]', /a subnetFile of its own/],
    ] as const)
      await assert.rejects(networks(text), { message: said }, text);
  });
});

describe('the status as text', () => {
  const peer = (differences: Partial<PeerStatus>): PeerStatus => ({
    ...{ key: 'b', family: 4, subnet: '10.244.2.0/24', publicIp: '192.0.2.2', mac: '02:00:00:00:00:02' },
    state: 'tunnel',
    ...differences,
  });
  const network = (differences: Partial<NetworkStatus>): NetworkStatus => ({
    ...{ name: 'default', phase: 'running', overlays: [], problems: [], peers: [] },
    source: {
      ...{ kind: 'etcd', where: 'http://192.0.2.9:2379', synced: true, connected: true, since: 0 },
      ...{ skipped: [], counters: {} },
    },
    ...differences,
  });
  const none = { packets: 0, bytes: 0 };

  it('shows all there is of a network, and each peer', () => {
    const text = flannelText(
      {
        networks: [
          network({
            config: {
              ...{
                enableIpv4: true,
                enableIpv6: false,
                network: '10.244.0.0/16',
                subnetLen: 24,
                ipv6SubnetLen: 64,
              },
              backend: {
                ...{ type: 'vxlan', vni: 1, port: 8472, gbp: false, learning: false, directRouting: true },
              },
            },
            lease: {
              ...{ key: 'a', backendType: 'vxlan', publicIp: '192.0.2.1', subnet: '10.244.1.0/24' },
              expires: 3_600_000,
            },
            overlays: [
              {
                ...{
                  family: 4,
                  name: 'flannel.1',
                  ifindex: 7,
                  mac: '02:00:00:00:00:01',
                  mtu: 1450,
                  up: true,
                },
                ...{ local: '192.0.2.1', dev: 'eth0' },
              },
            ],
            problems: ['one', 'two'],
            peers: [
              peer({
                reachability: { state: 'answers', rttMs: 0.4321, fullSize: 'passes', pathMtu: 1500 },
                last: 3,
                stats: { rx: { packets: 12_345, bytes: 1, address_drops: 2, subnet_drops: 3 }, tx: none },
              }),
              peer({
                key: 'c',
                state: 'direct',
                reachability: { state: 'silent', fullSize: 'unknown', pathMtu: 0 },
              }),
              peer({ key: 'd', state: 'error', error: 'no such thing' }),
              peer({
                key: 'e',
                reachability: { state: 'answers', rttMs: 12.3, fullSize: 'lost', pathMtu: 1400 },
              }),
            ],
          }),
        ],
      },
      60_000,
    );
    assert.equal(
      text,
      `flannel default  running
leases           etcd http://192.0.2.9:2379, synced
network          10.244.0.0/16, VNI 1, UDP port 8472, DirectRouting
our lease        10.244.1.0/24 at 192.0.2.1, for 59m0s
device           flannel.1 up, MAC 02:00:00:00:00:01, MTU 1450, from 192.0.2.1 over eth0
problem          one
                 two

PEER         SUBNET  PUBLIC IP     WAY     ANSWERS      RTT  PATH MTU  LAST  RX PKT  TX PKT  REFUSED
b     10.244.2.0/24  192.0.2.2  tunnel         yes  0.43 ms      1500    3s   12.3k       0        5
c     10.244.2.0/24  192.0.2.2  direct          no        -    no way     -       -       -        -
d     10.244.2.0/24  192.0.2.2   error           ?        -         -     -       -       -        -  no such thing
e     10.244.2.0/24  192.0.2.2  tunnel  small ones    12 ms      1400     -       -       -        -
`,
    );
  });

  it('says what is waited for, and why', () => {
    const source = {
      ...{
        kind: 'file' as const,
        where: '/l.yaml',
        synced: false,
        connected: false,
        since: 1000,
        counters: {},
      },
      ...{ error: '/l.yaml: no such file', skipped: [{ key: 'x', reason: 'is nonsense' }] },
    };
    assert.equal(
      flannelText({ networks: [network({ phase: 'configuration', source })] }, 61_000),
      `flannel default  waits for its configuration
leases           file /l.yaml, away for 1m0s: /l.yaml: no such file
left out         x: is nonsense

`,
    );
    assert.match(flannelText({ networks: [] }), /^no flannel network: /);
  });
});

describe('a daemon', () => {
  it('without flannel networks has none to show, and one that can’t listen for health leaves nothing', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
    const socket = join(directory, 's.sock');
    const daemon = await startDaemon({
      config: configOf([]),
      socket,
      createVtep: async () => new FakeVtep(),
    });
    let out = '';
    const outside = {
      out: (text: string) => {
        out += text;
      },
      err: () => {},
      env: { VXLANE_SOCKET: socket },
    };
    assert.equal(await runCli(['flannel', 'status'], outside), 0);
    assert.match(out, /^no flannel network/);
    out = '';
    assert.equal(await runCli(['-j', 'flannel', 'status'], outside), 0);
    assert.deepEqual(JSON.parse(out), { networks: [] });
    await daemon.close();

    const file = join(directory, 'c.yaml');
    await writeFile(
      file,
      `flannel: [{ leases: { file: ${directory}/none.yaml }, stateDirectory: ${directory} }]\nhealth: { ip: 192.0.2.1, port: 1 }`,
    );
    const vtep = new FakeVtep();
    const config = await readConfig(
      `${await (await import('node:fs/promises')).readFile(file, 'utf8')}`,
      'f',
    );
    await assert.rejects(startDaemon({ config, socket, createVtep: async () => vtep }), /healthz-ip/);
    assert.equal(vtep.closed, 1);
    await rm(directory, { recursive: true });
  });
});
