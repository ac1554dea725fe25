/**
 * Makes the kernel's vxlan device by rtnetlink, with options that the installed iproute2 may be too old to know
 * (`localbypass`, `reserved_bits`, the label policy). Runs inside the namespace (see traffic-agent.ts). Attribute
 * numbers are those that a kernel dumps; see linux/if_link.h.
 */
import { ip, join, mac, u16, u32 } from './traffic-frames.ts';
import {
  AF_NETLINK,
  close,
  interfaceIndex,
  LITTLE_ENDIAN,
  receive,
  SOCK_RAW,
  sendTo,
  socket,
} from './traffic-libc.ts';

const NETLINK_ROUTE = 0;
const RTM_NEWLINK = 16;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_CREATE = 0x400;
const NLM_F_EXCL = 0x200;
const IFLA = { address: 1, ifname: 3, mtu: 4, linkinfo: 18 } as const;
const INFO = { kind: 1, data: 2 } as const;
const INHERIT_TOS = 1;

const native = (bytes: number, value: number) => {
  const view = new DataView(new ArrayBuffer(bytes));
  if (bytes === 4) view.setUint32(0, value, LITTLE_ENDIAN);
  else if (bytes === 2) view.setUint16(0, value, LITTLE_ENDIAN);
  else view.setUint8(0, value);
  return new Uint8Array(view.buffer);
};

/** Type and length before the value, padded to four bytes. */
function attribute(type: number, value: Uint8Array | readonly number[]): Uint8Array {
  const pad = new Uint8Array(-value.length & 3);
  return join(native(2, 4 + value.length), native(2, type), value, pad);
}

type Maker = (word: string) => Uint8Array;
const byte = (type: number, fixed?: number): Maker => {
  return (word) => attribute(type, native(1, fixed ?? Number(word)));
};
const word32 =
  (type: number): Maker =>
  (word) =>
    attribute(type, native(4, Number(word)));
const address = (type4: number, type6: number): Maker => {
  return (word) => attribute(word.includes(':') ? type6 : type4, ip(word));
};

/** Words with a value behind them. */
const VALUED: Readonly<Record<string, Maker>> = {
  id: word32(1),
  remote: address(2, 16),
  group: address(2, 16),
  dev: (word) => attribute(3, native(4, interfaceIndex(word))),
  local: address(4, 17),
  ttl: (word) => (word === 'inherit' ? attribute(28, []) : attribute(5, native(1, Number(word)))),
  tos: (word) => attribute(6, native(1, word === 'inherit' ? INHERIT_TOS : Number(word))),
  ageing: word32(8),
  maxaddress: word32(9),
  dstport: (word) => attribute(15, u16(Number(word))),
  flowlabel: (word) => (word === 'inherit' ? attribute(32, native(4, 1)) : attribute(26, u32(Number(word)))),
  reserved_bits: (word) => {
    const mask = BigInt(word);
    return attribute(33, [...u32(Number(mask >> 32n)), ...u32(Number(mask & 0xffffffffn))]);
  },
};

/** Words that stand alone. */
const FLAGS: Readonly<Record<string, Maker>> = {
  learning: byte(7, 1),
  nolearning: byte(7, 0),
  gbp: () => attribute(23, []),
  remcsumrx: byte(22, 1),
  localbypass: byte(31, 1),
  nolocalbypass: byte(31, 0),
};

/**
 * `link add NAME [address MAC] [mtu N] type vxlan ...` with the words above.
 * @throws Error with the errno of a refusal
 */
export function addVxlan(words: readonly string[]): void {
  const at = words.indexOf('type');
  const [name = '', ...of] = words.slice(0, at);
  const link = [attribute(IFLA.ifname, [...Buffer.from(name), 0])];
  for (let i = 0; i < of.length; i += 2)
    if (of[i] === 'address') link.push(attribute(IFLA.address, mac(of[i + 1]!)));
    else if (of[i] === 'mtu') link.push(attribute(IFLA.mtu, native(4, Number(of[i + 1]))));
    else throw new Error(`"${of[i]}" is not known here`);
  const data: Uint8Array[] = [];
  const rest = words.slice(at + 2);
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i]!;
    const flag = FLAGS[word];
    const valued = VALUED[word];
    if (flag) data.push(flag(''));
    else if (valued) data.push(valued(rest[++i]!));
    else throw new Error(`"${word}" is not known here`);
  }
  const kind = attribute(INFO.kind, Buffer.from('vxlan'));
  link.push(attribute(IFLA.linkinfo, join(kind, attribute(INFO.data, join(...data)))));
  request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, join(new Uint8Array(16), ...link));
}

function request(type: number, flags: number, body: Uint8Array): void {
  const header = join(
    native(4, 16 + body.length),
    native(2, type),
    native(2, NLM_F_REQUEST | NLM_F_ACK | flags),
    native(4, 1),
    native(4, 0),
  );
  const fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  try {
    sendTo(fd, join(header, body), null);
    const answer = new Uint8Array(4096);
    // The answer of a request is there when it returns.
    if (receive(fd, answer) < 20) throw new Error('rtnetlink did not answer');
    const error = new DataView(answer.buffer).getInt32(16, LITTLE_ENDIAN);
    if (error !== 0) throw new Error(`RTNETLINK answers: errno ${-error}`);
  } finally {
    close(fd);
  }
}
