/** A program for tests of nodes: it does what its rules say. Compiled by asc.ts. */

/** What a program of MODES does, by the first byte of its rules. */
export const MODE = { pass: 0, drop: 1, loop: 2, trap: 3, outside: 4, super: 5, tunnel: 6, port: 7 } as const;

/**
 * `super`: drops what is not as it should be of a super-frame, or of any other frame: the IP packet's length, and what
 * the flag says. `tunnel` and `port` send everything to the device whose number is the second byte.
 */
export const MODES = `
import { Packet } from 'HOOKS/sdk';
export const SETTINGS_BYTES: i32 = 2;
export const SETTINGS: usize = memory.data(2);
export const SEEN: usize = memory.data(16);
const MTU: u32 = 1450;

export function configure(pointer: usize, length: i32): i32 {
  return length == 2 ? 0 : 1;
}

export function hook(records: usize, count: i32): void {
  const mode = load<u8>(SETTINGS);
  const target = <u32>load<u8>(SETTINGS, 1);
  let packet = Packet.first(records);
  for (; count > 0; --count) {
    if (mode == ${MODE.drop}) packet.drop();
    else if (mode == ${MODE.loop}) while (load<u8>(SETTINGS) == ${MODE.loop}) {}
    else if (mode == ${MODE.trap}) unreachable();
    else if (mode == ${MODE.outside}) store<u8>(packet.start - 0x100000, 1);
    else if (mode == ${MODE.super} && !isRight(packet)) packet.drop();
    else if (mode == ${MODE.tunnel}) packet.redirectToTunnel(target);
    else if (mode == ${MODE.port}) packet.redirectToPort(target);
    else packet.pass();
    packet = packet.next();
  }
}

function isRight(packet: Packet): bool {
  if (packet.ipOffset == 0) return true;
  const ip = <usize>packet.start + packet.ipOffset;
  if (load<u8>(ip) != 0x45) return false;
  const bytes = <u32>bswap<u16>(load<u16>(ip, 2));
  if (packet.ipOffset + bytes > packet.length) return false;
  return packet.isSuper == (bytes > MTU);
}
`;
