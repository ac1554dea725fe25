/**
 * A command that came to a wrapper of `ip` or `bridge`: what concerns a device of vxlane goes to its daemon, the rest
 * to the real tool with the same arguments. Resolves to the exit code.
 */
import type { Outside } from './command.ts';
import { firstMatch } from './words.ts';
import { contextOf, type Wrapped } from './wrap-context.ts';
import { failureOf } from './wrap-errors.ts';
import { splitCall, type Tool } from './wrap-flags.ts';

/** Objects of the two tools in the order in which they try a prefix, as far as one of ours is concerned. */
const OBJECTS: Readonly<Record<Tool, readonly string[]>> = {
  ip: ['address', 'addrlabel', 'maddress', 'route', 'rule', 'neighbor', 'ntable', 'link', 'l2tp', 'monitor'],
  bridge: ['link', 'fdb', 'mdb', 'vlan', 'vni', 'monitor'],
};

export async function runWrapped(
  tool: Tool,
  realPath: string,
  argv: readonly string[],
  outside: Outside,
): Promise<number> {
  const call = splitCall(argv);
  const context = contextOf(tool, realPath, call, outside);
  if (call.flags.batch !== undefined) {
    const { runBatch } = await import('./wrap-batch.ts');
    return runBatch(context, call.flags.batch, (words) => runOne(context, words));
  }
  return (await runOne(context, call.words)) ?? context.real.become(argv);
}

/** Exit code, or undefined: not ours. */
async function runOne(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [typed = '', ...rest] = words;
  const object = firstMatch(typed, OBJECTS[context.tool]);
  try {
    switch (`${context.tool} ${object}`) {
      case 'ip link':
        return await (await import('./wrap-link.ts')).wrapLink(context, rest);
      case 'ip address':
        return await (await import('./wrap-link.ts')).wrapAddress(context, rest);
      case 'bridge fdb':
        return await (await import('./wrap-fdb.ts')).wrapFdb(context, rest);
      case 'bridge mdb':
      case 'bridge vni':
        return await (await import('./wrap-object.ts')).wrapObject(context, object as 'mdb' | 'vni', rest);
      case 'bridge vlan':
        return await (await import('./wrap-vlan.ts')).wrapVlan(context, rest);
      case 'bridge monitor':
        return await (await import('./wrap-monitor.ts')).wrapMonitor(context, rest);
      case 'bridge link':
        return await (await import('./wrap-vlan.ts')).wrapPort(context, rest);
      default:
        return undefined;
    }
  } catch (error) {
    const { code, message } = failureOf(context.tool, object ?? '', error);
    context.outside.err(`${message}\n`);
    return code;
  }
}
