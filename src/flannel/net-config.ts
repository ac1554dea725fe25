/**
 * flannel's configuration of a network: `<prefix>/config` in etcd, `net-conf.json` in Kubernetes. Keys, defaults and
 * limits are those of flannel's pkg/subnet/config.go and of its vxlan backend.
 */
import { VtepError } from '../errors.ts';
import { integerOf, type Json, objectOf } from './json-object.ts';
import type { BackendConfig, NetConfig } from './lease.ts';
import type { IpVersion } from './prefix.ts';
import {
  bitsOf,
  contains,
  formatAddress,
  formatNetwork,
  lastOf,
  type Network,
  networkOf,
  parseAddress,
  parseNetwork,
  sizeOf,
} from './subnets.ts';

const EXAMPLE = '"Backend": {"Type": "vxlan"}';
const MAX_VNI = 2 ** 24 - 1;
const MIN_MTU = 576;

export interface ParseNetConfigOptions {
  /** Where the text comes from, the first words of every error, e.g. "etcd /coreos.com/network/config". */
  where: string;
  /** Whether subnets are allocated by the Subnet* keys (etcd); where they are given, those keys are ignored. */
  allocates?: boolean;
}

/** @throws VtepError USAGE: names the key and the remedy */
export function parseNetConfig(text: string, { where, allocates = true }: ParseNetConfigOptions): NetConfig {
  return new Reader(where).config(text, allocates);
}

/** Keys that differ between the families, and flannel's limits: the longest network, the longest subnet, the usual one. */
const KEYS = {
  4: { network: 'Network', prefix: 'Subnet', longestNetwork: 28, longestSubnet: 30, usual: 24 },
  6: { network: 'IPv6Network', prefix: 'IPv6Subnet', longestNetwork: 124, longestSubnet: 126, usual: 64 },
} as const;

interface Range {
  network: string;
  length: number;
  min?: string;
  max?: string;
}

class Reader {
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  config(text: string, allocates: boolean): NetConfig {
    const json = this.#parse(text);
    const enableIpv4 = this.#flag(json, 'EnableIPv4', true);
    const enableIpv6 = this.#flag(json, 'EnableIPv6', false);
    if (!enableIpv4 && !enableIpv6)
      throw this.#wrong('EnableIPv4 and EnableIPv6 are both false: at least one family is needed');
    const v4 = enableIpv4 ? this.#range(json, 4, allocates) : undefined;
    const v6 = enableIpv6 ? this.#range(json, 6, allocates) : undefined;
    return {
      enableIpv4,
      enableIpv6,
      ...(v4 && { network: v4.network }),
      ...(v6 && { ipv6Network: v6.network }),
      subnetLen: v4?.length ?? KEYS[4].usual,
      ...(v4?.min && { subnetMin: v4.min, subnetMax: v4.max! }),
      ipv6SubnetLen: v6?.length ?? KEYS[6].usual,
      ...(v6?.min && { ipv6SubnetMin: v6.min, ipv6SubnetMax: v6.max! }),
      backend: this.#backend(json),
    };
  }

  #parse(text: string): Json {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw this.#wrong(
        `not JSON: ${(error as Error).message}: write {"Network": "10.244.0.0/16", ${EXAMPLE}}`,
      );
    }
    const json = objectOf(value);
    if (json === undefined)
      throw this.#wrong(`not a JSON object: write {"Network": "10.244.0.0/16", ${EXAMPLE}}`);
    return json;
  }

  #backend(json: Json): BackendConfig {
    const given = json.get('backend');
    if (given === undefined)
      throw this.#wrong(`Backend is missing: flannel would take "udp", this is vxlan only: add ${EXAMPLE}`);
    const backend = objectOf(given);
    if (backend === undefined) throw this.#wrong(`Backend is not an object: write ${EXAMPLE}`);
    const type = backend.get('type');
    if (typeof type !== 'string' || type.toLowerCase() !== 'vxlan')
      throw this.#wrong(`Backend.Type ${show(type)}: vxlan is the only one that is taken: write ${EXAMPLE}`);
    const mtu = this.#integer(backend, 'MTU', 0, 65535, 'Backend.');
    if (mtu > 0 && mtu < MIN_MTU)
      throw this.#wrong(
        `Backend.MTU ${mtu}: the underlay's MTU, ${MIN_MTU} to 65535; leave it out for the interface's`,
      );
    return {
      type: 'vxlan',
      vni: this.#integer(backend, 'VNI', 1, MAX_VNI, 'Backend.'),
      port: this.#integer(backend, 'Port', 0, 65535, 'Backend.') || 8472,
      ...(mtu > 0 && { mtu }),
      gbp: this.#flag(backend, 'GBP', false, 'Backend.'),
      learning: this.#flag(backend, 'Learning', false, 'Backend.'),
      directRouting: this.#flag(backend, 'DirectRouting', false, 'Backend.'),
    };
  }

  #range(json: Json, family: IpVersion, allocates: boolean): Range {
    const keys = KEYS[family];
    const network = this.#network(json, keys.network, family);
    const named = { network: formatNetwork(network) };
    if (!allocates) return { ...named, length: keys.usual };
    const length = this.#length(json, network);
    const step = sizeOf({ ...network, length });
    // The first subnet is left out: its network address is that of the whole network.
    const min = this.#bound(json, `${keys.prefix}Min`, network, length) ?? network.value + step;
    const max = this.#bound(json, `${keys.prefix}Max`, network, length) ?? lastOf(network) - step + 1n;
    if (min > max) throw this.#wrong(`${keys.prefix}Min is above ${keys.prefix}Max: exchange them`);
    return {
      ...named,
      length,
      min: formatAddress({ family, value: min }),
      max: formatAddress({ family, value: max }),
    };
  }

  #network(json: Json, key: string, family: IpVersion): Network {
    const given = json.get(key.toLowerCase());
    const network = typeof given === 'string' ? parseNetwork(given, family, true) : undefined;
    if (network === undefined || network.length === 0) {
      const example = family === 4 ? '10.244.0.0/16' : 'fd00:10:244::/48';
      throw this.#wrong(
        `${key} ${show(given)}: an IPv${family} network is needed: write "${key}": "${example}"`,
      );
    }
    return network;
  }

  #length(json: Json, network: Network): number {
    const { prefix, network: name, longestNetwork, longestSubnet, usual } = KEYS[network.family];
    const key = `${prefix}Len`;
    const given = this.#integer(json, key, 0, bitsOf(network.family));
    const least = network.length + 2;
    if (given === 0) {
      if (network.length > longestNetwork)
        throw this.#wrong(
          `${name} ${formatNetwork(network)}: too small for four subnets: /${longestNetwork} at most`,
        );
      return network.length <= usual - 2 ? usual : least;
    }
    if (given > longestSubnet || given < least)
      throw this.#wrong(
        `${key} ${given}: ${least} to ${longestSubnet} with ${name} ${formatNetwork(network)}`,
      );
    return given;
  }

  #bound(json: Json, key: string, network: Network, length: number): bigint | undefined {
    const given = json.get(key.toLowerCase());
    if (given === undefined) return undefined;
    const address = typeof given === 'string' ? parseAddress(given, network.family) : undefined;
    if (address === undefined)
      throw this.#wrong(`${key} ${show(given)}: an IPv${network.family} address is needed`);
    if (address.value === 0n) return undefined;
    if (!contains(network, address))
      throw this.#wrong(`${key} ${show(given)}: not in ${formatNetwork(network)}: choose an address of it`);
    const aligned = networkOf(address, length);
    if (aligned.value !== address.value)
      throw this.#wrong(
        `${key} ${show(given)}: not the address of a /${length}: write "${formatAddress(aligned)}"`,
      );
    return address.value;
  }

  /** VNI is 1 unless given; everything else 0, which stands for a default. */
  #integer(json: Json, key: string, least: number, most: number, path = ''): number {
    const given = json.get(key.toLowerCase());
    if (given === undefined) return key === 'VNI' ? 1 : 0;
    const value = integerOf(given, least, most);
    if (value === undefined)
      throw this.#wrong(`${path}${key} ${show(given)}: a number of ${least} to ${most}`);
    return value;
  }

  #flag(json: Json, key: string, otherwise: boolean, path = ''): boolean {
    const given = json.get(key.toLowerCase()) ?? otherwise;
    if (typeof given !== 'boolean') throw this.#wrong(`${path}${key} ${show(given)}: true or false`);
    return given;
  }

  #wrong(what: string): VtepError {
    return new VtepError('USAGE', `${this.#where}: ${what}`);
  }
}

const show = (value: unknown) => (value === undefined ? '(missing)' : JSON.stringify(value));
