/** The options that all commands share, and what they make of them. */
import { existsSync } from 'node:fs';
import { type Command as Commander, Option } from 'commander';
import { createClient, SOCKET_DEFAULT } from '../daemon/client.ts';
import { clientSocket, socketOfNamespace } from '../daemon/socket-path.ts';
import { VtepError } from '../errors.ts';
import type { Command, Flags, Outside } from './command.ts';

export interface Options {
  json?: true;
  pretty?: true;
  details: number;
  statistics: number;
  oneline?: true;
  brief?: true;
  family?: string;
  4?: true;
  6?: true;
  force?: true;
  batch?: string;
  netns?: string;
  socket?: string;
}

/** In the order of the help. */
export function addOptions(program: Commander): void {
  const more = (_: unknown, times: number) => times + 1;
  program
    .option('-j, --json', 'print JSON, with the keys of iproute2')
    .option('-p, --pretty', 'indent the JSON')
    .option('-s, --statistics', 'show counters and ages; twice: kinds of errors', more, 0)
    .option('-d, --details', 'show all options of a device; twice: those at their default too', more, 0)
    .option('-o, --oneline', 'one record a line, "\\" where a line would end')
    .option('--brief', 'devices as a short table (also -br)')
    .option('-4', 'IPv4 underlay')
    .option('-6', 'IPv6 underlay, for a device without addresses')
    .addOption(new Option('--family <inet|inet6>').hideHelp())
    .option('-b, --batch <file>', 'read commands from a file, one a line; "-": from standard input')
    .option('--force', 'a batch goes on after a command that failed')
    .option('-n, --netns <name>', 'ask the daemon of this network namespace ("ip netns")')
    .option('--socket <path>', `control socket (default: VXLANE_SOCKET, or ${SOCKET_DEFAULT})`);
}

export function inputOf(words: string[], options: Options, outside: Outside): Command {
  const { socket, netns } = options;
  if (netns !== undefined && socket === undefined && !existsSync(socketOfNamespace(netns)))
    throw new VtepError(
      'UNSUPPORTED',
      `-netns ${netns}: no daemon serves that namespace: "ip netns exec ${netns} vxlane daemon" starts one`,
    );
  return {
    words,
    flags: flagsOf(options),
    client: createClient(
      socket ?? (netns === undefined ? clientSocket(outside.env) : socketOfNamespace(netns)),
    ),
    outside,
  };
}

export function flagsOf(options: Options): Flags {
  const { family = options[6] ? 'inet6' : options[4] ? 'inet' : undefined } = options;
  if (family !== undefined && family !== 'inet' && family !== 'inet6')
    throw new VtepError(
      'USAGE',
      `argument "${family}" is wrong: invalid protocol family: inet or inet6`,
      255,
    );
  return {
    json: options.json === true,
    pretty: options.pretty === true,
    details: options.details > 0,
    everything: options.details > 1,
    statistics: options.statistics,
    oneline: options.oneline === true,
    brief: options.brief === true,
    ...(family === undefined ? {} : { family }),
  };
}
