/** The hooks that ship as examples, compiled as the page tells, guarded, and set on packets. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import * as layout from '../assembly/layout.ts';
import { type FirewallRule, firewallRules } from '../examples/hooks/firewall-rules.ts';
import { compileHook, type HookProgram } from '../src/dataplane/hook-program.ts';
import { VtepError } from '../src/errors.ts';
import { compileAssembly } from './support/asc.ts';
import { ethernet, ipv4, ipv6, vlan } from './support/frames.ts';
import { type RecordFields, ROOM_BYTES, verdictOf, writeRecord } from './support/hook-records.ts';
import { HookWorld, LOW } from './support/hook-world.ts';
import { tcp, udp } from './support/messages.ts';
import { below, mutated, type Prng } from './support/mutate.ts';
import { firewallDrops } from './support/naive-firewall.ts';
import { networkOffset } from './support/naive-segment.ts';
import { internetSum, mulberry32 } from './support/reference.ts';

const FRAMES = LOW + 0x4000;
const FRAME_BYTES = 2048;
const { HOOK_RECORD_BYTES, HOOK_PASS, HOOK_DROP } = layout;

function pick<Item>(prng: Prng, items: readonly Item[]): Item {
  return items[below(prng, items.length)]!;
}

class Batch {
  readonly world = new HookWorld();
  readonly view = new DataView(this.world.memory.buffer);
  program: HookProgram;
  #count = 0;

  constructor(module: Uint8Array) {
    this.program = this.world.load(module);
  }

  add(frame: Uint8Array, fields: Partial<RecordFields> = {}): void {
    const address = FRAMES + this.#count * FRAME_BYTES + ROOM_BYTES;
    this.world.bytes.set(frame, address);
    const record = LOW + this.#count++ * HOOK_RECORD_BYTES;
    writeRecord(this.view, record, { address, length: frame.length, ipOffset: ipOffsetOf(frame), ...fields });
  }

  frame(index: number): Uint8Array {
    const record = LOW + index * HOOK_RECORD_BYTES;
    const address = this.view.getUint32(record, true);
    return this.world.bytes.slice(address, address + this.view.getUint32(record + 4, true));
  }

  /** @returns verdicts */
  run(): number[] {
    const count = this.#count;
    this.#count = 0;
    assert.equal(this.world.run(this.program, LOW, count), undefined);
    return Array.from({ length: count }, (_, index) => verdictOf(this.view, LOW + index * HOOK_RECORD_BYTES));
  }

  counters(count: number): number[] {
    const bytes = this.program.read('COUNTERS', count * 8);
    return [...new BigUint64Array(bytes.buffer)].map(Number);
  }
}

/** As the engine tells it: behind tags, by the type before it. */
function ipOffsetOf(frame: Uint8Array): number {
  const offset = networkOffset(frame);
  const type = (frame[offset - 2]! << 8) | frame[offset - 1]!;
  return frame.length > offset && (type === 0x0800 || type === 0x86dd) ? offset : 0;
}

describe('what hooks are written against', () => {
  it('has the layout’s numbers', async () => {
    const fields = {
      start: 'ADDRESS',
      length: 'LENGTH',
      verdict: 'VERDICT',
      target: 'TARGET',
      mirrorTarget: 'MIRROR',
      device: 'DEVICE',
      ipOffset: 'L3',
      vni: 'VNI',
      flags: 'FLAGS',
      outerTos: 'TOS',
      senderFamily: 'FAMILY',
      room: 'ROOM',
      roomEnd: 'ROOM_END',
      vxlanWord: 'WORD',
      sender: 'SENDER',
    };
    const source = [
      "import { Packet, RECORD_BYTES } from 'HOOKS/sdk';",
      'export const BYTES: usize = RECORD_BYTES;',
      ...Object.keys(fields).map((name) => `export const ${name}: usize = offsetof<Packet>('${name}');`),
      'export function hook(records: usize, count: i32): void {',
      '  let p = Packet.first(records);',
      '  p.pass(); p = p.next(); p.drop(); p = p.next(); p.redirectToPort(7); p = p.next(); p.redirectToTunnel(8); p = p.next();',
      '  p.mirrorToPort(9); p = p.next(); p.drop(); p.mirrorToTunnel(10); p = p.next();',
      '  if (p.isEncap && !p.isPartial && !p.isSuper && !p.isBare) p.pass(); p = p.next();',
      '  if (!p.isEncap && p.isPartial && p.isSuper && p.isBare) p.pass(); p = p.next();',
      '  if (!p.moveStart(-33) && p.moveStart(-32) && !p.moveEnd(33) && p.moveEnd(-1)) store<u8>(p.start, 1); p = p.next();',
      '  if (!p.moveStart(61) && p.moveStart(60)) p.drop();',
      '}',
    ].join('\n');
    const module = await compileAssembly('layout.ts', source);
    const { constants } = compileHook(module);
    const numbers = layout as unknown as Record<string, number>;
    for (const [name, constant] of Object.entries(fields)) {
      assert.equal(constants.get(name), numbers[`HOOK_RECORD_${constant}_OFFSET`], name);
    }
    assert.equal(constants.get('BYTES'), HOOK_RECORD_BYTES);
    const batch = new Batch(module);
    const flags = [0, 0, 0, 0, 0, 0, layout.HOOK_FLAG_ENCAP];
    flags.push(layout.HOOK_FLAG_PARTIAL | layout.HOOK_FLAG_SUPER | layout.HOOK_FLAG_PACKET, 0, 0);
    for (const each of flags) batch.add(new Uint8Array(60), { flags: each });
    const verdicts = batch.run();
    const { HOOK_REDIRECT, HOOK_MIRROR, HOOK_TARGET_TUNNEL } = layout;
    assert.deepEqual(verdicts.slice(0, 4), [HOOK_PASS, HOOK_DROP, HOOK_REDIRECT, HOOK_REDIRECT]);
    assert.deepEqual(verdicts.slice(4, 8), [
      HOOK_PASS | HOOK_MIRROR,
      HOOK_DROP | HOOK_MIRROR,
      HOOK_PASS,
      HOOK_PASS,
    ]);
    assert.equal(verdicts[9], HOOK_DROP);
    const word = (index: number, offset: number) =>
      batch.view.getUint32(LOW + index * HOOK_RECORD_BYTES + offset, true);
    assert.equal(word(2, layout.HOOK_RECORD_TARGET_OFFSET), 7);
    assert.equal(word(3, layout.HOOK_RECORD_TARGET_OFFSET), 8 | HOOK_TARGET_TUNNEL);
    assert.equal(word(4, layout.HOOK_RECORD_MIRROR_OFFSET), 9);
    assert.equal(word(5, layout.HOOK_RECORD_MIRROR_OFFSET), 10 | HOOK_TARGET_TUNNEL);
    assert.equal(batch.frame(8).length, 60 + 32 - 1);
    assert.equal(batch.frame(8)[0], 1);
    assert.equal(batch.frame(9).length, 0);
  });
});

describe('firewall', () => {
  let batch: Batch;
  before(async () => {
    batch = new Batch(await compileAssembly('examples/hooks/firewall.ts'));
  });

  it('drops everything but what is not IP until it has rules', () => {
    batch.add(ethernet({}, ipv4({}, udp({}, new Uint8Array(8)))));
    batch.add(ethernet({ type: 0x0806 }, { type: 0x0806, bytes: new Uint8Array(28) }));
    assert.deepEqual(batch.run(), [HOOK_DROP, HOOK_PASS]);
  });

  it('decides as its naive twin: random rules, addresses, tags, fragments, extension headers, cut and lying headers', () => {
    const prng = mulberry32(4789);
    const counts = { pass: 0, drop: 0 };
    for (let round = 0; round < 300; ++round) {
      const rules = Array.from({ length: below(prng, 6) }, () => randomRule(prng));
      const otherwise = pick(prng, ['pass', 'drop'] as const);
      batch.program.configure(firewallRules(rules, otherwise));
      const frames = Array.from({ length: 20 }, () => randomFrame(prng));
      for (const frame of frames) batch.add(frame);
      for (const [index, verdict] of batch.run().entries()) {
        const frame = frames[index]!;
        const expected = firewallDrops(frame, ipOffsetOf(frame), rules, otherwise) ? HOOK_DROP : HOOK_PASS;
        assert.equal(
          verdict,
          expected,
          `round ${round}: ${JSON.stringify(rules)} ${otherwise} ${Buffer.from(frame).toString('hex')}`,
        );
        counts[verdict === HOOK_DROP ? 'drop' : 'pass']++;
      }
    }
    assert.ok(counts.pass > 1500 && counts.drop > 1500, JSON.stringify(counts));
  });

  it('gets through as many rules as it takes with the fuel that hooks have unless told otherwise', () => {
    for (const family of [4, 6] as const) {
      const [source, other] = ADDRESSES[family];
      const rule: FirewallRule = {
        action: 'drop',
        source: source!,
        destination: other!,
        destinationPorts: [0, 65535],
      };
      batch.program.configure(
        firewallRules(
          Array.from({ length: 256 }, () => rule),
          'pass',
        ),
      );
      const ends = { source: source!, destination: ADDRESSES[family][2]! };
      const message = udp({}, new Uint8Array(4));
      const packet = family === 4 ? ethernet({}, ipv4(ends, message)) : ethernet({}, ipv6(ends, message));
      batch.add(packet);
      assert.deepEqual(batch.run(), [HOOK_PASS], `IPv${family}`);
    }
  });

  it('counts by rule, and refuses settings that it does not know', () => {
    const before = batch.counters(258);
    batch.program.configure(
      firewallRules(
        [
          { action: 'drop', protocol: 6 },
          { action: 'pass', protocol: 17 },
        ],
        'drop',
      ),
    );
    for (const message of [
      tcp({}, new Uint8Array(4)),
      udp({}, new Uint8Array(4)),
      udp({}, new Uint8Array(4)),
    ]) {
      batch.add(ethernet({}, ipv4({}, message)));
    }
    batch.add(ethernet({}, ipv4({}, { protocol: 47, bytes: new Uint8Array(9) })));
    batch.add(ethernet({}, ipv4({}, udp({}, new Uint8Array(4)))).subarray(0, 30));
    assert.deepEqual(batch.run(), [HOOK_DROP, HOOK_PASS, HOOK_PASS, HOOK_DROP, HOOK_DROP]);
    const gained = batch.counters(258).map((count, index) => count - before[index]!);
    assert.deepEqual([gained[0], gained[1], gained[256], gained[257]], [1, 2, 1, 1]);
    assert.deepEqual(batch.program.counters(), batch.counters(258));
    const refusedBy = (work: () => void, message: RegExp) =>
      assert.throws(
        work,
        (error) => error instanceof VtepError && error.code === 'USAGE' && message.test(error.message),
      );
    refusedBy(() => batch.program.configure(Uint8Array.of(1, 0, 0, 0)), /configure answered 1/);
    refusedBy(() => batch.program.configure(new Uint8Array(40000)), /room for 32784/);
    assert.throws(() => batch.program.read('OTHER', 8), { code: 'NOT_FOUND' });
    refusedBy(() => batch.program.read('COUNTERS', 65000), /not there/);
  });
});

const ADDRESSES = {
  4: ['10.0.0.1', '10.0.1.9', '10.200.3.4', '192.168.7.7'],
  6: ['fd00::1', 'fd00::ffff:1', 'fd00:1::2', '2001:db8::9'],
};

function randomRule(prng: Prng): FirewallRule {
  const family = pick(prng, [4, 6] as const);
  const prefix = () =>
    `${pick(prng, ADDRESSES[family])}/${pick(prng, family === 4 ? [0, 8, 15, 24, 32] : [0, 16, 33, 64, 100, 128])}`;
  const ports = (): [number, number] => [below(prng, 3) * 1000, 1000 + below(prng, 3) * 1500];
  return {
    action: pick(prng, ['pass', 'drop'] as const),
    ...(below(prng, 2) && { protocol: pick(prng, [6, 17, 132, 1, 58]) }),
    ...(below(prng, 2) && { source: prefix() }),
    ...(below(prng, 2) && { destination: prefix() }),
    ...(below(prng, 3) === 0 && { sourcePorts: ports() }),
    ...(below(prng, 3) === 0 && { destinationPorts: ports() }),
    ...(below(prng, 8) === 0 && { family }),
  };
}

function randomFrame(prng: Prng): Uint8Array {
  if (below(prng, 3) === 0) return mutated(prng).frame.subarray(0, 1500);
  const family = pick(prng, [4, 6] as const);
  const addresses = { source: pick(prng, ADDRESSES[family]), destination: pick(prng, ADDRESSES[family]) };
  const ports = { sourcePort: below(prng, 4000), destinationPort: below(prng, 4000) };
  const message = pick(prng, [tcp, udp])(ports, new Uint8Array(below(prng, 40)));
  const packet = family === 4 ? ipv4(addresses, message) : ipv6(addresses, message);
  let frame = ethernet({}, below(prng, 3) === 0 ? vlan({ id: 5 }, packet) : packet);
  const l3 = ipOffsetOf(frame);
  // A fragment, or extension headers of random lengths.
  if (family === 4 && below(prng, 3) === 0) frame.set([below(prng, 64), below(prng, 2) * 8], l3 + 6);
  if (family === 6 && below(prng, 2) === 0) frame = extended(prng, frame, l3);
  return frame.slice(0, below(prng, 4) === 0 ? 15 + below(prng, frame.length - 14) : frame.length);
}

/** Extension headers between the header of IPv6 and what follows. */
function extended(prng: Prng, frame: Uint8Array, l3: number): Uint8Array {
  const headers: number[] = [];
  let previous = 0;
  const last = frame[l3 + 6]!;
  for (let left = 1 + below(prng, 3); left > 0; --left) {
    const kind = pick(prng, [0, 43, 44, 51, 60]);
    const length = kind === 44 ? 8 : kind === 51 ? 16 : 8 * (1 + below(prng, 2));
    const at = headers.length;
    if (at === 0) frame[l3 + 6] = kind;
    else headers[at - previous] = kind;
    headers.push(
      last,
      kind === 51 ? 2 : length / 8 - 1,
      below(prng, 2),
      below(prng, 2) * 8,
      ...Array.from({ length: length - 4 }, () => 0),
    );
    previous = length;
  }
  const bytes = Uint8Array.from([...frame.subarray(0, l3 + 40), ...headers, ...frame.subarray(l3 + 40)]);
  const total = bytes.length - l3 - 40 + (below(prng, 6) === 0 ? below(prng, 3) - 1 : 0);
  bytes.set([total >> 8, total & 255], l3 + 4);
  return bytes;
}

describe('gateway', () => {
  let batch: Batch;
  before(async () => {
    batch = new Batch(await compileAssembly('examples/hooks/gateway.ts'));
  });

  it('sends from tunnel to tunnel, for a hop, and checksums stay right', () => {
    batch.program.configure(Uint8Array.of(1, 0, 2, 0, 2, 0, 1, 0));
    const prng = mulberry32(3);
    const hops = Array.from({ length: 24 }, () => below(prng, 256));
    for (const ttl of hops) {
      const packet =
        below(prng, 2) === 0
          ? ipv4({ ttl }, udp({}, new Uint8Array(9)))
          : ipv6({ hopLimit: ttl }, udp({}, new Uint8Array(9)));
      batch.add(ethernet({}, packet), { device: 1 + below(prng, 3) });
    }
    for (const [index, verdict] of batch.run().entries()) {
      const record = LOW + index * HOOK_RECORD_BYTES;
      const device = batch.view.getUint16(record + layout.HOOK_RECORD_DEVICE_OFFSET, true);
      const target = batch.view.getUint32(record + layout.HOOK_RECORD_TARGET_OFFSET, true);
      const frame = batch.frame(index);
      const isIpv4 = frame[14]! >> 4 === 4;
      const left = frame[14 + (isIpv4 ? 8 : 7)]!;
      const crosses = device < 3 && hops[index]! > 1;
      assert.equal(verdict, device === 3 ? HOOK_PASS : crosses ? layout.HOOK_REDIRECT : HOOK_DROP);
      assert.equal(left, crosses ? hops[index]! - 1 : hops[index]);
      if (crosses) assert.equal(target, (3 - device) | layout.HOOK_TARGET_TUNNEL);
      if (isIpv4) assert.equal(internetSum(frame.subarray(14, 34)), 0xffff);
    }
    const [crossed, ended] = batch.counters(2);
    assert.ok(crossed! > 5 && crossed! + ended! < 24);
  });

  it('refuses pairs that can’t be', () => {
    assert.throws(() => batch.program.configure(Uint8Array.of(1, 0, 2)), /answered 1/);
    assert.throws(() => batch.program.configure(Uint8Array.of(1, 0, 0, 0)), /answered 2/);
  });
});
