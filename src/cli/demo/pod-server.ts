/** The far pod: an HTTP server that gives and takes bodies with their hash, and a UDP port that echoes. */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:http';

export const HTTP_PORT = 8080;
export const ECHO_PORT = 7;
export const BODY_BYTES = 1 << 20;
export const HASH_HEADER = 'x-sha256';

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export async function startServer(address: string): Promise<void> {
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      const hash = createHash('sha256');
      request.on('data', (chunk: Buffer) => hash.update(chunk));
      request.on('end', () => response.end(hash.digest('hex')));
    } else {
      const body = randomBytes(BODY_BYTES);
      response.writeHead(200, { 'content-length': body.length, [HASH_HEADER]: sha256(body) });
      response.end(body);
    }
  });
  server.listen(HTTP_PORT, address);
  await once(server, 'listening');

  const echo = createSocket('udp4');
  echo.on('message', (message, from) => echo.send(message, from.port, from.address));
  // A send that fails is an echo that does not come back, which is counted over there.
  echo.on('error', () => {});
  echo.bind(ECHO_PORT, address);
  await once(echo, 'listening');
}
