/**
 * An overlay in one process: three VTEPs on a network in memory (5 ms, and one of them has a learning switch with two
 * hosts behind it). Nothing of it is real but the dataplane: a test of yours can do the same.
 *
 *        left --+
 *               switch -- 192.0.2.1 ==+== 192.0.2.2 -- middle
 *       other --+                     |
 *                                     +== 192.0.2.3 -- right
 *
 *   node lab.js
 *
 * It shows what the device does as a switch of the overlay: a broadcast is flooded to all, what was heard is learned, and
 * a unicast then goes to one; a host that moves is found again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { createMemoryNetwork, createMemoryPort, createVtep } from 'vxlane';
import { BROADCAST, destination, source, textFrame, textOf } from './frames.js';

const ALL_ZEROS = '00:00:00:00:00:00';
const DELAY_MS = 5;
const SETTLED_MS = 10 * DELAY_MS;

/** @import { FramePort, MemoryPort } from 'vxlane' */

/** An Ethernet switch: learns which port a MAC is at; what it does not know goes to all others. */
class Switch {
  /** @type {FramePort[]} */
  #ports = [];
  /** @type {Map<string, FramePort>} */
  #learned = new Map();

  /** A cable: the end for whoever is plugged in. */
  plug() {
    const [mine, its] = createMemoryPort();
    this.#ports.push(mine);
    mine.start({
      frames: (batch) => {
        for (const frame of batch) this.#forward(mine, frame);
      },
    });
    return its;
  }

  /** @type {(from: FramePort, frame: Uint8Array) => void} */
  #forward(from, frame) {
    this.#learned.set(source(frame), from);
    const known = this.#learned.get(destination(frame));
    for (const to of known ? [known] : this.#ports) if (to !== from) to.write([frame]);
  }
}

class Host {
  /** @type {MemoryPort | undefined} */
  #port;

  /**
   * @param {string} name
   * @param {string} mac
   */
  constructor(name, mac) {
    this.name = name;
    this.mac = mac;
  }

  /** @param {MemoryPort} port where it is from now on */
  plugInto(port) {
    this.#port = port;
    port.start({
      frames: (batch) => {
        if (port === this.#port) for (const frame of batch) this.#hear(frame);
      },
    });
  }

  /** @type {(to: string, text: string) => Promise<void>} */
  async say(to, text) {
    console.log(`\n${this.name} to ${to === BROADCAST ? 'all' : to}: "${text}"`);
    this.#port?.write([textFrame(to, this.mac, text)]);
    await pause(SETTLED_MS);
  }

  /** @type {(frame: Uint8Array) => void} */
  #hear(frame) {
    const isForIt = [BROADCAST, this.mac].includes(destination(frame));
    console.log(`  ${this.name} hears "${textOf(frame)}"${isForIt ? '' : ', which is not for it'}`);
  }
}

const network = createMemoryNetwork({ delay: DELAY_MS });
const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];

/**
 * A VTEP with device vx0 on a port; whatever it does not know goes to all others.
 * @param {string} address
 * @param {FramePort} port
 */
async function site(address, port) {
  const vtep = await createVtep({ underlay: network.host(address) });
  await vtep.addDevice({ name: 'vx0', id: 42, port });
  for (const dst of addresses)
    if (dst !== address) vtep.fdb({ op: 'append', dev: 'vx0', mac: ALL_ZEROS, dst });
  vtep.on('learned', ({ mac, dst }) => console.log(`  ${address} learns that ${mac} is behind ${dst}`));
  vtep.on('moved', ({ mac, dst }) => console.log(`  ${address}: ${mac} is behind ${dst} now`));
  return vtep;
}

const [left, other, middle, right] = ['left', 'other', 'middle', 'right'].map(
  (name, index) => new Host(name, `02:00:00:00:00:0${index + 1}`),
);
if (!left || !other || !middle || !right) throw new Error('four hosts');

const bridge = new Switch();
left.plugInto(bridge.plug());
other.plugInto(bridge.plug());
const cables = [createMemoryPort(), createMemoryPort()];
const vteps = [await site('192.0.2.1', bridge.plug())];
for (const [index, [mine, its]] of cables.entries()) {
  vteps.push(await site(`192.0.2.${index + 2}`, its));
  [middle, right][index]?.plugInto(mine);
}

await left.say(BROADCAST, 'is anybody there?');
await middle.say(BROADCAST, 'I am');
await left.say(middle.mac, 'only you hear this');
await other.say(left.mac, 'this never leaves the switch');

// The middle host is carried to the switch: its first broadcast tells everybody.
middle.plugInto(bridge.plug());
await middle.say(BROADCAST, 'I have moved');
await right.say(middle.mac, 'found you');

console.log(`\n${network.carried} datagrams crossed the underlay`);
for (const [index, vtep] of vteps.entries())
  for (const { mac, dst, state } of vtep.fdbShow('vx0'))
    console.log(`192.0.2.${index + 1}: ${mac} dst ${dst}${state && ` ${state}`}`);
for (const vtep of vteps) await vtep.close();
