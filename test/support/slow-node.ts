/**
 * A VTEP that answers pings through its tunnel late, and not all of them: what a delaying, lossy path does, on
 * kernels that have no netem. Arguments: the delay in milliseconds, and that every so-many-th answer is lost (0: none).
 */
import { createSocket } from 'node:dgram';

const PORT = 8472;
const ETHERNET = 8;
const IPV4 = ETHERNET + 14;
const ICMP = IPV4 + 20;
const [delay = 0, lossEvery = 0] = process.argv.slice(2).map(Number);
let count = 0;

const socket = createSocket('udp4');
socket.on('message', (packet, { address }) => {
  if (packet.length < ICMP + 8 || packet[IPV4 + 9] !== 1 || packet[ICMP] !== 8) return;
  count += 1;
  if (lossEvery > 0 && count % lossEvery === 0) return;
  const swap = (at: number, bytes: number) => {
    const first = Buffer.from(packet.subarray(at, at + bytes));
    packet.copyWithin(at, at + bytes, at + 2 * bytes);
    first.copy(packet, at + bytes);
  };
  swap(ETHERNET, 6);
  swap(IPV4 + 12, 4);
  packet[ICMP] = 0;
  // The type is 8 less, so the sum's complement is 8 more (RFC 1624).
  const sum = packet.readUInt16BE(ICMP + 2) + 0x0800;
  packet.writeUInt16BE((sum & 0xffff) + (sum >>> 16), ICMP + 2);
  setTimeout(() => socket.send(packet, PORT, address), delay);
});
socket.bind(PORT, () => process.stdout.write('ready\n'));
