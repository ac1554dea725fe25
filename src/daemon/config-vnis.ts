/**
 * The list `vnis` of an external device in the configuration file: which VNIs it has, where their unknown MACs go,
 * and on which VLANs of the TAP they are. A range of VNIs with a VLAN takes as many VLANs, one after the other.
 */
import type { DeviceConfig, NumberRange, VniRequest } from '../types.ts';
import { flag, maybe, strict, word } from './shapes.ts';
import * as values from './values.ts';
import { vlanRange, vniList } from './vni-schema.ts';

export const vniSchema = strict({
  vni: word(vniList),
  remote: maybe(values.remote),
  group: maybe(values.group),
  vlan: maybe(vlanRange),
  pvid: flag,
  untagged: flag,
});

type VniEntry = Omit<VniRequest, 'op' | 'dev'>;

const size = ([first, last]: NumberRange) => Math.max(0, last - first + 1);
const sum = (ranges: readonly NumberRange[]) => ranges.reduce((total, range) => total + size(range), 0);
const overlap = (one: NumberRange, other: NumberRange) => one[0] <= other[1] && other[0] <= one[1];

/** One VLAN begins a run that is as long as there are VNIs. */
function vlansOf({ vni, vlan }: VniEntry): NumberRange | undefined {
  if (vlan === undefined || vlan[0] !== vlan[1]) return vlan;
  return [vlan[0], vlan[0] + Math.max(1, sum(vni)) - 1];
}

/** What is asked of the VTEP for one entry: `vni add` where VNIs are listed, then `vlan add`. */
export function vniRequests(
  { name, vnifilter }: Pick<DeviceConfig, 'name' | 'vnifilter'>,
  entry: VniEntry,
): VniRequest[] {
  const { vlan: _, pvid, untagged, ...listed } = entry;
  const vlan = vlansOf(entry);
  const { vni } = entry;
  return [
    ...(vnifilter ? [{ op: 'add' as const, dev: name, ...listed }] : []),
    ...(vlan === undefined
      ? []
      : [{ op: 'add' as const, dev: name, vni, vlan, ...(pvid && { pvid }), ...(untagged && { untagged }) }]),
  ];
}

/** What one entry can't show by itself, with its place in the list and the key. */
export function* objectionsToVnis(
  { external, vnifilter, dev }: DeviceConfig,
  list: readonly VniEntry[],
): Generator<readonly [place: (string | number)[], message: string]> {
  if (list.length > 0 && !external) yield [[], 'only an external device has many VNIs: say "external: true"'];
  for (const [index, entry] of list.entries()) {
    const { vni, remote, group, pvid, untagged } = entry;
    const earlier = list.slice(0, index);
    if (earlier.some((other) => other.vni.some((one) => vni.some((range) => overlap(one, range)))))
      yield [[index, 'vni'], 'one of these VNIs is there twice'];
    if (remote !== undefined && group !== undefined)
      yield [[index, 'group'], 'both group and remote cannot be specified'];
    if (group !== undefined && dev === undefined)
      yield [[index, 'group'], 'Local interface required for multicast remote group.'];
    if ((remote ?? group) !== undefined && !vnifilter)
      yield [
        [index, remote === undefined ? 'group' : 'remote'],
        'only with "vnifilter: true" has a VNI a destination of its own: give it in "fdb", with "src_vni"',
      ];
    const vlans = vlansOf(entry);
    if (vlans === undefined && !vnifilter)
      yield [[index, 'vlan'], 'missing: without "vnifilter: true" those VNIs are received that have a VLAN'];
    if (vlans === undefined) {
      if (pvid || untagged) yield [[index, 'vlan'], 'missing: "pvid" and "untagged" are said of a VLAN'];
      continue;
    }
    if (size(vlans) !== sum(vni)) yield [[index, 'vlan'], `${sum(vni)} VNIs need as many VLANs`];
    if (vlans[1] > 4094) yield [[index, 'vlan'], 'the last of these VLANs would be above 4094'];
    if (earlier.map(vlansOf).some((other) => other !== undefined && overlap(other, vlans)))
      yield [[index, 'vlan'], 'one of these VLANs is there twice'];
    if (pvid && (size(vlans) > 1 || earlier.some((other) => other.pvid)))
      yield [[index, 'pvid'], 'untagged frames are of one VLAN'];
  }
}
