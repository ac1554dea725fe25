/** An underlay network without any network: hosts by address, in this process, with delay and loss for those who want them. */
import { VtepError } from '../errors.ts';
import { parseIp } from './ip-address.ts';
import type { LossReason, OutgoingDatagram, Underlay, UnderlayFamily, UnderlaySink } from './underlay.ts';

const QUEUE_DATAGRAMS = 4096;
const IP_UDP_BYTES = { inet: 28, inet6: 48 };

/** Of `createMemoryNetwork`. */
export interface MemoryNetworkOptions {
  /** Milliseconds from one host to another; 0. */
  delay?: number;
  /** Share of datagrams that get lost, 0 to 1; 0. */
  loss?: number;
  /** Bytes of the largest outer packet; absent: no limit. */
  mtu?: number;
  /** Datagrams on their way at a time; 4096. Those beyond are refused, and counted (drop_socket_full). */
  queue?: number;
  /** 0 to below 1: decides about losses; for tests that must be the same again. `Math.random` */
  random?: () => number;
}

/** An underlay without any network: hosts by address, in this process. */
export interface MemoryNetwork {
  /**
   * A host: the underlay of one VTEP. @param addresses its own, of either family
   * @throws VtepError EXISTS, USAGE
   */
  host(...addresses: string[]): Underlay;
  /** Datagrams that arrived, that were lost on the way, and that nobody was there for. */
  readonly carried: number;
  readonly lost: number;
  readonly undelivered: number;
}

/**
 * A network in memory, for tests and labs: datagrams between its hosts go through this process, in order, as late and as
 * seldom as they are told to.
 *
 * @example
 * const network = createMemoryNetwork({ delay: 5, loss: 0.01 });
 * const a = await createVtep({ underlay: network.host('192.0.2.1') });
 * const b = await createVtep({ underlay: network.host('192.0.2.2') });
 *
 * @throws VtepError USAGE
 */
export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  return new Network(options);
}

interface Packet {
  bytes: Uint8Array;
  sender: string;
  to: string;
  port: number;
  tos: number;
}

class Network implements MemoryNetwork {
  readonly options: Required<Omit<MemoryNetworkOptions, 'mtu'>> & Pick<MemoryNetworkOptions, 'mtu'>;
  readonly hosts = new Map<string, Host>();
  #queue: Packet[] = [];
  #underway = 0;
  carried = 0;
  lost = 0;
  undelivered = 0;

  constructor({
    delay = 0,
    loss = 0,
    queue = QUEUE_DATAGRAMS,
    random = Math.random,
    ...rest
  }: MemoryNetworkOptions) {
    const refuse = (what: string) => {
      throw new VtepError('USAGE', `memory network: ${what}`);
    };
    if (!(delay >= 0 && Number.isFinite(delay))) refuse(`delay ${delay}: give milliseconds`);
    if (!(loss >= 0 && loss <= 1)) refuse(`loss ${loss}: give a share from 0 to 1`);
    if (!(Number.isInteger(queue) && queue > 0)) refuse(`queue ${queue}: give a whole number from 1`);
    this.options = { delay, loss, queue, random, ...rest };
  }

  host(...addresses: string[]): Underlay {
    const own = addresses.map((address) => {
      const parsed = parseIp(address);
      if (parsed === undefined)
        throw new VtepError('USAGE', `memory network: host "${address}": that is no IP address`);
      if (this.hosts.has(parsed.text))
        throw new VtepError('EXISTS', `memory network: host ${address}: there is one`);
      return parsed;
    });
    if (own.length === 0) throw new VtepError('USAGE', 'memory network: a host needs an address');
    const host = new Host(this, own);
    for (const { text } of own) this.hosts.set(text, host);
    return host;
  }

  carry(packet: Packet): LossReason | undefined {
    const { delay, loss, queue, random } = this.options;
    if (this.#underway >= queue) return 'full';
    if (loss > 0 && random() < loss) {
      ++this.lost;
      return;
    }
    ++this.#underway;
    if (delay > 0) setTimeout(() => this.#deliver(packet), delay);
    else if (this.#queue.push(packet) === 1) setImmediate(() => this.#deliverAll());
    return;
  }

  #deliverAll(): void {
    const packets = this.#queue;
    this.#queue = [];
    for (const packet of packets) this.#deliver(packet);
  }

  #deliver(packet: Packet): void {
    --this.#underway;
    if (this.hosts.get(packet.to)?.hear(packet)) ++this.carried;
    else ++this.undelivered;
  }
}

class Host implements Underlay {
  readonly kind = 'memory';
  readonly can = { tos: true, ttl: true, df: true };
  readonly #network: Network;
  readonly #own: { text: string; family: UnderlayFamily }[];
  readonly #ports = new Set<string>();
  #sink: UnderlaySink | undefined;
  #isClosed = false;

  constructor(network: Network, own: { text: string; family: UnderlayFamily }[]) {
    this.#network = network;
    this.#own = own;
  }

  get mtu(): number | undefined {
    return this.#network.options.mtu;
  }

  start(sink: UnderlaySink): void {
    if (this.#sink !== undefined || this.#isClosed)
      throw new VtepError(
        'IN_USE',
        `underlay ${this.#own[0]!.text}: another VTEP has had it: make another host`,
      );
    this.#sink = sink;
  }

  owns(address: string): boolean {
    return this.#own.some((one) => one.text === address);
  }

  async open(family: UnderlayFamily, port: number): Promise<void> {
    if (!this.#own.some((one) => one.family === family))
      throw new VtepError(
        'UNSUPPORTED',
        `underlay ${this.#own[0]!.text}: it has no ${family} address: give one to host()`,
      );
    this.#ports.add(`${family} ${port}`);
  }

  async shut(family: UnderlayFamily, port: number): Promise<void> {
    this.#ports.delete(`${family} ${port}`);
  }

  send({ bytes, address, port, tos }: OutgoingDatagram): LossReason | undefined {
    const family = address.includes(':') ? 'inet6' : 'inet';
    const from = this.#own.find((one) => one.family === family);
    if (from === undefined || this.#isClosed) return 'unreachable';
    const { mtu } = this.#network.options;
    if (mtu !== undefined && bytes.length + IP_UDP_BYTES[family] > mtu) return 'too-big';
    return this.#network.carry({ bytes: new Uint8Array(bytes), sender: from.text, to: address, port, tos });
  }

  hear({ bytes, sender, to, port, tos }: Packet): boolean {
    if (this.#isClosed || !this.#ports.has(`${to.includes(':') ? 'inet6' : 'inet'} ${port}`)) return false;
    this.#sink?.arrived(bytes, sender, port, tos);
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { text } of this.#own)
      if (this.#network.hosts.get(text) === this) this.#network.hosts.delete(text);
  }
}
