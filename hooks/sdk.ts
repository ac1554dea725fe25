/**
 * What a hook in AssemblyScript is written against. A hook is a module that exports
 *
 *   export function hook(records: usize, count: i32): void {
 *     for (let packet = Packet.first(records); count > 0; --count, packet = packet.next()) {
 *       if (packet.vni === 42) packet.drop();
 *     }
 *   }
 *
 * and is compiled by
 *
 *   npx asc my-hook.ts --runtime stub --use abort= --noAssert -O3 --converge --enable simd -o my-hook.wasm
 *
 * It has 64 KiB of memory of its own, from address 0: static data, `memory.data`, the heap, which only grows. The records
 * and the frames that they name lie outside of it, and are there until `hook` returns. All else is out of reach: touching
 * it, running too long, and `abort` end the batch; packets that are undecided by then are dropped.
 *
 * Settings: `export const SETTINGS: usize = memory.data(BYTES)`, `export const SETTINGS_BYTES: i32 = BYTES`, and
 * `export function configure(pointer: usize, length: i32): i32`, which is called when the user's bytes are in place, in
 * each thread, before the first batch and between batches; it answers 0, or a number that tells the user what is wrong.
 * Counters: `export const COUNTERS: usize = memory.data(BYTES)` and `export const COUNTERS_BYTES: i32 = BYTES`, a u64 each:
 * `vxlane -s hook show` has them, by number, summed up over threads.
 */

/** Bytes of a record. */
export const RECORD_BYTES: usize = 64;

const PASS: u32 = 0;
const DROP: u32 = 1;
const REDIRECT: u32 = 2;
const MIRROR: u32 = 256;
const TUNNEL: u32 = 65536;
const FLAG_ENCAP: u16 = 1;
const FLAG_PARTIAL: u16 = 2;
const FLAG_SUPER: u16 = 4;
const FLAG_PACKET: u16 = 8;

/** A record: a packet, and what becomes of it. Fields stand in the order in which the engine has them (assembly/layout.ts). */
export class Packet {
  /** First byte of the Ethernet header, and how many bytes the frame has. To be moved by moveStart and moveEnd. */
  start: u32;
  length: u32;
  verdict: u32;
  target: u32;
  mirrorTarget: u32;
  /** Number of the device that it leaves through, or has come to. */
  readonly device: u16;
  /** Where the IP header begins, from `start`; 0: it is not IP. VLAN tags are looked through. */
  readonly ipOffset: u16;
  /** VNI that it came with, or goes out under. */
  readonly vni: u32;
  flags: u16;
  /** Decap: TOS of the outer packet, and the family of its sender: 2 IPv4, 10 IPv6. */
  readonly outerTos: u8;
  readonly senderFamily: u8;
  room: u32;
  roomEnd: u32;
  /** Decap: first word of the VXLAN header: flags and group policy. */
  readonly vxlanWord: u32;
  reserved: u32;
  sender: u64;

  static first(records: usize): Packet {
    return changetype<Packet>(records);
  }

  next(): Packet {
    return changetype<Packet>(changetype<usize>(this) + RECORD_BYTES);
  }

  /** On its way into the tunnel; else out of it. */
  get isEncap(): bool {
    return (this.flags & FLAG_ENCAP) !== 0;
  }

  /** Its TCP or UDP checksum is not finished: rewriting what it covers needs `replace16` for pseudo headers only. */
  get isPartial(): bool {
    return (this.flags & FLAG_PARTIAL) !== 0;
  }

  /** A super-frame: will be cut into segments. */
  get isSuper(): bool {
    return (this.flags & FLAG_SUPER) !== 0;
  }

  /** An IP packet of a GPE device: there is no Ethernet header. */
  get isBare(): bool {
    return (this.flags & FLAG_PACKET) !== 0;
  }

  /** Address behind its last byte. */
  get end(): usize {
    return <usize>this.start + this.length;
  }

  /** Decap: address of the outer sender's address, 4 or 16 bytes by `senderFamily`. */
  get senderAddress(): usize {
    return changetype<usize>(this) + offsetof<Packet>('sender');
  }

  pass(): void {
    this.verdict = PASS | (this.verdict & MIRROR);
  }

  drop(): void {
    this.verdict = DROP | (this.verdict & MIRROR);
  }

  /** Out of a device's port, as if it had come out of that one's tunnel. */
  redirectToPort(device: u32): void {
    this.redirect(device);
  }

  /** Into a device's tunnel: to whom, its FDB says. */
  redirectToTunnel(device: u32): void {
    this.redirect(device | TUNNEL);
  }

  /** A copy goes there; the packet itself goes on. */
  mirrorToPort(device: u32): void {
    this.mirror(device);
  }

  mirrorToTunnel(device: u32): void {
    this.mirror(device | TUNNEL);
  }

  /** Makes room before the frame, or takes bytes away there. @returns false: there is no room for that; nothing has changed */
  moveStart(bytes: i32): bool {
    const start = this.start + bytes;
    if (start < this.room || start > this.end) return false;
    this.length -= bytes;
    this.start = start;
    return true;
  }

  /** The same at its end. */
  moveEnd(bytes: i32): bool {
    const end = this.end + bytes;
    if (end < this.start || end > this.roomEnd) return false;
    this.length += bytes;
    return true;
  }

  private redirect(target: u32): void {
    this.target = target;
    this.verdict = REDIRECT | (this.verdict & MIRROR);
  }

  private mirror(target: u32): void {
    this.mirrorTarget = target;
    // An undecided packet goes on.
    const verdict = this.verdict & 0xff;
    this.verdict = (verdict > REDIRECT ? PASS : verdict) | MIRROR;
  }
}
