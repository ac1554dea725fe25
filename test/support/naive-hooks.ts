/** What becomes of packets that a hook has judged, written down without any regard for speed: one packet, one case. */
import {
  HOOK_DROP,
  HOOK_MIRROR,
  HOOK_PASS,
  HOOK_REDIRECT,
  HOOK_ROOM_DECAP_BYTES,
  HOOK_ROOM_ENCAP_BYTES,
  HOOK_STOPPED,
  HOOK_TARGET_TUNNEL,
  HOOK_UNDECIDED,
} from '../../assembly/layout.ts';

export type Way = 'encap' | 'decap';

export interface Judgement {
  verdict: number;
  target: number;
  mirror: number;
  /** How many bytes later the frame begins, below 0 = earlier; its bytes then. */
  moved: number;
  length: number;
}

export interface Fate {
  /** In the order in which they leave or arrive: device, frame. */
  tunnels: [number, Uint8Array][];
  ports: [number, Uint8Array][];
  counters: Map<string, number>;
}

export function noFate(): Fate {
  return { tunnels: [], ports: [], counters: new Map() };
}

export function count(fate: Fate, device: number, name: string): void {
  const key = `${device} ${name}`;
  fate.counters.set(key, (fate.counters.get(key) ?? 0) + 1);
}

/** A frame that no hook sees, or that one lets pass. */
export function goOn(fate: Fate, way: Way, device: number, frame: Uint8Array): void {
  if (way === 'encap') into(fate, device, frame);
  else out(fate, device, frame);
}

/**
 * @param memory the frame with the bytes before it that the hook may use, as the hook leaves them
 * @param devices numbers of those that are up, and have frames with Ethernet headers
 */
export function judge(
  fate: Fate,
  way: Way,
  device: number,
  memory: Uint8Array,
  { verdict, target, mirror, moved, length }: Judgement,
  devices: readonly number[],
): void {
  const room = way === 'encap' ? HOOK_ROOM_ENCAP_BYTES : HOOK_ROOM_DECAP_BYTES;
  const name = (what: string) => (way === 'encap' ? what : `${what}_received`);
  const start = room + moved;
  const action = (verdict & ~HOOK_MIRROR) >>> 0;
  const isFrame = start >= 0 && start <= memory.length && length <= memory.length - start;
  const frame = isFrame ? memory.slice(start, start + length) : new Uint8Array(0);
  if (![HOOK_PASS, HOOK_DROP, HOOK_REDIRECT, HOOK_UNDECIDED].includes(action) || !isWhole(frame)) {
    // Whoever wrote that number: it is dropped.
    count(fate, device, name(action === HOOK_STOPPED ? 'drop_hook_stopped' : 'drop_hook_fault'));
    return;
  }
  if ((verdict & HOOK_MIRROR) !== 0) {
    const to = deviceOf(mirror, devices);
    count(fate, device, to === 0 ? 'hook_mirrors_lost' : name('hook_mirrors'));
    if (to !== 0) send(fate, to, mirror, frame);
  }
  if (action === HOOK_DROP) {
    count(fate, device, name('drop_hook'));
  } else if (action === HOOK_REDIRECT) {
    const to = deviceOf(target, devices);
    count(fate, device, name(to === 0 ? 'drop_hook_target' : 'hook_redirects'));
    if (to !== 0) send(fate, to, target, frame);
  } else {
    goOn(fate, way, device, frame);
  }
}

function isWhole(frame: Uint8Array): boolean {
  if (frame.length < 14) return false;
  const type = (frame[12]! << 8) | frame[13]!;
  if (type === 0x0800) return frame.length >= 34;
  return type !== 0x86dd || frame.length >= 54;
}

function deviceOf(target: number, devices: readonly number[]): number {
  const device = (target & ~HOOK_TARGET_TUNNEL) >>> 0;
  return devices.includes(device) ? device : 0;
}

function send(fate: Fate, device: number, target: number, frame: Uint8Array): void {
  if ((target & HOOK_TARGET_TUNNEL) !== 0) into(fate, device, frame);
  else out(fate, device, frame);
}

function into(fate: Fate, device: number, frame: Uint8Array): void {
  count(fate, device, 'encap_packets');
  fate.tunnels.push([device, frame]);
}

function out(fate: Fate, device: number, frame: Uint8Array): void {
  count(fate, device, 'decap_packets');
  fate.ports.push([device, frame]);
}
