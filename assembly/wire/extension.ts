/* IPv6 extension headers (RFC 8200 section 4, RFC 4302 section 2.2): what stands behind them all. */
import { IPV6_HEADER_BYTES } from '../layout';
import * as ipv6 from './ipv6';

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const NO_NEXT_HEADER = 59;
const DESTINATION_OPTIONS = 60;
const UNIT_BYTES = 8;
const AUTHENTICATION_UNIT_BYTES = 4;
/** Upper 13 bits of the word at 2, as a little-endian load finds them. */
const FRAGMENT_OFFSET_MASK = 0xf8ff;

/**
 * @param bytes of the packet that are there, the IPv6 header's included, at least those
 * @returns the upper layer's protocol | its offset from `ip` << 8; -1 = there is none to be seen: the packet is a
 *   later fragment, has no next header, or ends within the headers
 */
export function upperLayer(ip: usize, bytes: i32): i32 {
  let protocol = ipv6.nextHeader(ip);
  let at = IPV6_HEADER_BYTES;
  while (isExtension(protocol)) {
    if (protocol === NO_NEXT_HEADER || at + UNIT_BYTES > bytes) return -1;
    const header = ip + at;
    let units: i32 = load<u8>(header, 1);
    if (protocol === FRAGMENT) {
      if ((load<u16>(header, 2) & FRAGMENT_OFFSET_MASK) !== 0) return -1;
      units = 0;
    }
    at += protocol === AUTHENTICATION ? (units + 2) * AUTHENTICATION_UNIT_BYTES : (units + 1) * UNIT_BYTES;
    protocol = load<u8>(header);
  }
  return (protocol as i32) | (at << 8);
}

function isExtension(protocol: u32): bool {
  return (
    protocol === HOP_BY_HOP ||
    protocol === ROUTING ||
    protocol === FRAGMENT ||
    protocol === AUTHENTICATION ||
    protocol === NO_NEXT_HEADER ||
    protocol === DESTINATION_OPTIONS
  );
}
