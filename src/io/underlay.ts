/**
 * An underlay: what carries the datagrams of a VTEP on ports. `dgramUnderlay`, `batchedUnderlay` and
 * `createMemoryNetwork` make some; a program may hand in any object of this shape.
 */

/** A datagram that is to be sent. All of it may change once `send` has returned: copy what must wait. */
export interface OutgoingDatagram {
  /** UDP payload: VXLAN header and frame. */
  readonly bytes: Uint8Array;
  /** "192.0.2.1", "2001:db8::1" */
  readonly address: string;
  /** UDP port of the remote. */
  readonly port: number;
  /** 0 to 63, by the hash of the inner flow: chooses the source port. */
  readonly flow: number;
  /** Outer TOS, and TTL; 0 = as the underlay likes */
  readonly tos: number;
  readonly ttl: number;
  readonly df: boolean;
  /** Number of the device, for `lost`. */
  readonly device: number;
}

/** Why a datagram was not sent; each has a counter of its own (drop_socket_full, drop_too_big ...). */
export type LossReason = 'full' | 'too-big' | 'unreachable' | 'refused' | 'error';

/** What an underlay tells its VTEP. */
export interface UnderlaySink {
  /**
   * A datagram came to `port`. The bytes are the underlay's again when it returns.
   * @param sender its address; @param tos outer TOS or traffic class, where that is known, else 0
   * @param segment what UDP_GRO says of the bytes: several datagrams of so many, of which the last may be shorter, or one
   *   with a super-frame of UDP; absent or 0: they are one
   */
  arrived(bytes: Uint8Array, sender: string, port: number, tos: number, segment?: number): void;
  /** What `send` had taken did not leave after all. @param bytes length of the datagram */
  lost(device: number, bytes: number, reason: LossReason): void;
  /** A line for the log. */
  warn(message: string): void;
}

/** IPv4 or IPv6, in Linux' words. */
export type UnderlayFamily = 'inet' | 'inet6';

/** What an underlay can do beyond carrying bytes; what it can't is refused when a device asks for it. */
export interface UnderlayAbilities {
  /** Outer TOS; outer TTL; DF. */
  readonly tos: boolean;
  readonly ttl: boolean;
  readonly df: boolean;
}

/** What carries the datagrams of a VTEP. */
export interface Underlay {
  /** In `status().engine.io`: "portable (dgram)" */
  readonly kind: string;
  readonly can: UnderlayAbilities;
  /** Bytes that an outer packet may have; absent: not known, devices have 1500 unless they are given one. */
  readonly mtu?: number | undefined;
  /** Called once, before all else. @throws VtepError IN_USE when another VTEP has it */
  start(sink: UnderlaySink): void;
  /** Whether this is an address of its own, which a device may name as `local`. */
  owns(address: string): boolean;
  /** Opens a UDP port for what devices receive. @throws VtepError IN_USE, PERMISSION, SYSTEM */
  open(family: UnderlayFamily, port: number): Promise<void>;
  /** Closes it; others stay. */
  shut(family: UnderlayFamily, port: number): Promise<void>;
  /** @returns undefined when it has been taken */
  send(datagram: OutgoingDatagram): LossReason | undefined;
  /** No more is to come for now: what `send` has put aside to send together leaves. Absent: nothing is put aside. */
  flush?(): void;
  /** Frees all. Nothing when it is closed. */
  close(): Promise<void>;
}
