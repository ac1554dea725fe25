/**
 * Nexthop groups, as `ip nexthop add id N group ... fdb` makes them: an FDB entry that names one sends each
 * flow to one of its members. The groups are the kernel's; whoever listens to it reports them here.
 */
import { AF_INET, AF_INET6, FANOUT_MAX, REMOTE_VNI_DEFAULT } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { type Remote, sameRemote } from './fdb-record.ts';
import { parseAddress } from './fdb-text.ts';

export interface NexthopMember {
  /** Of the nexthop that is the member. */
  readonly id: number;
  /** 1 to 65536 */
  readonly weight: number;
  readonly family: typeof AF_INET | typeof AF_INET6;
  /** IP address of the far VTEP. */
  readonly gateway: string;
}

/** A nexthop or a group of them (RTM_NEWNEXTHOP). */
export interface NexthopInfo {
  /** 1 or more */
  readonly id: number;
  /** Made with the word `fdb`. */
  readonly fdb: boolean;
  /** In the group's order; absent: a single nexthop, which entries can't name. */
  readonly members?: readonly NexthopMember[];
}

/**
 * Nexthops and groups, as rtnetlink tells of them one by one, put together. Members that have gone are left out, and
 * blackholes: those have no gateway, nothing can be sent there.
 */
export function joinNexthops(
  nexthops: readonly (Pick<NexthopInfo, 'id' | 'fdb'> & {
    family?: number | undefined;
    gateway?: string | undefined;
  })[],
  groups: readonly (Pick<NexthopInfo, 'id' | 'fdb'> & {
    members: readonly Pick<NexthopMember, 'id' | 'weight'>[];
  })[],
): NexthopInfo[] {
  const single = new Map(nexthops.map((nexthop) => [nexthop.id, nexthop]));
  return [
    ...nexthops.map(({ id, fdb }) => ({ id, fdb })),
    ...groups.map(({ id, fdb, members }) => ({
      id,
      fdb,
      members: members.flatMap((member) => {
        const { family, gateway } = single.get(member.id) ?? {};
        if ((family !== AF_INET && family !== AF_INET6) || gateway === undefined) return [];
        return [{ ...member, family, gateway }] as NexthopMember[];
      }),
    })),
  ];
}

/** A remote's weight has one byte. */
const WEIGHT_MAX = 256;

export class Nexthops {
  #known = new Map<number, NexthopInfo>();

  /** All there are now: those that are not listed have gone. */
  set(nexthops: readonly NexthopInfo[]): void {
    this.#known = new Map(nexthops.map((nexthop) => [nexthop.id, nexthop]));
  }

  has(id: number): boolean {
    return this.#known.has(id);
  }

  /** The members of a group as remotes; undefined when there is no such FDB group (any more). */
  remotesOf(id: number): Remote[] | undefined {
    const known = this.#known.get(id);
    return known?.fdb && known.members !== undefined ? toRemotes(known.members) : undefined;
  }

  /**
   * The members of a group that a request names, as remotes.
   * @param family of the device
   * @throws VtepError NOT_FOUND, USAGE or UNSUPPORTED, with the kernel's words
   */
  requested(what: string, id: number, family: number): Remote[] {
    const known = this.#known.get(id);
    if (known === undefined)
      throw new VtepError(
        'NOT_FOUND',
        `${what}: Nexthop id does not exist.; "ip nexthop" lists those that do`,
      );
    if (!known.fdb)
      throw new VtepError(
        'USAGE',
        `${what}: Nexthop is not a fdb nexthop.; make it with "ip nexthop add id ${id} group ... fdb"`,
      );
    if (known.members === undefined)
      throw new VtepError(
        'USAGE',
        `${what}: Nexthop is not a multipath group.; make one of it with "ip nexthop add id N group ${id} fdb"`,
      );
    if (known.members.some((member) => member.family !== family))
      throw new VtepError(
        'UNSUPPORTED',
        `${what}: Nexthop group family not supported.; the device's remotes are ${family === AF_INET ? 'IPv4' : 'IPv6'}`,
      );
    return toRemotes(known.members);
  }
}

export function sameGroup(one: readonly Remote[], other: readonly Remote[]): boolean {
  const equal = (remote: Remote, at: number) =>
    sameRemote(remote, other[at]!) && (remote.weight ?? 1) === (other[at]!.weight ?? 1);
  return one.length === other.length && one.every(equal);
}

/** Members without a readable gateway are left out; weights that don't fit are made smaller, all alike. */
function toRemotes(members: readonly NexthopMember[]): Remote[] {
  const largest = members.reduce((most, { weight }) => Math.max(most, weight), 1);
  const scale = Math.min(1, WEIGHT_MAX / largest);
  return members.slice(0, FANOUT_MAX).flatMap(({ gateway, weight }) => {
    const address = parseAddress(gateway);
    if (address === undefined) return [];
    const weighed = Math.max(1, Math.round(weight * scale));
    return [{ address, port: 0, vni: REMOTE_VNI_DEFAULT, ifindex: 0, weight: weighed }];
  });
}
