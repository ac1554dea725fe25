/** Outer sources, as the walk keeps them: 16 bytes, IPv4 mapped (::ffff:a.b.c.d). */
import ipaddr from 'ipaddr.js';

export function sourceText(bytes: Uint8Array): string {
  const address = new ipaddr.IPv6([...bytes]);
  return (address.isIPv4MappedAddress() ? address.toIPv4Address() : address).toString();
}

export function sourceBytes(text: string): Uint8Array {
  // "fe80::1%eth0"
  const address = ipaddr.parse(text.replace(/%.*/, ''));
  const mapped = address.kind() === 'ipv4' ? (address as ipaddr.IPv4).toIPv4MappedAddress() : address;
  return Uint8Array.from(mapped.toByteArray());
}
