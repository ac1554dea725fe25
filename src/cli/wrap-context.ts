/** What a wrapped command works with: the daemon of its namespace, that daemon's devices, and the real tool. */
import { type Client, createClient, NoDaemonError } from '../daemon/client.ts';
import { readDevices } from '../daemon/devices-file.ts';
import { clientSocket, networkNamespace } from '../daemon/socket-path.ts';
import type { Command, Outside } from './command.ts';
import type { Tool, ToolFlags } from './wrap-flags.ts';
import { RealTool } from './wrap-real.ts';

export interface Wrapped {
  tool: Tool;
  real: RealTool;
  flags: ToolFlags;
  /** Global options, to be repeated to the real tool. */
  options: readonly string[];
  /** Whether an interface is a device of the daemon. */
  isOurs(name: string | undefined): boolean;
  /** Names of the daemon's devices, as of now. */
  names(): string[];
  client: Client;
  socket: string;
  outside: Outside;
}

export function contextOf(
  tool: Tool,
  realPath: string,
  { flags, options }: { flags: ToolFlags; options: string[] },
  outside: Outside,
): Wrapped {
  const socket = clientSocket(outside.env, flags.namespace);
  const here = networkNamespace(flags.namespace);
  // The daemon of another namespace: its devices may bear the same names and are not meant.
  const isStranger = () => {
    const { namespace } = readDevices(socket);
    return !outside.env.VXLANE_SOCKET && namespace !== undefined && namespace !== here;
  };
  const names = () => (isStranger() ? [] : readDevices(socket).names);
  const where = flags.namespace === undefined ? 'this network namespace' : `namespace ${flags.namespace}`;
  const client = isStranger() ? nobody(`${socket} for ${where}`) : createClient(socket);
  return {
    tool,
    real: new RealTool(realPath, outside),
    flags,
    options,
    names,
    isOurs: (name) => name !== undefined && names().includes(name),
    client,
    socket,
    outside,
  };
}

/** Whatever is asked, there is no daemon. */
function nobody(where: string): Client {
  const refuse = async () => {
    throw new NoDaemonError(where);
  };
  return new Proxy({} as Client, { get: () => refuse });
}

/** The same command in vxlane's own words. */
export function commandOf({ flags, client, outside }: Wrapped, words: string[]): Command {
  const { json, pretty, details, statistics } = flags;
  return {
    words,
    client,
    outside,
    flags: {
      json,
      pretty,
      details: details > 0,
      everything: details > 1,
      statistics,
      oneline: false,
      brief: false,
    },
  };
}
