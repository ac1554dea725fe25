/**
 * Hooks on a node, the kernel's devices as its peers: a firewall, a gateway between two VNIs, programs replaced and
 * removed under load, and programs that fail in all ways there are.
 *
 *   left (VNI 1) ===== here: vx1, vx2 ===== right (VNI 2)
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { firewallRules } from '../examples/hooks/firewall-rules.ts';
import { createVtep } from '../src/create-vtep.ts';
import type { HookDirection, HookInfo, Vtep, VtepEvent } from '../src/types.ts';
import { compileAssembly } from './support/asc.ts';
import { deviceConfig } from './support/device-config.ts';
import { MODE, MODES } from './support/hook-modes.ts';
import type { Bed, Namespace } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';
import { Agent } from './support/traffic.ts';
import { suite } from './support/traffic-gate.ts';

const TRANSFER_BYTES = 8 << 20;
const HERE = '10.1.0.1';
const LEFT = '10.1.0.2';
const RIGHT = '10.1.0.3';
const STREAM = 4000;

interface Way {
  from: Agent;
  to: Agent;
  source: string;
  address: string;
}

suite('hooks of a node with kernel peers', ['kernel', 'vxlane'], (bed: Bed) => {
  const spaces: Record<'here' | 'left' | 'right', Namespace> = {} as never;
  const agents: Record<'here' | 'left' | 'right', Agent> = {} as never;
  let vtep: Vtep;
  let ways: Record<HookDirection | 'across' | 'back', Way>;
  let modes: Uint8Array;
  let firewall: Uint8Array;
  let scripts: string;
  const log: string[] = [];
  const events: Extract<VtepEvent, { event: 'hook' }>[] = [];

  before(async () => {
    for (const name of ['here', 'left', 'right'] as const) {
      spaces[name] = bed.namespace(name);
      spaces[name].sysctl({ 'net.ipv6.conf.default.disable_ipv6': 1 });
    }
    scripts = bed.directory();
    for (const [number, name] of [
      [1, 'left'],
      [2, 'right'],
    ] as const) {
      const far = spaces[name];
      far.ip(`link add u0 type veth peer name u${number} netns ${spaces.here.name}`);
      far.ip(
        `addr add 192.0.${number}.2/24 dev u0`,
        'link set u0 up',
        `link add vx0 mtu 1450 type vxlan id ${number} dstport 4789 remote 192.0.${number}.1 local 192.0.${number}.2 dev u0`,
        `addr add ${name === 'left' ? LEFT : RIGHT}/24 dev vx0`,
        'link set vx0 up',
      );
      spaces.here.ip(`addr add 192.0.${number}.1/24 dev u${number}`, `link set u${number} up`);
    }
    const names = ['here', 'left', 'right'] as const;
    const starting = names.map(async (name) => {
      agents[name] = await Agent.start(spaces[name]);
    });
    [modes, firewall] = await Promise.all([
      compileAssembly('modes.ts', MODES),
      compileAssembly('examples/hooks/firewall.ts'),
      ...starting,
    ]);
    enter(spaces.here);
    ways = {
      decap: { from: agents.left, to: agents.here, source: LEFT, address: HERE },
      encap: { from: agents.here, to: agents.left, source: HERE, address: LEFT },
      across: { from: agents.left, to: agents.right, source: LEFT, address: RIGHT },
      back: { from: agents.right, to: agents.left, source: RIGHT, address: LEFT },
    };
  });

  const set = (direction: HookDirection, mode: keyof typeof MODE, dev = 'vx1', target = 0) =>
    vtep.hook({
      ...{ op: 'replace', dev, direction, file: `${mode}.wasm`, wasm: modes },
      rules: Uint8Array.of(MODE[mode], target),
    });
  const script = (name: string, text: string) => {
    const file = join(scripts, `${name}.js`);
    writeFileSync(file, text);
    return file;
  };
  const shown = (direction: HookDirection, dev = 'vx1'): HookInfo =>
    vtep.hookShow(dev).find((hook) => hook.direction === direction)!;
  const remove = async () => {
    for (const { ifname: dev, direction } of vtep.hookShow()) await vtep.hook({ op: 'del', dev, direction });
  };

  async function transfer({ from, to, address }: Way): Promise<void> {
    const port = await to.call('receiveTransfer', address);
    const [sent, received] = await Promise.all([
      from.call('sendTransfer', address, port, TRANSFER_BYTES),
      to.call('transferResult', port),
    ]);
    assert.deepEqual(received, sent);
  }

  /** Sends datagrams with numbers. Returns those that have arrived once `expected` have, or else after ten seconds. */
  async function datagrams(way: Way, count: number, { expected = count, pace = 0 } = {}): Promise<number[]> {
    const port = await way.to.call('udpReceiver', way.address);
    await send(
      way,
      port,
      Array.from({ length: count }, (_, number) => numbered(number)),
      pace,
    );
    return (await way.to.call('udpArrivals', port, expected)).map(numberOf);
  }

  /** Sends some that are to be lost: the counter of the program says when they are. */
  async function lose(
    way: Way,
    hook: HookDirection,
    counter: 'dropped' | 'faults',
    count = 20,
  ): Promise<void> {
    const port = await way.to.call('udpReceiver', way.address);
    const goal = shown(hook).stats[counter] + count;
    await send(
      way,
      port,
      Array.from({ length: count }, (_, number) => numbered(number)),
      0,
    );
    await until(`${counter} of ${hook}`, () => shown(hook).stats[counter] >= goal, 10_000);
    assert.equal(shown(hook).stats[counter], goal);
    assert.deepEqual(await way.to.call('udpArrivals', port, 0), []);
  }

  async function send({ from, source, address }: Way, port: number, payloads: Uint8Array[], paceUs: number) {
    const bytesOf = (text: string) => Uint8Array.from(text.split('.').map(Number));
    const data = payloads.map((payload) => ({ data: payload }));
    const ends = { from: bytesOf(source), to: bytesOf(address), sourcePort: 9999, port };
    await from.call('datagrams', data, { ...ends, paceUs });
  }

  // A program that hangs costs a second: each engine, and each number of threads, has its direction.
  for (const [engine, threads, hanging] of [
    ['batched', 2, 'decap'],
    ['uring', 1, 'encap'],
  ] as const) {
    describe(`${engine}, ${threads} threads`, () => {
      before(async () => {
        log.length = 0;
        vtep = await createVtep({
          engine,
          threads,
          logger: (level, message) => log.push(`${level}: ${message}`),
        });
        vtep.subscribe((event) => event.event === 'hook' && events.push(event));
        for (const id of [1, 2]) {
          const address = `02:00:00:00:0${id}:01`;
          const [local, remote] = [`192.0.${id}.1`, `192.0.${id}.2`];
          await vtep.addDevice(
            deviceConfig({ name: `vx${id}`, id, address, local, remote, dev: `u${id}`, mtu: 1450 }),
          );
          await vtep.setDevice(`vx${id}`, { up: true });
        }
        spaces.here.ip(`addr add ${HERE}/24 dev vx1`);
        // Nobody has to ask for anybody.
        spaces.left.ip(`neigh replace ${HERE} lladdr 02:00:00:00:01:01 dev vx0 nud permanent`);
      });
      after(() => vtep.close());

      test('a firewall: one flow is dropped, others pass, TCP whole', async () => {
        const rules = firewallRules(
          [{ action: 'drop', protocol: 17, source: `${LEFT}/32`, destinationPorts: [1, 65535] }],
          'pass',
        );
        const program = { file: 'firewall.wasm', wasm: firewall, rules };
        await vtep.hook({ op: 'add', dev: 'vx1', direction: 'decap', ...program });
        await lose(ways.decap, 'decap', 'dropped', 50);
        await transfer(ways.decap);
        await transfer(ways.encap);
        // The other way it does not look.
        assert.equal((await datagrams(ways.encap, 50)).length, 50);
        assert.deepEqual([shown('decap').stats.dropped, shown('decap').stats.faults], [50, 0]);
        assert.equal(vtep.status().counters.vx1!.drop_hook_received, 50);
        // What the firewall has counted itself: by rule, and what fitted none.
        const { counters, stats } = shown('decap');
        assert.deepEqual([counters!.length, counters![0]], [258, 50]);
        assert.ok(counters![256]! > 0 && counters![256]! <= stats.packets - 50, `${counters![256]}`);
        assert.equal(vtep.devices()[0]!.stats.rx.dropped, 50);
        await remove();
      });

      test('super-frames are shown whole, and as what they are', async () => {
        for (const direction of ['encap', 'decap'] as const) {
          await set(direction, 'super');
          await transfer(ways[direction]);
          const { packets, dropped, faults } = shown(direction).stats;
          assert.deepEqual([dropped, faults], [0, 0]);
          assert.ok(packets > 100 && packets < TRANSFER_BYTES / 1400 / 2, `${packets} frames`);
        }
        await remove();
      });

      test('a gateway between two VNIs: UDP and TCP both ways', async () => {
        const [one, two] = vtep.devices().map(({ number }) => number);
        await set('decap', 'tunnel', 'vx1', two);
        await set('decap', 'tunnel', 'vx2', one);
        await transfer(ways.across);
        await transfer(ways.back);
        assert.deepEqual(await datagrams(ways.across, 500, { pace: 20 }), [...Array(500).keys()]);
        for (const dev of ['vx1', 'vx2']) {
          const { redirected, packets } = shown('decap', dev).stats;
          assert.ok(redirected > 100, `${dev}: ${redirected}`);
          assert.equal(redirected, packets);
        }
        await remove();
      });

      test('to the port of another device', async () => {
        const two = vtep.devices()[1]!.number;
        await set('decap', 'port', 'vx1', two);
        const capture = await agents.here.capture('vx2');
        const port = await ways.decap.to.call('udpReceiver', HERE);
        await send(ways.decap, port, [numbered(1), numbered(2)], 0);
        const { frames } = await capture.stop({ frames: 2 });
        const found = frames
          .filter(({ data }) => data[23] === 17)
          .map(({ data }) => numberOf(data.subarray(42)));
        assert.deepEqual(found, [1, 2]);
        await remove();
      });

      test('replaced, removed and added under load: nothing is lost, nothing out of order', async () => {
        const file = script('pass', 'export default (batch) => { while (batch.next()) batch.pass(); };\n');
        let isOver = false;
        const churn = async () => {
          let changes = 0;
          for (; !isOver; ++changes) {
            const direction = changes % 2 === 0 ? 'decap' : 'encap';
            const isThere = vtep.hookShow('vx1').some((hook) => hook.direction === direction);
            if (changes % 5 === 4) await vtep.hook({ op: 'replace', dev: 'vx1', direction, file });
            else if (changes % 7 === 6 && isThere) await vtep.hook({ op: 'del', dev: 'vx1', direction });
            else await set(direction, 'pass');
          }
          return changes;
        };
        const churning = churn();
        const arrived = await Promise.all([
          datagrams(ways.decap, STREAM, { pace: 50 }),
          datagrams(ways.encap, STREAM, { pace: 50 }),
        ]);
        isOver = true;
        const changes = await churning;
        for (const numbers of arrived) assert.deepEqual(numbers, [...Array(STREAM).keys()]);
        assert.ok(changes > 10, `${changes} changes`);
        await remove();
      });

      test('a program that loops, traps or reaches outside: its packets are lost, by name, and no others', async () => {
        for (const direction of ['encap', 'decap'] as const) {
          for (const [mode, reason] of [
            ['loop', /ran too long/],
            ['trap', /unreachable/],
            ['outside', /outside its memory/],
          ] as const) {
            events.length = 0;
            await set(direction, mode);
            await lose(ways[direction], direction, 'faults');
            await until('why', () => reason.test(shown(direction).fault ?? ''), 10_000);
          }
          // What those before it did may be told late.
          const last = () => events.find(({ change, file }) => change === 'fault' && file === 'outside.wasm');
          await until('told', () => last() !== undefined, 10_000);
          const told = last()!;
          assert.deepEqual([told.ifname, told.direction], ['vx1', direction]);
          assert.match(told.reason ?? '', /outside its memory/);
          await remove();
          assert.equal((await datagrams(ways[direction], 20)).length, 20);
        }
      });

      test('JavaScript that throws; that never returns: its thread is replaced, without it, and nothing else is lost', async () => {
        const thrower = script('throw', 'export default () => { throw new TypeError("no"); };\n');
        await vtep.hook({ op: 'add', dev: 'vx1', direction: 'decap', file: thrower });
        await lose(ways.decap, 'decap', 'faults');
        await until('why', () => shown('decap').fault === 'TypeError: no', 10_000);
        // Answers of the other end are not to be lost to it.
        await remove();
        // It hangs over the first datagram whose fifth byte is 1.
        const looping = script(
          'loop',
          `export default (batch) => { while (batch.next()) {
            const { bytes, l3 } = batch;
            if (l3 > 0 && bytes[l3 + 9] === 17 && bytes[l3 + 32] === 1) for (;;);
          } };\n`,
        );
        events.length = 0;
        log.length = 0;
        await vtep.hook({ op: 'add', dev: 'vx1', direction: hanging, file: looping });
        const way = ways[hanging];
        assert.equal((await datagrams(way, 100)).length, 100);
        const port = await way.to.call('udpReceiver', way.address);
        const payloads = Array.from({ length: 300 }, (_, number) => numbered(number));
        payloads[100]![4] = 1;
        const { faults } = shown(hanging).stats;
        await send(way, port, payloads, 1000);
        await until('stopped', () => shown(hanging).stopped !== undefined, 10_000);
        await until('told', () => events.some(({ change }) => change === 'stopped'), 10_000);
        const lost = shown(hanging).stats.faults - faults;
        const arrived = (await way.to.call('udpArrivals', port, 300 - lost)).map(numberOf);
        assert.ok(lost >= 1 && lost < 300, `${lost} lost`);
        // In order, and all but those that it had not decided.
        assert.equal(arrived.length, 300 - lost);
        assert.deepEqual(
          arrived,
          arrived.toSorted((a, b) => a - b),
        );
        assert.ok(!arrived.includes(100));
        assert.ok(log.some((line) => line.startsWith('error: hook dev vx1') && /anew without it/.test(line)));
        await transfer(way);
        assert.equal(vtep.devices()[0]!.up, true);
        await remove();
      });

      test('a firewall in JavaScript that hangs stays closed with onstop drop', async () => {
        // Telnet is dropped; it hangs over the first datagram whose fifth byte is 1.
        const file = script(
          'closed',
          `export default (batch) => { while (batch.next()) {
            const { bytes, l3 } = batch;
            if (l3 > 0 && bytes[l3 + 9] === 17 && bytes[l3 + 32] === 1) for (;;);
          } };\n`,
        );
        const way = ways[hanging];
        const port = await way.to.call('udpReceiver', way.address);
        // A module beside it, which may be in the thread that is started anew: what it has counted stays.
        const other = hanging === 'decap' ? 'encap' : 'decap';
        const rules = firewallRules([], 'pass');
        await vtep.hook({
          op: 'replace',
          dev: 'vx1',
          direction: other,
          file: 'f.wasm',
          wasm: firewall,
          rules,
        });
        await datagrams(ways[other], 20);
        const counted = shown(other).counters![256]!;
        assert.ok(counted >= 20, `${counted}`);
        const burst = (count: number) => Array.from({ length: count }, (_, number) => numbered(number));
        const fatal = numbered(0);
        fatal[4] = 1;
        events.length = 0;
        await vtep.hook({ op: 'replace', dev: 'vx1', direction: hanging, file, onstop: 'drop' });
        assert.deepEqual([shown(hanging).onstop, shown(hanging).stopped], ['drop', undefined]);
        const before = shown(hanging).stats;
        await send(way, port, [fatal], 0);
        // While it hangs, and while its thread is started anew, too.
        for (let round = 0; round < 10 && shown(hanging).stopped === undefined; ++round)
          await send(way, port, burst(100), 2000);
        await until('told', () => events.some(({ change }) => change === 'stopped'), 5000);
        await send(way, port, burst(50), 0);
        await until('counted', () => shown(hanging).stats.stopped - before.stopped >= 50, 3000);
        assert.deepEqual(await way.to.call('udpArrivals', port, 0), []);
        const reason = hanging === 'decap' ? 'drop_hook_stopped_received' : 'drop_hook_stopped';
        assert.equal(vtep.status().counters.vx1![reason], shown(hanging).stats.stopped);
        // The other direction goes on.
        assert.equal((await datagrams(ways[other], 20)).length, 20);
        assert.ok(shown(other).counters![256]! >= counted + 20, `${shown(other).counters![256]}`);
        assert.ok(log.some((line) => /did not return within 1 s.*packets are dropped/.test(line)));
        await remove();
        assert.equal((await datagrams(way, 20)).length, 20);
      });

      test('a module that can’t be loaded changes nothing; one that never loads is given up', async () => {
        await set('decap', 'drop');
        const { generation } = shown('decap');
        const decap = { op: 'replace', dev: 'vx1', direction: 'decap' } as const;
        for (const [name, text, reason] of [
          ['nothing', 'export const x = 1;\n', /default export/],
          ['broken', 'export default (;\n', /Unexpected token/],
          ['hangs', 'for (;;);\n', /did not return within 1 s/],
        ] as const) {
          await assert.rejects(
            vtep.hook({ ...decap, file: script(name, text) }),
            (error: Error & { code?: string }) => error.code === 'USAGE' && reason.test(error.message),
          );
        }
        const wasm = { ...decap, file: 'x.wasm', wasm: modes };
        await assert.rejects(vtep.hook({ ...wasm, op: 'add' }), { code: 'EXISTS' });
        await assert.rejects(vtep.hook({ ...wasm, wasm: Uint8Array.of(1, 2) }), { code: 'USAGE' });
        await assert.rejects(vtep.hook({ ...wasm, rules: Uint8Array.of(1) }), /configure answered 1/);
        assert.equal(shown('decap').generation, generation);
        await lose(ways.decap, 'decap', 'dropped');
        await remove();
        await assert.rejects(vtep.hook({ op: 'del', dev: 'vx1', direction: 'decap' }), { code: 'NOT_FOUND' });
      });

      test('a device that goes takes its hooks along; one in its place has none', async () => {
        await set('decap', 'drop', 'vx2');
        await vtep.deleteDevice('vx2');
        assert.deepEqual(vtep.hookShow(), []);
      });
    });
  }
});

function numbered(number: number): Uint8Array {
  const bytes = new Uint8Array(64);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}
