/**
 * Peers are asked through the overlay: kernel devices on both ends, a router in between with a smaller MTU, a slow
 * node, firewalls. What the prober says is held against what ping says in the same run, and against what was set up.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Prober } from '../src/flannel/probe.ts';
import { type ProbePeer, problemOf } from '../src/flannel/reachability.ts';
import { AF_INET, AF_INET6 } from '../src/io/family.ts';
import { EchoSocket } from '../src/io/icmp.ts';
import { syscalls } from '../src/io/syscalls.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces, type Namespace } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';

const missing = missingForNamespaces() ?? missingForKernelVxlan();
const MTU = 1450;
const FAST = { intervalMs: 200, timeoutMs: 150 };

const mac = (number: number) => `02:00:00:00:00:0${number}`;
const publicIp = (number: number) => (number === 1 ? '192.0.2.1' : `198.51.${number}.2`);
const publicIpV6 = (number: number) => `2001:db8:${number}::2`;
const overlay = (number: number) => `10.244.${number}.0`;
const overlayV6 = (number: number) => `fd00:${number}::`;

const peer = (number: number): ProbePeer => ({
  ...{ key: `node${number}`, address: overlay(number), family: AF_INET, publicIp: publicIp(number) },
});
const peerV6 = (number: number): ProbePeer => ({
  ...{ key: `node${number}`, address: overlayV6(number), family: AF_INET6, publicIp: publicIpV6(number) },
});

/** A node as flanneld leaves it: underlay through the router, devices, and all that leads to the others. */
function makeNode(node: Namespace, router: Namespace, number: number, others: readonly number[]): void {
  const [own, ownV6] = [publicIp(number), publicIpV6(number)];
  const gateway = own.replace(/\d+$/, '254');
  router.ip(
    `link add r${number} type veth peer name u0 netns ${node.name}`,
    `link set r${number} up`,
    `addr add ${gateway}/24 dev r${number}`,
    `addr add 2001:db8:${number}::fe/64 dev r${number} nodad`,
  );
  const device = (name: string, local: string, mtu: number) =>
    `link add ${name} mtu ${mtu} address ${mac(number)} type vxlan id 1 dstport 8472 local ${local} dev u0 nolearning`;
  node.ip(
    'link set u0 up',
    `addr add ${own}/24 dev u0`,
    `addr add ${ownV6}/64 dev u0 nodad`,
    `route add default via ${gateway}`,
    `route add default via 2001:db8:${number}::fe`,
    device('flannel.1', own, MTU),
    device('flannel-v6.1', ownV6, MTU - 20),
    'link set flannel.1 up',
    'link set flannel-v6.1 up',
    `addr add ${overlay(number)}/32 dev flannel.1`,
    `addr add ${overlayV6(number)}/128 dev flannel-v6.1 nodad`,
  );
  for (const other of others.filter((one) => one !== number)) {
    node.ip(
      `neigh add ${overlay(other)} lladdr ${mac(other)} dev flannel.1 nud permanent`,
      `route add ${overlay(other)}/24 via ${overlay(other)} dev flannel.1 onlink`,
      `neigh add ${overlayV6(other)} lladdr ${mac(other)} dev flannel-v6.1 nud permanent`,
      `route add ${overlayV6(other)}/64 via ${overlayV6(other)} dev flannel-v6.1 onlink`,
    );
    node.run('bridge', 'fdb', 'add', mac(other), 'dev', 'flannel.1', 'dst', publicIp(other));
    node.run('bridge', 'fdb', 'add', mac(other), 'dev', 'flannel-v6.1', 'dst', publicIpV6(other));
  }
}

/** Milliseconds: the median of a few pings. */
function pingTime(node: Namespace, address: string): number {
  const text = node.run('ping', '-n', '-c', '5', '-i', '0.05', address);
  const times = [...text.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time)).sort((a, b) => a - b);
  return times[times.length >> 1]!;
}

/** Looks until both figures are as they should be: a machine that holds one of them up does not do so for good. */
async function agrees(
  look: () => [found: number, ping: number],
  isAsItShouldBe: (found: number, ping: number) => boolean,
): Promise<void> {
  let looks = 0;
  for (let [found, ping] = look(); !isAsItShouldBe(found, ping); [found, ping] = look()) {
    assert.ok(++looks < 40, `${found} ms, ping: ${ping} ms`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function flip(bytes: Uint8Array, at: number): Uint8Array {
  bytes[at]! ^= 1;
  return bytes;
}

describe('probe', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  const nodes: Namespace[] = [];
  let here: Namespace;
  let router: Namespace;
  let prober: Prober;
  const told: string[] = [];
  const known = (number: number) => prober.of(`node${number}`, AF_INET)!;
  const problem = (number: number) => prober.problems().find(({ key }) => key === `node${number}`);

  before(() => {
    router = bed.namespace('router');
    router.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    const numbers = [1, 2, 3, 4];
    for (const number of numbers) {
      const node = bed.namespace(`node${number}`);
      makeNode(node, router, number, numbers);
      nodes[number] = node;
    }
    here = nodes[1]!;
    enter(here);
    prober = new Prober({
      ...{ address: overlay(1), addressV6: overlayV6(1), mtu: MTU, mtuV6: MTU - 20, vni: 1, port: 8472 },
      ...FAST,
      changed: ({ key, state, fullSize }) => told.push(`${key} ${state} ${fullSize}`),
    });
  });
  after(async () => {
    prober?.close();
    await bed.close();
  });

  it('finds peers that answer, with the round trip that ping finds, though it reads late', async () => {
    assert.deepEqual(prober.ready(), { ok: true, reasons: [] }, 'nobody is there to answer');
    prober.setPeers([peer(2), peer(3)]);
    assert.equal(known(2).state, 'unknown');
    assert.equal(prober.ready().ok, true, 'there was no time yet');
    await until('full size passes', () => [2, 3].every((one) => known(one).fullSize === 'passes'), 10_000);
    assert.ok(told.includes('node2 answers unknown') && told.includes('node2 answers passes'));
    await until('five answers', () => known(2).sent >= 6, 10_000);
    const { rttMs = Number.NaN, lastAnswer = 0, lost } = known(2);
    assert.equal(lost, 0);
    assert.ok(rttMs > 0 && Date.now() - lastAnswer < 10_000);
    // Timers fire every 20 ms at best: without stamps the figure would always be at least that.
    await agrees(
      () => [known(2).rttMs!, pingTime(here, overlay(2))],
      (found, ping) => found < ping + 5,
    );
    assert.equal(prober.ready().ok, true);
    await until('path MTU', () => known(3).pathMtu === 1500, 10_000);
    assert.deepEqual(prober.problems(), []);
    assert.equal(prober.error, undefined);
  });

  it('sees a delay of 20 ms, and counts what is lost', async () => {
    const node = nodes[4]!;
    node.ip('link del flannel.1');
    const slow = node.spawn(process.execPath, ['--import', 'tsx', 'test/support/slow-node.ts', '20', '4'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(slow.stdout!, 'data');
    prober.setPeers([peer(2), peer(3), peer(4)]);
    await until('answers and losses', () => known(4).sent > 12 && known(4).lost >= 3, 10_000);
    await agrees(
      () => [known(4).smoothedRttMs!, pingTime(here, overlay(4))],
      (found, ping) => ping >= 20 && found >= 19 && Math.abs(found - ping) < 5,
    );
    assert.equal(known(4).state, 'answers', 'one of four is not enough to be silent');
    assert.ok(known(4).lost < known(4).sent / 2, `${known(4).lost} of ${known(4).sent}`);
    prober.setPeers([peer(2), peer(3)]);
    assert.equal(prober.of('node4', AF_INET), undefined);
  });

  it('says what may be wrong with a peer behind a firewall, and that it is back', async () => {
    const rules = 'table inet t { chain c { type filter hook input priority 0; udp dport 8472 drop; }; }';
    nodes[3]!.run('nft', rules);
    await until('silence', () => known(3).state === 'silent' && known(3).hostAnswers === true, 10_000);
    assert.ok(known(3).lost >= 3);
    assert.equal(problem(3)?.kind, 'silent');
    assert.match(
      problem(3)!.text,
      /^10\.244\.3\.0 \(198\.51\.3\.2\) does not answer: its host answers pings/,
    );
    assert.match(problem(3)!.text, /firewall drop UDP port 8472.*VNI 1 and port 8472/);
    assert.equal(prober.ready().ok, true, 'another one answers');
    prober.setPeers([peer(3)]);
    assert.equal(known(3).state, 'silent', 'kept');
    assert.deepEqual(prober.ready(), { ok: false, reasons: ['none of 1 peers answers in the overlay'] });
    nodes[3]!.run('nft', 'delete table inet t');
    await until('answers', () => known(3).state === 'answers' && known(3).fullSize === 'passes', 10_000);
    assert.equal(problem(3), undefined);
    assert.ok(prober.ready().ok);
  });

  it('sees a smaller MTU in the middle, and large packets that are lost to it', async () => {
    router.ip('link set r3 mtu 1400');
    await until('path MTU', () => known(3).pathMtu === 1400, 10_000);
    assert.equal(known(3).fullSize, 'passes', 'in fragments');
    assert.equal(problem(3)?.kind, 'path-mtu');
    assert.match(problem(3)!.text, /carries 1400 bytes, full packets need 1500 .*Backend to 1400$/);
    // Before fragments are put together.
    nodes[3]!.run(
      'nft',
      'table ip t { chain c { type filter hook prerouting priority -450; ip frag-off & 0x3fff != 0 drop; }; }',
    );
    await until('large packets are lost', () => known(3).fullSize === 'lost', 10_000);
    assert.equal(known(3).state, 'answers');
    assert.equal(problem(3)?.kind, 'full-size');
    assert.match(problem(3)!.text, /large packets don't arrive: MTU: packets of 1450 bytes need 1500/);
    // The remedy: a smaller device.
    prober.update({ address: overlay(1), addressV6: overlayV6(1), mtu: 1350, mtuV6: 1330 });
    assert.equal(known(3).fullSize, 'unknown');
    await until('they fit', () => known(3).fullSize === 'passes', 10_000);
    assert.equal(problem(3), undefined);
  });

  it('asks over IPv6 and beside it, and over sockets that need no right', async () => {
    here.sysctl({ 'net.ipv4.ping_group_range': '0 2147483647' });
    prober.update({ address: overlay(1), addressV6: overlayV6(1), mtu: MTU, mtuV6: MTU - 20 });
    prober.setPeers([peer(2), peerV6(2)]);
    const v6 = () => prober.of('node2', AF_INET6)!;
    await until('both families', () => v6().fullSize === 'passes' && known(2).fullSize === 'passes', 10_000);
    assert.equal(v6().neededMtu, 1500);
    // The first one had to ask for neighbours on the way.
    await until('a second answer', () => v6().rttMs! < 15, 10_000);
    assert.ok(v6().rttMs! > 0 && v6().rttMs! < pingTime(here, overlayV6(2)) + 5, `${v6().rttMs} ms`);
    await until('path MTU', () => v6().pathMtu === 1500 && v6().hostAnswers === true, 10_000);
    assert.deepEqual(prober.problems(), []);
    here.sysctl({ 'net.ipv4.ping_group_range': '1 0' });
    prober.update({ address: overlay(1), mtu: MTU });
    assert.equal(prober.of('node2', AF_INET6), undefined, 'a family of which we have no address');
  });

  it('survives the loss of its device and address', async () => {
    here.ip('link set flannel.1 down');
    await until('silence', () => known(2).state === 'silent', 10_000);
    here.ip(
      'link set flannel.1 up',
      `neigh replace ${overlay(2)} lladdr ${mac(2)} dev flannel.1 nud permanent`,
      `route replace ${overlay(2)}/24 via ${overlay(2)} dev flannel.1 onlink`,
    );
    await until('answers', () => known(2).state === 'answers', 10_000);
  });

  it('asks thousands at no more than the rate it was given', async () => {
    here.ip('route add blackhole 10.128.0.0/9');
    const many = new Prober({
      address: overlay(1),
      mtu: MTU,
      vni: 1,
      port: 8472,
      intervalMs: 1000,
      timeoutMs: 100,
    });
    const peers = Array.from({ length: 5000 }, (_, i) => ({
      ...{ key: `${i}`, address: `10.128.${i >> 8}.${i & 255}`, family: AF_INET, publicIp: '192.0.2.1' },
    }));
    const start = performance.now();
    many.setPeers(peers as ProbePeer[]);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const seconds = (performance.now() - start) / 1000;
    const sent = many.all().reduce((sum, found) => sum + found.sent, 0);
    const { text } = problemOf({ ...many.all()[0]!, state: 'silent' }, { vni: 1, port: 8472, mtu: MTU })!;
    assert.match(text, /^10\.128\.0\.0 .* requests can't be sent \(EINVAL\): is the route/);
    many.close();
    assert.ok(sent > 300 * seconds && sent <= 1000 * seconds + 60, `${sent} in ${seconds} s`);
  });

  it('hears nothing in forged, cut or foreign answers', () => {
    const sys = syscalls();
    const asking = new EchoSocket({ family: AF_INET, local: '127.0.0.1', pathMtu: 'ignore' });
    // Sees every request, and is heard as if it answered.
    const raw = sys.socket(AF_INET, 3, 1);
    assert.ok(raw >= 0);
    try {
      const heard: [number, number][] = [];
      const listen = () => asking.receive(({ tag, number }) => heard.push([tag, number]));
      assert.equal(asking.send(Uint8Array.of(127, 0, 0, 1), 7, 9), 0);
      listen();
      assert.deepEqual(heard.splice(0), [[7, 9]]);
      const packet = new Uint8Array(256);
      const bytes = sys.recv(raw, packet, packet.length, 0x40);
      const request = packet.slice(20, bytes);
      assert.equal(request[0], 8, 'a request');
      const answer = (change: (reply: Uint8Array) => Uint8Array | undefined) => {
        const whole = request.slice();
        whole[0] = 0;
        const reply = change(whole) ?? whole;
        reply.fill(0, 2, 4);
        let sum = 0;
        for (let i = 0; i < reply.length; i += 2) sum += (reply[i]! << 8) | (reply[i + 1] ?? 0);
        sum = (sum & 0xffff) + (sum >>> 16);
        sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
        reply.set([sum >> 8, sum & 0xff], 2);
        const name = Uint8Array.of(2, 0, 0, 0, 127, 0, 0, 1, ...new Uint8Array(8));
        const lasting = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer);
        lasting.set(name);
        assert.equal(sys.connect(raw, sys.addressOf(lasting), 16), 0);
        assert.equal(sys.send(raw, reply, reply.length, 0), reply.length);
        listen();
      };
      answer(() => undefined);
      assert.deepEqual(heard.splice(0), [[7, 9]], 'what is as it should be is heard');
      answer((reply) => flip(reply, 8));
      assert.deepEqual([heard.length, asking.foreign, asking.malformed], [0, 1, 0]);
      answer((reply) => reply.slice(0, 20));
      assert.deepEqual([heard.length, asking.foreign, asking.malformed], [0, 1, 1]);
      answer((reply) => flip(reply, 4));
      assert.deepEqual([heard.length, asking.foreign, asking.malformed], [0, 1, 1], 'somebody else’s ping');
    } finally {
      sys.close(raw);
      asking.close();
    }
  });
});
