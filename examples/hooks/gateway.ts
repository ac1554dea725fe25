/**
 * A gateway between VXLAN networks: what comes out of one device's tunnel goes into that of another. Set it on decap of
 * every device that has a way out. AssemblyScript.
 *
 *   npx asc gateway.ts --runtime stub --use abort= --noAssert -O3 --converge --enable simd -o gateway.wasm
 *   vxlane hook add dev vx42 decap gateway.wasm rules gateway.rules
 *
 * Its settings are pairs of u16, low byte first: number of the device that a packet has come to, and of the one into
 * whose tunnel it goes. Of devices that stand in no pair, packets pass as they are. To whom they go there, the other
 * device's FDB says. An IP packet pays a hop for each crossing, so that two gateways that face each other end a loop.
 *
 * COUNTERS: u64 packets that crossed, u64 dropped because they had no hop left.
 */
import { replace16 } from '../../hooks/checksum';
import { Packet } from '../../hooks/sdk';

const DEVICES: i32 = 256;
const PAIR_BYTES: i32 = 4;
export const SETTINGS_BYTES: i32 = 1024;
export const SETTINGS: usize = memory.data(1024);
export const COUNTERS_BYTES: i32 = 16;
export const COUNTERS: usize = memory.data(16);
/** u16 for each device: where its packets go, 0 = nowhere. */
const targets: usize = memory.data(512);

const IPV4_TTL: usize = 8;
const IPV4_CHECKSUM: usize = 10;
const IPV4_BYTES: usize = 20;
const IPV6_HOPS: usize = 7;
const IPV6_BYTES: usize = 40;

export function hook(records: usize, count: i32): void {
  let packet = Packet.first(records);
  for (; count > 0; --count) {
    const target = targetOf(packet.device);
    if (target === 0) packet.pass();
    else if (paysHop(packet)) {
      packet.redirectToTunnel(target);
      add(COUNTERS);
    } else {
      packet.drop();
      add(COUNTERS + 8);
    }
    packet = packet.next();
  }
}

/** @returns 1: not a whole number of pairs; 2: a device that can't be */
export function configure(pointer: usize, length: i32): i32 {
  memory.fill(targets, 0, 2 * DEVICES);
  if (length % PAIR_BYTES !== 0) return 1;
  for (const end = pointer + length; pointer < end; pointer += PAIR_BYTES) {
    const from = load<u16>(pointer);
    const to = load<u16>(pointer, 2);
    if (from === 0 || from >= <u16>DEVICES || to === 0 || to >= <u16>DEVICES) return 2;
    store<u16>(targets + ((<usize>from) << 1), to);
  }
  return 0;
}

function targetOf(device: u16): u32 {
  return device < <u16>DEVICES ? load<u16>(targets + ((<usize>device) << 1)) : 0;
}

/** @returns false: it has none left */
function paysHop(packet: Packet): bool {
  if (packet.ipOffset === 0) return true;
  const at = <usize>packet.start + packet.ipOffset;
  const left = packet.end - at;
  const version = left > 0 ? load<u8>(at) >> 4 : 0;
  if (version === 4 && left >= IPV4_BYTES) {
    const hops = load<u8>(at, IPV4_TTL);
    // TTL and protocol are 16 bits of the header together.
    if (hops > 1) replace16(at + IPV4_TTL, load<u16>(at, IPV4_TTL) - 1, at + IPV4_CHECKSUM);
    return hops > 1;
  }
  if (version === 6 && left >= IPV6_BYTES) {
    const hops = load<u8>(at, IPV6_HOPS);
    if (hops > 1) store<u8>(at, hops - 1, IPV6_HOPS);
    return hops > 1;
  }
  return true;
}

function add(counter: usize): void {
  store<u64>(counter, load<u64>(counter) + 1);
}
