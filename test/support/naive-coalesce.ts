/**
 * Which frames of one batch may be merged into one write, by the rules of Linux's GRO and of wireguard-go,
 * told as plainly as they can be: strings for keys, whole headers compared, every checksum computed.
 */
import { internetSum, pseudoIpv4, pseudoIpv6 } from './reference.ts';

const FIN_TO_CWR_WITHOUT_PSH = 0xf7;
const ACK = 0x10;
const PSH = 0x08;
const IP_MAX_BYTES = 65535;
/** As many payloads as a write has iovecs for, behind the virtio header and the first frame. */
const MERGED_MAX = 66;
/** Flows that may be open at a time. */
const TABLE_SIZE = 16;

export interface Arrival {
  device: number;
  frame: Uint8Array;
}

interface Plain {
  l4: number;
  headers: number;
  pseudo: number;
}

interface Group {
  frames: number[];
  isOpen: boolean;
  device: number;
  key: string;
  hosts: string;
  nextSequence: number;
  segment: number;
  ipBytes: number;
}

/** @returns the numbers of the frames of each write, in the order of writes */
export function coalesceNaively(arrivals: readonly Arrival[]): number[][] {
  const groups: number[][] = [];
  const table: Group[] = [];
  for (const [number, { device, frame }] of arrivals.entries()) {
    const plain = plainTcp(frame);
    if (!plain) {
      // It may be of a flow that is open: what comes before it must be out before it.
      const hosts = tcpHosts(frame);
      for (const group of table) {
        if (group.device === device && group.hosts === hosts) group.isOpen = false;
      }
      groups.push([number]);
      continue;
    }
    const { l4, headers } = plain;
    const key = [device, ...frame.subarray(14 + (l4 === 34 ? 12 : 8), l4 + 4)].join();
    const group = table.find((one) => one.isOpen && one.key === key);
    const payload = frame.length - headers;
    const flags = frame[l4 + 13]!;
    const special = (flags & FIN_TO_CWR_WITHOUT_PSH) !== ACK || payload === 0;
    if (special || isUnfinished(frame, plain)) {
      if (group) group.isOpen = false;
      groups.push([number]);
      continue;
    }
    const sequence = new DataView(frame.buffer, frame.byteOffset).getUint32(l4 + 4);
    const ends = (flags & PSH) !== 0;
    if (group) {
      const first = arrivals[group.frames[0]!]!.frame;
      const joins =
        sequence === group.nextSequence &&
        payload <= group.segment &&
        group.ipBytes + payload <= IP_MAX_BYTES &&
        group.frames.length <= MERGED_MAX &&
        common(first, plainTcp(first)!) === common(frame, plain) &&
        isRight(first) &&
        isRight(frame);
      if (joins) {
        group.frames.push(number);
        group.nextSequence = (sequence + payload) >>> 0;
        group.ipBytes += payload;
        if (ends || payload < group.segment) group.isOpen = false;
        continue;
      }
      group.isOpen = false;
    }
    const started: Group = {
      frames: [number],
      isOpen: true,
      device,
      key,
      hosts: tcpHosts(frame)!,
      nextSequence: (sequence + payload) >>> 0,
      segment: payload,
      ipBytes: frame.length - 14,
    };
    groups.push(started.frames);
    if (!ends) keep(table, started, groups.length - 1);
  }
  return groups;
}

/** In the first place that is free; in a full table, in one that the write's number names. */
function keep(table: Group[], group: Group, write: number): void {
  const free = table.findIndex(({ isOpen }) => !isOpen);
  if (free >= 0) table[free] = group;
  else if (table.length < TABLE_SIZE) table.push(group);
  else table[write % TABLE_SIZE] = group;
}

/** An untagged TCP packet without IP options that fills its frame exactly and is no fragment. */
function plainTcp(frame: Uint8Array): Plain | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const type = view.getUint16(12);
  let l4: number;
  if (type === 0x0800) {
    if (frame[14] !== 0x45 || view.getUint16(16) !== frame.length - 14) return undefined;
    if ((view.getUint16(20) & 0x3fff) !== 0 || frame[23] !== 6) return undefined;
    l4 = 34;
  } else if (type === 0x86dd) {
    if (view.getUint16(18) !== frame.length - 54 || frame[20] !== 6) return undefined;
    l4 = 54;
  } else return undefined;
  if (l4 + 20 > frame.length) return undefined;
  const headers = l4 + (frame[l4 + 12]! >> 4) * 4;
  if (headers < l4 + 20 || headers > frame.length) return undefined;
  const pseudo = (l4 === 34 ? pseudoIpv4 : pseudoIpv6)(frame.subarray(14), 6, frame.length - l4);
  return { l4, headers, pseudo };
}

/** Both addresses of an untagged packet that may be TCP's, whatever else is odd about it. */
function tcpHosts(frame: Uint8Array): string | undefined {
  const type = (frame[12]! << 8) | frame[13]!;
  if (type === 0x0800 && frame[23] === 6) return frame.subarray(26, 34).join();
  return type === 0x86dd && frame[20] !== 17 ? frame.subarray(22, 54).join() : undefined;
}

function isUnfinished(frame: Uint8Array, { l4, pseudo }: Plain): boolean {
  return ((frame[l4 + 16]! << 8) | frame[l4 + 17]!) === pseudo;
}

function isRight(frame: Uint8Array): boolean {
  const { l4, pseudo } = plainTcp(frame)!;
  if (l4 === 34 && internetSum(frame.subarray(14, 34)) !== 0xffff) return false;
  return internetSum(frame.subarray(l4), pseudo) === 0xffff;
}

/** All of the headers that one set must stand for; left out is what each segment has of its own, and the window. */
function common(frame: Uint8Array, { l4, headers }: Plain): string {
  const ip = frame.slice(14, l4);
  for (const own of l4 === 34 ? [2, 3, 4, 5, 10, 11] : [4, 5]) ip[own] = 0;
  const header = frame.slice(l4, headers);
  for (const own of [4, 5, 6, 7, 14, 15, 16, 17, 18, 19]) header[own] = 0;
  header[13]! &= ~PSH;
  return [frame.subarray(0, 14).join(), ip.join(), header.join()].join(' ');
}
