/** The rules that let pods out: made from subnet.env as flanneld makes them, as often as one likes, and taken away. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Bed, missingForNamespaces, type Namespace, REPOSITORY } from './support/netns.ts';

const SCRIPT = join(REPOSITORY, 'deploy/flannel-traffic-rules.sh');
const missing = missingForNamespaces() ?? missingForIptables();
if (missing && process.env.CI) throw new Error(missing);

function missingForIptables(): string | null {
  return spawnSync('iptables', ['--version']).status === 0
    ? null
    : 'needs iptables: apt-get install iptables';
}

/** Sends one datagram and prints the address that it came from, as the receiver saw it. */
const RECEIVE = `
import socket, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(('', 4000))
receiver.settimeout(5)
print('ready', flush=True)
print(receiver.recvfrom(16)[1][0], flush=True)
`;
const SEND = `
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 4000))
`;

const subnetEnv = (masquerade: boolean) =>
  `FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=${masquerade}\n`;

describe('traffic rules', { skip: missing ?? false }, () => {
  const bed = new Bed();
  let node: Namespace;
  let pod: Namespace;
  let outside: Namespace;
  let file: string;
  const rules = (action: string) => node.run(SCRIPT, action, file);
  /** Without counters. */
  const saved = (table: string) => node.run('iptables-save', '-t', table).replace(/^[#:].*\n/gm, '');

  before(() => {
    [node, pod, outside] = [bed.namespace('node'), bed.namespace('pod'), bed.namespace('outside')];
    node.ip(
      `link add pod0 type veth peer name eth0 netns ${pod.name}`,
      `link add eth0 type veth peer name eth0 netns ${outside.name}`,
      'addr add 10.244.1.1/24 dev pod0',
      'addr add 192.0.2.1/24 dev eth0',
      'link set pod0 up',
      'link set eth0 up',
    );
    node.sysctl({ 'net.ipv4.ip_forward': 1 });
    pod.ip('addr add 10.244.1.2/24 dev eth0', 'link set eth0 up', 'route add default via 10.244.1.1');
    // Another pod of the cluster, and a host outside of it, at one place.
    outside.ip(
      'addr add 192.0.2.2/24 dev eth0',
      'addr add 10.244.2.2/32 dev eth0',
      'link set eth0 up',
      'route add 10.244.1.0/24 via 192.0.2.1',
    );
    node.ip('route add 10.244.2.0/24 via 192.0.2.2');
    // As on a machine with Docker: what nobody accepts is not forwarded.
    node.run('iptables', '-P', 'FORWARD', 'DROP');
    file = join(bed.directory(), 'subnet.env');
    writeFileSync(file, subnetEnv(true));
  });
  after(() => bed.close());

  /** The source that the outside sees when the pod sends to an address of it. */
  async function seenFrom(address: string): Promise<string> {
    const receiver = outside.spawn('python3', ['-c', RECEIVE], { stdio: ['ignore', 'pipe', 'ignore'] });
    let said = '';
    receiver.stdout?.on('data', (chunk: Buffer) => {
      if (said === '') pod.run('python3', '-c', SEND, address);
      said += chunk.toString();
    });
    await new Promise((resolve) => receiver.once('close', resolve));
    return said.trim().split('\n')[1] ?? 'nothing';
  }

  test('pods reach the outside as the node, other pods as themselves', async () => {
    rules('apply');
    assert.equal(await seenFrom('192.0.2.2'), '192.0.2.1');
    assert.equal(await seenFrom('10.244.2.2'), '10.244.1.2');
  });

  test('the rules are flanneld’s, and the same however often they are made', () => {
    rules('apply');
    const [nat, filter] = [saved('nat'), saved('filter')];
    rules('apply');
    assert.deepEqual([saved('nat'), saved('filter')], [nat, filter]);
    const masq = '-m comment --comment "flanneld masq"';
    assert.deepEqual(
      nat.split('\n').filter((line) => line.startsWith('-A')),
      [
        `-A POSTROUTING ${masq} -j FLANNEL-POSTRTG`,
        `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${masq} -j RETURN`,
        `-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 ${masq} -j RETURN`,
        `-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 ${masq} -j RETURN`,
        `-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 ${masq} -j RETURN`,
        `-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 ${masq} -j MASQUERADE --random-fully`,
        `-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 ${masq} -j MASQUERADE --random-fully`,
      ],
    );
  });

  test('where CNI plugins masquerade, pods are only forwarded', () => {
    writeFileSync(file, subnetEnv(false));
    rules('apply');
    assert.doesNotMatch(saved('nat'), /FLANNEL/i);
    assert.match(saved('filter'), /-A FLANNEL-FWD -s 10\.244\.0\.0\/16 .*-j ACCEPT/);
    writeFileSync(file, subnetEnv(true));
    rules('apply');
  });

  test('they are gone when they are taken away', () => {
    rules('remove');
    rules('remove');
    for (const table of ['nat', 'filter']) assert.doesNotMatch(saved(table), /FLANNEL/i);
  });
});
