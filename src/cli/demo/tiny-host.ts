/** A host of a few lines: it asks and answers ARP, sends pings and answers them, and hands UDP to who listens. */
import {
  ARP_REPLY,
  ARP_REQUEST,
  BROADCAST,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  type Ip,
  type Mac,
  type Packet,
  readFrame,
  writeFrame,
} from './frames.ts';

const ARP_RETRY_MS = 200;
const PING_ID = 5376;

export class TinyHost {
  readonly mac: Mac;
  readonly ip: Ip;
  onUdp: (packet: Packet & { kind: 'udp' }) => void = () => {};
  onPong: (sequence: number, data: Buffer) => void = () => {};
  readonly #transmit: (frame: Buffer) => void;
  readonly #neighbours = new Map<Ip, Mac>();

  constructor(mac: Mac, ip: Ip, transmit: (frame: Buffer) => void) {
    this.mac = mac;
    this.ip = ip;
    this.#transmit = transmit;
  }

  /** Asks for a neighbour's MAC until it answers. */
  async findNeighbour(target: Ip, signal: AbortSignal): Promise<void> {
    while (!this.#neighbours.has(target)) {
      signal.throwIfAborted();
      const ends = { sourceMac: this.mac, targetMac: BROADCAST, source: this.ip, target };
      this.#send({ kind: 'arp', operation: ARP_REQUEST, ...ends });
      await new Promise((resolve) => setTimeout(resolve, ARP_RETRY_MS));
    }
  }

  ping(target: Ip, sequence: number, data: Buffer): void {
    this.#send({ kind: 'icmp', ...this.#ends(target), type: ICMP_ECHO_REQUEST, id: PING_ID, sequence, data });
  }

  sendUdp(target: Ip, sourcePort: number, targetPort: number, data: Buffer): void {
    this.#send({ kind: 'udp', ...this.#ends(target), sourcePort, targetPort, data });
  }

  receive(frame: Uint8Array): void {
    const packet = readFrame(frame);
    if (packet === undefined || packet.target !== this.ip) return;
    if (packet.kind === 'arp') this.#hearArp(packet);
    else if (packet.kind === 'udp') this.onUdp(packet);
    else if (packet.type === ICMP_ECHO_REPLY && packet.id === PING_ID)
      this.onPong(packet.sequence, packet.data);
    else if (packet.type === ICMP_ECHO_REQUEST)
      this.#send({ ...packet, ...this.#ends(packet.source), type: ICMP_ECHO_REPLY });
  }

  #hearArp({ operation, source, sourceMac }: Packet & { kind: 'arp' }): void {
    this.#neighbours.set(source, sourceMac);
    if (operation === ARP_REQUEST) this.#send({ kind: 'arp', operation: ARP_REPLY, ...this.#ends(source) });
  }

  #ends(target: Ip) {
    const targetMac = this.#neighbours.get(target) ?? BROADCAST;
    return { sourceMac: this.mac, targetMac, source: this.ip, target };
  }

  #send(packet: Packet): void {
    this.#transmit(writeFrame(packet));
  }
}
