/**
 * What the kernel's driver refuses although each word by itself is right: combinations of options, and changes
 * of what is fixed at creation. The sentences are the kernel's, the remedies ours; whoever asks (command line,
 * control API, configuration file) hears the same.
 *
 * Two things the kernel refuses are taken, because a daemon can do them: `gpe` with an `id` of its own rather
 * than `external`, and what our own words say (`bind`, `listen`, `policy`).
 */
import { VtepError } from '../errors.ts';
import type { DeviceChange, DeviceConfig } from '../types.ts';
import { formatBits, usedBits } from '../vtep/device.ts';
import { ADD_AGAIN } from '../vtep/rules.ts';
import { family, isAny, isLinkLocal } from './values.ts';

export type Objection = readonly [key: string, message: string];
type Rule = (config: DeviceConfig) => Objection | undefined | false;

const addressesOf = ({ local, remote, group }: DeviceConfig) =>
  [local, remote, group].filter((address) => address !== undefined);

/** IPv4 unless an address says otherwise. */
export function underlayOf(config: DeviceConfig): 'inet' | 'inet6' {
  return addressesOf(config).some((address) => family(address) === 'inet6') ? 'inet6' : 'inet';
}

/** In the order in which the kernel looks. */
const RULES: readonly Rule[] = [
  ({ group, remote }) =>
    group !== undefined && remote !== undefined && ['group', 'both group and remote cannot be specified'],
  ({ external, id }) => external && id !== 0 && ['id', "both 'external' and vni cannot be specified"],
  ({ external, vnifilter }) =>
    vnifilter &&
    !external && ['vnifilter', 'vxlan vnifilter only valid in collect metadata mode: say "external" too'],
  ({ srcport: [low, high] }) =>
    low > high && ['srcport', 'Invalid source port range: MIN is greater than MAX'],
  ({ reserved_bits, ...config }) => {
    if (reserved_bits === undefined) return;
    const used = usedBits(config);
    const asked = BigInt(reserved_bits);
    if ((used & asked) === 0n) return;
    return [
      'reserved_bits',
      `Used bits ${formatBits(used)} cannot overlap reserved bits ${formatBits(asked)}.`,
    ];
  },
  (config) => {
    if (!config.gpe) return;
    const excluded = (
      ['learning', 'proxy', 'rsc', 'l2miss', 'l3miss', 'gbp', 'remcsumtx', 'remcsumrx'] as const
    ).find((key) => config[key]);
    const word = excluded ?? (config.ttl === 'inherit' ? 'ttl' : undefined);
    return word && [word, `VXLAN GPE does not support this combination of attributes: leave "${word}" out`];
  },
  (config) => {
    const { local } = config;
    const addresses = addressesOf(config);
    return (
      local !== undefined &&
      addresses.some((address) => family(address) !== family(local)) && [
        'local',
        'Local and remote address must be from the same family',
      ]
    );
  },
  ({ external, local, remote, group }) => {
    const far = remote ?? group;
    if (external || family(local ?? far ?? '') !== 'inet6') return;
    const bad =
      local !== undefined && isLinkLocal(local)
        ? far !== undefined && !isAny(far) && !isLinkLocal(far)
        : remote !== undefined && isLinkLocal(remote);
    return (
      bad && ['local', 'Invalid combination of local and remote address scopes: both must be link-local']
    );
  },
  (config) => {
    const { flowlabel } = config;
    if (flowlabel === 0 || underlayOf(config) === 'inet6') return;
    const what = flowlabel === 'inherit' ? 'policy' : 'attribute';
    return ['flowlabel', `Label ${what} only applies to IPv6 VXLAN devices.`];
  },
  ({ dev, group }) =>
    dev === undefined &&
    group !== undefined && ['group', 'Local interface required for multicast remote destination: give "dev"'],
  ({ dev, local, external }) =>
    dev === undefined &&
    !external &&
    local !== undefined &&
    isLinkLocal(local) && ['dev', 'Local interface required for link-local local/remote addresses'],
  ({ bind, local }) =>
    bind === true &&
    (local === undefined || isAny(local)) && ['bind', '"bind" needs "local": the address to receive on'],
  ({ policy, gbp }) => policy !== undefined && !gbp && ['policy', '"policy" needs "gbp"'],
  ({ proxyforward, proxy }) =>
    proxyforward === true && !proxy && ['proxyforward', '"proxyforward" needs "proxy"'],
  ({ honourdontlearn, gbp }) =>
    honourdontlearn === true && !gbp && ['honourdontlearn', '"honourdontlearn" needs "gbp"'],
  ({ knownpeers, gpe }) =>
    knownpeers === true && gpe && ['knownpeers', 'packets of "gpe" have no MAC: leave one of them out'],
];

/** What is wrong with a device as a whole, or undefined. */
export function objectionTo(config: DeviceConfig): Objection | undefined {
  for (const rule of RULES) {
    const objection = rule(config);
    if (objection) return objection;
  }
  return undefined;
}

const FIXED: Readonly<Record<string, string>> = {
  dstport: 'Cannot change port.',
  srcport: 'Cannot change port range.',
  maxaddress: 'Cannot change limit.',
  udpcsum: 'Cannot change UDP_CSUM flag.',
  reserved_bits: 'Cannot change reserved_bits.',
  bind: 'Cannot change the address that is listened on.',
  listen: 'Cannot change the ports that are listened on.',
};

const FIXED_FLAGS: Readonly<Record<string, string>> = {
  proxy: 'PROXY',
  rsc: 'RSC',
  l2miss: 'L2MISS',
  l3miss: 'L3MISS',
  udp6zerocsumtx: 'UDP_ZERO_CSUM6_TX',
  udp6zerocsumrx: 'UDP_ZERO_CSUM6_RX',
  remcsumtx: 'REMCSUM_TX',
  remcsumrx: 'REMCSUM_RX',
  external: 'COLLECT_METADATA',
  gbp: 'GBP',
  gpe: 'GPE',
  vnifilter: 'VNIFILTER',
};

/** The kernel's sentence for a key that stays as it was created, even when it is given the value it has. */
export function cannotChange(key: string): string | undefined {
  const sentence = FIXED[key] ?? (FIXED_FLAGS[key] && `vxlan: cannot change ${FIXED_FLAGS[key]} flag.`);
  return sentence && `${sentence.slice(0, -1)}: ${ADD_AGAIN}`;
}

/**
 * A change looked at together with the device it is for; what comes back is to be carried out.
 * @throws VtepError UNSUPPORTED for what is fixed, USAGE for what would not be right together
 */
export function applicable(config: DeviceConfig, change: DeviceChange): DeviceChange {
  const { ttl, ...rest } = change;
  const refuse = (code: 'UNSUPPORTED' | 'USAGE', message: string): never => {
    throw new VtepError(code, message);
  };
  const old = underlayOf(config);
  const far = change.remote ?? change.group;
  if (far !== undefined && family(far) !== old)
    refuse('UNSUPPORTED', `New group address family does not match old group: ${ADD_AGAIN}`);
  if (change.local !== undefined && family(change.local) !== old)
    refuse('UNSUPPORTED', `New local address family does not match old: ${ADD_AGAIN}`);
  // The family of a device goes by its addresses: the last IPv6 one stays.
  if (far !== undefined && isAny(far) && old === 'inet6' && config.local === undefined)
    refuse(
      'UNSUPPORTED',
      `remote ${far} is not supported without "local": take the entry out with "vxlane fdb del 00:00:00:00:00:00 dev ${config.name} dst ADDR"`,
    );
  // A device that inherits the TTL goes on doing so: the kernel takes the new value and never uses it.
  const effective: DeviceChange = config.ttl === 'inherit' || ttl === undefined ? rest : { ...rest, ttl };
  const { up: _, ...next } = effective;
  const { remote, group, ...before } = config;
  const target = far === undefined ? { ...(remote && { remote }), ...(group && { group }) } : {};
  const objection = objectionTo({ ...before, ...target, ...next });
  if (objection) refuse('USAGE', `${objection[0]}: ${objection[1]}`);
  return effective;
}
