/**
 * The kernel's answer to "which way to that address?" (RTM_GETROUTE), as a worker needs it for each remote: a
 * few microseconds, and nothing is allocated but the answer. Each thread has a Routes of its own.
 */
import { addressBytes, type Family } from '../io/family.ts';
import { mtuOf } from '../io/interface.ts';
import {
  ATTRIBUTE_HEADER_BYTES,
  ATTRIBUTE_TYPE_MASK,
  aligned,
  MESSAGE_HEADER_BYTES,
  NLM_F_REQUEST,
} from './message.ts';
import {
  RTA_DST,
  RTA_IIF,
  RTA_METRICS,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_SRC,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTMSG_BYTES,
  RTMSG_TYPE_OFFSET,
} from './route-numbers.ts';
import { NetlinkSocket } from './socket.ts';

const RTAX_MTU = 2;
const RTAX_HOPLIMIT = 10;

const KINDS: Record<number, RouteKind> = {
  1: 'unicast',
  2: 'local',
  3: 'broadcast',
  4: 'unicast',
  5: 'multicast',
};

/** "local": an address of this host. Blackholes and prohibitions are unreachable too. */
export type RouteKind = 'unicast' | 'local' | 'broadcast' | 'multicast' | 'unreachable';

export interface RouteQuery {
  family: Family;
  /** 4 or 16 bytes, further ones are not looked at. */
  address: Uint8Array;
  /** Leave through this interface; absent or 0: by the table. */
  ifindex?: number;
  /** Source address, 4 or 16 bytes; absent: the route's choice. One that is not the host's has no IPv4 route. */
  local?: Uint8Array;
  /** The way of a packet that comes in through this interface and is forwarded; absent or 0: of the host's own. */
  arrival?: number;
}

export interface Route {
  kind: RouteKind;
  /** ifindex that the way leads out of; 0 when unreachable. */
  out: number;
  /** Path MTU in bytes: what ICMP or the route says, else the interface's; 0 when unreachable. */
  mtu: number;
  /** What the route says of the hop limit, 0 = nothing. */
  hops: number;
  /** The address that the host sends from, 4 or 16 bytes; undefined: the one that was asked with, or none. */
  source?: Uint8Array;
}

export const UNREACHABLE: Readonly<Route> = Object.freeze({ kind: 'unreachable', out: 0, mtu: 0, hops: 0 });

export class Routes {
  readonly #socket = new NetlinkSocket();
  readonly #request = new Uint8Array(128);
  readonly #view = new DataView(this.#request.buffer);

  get descriptor(): number {
    return this.#socket.descriptor;
  }

  close(): void {
    this.#socket.close();
  }

  /** @throws VtepError SYSTEM when the kernel can't be asked */
  routeTo(query: RouteQuery): Route {
    const length = this.#write(query);
    const bytes = this.#socket.exchange(this.#request.subarray(0, length), this.#view);
    return this.#read(bytes);
  }

  #write({ family, address, ifindex = 0, local, arrival = 0 }: RouteQuery): number {
    const view = this.#view;
    const bits = addressBytes(family) * 8;
    view.setUint16(4, RTM_GETROUTE, true);
    view.setUint16(6, NLM_F_REQUEST, true);
    this.#request.fill(0, MESSAGE_HEADER_BYTES, MESSAGE_HEADER_BYTES + RTMSG_BYTES);
    view.setUint8(MESSAGE_HEADER_BYTES, family);
    view.setUint8(MESSAGE_HEADER_BYTES + 1, bits);
    if (local !== undefined) view.setUint8(MESSAGE_HEADER_BYTES + 2, bits);
    let at = this.#put(MESSAGE_HEADER_BYTES + RTMSG_BYTES, RTA_DST, family, address);
    if (local !== undefined) at = this.#put(at, RTA_SRC, family, local);
    if (ifindex !== 0) at = this.#putIndex(at, RTA_OIF, ifindex);
    if (arrival !== 0) at = this.#putIndex(at, RTA_IIF, arrival);
    view.setUint32(0, at, true);
    return at;
  }

  #put(at: number, type: number, family: Family, address: Uint8Array): number {
    const bytes = addressBytes(family);
    this.#view.setUint16(at, ATTRIBUTE_HEADER_BYTES + bytes, true);
    this.#view.setUint16(at + 2, type, true);
    for (let i = 0; i < bytes; ++i) this.#request[at + ATTRIBUTE_HEADER_BYTES + i] = address[i] ?? 0;
    return at + ATTRIBUTE_HEADER_BYTES + bytes;
  }

  #putIndex(at: number, type: number, ifindex: number): number {
    this.#view.setUint16(at, ATTRIBUTE_HEADER_BYTES + 4, true);
    this.#view.setUint16(at + 2, type, true);
    this.#view.setUint32(at + ATTRIBUTE_HEADER_BYTES, ifindex, true);
    return at + ATTRIBUTE_HEADER_BYTES + 4;
  }

  #read(bytes: number): Route {
    const view = this.#socket.answer;
    if (bytes < MESSAGE_HEADER_BYTES + RTMSG_BYTES) return UNREACHABLE;
    const type = view.getUint16(4, true);
    // NLMSG_ERROR says why there is none.
    if (type !== RTM_NEWROUTE) return UNREACHABLE;
    const end = Math.min(bytes, view.getUint32(0, true));
    const kind = KINDS[view.getUint8(MESSAGE_HEADER_BYTES + RTMSG_TYPE_OFFSET)];
    if (kind === undefined) return UNREACHABLE;
    let out = 0;
    let mtu = 0;
    let hops = 0;
    let source: Uint8Array | undefined;
    for (let at = MESSAGE_HEADER_BYTES + RTMSG_BYTES; at + ATTRIBUTE_HEADER_BYTES <= end; ) {
      const length = view.getUint16(at, true);
      if (length < ATTRIBUTE_HEADER_BYTES || at + length > end) break;
      const attribute = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK;
      if (attribute === RTA_OIF && length >= 8) out = view.getUint32(at + 4, true);
      else if (attribute === RTA_METRICS) {
        mtu = metricOf(view, RTAX_MTU, at + 4, at + length);
        hops = metricOf(view, RTAX_HOPLIMIT, at + 4, at + length);
      } else if (attribute === RTA_PREFSRC) {
        source = new Uint8Array(view.buffer.slice(view.byteOffset + at + 4, view.byteOffset + at + length));
      }
      at += aligned(length);
    }
    if (mtu === 0 && out !== 0) mtu = mtuOf(out);
    return { kind, out, mtu, hops, ...(source === undefined ? {} : { source }) };
  }
}

/** One of the metrics, 0 = not there. */
function metricOf(view: DataView, metric: number, start: number, end: number): number {
  for (let at = start; at + ATTRIBUTE_HEADER_BYTES <= end; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > end) break;
    if ((view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK) === metric && length >= 8) {
      return view.getUint32(at + ATTRIBUTE_HEADER_BYTES, true);
    }
    at += aligned(length);
  }
  return 0;
}
