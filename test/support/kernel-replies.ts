/**
 * The kernel's own vxlan device, asked for the frames that it makes by itself: ARP and ND replies (proxy), ICMP
 * errors for what does not fit (too big), and frames whose MACs it rewrote (rsc). One namespace; the underlay is a
 * veth pair inside it, its far end unused but for captures.
 *
 *   p1 - p0 - br0 - vx0 (too big) ==== a0 - a1
 *                   vx1 (proxy)   ==== a0
 *                   vx2 (rsc)     ==== a0
 */
import type { Bed, Namespace } from './netns.ts';
import { REMOTE } from './reply-engine.ts';
import { FDB, NEIGHBOURS } from './reply-world.ts';
import { Agent } from './traffic.ts';

const UNDERLAY_MAC = '02:aa:00:00:00:01';
export const OVERHEAD = 50;
const MTU = 9000;
const QUIET = 'net.ipv6.conf.default.';

export class KernelReplies {
  readonly namespace: Namespace;
  readonly #agent: Agent;

  private constructor(namespace: Namespace, agent: Agent) {
    this.namespace = namespace;
    this.#agent = agent;
  }

  static async start(bed: Bed): Promise<KernelReplies> {
    const namespace = bed.namespace('replies');
    // What an interface says of its own accord would blur the captures.
    namespace.sysctl({ [`${QUIET}addr_gen_mode`]: 1, [`${QUIET}mldv2_unsolicited_report_interval`]: 10 });
    // Firewalls of bridges would check IP headers before the device sees them.
    namespace.run(
      'sh',
      '-c',
      'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ -e $f ] && echo 0 > $f; done; :',
    );
    const vxlan = (id: number, words: string) =>
      `link add vx${id} mtu ${MTU} type vxlan id ${5 + id} dstport 8472 remote ${REMOTE} nolearning ${words}`;
    namespace.ip(
      `link add a0 mtu 9100 type veth peer name a1 address ${UNDERLAY_MAC} mtu 9100`,
      'addr add 10.99.0.1/24 dev a0',
      'link set a0 up',
      'link set a1 up',
      `neigh add ${REMOTE} lladdr ${UNDERLAY_MAC} dev a0 nud permanent`,
      vxlan(0, ''),
      vxlan(1, 'proxy l3miss'),
      vxlan(2, 'rsc l3miss'),
      `link add br0 mtu ${MTU} type bridge stp_state 0 mcast_snooping 0`,
      `link add p0 mtu ${MTU} type veth peer name p1 mtu ${MTU}`,
      ...['p0', 'vx0'].map((port) => `link set ${port} master br0`),
      ...['vx0', 'vx1', 'vx2', 'br0', 'p0', 'p1'].map((name) => `link set ${name} up`),
    );
    for (const device of ['vx1', 'vx2']) {
      namespace.ip(
        ...NEIGHBOURS.map(
          ({ address, mac, state }) => `neigh replace ${address} lladdr ${mac} dev ${device} nud ${state}`,
        ),
      );
      for (const { mac, any = false, router = false } of FDB) {
        // What is short-circuited to "any" never leaves the host.
        if (any && device === 'vx2') continue;
        const words = ['fdb', 'add', mac, 'dev', device, 'dst', any ? '0.0.0.0' : REMOTE];
        namespace.run('bridge', ...words, ...(router ? ['router'] : []));
      }
    }
    return new KernelReplies(namespace, await Agent.start(namespace));
  }

  /** What comes out of `seen` on its way in when `frames` go into `into`. */
  async #carried(into: string, seen: string, frames: readonly Uint8Array[], port = 0): Promise<Uint8Array[]> {
    const options = port === 0 ? { direction: 'in' as const } : { direction: 'in' as const, udpPort: port };
    const capture = await this.#agent.capture(seen, options);
    await this.#agent.call('inject', into, [...frames], { paceUs: 30 });
    const quietMs = frames.length > 1 ? 150 : 30;
    const result = await capture.stop({ quietMs, withinMs: 10_000 });
    if (result.missed !== 0) throw new Error(`${result.missed} frames were missed`);
    return result.frames.map((frame) => frame.data);
  }

  /** A reachable neighbour stays so for half a minute at most: call this again before. */
  refresh(): void {
    const reachable = NEIGHBOURS.filter(({ state }) => state === 'reachable');
    const lines = ['vx1', 'vx2'].flatMap((device) =>
      reachable.map(
        ({ address, mac }) => `neigh replace ${address} lladdr ${mac} dev ${device} nud reachable`,
      ),
    );
    this.namespace.ip(...lines);
  }

  /** ICMP errors that bridged frames are answered with over a path of `pathMtu` bytes. */
  async tooBig(frames: readonly Uint8Array[], pathMtu: number): Promise<Uint8Array[]> {
    this.namespace.ip(`route replace ${REMOTE}/32 dev a0 mtu lock ${pathMtu}`);
    return this.#carried('p1', 'vx0', frames);
  }

  /** ARP and ND replies to frames that are sent out of the proxying device. */
  proxy(frames: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return this.#carried('vx1', 'vx1', frames);
  }

  /** Inner frames as they arrive at the remote: of the device with rsc, or that with proxy. */
  async sent(frames: readonly Uint8Array[], device: 'vx1' | 'vx2' = 'vx2'): Promise<Uint8Array[]> {
    this.namespace.ip(`route replace ${REMOTE}/32 dev a0 mtu lock 9100`);
    const packets = await this.#carried(device, 'a1', frames, 8472);
    return packets.map((packet) => packet.subarray(14 + 20 + 8 + 8));
  }
}
