/**
 * A control plane of your own: nothing is flooded and nothing is learned from packets. VTEPs ask when they don't know,
 * and a directory (here a Map; elsewhere a database, a gossip, an API) tells.
 *
 *   l3miss   an ARP request for an address that the VTEP does not know: answer with `setNeighbour`, and from then on
 *            the VTEP itself replies to such requests (`proxy`)
 *   l2miss   a frame to a MAC that it does not know: answer with an FDB entry; the next frame goes there
 *
 *   node control-plane.js
 *
 * The frame that missed is dropped, as with the kernel's device: whoever sent it tries again, as ARP and TCP do.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { createMemoryNetwork, createMemoryPort, createVtep } from 'vxlane';
import { arpAnswer, arpRequest, textFrame, textOf } from './frames.js';

const RETRY_MS = 30;
const TRIES = 100;

/** Who is where: what a control plane knows. */
const directory = [
  { ip: '10.0.0.1', mac: '02:00:00:00:00:01', vtep: '192.0.2.1' },
  { ip: '10.0.0.2', mac: '02:00:00:00:00:02', vtep: '192.0.2.2' },
  { ip: '10.0.0.3', mac: '02:00:00:00:00:03', vtep: '192.0.2.3' },
];

const network = createMemoryNetwork({ delay: 2 });

/** A VTEP with one host behind it. @param {string} address */
async function site(address) {
  const vtep = await createVtep({ underlay: network.host(address) });
  const [port, its] = createMemoryPort();
  const words = { learning: false, proxy: true, l2miss: true, l3miss: true };
  await vtep.addDevice({ name: 'vx0', id: 42, ...words, port: its });

  vtep.on('miss', ({ ifname, lladdr, dst }) => {
    const known = directory.find(({ mac, ip }) => mac === lladdr || ip === dst);
    console.log(`${address} asks for ${lladdr ?? dst}: ${known ? 'told' : 'nobody knows'}`);
    if (known === undefined) return;
    if (dst !== undefined) vtep.setNeighbour(ifname, dst, known.mac);
    if (lladdr !== undefined) vtep.fdb({ op: 'replace', dev: ifname, mac: lladdr, dst: known.vtep });
  });

  /** @type {Uint8Array[]} */
  const heard = [];
  port.start({ frames: (batch) => heard.push(...batch.map((frame) => frame.slice())) });
  return { vtep, port, heard };
}

const sites = await Promise.all(directory.map(({ vtep }) => site(vtep)));
const [first, second, third] = sites;
if (!first || !second || !third) throw new Error('three sites');

/**
 * Sends until an answer is there, as hosts do.
 * @type {<T>(frame: Uint8Array, answer: () => T | undefined) => Promise<T>}
 */
async function insist(frame, answer) {
  for (let tries = 1; tries <= TRIES; ++tries) {
    first?.port.write([frame]);
    await pause(RETRY_MS);
    const found = answer();
    if (found === undefined) continue;
    console.log(`  after ${tries} tries`);
    return found;
  }
  throw new Error('no answer');
}

const [host] = directory;
if (!host) throw new Error('no host');
for (const { ip, at } of [
  { ip: '10.0.0.2', at: second },
  { ip: '10.0.0.3', at: third },
]) {
  console.log(`\n${host.ip} wants to talk to ${ip}`);
  const mac = await insist(arpRequest(host.mac, host.ip, ip), () =>
    first.heard
      .splice(0)
      .map(arpAnswer)
      .find((answer) => answer !== undefined),
  );
  console.log(`  ${ip} is at ${mac}, says the VTEP itself`);
  const said = await insist(textFrame(mac, host.mac, `hello ${ip}`), () => at.heard.shift());
  console.log(`  ${ip} hears "${textOf(said)}"`);
}

console.log('\nan address that nobody has');
first.port.write([arpRequest(host.mac, host.ip, '10.0.0.99')]);
await pause(RETRY_MS);

console.log('\nthe FDB of 192.0.2.1 is what the directory told, and no more');
for (const { mac, dst, state } of first.vtep.fdbShow('vx0')) console.log(`  ${mac} dst ${dst} ${state}`);
console.log(`${network.carried} datagrams crossed the underlay: nothing was flooded`);
for (const { vtep } of sites) await vtep.close();
