/** The other members of a network: programmed as their leases have it, probed, and shown. */
import { AF_INET, AF_INET6 } from '../io/family.ts';
import type { PeerInfo, Vtep } from '../types.ts';
import type { Overlay, Self } from './examine.ts';
import type { Lease, NetConfig } from './lease.ts';
import type { Logger } from './network-options.ts';
import type { OverlayStatus, PeerStatus } from './network-status.ts';
import type { PeerState } from './peer-states.ts';
import { Prober } from './probe.ts';
import type { ProbePeer, Reachability } from './reachability.ts';
import { Reconciler } from './reconcile.ts';
import type { Underlay } from './underlay.ts';

/** A burst of changes is handed to the prober as one. */
const PROBE_SOON_MS = 200;
/** Of each kind; a network that is wrong throughout has as many as it has members. */
const PROBLEMS_SHOWN = 50;

export interface NetworkPeersOptions {
  vtep: Vtep;
  log: Logger;
  /** Between two looks at everything, milliseconds. */
  intervalMs: number;
}

export class NetworkPeers {
  readonly #options: NetworkPeersOptions;
  #reconciler: Reconciler | undefined;
  #prober: Prober | undefined;
  /** What they were told last, as JSON. */
  #told = { overlays: '', self: '', probing: '' };
  #probing: NodeJS.Timeout | undefined;
  #closed = false;
  #isProgrammed: () => void = () => {};
  /** Resolves when the first members that were heard of have been programmed. */
  readonly programmed = new Promise<void>((resolve) => {
    this.#isProgrammed = resolve;
  });

  constructor(options: NetworkPeersOptions) {
    this.#options = options;
  }

  /** Who and where we are now. Resolves when all peers are as they have to be, or have failed to be. */
  async settle(
    config: NetConfig,
    lease: Lease,
    devices: readonly OverlayStatus[],
    underlay: Underlay,
  ): Promise<void> {
    const { vni, port } = config.backend;
    const overlays: Overlay[] = devices.map(({ name, family, ifindex, mtu }) => {
      return { family, device: name, ifindex, vni, port, mtu };
    });
    const self: Self = {
      subnets: present(lease.subnet, lease.subnetV6),
      publicIps: [
        ...new Set(present(lease.publicIp, lease.publicIpV6, underlay.address, underlay.addressV6)),
      ],
      macs: devices.map(({ mac }) => mac),
      networks: present(config.network, config.ipv6Network),
    };
    const told = { overlays: JSON.stringify(overlays), self: JSON.stringify(self) };
    if (this.#reconciler === undefined) {
      const { vtep, log, intervalMs } = this.#options;
      const { directRouting } = config.backend;
      this.#reconciler = new Reconciler({ vtep, overlays, self, directRouting, intervalMs, log });
    } else {
      if (told.self !== this.#told.self) void this.#reconciler.setSelf(self);
      if (told.overlays !== this.#told.overlays) await this.#reconciler.setOverlays(overlays);
    }
    Object.assign(this.#told, told);
    this.#settleProber(config, lease, devices);
  }

  snapshot(leases: readonly Lease[]): void {
    void this.#reconciler?.snapshot(leases).then(() => {
      this.#isProgrammed();
      this.#probeSoon();
    });
  }

  change(changed: readonly Lease[], removed: readonly string[]): void {
    void this.#reconciler?.change(changed, removed).then(() => this.#probeSoon());
  }

  status(): PeerStatus[] {
    const infos = new Map<string, PeerInfo>();
    const peers = this.#reconciler?.peers() ?? [];
    for (const device of new Set(peers.map((peer) => peer.device)))
      for (const info of this.#shown(device)) infos.set(`${device} ${info.mac}`, info);
    return peers.map((peer) =>
      statusOf(peer, this.#prober?.of(peer.key, familyOf(peer)), infos.get(`${peer.device} ${peer.mac}`)),
    );
  }

  problems(): string[] {
    const reconciler = this.#reconciler;
    if (reconciler === undefined) return [];
    const { error } = reconciler.report();
    const probing = this.#prober?.error;
    return [
      ...(error === undefined ? [] : [error]),
      ...shown(reconciler.problems().map(({ text }) => text)),
      ...(probing === undefined ? [] : [`peers can't be probed: ${probing}`]),
      ...shown(this.#prober?.problems().map(({ text }) => text) ?? []),
    ];
  }

  /** What is missing before traffic may be sent here. */
  ready(): string[] {
    if (this.#reconciler === undefined) return [];
    const { synced, error } = this.#reconciler.report();
    if (!synced) return [error ?? 'peers are not programmed yet'];
    return this.#prober?.ready().reasons ?? [];
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#probing);
    this.#prober?.close();
    // Routes that lead past the tunnel go on without us.
    await this.#reconciler?.close({ remove: false });
  }

  #shown(device: string): PeerInfo[] {
    try {
      return this.#options.vtep.peerShow(device);
    } catch {
      // The device has just gone.
      return [];
    }
  }

  /** Echo requests come from our own address in the overlay, which the device must have. */
  #settleProber(config: NetConfig, { subnet, subnetV6 }: Lease, devices: readonly OverlayStatus[]): void {
    const mtu = devices[0]?.mtu;
    if (mtu === undefined || this.#closed) return;
    const addresses = { address: subnet?.split('/')[0], addressV6: subnetV6?.split('/')[0] };
    const mtuV6 = devices.find(({ family }) => family === 6)?.mtu;
    const options = { ...addresses, mtu, mtuV6 };
    // Sockets go with the device that they were bound to.
    const probing = JSON.stringify([options, devices.map(({ ifindex }) => ifindex)]);
    if (probing === this.#told.probing) return;
    this.#told.probing = probing;
    const { vni, port } = config.backend;
    if (this.#prober === undefined) this.#prober = new Prober({ ...options, vni, port });
    else this.#prober.update(options);
    this.#probeSoon();
  }

  #probeSoon(): void {
    if (this.#closed || this.#probing !== undefined) return;
    this.#probing = setTimeout(() => {
      this.#probing = undefined;
      this.#prober?.setPeers((this.#reconciler?.peers() ?? []).flatMap((peer) => probeOf(peer) ?? []));
    }, PROBE_SOON_MS);
  }
}

function familyOf({ family }: PeerState): typeof AF_INET | typeof AF_INET6 {
  return family === 4 ? AF_INET : AF_INET6;
}

function probeOf(peer: PeerState): ProbePeer | undefined {
  const { key, subnet, publicIp, programmed } = peer;
  const address = subnet?.split('/')[0];
  if (!programmed || address === undefined || publicIp === undefined) return undefined;
  return { key, address, family: familyOf(peer), publicIp };
}

function statusOf(
  { key, family, lease, subnet, publicIp, mac, way, programmed, error }: PeerState,
  found: Readonly<Reachability> | undefined,
  info: PeerInfo | undefined,
): PeerStatus {
  const { state, smoothedRttMs: rttMs, fullSize, pathMtu } = found ?? {};
  return {
    key,
    family,
    subnet: subnet ?? '',
    publicIp: publicIp ?? '',
    mac: mac ?? '',
    state: programmed && way !== undefined ? way : 'error',
    ...(error === undefined ? {} : { error }),
    ...(lease.expires === undefined ? {} : { expires: lease.expires }),
    ...(state === undefined || fullSize === undefined
      ? {}
      : {
          reachability: {
            ...{ state, fullSize },
            ...(rttMs === undefined ? {} : { rttMs }),
            ...(pathMtu === undefined ? {} : { pathMtu }),
          },
        }),
    ...(info?.last === undefined ? {} : { last: info.last }),
    ...(info === undefined ? {} : { stats: info.stats }),
  };
}

function shown(texts: readonly string[]): string[] {
  if (texts.length <= PROBLEMS_SHOWN) return [...texts];
  return [...texts.slice(0, PROBLEMS_SHOWN), `and ${texts.length - PROBLEMS_SHOWN} more of the kind`];
}

function present(...texts: (string | undefined)[]): string[] {
  return texts.filter((one) => one !== undefined);
}
