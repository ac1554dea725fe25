/**
 * Frames onto an interface exactly as given, by a packet socket, and datagrams from a plain UDP socket. The two
 * reach a receiver differently (a packet socket's checksums are final, a UDP socket's are left to the
 * interface), so the decapsulation tests use both. Runs inside the namespace (see traffic-agent.ts).
 */
import {
  AF_INET,
  AF_INET6,
  AF_PACKET,
  bind,
  close,
  interfaceIndex,
  internetAddress,
  packetAddress,
  SOCK_DGRAM,
  SOCK_RAW,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  sendTo,
  setInt,
  socket,
} from './traffic-libc.ts';

export interface Pace {
  /** Times that the whole list is sent; 1 unless given. */
  count?: number;
  /** Microseconds between two frames; 0 unless given. */
  paceUs?: number;
  /** SO_MARK: what the frames are marked with inside the host. */
  mark?: number;
}

export interface DatagramOptions extends Pace {
  /** Addresses as bytes, 4 or 16. */
  from: Uint8Array;
  to: Uint8Array;
  sourcePort: number;
  port: number;
  /** Send without a UDP checksum. */
  noChecksum?: boolean;
  /** Cut what is sent into datagrams of this size below the socket (UDP_SEGMENT). */
  segmentBytes?: number;
}

/** A payload, and the TOS byte or traffic class of its packet. */
export interface Datagram {
  data: Uint8Array;
  tos?: number;
}

const IP_TOS = 1;
const IPV6_TCLASS = 67;
const SO_NO_CHECK = 11;
const SO_MARK = 36;
const SOL_UDP = 17;
const UDP_NO_CHECK6_TX = 101;
const UDP_SEGMENT = 103;

async function paced<T>(items: readonly T[], pace: Pace, send: (item: T) => void): Promise<void> {
  const { count = 1, paceUs = 0 } = pace;
  let due = performance.now();
  for (let round = 0; round < count; round++) {
    for (const item of items) {
      // Timers are no finer than a millisecond: short gaps are waited out busily, long ones asleep.
      while (performance.now() < due) {
        if (due - performance.now() > 2) await new Promise((done) => setTimeout(done, 1));
      }
      send(item);
      due = performance.now() + paceUs / 1e3;
    }
    // Captures in the same process are drained between rounds.
    await new Promise((done) => setImmediate(done));
  }
}

export async function injectFrames(
  ifname: string,
  frames: readonly Uint8Array[],
  pace: Pace = {},
): Promise<void> {
  const fd = socket(AF_PACKET, SOCK_RAW, 0);
  try {
    const address = packetAddress(interfaceIndex(ifname), 0);
    if (pace.mark) setInt(fd, SOL_SOCKET, SO_MARK, pace.mark);
    await paced(frames, pace, (frame) => sendTo(fd, frame, address));
  } finally {
    close(fd);
  }
}

export async function sendDatagrams(datagrams: readonly Datagram[], options: DatagramOptions): Promise<void> {
  const { from, to, sourcePort, port, noChecksum = false, segmentBytes = 0 } = options;
  const v4 = from.length === 4;
  const fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
  try {
    bind(fd, internetAddress(from, sourcePort));
    if (noChecksum) setInt(fd, v4 ? SOL_SOCKET : SOL_UDP, v4 ? SO_NO_CHECK : UDP_NO_CHECK6_TX, 1);
    if (segmentBytes > 0) setInt(fd, SOL_UDP, UDP_SEGMENT, segmentBytes);
    const address = internetAddress(to, port);
    await paced(datagrams, options, ({ data, tos = 0 }) => {
      setInt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TOS : IPV6_TCLASS, tos);
      sendTo(fd, data, address);
    });
  } finally {
    close(fd);
  }
}
