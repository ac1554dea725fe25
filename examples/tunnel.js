/**
 * A tunnel in five lines: frames in, UDP datagrams between two addresses, frames out. No root, no TAP, any system.
 *
 *   node tunnel.js                         both ends in this process, over the loopback
 *   node tunnel.js 192.0.2.1 192.0.2.2     this host's end; on the other host the addresses change places
 *
 * Each end greets the other, prints what it hears, and is done. (macOS has 127.0.0.1 alone: `ifconfig lo0 alias 127.0.0.2`.)
 */
import { setTimeout as pause } from 'node:timers/promises';
import { createMemoryPort, createVtep, dgramUnderlay } from 'vxlane';
import { BROADCAST, textFrame, textOf } from './frames.js';

const PORT = 24789;
const GREETINGS_MS = 200;

/**
 * One end of the tunnel, and the port that its frames go in and come out by.
 * @param {string} local
 * @param {string} remote
 */
async function tunnel(local, remote) {
  const [mine, its] = createMemoryPort();
  const vtep = await createVtep({ underlay: dgramUnderlay({ address: local }) });
  await vtep.addDevice({ name: 'vx0', id: 42, dstport: PORT, local, remote, port: its });
  mine.start({ frames: (batch) => heard(local, batch) });
  return { mine, vtep };
}

/** Ends that have heard the other one. @type {Set<string>} */
const served = new Set();

/** @type {(local: string, batch: readonly Uint8Array[]) => void} */
function heard(local, batch) {
  for (const frame of batch) if (!served.has(local)) console.log(`${local} heard: ${textOf(frame)}`);
  served.add(local);
}

const [local = '127.0.0.1', remote = '127.0.0.2'] = process.argv.slice(2);
const ends = [{ name: local, ...(await tunnel(local, remote)) }];
if (process.argv.length <= 2) ends.push({ name: remote, ...(await tunnel(remote, local)) });

// The other host may be started later: greet until it answers, and once more for it to hear.
for (let isLast = false; !isLast; ) {
  isLast = served.size === ends.length;
  for (const [index, { name, mine }] of ends.entries())
    mine.write([textFrame(BROADCAST, `02:00:00:00:00:0${index + 1}`, `greetings from ${name}`)]);
  await pause(GREETINGS_MS);
}
for (const { name, vtep } of ends) {
  const { rx, tx } = vtep.devices()[0]?.stats ?? {};
  console.log(`${name}: ${tx?.packets} frames sent, ${rx?.packets} received`);
  await vtep.close();
}
