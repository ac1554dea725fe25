/**
 * Network namespaces that TAPs are in: the VTEP's own, and whichever a TAP was moved to. Each is listened to by a
 * socket that was opened there. Ports stay in the VTEP's own, as the kernel's device leaves its sockets behind.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { within } from '../io/namespace.ts';
import { HERE, type Within } from '../netlink/ip.ts';
import type { Message } from '../netlink/message.ts';
import {
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV4_RULE,
  GROUP_IPV6_ADDRESS,
  GROUP_IPV6_ROUTE,
  GROUP_IPV6_RULE,
  GROUP_LINK,
  GROUP_NEIGHBOUR,
  GROUP_NEXTHOP,
  NetlinkSocket,
} from '../netlink/socket.ts';
import { type Watch, watchNetlink } from '../netlink/watch.ts';

const UNDERLAY_GROUPS = [
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV4_RULE,
  GROUP_IPV6_ADDRESS,
  GROUP_IPV6_ROUTE,
  GROUP_IPV6_RULE,
  GROUP_NEXTHOP,
];

export interface Place {
  /** The VTEP's own network namespace. */
  readonly home: boolean;
  /** Asks there. */
  readonly socket: NetlinkSocket;
  readonly within: Within;
}

export interface PlaceListener {
  messages(place: Place, messages: Message[]): void;
  resync(place: Place): void;
  failed(reason: string): void;
}

interface Open extends Place {
  readonly inode: number;
  /** Of the namespace; -1 for the VTEP's own. */
  readonly fd: number;
  watch: Watch | undefined;
}

export class Places {
  readonly #listener: PlaceListener;
  readonly #open: Open[] = [];

  constructor(listener: PlaceListener) {
    this.#listener = listener;
  }

  /** The VTEP's own. To be called first. @throws VtepError SYSTEM */
  async start(): Promise<Place> {
    const fd = openSync('/proc/self/ns/net', 'r');
    const inode = fstatSync(fd).ino;
    closeSync(fd);
    return this.#add(inode, -1, HERE);
  }

  /**
   * The place of a network namespace, listened to from now on.
   * @param fd a descriptor of it, which becomes this object's
   * @throws VtepError PERMISSION or SYSTEM when it can't be entered
   */
  async of(fd: number): Promise<Place> {
    const inode = fstatSync(fd).ino;
    const known = this.#open.find((place) => place.inode === inode);
    if (known !== undefined) {
      closeSync(fd);
      return known;
    }
    try {
      return await this.#add(inode, fd, (work) => within(fd, work));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Leaves those that nobody is in any more. The VTEP's own stays. */
  async leaveUnused(used: ReadonlySet<Place | undefined>): Promise<void> {
    const unused = this.#open.filter((place) => !place.home && !used.has(place));
    for (const place of unused) {
      this.#open.splice(this.#open.indexOf(place), 1);
      await close(place);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map(close));
  }

  async #add(inode: number, fd: number, inside: Within): Promise<Place> {
    const home = fd < 0;
    const socket = inside(() => new NetlinkSocket());
    const place: Open = { home, socket, within: inside, inode, fd, watch: undefined };
    const groups = [GROUP_LINK, GROUP_NEIGHBOUR, ...(home ? UNDERLAY_GROUPS : [])];
    const listener = {
      messages: (messages: Message[]) => this.#listener.messages(place, messages),
      resync: () => this.#listener.resync(place),
      failed: (reason: string) => this.#listener.failed(reason),
    };
    try {
      // The socket is opened before the call returns, and so in the namespace.
      place.watch = await inside(() => watchNetlink(groups, listener));
    } catch (error) {
      socket.close();
      throw error;
    }
    this.#open.push(place);
    return place;
  }
}

async function close(place: Open): Promise<void> {
  await place.watch?.close();
  place.socket.close();
  if (place.fd >= 0) closeSync(place.fd);
}
