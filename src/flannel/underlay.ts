/** The underlay as this host has it now, and every change of it. */
import ipaddr from 'ipaddr.js';
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { type Address, dumpAddresses, RTM_DELADDR, RTM_NEWADDR } from '../netlink/addresses.ts';
import { dumpDefaultRoutes, readDefaultRoute } from '../netlink/default-routes.ts';
import { dumpLinks, type Link, RTM_DELLINK, RTM_NEWLINK } from '../netlink/links.ts';
import type { Message } from '../netlink/message.ts';
import { RTM_DELROUTE, RTM_NEWROUTE } from '../netlink/route-numbers.ts';
import { Routes } from '../netlink/routes.ts';
import {
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV6_ADDRESS,
  GROUP_IPV6_ROUTE,
  GROUP_LINK,
  NetlinkSocket,
} from '../netlink/socket.ts';
import { type Watch, watchNetlink } from '../netlink/watch.ts';
import { choose, type Host, type Underlay, type UnderlayOptions } from './underlay-choice.ts';

export type { Underlay, UnderlayOptions } from './underlay-choice.ts';

/** Changes come in bunches. */
const SETTLE_MS = 50;
/** While the kernel's announcements can't be heard, it is looked so often. */
const LOOK_MS = 2000;

/** The underlay, or why there is none. */
export type UnderlayNews =
  | { underlay: Underlay; reason?: undefined }
  | { underlay?: undefined; reason: string };

export interface UnderlayFollower {
  /** The last news. */
  readonly current: UnderlayNews;
  /** Nothing is told after the call. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * @throws VtepError USAGE for flags that can't be right; NOT_FOUND when the host has no such interface or address now;
 * SYSTEM when the kernel can't be asked. The flag and the remedy are named.
 */
export function chooseUnderlay(options: UnderlayOptions): Underlay {
  const socket = new NetlinkSocket();
  const routes = new Routes();
  try {
    return choose(options, new KernelHost(socket, routes));
  } finally {
    socket.close();
    routes.close();
  }
}

/**
 * Tells, from now on, whenever the choice has become another one; the present one is in `current`. The listener is
 * called with nothing on the stack that could throw at it, and must not throw.
 * @throws VtepError USAGE for flags that can't be right, SYSTEM or PERMISSION when the kernel can't be heard at all
 */
export async function followUnderlay(
  options: UnderlayOptions,
  onChange: (news: UnderlayNews) => void,
): Promise<UnderlayFollower> {
  const follower = new Follower(options, onChange);
  await follower.start();
  return follower;
}

class Follower implements UnderlayFollower {
  current: UnderlayNews = { reason: 'underlay: not looked at yet' };
  readonly #options: UnderlayOptions;
  readonly #onChange: (news: UnderlayNews) => void;
  #watch: Watch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: UnderlayOptions, onChange: (news: UnderlayNews) => void) {
    this.#options = options;
    this.#onChange = onChange;
  }

  async start(): Promise<void> {
    await this.#listen();
    try {
      this.current = look(this.#options);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#watch?.close();
  }

  async #listen(): Promise<void> {
    const { ipv4, ipv6 } = this.#options;
    const groups = [
      GROUP_LINK,
      ...(ipv4 ? [GROUP_IPV4_ADDRESS, GROUP_IPV4_ROUTE] : []),
      ...(ipv6 ? [GROUP_IPV6_ADDRESS, GROUP_IPV6_ROUTE] : []),
    ];
    this.#watch = await watchNetlink(groups, {
      messages: (messages) => {
        if (messages.some((message) => this.#matters(message))) this.#later(SETTLE_MS);
      },
      resync: () => this.#later(SETTLE_MS),
      failed: () => {
        const lost = this.#watch;
        this.#watch = undefined;
        lost?.close().catch(() => undefined);
        this.#later(SETTLE_MS);
      },
    });
  }

  #matters(message: Message): boolean {
    const { type } = message;
    if (type === RTM_NEWLINK || type === RTM_DELLINK || type === RTM_NEWADDR || type === RTM_DELADDR)
      return true;
    if (type !== RTM_NEWROUTE && type !== RTM_DELROUTE) return false;
    // The overlay's own routes are announced by the thousand.
    return (this.#options.ifaceCanReach ?? '') !== '' || readDefaultRoute(message) !== undefined;
  }

  #later(milliseconds: number): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => void this.#lookAgain(), milliseconds);
  }

  async #lookAgain(): Promise<void> {
    if (this.#watch === undefined) await this.#listen().catch(() => undefined);
    this.#timer = undefined;
    // Closed while it began to listen.
    if (this.#closed) return void (await this.#watch?.close());
    const news = lookSafely(this.#options);
    if (JSON.stringify(news) !== JSON.stringify(this.current)) {
      this.current = news;
      this.#onChange(news);
    }
    if (this.#watch === undefined) this.#later(LOOK_MS);
  }
}

/** Throws USAGE and SYSTEM. */
function look(options: UnderlayOptions): UnderlayNews {
  try {
    return { underlay: chooseUnderlay(options) };
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'NOT_FOUND') throw error;
    return { reason: (error as Error).message };
  }
}

function lookSafely(options: UnderlayOptions): UnderlayNews {
  try {
    return look(options);
  } catch (error) {
    return { reason: (error as Error).message };
  }
}

/** Each table is read once, when it is asked for. */
class KernelHost implements Host {
  readonly #socket: NetlinkSocket;
  readonly #routes: Routes;
  #links: readonly Link[] | undefined;
  #addresses: readonly Address[] | undefined;

  constructor(socket: NetlinkSocket, routes: Routes) {
    this.#socket = socket;
    this.#routes = routes;
  }

  links(): readonly Link[] {
    this.#links ??= dumpLinks(this.#socket);
    return this.#links;
  }

  addresses(): readonly Address[] {
    this.#addresses ??= dumpAddresses(this.#socket);
    return this.#addresses;
  }

  defaultInterface(family: Family): number {
    return dumpDefaultRoutes(this.#socket, family)[0]?.out ?? 0;
  }

  route(family: Family, text: string): { out: number; source?: string } | undefined {
    const address = Uint8Array.from(ipaddr.parse(text).toByteArray());
    const { kind, out, source } = this.#routes.routeTo({ family, address });
    if (kind === 'unreachable' || out === 0) return undefined;
    const length = family === AF_INET6 ? 16 : family === AF_INET ? 4 : 0;
    const own = source?.length === length ? ipaddr.fromByteArray([...source]).toString() : undefined;
    return { out, ...(own === undefined ? {} : { source: own }) };
  }
}
