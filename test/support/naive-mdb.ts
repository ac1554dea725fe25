/**
 * The look-up of a frame in the MDB written down as plainly as it can be: from the lines that `mdb show`
 * lists and the bytes of the frame. What assembly/mdb.ts finds is compared with it.
 */
import { AF_INET, AF_INET6 } from '../../assembly/layout.ts';
import { formatAddress } from '../../src/dataplane/fdb-text.ts';
import type { MdbEntry } from '../../src/types.ts';
import { DROP, NOTHING } from './mdb-fixture.ts';

export interface NaiveDevice {
  /** As the device has it; 0 = external. */
  vni: number;
}

function addressAt(frame: Uint8Array, at: number, bytes: number): string {
  const whole = new Uint8Array(16);
  whole.set(frame.subarray(at, at + bytes));
  return formatAddress({ family: bytes === 4 ? AF_INET : AF_INET6, bytes: whole });
}

/** Source and destination of an IP header behind an untagged Ethernet header. */
function addresses(frame: Uint8Array): [source: string, destination: string] | undefined {
  const type = (frame[12]! << 8) | frame[13]!;
  if (type === 0x0800 && frame.length >= 34) return [addressAt(frame, 26, 4), addressAt(frame, 30, 4)];
  if (type === 0x86dd && frame.length >= 54) return [addressAt(frame, 22, 16), addressAt(frame, 38, 16)];
  return undefined;
}

function isLinkLocal(address: string): boolean {
  return (
    /^224\.0\.0\.\d+$/.test(address) || /^ff[0-9a-f]2:/.test(address) || /^fe[89ab][0-9a-f]:/.test(address)
  );
}

/**
 * @param lines newest remote first, of one device
 * @param vni the frame's
 * @returns "ADDRESS PORT VNI IFINDEX" of each remote in the order of the list, or "nothing" or "drop"
 */
export function sendNaively(
  lines: readonly MdbEntry[],
  device: NaiveDevice,
  vni: number,
  frame: Uint8Array,
): string[] | string {
  const mac = frame.subarray(0, 6);
  if (mac[0]! % 2 === 0 || mac.every((byte) => byte === 0xff)) return NOTHING;
  const found = addresses(frame);
  if (!found) return NOTHING;
  const [source, destination] = found;
  const any = destination.includes(':') ? '::' : '0.0.0.0';
  const tries: [grp: string, src: string | undefined][] = [
    [destination, source],
    [destination, undefined],
    ...(isLinkLocal(destination) ? [] : [[any, undefined] as [string, undefined]]),
  ];
  for (const [grp, src] of tries) {
    const remotes = lines.filter(
      (line) => line.grp === grp && line.src === src && (device.vni || (line.src_vni ?? 0)) === vni,
    );
    if (remotes.length === 0) continue;
    const included = (line: MdbEntry) => src !== undefined || grp === any || line.filter_mode === 'exclude';
    const sent = remotes.filter((line) => !line.blocked && included(line));
    return sent.length === 0
      ? DROP
      : sent.map((line) => {
          const ifindex = line.via === undefined ? 0 : Number(/\d+/.exec(line.via)![0]) + 1;
          return [line.dst, line.dst_port ?? 0, (line.vni ?? device.vni) || vni, ifindex].join(' ');
        });
  }
  return NOTHING;
}
