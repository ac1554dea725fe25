/**
 * Links through iproute2: written with `ip -batch -`, read with `ip -j`. One process for any number of
 * commands.
 */
import { type ExecFileException, execFile } from 'node:child_process';
import { VtepError } from '../errors.ts';

export interface LinkJson {
  ifindex: number;
  ifname: string;
  address: string;
  mtu: number;
  linkinfo?: { info_kind?: string; info_data?: { port?: number; id?: number } };
}

/** Links of one kind in this network namespace. */
export async function readLinks(kind: string): Promise<LinkJson[]> {
  return JSON.parse((await ip(['-j', '-d', 'link', 'show', 'type', kind])) || '[]') as LinkJson[];
}

/** Addresses of a device, "10.244.1.0/32". @throws VtepError SYSTEM with the words of `ip` */
export async function readAddresses(dev: string, version: 4 | 6): Promise<string[]> {
  const text = await ip([`-${version}`, '-j', 'addr', 'show', 'dev', dev]);
  const links = JSON.parse(text || '[]') as { addr_info?: { local: string; prefixlen: number }[] }[];
  return links.flatMap(({ addr_info = [] }) => addr_info.map((one) => `${one.local}/${one.prefixlen}`));
}

/**
 * Runs commands ("link set dev x mtu 1450") one after the other, stopping at the first that fails.
 * @param within the network namespace to run them in; absent: this process's
 * @throws VtepError SYSTEM with the words of `ip`
 */
export async function ipBatch(commands: readonly string[], within: Within = HERE): Promise<void> {
  if (commands.length > 0) await ip(['-batch', '-'], `${commands.join('\n')}\n`, within);
}

/** Does a synchronous piece of work in some network namespace. */
export type Within = <T>(work: () => T) => T;

export const HERE: Within = (work) => work();

function ip(parameters: string[], input = '', within: Within = HERE): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = within(() => execFile('ip', parameters, ended));
    function ended(error: ExecFileException | null, stdout: string, stderr: string): void {
      if (error === null) {
        resolve(stdout);
      } else if (error.code === 'ENOENT') {
        reject(new VtepError('SYSTEM', 'ip: not found: install iproute2'));
      } else {
        const reason = stderr.split('\n')[0]?.replace(/^(RTNETLINK answers|Error): /, '') ?? error.message;
        const what = input === '' ? parameters.join(' ') : input.trim().split('\n').join('; ');
        reject(new VtepError('SYSTEM', `ip ${what}: ${reason}`));
      }
    }
    child.stdin?.on('error', () => {
      // The child has ended before it read its commands; its exit says why.
    });
    child.stdin?.end(input);
  });
}
