/**
 * The bridge's words for a device of many VNIs: `bridge link set dev X vlan_tunnel on` and `bridge vlan add dev X vid
 * 10 tunnel_info id 1010`. Between a bridge and a TAP goes the frame alone, so that the daemon maps VLANs to VNIs
 * where the kernel's bridge would tell the device by metadata: the VLAN stays the bridge's, the VNI is the daemon's.
 */
import { VtepError } from '../errors.ts';
import { vlan } from './vlan.ts';
import { firstMatch, invalid } from './words.ts';
import { commandOf, type Wrapped } from './wrap-context.ts';

/** In the order in which the tools try them. */
const LINK_VERBS = ['set', 'show', 'lst', 'list'];
const VLAN_VERBS = ['add', 'delete', 'set', 'tunnelshow', 'show', 'lst', 'list', 'global'];

function valueBehind(words: readonly string[], keyword: string): string | undefined {
  const at = words.indexOf(keyword);
  return at < 0 ? undefined : words[at + 1];
}

/** `bridge link set`: `vlan_tunnel` needs nothing, what else is said is the bridge's. */
export async function wrapPort(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [verb = 'show', ...rest] = words;
  if (firstMatch(verb, LINK_VERBS) !== 'set') return undefined;
  const at = rest.indexOf('vlan_tunnel');
  if (at < 0 || !context.isOurs(valueBehind(rest, 'dev'))) return undefined;
  const value = rest[at + 1] ?? '';
  if (value !== 'on' && value !== 'off')
    throw invalid(`Error: argument of "vlan_tunnel" must be "on" or "off", not "${value}"`);
  const others = [...rest.slice(0, at), ...rest.slice(at + 2)];
  const isAll = others.every((word, index) => word === 'dev' || others[index - 1] === 'dev');
  return isAll ? 0 : context.real.run([...context.options, 'link', 'set', ...others]);
}

/** `tunnel_info` is the daemon's; a VLAN that leaves the bridge's port takes its mapping along. */
export async function wrapVlan(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [word = 'show', ...rest] = words;
  const verb = firstMatch(word, VLAN_VERBS);
  const device = valueBehind(rest, 'dev');
  if (!context.isOurs(device)) return undefined;
  if (verb === 'tunnelshow' || rest.includes('tunnel_info')) {
    await vlan(commandOf(context, [...words]));
    return 0;
  }
  const vid = valueBehind(rest, 'vid');
  if (verb !== 'delete' || vid === undefined) return undefined;
  const code = context.real.run([...context.options, 'vlan', ...words]);
  if (code !== 0) return code;
  await vlan(commandOf(context, ['del', 'dev', device!, 'vid', vid])).catch((error: unknown) => {
    // Most VLANs of a bridge have none.
    if (!(error instanceof VtepError)) throw error;
  });
  return 0;
}
