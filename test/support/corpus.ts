/**
 * Frames of every kind that the hot path tells apart, each with the virtio header that a TAP gives it: the
 * start of every mutation, and what memory safety is shown with.
 */
import { arp, ethernet, ipv4, ipv6, type Message, type Packet, rawPacket, vlan } from './frames.ts';
import { icmp, icmpv6, neighbour, raw, sctp, tcp, tcpTimestamps, udp } from './messages.ts';
import { mulberry32, randomBytes } from './reference.ts';
import { NOTHING_ASKED, partialHeader, superHeader, type VirtioHeader } from './virtio.ts';

export interface Sample {
  frame: Uint8Array;
  virtio: VirtioHeader;
}

const prng = mulberry32(2014);
const payload = (bytes: number) => randomBytes(prng, bytes);
const options = tcpTimestamps(1, 2);

const packets: Packet[] = [
  ipv4({}, icmp({}, payload(56))),
  ipv4({ tos: 1, ttl: 1 }, udp({}, payload(18))),
  ipv4({ dontFragment: true, tos: 2 }, tcp({ options, flags: 'PA' }, payload(100))),
  ipv4({ options: new Uint8Array(12).fill(1), tos: 3 }, tcp({}, payload(33))),
  ipv4({ moreFragments: true }, raw(17, payload(64))),
  ipv4({ fragmentOffset: 64 }, raw(6, payload(64))),
  ipv4({}, sctp({ sourcePort: 1, destinationPort: 2 })),
  ipv4({}, tcp({ flags: 'S', options: payload(40) })),
  ipv6({}, icmpv6({}, payload(56))),
  ipv6({ trafficClass: 1, hopLimit: 0 }, udp({}, payload(512))),
  ipv6({ trafficClass: 0xff }, tcp({ options }, payload(1200))),
  ipv6({ extensions: [{ type: 0 }, { type: 60, bytes: payload(20) }] }, tcp({}, payload(50))),
  ipv6({ fragment: { offset: 8, more: true } }, raw(17, payload(40))),
  ipv6({ hopLimit: 255 }, neighbour({ type: 135, target: 'fd00::1', mac: '02:00:00:00:00:01' })),
  arp({ senderIp: '10.0.0.1', targetIp: '10.0.0.2' }),
  rawPacket(0x88b5, payload(46)),
  rawPacket(0x0800, payload(5)),
  rawPacket(0x86dd, payload(39)),
];

const plain: Sample[] = packets.flatMap((packet) =>
  [packet, vlan({ id: 5, priority: 3 }, packet), vlan({ id: 7, type: 0x88a8 }, vlan({ id: 8 }, packet))].map(
    (inner) => ({ frame: ethernet({}, inner), virtio: NOTHING_ASKED }),
  ),
);

const wrappings: ((message: Message) => Packet)[] = [
  (message) => ipv4({ dontFragment: true, identification: 0xfff0 }, message),
  (message) => ipv6({ flowLabel: 1 }, message),
  (message) => vlan({ id: 5 }, ipv4({ tos: 0xb9 }, message)),
  (message) => ipv4({ options: new Uint8Array(8).fill(1) }, message),
  (message) => ipv6({ extensions: [{ type: 60 }] }, message),
];

const offloaded: Sample[] = wrappings.flatMap((wrap) =>
  [300, 2000].flatMap((bytes) =>
    [
      tcp({ checksum: 'partial', options, flags: 'PA', sequence: 0xffffff00 }, payload(bytes)),
      udp({ checksum: 'partial' }, payload(bytes)),
    ].flatMap((message) => {
      const frame = ethernet({}, wrap(message));
      return [partialHeader(frame), superHeader(frame, 128), superHeader(frame, 1399)].map((virtio) => ({
        frame,
        virtio,
      }));
    }),
  ),
);

export const CORPUS: readonly Sample[] = [...plain, ...offloaded];
