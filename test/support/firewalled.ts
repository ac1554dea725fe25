/** A firewall in WebAssembly for dataplanes in other runtimes, where it can't be compiled: what it is to drop and to pass. */
import { firewallRules } from '../../examples/hooks/firewall-rules.ts';
import { compileAssembly } from './asc.ts';
import { ethernet, ipv4 } from './frames.ts';
import { tcp } from './messages.ts';

/** As JSON carries it: bytes as numbers. */
export interface Firewalled {
  readonly wasm: readonly number[];
  readonly rules: readonly number[];
  /** Of the one the firewall drops; of the other it doesn't. */
  readonly telnet: readonly number[];
  readonly web: readonly number[];
}

export async function firewalled(): Promise<Firewalled> {
  const wasm = await compileAssembly('examples/hooks/firewall.ts');
  const rules = firewallRules([{ action: 'drop', protocol: 6, destinationPorts: [23, 23] }], 'pass');
  const to = (destinationPort: number) => [...ethernet({}, ipv4({}, tcp({ destinationPort })))];
  return { wasm: [...wasm], rules: [...rules], telnet: to(23), web: to(80) };
}
