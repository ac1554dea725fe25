/** One family of a reconciler: what is wanted, what there is, and what the last pass could not do. */
import { indexOf } from '../io/interface.ts';
import { linkOf } from '../netlink/route-table.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import type { Vtep } from '../types.ts';
import { type Actual, familyOf, readActual } from './actual.ts';
import type { Peer } from './candidate.ts';
import { desiredOf, nothing, type Side, type Wanted, wayTo } from './desired.ts';
import type { Overlay } from './examine.ts';
import { parsePrefix } from './prefix.ts';
import type { Problem } from './problem.ts';
import { isSameWay, type Outcome, type Programmer } from './program.ts';

export interface FamilyHost {
  readonly socket: NetlinkSocket;
  readonly vtep: Vtep;
  readonly programmer: Programmer;
  readonly protocol: number;
  readonly directRouting: boolean;
}

export class Family {
  /** Networks to which somebody else has changed a route. */
  readonly contested = new Set<string>();
  readonly #host: FamilyHost;
  /** Public address -> the interface on whose link it is. */
  readonly #links = new Map<string, number>();
  #side: Side;
  #peers: readonly Peer[] = [];
  #wanted: Wanted = nothing();
  #actual: Actual | undefined;
  #outcome: Outcome | undefined;

  constructor(host: FamilyHost, overlay: Overlay) {
    this.#host = host;
    this.#side = { overlay, ifindex: 0 };
  }

  get overlay(): Overlay {
    return this.#side.overlay;
  }

  get ifindex(): number {
    return this.#side.ifindex;
  }

  get entries(): { neighbours: number; fdb: number; sources: number; routes: number } {
    const { neighbours, fdb, sources, routes } = this.#actual ?? nothing();
    return { neighbours: neighbours.size, fdb: fdb.size, sources: sources.size, routes: routes.size };
  }

  /**
   * @param full reads what there is; a device that has become another one is always read
   * @param networks all that the network spans, of both families
   * @throws VtepError SYSTEM when the kernel can't be asked
   */
  async pass(
    given: { overlay: Overlay; peers: readonly Peer[]; networks: readonly string[] },
    full: boolean,
  ): Promise<Outcome> {
    const { socket, vtep, protocol, programmer } = this.#host;
    const side = { overlay: given.overlay, ifindex: indexOf(given.overlay.device) };
    const isOther = side.ifindex !== this.#side.ifindex || side.overlay.device !== this.overlay.device;
    this.#side = side;
    if (full || isOther || this.#actual === undefined) {
      const networks = given.networks.flatMap((text) => parsePrefix(text) ?? []);
      this.#actual = readActual(socket, vtep, side, { protocol, networks });
      this.#links.clear();
    }
    this.#peers = given.peers;
    this.#wanted = desiredOf(side, given.peers, (peer) => this.#linkOf(peer));
    const outcome = await programmer.apply(side, this.#actual, this.#wanted);
    programmer.findHidden(side, this.contested, this.#wanted, outcome);
    for (const network of this.contested) if (!outcome.foreign.has(network)) this.contested.delete(network);
    this.#outcome = outcome;
    return outcome;
  }

  /** Whether a route to that network is wanted. */
  wantsRoute(network: string): boolean {
    return this.#wanted.routes.has(network);
  }

  /** MAC that a neighbour is to have. */
  neighbour(address: string): string | undefined {
    return this.#wanted.neighbours.get(address)?.mac;
  }

  wayOf(peer: Peer): 'tunnel' | 'direct' | undefined {
    if (this.#wanted.routes.get(peer.subnet) !== peer) return undefined;
    const way = wayTo(peer, this.#wanted, this.#side);
    if (!this.#actual?.routes.get(peer.subnet)?.some((one) => isSameWay(one, way))) return undefined;
    return way.onlink ? 'tunnel' : 'direct';
  }

  /** Why a peer is not as it should be; undefined when it is. */
  errorOf(peer: Peer): string | undefined {
    if (this.#wanted.routes.get(peer.subnet) === peer) return this.#outcome?.errors.get(peer);
    return noDevice(this.overlay);
  }

  /** What the last pass met with. */
  problems(): Problem[] {
    const { family } = this.overlay;
    const problem = (code: Problem['code'], peers: readonly Peer[], text: string): Problem => {
      const keys = peers.map(({ lease }) => lease.key);
      return { code, family, keys, skipped: keys, text };
    };
    const foreign = [...(this.#outcome?.foreign.values() ?? [])];
    const found = foreign.map(({ peer, text }) => problem('foreign-route', [peer], text));
    const isForeign = new Set(foreign.map(({ peer }) => peer));
    const refused = [...(this.#outcome?.errors ?? [])].filter(([peer]) => !isForeign.has(peer));
    if (refused[0] !== undefined) {
      const more = refused.length > 1 ? ` (and ${refused.length - 1} more)` : '';
      found.push(
        problem(
          'refused',
          refused.map(([peer]) => peer),
          `${refused[0][1]}${more}`,
        ),
      );
    }
    const lost =
      this.ifindex === 0 ? this.#peers.filter((peer) => !this.#wanted.routes.has(peer.subnet)) : [];
    if (lost.length > 0) found.push(problem('device', lost, noDevice(this.overlay)));
    return found;
  }

  /** The interface on whose link a peer is; 0 = none that packets could take beside the tunnel. */
  #linkOf(peer: Peer): number {
    if (!this.#host.directRouting) return 0;
    let link = this.#links.get(peer.publicIp);
    if (link === undefined) {
      link = linkOf(this.#host.socket, familyOf(this.#side), peer.publicBytes);
      if (link === this.#side.ifindex) link = 0;
      this.#links.set(peer.publicIp, link);
    }
    return link;
  }
}

function noDevice({ device }: Overlay): string {
  return `Cannot find device "${device}": it is programmed as soon as it is there`;
}
