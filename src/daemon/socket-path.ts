/**
 * Where a daemon's socket is, for those who were not told: VXLANE_SOCKET, else the socket of the network namespace,
 * else the one of the host. A daemon in a namespace that `ip netns` has named listens at
 * /run/vxlane/netns/NAME.sock, so that several daemons need no names of their own and `ip -n NAME` finds each.
 *
 * Beside a socket stands the list of its devices (devices-file.ts).
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { SOCKET_DEFAULT } from './client.ts';

const NAMESPACES = '/run/netns';
const SOCKETS = '/run/vxlane/netns';

export type Environment = Readonly<Record<string, string | undefined>>;

export function socketOfNamespace(name: string): string {
  return `${SOCKETS}/${name}.sock`;
}

/** "DEVICE:INODE" of a namespace file, which is what makes two of them the same; undefined: not there, or no right. */
function namespaceId(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** Id of the named network namespace, or of the one this process is in. */
export function networkNamespace(name?: string): string | undefined {
  return namespaceId(name === undefined ? '/proc/self/ns/net' : `${NAMESPACES}/${name}`);
}

/** What `ip netns` calls the namespace of this process; the host's own has no name, whatever is attached to it. */
function ownNamespaceName(): string | undefined {
  const own = networkNamespace();
  if (own === undefined || own === namespaceId('/proc/1/ns/net')) return undefined;
  try {
    return readdirSync(NAMESPACES).find((name) => networkNamespace(name) === own);
  } catch {
    return undefined;
  }
}

/** Where a new daemon listens. */
export function daemonSocket(): string {
  const name = ownNamespaceName();
  return name === undefined ? SOCKET_DEFAULT : socketOfNamespace(name);
}

/** Where to look for the daemon of this namespace, or of the named one. */
export function clientSocket(env: Environment, namespace: string | undefined = ownNamespaceName()): string {
  if (env.VXLANE_SOCKET) return env.VXLANE_SOCKET;
  if (namespace === undefined) return SOCKET_DEFAULT;
  const socket = socketOfNamespace(namespace);
  return existsSync(socket) ? socket : SOCKET_DEFAULT;
}
