/**
 * What a proxying device does with a frame, and one with rsc, as measured on Linux, with replies built from fields.
 * Nothing here shares code with assembly/proxy.ts and assembly/short-circuit.ts.
 */
import { arp, ethernet, ipv6 } from './frames.ts';
import { neighbour } from './messages.ts';
import { ipText, macText } from './parse.ts';

export interface NaiveWorld {
  /** By address. */
  neighbours: ReadonlyMap<string, { mac: string; connected: boolean }>;
  /** By MAC; `any`: behind 0.0.0.0 or ::. */
  fdb: ReadonlyMap<string, { any: boolean; router: boolean }>;
  noarp: boolean;
  /** What nobody here can answer goes on (`proxyforward`). */
  forward?: boolean;
}

export interface Reduction {
  verdict: 'not-mine' | 'short' | 'swallowed' | 'answered';
  reply?: Uint8Array;
  /** Address that nobody is known to have. */
  miss?: string;
}

const SWALLOWED: Reduction = { verdict: 'swallowed' };
const NOT_MINE: Reduction = { verdict: 'not-mine' };

export function reduceNaively(frame: Uint8Array, world: NaiveWorld): Reduction {
  const type = (frame[12]! << 8) | frame[13]!;
  if (frame.length < 14) return NOT_MINE;
  if (type === 0x0806) return reduceArp(frame, world);
  const isSolicitation =
    type === 0x86dd && frame.length >= 78 && frame[20] === 58 && frame[54] === 135 && frame[55] === 0;
  return isSolicitation ? reduceSolicitation(frame, world) : NOT_MINE;
}

function reduceArp(frame: Uint8Array, world: NaiveWorld): Reduction {
  const unanswered: Reduction = world.forward ? NOT_MINE : SWALLOWED;
  if (world.noarp) return unanswered;
  if (frame.length < 42) return { verdict: 'short' };
  const [hardware, ...rest] = [frame[14]! * 256 + frame[15]!, ...frame.subarray(16, 22)];
  if (![1, 6].includes(hardware!) || rest.join() !== '8,0,6,4,0,1') return unanswered;
  const target = ipText(frame, 38, 4);
  if (frame[38] === 127 || (frame[38]! >= 224 && frame[38]! < 240)) return SWALLOWED;
  const known = world.neighbours.get(target);
  if (known === undefined) return { ...unanswered, miss: target };
  if (!known.connected) return unanswered;
  if (world.fdb.get(known.mac)?.any) return SWALLOWED;
  const requester = macText(frame, 22);
  const answer = arp({
    operation: 2,
    senderMac: known.mac,
    senderIp: target,
    targetMac: requester,
    targetIp: ipText(frame, 28, 4),
  });
  return { verdict: 'answered', reply: ethernet({ source: known.mac, destination: requester }, answer) };
}

function reduceSolicitation(frame: Uint8Array, world: NaiveWorld): Reduction {
  const unanswered: Reduction = world.forward ? NOT_MINE : SWALLOWED;
  const target = ipText(frame, 62, 16);
  if (ipText(frame, 38, 16) === '::1' || frame[62] === 0xff) return SWALLOWED;
  const known = world.neighbours.get(target);
  if (known === undefined) return { ...unanswered, miss: target };
  if (!known.connected) return unanswered;
  if (world.fdb.get(known.mac)?.any) return SWALLOWED;
  const requester = requesterOf(frame);
  if (requester === undefined) return SWALLOWED;
  const flags = world.fdb.get(known.mac)?.router ? 0xe0 : 0x60;
  const ip = {
    trafficClass: (frame[14]! & 15) << 4,
    hopLimit: 255,
    source: target,
    destination: ipText(frame, 22, 16),
  };
  const message = neighbour({ type: 136, target, flags, mac: known.mac });
  const reply = ethernet({ source: known.mac, destination: requester }, ipv6(ip, message));
  return { verdict: 'answered', reply };
}

/** The source link-layer address, else who sent the frame; undefined: the options are broken. */
function requesterOf(frame: Uint8Array): string | undefined {
  let options = frame.subarray(78);
  while (options.length >= 2) {
    const bytes = options[1]! * 8;
    if (bytes === 0 || bytes > options.length) return undefined;
    if (options[0] === 1) return macText(options, 2);
    options = options.subarray(bytes);
  }
  return macText(frame, 6);
}

/** @returns the frame as it goes on; `miss`: address that nobody is known to have */
export function shortCircuitNaively(
  frame: Uint8Array,
  world: NaiveWorld,
): { frame: Uint8Array; rewritten: boolean; miss?: string } {
  const unchanged = { frame, rewritten: false };
  const type = (frame[12]! << 8) | frame[13]!;
  if ((frame[0]! & 1) === 1) return unchanged;
  let destination = '';
  if (type === 0x0800 && frame.length >= 34) destination = ipText(frame, 30, 4);
  if (type === 0x86dd && frame.length >= 54) destination = ipText(frame, 38, 16);
  if (destination === '') return unchanged;
  const known = world.neighbours.get(destination);
  if (known === undefined) return { ...unchanged, miss: destination };
  if (known.mac === macText(frame, 0)) return unchanged;
  const macs = { source: macText(frame, 0), destination: known.mac };
  return { frame: ethernet(macs, { type, bytes: frame.subarray(14) }), rewritten: true };
}
