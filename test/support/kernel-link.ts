/**
 * The kernel's VXLAN device with options that the installed iproute2 has no words for yet, by rtnetlink. Runs inside
 * the namespace (see traffic-agent.ts). Attribute numbers: include/uapi/linux/if_link.h.
 */
import { bind, close, LITTLE_ENDIAN, receive, SOCK_RAW, sendTo, socket } from './traffic-libc.ts';

/** Attributes of one device: number -> bytes in the order of the wire. */
export type VxlanAttributes = readonly (readonly [attribute: number, value: Uint8Array])[];

export const VXLAN_ID = 1;
export const VXLAN_LOCAL = 4;
export const VXLAN_PORT = 15;
export const VXLAN_LOCALBYPASS = 31;
export const VXLAN_RESERVED_BITS = 33;

const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
const RTM_NEWLINK = 16;
const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const IFLA_IFNAME = 3;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;

function attribute(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = new Uint8Array((4 + bytes + 3) & ~3);
  const view = new DataView(whole.buffer);
  view.setUint16(0, 4 + bytes, LITTLE_ENDIAN);
  view.setUint16(2, type, LITTLE_ENDIAN);
  let at = 4;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const text = (value: string) => new TextEncoder().encode(`${value}\0`);

/** Makes a device (`create`) or changes one. Throws with the kernel's errno. */
export async function vxlanLink(name: string, create: boolean, attributes: VxlanAttributes): Promise<void> {
  const data = attributes.map(([type, value]) => attribute(type, value));
  const info = attribute(
    IFLA_LINKINFO,
    attribute(IFLA_INFO_KIND, text('vxlan')),
    attribute(IFLA_INFO_DATA, ...data),
  );
  const body = [new Uint8Array(16), attribute(IFLA_IFNAME, text(name)), info];
  const message = new Uint8Array(16 + body.reduce((sum, part) => sum + part.length, 0));
  const view = new DataView(message.buffer);
  view.setUint32(0, message.length, LITTLE_ENDIAN);
  view.setUint16(4, RTM_NEWLINK, LITTLE_ENDIAN);
  const flags = NLM_F_REQUEST | NLM_F_ACK | (create ? NLM_F_CREATE | NLM_F_EXCL : 0);
  view.setUint16(6, flags, LITTLE_ENDIAN);
  let at = 16;
  for (const part of body) {
    message.set(part, at);
    at += part.length;
  }
  const fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  try {
    const address = new Uint8Array(12);
    new DataView(address.buffer).setUint16(0, AF_NETLINK, LITTLE_ENDIAN);
    bind(fd, address);
    sendTo(fd, message, address);
    const answer = new Uint8Array(4096);
    for (;;) {
      const length = receive(fd, answer);
      if (length < 0) {
        await new Promise((done) => setTimeout(done, 1));
        continue;
      }
      const reply = new DataView(answer.buffer);
      if (reply.getUint16(4, LITTLE_ENDIAN) !== NLMSG_ERROR) continue;
      const error = reply.getInt32(16, LITTLE_ENDIAN);
      if (error !== 0) throw new Error(`link ${name}: the kernel answers with errno ${-error}`);
      return;
    }
  } finally {
    close(fd);
  }
}
