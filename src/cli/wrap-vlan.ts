/**
 * The bridge's words for a device of many VNIs: `bridge link set dev X vlan_tunnel on` and `bridge vlan add dev X vid
 * 10 tunnel_info id 1010`. Between a bridge and a TAP goes the frame alone, so that the daemon maps VLANs to VNIs
 * where the kernel's bridge would tell the device by metadata: the VLAN stays the bridge's, the VNI is the daemon's.
 */
import { OBJECTS } from './objects.ts';
import { firstMatch, invalid } from './words.ts';
import { commandOf, type Wrapped } from './wrap-context.ts';

const VERBS = ['add', 'delete', 'set', 'tunnelshow', 'show', 'lst', 'list'];

function valueBehind(words: readonly string[], keyword: string): string | undefined {
  const at = words.indexOf(keyword);
  return at < 0 ? undefined : words[at + 1];
}

/** `bridge link set`: `vlan_tunnel` needs nothing, what else is said is the bridge's. */
export async function wrapPort(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [verb = 'show', ...rest] = words;
  if (firstMatch(verb, ['set', 'show', 'lst', 'list']) !== 'set') return undefined;
  const at = rest.indexOf('vlan_tunnel');
  if (at < 0 || !context.isOurs(valueBehind(rest, 'dev'))) return undefined;
  if (rest[at + 1] !== 'on' && rest[at + 1] !== 'off')
    throw invalid(`Error: argument of "vlan_tunnel" must be "on" or "off", not "${rest[at + 1] ?? ''}"`);
  const others = [...rest.slice(0, at), ...rest.slice(at + 2)];
  const isNothing = others.every((word, index) => word === 'dev' || others[index - 1] === 'dev');
  return isNothing ? 0 : context.real.run([...context.options, 'link', 'set', ...others]);
}

/** `bridge vlan add|del ... tunnel_info id N`: the bridge's part first, then the mapping. */
export async function wrapVlan(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [word = 'show', ...rest] = words;
  const verb = firstMatch(word, VERBS);
  const device = valueBehind(rest, 'dev');
  const at = rest.indexOf('tunnel_info');
  if ((verb !== 'add' && verb !== 'delete') || at < 0 || !context.isOurs(device)) return undefined;
  const vid = valueBehind(rest, 'vid');
  const id = valueBehind(rest.slice(at), 'id');
  if (vid === undefined || id === undefined)
    throw invalid('Missing VLAN ID or tunnel id: "vid VLAN tunnel_info id VNI"');
  const vni = OBJECTS.find(({ name }) => name === 'vni');
  if (vni === undefined) return undefined;
  const mapping = verb === 'add' ? ['vlan', vid] : [];
  await vni.run(commandOf(context, [verb, 'vni', id, 'dev', device!, ...mapping]));
  return 0;
}
