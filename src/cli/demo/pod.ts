/**
 * What runs in a pod, as a process of its own: `pod.js server ADDRESS` or `pod.js client ADDRESS OWN-ADDRESS`.
 * The client asks and measures; it answers "sample" with what it has counted.
 */
import { startClient } from './pod-client.ts';
import { startServer } from './pod-server.ts';

const [role, address = '', own = ''] = process.argv.slice(2);
if (role === 'server') {
  await startServer(address);
} else {
  const traffic = await startClient(address, own);
  process.on('message', (message) => {
    if (message === 'sample') process.send?.(traffic());
  });
}
process.send?.('ready');
