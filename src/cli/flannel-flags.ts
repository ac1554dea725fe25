/**
 * The flags of `vxlane flannel`: flanneld's, with the variables FLANNELD_* behind them, and ours. One line each in
 * the tables; a flag of flanneld that does nothing here says so or is refused, and none is passed over in silence.
 */
import { VtepError } from '../errors.ts';

type Kind = 'text' | 'list' | 'switch' | 'number';

export interface FlagWords {
  name: string;
  kind: Kind;
  /** Stands for the value in the help. */
  value?: string;
  what: string;
  /** As it is without the flag. */
  default?: string;
}

/** flanneld's that mean the same here. */
export const FLANNELD_FLAGS: readonly FlagWords[] = [
  {
    ...{ name: 'etcd-endpoints', kind: 'text', value: 'URL,...', what: 'etcd, any of several' },
    default: 'http://127.0.0.1:4001,http://127.0.0.1:2379',
  },
  { name: 'etcd-prefix', kind: 'text', value: 'KEY', what: "flannel's keys", default: '/coreos.com/network' },
  { name: 'etcd-cafile', kind: 'text', value: 'FILE', what: 'authority of the servers; enough by itself' },
  { name: 'etcd-certfile', kind: 'text', value: 'FILE', what: 'our certificate, with its key' },
  { name: 'etcd-keyfile', kind: 'text', value: 'FILE', what: 'the key of our certificate' },
  { name: 'etcd-username', kind: 'text', value: 'NAME', what: 'user of etcd' },
  {
    ...{ name: 'etcd-password', kind: 'text', value: 'TEXT' },
    what: 'better given as FLANNELD_ETCD_PASSWORD, which nobody sees',
  },
  {
    ...{ name: 'kube-subnet-mgr', kind: 'switch' },
    what: 'leases are annotations of Kubernetes nodes',
  },
  { name: 'kubeconfig-file', kind: 'text', value: 'FILE', what: 'else the pod’s own account' },
  { name: 'kube-api-url', kind: 'text', value: 'URL', what: 'of the API server' },
  {
    ...{ name: 'kube-annotation-prefix', kind: 'text', value: 'PREFIX', what: 'of the annotations' },
    default: 'flannel.alpha.coreos.com',
  },
  {
    ...{
      name: 'net-config-path',
      kind: 'text',
      value: 'FILE',
      what: 'net-conf.json, with --kube-subnet-mgr',
    },
    default: '/etc/kube-flannel/net-conf.json',
  },
  {
    ...{ name: 'set-node-network-unavailable', kind: 'switch', default: 'true' },
    what: 'say on the node that its network is there',
  },
  { name: 'iface', kind: 'list', value: 'NAME|ADDR', what: 'underlay; several: the first that fits' },
  { name: 'iface-regex', kind: 'list', value: 'REGEX', what: 'the same by a pattern, after --iface' },
  { name: 'iface-can-reach', kind: 'text', value: 'ADDR', what: 'the interface of the route to ADDR' },
  { name: 'public-ip', kind: 'text', value: 'ADDR', what: 'what others send to, instead of our address' },
  { name: 'public-ipv6', kind: 'text', value: 'ADDR', what: 'the same for IPv6' },
  {
    ...{ name: 'subnet-file', kind: 'text', value: 'FILE', what: 'written for CNI plugins and Docker' },
    default: '/run/flannel/subnet.env',
  },
  {
    ...{ name: 'subnet-lease-renew-margin', kind: 'number', value: 'MINUTES' },
    what: 'before it ends a lease is renewed, 1 to 1439',
    default: '60',
  },
  {
    name: 'ip-masq',
    kind: 'switch',
    what: 'FLANNEL_IPMASQ in subnet.env: rules are kept beside vxlane',
    default: 'false',
  },
  {
    name: 'healthz-ip',
    kind: 'text',
    value: 'ADDR',
    what: 'where /healthz and /readyz are',
    default: '0.0.0.0',
  },
  { name: 'healthz-port', kind: 'number', value: 'PORT', what: '0: nowhere', default: '0' },
];

/** Ours. */
export const OWN_FLAGS: readonly FlagWords[] = [
  {
    name: 'lease-file',
    kind: 'text',
    value: 'FILE',
    what: 'leases from a file, instead of etcd or Kubernetes',
  },
  { name: 'node-name', kind: 'text', value: 'NAME', what: 'with --kube-subnet-mgr; else NODE_NAME' },
  { name: 'bind', kind: 'switch', what: 'receive on our own address only', default: 'false' },
  {
    ...{ name: 'validate-sources', kind: 'switch', default: 'true' },
    what: 'peers alone are heard, from their own addresses (--no-validate-sources)',
  },
  {
    ...{ name: 'reconcile-interval', kind: 'number', value: 'SECONDS' },
    what: 'between two looks at everything',
    default: '10',
  },
  {
    name: 'state-dir',
    kind: 'text',
    value: 'DIR',
    what: 'MAC and subnet are kept there',
    default: '/var/lib/vxlane',
  },
  { name: 'engine', kind: 'text', value: 'NAME', what: 'auto, uring or batched, as of "daemon"' },
  { name: 'threads', kind: 'number', value: 'N', what: '1 or 2, as of "daemon"' },
  { name: 'spin', kind: 'number', value: 'MICROSECONDS', what: 'as of "daemon"' },
];

/** flanneld's that do nothing here, and what to know of that. */
const WITHOUT_MEANING: Readonly<Record<string, { kind: Kind; note: string }>> = {
  v: { kind: 'number', note: 'what vxlane says has no levels' },
  vmodule: { kind: 'text', note: 'what vxlane says has no levels' },
  log_backtrace_at: { kind: 'text', note: 'there are no backtraces to ask for' },
  logtostderr: { kind: 'switch', note: 'it is always so' },
  alsologtostderr: { kind: 'switch', note: 'it is always so' },
  stderrthreshold: { kind: 'text', note: 'all is said' },
  'iptables-resync': {
    kind: 'number',
    note: 'rules are looked at as often as everything, see --reconcile-interval',
  },
  'iptables-forward-rules': {
    kind: 'switch',
    note: 'no FORWARD rules are made: allow forwarding where it is refused',
  },
};

/** flanneld's that can't be honoured. */
const REFUSED: Readonly<Record<string, string>> = {
  log_dir: 'what is said goes to standard error: redirect that',
  log_file: 'what is said goes to standard error: redirect that',
  'ip-blackhole-route': 'make it yourself: "ip route add blackhole SUBNET metric 4294967295"',
};

/** For completion: as they are typed. */
export const FLAG_NAMES: readonly string[] = [...FLANNELD_FLAGS, ...OWN_FLAGS].map(({ name }) => `--${name}`);

const COLUMN = 38;

function helpLine({ name, value, what, default: otherwise }: FlagWords): string {
  const typed = `  --${name}${value === undefined ? '' : ` ${value}`}`;
  const said = otherwise === undefined ? what : `${what} [${otherwise}]`;
  return typed.length < COLUMN - 1
    ? `${typed.padEnd(COLUMN)}${said}`
    : `${typed}\n${' '.repeat(COLUMN)}${said}`;
}

export const FLANNEL_HELP = `
Flags of flanneld, with one dash or two; each is also a variable: FLANNELD_ETCD_ENDPOINTS, FLANNELD_IFACE ...
${FLANNELD_FLAGS.map(helpLine).join('\n')}

Flags of vxlane:
${OWN_FLAGS.map(helpLine).join('\n')}

Leases come from etcd, unless --kube-subnet-mgr or --lease-file say otherwise. "status" shows, of a node that runs,
its leases, problems, and each peer: whether it answers, how fast, and what was counted (-j: JSON).

Examples:
  vxlane flannel --etcd-endpoints https://192.0.2.9:2379 --etcd-cafile /etc/etcd/ca.pem --iface eth0
  vxlane flannel --kube-subnet-mgr --kubeconfig-file /etc/kubernetes/kubelet.conf
  vxlane flannel --lease-file /etc/vxlane/leases.yaml --bind
  vxlane flannel status`;

export type Given = ReadonlyMap<string, string | string[] | boolean | number>;

export interface Read {
  given: Given;
  /** One line each. */
  notes: string[];
  /** What is no flag. */
  rest: string[];
}

const PREFIX = 'FLANNELD_';
const KNOWN = new Map([...FLANNELD_FLAGS, ...OWN_FLAGS].map((flag) => [flag.name, flag]));

/** What the command line and then the environment say. @throws VtepError USAGE or UNSUPPORTED */
export function readFlags(words: readonly string[], env: Readonly<Record<string, string | undefined>>): Read {
  const given = new Map<string, string | string[] | boolean | number>();
  const notes: string[] = [];
  const rest: string[] = [];
  const take = (name: string, kind: Kind, text: string | true, said: string) => {
    const value = readValue(kind, text, said);
    const before = given.get(name);
    if (kind === 'list') given.set(name, [...(Array.isArray(before) ? before : []), ...(value as string[])]);
    else given.set(name, value);
  };
  for (let at = 0; at < words.length; ++at) {
    const word = words[at]!;
    if (!/^--?[a-z]/i.test(word)) {
      rest.push(word);
      continue;
    }
    const [dashed, ...behind] = word.split('=');
    const negated = /^--?no-(.*)$/.exec(dashed!)?.[1];
    const name = negated ?? dashed!.replace(/^--?/, '');
    const flag = find(name, dashed!);
    if (negated !== undefined && (flag.kind !== 'switch' || behind.length > 0))
      throw new VtepError('USAGE', `${word}: only a switch has a "no-" form, without value, try --help`);
    let text: string | true = behind.length > 0 ? behind.join('=') : true;
    if (negated !== undefined) text = 'false';
    else if (text === true && flag.kind !== 'switch') {
      const next = words[++at];
      if (next === undefined) throw new VtepError('USAGE', `${dashed}: a value is missing, try --help`);
      text = next;
    }
    if (flag.note !== undefined) notes.push(`${dashed}: without meaning here: ${flag.note}`);
    else take(name, flag.kind, text, dashed!);
  }
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || text === undefined) continue;
    const name = nameOf(variable);
    if (given.has(name)) continue;
    // A service called "flanneld" puts FLANNELD_PORT and the like into the pods of a cluster.
    const flag = isFlag(name)
      ? find(name, variable)
      : { kind: 'text' as const, note: 'no flag has this name' };
    if (flag.note !== undefined) notes.push(`${variable}: without meaning here: ${flag.note}`);
    else take(name, flag.kind, text, variable);
  }
  return { given, notes, rest };
}

/** FLANNELD_ETCD_PREFIX -> etcd-prefix; klog's flags have underscores of their own. */
function nameOf(variable: string): string {
  const lower = variable.slice(PREFIX.length).toLowerCase();
  return lower in WITHOUT_MEANING || lower in REFUSED ? lower : lower.replaceAll('_', '-');
}

function isFlag(name: string): boolean {
  return name in REFUSED || name in WITHOUT_MEANING || KNOWN.has(name);
}

/** What a flag is without being given; "" where that is nothing. */
export function defaultOf(name: string): string {
  return KNOWN.get(name)?.default ?? '';
}

function find(name: string, said: string): { kind: Kind; note?: string } {
  const refused = REFUSED[name];
  if (refused !== undefined) throw new VtepError('UNSUPPORTED', `${said}: not supported: ${refused}`);
  const found = KNOWN.get(name) ?? WITHOUT_MEANING[name];
  if (found === undefined)
    throw new VtepError('USAGE', `${said}: unknown, neither flanneld nor vxlane has it, try --help`);
  return found;
}

function readValue(kind: Kind, text: string | true, said: string): string | string[] | boolean | number {
  if (kind === 'switch') {
    // What Go's flag package takes.
    if (text === true || /^(1|t|true)$/i.test(text)) return true;
    if (/^(0|f|false)$/i.test(text)) return false;
    throw new VtepError('USAGE', `${said}: argument "${text}" is wrong: true or false is expected`);
  }
  const value = String(text);
  if (kind === 'number') {
    if (/^\d+$/.test(value)) return Number(value);
    throw new VtepError('USAGE', `${said}: argument "${value}" is wrong: a number is expected`);
  }
  return kind === 'list' ? [value] : value;
}
