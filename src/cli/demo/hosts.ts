/**
 * What surrounds the VTEPs, with nothing but `ip`, as flannel and its bridge plugin lay it out:
 *
 *   pod 10.244.0.104 - cni0 - flannel.1 - ens224 ===== ens224 - flannel.1 - cni0 - pod 10.244.1.35
 */
import type { Namespace } from './namespace.ts';
import { BRIDGE, type HostPlan, MTU, UNDERLAY, UNDERLAY_MTU, VTEP } from './plan.ts';

/** Routes between pods and tunnel; without IPv6, whose own chatter would blur the counters. */
const FORWARD = 'echo 1 > /proc/sys/net/ipv4/ip_forward';
const NO_IPV6 =
  'for conf in all default; do file=/proc/sys/net/ipv6/conf/$conf/disable_ipv6; [ ! -e $file ] || echo 1 > $file; done';

/** What a namespace must allow; also tried by the probe. */
export const PREPARE = `${FORWARD} && ${NO_IPV6}`;

export interface Place {
  plan: HostPlan;
  host: Namespace;
  pod: Namespace;
}

/** The wire between the two hosts. */
export async function layUnderlay(near: Place, far: Place): Promise<void> {
  for (const { host, pod } of [near, far]) {
    await host.run('sh', '-ec', PREPARE);
    await pod.run('sh', '-ec', PREPARE);
  }
  const end = `name ${UNDERLAY} mtu ${UNDERLAY_MTU}`;
  await near.host.ip(`link add ${end} type veth peer ${end} netns ${far.host.name}`);
  for (const { host, plan } of [near, far])
    await host.ip(
      'link set lo up',
      `addr add ${plan.underlay}/24 dev ${UNDERLAY}`,
      `link set ${UNDERLAY} up`,
    );
}

/** The bridge, and the pod behind it. */
export async function layPod({ host, pod, plan }: Place): Promise<void> {
  await host.ip(
    `link add ${BRIDGE} mtu ${MTU} type bridge`,
    `link add veth0 mtu ${MTU} type veth peer name eth0 mtu ${MTU} netns ${pod.name}`,
    `link set veth0 master ${BRIDGE} up`,
    `addr add ${plan.gateway}/24 dev ${BRIDGE}`,
    `link set ${BRIDGE} up`,
  );
  await pod.ip(
    'link set lo up',
    'link set eth0 up',
    `addr add ${plan.pod}/24 dev eth0`,
    `route add default via ${plan.gateway}`,
  );
}

/** The way to the other host's pods: its VTEP's address and MAC, which are never asked for. */
export async function layRoute({ host, plan }: Place, there: HostPlan): Promise<void> {
  await host.ip(
    `addr add ${plan.subnet}/32 dev ${VTEP}`,
    `neigh add ${there.subnet} lladdr ${there.vtepMac} dev ${VTEP} nud permanent`,
    `route add ${there.subnet}/24 via ${there.subnet} dev ${VTEP} onlink`,
  );
}
