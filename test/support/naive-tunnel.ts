/**
 * The slow way to a super-frame that leaves whole: virtio header, Ethernet, IP, UDP and VXLAN headers built one by one
 * from nothing, in front of the inner frame. Layout as of Linux 6.17's virtio_net_hdr_v1_hash_tunnel.
 */
import { concat, ethernet, ipv4, ipv6, set16 } from './frames.ts';
import { udp } from './messages.ts';
import { parseFrame } from './parse.ts';
import type { VirtioHeader } from './virtio.ts';

export interface OuterFields {
  ipv6: boolean;
  mac: string;
  source: string;
  destination: string;
  sourcePort: number;
  port: number;
  tos: number;
  ttl: number;
  df: boolean;
  id: number;
  label: number;
  checksum: boolean;
  vni: number;
}

/** As it is written to the underlay TAP; forwarding takes the one from `ttl` that is added here. */
export function wholeNaively(frame: Uint8Array, virtio: VirtioHeader, outer: OuterFields): Uint8Array {
  const vxlan = Uint8Array.of(8, 0, 0, 0, outer.vni >> 16, (outer.vni >> 8) & 255, outer.vni & 255, 0);
  const message = udp(
    {
      sourcePort: outer.sourcePort,
      destinationPort: outer.port,
      checksum: outer.checksum ? 'partial' : 0,
    },
    concat(vxlan, frame),
  );
  const addresses = { source: outer.source, destination: outer.destination };
  const packet = outer.ipv6
    ? ipv6(
        { ...addresses, trafficClass: outer.tos, flowLabel: outer.label, hopLimit: outer.ttl + 1 },
        message,
      )
    : ipv4(
        {
          ...addresses,
          tos: outer.tos,
          ttl: outer.ttl + 1,
          dontFragment: outer.df,
          identification: outer.id,
        },
        message,
      );
  const outerL4 = 14 + (outer.ipv6 ? 40 : 20);
  const inner = outerL4 + 8 + 8;
  const header = new Uint8Array(24);
  header[0] = outer.checksum ? 9 : 1;
  header[1] = virtio.gsoType | (outer.ipv6 ? 0x40 : 0x20);
  const little = (at: number, value: number) => set16(header, at, ((value & 255) << 8) | (value >> 8));
  little(2, inner + virtio.headerBytes);
  little(4, virtio.gsoSize);
  little(6, inner + virtio.checksumStart);
  little(8, virtio.checksumField);
  little(20, outerL4);
  little(22, inner + parseFrame(frame).network);
  return concat(header, ethernet({ source: outer.mac, destination: outer.mac }, packet));
}
