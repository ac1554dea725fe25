/**
 * The portable port: Node's own dgram, any OS, no privilege. One datagram per call; what the batched port
 * does with socket options and control messages can't be done here.
 */
import { createSocket } from 'node:dgram';

/** A UDP socket, open. */
export interface PortablePort {
  readonly address: string;
  readonly port: number;
  /** What can't be sent is lost, as on any wire. */
  send(datagram: Uint8Array, address: string, port: number): void;
  /** Frees the port. */
  close(): Promise<void>;
}

/**
 * Opens a UDP socket of Node's own: a carrier for `createDataplane`, for instance.
 * @param port 0 = any free one
 * @param bufferBytes of the socket, for what is received; the system may give less
 * @throws Error EADDRINUSE and the like, from the bind
 */
export async function openPortablePort(
  address: string,
  port: number,
  received: (datagram: Uint8Array, sender: string, senderPort: number) => void,
  bufferBytes?: number,
): Promise<PortablePort> {
  const type = address.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({
    type,
    ...(bufferBytes === undefined ? {} : { recvBufferSize: bufferBytes }),
  });
  socket.on('message', (datagram, sender) => received(datagram, sender.address, sender.port));
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, resolve);
  });
  socket.on('error', () => {
    // "Port unreachable" and the like belong to a datagram that has gone; there is nobody to tell.
  });
  const bound = socket.address();
  return {
    address: bound.address,
    port: bound.port,
    send: (datagram, to, toPort) => socket.send(datagram, toPort, to, () => {}),
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}
