/** Hooks of a node while one of its threads is started anew: all threads have the program that is shown, or none has. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HookDirection, HookRequest } from '../src/types.ts';
import type { Device } from '../src/vtep/device.ts';
import type { HookOrder, Program } from '../src/vtep/hook-messages.ts';
import { type HookParts, Hooks } from '../src/vtep/hooks.ts';
import { handMade } from './support/hook-modules.ts';

const DEVICES = [1, 2].map((index) => ({ index, config: { name: `vx${index}` } }) as Device);
const WASM = handMade({ hook: [0x01] });

/** Two threads, as far as hooks know of them; the second one ends when a test says so. */
class World {
  readonly hooks: Hooks;
  /** What each thread has, by device: generations. */
  readonly #seats: Map<number, number>[] = [new Map(), new Map()];
  readonly #prepared: Map<number, Program>[] = [new Map(), new Map()];
  /** The second thread takes no orders. */
  #isGone = false;
  during: Partial<Record<HookOrder['step'], () => void>> = {};

  constructor() {
    const workers = {
      onLeft: (_: number) => {},
      onHookFault: () => {},
      orderHooks: (_: HookDirection, order: HookOrder) => this.#order(order),
      underJavaScript: () => [],
      shown: () => 0,
      replaceThread: async (_: number, programsNow: () => readonly Program[]) => {
        this.#isGone = true;
        await new Promise((resolve) => setImmediate(resolve));
        this.#isGone = false;
        this.#prepared[1]!.clear();
        this.#seats[1] = new Map(programsNow().map(({ device, generation }) => [device, generation]));
      },
    };
    const plane = { blocks: 0, views: {}, devices: { setHooked() {} } };
    this.hooks = new Hooks({ plane, workers, log() {}, emit() {} } as unknown as HookParts);
    this.endSecond = () => workers.onLeft(1);
  }

  readonly endSecond: () => void;

  /** As the daemon, one after the other. */
  apply(device: number, op: HookRequest['op']): Promise<void> {
    const dev = `vx${device}`;
    const request = op === 'del' ? { op } : { op, file: 'x.wasm', wasm: WASM };
    return this.hooks.apply(DEVICES[device - 1]!, { ...request, dev, direction: 'decap' } as HookRequest);
  }

  /** Each thread has what is shown, and nothing else. */
  assertAgreed(): void {
    const shown = this.hooks.show().map(({ ifname, generation }) => [Number(ifname.slice(2)), generation]);
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
