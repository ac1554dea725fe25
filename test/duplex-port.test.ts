/** `fromDuplex` against a TAP object with the quirks of tuntap2's, one by one. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import {
  createMemoryNetwork,
  createMemoryPort,
  createVtep,
  type DuplexTapLike,
  fromDuplex,
  VtepError,
} from '../src/index.ts';

/**
 * As tuntap2's `Tap` is: strings are thrown, nothing answers before `isUp` was set through this object, `_writev` and
 * `setEncoding` throw, `read` joins frames, and a release waits for the read that waits for a frame.
 */
class FakeTap extends EventEmitter implements DuplexTapLike {
  readonly name = 'tap0';
  readonly written: Uint8Array[] = [];
  readonly calls: string[] = [];
  readonly #done: (() => void)[] = [];
  #isUp = false;
  /** Writes that have not been called back. */
  stalled = false;
  refuses = '';

  get isUp(): boolean {
    return this.#isUp;
  }

  set isUp(value: boolean) {
    this.calls.push(`isUp ${value}`);
    if (this.refuses !== '') throw this.refuses;
    this.#isUp = value;
  }

  get mac(): string {
    if (!this.#isUp) throw 'ioctl SIOCGIFHWADDR: the interface is down';
    return '00:11:22:33:44:55';
  }

  get mtu(): number {
    if (!this.#isUp) throw 'ioctl SIOCGIFMTU: the interface is down';
    return 1400;
  }

  override on(event: string, listener: (argument?: unknown) => void): this {
    this.calls.push(`on ${event}`);
    return super.on(event, listener);
  }

  cork(): never {
    throw new Error('never cork');
  }

  setEncoding(): never {
    throw new Error('no encodings');
  }

  pause(): never {
    throw new Error('frames run into each other in paused mode');
  }

  write(frame: Uint8Array, written?: (error?: Error | null) => void): boolean {
    if (frame.length > 1414) throw 'Message too long';
    this.written.push(frame);
    if (this.stalled) return false;
    setImmediate(() => written?.(null));
    return true;
  }

  /** The read that waits ends with the next frame. */
  release(done?: () => void): void {
    this.calls.push('release');
    if (done !== undefined) this.#done.push(done);
  }

  frame(bytes: Uint8Array): void {
    this.emit('data', bytes);
    for (const done of this.#done.splice(0)) done();
  }
}

const MAC = '02:00:00:00:00:01';
const frame = (last: number) =>
  Uint8Array.of(2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 3, 0x88, 0xb5, ...new Array(46).fill(last));

async function until(what: string, condition: () => boolean): Promise<void> {
  for (
    const end = performance.now() + 10_000;
    !condition();
    await new Promise((resolve) => setTimeout(resolve, 2))
  )
    if (performance.now() > end) throw new Error(`not within 10 s: ${what}`);
}

async function world(tap: FakeTap, options: { queue?: number } = {}) {
  const net = createMemoryNetwork();
  const lines: string[] = [];
  const near = await createVtep({ underlay: net.host('192.0.2.1'), logger: (_, line) => lines.push(line) });
  const far = await createVtep({ underlay: net.host('192.0.2.2') });
  const [mine, its] = createMemoryPort();
  const heard: Uint8Array[] = [];
  mine.start({ frames: (batch) => heard.push(...batch.map((one) => one.slice())), closed() {}, warn() {} });
  await far.addDevice({ name: 'vx0', id: 1, address: MAC, remote: '192.0.2.1', port: its });
  const info = await near.addDevice({
    name: 'vx0',
    id: 1,
    remote: '192.0.2.2',
    port: fromDuplex(tap, options),
  });
  /** The TAP's last frame lets it be released. */
  const close = async () => {
    const closed = Promise.all([near.close(), far.close()]);
    await until('the release', () => tap.calls.includes('release'));
    tap.frame(frame(0));
    await closed;
  };
  return { near, far, mine, heard, info, lines, close };
}

describe('a port of a Duplex-like TAP', () => {
  it('takes it up first, then asks it, then lets it flow', async () => {
    const tap = new FakeTap();
    const { info, lines, close } = await world(tap);
    assert.equal(tap.calls[0], 'isUp true');
    assert.equal(tap.calls.at(-1), 'on data');
    assert.equal(info.config.address, '00:11:22:33:44:55');
    assert.equal(info.config.mtu, 1400);
    if (process.env.UV_THREADPOOL_SIZE === undefined) assert.match(lines.join('\n'), /UV_THREADPOOL_SIZE/);
    await close();
  });

  it('carries frames both ways, each with bytes of its own', async () => {
    const tap = new FakeTap();
    const { mine, heard, close } = await world(tap);
    tap.frame(frame(1));
    tap.frame(frame(2));
    await until('two frames', () => heard.length === 2);
    assert.deepEqual(heard, [frame(1), frame(2)]);
    for (const last of [3, 4, 5]) mine.write([Uint8Array.of(...frame(last))]);
    await until('three frames', () => tap.written.length === 3);
    assert.deepEqual(tap.written, [frame(3), frame(4), frame(5)]);
    await close();
  });

  it('keeps a bounded queue, and counts what does not fit', async () => {
    const tap = new FakeTap();
    tap.stalled = true;
    const { near, mine, close } = await world(tap, { queue: 2 });
    mine.write([frame(1), frame(2), frame(3), frame(4), frame(5)]);
    await until('drops', () => near.status().counters.vx0?.drop_tap_write === 3);
    assert.equal(tap.written.length, 2);
    await close();
  });

  it('a release that never comes back is not waited for', async () => {
    const tap = new FakeTap();
    const { near, far } = await world(tap);
    const began = performance.now();
    await Promise.all([near.close(), far.close()]);
    assert.ok(performance.now() - began < 10_000);
    assert.ok(tap.calls.includes('release'));
  });

  it('thrown strings become typed errors, and nothing is left behind', async () => {
    const tap = new FakeTap();
    tap.refuses = 'Operation not permitted';
    await assert.rejects(world(tap), (error: unknown) => {
      assert.ok(error instanceof VtepError);
      assert.equal(error.code, 'SYSTEM');
      assert.match(error.message, /tap0.*Operation not permitted/);
      return true;
    });
    // biome-ignore lint/suspicious/noExplicitAny: that is the point
    assert.throws(() => fromDuplex({} as any), VtepError);
    assert.throws(() => fromDuplex(new FakeTap(), { queue: 0 }), VtepError);
  });

  for (const [what, end] of [
    ['an error', (tap: FakeTap) => tap.emit('error', 'EBADFD')],
    ['its end', (tap: FakeTap) => tap.emit('close')],
  ] as const)
    it(`${what} takes the device down`, async () => {
      const tap = new FakeTap();
      const { near, mine, close } = await world(tap);
      end(tap);
      await until('down', () => near.devices()[0]!.up === false);
      mine.write([frame(1)]);
      await mine.drained();
      assert.deepEqual(tap.written, []);
      await close();
    });
});
