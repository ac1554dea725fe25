/** The sockets that peers are asked over: one a family through the overlay, one a family past it. */
import type { Family } from '../io/family.ts';
import { type EchoReply, EchoSocket } from '../io/icmp.ts';

/** What can't be opened now, for want of a right or of IPv6, is tried again so much later. */
const OPEN_AGAIN_MS = 5000;

export class ProbeSockets {
  /** Why one of them can't be opened: "ICMP socket: EPERM: ..."; undefined: they can. */
  error: string | undefined;
  readonly #open = new Map<string, EchoSocket>();
  readonly #openAgain = new Map<string, number>();
  #ignored = 0;

  /** Answers that were forged or cut short. */
  get ignored(): number {
    let count = this.#ignored;
    for (const socket of this.#open.values()) count += socket.foreign + socket.malformed;
    return count;
  }

  /** What the path's MTU is known to be does not keep large packets from being tried. */
  overlay(family: Family, local: string): EchoSocket | undefined {
    return this.#get(`overlay ${family}`, { family, local, pathMtu: 'ignore' });
  }

  underlay(family: Family): EchoSocket | undefined {
    return this.#get(`underlay ${family}`, { family, local: '', pathMtu: 'obey' });
  }

  receive(heard: (reply: EchoReply) => void): void {
    for (const socket of this.#open.values()) socket.receive(heard);
  }

  /** They are opened anew when they are needed again. */
  close(): void {
    this.#ignored = this.ignored;
    for (const socket of this.#open.values()) socket.close();
    this.#open.clear();
    this.#openAgain.clear();
  }

  #get(name: string, options: ConstructorParameters<typeof EchoSocket>[0]): EchoSocket | undefined {
    const open = this.#open.get(name);
    if (open !== undefined || performance.now() < (this.#openAgain.get(name) ?? 0)) return open;
    try {
      const socket = new EchoSocket(options);
      this.#open.set(name, socket);
      this.error = undefined;
      return socket;
    } catch (error) {
      this.#openAgain.set(name, performance.now() + OPEN_AGAIN_MS);
      this.error = (error as Error).message;
      return undefined;
    }
  }
}
