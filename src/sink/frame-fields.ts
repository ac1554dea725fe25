/** What a filter asks of a frame: read once, nothing beyond its end. */
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_QINQ,
  ETHERTYPE_VLAN,
  IP_PROTOCOL_SCTP,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  IPV6_HEADER_BYTES,
  VLAN_TAG_BYTES,
} from '../../assembly/layout.ts';

const NONE = -1;

/** One object for all frames: nothing is allocated for each. */
export class FrameFields {
  bytes: Uint8Array = new Uint8Array();
  vni = 0;
  /** Behind VLAN tags; -1 = cut before it. */
  ethertype = NONE;
  /** IP protocol, or IPv6 next header: extension headers are not followed. -1 = none. */
  protocol = NONE;
  /** Where the addresses are, and their length: 0 = none. */
  sourceAt = 0;
  destinationAt = 0;
  addressBytes = 0;
  /** Of TCP, UDP and SCTP, not of later fragments; -1 = none. */
  sourcePort = NONE;
  destinationPort = NONE;

  read(bytes: Uint8Array, at: number, length: number, vni: number): void {
    const end = at + length;
    const word = (where: number) => (bytes[where]! << 8) | bytes[where + 1]!;
    this.bytes = bytes;
    this.vni = vni;
    this.ethertype = this.protocol = this.sourcePort = this.destinationPort = NONE;
    this.addressBytes = 0;
    let ip = at + ETHERNET_HEADER_BYTES;
    if (ip > end) return;
    this.ethertype = word(ip - 2);
    while (this.ethertype === ETHERTYPE_VLAN || this.ethertype === ETHERTYPE_QINQ) {
      ip += VLAN_TAG_BYTES;
      if (ip > end) {
        this.ethertype = NONE;
        return;
      }
      this.ethertype = word(ip - 2);
    }
    let transport = end;
    if (this.ethertype === ETHERTYPE_IPV4 && ip + 20 <= end) {
      this.protocol = bytes[ip + 9]!;
      this.sourceAt = ip + 12;
      this.addressBytes = 4;
      if ((word(ip + 6) & 0x1fff) === 0) transport = ip + (bytes[ip]! & 15) * 4;
    } else if (this.ethertype === ETHERTYPE_IPV6 && ip + IPV6_HEADER_BYTES <= end) {
      this.protocol = bytes[ip + 6]!;
      this.sourceAt = ip + 8;
      this.addressBytes = 16;
      transport = ip + IPV6_HEADER_BYTES;
    }
    this.destinationAt = this.sourceAt + this.addressBytes;
    const hasPorts = [IP_PROTOCOL_TCP, IP_PROTOCOL_UDP, IP_PROTOCOL_SCTP].includes(this.protocol);
    if (!hasPorts || transport + 4 > end) return;
    this.sourcePort = word(transport);
    this.destinationPort = word(transport + 2);
  }
}
