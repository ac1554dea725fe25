import type { CapturedFrame } from './capture.ts';
import type { Host } from './traffic-vtep.ts';

/** A capture that stays open while cases come and go. */
export class Tap {
  readonly #host: Host;
  readonly #id: number;
  #kept: CapturedFrame[] = [];

  private constructor(host: Host, id: number) {
    this.#host = host;
    this.#id = id;
  }

  static async open(host: Host, ifname: string): Promise<Tap> {
    return new Tap(host, await host.agent.call('captureStart', ifname, { direction: 'in' }));
  }

  /** Waits for `frames` and then for `quietMs` of silence, at most `withinMs`; what came since the last `take`. */
  async settle(frames: number, quietMs: number, withinMs: number): Promise<readonly CapturedFrame[]> {
    await this.#host.agent.call(
      'captureSettle',
      this.#id,
      Math.max(0, frames - this.#kept.length),
      quietMs,
      withinMs,
    );
    this.#kept.push(...(await this.#host.agent.call('captureTake', this.#id)));
    return this.#kept;
  }

  take(): CapturedFrame[] {
    const frames = this.#kept;
    this.#kept = [];
    return frames;
  }

  async close(): Promise<void> {
    const { missed } = await this.#host.agent.call('captureStop', this.#id);
    if (missed !== 0) throw new Error(`${missed} frames were not captured`);
  }
}
