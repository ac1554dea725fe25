/**
 * The underlay TAP: super-frames that leave whole (`gso tunnel`, assembly/tunnel-gso.ts) are written to it, addressed to
 * its MAC, and the kernel forwards them as it forwards any packet that comes in through an interface. So that it does:
 *
 *   net.ipv4.conf.TAP    forwarding=1; accept_local=1, for the source is this host; rp_filter=0
 *   net.ipv6.conf.TAP    force_forwarding=1; without a device over IPv6: disable_ipv6=1
 *   address              none; where net.ipv4.conf.all.rp_filter is 2 one of 127.0.0.0/8, so that loose filtering passes
 *
 * All of it is the TAP's own: nothing is set for `all` or `default`, and it goes with the TAP, which goes with the last
 * device that wants it. What is forwarded passes the firewall's FORWARD chain; a rule there that drops it is noticed.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import {
  AF_INET6,
  HEADER_BASE,
  HEADER_PATHS_GENERATION_OFFSET,
  HEADER_UNDERLAY_ERROR_OFFSET,
  HEADER_UNDERLAY_IFINDEX_OFFSET,
  HEADER_UNDERLAY_MAC_OFFSET,
  HEADER_UNDERLAY_ON_OFFSET,
  HEADER_UNDERLAY_TAP_OFFSET,
} from '../../assembly/layout.ts';
import { readCounter } from '../dataplane/counters.ts';
import type { Views } from '../dataplane/memory.ts';
import { VtepError } from '../errors.ts';
import { EIO, errorName } from '../io/errno.ts';
import { stateOf } from '../io/interface.ts';
import { syscalls } from '../io/syscalls.ts';
import { openUnderlayTap, type UnderlayTap } from '../io/tap.ts';
import { ipBatch } from '../netlink/ip.ts';
import type { Logger } from './core.ts';
import type { Device } from './device.ts';
import { ForwardedPackets } from './forwarded.ts';
import { tunnelProbe } from './tunnel-probe.ts';
import type { Workers } from './workers.ts';

/** Of the host, so that nothing else has it, and from no address of the underlay. */
const LOOSE_ADDRESS = '127.86.88.1/32';
/** Super-frames between two looks that say nothing yet about how many are forwarded. */
const FEW = 8;

export class UnderlayTaps {
  readonly #views: Views;
  readonly #workers: Workers;
  readonly #log: Logger;
  #tap: UnderlayTap | undefined;
  #settings: string[] = [];
  /** Why it is not in use; '' = it is. */
  #off = NOT_ASKED;
  #ipv6 = false;
  /** Super-frames written, and packets that the kernel has forwarded, at the last look. */
  #written = 0;
  #forwarded = 0;
  #packets: ForwardedPackets | undefined;

  constructor(parts: { views: Views; workers: Workers; log: Logger }) {
    this.#views = parts.views;
    this.#workers = parts.workers;
    this.#log = parts.log;
  }

  /** "on: ..." or "off: why", for status. */
  get state(): string {
    if (this.#off !== '') return `off: ${this.#off}`;
    return `on: ${this.#tap!.name}, with ${this.#settings.join(' ')}`;
  }

  /** Makes the TAP for the first device that wants it, and takes it down behind the last. Never throws: `state` says why. */
  async settle(devices: readonly Device[]): Promise<void> {
    const wanting = devices.filter(wants);
    if (wanting.length === 0) {
      await this.#takeDown(NOT_ASKED);
      return;
    }
    const ipv6 = wanting.some(({ family }) => family === AF_INET6);
    if (this.#off !== NOT_ASKED && (this.#ipv6 || !ipv6)) return;
    await this.#takeDown(NOT_ASKED);
    this.#ipv6 = ipv6;
    try {
      await this.#bringUp(ipv6, devices);
      this.#off = '';
    } catch (error) {
      await this.#takeDown((error as Error).message);
      this.#log('warn', `gso tunnel: ${this.#off}: super-frames are split instead`);
    }
  }

  /** From time to time: is what was written forwarded? Returns true when `settle` has something to do. */
  tick(devices: readonly Device[]): boolean {
    if (this.#tap !== undefined && this.#off === '') this.#look(devices);
    return this.#off !== NOT_ASKED && !devices.some(wants);
  }

  async #bringUp(ipv6: boolean, devices: readonly Device[]): Promise<void> {
    const loose = rpFilterOfAll();
    const tap = openUnderlayTap();
    this.#tap = tap;
    const { name } = tap;
    this.#settings = [];
    this.#set('ipv4', 'forwarding', 1);
    this.#set('ipv4', 'accept_local', 1);
    this.#set('ipv4', 'rp_filter', 0);
    if (ipv6) {
      // Nothing of the kernel's own: no address, and no asking for routers.
      await ipBatch([`link set dev ${name} addrgenmode none`]);
      this.#set('ipv6', 'disable_ipv6', 0);
      this.#set('ipv6', 'accept_ra', 0);
      this.#set('ipv6', 'force_forwarding', 1);
    } else if (existsSync(`/proc/sys/net/ipv6/conf/${name}`)) {
      this.#set('ipv6', 'disable_ipv6', 1);
    }
    const commands = [`link set dev ${name} arp off multicast off up`];
    if (loose) {
      commands.push(`address add ${LOOSE_ADDRESS} dev ${name} scope host`);
      this.#settings.push(`address ${LOOSE_ADDRESS}`);
    }
    await ipBatch(commands);
    const errno = tunnelProbe(tap.fd);
    if (errno !== 0)
      throw new VtepError('UNSUPPORTED', `the kernel refuses a super-frame: ${errorName(errno)}`);
    this.#publish(tap, devices);
  }

  /** Workers may use it from now on. */
  #publish({ fd, name, ifindex }: UnderlayTap, devices: readonly Device[]): void {
    const { view, i32 } = this.#views;
    const mac = stateOf(name)?.address.split(':') ?? [];
    mac.forEach((byte, i) => {
      view.setUint8(HEADER_BASE + HEADER_UNDERLAY_MAC_OFFSET + i, Number.parseInt(byte, 16));
    });
    view.setInt32(HEADER_BASE + HEADER_UNDERLAY_TAP_OFFSET, fd, true);
    view.setUint32(HEADER_BASE + HEADER_UNDERLAY_IFINDEX_OFFSET, ifindex, true);
    view.setInt32(HEADER_BASE + HEADER_UNDERLAY_ERROR_OFFSET, 0, true);
    this.#packets = new ForwardedPackets(this.#ipv6);
    this.#forwarded = this.#packets.count();
    this.#written = this.#count(devices);
    Atomics.store(i32, ON, 1);
    // What is known of the paths does not know of it.
    Atomics.add(i32, (HEADER_BASE + HEADER_PATHS_GENERATION_OFFSET) >>> 2, 1);
  }

  async #takeDown(why: string): Promise<void> {
    this.#off = why;
    const tap = this.#tap;
    if (tap === undefined) return;
    this.#tap = undefined;
    this.#packets?.close();
    this.#packets = undefined;
    const wasOn = Atomics.exchange(this.#views.i32, ON, 0);
    // Its descriptor may be in a worker's hands.
    if (wasOn || why === NOT_ASKED) await this.#workers.quiesce();
    this.#views.i32[(HEADER_BASE + HEADER_UNDERLAY_TAP_OFFSET) >>> 2] = 0;
    syscalls().close(tap.fd);
  }

  #look(devices: readonly Device[]): void {
    const written = this.#count(devices);
    const now = this.#packets!.count();
    const [asked, done] = [written - this.#written, now - this.#forwarded];
    [this.#written, this.#forwarded] = [written, now];
    const error = this.#views.i32[(HEADER_BASE + HEADER_UNDERLAY_ERROR_OFFSET) >>> 2]!;
    if (Atomics.load(this.#views.i32, ON) === 0) {
      this.#stop(
        error === EIO
          ? `${this.#tap!.name} is down: "gso on", then "gso tunnel" makes it anew`
          : `the kernel refuses super-frames: ${errorName(error)}`,
      );
    } else if (asked >= FEW && done < asked / 2) {
      this.#stop(
        `of ${asked} super-frames the kernel forwarded ${done}: let the firewall's FORWARD chain pass what comes in through ${this.#tap!.name}, then "gso on", "gso tunnel"`,
      );
    }
  }

  #stop(why: string): void {
    Atomics.store(this.#views.i32, ON, 0);
    this.#off = why;
    this.#log('warn', `gso tunnel: ${why}: super-frames are split from now on`);
  }

  #count(devices: readonly Device[]): number {
    return devices.reduce(
      (sum, { index }) => sum + readCounter(this.#views, this.#workers.count, index, 'super_frames_whole'),
      0,
    );
  }

  #set(family: 'ipv4' | 'ipv6', key: string, value: number): void {
    const name = `net.${family}.conf.${this.#tap!.name}.${key}`;
    try {
      writeFileSync(`/proc/sys/net/${family}/conf/${this.#tap!.name}/${key}`, `${value}`);
    } catch (error) {
      throw new VtepError('SYSTEM', `sysctl ${name}=${value}: ${(error as NodeJS.ErrnoException).code}`);
    }
    this.#settings.push(`${name}=${value}`);
  }
}

const NOT_ASKED = 'no device asks for it (gso tunnel)';
const ON = (HEADER_BASE + HEADER_UNDERLAY_ON_OFFSET) >>> 2;

function wants({ config }: Device): boolean {
  return config.gso === 'tunnel' && !config.gpe;
}

/** Is it loose (2)? @throws VtepError where it is strict: the larger of that and the TAP's own holds */
function rpFilterOfAll(): boolean {
  const value = Number(readFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', 'utf8'));
  if (value === 1) {
    throw new VtepError(
      'UNSUPPORTED',
      'net.ipv4.conf.all.rp_filter is 1, which drops what comes from an address of this host: "sysctl -w net.ipv4.conf.all.rp_filter=2" (or 0), then "gso on", "gso tunnel"',
    );
  }
  return value !== 0;
}
