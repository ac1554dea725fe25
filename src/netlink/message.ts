/**
 * Netlink messages (linux/netlink.h): a 16-byte header, a fixed body of the message's kind, attributes. All
 * numbers are in the machine's byte order, which is little-endian on both machines that we run on. What the
 * kernel sends is read as if anybody had sent it: whatever is cut short or lies about its length is left
 * out, and nothing here throws on it.
 */
import ipaddr from 'ipaddr.js';
import { addressBytes, type Family } from '../io/family.ts';

export const MESSAGE_HEADER_BYTES = 16;
export const ATTRIBUTE_HEADER_BYTES = 4;

export const NLM_F_REQUEST = 0x01;
export const NLM_F_ACK = 0x04;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_DUMP = 0x300;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

/** The kind without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
export const ATTRIBUTE_TYPE_MASK = 0x3fff;

export interface Message {
  type: number;
  flags: number;
  sequence: number;
  /** What follows the header. */
  body: Uint8Array;
}

/** Attribute kind -> its value; of several of one kind the last, as the kernel reads them. */
export type Attributes = ReadonlyMap<number, Uint8Array>;

const NONE: Attributes = new Map();

/** The messages of one datagram, up to the first whose length can't be right. */
export function readMessages(datagram: Uint8Array): Message[] {
  const view = viewOf(datagram);
  const found: Message[] = [];
  for (let at = 0; at + MESSAGE_HEADER_BYTES <= datagram.length; ) {
    const length = view.getUint32(at, true);
    if (length < MESSAGE_HEADER_BYTES || at + length > datagram.length) break;
    found.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: datagram.subarray(at + MESSAGE_HEADER_BYTES, at + length),
    });
    at += aligned(length);
  }
  return found;
}

/** The attributes from an offset on, up to the first whose length can't be right. */
export function readAttributes(bytes: Uint8Array | undefined, offset = 0): Attributes {
  if (bytes === undefined || offset + ATTRIBUTE_HEADER_BYTES > bytes.length) return NONE;
  const view = viewOf(bytes);
  const found = new Map<number, Uint8Array>();
  for (let at = offset; at + ATTRIBUTE_HEADER_BYTES <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > bytes.length) break;
    const type = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK;
    found.set(type, bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length));
    at += aligned(length);
  }
  return found;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A 32-bit number; undefined when the attribute is missing or short. */
export function numberOf(value: Uint8Array | undefined): number | undefined {
  return value === undefined || value.length < 4 ? undefined : viewOf(value).getUint32(0, true);
}

/** Text up to its zero byte. */
export function textOf(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  const end = value.indexOf(0);
  return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end));
}

/** `aa:bb:cc:dd:ee:ff`; undefined unless it has six bytes. */
export function macOf(value: Uint8Array | undefined): string | undefined {
  if (value?.length !== 6) return undefined;
  return [...value].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Text of an IP address; undefined unless it has its family's length. */
export function addressOf(family: Family, value: Uint8Array | undefined): string | undefined {
  if (value?.length !== addressBytes(family)) return undefined;
  // Dumps have thousands of these.
  if (value.length === 4) return `${value[0]}.${value[1]}.${value[2]}.${value[3]}`;
  return ipaddr.fromByteArray([...value]).toString();
}

/** A message; attributes stand in the order given. */
export function writeMessage(
  type: number,
  flags: number,
  sequence: number,
  body: Uint8Array,
  attributes: readonly (readonly [number, Uint8Array])[] = [],
): Uint8Array {
  const sizes = attributes.map(([, value]) => aligned(ATTRIBUTE_HEADER_BYTES + value.length));
  const length = sizes.reduce((sum, size) => sum + size, MESSAGE_HEADER_BYTES + aligned(body.length));
  const message = new Uint8Array(length);
  const view = viewOf(message);
  view.setUint32(0, length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  message.set(body, MESSAGE_HEADER_BYTES);
  let at = MESSAGE_HEADER_BYTES + aligned(body.length);
  for (const [index, [kind, value]] of attributes.entries()) {
    view.setUint16(at, ATTRIBUTE_HEADER_BYTES + value.length, true);
    view.setUint16(at + 2, kind, true);
    message.set(value, at + ATTRIBUTE_HEADER_BYTES);
    at += sizes[index]!;
  }
  return message;
}

/** Messages and attributes begin at multiples of four. */
export function aligned(length: number): number {
  return (length + 3) & ~3;
}
