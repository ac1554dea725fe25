/** `vxlane flannel`: a flannel node in the foreground, with flanneld's flags; `vxlane flannel status` shows one. */
import ipaddr from 'ipaddr.js';
import { spin, threads } from '../daemon/values.ts';
import { VtepError } from '../errors.ts';
import type { HealthSetup, NetworkSetup } from '../flannel/flannel.ts';
import { STATE_DIRECTORY } from '../flannel/node-state.ts';
import type { SourceSetup } from '../flannel/sources.ts';
import type { Outside } from './command.ts';
import { defaultOf, type Given, readFlags } from './flannel-flags.ts';
import type { Tuning } from './serve.ts';

export interface FlannelCommand {
  network: NetworkSetup;
  tuning: Tuning;
  health: HealthSetup;
  /** One line each. */
  notes: string[];
}

/** What the flags and variables say. @throws VtepError USAGE or UNSUPPORTED */
export function parseFlannel(words: readonly string[], env: Outside['env']): FlannelCommand {
  const { given, notes, rest } = readFlags(words, env);
  if (rest.length > 0)
    throw new VtepError(
      'USAGE',
      `argument "${rest[0]}" is wrong: flags or "status" are expected, try --help`,
    );
  const get = new Getter(given);
  const network: NetworkSetup = {
    name: 'default',
    source: sourceOf(get, env, notes),
    stateDirectory: get.maybe('state-dir') ?? env.STATE_DIRECTORY?.split(':')[0] ?? STATE_DIRECTORY,
    subnetFile: get.text('subnet-file'),
    ipMasq: get.is('ip-masq'),
    bind: get.is('bind'),
    validateSources: get.is('validate-sources'),
    reconcileInterval: get.number('reconcile-interval', 1, 86_400),
    iface: get.list('iface'),
    ifaceRegex: get.list('iface-regex'),
    ...get.address('ifaceCanReach', 'iface-can-reach'),
    ...get.address('publicIp', 'public-ip', 'ipv4'),
    ...get.address('publicIpV6', 'public-ipv6', 'ipv6'),
  };
  if (network.ipMasq)
    notes.push(
      '--ip-masq: vxlane makes no rules: CNI plugins leave masquerading to deploy/flannel-traffic-rules.sh, which reads subnet.env',
    );
  const engine = get.maybe('engine');
  return {
    network,
    tuning: {
      ...(engine === undefined ? {} : { engine: engineOf(engine) }),
      ...(get.has('threads') ? { threads: threads(get.text('threads')) } : {}),
      ...(get.has('spin') ? { spin: spin(get.text('spin')) } : {}),
    },
    health: { ip: get.text('healthz-ip'), port: get.number('healthz-port', 0, 65_535) },
    notes,
  };
}

/** flanneld's choice: Kubernetes when told so, else etcd; a file of leases goes before both. */
function sourceOf(get: Getter, env: Outside['env'], notes: string[]): SourceSetup {
  const file = get.maybe('lease-file');
  const kubernetes = get.is('kube-subnet-mgr');
  if (file !== undefined && kubernetes)
    throw new VtepError(
      'USAGE',
      '--lease-file and --kube-subnet-mgr: one source of leases is expected, not two',
    );
  const used = file !== undefined ? 'lease-file' : kubernetes ? 'kube' : 'etcd';
  const unused = get.names().filter((name) => sourceNamed(name) !== undefined && sourceNamed(name) !== used);
  for (const name of unused) notes.push(`--${name}: not used with ${SOURCE_WORDS[used]}`);
  if (file !== undefined) return { kind: 'file', path: file };
  if (kubernetes) {
    return {
      kind: 'kubernetes',
      ...get.some('kubeconfig', 'kubeconfig-file'),
      ...get.some('apiUrl', 'kube-api-url'),
      ...get.some('nodeName', 'node-name'),
      ...(get.has('node-name') || !env.NODE_NAME ? {} : { nodeName: env.NODE_NAME }),
      netConfPath: get.text('net-config-path'),
      annotationPrefix: get.text('kube-annotation-prefix'),
      setNodeNetworkUnavailable: get.is('set-node-network-unavailable'),
    };
  }
  if (get.has('etcd-certfile') !== get.has('etcd-keyfile'))
    throw new VtepError('USAGE', '--etcd-certfile and --etcd-keyfile: one needs the other');
  return {
    kind: 'etcd',
    endpoints: get.text('etcd-endpoints').split(',').filter(Boolean),
    prefix: get.text('etcd-prefix'),
    ...get.some('cafile', 'etcd-cafile'),
    ...get.some('certfile', 'etcd-certfile'),
    ...get.some('keyfile', 'etcd-keyfile'),
    ...get.some('username', 'etcd-username'),
    ...get.some('password', 'etcd-password'),
    renewMargin: get.number('subnet-lease-renew-margin', 1, 1439),
  };
}

function engineOf(text: string): 'auto' | 'batched' | 'uring' {
  if (text === 'auto' || text === 'batched' || text === 'uring') return text;
  throw new VtepError('USAGE', `--engine: argument "${text}" is wrong: auto, uring or batched is expected`);
}

type Used = 'lease-file' | 'kube' | 'etcd';

const SOURCE_WORDS: Readonly<Record<Used, string>> = {
  'lease-file': '--lease-file',
  kube: '--kube-subnet-mgr',
  etcd: 'etcd',
};

/** The source that a flag belongs to. */
function sourceNamed(name: string): Used | undefined {
  if (name.startsWith('etcd-') || name === 'subnet-lease-renew-margin') return 'etcd';
  const kube = ['net-config-path', 'node-name', 'set-node-network-unavailable', 'kubeconfig-file'];
  if (kube.includes(name) || (name.startsWith('kube-') && name !== 'kube-subnet-mgr')) return 'kube';
  return undefined;
}

/** What was given, else the default of the table. An empty text is as none, as in flanneld. */
class Getter {
  readonly #given: Given;

  constructor(given: Given) {
    this.#given = given;
  }

  names(): string[] {
    return [...this.#given.keys()];
  }

  has(name: string): boolean {
    return this.maybe(name) !== undefined;
  }

  maybe(name: string): string | undefined {
    const value = this.#given.get(name);
    return value === undefined || value === '' ? undefined : String(value);
  }

  text(name: string): string {
    return this.maybe(name) ?? defaultOf(name);
  }

  list(name: string): string[] {
    return ((this.#given.get(name) as string[] | undefined) ?? []).filter(Boolean);
  }

  is(name: string): boolean {
    return this.text(name) === 'true';
  }

  number(name: string, least: number, most: number): number {
    const value = Number(this.text(name));
    if (value >= least && value <= most) return value;
    throw new VtepError('USAGE', `--${name}: argument "${value}" is wrong: ${least} to ${most} is expected`);
  }

  address<Key extends string>(key: Key, name: string, kind?: 'ipv4' | 'ipv6'): Partial<Record<Key, string>> {
    const value = this.maybe(name);
    if (value === undefined || (ipaddr.isValid(value) && (!kind || ipaddr.parse(value).kind() === kind)))
      return this.some(key, name);
    const words = { ipv4: 'an IPv4 address', ipv6: 'an IPv6 address', any: 'an address' }[kind ?? 'any'];
    throw new VtepError('USAGE', `--${name}: argument "${value}" is wrong: ${words} is expected`);
  }

  some<Key extends string>(key: Key, name: string): Partial<Record<Key, string>> {
    const value = this.maybe(name);
    return value === undefined ? {} : ({ [key]: value } as Record<Key, string>);
  }
}
