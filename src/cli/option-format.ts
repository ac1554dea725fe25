/** The options of a device in the words and the JSON keys of `ip -d link show` of iproute2 7.1, in its order. */

import { isMulticast } from '../daemon/values.ts';
import { reservedBits as unusedBits } from '../dataplane/device-features.ts';
import type { DeviceConfig } from '../types.ts';

/** What iproute2 calls each switch, and what it needn't say. */
const SWITCHES: readonly (readonly [name: string, key: keyof DeviceConfig, usual: boolean])[] = [
  ['external', 'external', false],
  ['vnifilter', 'vnifilter', false],
  ['learning', 'learning', true],
  ['proxy', 'proxy', false],
  ['rsc', 'rsc', false],
  ['l2miss', 'l2miss', false],
  ['l3miss', 'l3miss', false],
  ['udp_csum', 'udpcsum', true],
  ['udp_zero_csum6_tx', 'udp6zerocsumtx', false],
  ['udp_zero_csum6_rx', 'udp6zerocsumrx', false],
  ['remcsum_tx', 'remcsumtx', false],
  ['remcsum_rx', 'remcsumrx', false],
  ['localbypass', 'localbypass', true],
];

/** Our own, told of only where they are on. */
const OURS = ['proxyforward', 'latelearning', 'honourdontlearn', 'knownsenders', 'knownpeers'] as const;

/** Told of only where they are not at their default. */
function offloadsOf({ gso = 'on', gro = true, uso = true }: DeviceConfig): [name: string, word: string][] {
  return [
    ...(gso === 'on' ? [] : [['gso', gso] as [string, string]]),
    ...(gro ? [] : [['gro', 'off'] as [string, string]]),
    ...(uso ? [] : [['uso', 'off'] as [string, string]]),
  ];
}

/** The kernel tells of its VNI filter only where there is one. */
function switchesOf(config: DeviceConfig): { name: string; value: boolean; usual: boolean }[] {
  return SWITCHES.filter(([name]) => name !== 'vnifilter' || config.vnifilter).map(([name, key, usual]) => ({
    name,
    value: config[key] === true,
    usual,
  }));
}

/** As C prints it with %#x: no 0x in front of 0. */
function hex(value: number | bigint): string {
  return `${value ? '0x' : ''}${value.toString(16)}`;
}

function reservedBits(config: DeviceConfig): string {
  return hex(config.reserved_bits === undefined ? unusedBits(config) : BigInt(config.reserved_bits));
}

/** Where frames for unknown MACs go; remote and group are one thing to the kernel. */
function target({ remote, group }: DeviceConfig): readonly [key: string, address: string] | undefined {
  const address = group ?? remote;
  return address === undefined ? undefined : [isMulticast(address) ? 'group' : 'remote', address];
}

/** @param everything also the switches that are at their default */
export function optionWords(config: DeviceConfig, everything: boolean): string {
  const { local, dev, srcport, tos, ttl, df, flowlabel, maxaddress, listen, policy } = config;
  const label = flowlabel === 'inherit' ? flowlabel : hex(flowlabel);
  return [
    `id ${config.id}`,
    ...(target(config) ?? []),
    ...(local && local !== '::' ? [`local ${local}`] : []),
    ...(dev ? [`dev ${dev}`] : []),
    `srcport ${srcport[0]} ${srcport[1]} dstport ${config.dstport}`,
    ...(tos === 0 ? [] : [`tos ${tos === 'inherit' ? tos : hex(tos)}`]),
    `ttl ${ttl === 0 ? 'auto' : ttl}`,
    ...(df === 'unset' ? [] : [`df ${df}`]),
    ...(flowlabel === 0 ? [] : [`flowlabel ${label}`]),
    `ageing ${config.ageing}`,
    ...(maxaddress === 0 ? [] : [`maxaddr ${maxaddress}`]),
    `reserved_bits ${reservedBits(config)}`,
    ...(config.gbp ? ['gbp'] : []),
    ...(config.gpe ? ['gpe'] : []),
    ...switchesOf(config)
      .filter(({ value, usual }) => everything || value !== usual)
      .map(({ name, value }) => `${value ? '' : 'no'}${name}`),
    ...(config.bind ? ['bind'] : []),
    ...(listen?.length ? [`listen ${listen.join(',')}`] : []),
    ...(policy === undefined ? [] : [`policy ${policy}`]),
    ...OURS.filter((name) => config[name]),
    ...offloadsOf(config).flat(),
  ].join(' ');
}

/** `linkinfo.info_data`; a TOS that is inherited is 1 there, a TTL that is inherited is absent. */
export function optionData(config: DeviceConfig): object {
  const { local, srcport, tos, ttl, flowlabel, maxaddress, listen, policy } = config;
  const addresses: Record<string, string> = {};
  const add = (key: string, address: string) => {
    addresses[address.includes(':') ? `${key}6` : key] = address;
  };
  const far = target(config);
  if (far) add(...far);
  if (local && local !== '::') add('local', local);
  return {
    id: config.id,
    ...addresses,
    link: config.dev,
    port_range: { low: srcport[0], high: srcport[1] },
    port: config.dstport,
    tos: tos === 0 ? undefined : tos === 'inherit' ? '0x1' : hex(tos),
    ttl: ttl === 'inherit' ? undefined : ttl,
    df: config.df,
    label: flowlabel === 0 ? undefined : flowlabel === 'inherit' ? flowlabel : hex(flowlabel),
    ageing: config.ageing,
    limit: maxaddress === 0 ? undefined : maxaddress,
    reserved_bits: reservedBits(config),
    ...(config.gbp && { gbp: null }),
    ...(config.gpe && { gpe: null }),
    ...Object.fromEntries(switchesOf(config).map(({ name, value }) => [name, value])),
    ...(config.bind && { bind: true }),
    ...(listen?.length && { listen }),
    policy,
    ...Object.fromEntries(OURS.filter((name) => config[name]).map((name) => [name, true])),
    ...Object.fromEntries(offloadsOf(config)),
  };
}
