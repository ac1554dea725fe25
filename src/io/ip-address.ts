/** IP addresses as people write them. */
import ipaddr from 'ipaddr.js';

/** Family, and the one text that stands for the address; undefined: it is none. */
export function parseIp(text: unknown): { family: 'inet' | 'inet6'; text: string } | undefined {
  if (typeof text !== 'string') return undefined;
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return { family: 'inet', text };
  if (!ipaddr.IPv6.isValid(text)) return undefined;
  return { family: 'inet6', text: ipaddr.IPv6.parse(text).toRFC5952String() };
}
