/** Hooks that say anything at all, against what a reference makes of it: both ways, through both doors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HOOK_DROP,
  HOOK_MIRROR,
  HOOK_PASS,
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_MIRROR_OFFSET,
  HOOK_RECORD_TARGET_OFFSET,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORDS_OFFSET,
  HOOK_REDIRECT,
  HOOK_ROOM_DECAP_BYTES,
  HOOK_ROOM_ENCAP_BYTES,
  HOOK_TARGET_TUNNEL,
  HOOK_UNDECIDED,
} from '../assembly/layout.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { createDataplane, type EmbeddedDataplane, type HookBatch, type SentDatagrams } from '../src/index.ts';
import { ethernet, ipv4 } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { type Fate, goOn, type Judgement, judge, noFate, type Way } from './support/naive-hooks.ts';

const PORT = 4789;
const SENDER = '192.0.2.9';
/** By number of the device; the third has gone. */
const REMOTES = ['', '192.0.2.1', '192.0.2.2'];
const VNIS = [0, 10, 20];
const UP = [1, 2];

function diceOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
type Dice = ReturnType<typeof diceOf>;

function pick<T>(dice: Dice, ...from: readonly T[]): T {
  return from[dice(from.length)]!;
}

function planeOf(): EmbeddedDataplane {
  const dataplane = createDataplane();
  const devices = ['red', 'blue', 'gone', 'packets'] as const;
  for (const [index, name] of devices.entries())
    dataplane.addDevice({
      ...{ name, vni: 10 * (index + 1), address: `02:00:00:00:01:0${index}`, port: PORT },
      ...{ remote: REMOTES[index + 1] ?? '192.0.2.3', gpe: name === 'packets', learning: false },
      ...(name === 'packets' && { port: 4790 }),
    });
  dataplane.deleteDevice('gone');
  return dataplane;
}

function frameOf(dice: Dice): Uint8Array {
  const bytes = new Uint8Array(pick(dice, 0, 18, 100, 1400)).map(() => dice(256));
  const addresses = { source: '02:00:00:00:02:01', destination: '02:00:00:00:02:02' };
  if (dice(4) === 0) return ethernet(addresses, { type: 0x88b5, bytes });
  return ethernet(addresses, ipv4({}, udp({ sourcePort: dice(65536) }, bytes)));
}

function targetOf(dice: Dice): number {
  if (dice(6) > 0) return pick(dice, 1, 2, 1 | HOOK_TARGET_TUNNEL, 2 | HOOK_TARGET_TUNNEL);
  return pick(dice, 0, 3, 4, 3 | HOOK_TARGET_TUNNEL, HOOK_TARGET_TUNNEL, 255, 256, 0x20001, 0xffffffff);
}

function judgementOf(dice: Dice, length: number): Judgement {
  const kept = pick(dice, HOOK_PASS, HOOK_UNDECIDED, HOOK_DROP, HOOK_REDIRECT, HOOK_REDIRECT);
  const action = dice(12) > 0 ? kept : pick(dice, 3, 4, 254, 512, 0x80000000, 0xfffffeff);
  const moved = dice(4) > 0 ? 0 : pick(dice, -4, -3, -5, -32, -33, 4, length, length + 1, -1e6, 1e6);
  const rest = length - moved;
  return {
    verdict: (action | (dice(3) === 0 ? HOOK_MIRROR : 0)) >>> 0,
    target: targetOf(dice),
    mirror: targetOf(dice),
    moved,
    length:
      (dice(6) > 0 ? rest : pick(dice, 0, 13, 14, 33, rest + 1, rest - 1, 0x7fffffff, 0xffffffff)) >>> 0,
  };
}

/** A hook that does what the dice say, to the records themselves; and the reference, which is told. */
function gambler(dice: Dice, way: Way, fate: () => Fate): (batch: HookBatch) => void {
  const room = way === 'encap' ? HOOK_ROOM_ENCAP_BYTES : HOOK_ROOM_DECAP_BYTES;
  const records = workerBase(way === 'encap' ? 0 : 1) + HOOK_RECORDS_OFFSET;
  return (batch) => {
    const { memory } = batch;
    const view = new DataView(memory.buffer);
    while (batch.next()) {
      // Where two devices have hooks, each is shown its own.
      let record = records;
      while (view.getUint32(record, true) !== batch.offset) record += HOOK_RECORD_BYTES;
      const { offset, length, device } = batch;
      assert.equal(batch.headroom, room);
      if (dice(3) === 0) memory[offset + length - 1]! ^= 0xff;
      const judgement = judgementOf(dice, length);
      const [first, second] = [dice(256), dice(256)];
      if (judgement.moved < 0 && judgement.moved >= -room) {
        memory[offset + judgement.moved] = first;
        memory[offset - 1] = second;
      }
      judge(fate(), way, device, memory.slice(offset - room, offset + length), judgement, UP);
      view.setUint32(record + HOOK_RECORD_VERDICT_OFFSET, judgement.verdict, true);
      view.setUint32(record + HOOK_RECORD_TARGET_OFFSET, judgement.target, true);
      view.setUint32(record + HOOK_RECORD_MIRROR_OFFSET, judgement.mirror, true);
      view.setUint32(record + HOOK_RECORD_ADDRESS_OFFSET, offset + judgement.moved, true);
      view.setUint32(record + HOOK_RECORD_LENGTH_OFFSET, judgement.length, true);
    }
  };
}

type Seen = [number, string][];

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

function takeSent(sent: SentDatagrams): Seen {
  const seen: Seen = [];
  while (sent.next()) {
    assert.deepEqual([sent.address, sent.port], [REMOTES[sent.device], PORT]);
    assert.deepEqual([...sent.bytes.subarray(0, 8)], [8, 0, 0, 0, 0, 0, VNIS[sent.device], 0]);
    seen.push([sent.device, hex(sent.bytes.subarray(8))]);
  }
  return seen;
}

const told = (list: readonly [number, Uint8Array][]): Seen =>
  list.map(([device, frame]) => [device, hex(frame)]);

function compareCounters(dataplane: EmbeddedDataplane, fate: Fate): void {
  const found = new Map<string, number>();
  for (const [index, name] of ['red', 'blue', 'packets'].entries()) {
    const number = [1, 2, 4][index]!;
    for (const [counter, value] of Object.entries(dataplane.counters(name)))
      if (!counter.endsWith('_bytes')) found.set(`${number} ${counter}`, value);
  }
  assert.deepEqual(new Map([...found].sort()), new Map([...fate.counters].sort()));
}

for (const seed of [1, 2, 3, 4]) {
  test(`batches, seed ${seed}`, () => {
    const dice = diceOf(seed);
    const dataplane = planeOf();
    const { queue } = dataplane;
    const total = noFate();
    let fate = noFate();
    const sum = () => {
      for (const [key, value] of fate.counters)
        total.counters.set(key, (total.counters.get(key) ?? 0) + value);
    };
    const injected: Seen = [];
    queue.replied = (device, frame) => injected.push([device, hex(frame)]);
    const frames = queue.frames(64, 1600);
    const datagrams = queue.datagrams(64, 1600);
    for (let round = 0; round < 120; ++round) {
      const hooked = [[1], [2], [1, 2], []][dice(4)]!;
      const count = 1 + dice(64);
      for (const way of ['encap', 'decap'] as const) {
        for (const device of UP)
          queue.setHook(device, way, hooked.includes(device) ? gambler(dice, way, () => fate) : undefined);
        fate = noFate();
        const packets = Array.from({ length: count }, () => ({ device: 1 + dice(2), frame: frameOf(dice) }));
        if (way === 'encap') {
          injected.length = 0;
          for (const [index, { device, frame }] of packets.entries()) {
            frames.slots[index]!.write(frame);
            frames.slots[index]!.device = device;
          }
          const seen = takeSent(queue.encap(frames, count));
          // The reference hears of the others behind those: each flow's order is what counts.
          for (const { device, frame } of packets)
            if (!hooked.includes(device)) goOn(fate, way, device, frame);
          assert.deepEqual([...seen].sort(), told(fate.tunnels).sort(), `round ${round}`);
          assert.deepEqual([...injected].sort(), told(fate.ports).sort());
        } else {
          for (const [index, { device, frame }] of packets.entries())
            datagrams.slots[index]!.write(
              Uint8Array.of(8, 0, 0, 0, 0, 0, VNIS[device]!, 0, ...frame),
              SENDER,
            );
          const arrived = queue.decap(datagrams, PORT, count);
          const before = noFate();
          for (const { device, frame } of packets)
            if (!hooked.includes(device)) goOn(before, way, device, frame);
          const seen: Seen = [];
          while (arrived.next()) seen.push([arrived.device, hex(arrived.bytes)]);
          // What no hook sees does not wait for it.
          assert.deepEqual(seen, [...told(before.ports), ...told(fate.ports)], `round ${round}`);
          assert.deepEqual(takeSent(queue.forwarded), told(fate.tunnels));
          assert.equal(queue.forwarded.next(), false);
          for (const [key, value] of before.counters)
            fate.counters.set(key, (fate.counters.get(key) ?? 0) + value);
        }
        sum();
      }
    }
    compareCounters(dataplane, total);
  });

  test(`one packet a call, seed ${seed}`, () => {
    const dice = diceOf(1000 + seed);
    const dataplane = planeOf();
    const total = noFate();
    let fate = noFate();
    let injected: Seen = [];
    dataplane.queue.replied = (device, frame) => injected.push([device, hex(frame)]);
    dataplane.setHook(
      'red',
      'encap',
      gambler(dice, 'encap', () => fate),
    );
    dataplane.setHook(
      'red',
      'decap',
      gambler(dice, 'decap', () => fate),
    );
    for (let round = 0; round < 800; ++round) {
      fate = noFate();
      injected = [];
      const frame = frameOf(dice);
      const plain = ({ bytes, address }: { bytes: Uint8Array; address: string }): [number, string] => [
        REMOTES.indexOf(address),
        hex(bytes.subarray(8)),
      ];
      if (dice(2) === 0) {
        assert.deepEqual(dataplane.encap('red', frame).map(plain), told(fate.tunnels));
        assert.deepEqual(injected, told(fate.ports));
      } else {
        const datagram = Uint8Array.of(8, 0, 0, 0, 0, 0, 10, 0, ...frame);
        const frames = dataplane.decap(datagram, SENDER, PORT);
        assert.deepEqual(
          frames.map(({ device, bytes }) => [dataplane.numberOf(device), hex(bytes)]),
          told(fate.ports),
        );
        assert.deepEqual(dataplane.forwarded().map(plain), told(fate.tunnels));
      }
      for (const [key, value] of fate.counters)
        total.counters.set(key, (total.counters.get(key) ?? 0) + value);
    }
    compareCounters(dataplane, total);
  });
}
