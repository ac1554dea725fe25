/**
 * Runs in a namespace of its own and flushes FDBs of the kernel's devices by what iproute2 has learned to ask for
 * only lately: a line of JSON in ({ ifindex, filter }), a line out (0, or a negative error number).
 */
import { createInterface } from 'node:readline';
import { parseAddress } from '../../src/dataplane/fdb-text.ts';
import { NLM_F_ACK, NLM_F_REQUEST, writeMessage } from '../../src/netlink/message.ts';
import { NetlinkSocket } from '../../src/netlink/socket.ts';
import type { FdbFlush } from '../../src/types.ts';

/** linux/rtnetlink.h, linux/neighbour.h */
const RTM_DELNEIGH = 29;
const NLM_F_BULK = 0x200;
const AF_BRIDGE = 7;
const NTF_SELF = 0x02;
const NDA = { dst: 1, port: 6, vni: 7, src_vni: 11, nhid: 13, state_mask: 16, flags_mask: 17 };
const STATES = {
  permanent: [0x80, 0x80, 0, 0x80],
  static: [0x40, 0xc0, 0, 0x40],
  dynamic: [0, 0xc0, 0x40, 0x40],
} as const;
const FLAGS = { extern_learn: 0x10, router: 0x80, sticky: 0x40, offloaded: 0x20 };

function u32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

function flushMessage(ifindex: number, filter: FdbFlush): Uint8Array {
  let state = 0;
  let stateMask = 0;
  for (const word of ['permanent', 'static', 'dynamic'] as const) {
    if (filter[word] === undefined) continue;
    const [on, onMask, off, offMask] = STATES[word];
    state |= filter[word] ? on : off;
    stateMask |= filter[word] ? onMask : offMask;
  }
  let flags = NTF_SELF;
  let flagsMask = 0;
  for (const word of ['extern_learn', 'router', 'sticky', 'offloaded'] as const) {
    if (filter[word] === undefined) continue;
    flagsMask |= FLAGS[word];
    if (filter[word]) flags |= FLAGS[word];
  }
  const body = new Uint8Array(12);
  const view = new DataView(body.buffer);
  view.setUint8(0, AF_BRIDGE);
  view.setInt32(4, ifindex, true);
  view.setUint16(8, state, true);
  view.setUint8(10, flags);
  const attributes: [number, Uint8Array][] = [];
  if (stateMask !== 0) attributes.push([NDA.state_mask, new Uint8Array([stateMask, 0])]);
  if (flagsMask !== 0) attributes.push([NDA.flags_mask, new Uint8Array([flagsMask])]);
  for (const word of ['vni', 'src_vni', 'nhid'] as const) {
    if (filter[word] !== undefined) attributes.push([NDA[word], u32(filter[word])]);
  }
  if (filter.port !== undefined)
    attributes.push([NDA.port, new Uint8Array([filter.port >> 8, filter.port & 0xff])]);
  if (filter.dst !== undefined) {
    const { bytes } = parseAddress(filter.dst)!;
    attributes.push([NDA.dst, filter.dst.includes(':') ? bytes : bytes.slice(0, 4)]);
  }
  return writeMessage(RTM_DELNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_BULK, 0, body, attributes);
}

const socket = new NetlinkSocket();
for await (const line of createInterface({ input: process.stdin })) {
  const { ifindex, filter } = JSON.parse(line) as { ifindex: number; filter: FdbFlush };
  const message = flushMessage(ifindex, filter);
  socket.exchange(message, new DataView(message.buffer));
  process.stdout.write(`${socket.answer.getInt32(16, true)}\n`);
}
socket.close();
