/** `vxlane flannel`: a flannel node in the foreground, with flanneld's flags; `vxlane flannel status` shows it. */
import { VtepError } from '../errors.ts';
import type { NetworkSetup, SourceSetup } from '../flannel/flannel.ts';
import type { Outside } from './command.ts';
import { type Given, readFlags } from './flannel-flags.ts';
import type { Tuning } from './serve.ts';

export interface FlannelCommand {
  networks: NetworkSetup[];
  tuning: Tuning;
  notes: string[];
}

/** What the flags say. @throws VtepError USAGE or UNSUPPORTED */
export function parseFlannel(words: readonly string[], env: Outside['env']): FlannelCommand {
  const { given, notes, rest } = readFlags(words, env);
  if (rest.length > 0)
    throw new VtepError('USAGE', `argument "${rest[0]}" is wrong: flags or "status" are expected`);
  const text = (name: string) => given.get(name) as string | undefined;
  const network: NetworkSetup = {
    name: 'default',
    source: sourceOf(given),
    stateDirectory: text('state-dir') ?? env.STATE_DIRECTORY ?? '/var/lib/vxlane',
    subnetFile: text('subnet-file') ?? '/run/flannel/subnet.env',
    ipMasq: given.get('ip-masq') === true,
    bind: given.get('bind') === true,
    validateSources: given.get('validate-sources') !== false,
    reconcileInterval: (given.get('reconcile-interval') as number | undefined) ?? 10,
    iface: (given.get('iface') as string[] | undefined) ?? [],
    ifaceRegex: (given.get('iface-regex') as string[] | undefined) ?? [],
  };
  return { networks: [network], tuning: {}, notes };
}

function sourceOf(given: Given): SourceSetup {
  const file = given.get('lease-file') as string | undefined;
  if (file !== undefined) return { kind: 'file', path: file };
  throw new VtepError('UNSUPPORTED', 'only --lease-file yet');
}
