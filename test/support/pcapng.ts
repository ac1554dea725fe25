/** pcapng, read naively: what a capture says, block by block, with every length checked. */
import assert from 'node:assert/strict';

export interface ReadPacket {
  interface: number;
  timestamp: bigint;
  data: Uint8Array;
  original: number;
  comment: string | undefined;
}

export interface ReadInterface {
  name: string;
  description: string;
  filter: string | undefined;
  snaplen: number;
}

export interface ReadStatistics {
  interface: number;
  received: bigint;
  dropped: bigint;
  systemDropped: bigint;
  comment: string | undefined;
}

export interface Capture {
  application: string;
  interfaces: ReadInterface[];
  packets: ReadPacket[];
  statistics: ReadStatistics[];
}

export function readCapture(file: Uint8Array): Capture {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const capture: Capture = { application: '', interfaces: [], packets: [], statistics: [] };
  let at = 0;
  for (let first = true; at < file.length; first = false) {
    const type = view.getUint32(at, true);
    const bytes = view.getUint32(at + 4, true);
    assert.equal(bytes % 4, 0);
    assert.equal(view.getUint32(at + bytes - 4, true), bytes, 'the length is behind the block, too');
    assert.equal(type === 0x0a0d0d0a, first, 'one section, at the beginning');
    const end = at + bytes - 4;
    const body = at + 8;
    if (type === 0x0a0d0d0a) {
      assert.equal(view.getUint32(body, true), 0x1a2b3c4d);
      capture.application = text(options(file, view, body + 16, end), 4) ?? '';
    } else if (type === 1) {
      assert.equal(view.getUint16(body, true), 1, 'Ethernet');
      const read = options(file, view, body + 8, end);
      assert.deepEqual(read.get(9), new Uint8Array([9]), 'nanoseconds');
      const filter = text(read, 11);
      assert.ok(filter === undefined || filter[0] === '\0');
      capture.interfaces.push({
        name: text(read, 2)!,
        description: text(read, 3)!,
        filter: filter?.slice(1),
        snaplen: view.getUint32(body + 4, true),
      });
    } else if (type === 6) {
      const kept = view.getUint32(body + 12, true);
      const id = view.getUint32(body, true);
      assert.ok(id < capture.interfaces.length, 'an interface stands before its packets');
      const data = body + 20;
      const padded = (kept + 3) & ~3;
      assert.ok(file.subarray(data + kept, data + padded).every((byte) => byte === 0));
      capture.packets.push({
        interface: id,
        timestamp: (BigInt(view.getUint32(body + 4, true)) << 32n) | BigInt(view.getUint32(body + 8, true)),
        data: file.slice(data, data + kept),
        original: view.getUint32(body + 16, true),
        comment: text(options(file, view, data + padded, end), 1),
      });
    } else if (type === 5) {
      const read = options(file, view, body + 12, end);
      const count = (code: number) => new DataView(read.get(code)!.buffer).getBigUint64(0, true);
      capture.statistics.push({
        interface: view.getUint32(body, true),
        received: count(4),
        dropped: count(5),
        systemDropped: count(7),
        comment: text(read, 1),
      });
    } else assert.fail(`block ${type}`);
    at += bytes;
  }
  assert.equal(at, file.length);
  return capture;
}

function options(file: Uint8Array, view: DataView, from: number, end: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = from; at < end; ) {
    const [code, bytes] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (code === 0) {
      assert.equal(at + 4, end, 'nothing behind the last option');
      break;
    }
    found.set(code, file.slice(at + 4, at + 4 + bytes));
    at += 4 + ((bytes + 3) & ~3);
    assert.ok(at < end, 'options end with the one that says so');
  }
  return found;
}

function text(read: Map<number, Uint8Array>, code: number): string | undefined {
  const value = read.get(code);
  return value && new TextDecoder().decode(value);
}
