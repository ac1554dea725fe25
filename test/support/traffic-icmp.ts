/**
 * ICMP echo without ping: raw sockets, one request for each payload size of a range, and every reply compared byte
 * for byte with what was sent. Runs inside the namespace (see traffic-agent.ts).
 */
import { echo, ip, pattern } from './traffic-frames.ts';
import {
  AF_INET,
  AF_INET6,
  close,
  connect,
  enlargeReceiveBuffer,
  internetAddress,
  receive,
  SOCK_RAW,
  sendTo,
  socket,
} from './traffic-libc.ts';
import { runSweep, type SweepOptions, type SweepResult } from './traffic-sweep.ts';

const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const ECHO_HEADER_BYTES = 8;
const ECHO_REPLY = 0;
const ECHO_REPLY_V6 = 129;

let nextId = process.pid & 0xffff;

/** Echoes payloads of every size from `first` to `last` off `to`; `from` is an address of this namespace. */
export async function icmpSweep(from: string, to: string, options: SweepOptions): Promise<SweepResult> {
  const v6 = to.includes(':');
  const fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
  nextId = (nextId + 1) & 0xffff;
  const id = nextId;
  const buffer = new Uint8Array(1 << 17);

  const drain = (arrived: (sequence: number, payload: Uint8Array) => void) => {
    for (let length = receive(fd, buffer); length >= 0; length = receive(fd, buffer)) {
      // A raw IPv4 socket hands out the IP header too.
      const message = buffer.subarray(v6 ? 0 : ((buffer[0] ?? 0) & 15) * 4, length);
      const view = new DataView(message.buffer, message.byteOffset, message.length);
      if (message.length < ECHO_HEADER_BYTES || message[0] !== (v6 ? ECHO_REPLY_V6 : ECHO_REPLY)) continue;
      if (view.getUint16(4) === id) arrived(view.getUint16(6), message.subarray(ECHO_HEADER_BYTES));
    }
  };

  try {
    enlargeReceiveBuffer(fd, 8 << 20);
    connect(fd, internetAddress(ip(to), 0));
    return await runSweep(options, {
      send: (sequence, size) => void sendTo(fd, echo(from, to, id, sequence, pattern(size, sequence)), null),
      drain,
    });
  } finally {
    close(fd);
  }
}
