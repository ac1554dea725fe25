/**
 * The filter's language: a subset of pcap-filter(7), on the inner packet, and "vni" besides.
 *
 *   expression  part { ("and" | "&&" | "or" | "||") part }       equal precedence, from left to right
 *   part        ("not" | "!") part | "(" expression ")" | primitive
 *   primitive   "vni" LIST
 *             | ["src" | "dst"] ["host"] ADDRESS | ["src" | "dst"] "net" PREFIX
 *             | ["tcp" | "udp"] ["src" | "dst"] "port" N | ["tcp" | "udp"] ["src" | "dst"] "portrange" N-N
 *             | "ip" | "ip6" | "arp" | "tcp" | "udp" | "icmp" | "icmp6"
 *
 * A filter becomes one predicate of closures, made once.
 */
import ipaddr from 'ipaddr.js';
import {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  IP_PROTOCOL_ICMP,
  IP_PROTOCOL_ICMPV6,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  VXLAN_VNI_MAX,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { FrameFields } from './frame-fields.ts';

/** Does the frame at these bytes match? */
export type Match = (bytes: Uint8Array, at: number, length: number, vni: number) => boolean;

type Test = (fields: FrameFields) => boolean;
type Range = readonly [first: number, last: number];

interface Token {
  text: string;
  /** Where it stands, from 0. */
  at: number;
}

const PORT_MAX = 65535;
const PROTOCOLS: Readonly<Record<string, Test>> = {
  ip: ({ ethertype }) => ethertype === ETHERTYPE_IPV4,
  ip6: ({ ethertype }) => ethertype === ETHERTYPE_IPV6,
  arp: ({ ethertype }) => ethertype === ETHERTYPE_ARP,
  tcp: ({ protocol }) => protocol === IP_PROTOCOL_TCP,
  udp: ({ protocol }) => protocol === IP_PROTOCOL_UDP,
  icmp: ({ ethertype, protocol }) => ethertype === ETHERTYPE_IPV4 && protocol === IP_PROTOCOL_ICMP,
  icmp6: ({ ethertype, protocol }) => ethertype === ETHERTYPE_IPV6 && protocol === IP_PROTOCOL_ICMPV6,
};

/** @throws VtepError USAGE with the position, counted from 1 */
export function compileFilter(text: string): Match {
  const test = new Parser(text).parse();
  const fields = new FrameFields();
  return (bytes, at, length, vni) => {
    fields.read(bytes, at, length, vni);
    return test(fields);
  };
}

class Parser {
  readonly #text: string;
  readonly #tokens: Token[];
  #next = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = Array.from(text.matchAll(/\(|\)|&&|\|\||!|[^\s()&|!]+|[&|]/g), ({ 0: word, index }) => ({
      text: word,
      at: index,
    }));
  }

  parse(): Test {
    const test = this.#expression();
    const rest = this.#peek();
    if (rest !== undefined) throw this.#wrong(rest, '"and" or "or" is expected');
    return test;
  }

  #expression(): Test {
    let test = this.#part();
    for (;;) {
      if (this.#take('and', '&&')) test = both(test, this.#part());
      else if (this.#take('or', '||')) test = either(test, this.#part());
      else return test;
    }
  }

  #part(): Test {
    if (this.#take('not', '!')) {
      const test = this.#part();
      return (fields) => !test(fields);
    }
    if (!this.#take('(')) return this.#primitive();
    const test = this.#expression();
    if (!this.#take(')')) throw this.#wrong(this.#peek(), '")" is expected');
    return test;
  }

  #primitive(): Test {
    const first = this.#peek();
    if (first === undefined) throw this.#wrong(first, 'a word such as "host", "port" or "vni" is expected');
    if (this.#take('vni')) return this.#vnis();
    const protocol = PROTOCOLS[first.text];
    if (protocol === undefined) return this.#directed();
    this.#next++;
    // "tcp port 80", "tcp dst port 80"
    const carriesPorts = first.text === 'tcp' || first.text === 'udp';
    const [one, two] = [this.#peek()?.text, this.#tokens[this.#next + 1]?.text];
    const isPort = (word: string | undefined) => word === 'port' || word === 'portrange';
    if (!isPort(one) && !((one === 'src' || one === 'dst') && isPort(two))) return protocol;
    if (!carriesPorts) throw this.#wrong(this.#peek(), `"${first.text}" has no ports`);
    return both(protocol, this.#directed());
  }

  /** What may have "src" or "dst" in front. */
  #directed(): Test {
    const direction = this.#take('src') ? 'src' : this.#take('dst') ? 'dst' : undefined;
    if (this.#take('port')) return portTest(direction, this.#range(false));
    if (this.#take('portrange')) return portTest(direction, this.#range(true));
    if (this.#take('net')) return addressTest(direction, ...this.#prefix(true));
    this.#take('host');
    return addressTest(direction, ...this.#prefix(false));
  }

  #prefix(asNet: boolean): [address: Uint8Array, bits: number] {
    const what = asNet ? 'a prefix such as 10.0.0.0/8' : 'an address';
    const token = this.#word(what);
    const [address = '', length, more] = token.text.split('/');
    const isIpv4 = ipaddr.IPv4.isValidFourPartDecimal(address);
    if (more !== undefined || !(isIpv4 || (ipaddr.IPv6.isValid(address) && !address.includes('%'))))
      throw this.#wrong(token, `${what} is expected`);
    const bytes = Uint8Array.from(ipaddr.parse(address).toByteArray());
    const whole = bytes.length * 8;
    const bits = length === undefined ? whole : decimal(length);
    if (bits === undefined || bits > whole) throw this.#wrong(token, `a length of 0 to ${whole} is expected`);
    if (bytes.some((byte, index) => (byte & ~maskAt(index, bits) & 255) !== 0))
      throw this.#wrong(token, `bits are set behind the first ${bits}`);
    return [bytes, bits];
  }

  #range(wide: boolean): Range {
    const token = this.#word(wide ? 'two ports such as 80-90' : 'a port');
    const range = rangeOf(token.text, PORT_MAX);
    if (range === undefined || (!wide && token.text.includes('-')))
      throw this.#wrong(token, wide ? 'two ports such as 80-90 are expected' : 'a port is expected');
    return range;
  }

  #vnis(): Test {
    const token = this.#word('a VNI');
    const ranges = vniRanges(token.text);
    if (ranges === undefined) throw this.#wrong(token, 'VNIs such as 5,7-9 are expected');
    return ({ vni }) => ranges.some(([first, last]) => vni >= first && vni <= last);
  }

  #word(what: string): Token {
    const token = this.#tokens[this.#next++];
    if (token === undefined) throw this.#wrong(token, `${what} is expected`);
    return token;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next];
  }

  #take(...words: string[]): boolean {
    if (!words.includes(this.#peek()?.text ?? '')) return false;
    this.#next++;
    return true;
  }

  #wrong(token: Token | undefined, what: string): VtepError {
    const where = token === undefined ? 'at its end' : `at ${token.at + 1}, "${token.text}"`;
    return new VtepError('USAGE', `filter "${this.#text}": ${where}: ${what}`);
  }
}

/** "5,7-9"; undefined when that is none. */
export function vniRanges(text: string): Range[] | undefined {
  const ranges = text.split(',').map((part) => rangeOf(part, VXLAN_VNI_MAX));
  return ranges.every((range) => range !== undefined) ? ranges : undefined;
}

function rangeOf(text: string, max: number): Range | undefined {
  const [first, last] = text.split('-', 2).map(decimal);
  if (first === undefined || text.split('-').length > 2) return undefined;
  const end = text.includes('-') ? last : first;
  return end === undefined || end > max || first > end ? undefined : [first, end];
}

function decimal(text: string): number | undefined {
  return /^\d{1,8}$/.test(text) ? Number(text) : undefined;
}

function both(left: Test, right: Test): Test {
  return (fields) => left(fields) && right(fields);
}

function either(left: Test, right: Test): Test {
  return (fields) => left(fields) || right(fields);
}

function maskAt(index: number, bits: number): number {
  const here = Math.min(8, Math.max(0, bits - index * 8));
  return (0xff00 >> here) & 255;
}

function addressTest(direction: 'src' | 'dst' | undefined, address: Uint8Array, bits: number): Test {
  const masks = address.map((_, index) => maskAt(index, bits));
  const whole = Math.ceil(bits / 8);
  const isAt = (bytes: Uint8Array, at: number) => {
    for (let index = 0; index < whole; ++index)
      if ((bytes[at + index]! & masks[index]!) !== address[index]) return false;
    return true;
  };
  return ({ addressBytes, bytes, destinationAt, sourceAt }) =>
    addressBytes === address.length &&
    ((direction !== 'dst' && isAt(bytes, sourceAt)) || (direction !== 'src' && isAt(bytes, destinationAt)));
}

function portTest(direction: 'src' | 'dst' | undefined, [first, last]: Range): Test {
  const isIn = (port: number) => port >= first && port <= last;
  return ({ destinationPort, sourcePort }) =>
    (direction !== 'dst' && isIn(sourcePort)) || (direction !== 'src' && isIn(destinationPort));
}
