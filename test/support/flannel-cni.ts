/**
 * Pods as a container runtime makes them: the CNI plugins of /usr/lib/cni are called with the environment and the
 * configuration on stdin that the specification gives them. The configuration is the one that flannel's own CNI
 * plugin delegates to `bridge` and `host-local` after it has read subnet.env (`delegateOf`).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Namespace } from './netns.ts';

const PLUGINS = '/usr/lib/cni';

/** Why the plugins can't be run here, with the remedy, or null. */
export function missingForCni(): string | null {
  for (const plugin of ['bridge', 'host-local']) {
    if (!existsSync(`${PLUGINS}/${plugin}`))
      return `needs ${PLUGINS}/${plugin}: apt-get install containernetworking-plugins`;
  }
  return null;
}

type Json = Record<string, unknown>;

/** Configuration of the plugin "flannel" in a CNI list, with the name and version of the list. */
export interface FlannelConf {
  name: string;
  cniVersion: string;
  delegate?: Json;
  ipam?: Json;
}

/** Lines `KEY=value`, as flannel's plugin reads them. @throws when what it can't do without is missing */
function readEnv(path: string): Record<string, string> {
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  const env = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
  const has = (...keys: string[]) => keys.some((key) => env[key]);
  if (!has('FLANNEL_NETWORK', 'FLANNEL_IPV6_NETWORK')) throw new Error(`${path} is missing FLANNEL_NETWORK`);
  if (!has('FLANNEL_SUBNET', 'FLANNEL_IPV6_SUBNET')) throw new Error(`${path} is missing FLANNEL_SUBNET`);
  if (!has('FLANNEL_MTU')) throw new Error(`${path} is missing FLANNEL_MTU`);
  if (!has('FLANNEL_IPMASQ')) throw new Error(`${path} is missing FLANNEL_IPMASQ`);
  return env as Record<string, string>;
}

/** "10.244.1.1/24" -> "10.244.1.0/24", for prefixes that end at a byte or a group of a short address. */
const networkOf = (gateway: string) => gateway.replace(/[^.:]*\//, gateway.includes(':') ? '/' : '0/');

/** What flannel's plugin hands on: everything given stays, the rest comes from subnet.env. */
export function delegateOf(conf: FlannelConf, subnetFile: string): Json {
  const env = readEnv(subnetFile);
  const type = conf.delegate?.type ?? 'bridge';
  const networks = [env.FLANNEL_NETWORK, env.FLANNEL_IPV6_NETWORK].flatMap((list) => list?.split(',') ?? []);
  const subnets = [env.FLANNEL_SUBNET, env.FLANNEL_IPV6_SUBNET].filter((one) => one !== undefined);
  const { routes = [], ...ipam } = conf.ipam ?? {};
  return {
    ipMasq: env.FLANNEL_IPMASQ !== 'true',
    mtu: Number(env.FLANNEL_MTU),
    ...(type === 'bridge' ? { isGateway: true } : {}),
    ...conf.delegate,
    type,
    name: conf.name,
    cniVersion: conf.cniVersion,
    ipam: {
      type: 'host-local',
      ...ipam,
      ranges: subnets.map((subnet) => [{ subnet: networkOf(subnet) }]),
      routes: [...(routes as Json[]), ...networks.map((dst) => ({ dst }))],
    },
  };
}

export interface CniResult {
  interfaces: { name: string; mac: string; sandbox?: string }[];
  ips: { version?: string; address: string; gateway: string }[];
}

/** Calls a plugin in the node's namespace for a pod. @throws with the plugin's own error message */
export function callPlugin(
  command: 'ADD' | 'DEL' | 'CHECK',
  node: Namespace,
  pod: { namespace: Namespace; container: string },
  conf: Json,
): CniResult | undefined {
  const program = `${PLUGINS}/${conf.type}`;
  const { status, stdout, stderr } = spawnSync('ip', ['netns', 'exec', node.name, program], {
    encoding: 'utf8',
    input: JSON.stringify(conf),
    env: {
      PATH: process.env.PATH,
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod.container,
      CNI_NETNS: `/run/netns/${pod.namespace.name}`,
      CNI_IFNAME: 'eth0',
      CNI_PATH: PLUGINS,
    },
  });
  if (status !== 0) throw new Error(`${program} ${command}: ${stdout}${stderr}`);
  return stdout.trim() === '' ? undefined : JSON.parse(stdout);
}
