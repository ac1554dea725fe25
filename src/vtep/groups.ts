/**
 * Multicast groups that listeners have joined. Devices on one socket share a membership: the first one joins,
 * the last one leaves.
 */
import { AF_INET, AF_INET6 } from '../../assembly/layout.ts';
import { changeMembership } from '../io/udp.ts';
import { isIpv6 } from './device.ts';
import type { Listener } from './listeners.ts';

export class Groups {
  /** listener, group and interface -> how many use it */
  readonly #users = new Map<string, number>();

  /**
   * Joins on all listeners of the group's family, or on none.
   * @throws VtepError SYSTEM
   */
  join(listeners: readonly Listener[], group: string, ifindex: number): void {
    const joined: Listener[] = [];
    try {
      for (const listener of ofFamily(listeners, group)) {
        this.#count(listener, group, ifindex, 1);
        joined.push(listener);
      }
    } catch (error) {
      for (const listener of joined) this.#count(listener, group, ifindex, -1);
      throw error;
    }
  }

  leave(listeners: readonly Listener[], group: string, ifindex: number): void {
    for (const listener of ofFamily(listeners, group)) this.#count(listener, group, ifindex, -1);
  }

  #count(listener: Listener, group: string, ifindex: number, step: 1 | -1): void {
    const key = `${listener.id} ${group} ${ifindex}`;
    const users = (this.#users.get(key) ?? 0) + step;
    // One socket is the member: a datagram would come to each that is.
    const [fd] = listener.sockets;
    const change = (join: boolean) => changeMembership(fd!, listener.family, group, ifindex, join);
    if (step === 1 && users === 1) change(true);
    if (step === -1 && users === 0) change(false);
    if (users > 0) this.#users.set(key, users);
    else this.#users.delete(key);
  }
}

function ofFamily(listeners: readonly Listener[], group: string): Listener[] {
  const family = isIpv6(group) ? AF_INET6 : AF_INET;
  return listeners.filter((listener) => listener.family === family);
}
