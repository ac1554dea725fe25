/**
 * An MDB with four devices on an engine of its own: what the MDB's tests drive. `mdb` is the host's side;
 * `send` is what packets see of it.
 */
import {
  AF_INET,
  AF_INET6,
  DEVICE_FAMILY_OFFSET,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAG_MDB,
  DEVICE_FLAGS_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_VNI_OFFSET,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  REMOTE_NEXT_OFFSET,
  REMOTE_PORT_OFFSET,
  REMOTE_VNI_OFFSET,
  REMOTES_BASE,
} from '../../assembly/layout.ts';
import { writeDomain } from '../../src/dataplane/domains.ts';
import { deviceRecord } from '../../src/dataplane/fdb-record.ts';
import { formatAddress, parseAddress } from '../../src/dataplane/fdb-text.ts';
import { Mdb } from '../../src/dataplane/mdb.ts';
import type { MdbEntry, MdbRequest } from '../../src/types.ts';
import type { TestEngine } from './engine.ts';

/** vx0 and vx6 have one VNI; vxe is external, with VNIs 20 and 21 in domains 300 and 301. */
export const MDB_DEVICES = [
  { name: 'vx0', vni: 10, port: 4789, family: AF_INET, flags: 0 },
  { name: 'vx6', vni: 16, port: 4791, family: AF_INET6, flags: 0 },
  { name: 'vxe', vni: 0, port: 4790, family: AF_INET, flags: DEVICE_FLAG_EXTERNAL },
  { name: 'vy0', vni: 11, port: 4789, family: AF_INET, flags: 0 },
];

export const NOTHING = 'nothing';
export const DROP = 'drop';

/** An Ethernet frame with an IP header of the addresses' family and `payload` bytes. */
export function ipFrame(source: string, destination: string, mac = 'group', payload = 8): Uint8Array {
  const [from, to] = [parseAddress(source)!, parseAddress(destination)!];
  const isIpv4 = to.family === AF_INET;
  const frame = new Uint8Array(14 + (isIpv4 ? 20 : 40) + payload);
  const macs = { group: [1, 0, 0x5e, 1, 1, 1], unicast: [2, 0, 0, 0, 0, 9], broadcast: Array(6).fill(0xff) };
  frame.set(macs[mac as keyof typeof macs]);
  frame.set([2, 0, 0, 0, 0, 1, ...(isIpv4 ? [8, 0] : [0x86, 0xdd])], 6);
  frame[14] = isIpv4 ? 0x45 : 0x60;
  frame.set(from.bytes.subarray(0, isIpv4 ? 4 : 16), isIpv4 ? 26 : 22);
  frame.set(to.bytes.subarray(0, isIpv4 ? 4 : 16), isIpv4 ? 30 : 38);
  return frame;
}

export class MdbFixture {
  readonly engine: TestEngine;
  readonly mdb: Mdb;
  readonly events: { deleted: boolean; entry: MdbEntry }[] = [];
  /** Interfaces, by index, that have been deleted. */
  readonly gone = new Set<number>();
  /** VNIs of vxe, by number. */
  readonly domains = new Map([
    [0, 3],
    [20, 300],
    [21, 301],
  ]);

  constructor(engine: TestEngine) {
    this.engine = engine;
    const { view } = engine;
    for (const [at, { vni, port, family, flags }] of MDB_DEVICES.entries()) {
      const record = deviceRecord(at + 1);
      writeDomain(view, at + 1, { device: at + 1, vni });
      view.setUint32(record + DEVICE_VNI_OFFSET, vni, true);
      view.setUint32(record + DEVICE_FLAGS_OFFSET, flags, true);
      view.setUint8(record + DEVICE_FAMILY_OFFSET, family);
      view.setUint16(record + DEVICE_PORT_OFFSET, port, true);
    }
    this.mdb = new Mdb({
      view,
      exports: engine.exports,
      deviceIndex: (name) => MDB_DEVICES.findIndex((device) => device.name === name) + 1,
      deviceName: (index) => MDB_DEVICES[index - 1]!.name,
      deviceIfindex: (index) => 100 + index,
      domainOf: (index, vni) => {
        if (index === 3) return this.domains.get(vni) ?? 0;
        return MDB_DEVICES[index - 1]!.vni === vni ? index : 0;
      },
      ifindex: (name) => (/^veth[0-8]$/.test(name) ? Number(name[4]) + 1 : 0),
      ifname: (index) => (this.gone.has(index) ? '' : `veth${index - 1}`),
      now: () => 1000,
      emit: ({ deleted, entry }) => this.events.push({ deleted, entry }),
    });
  }

  reset(): void {
    for (const { name } of MDB_DEVICES) this.mdb.flush({ dev: name });
    this.events.length = 0;
  }

  add(grp: string, dst: string, more: Partial<MdbRequest> = {}): void {
    this.mdb.apply({ op: 'add', dev: 'vx0', grp, dst, ...more });
  }

  /** "ADDRESS PORT VNI IFINDEX" of each remote, in the order of the list; or "nothing" or "drop". */
  send(domain: number, frame: Uint8Array, length = frame.length, max = 1024): string[] | string {
    const { bytes, scratch, exports } = this.engine;
    bytes.set(frame, scratch);
    const into = scratch + 65536;
    const count = exports.mdbCollect(domain, scratch, length, into, max);
    if (count < 0) return count === -1 ? NOTHING : DROP;
    return Array.from({ length: count }, (_, position) => this.remote(into + position * REMOTE_BYTES));
  }

  remote(at: number): string {
    const { view, bytes } = this.engine;
    const family = view.getUint8(at + REMOTE_FAMILY_OFFSET);
    const address = bytes.slice(at + REMOTE_ADDRESS_OFFSET, at + REMOTE_ADDRESS_OFFSET + 16);
    return [
      formatAddress({ family, bytes: address }),
      view.getUint16(at + REMOTE_PORT_OFFSET, true),
      view.getUint32(at + REMOTE_VNI_OFFSET, true),
      view.getUint32(at + REMOTE_IFINDEX_OFFSET, true),
    ].join(' ');
  }

  hasFlag(device: number): boolean {
    return (
      (this.engine.view.getUint32(deviceRecord(device) + DEVICE_FLAGS_OFFSET, true) & DEVICE_FLAG_MDB) !== 0
    );
  }

  /** The link behind a remote of the FDB's pool. */
  linkAfter(link: number): number {
    return this.engine.view.getUint16(REMOTES_BASE + (link - 1) * REMOTE_BYTES + REMOTE_NEXT_OFFSET, true);
  }

  /** Entries of the FDB, which has the remotes. */
  fdbCount(): number {
    return this.engine.view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true);
  }
}
