/**
 * Sends VXLAN datagrams at a rate: the frames of a mirror, over and over; or the datagrams to UDP 4789 of a pcap, from
 * its beginning to its end, and again. Run inside a namespace:
 *
 *   sink-sender.ts ADDRESS BYTES|FILE RATE SECONDS     prints the number sent
 */
import { readFileSync } from 'node:fs';
import { payloadsOf } from '../test/support/pcap.ts';
import { Arena, call, must, SOCKADDR_BYTES, udpSocket } from './echo.ts';

const PORT = 4789;
const BURST = 32;
const VNIS = 8;
const GENERATED = 256;

/** Ethernet, IPv4 and UDP headers enough to be told apart by. */
function generated(bytes: number): Uint8Array[] {
  return Array.from({ length: GENERATED }, (_, index) => {
    const datagram = new Uint8Array(8 + bytes);
    const view = new DataView(datagram.buffer);
    view.setUint32(0, 0x08000000);
    view.setUint32(4, (index % VNIS) << 8);
    view.setUint16(20, 0x0800);
    view.setUint16(22, 0x4500);
    view.setUint16(24, bytes - 14);
    view.setUint16(30, 0x4011);
    return datagram;
  });
}

const [address = '', what = '', rateText, secondsText] = process.argv.slice(2);
const [rate, seconds] = [Number(rateText), Number(secondsText)];
const payloads = /^\d+$/.test(what)
  ? generated(Number(what))
  : payloadsOf(new Uint8Array(readFileSync(what)), PORT);
const RING = payloads.length;

call.prctl(29, 1, 0, 0, 0);
const arena = new Arena(payloads.reduce((sum, { length }) => sum + length + 256, 65536));
const headers = arena.take(RING * 64);
const vectors = arena.take(RING * 16);
const name = arena.sockaddr(address, PORT);
for (const [index, payload] of payloads.entries()) {
  const [header, vector, slot] = [headers + index * 64, vectors + index * 16, arena.take(payload.length)];
  arena.data.setBigUint64(header, BigInt(arena.base + name), true);
  arena.data.setUint32(header + 8, SOCKADDR_BYTES, true);
  arena.data.setBigUint64(header + 16, BigInt(arena.base + vector), true);
  arena.data.setBigUint64(header + 24, 1n, true);
  arena.data.setBigUint64(vector, BigInt(arena.base + slot), true);
  arena.data.setBigUint64(vector + 8, BigInt(payload.length), true);
  for (const [at, byte] of payload.entries()) arena.data.setUint8(slot + at, byte);
}
const socket = udpSocket(arena, 0, 1000);
const start = performance.now();
let sent = 0;
for (let now = start; now < start + seconds * 1000; now = performance.now()) {
  const due = Math.floor(((now - start) / 1000) * rate) - sent;
  if (due < BURST) {
    call.usleep(Math.max(1, Math.floor(((BURST - due) / rate) * 1e6)));
    continue;
  }
  const first = sent % RING;
  const count = Math.min(due, RING - first, 64);
  sent += must('sendmmsg', call.sendmmsg(socket, arena.base + headers + first * 64, count, 0));
}
process.stdout.write(`${JSON.stringify({ sent, seconds: (performance.now() - start) / 1000 })}\n`);
process.exit(0);
