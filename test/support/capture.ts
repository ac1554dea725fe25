/**
 * What crosses an interface, as the kernel's packet sockets show it: whole frames with time, direction and the
 * two facts that a byte dump hides, namely that a checksum is still to be filled in and that a frame is an unsplit
 * super-frame. 802.1Q tags that the stack has taken off the frame on its way in are put back, because the tests
 * compare what was on the wire. Runs inside the namespace (see traffic-agent.ts).
 */
import {
  AF_PACKET,
  arena,
  bind,
  close,
  ENETDOWN,
  ETH_P_ALL,
  enlargeReceiveBuffer,
  getOption,
  interfaceIndex,
  LITTLE_ENDIAN,
  MSG_DONTWAIT,
  MSG_TRUNC,
  packetAddress,
  receiveMessage,
  SOCK_RAW,
  SOL_PACKET,
  SOL_SOCKET,
  SystemError,
  setInt,
  socket,
} from './traffic-libc.ts';

/** One frame seen on an interface. */
export interface CapturedFrame {
  data: Uint8Array;
  /** Microseconds since the epoch. */
  at: number;
  /** Sent by this interface's own host, not received. */
  outgoing: boolean;
  /** The transport checksum is not filled in yet (TP_STATUS_CSUMNOTREADY). */
  checksumNotReady: boolean;
  /** A super-frame that has not been split yet. */
  superFrame: boolean;
}

export interface CaptureOptions {
  direction?: 'in' | 'out' | 'both';
  /** Keep only IPv4 or IPv6 packets that carry UDP to this port (in the outermost headers). */
  udpPort?: number;
  /** Most frames kept; the rest is counted in `missed`. */
  limit?: number;
}

export interface CaptureResult {
  frames: CapturedFrame[];
  /** Frames lost because the socket's buffer or `limit` was full: a test that counts must see zero. */
  missed: number;
}

const SO_TIMESTAMPNS = 35;
const PACKET_STATISTICS = 6;
const PACKET_AUXDATA = 8;
const PACKET_OUTGOING = 4;
const TP_STATUS_CSUMNOTREADY = 1 << 3;
const TP_STATUS_VLAN_VALID = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID = 1 << 6;
const TP_STATUS_GSO_TCP = 1 << 8;
const ETHERTYPE_8021Q = 0x8100;

const RECEIVE_BUFFER_BYTES = 64 << 20;
const FRAME_BYTES = 256 << 10;
const CONTROL_BYTES = 256;
const DRAIN_MS = 2;
/** What one look counts for at most: it takes longer only where this process had to wait for a core. */
const LOOK_MS = 5;

// The arena: message header, one iovec, the sender's address, control messages, then the frame itself.
const IOVEC_AT = 64;
const ADDRESS_AT = 96;
const CONTROL_AT = 128;
const FRAME_AT = CONTROL_AT + CONTROL_BYTES;
const memory = arena(FRAME_AT + FRAME_BYTES);

interface Auxiliary {
  status: number;
  vlanTag: number;
  vlanProtocol: number;
  at: number;
}

function prepareMessage(): void {
  const { view, address } = memory;
  const pointer = (at: number, value: bigint) => view.setBigUint64(at, value, LITTLE_ENDIAN);
  pointer(0, address + BigInt(ADDRESS_AT)); // msg_name
  view.setUint32(8, 32, LITTLE_ENDIAN); // msg_namelen
  pointer(16, address + BigInt(IOVEC_AT)); // msg_iov
  pointer(24, 1n); // msg_iovlen
  pointer(32, address + BigInt(CONTROL_AT)); // msg_control
  pointer(40, BigInt(CONTROL_BYTES)); // msg_controllen
  view.setInt32(48, 0, LITTLE_ENDIAN); // msg_flags
  pointer(IOVEC_AT, address + BigInt(FRAME_AT));
  pointer(IOVEC_AT + 8, BigInt(FRAME_BYTES));
}

function readControl(): Auxiliary {
  const { view } = memory;
  const result: Auxiliary = { status: 0, vlanTag: 0, vlanProtocol: ETHERTYPE_8021Q, at: 0 };
  const end = CONTROL_AT + Number(view.getBigUint64(40, LITTLE_ENDIAN));
  for (let at = CONTROL_AT; at + 16 <= end; ) {
    const length = Number(view.getBigUint64(at, LITTLE_ENDIAN));
    const level = view.getInt32(at + 8, LITTLE_ENDIAN);
    const type = view.getInt32(at + 12, LITTLE_ENDIAN);
    const data = at + 16;
    if (level === SOL_PACKET && type === PACKET_AUXDATA) {
      result.status = view.getUint32(data, LITTLE_ENDIAN);
      result.vlanTag = view.getUint16(data + 16, LITTLE_ENDIAN);
      if (result.status & TP_STATUS_VLAN_TPID_VALID)
        result.vlanProtocol = view.getUint16(data + 18, LITTLE_ENDIAN);
    } else if (level === SOL_SOCKET && type === SO_TIMESTAMPNS) {
      const seconds = Number(view.getBigInt64(data, LITTLE_ENDIAN));
      result.at = seconds * 1e6 + Number(view.getBigInt64(data + 8, LITTLE_ENDIAN)) / 1e3;
    }
    at += Math.max(16, (length + 7) & ~7);
  }
  return result;
}

function withTag(frame: Uint8Array, aux: Auxiliary): Uint8Array {
  const tagged = new Uint8Array(frame.length + 4);
  tagged.set(frame.subarray(0, 12));
  const view = new DataView(tagged.buffer);
  view.setUint16(12, aux.vlanProtocol);
  view.setUint16(14, aux.vlanTag);
  tagged.set(frame.subarray(12), 16);
  return tagged;
}

/** Destination port of a UDP packet over IPv4 or IPv6 without extension headers; -1 for anything else. */
function udpDestination(frame: Uint8Array): number {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  const header = type === 0x0800 && frame[23] === 17 ? 14 + ((frame[14] ?? 0) & 15) * 4 : 0;
  const udp = type === 0x86dd && frame[20] === 17 ? 54 : header;
  if (udp === 0 || frame.length < udp + 8) return -1;
  return ((frame[udp + 2] ?? 0) << 8) | (frame[udp + 3] ?? 0);
}

/** An open capture: frames gather until `stop`. */
export class Capture {
  readonly #fd: number;
  readonly #options: Required<Omit<CaptureOptions, 'udpPort'>> & { udpPort: number };
  readonly #timer: NodeJS.Timeout;
  #frames: CapturedFrame[] = [];
  #missed = 0;
  #news = 0;

  constructor(ifname: string, options: CaptureOptions = {}) {
    this.#options = { direction: 'both', udpPort: 0, limit: 200_000, ...options };
    // Protocol 0 keeps the socket deaf until it is bound, so that no other interface's frame slips in.
    this.#fd = socket(AF_PACKET, SOCK_RAW, 0);
    setInt(this.#fd, SOL_PACKET, PACKET_AUXDATA, 1);
    setInt(this.#fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    enlargeReceiveBuffer(this.#fd, RECEIVE_BUFFER_BYTES);
    bind(this.#fd, packetAddress(interfaceIndex(ifname), ETH_P_ALL));
    this.#timer = setInterval(() => this.drain(), DRAIN_MS);
  }

  get count(): number {
    return this.#frames.length;
  }

  drain(): void {
    for (;;) {
      prepareMessage();
      const length = this.#receive();
      if (length < 0) return;
      this.#keep(length);
    }
  }

  /** The socket says once that its interface went down; it hears again when that is up. */
  #receive(): number {
    try {
      return receiveMessage(this.#fd, memory.address, MSG_DONTWAIT);
    } catch (error) {
      if (error instanceof SystemError && error.errno === ENETDOWN) return -1;
      throw error;
    }
  }

  #keep(length: number): void {
    const outgoing = memory.bytes[ADDRESS_AT + 10] === PACKET_OUTGOING;
    const { direction, udpPort, limit } = this.#options;
    if (direction !== 'both' && (direction === 'out') !== outgoing) return;
    if (memory.view.getInt32(48, LITTLE_ENDIAN) & MSG_TRUNC) throw new Error(`a frame of ${length} bytes`);
    const aux = readControl();
    let data: Uint8Array = memory.bytes.slice(FRAME_AT, FRAME_AT + length);
    if (aux.status & TP_STATUS_VLAN_VALID) data = withTag(data, aux);
    if (udpPort !== 0 && udpDestination(data) !== udpPort) return;
    this.#news++;
    if (this.#frames.length >= limit) {
      this.#missed++;
      return;
    }
    this.#frames.push({
      data,
      at: aux.at,
      outgoing,
      checksumNotReady: (aux.status & TP_STATUS_CSUMNOTREADY) !== 0,
      superFrame: (aux.status & TP_STATUS_GSO_TCP) !== 0,
    });
  }

  /** What came since the last call. */
  take(): CapturedFrame[] {
    this.drain();
    const frames = this.#frames;
    this.#frames = [];
    return frames;
  }

  /**
   * Ends when `frames` have come (0 = any number) and nothing new came for `quietMs`, or after `withinMs`. Both are of the
   * time in which this process ran: on a busy machine the others, who were to send, had no more.
   */
  async settle(frames: number, quietMs: number, withinMs: number): Promise<void> {
    let [waited, quiet, news] = [0, 0, this.#news];
    for (let before = performance.now(); waited <= withinMs; ) {
      this.drain();
      if (this.#news !== news) [quiet, news] = [0, this.#news];
      if (this.#frames.length >= frames && quiet >= quietMs) return;
      await new Promise((done) => setTimeout(done, DRAIN_MS));
      const now = performance.now();
      waited += Math.min(now - before, LOOK_MS);
      quiet += Math.min(now - before, LOOK_MS);
      before = now;
    }
  }

  stop(): CaptureResult {
    clearInterval(this.#timer);
    const frames = this.take();
    const statistics = getOption(this.#fd, SOL_PACKET, PACKET_STATISTICS, 8);
    close(this.#fd);
    return { frames, missed: this.#missed + statistics.getUint32(4, LITTLE_ENDIAN) };
  }
}
