/**
 * Other tunnels in user space, as their manuals say, for the ones that are installed: nothing is encrypted, and
 * everything runs in the namespaces of the test bed, with files in its directory.
 */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Host,
  ip,
  OVERLAY_MTU,
  run,
  type Testbed,
  type Tunnel,
  UNDERLAY,
  UNDERLAY_MTU,
  VTEP,
} from './testbed.ts';

export interface Peer extends Tunnel {
  name: string;
  title: string;
  /** Programs that have to be there, and Debian's package that has them. */
  programs: string[];
  package: string;
}

/** Open vSwitch with its datapath in user space: a bridge over the veth, and one with a vxlan port and the TAP. */
const ovs: Peer = {
  name: 'ovs',
  title: 'Open vSwitch (userspace)',
  programs: ['ovsdb-server', 'ovsdb-tool', 'ovs-vsctl', 'ovs-vswitchd'],
  package: 'openvswitch-switch',
  async start(bed, host, peer) {
    const { directory } = host;
    const [database, socket] = [join(directory, 'conf.db'), `unix:${join(directory, 'db.sock')}`];
    const env = { OVS_RUNDIR: directory, OVS_LOGDIR: directory, OVS_DBDIR: directory };
    const quiet = ['--no-chdir', '-vconsole:off'];
    run('ovsdb-tool', 'create', database, '/usr/share/openvswitch/vswitch.ovsschema');
    bed.spawn(host, 'ovsdb-server', [database, `--remote=p${socket}`, ...quiet], { env });
    await waitForFile(join(directory, 'db.sock'));
    const vsctl = (words: string) => run('ovs-vsctl', '--timeout=10', `--db=${socket}`, ...words.split(' '));
    vsctl('--no-wait init');
    host.process = bed.spawn(host, 'ovs-vswitchd', [socket, ...quiet], { env });
    host.wire = 'phy0';
    vsctl(
      `add-br phy0 -- set bridge phy0 datapath_type=netdev -- add-port phy0 ${UNDERLAY} ` +
        `-- set interface phy0 mtu_request=${UNDERLAY_MTU}`,
    );
    ip(host, `addr flush dev ${UNDERLAY}`);
    ip(host, `addr add ${host.underlay}/24 dev phy0`);
    ip(host, 'link set phy0 up');
    vsctl(
      `add-br ${VTEP} -- set bridge ${VTEP} datapath_type=netdev -- add-port ${VTEP} tunnel -- set interface tunnel ` +
        `type=vxlan options:remote_ip=${peer.underlay} options:local_ip=${host.underlay} options:key=1 options:dst_port=8472`,
    );
  },
};

const fastd: Peer = {
  name: 'fastd',
  title: 'fastd (method null)',
  programs: ['fastd'],
  package: 'fastd',
  async start(bed, host, peer) {
    const file = join(host.directory, 'fastd.conf');
    const lines = [
      'log level info',
      'mode tap',
      `interface "${VTEP}"`,
      'method "null"',
      `mtu ${OVERLAY_MTU}`,
      `bind ${host.underlay}:10000`,
      `include "${fastdSecret(host)}"`,
      `peer "peer" { key "${fastdKey(peer)}"; remote ${peer.underlay}:10000; }`,
    ];
    writeFileSync(file, lines.map((line) => (line.endsWith('}') ? `${line}\n` : `${line};\n`)).join(''));
    await startProcess(bed, host, 'fastd', ['-c', file]);
  },
};

/** A file with the host's secret, made at the first question. */
function fastdSecret(host: Host): string {
  const file = join(host.directory, 'fastd.secret');
  if (!existsSync(file)) {
    const secret = run('fastd', '--generate-key', '--machine-readable').trim();
    writeFileSync(file, `secret "${secret}";\n`, { mode: 0o600 });
  }
  return file;
}

const fastdKey = (host: Host) =>
  run('fastd', '-c', fastdSecret(host), '--show-key', '--machine-readable').trim();

const tinc: Peer = {
  name: 'tinc',
  title: 'tinc 1.0 (no cipher)',
  programs: ['tincd'],
  package: 'tinc',
  async start(bed, host, peer) {
    const hosts = join(host.directory, 'hosts');
    mkdirSync(hosts);
    for (const of of [host, peer]) {
      const text = `Address = ${of.underlay}\nCipher = none\nDigest = none\nCompression = 0\n${tincKey(of)}`;
      writeFileSync(join(hosts, tincName(of)), text);
    }
    const settings = { Name: tincName(host), ConnectTo: tincName(peer), Interface: VTEP };
    const fixed = { Mode: 'switch', DeviceType: 'tap', AddressFamily: 'ipv4' };
    const text = Object.entries({ ...settings, ...fixed }).map(([key, value]) => `${key} = ${value}\n`);
    writeFileSync(join(host.directory, 'tinc.conf'), text.join(''));
    const pid = `--pidfile=${join(host.directory, 'tinc.pid')}`;
    await startProcess(bed, host, 'tincd', ['-c', host.directory, '-D', '-d1', pid]);
  },
};

const tincName = (host: Host) => `host${host.underlay.replace(/.*\./, '')}`;

/** The public key; both are made at the first question. */
function tincKey(host: Host): string {
  const file = join(host.directory, 'rsa_key.pub');
  if (!existsSync(file)) {
    const encoding = { type: 'pkcs1', format: 'pem' } as const;
    const keys = { modulusLength: 2048, publicKeyEncoding: encoding, privateKeyEncoding: encoding };
    const { publicKey, privateKey } = generateKeyPairSync('rsa', keys);
    writeFileSync(join(host.directory, 'rsa_key.priv'), privateKey, { mode: 0o600 });
    writeFileSync(file, publicKey);
  }
  return readFileSync(file, 'utf8');
}

/** Resolves when the process has made its TAP. */
async function startProcess(bed: Testbed, host: Host, program: string, words: string[]): Promise<void> {
  const child = bed.spawn(host, program, words);
  host.process = child;
  let said = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      said = (said + chunk).slice(-2000);
    });
  }
  for (let waited = 0; waited < READY_MS; waited += 50) {
    if (child.exitCode !== null) break;
    const has = `ip -n ${host.namespace} -o link`.split(' ');
    if (run(has[0]!, ...has.slice(1)).includes(` ${VTEP}:`)) return;
    await sleep(50);
  }
  throw new Error(`${program} has not made ${VTEP}: ${said.trim()}`);
}

const READY_MS = 10_000;

async function waitForFile(file: string): Promise<void> {
  for (let waited = 0; !existsSync(file); waited += 20) {
    if (waited > READY_MS) throw new Error(`${file} has not appeared`);
    await sleep(20);
  }
}

export const PEERS: readonly Peer[] = [ovs, fastd, tinc];
