/** The devices of one network on this node: made, made again when somebody deletes them, and kept as they have to be. */
import { stateOf } from '../io/interface.ts';
import { ipBatch, readLinks } from '../netlink/ip.ts';
import type { DeviceChange, DeviceInfo, Vtep } from '../types.ts';
import { refuseRouterAdvertisements, settleAddress } from './interface-address.ts';
import type { NetConfig, Subnets } from './lease.ts';
import type { Logger, NetworkOptions } from './network-options.ts';
import type { OverlayStatus } from './network-status.ts';
import { familiesOf, overlayMtu, overlayName, overlayRequest } from './overlay.ts';
import type { IpVersion } from './prefix.ts';
import type { Underlay } from './underlay.ts';

export type Macs = Partial<Record<IpVersion, string | undefined>>;

export class Overlays {
  readonly #options: NetworkOptions;
  readonly #vtep: Vtep;
  readonly #log: Logger;
  #config: NetConfig | undefined;
  #macs: Macs = {};
  /** Of the devices, bytes. */
  mtu: number | undefined;

  constructor(options: NetworkOptions, vtep: Vtep, log: Logger) {
    this.#options = options;
    this.#vtep = vtep;
    this.#log = log;
  }

  /** @param macs of an earlier life */
  begin(config: NetConfig, macs: Macs): void {
    this.#config = config;
    this.#macs = { ...macs };
  }

  has(name: string): boolean {
    return this.#families().some((family) => this.#nameOf(family) === name);
  }

  /** undefined until there is a device. */
  macOf(version: IpVersion): string | undefined {
    return this.#macs[version];
  }

  status(): OverlayStatus[] {
    const devices = this.#vtep.devices();
    return this.#families().flatMap((family) => {
      const name = this.#nameOf(family);
      const info = devices.find(({ config }) => config.name === name);
      if (info === undefined) return [];
      const { address, mtu, local = '', dev = '' } = info.config;
      return [{ family, name, ifindex: info.ifindex, mac: address, mtu, up: info.up, local, dev }];
    });
  }

  /** @throws VtepError */
  async settleDevices(underlay: Underlay): Promise<void> {
    this.mtu = overlayMtu(this.#config!, underlay.mtu);
    for (const version of this.#families()) await this.#settleDevice(version, underlay, this.mtu);
  }

  /** What is wrong with the MTU of the configuration. */
  complaint({ ifname, mtu }: Underlay): string | undefined {
    const asked = this.#config?.backend.mtu;
    if (asked === undefined || asked <= mtu) return undefined;
    return `Backend.MTU ${asked} of the configuration is more than ${ifname} has (${mtu}): ${mtu} counts`;
  }

  async #settleDevice(version: IpVersion, underlay: Underlay, mtu: number): Promise<void> {
    const { backend } = this.#config!;
    const name = this.#nameOf(version);
    const local = version === 4 ? underlay.address : underlay.addressV6;
    const dev = (version === 6 ? underlay.ifnameV6 : undefined) ?? underlay.ifname;
    if (local === undefined) throw new Error(`${dev} has no IPv${version} address`);
    const found = this.#vtep.devices().find(({ config }) => config.name === name);
    if (found === undefined) {
      const before = await this.#takeOver(name);
      const mac = before ?? this.#macs[version];
      const { bind, validateSources } = this.#options;
      const made = await this.#vtep.addDevice(
        overlayRequest({ name, backend, mac: mac ?? randomMac(), mtu, local, dev, bind, validateSources }),
      );
      this.#macs[version] = made.config.address;
      refuseRouterAdvertisements(name);
      return;
    }
    // Whoever gives the device another MAC wants it: the lease follows.
    this.#macs[version] = found.config.address;
    const change = difference(found, { local, dev, mtu });
    // Ports that are bound to an address stay there until they are opened anew, which `settleAddresses` sees to.
    if (found.config.bind && change.local !== undefined) await this.#vtep.setDevice(name, { up: false });
    if (Object.keys(change).length > 0) await this.#vtep.setDevice(name, change);
  }

  /** Ours is the network's own address; the device goes up behind it. @throws VtepError */
  async settleAddresses(subnets: Subnets): Promise<void> {
    const { network, ipv6Network } = this.#config!;
    for (const version of this.#families()) {
      const name = this.#nameOf(version);
      const subnet = version === 4 ? subnets.subnet : subnets.subnetV6;
      const whole = version === 4 ? network : ipv6Network;
      const found = this.#vtep.devices().find(({ config }) => config.name === name);
      if (found === undefined || subnet === undefined || whole === undefined) continue;
      await settleAddress(name, subnet, whole);
      if (!found.up) await this.#vtep.setDevice(name, { up: true });
    }
  }

  async close(): Promise<void> {
    for (const { name } of this.status()) await this.#vtep.deleteDevice(name);
  }

  /** The kernel's own device of that name, which flanneld left, makes way; its MAC is what the peers know. */
  async #takeOver(name: string): Promise<string | undefined> {
    if (stateOf(name) === undefined) return undefined;
    const kernels = (await readLinks('vxlan')).find(({ ifname }) => ifname === name);
    if (kernels === undefined) return undefined;
    this.#log('warn', `link ${name}: the kernel's device of this name is replaced; its MAC stays`);
    await ipBatch([`link del ${name}`]);
    return kernels.address;
  }

  #families(): IpVersion[] {
    return this.#config === undefined ? [] : familiesOf(this.#config);
  }

  #nameOf(version: IpVersion): string {
    return overlayName(version, this.#config!.backend);
  }
}

function difference(
  { config }: DeviceInfo,
  wanted: { local: string; dev: string; mtu: number },
): DeviceChange {
  const changed = Object.entries(wanted).filter(
    ([key, value]) => config[key as keyof typeof wanted] !== value,
  );
  return Object.fromEntries(changed) as DeviceChange;
}

/** Unicast, locally administered. */
function randomMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
