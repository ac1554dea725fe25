/** Hooks of a node while one of its threads is started anew: all threads have the program that is shown, or none has. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HookDirection, HookRequest, OnStop } from '../src/types.ts';
import type { Device } from '../src/vtep/device.ts';
import type { HookOrder, HookReport, HookState, Program } from '../src/vtep/hook-messages.ts';
import { type HookParts, Hooks } from '../src/vtep/hooks.ts';
import { handMade } from './support/hook-modules.ts';

const DEVICES = [1, 2].map((index) => ({ index, config: { name: `vx${index}` } }) as Device);
const WASM = handMade({ hook: [0x01] });
/** In the place of a generation. */
const CLOSED = -1;

/** Two threads, as far as hooks know of them; the second one ends when a test says so. */
class World {
  readonly hooks: Hooks;
  /** What each thread has, by device: generations. */
  readonly #seats: Map<number, number>[] = [new Map(), new Map()];
  readonly #prepared: Map<number, Program>[] = [new Map(), new Map()];
  readonly #hooked = new Map<number, boolean>();
  /** The second thread takes no orders. */
  #isGone = false;
  during: Partial<Record<HookOrder['step'], () => void>> = {};

  constructor() {
    const workers = {
      onLeft: (_: number) => {},
      onHookFault: (_: Extract<HookReport, { fault: string }>) => {},
      orderHooks: (_: HookDirection, order: HookOrder) => this.#order(order),
      underJavaScript: () => [],
      shown: () => 0,
      areasOf: () => [],
      replaceThread: async (_: number, stateNow: () => HookState) => {
        this.#isGone = true;
        await new Promise((resolve) => setImmediate(resolve));
        this.#isGone = false;
        this.#prepared[1]!.clear();
        const { programs, closed } = stateNow();
        this.#seats[1] = new Map(programs.map(({ device, generation }) => [device, generation]));
        for (const { device } of closed) this.#seats[1].set(device, CLOSED);
      },
    };
    const setHooked = (device: number, isHooked: boolean) => void this.#hooked.set(device, isHooked);
    const plane = { blocks: 0, views: { bytes: new Uint8Array(0) }, devices: { setHooked } };
    this.hooks = new Hooks({ plane, workers, log() {}, emit() {} } as unknown as HookParts);
    this.endSecond = () => workers.onLeft(1);
    this.giveUp = (device, generation) =>
      workers.onHookFault({
        ...{ fault: 'it can’t go on', seat: { device, direction: 'decap' } },
        ...{ generation, isLast: true },
      });
  }

  readonly endSecond: () => void;
  /** A thread can't go on with a program. */
  readonly giveUp: (device: number, generation: number) => void;

  /** As the daemon, one after the other. */
  apply(device: number, op: HookRequest['op'], onstop?: OnStop): Promise<void> {
    const dev = `vx${device}`;
    const request =
      op === 'del' ? { op } : { op, file: 'x.wasm', wasm: WASM, ...(onstop !== undefined && { onstop }) };
    return this.hooks.apply(DEVICES[device - 1]!, { ...request, dev, direction: 'decap' } as HookRequest);
  }

  /** What each thread has for a device: a generation, or CLOSED. */
  has(device: number): (number | undefined)[] {
    return this.#seats.map((seats) => seats.get(device));
  }

  /** Does what this host has for the device go the way of datagrams? */
  isHooked(device: number): boolean | undefined {
    return this.#hooked.get(device);
  }

  /** Each thread has what is shown, and nothing else. */
  assertAgreed(): void {
    const shown = this.hooks
      .show()
      .filter(({ stopped, onstop }) => stopped === undefined || onstop === 'drop')
      .map(({ ifname, generation, stopped }) => [Number(ifname.slice(2)), stopped ? CLOSED : generation]);
    for (const seats of this.#seats)
      assert.deepEqual(
        [...seats].sort(([one], [other]) => one - other),
        shown,
      );
  }

  async #order(order: HookOrder): Promise<void> {
    const during = this.during[order.step];
    delete this.during[order.step];
    this.#carryOut(0, order);
    const refused = this.#isGone;
    if (!refused) {
      if (order.step !== 'prepare') during?.();
      if (!this.#isGone) this.#carryOut(1, order);
      else throw new Error('the thread has ended');
    }
    // The first thread takes its time.
    if (order.step === 'prepare') during?.();
    for (let turns = 0; turns < 3; ++turns) await new Promise((resolve) => setImmediate(resolve));
    if (refused) throw new Error('the thread has ended');
  }

  #carryOut(thread: number, order: HookOrder): void {
    const [seats, prepared] = [this.#seats[thread]!, this.#prepared[thread]!];
    if (order.step === 'prepare') prepared.set(order.program.generation, order.program);
    else if (order.step === 'forget') prepared.delete(order.generation);
    else if (order.step === 'remove') seats.delete(order.seat.device);
    else if (order.step === 'close') seats.set(order.seat.device, CLOSED);
    else {
      const program = prepared.get(order.generation);
      if (program !== undefined) seats.set(program.device, program.generation);
    }
  }
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 10));

describe('a thread is started anew', () => {
  it('after it has prepared a program, before the others have: none takes it', async () => {
    const world = new World();
    await world.apply(1, 'add');
    world.during.prepare = world.endSecond;
    await assert.rejects(world.apply(2, 'add'), /started anew meanwhile/);
    await settled();
    world.assertAgreed();
    await world.apply(2, 'add');
    world.assertAgreed();
  });

  for (const step of ['switch', 'remove'] as const)
    it(`in the midst of a ${step}`, async () => {
      const world = new World();
      await world.apply(1, 'add');
      await world.apply(2, 'add');
      world.during[step] = world.endSecond;
      await world.apply(2, step === 'switch' ? 'replace' : 'del');
      await settled();
      world.assertAgreed();
    });

  for (const [onstop, has] of [
    ['drop', CLOSED],
    ['pass', undefined],
    // What modules do.
    [undefined, CLOSED],
  ] as const)
    it(`and can’t go on with a program, onstop ${onstop}: no thread has it, the next one takes its place`, async () => {
      const world = new World();
      await world.apply(1, 'add', onstop);
      await world.apply(2, 'add', onstop);
      const { generation } = world.hooks.show('vx1')[0]!;
      // Said of one that is not there any more, and twice.
      world.giveUp(1, generation - 1);
      world.giveUp(1, generation);
      world.giveUp(1, generation);
      await settled();
      assert.equal(world.hooks.show('vx1')[0]!.stopped, 'it can’t go on');
      assert.equal(world.hooks.show('vx2')[0]!.stopped, undefined);
      world.assertAgreed();
      assert.deepEqual(world.has(1), [has, has]);
      world.endSecond();
      await settled();
      world.assertAgreed();
      assert.deepEqual(world.has(1), [has, has]);
      assert.equal(world.isHooked(1), has === CLOSED);
      await world.apply(1, 'replace', onstop);
      world.assertAgreed();
      assert.equal(world.isHooked(1), true);
    });

  it('before an order that it never sees', async () => {
    const world = new World();
    await world.apply(1, 'add');
    await world.apply(2, 'add');
    world.endSecond();
    await world.apply(1, 'del');
    world.endSecond();
    await assert.rejects(world.apply(1, 'add'));
    await settled();
    world.assertAgreed();
  });
});
