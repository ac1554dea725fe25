/**
 * Sends VXLAN datagrams at a rate: the frames of a mirror, over and over. Run inside a namespace:
 *
 *   sink-sender.ts ADDRESS BYTES RATE SECONDS     prints the number sent
 */
import { Arena, call, must, SOCKADDR_BYTES, udpSocket } from './echo.ts';

const [address = '', bytesText, rateText, secondsText] = process.argv.slice(2);
const [bytes, rate, seconds] = [Number(bytesText), Number(rateText), Number(secondsText)];
const RING = 256;
const BURST = 32;
const SLOT_BYTES = 2048;
const VNIS = 8;

call.prctl(29, 1, 0, 0, 0);
const arena = new Arena(RING * (SLOT_BYTES + 128) + 65536);
const headers = arena.take(RING * 64);
const vectors = arena.take(RING * 16);
const slots = arena.take(RING * SLOT_BYTES);
const name = arena.sockaddr(address, 4789);
for (let index = 0; index < RING; ++index) {
  const [header, vector, slot] = [headers + index * 64, vectors + index * 16, slots + index * SLOT_BYTES];
  arena.data.setBigUint64(header, BigInt(arena.base + name), true);
  arena.data.setUint32(header + 8, SOCKADDR_BYTES, true);
  arena.data.setBigUint64(header + 16, BigInt(arena.base + vector), true);
  arena.data.setBigUint64(header + 24, 1n, true);
  arena.data.setBigUint64(vector, BigInt(arena.base + slot), true);
  arena.data.setBigUint64(vector + 8, BigInt(8 + bytes), true);
  arena.data.setUint32(slot, 0x08000000);
  arena.data.setUint32(slot + 4, (index % VNIS) << 8);
  // Ethernet, IPv4, UDP
  arena.data.setUint16(slot + 20, 0x0800);
  arena.data.setUint16(slot + 22, 0x4500);
  arena.data.setUint16(slot + 24, bytes - 14);
  arena.data.setUint16(slot + 30, 0x4011);
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
