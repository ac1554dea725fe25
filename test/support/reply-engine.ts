/**
 * The engine in the surroundings of reply-world.ts, asked for one reply at a time. Frames end where the memory ends, so that
 * a read behind them traps; replies lie between bytes that must stay as they are.
 */
import assert from 'node:assert/strict';
import {
  AF_INET,
  DEVICE_BYTES,
  DEVICE_FLAG_L3MISS,
  DEVICE_FLAG_PROXY,
  DEVICE_FLAG_RSC,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  FDB_FLAGS_OFFSET,
  INJECT_REPLY_BYTES,
  NTF_ROUTER,
  NTF_SELF,
} from '../../assembly/layout.ts';
import type { CounterName } from '../../src/dataplane/counters.ts';
import type { EngineBuild } from '../../src/dataplane/engine.ts';
import { drainEvents } from '../../src/dataplane/events.ts';
import { entryRecord } from '../../src/dataplane/fdb-record.ts';
import { parseAddress, parseMac } from '../../src/dataplane/fdb-text.ts';
import { Neighbours } from '../../src/dataplane/neighbours.ts';
import { sameBytes } from './bytes.ts';
import { macBytes } from './frames.ts';
import { DECAP_WORKER, ENCAP_WORKER, HotPath } from './hot-path.ts';
import type { NaiveWorld } from './naive-proxy.ts';
import { networkOffset } from './naive-segment.ts';
import { ipText } from './parse.ts';
import { FDB, NEIGHBOURS } from './reply-world.ts';

export const REMOTE = '10.99.0.2';
const CONNECTED: readonly string[] = ['permanent', 'noarp', 'reachable'];
const CANARY = 0x5a;
const CANARY_BYTES = 64;
const REPLY = DECAP_WORKER + 1_000_000;

export interface Outcome {
  /** What the engine returned. */
  verdict: number;
  reply?: Uint8Array;
  counters: Partial<Record<CounterName, number>>;
  /** Addresses of L3 miss events. */
  misses: string[];
}

export class ReplyEngine {
  readonly path: HotPath;
  readonly device: number;
  readonly neighbours: Neighbours;

  private constructor(path: HotPath) {
    this.path = path;
    // Numbers of devices before it: an address that takes the wrong one shows.
    path.device();
    this.device = path.device();
    this.neighbours = new Neighbours(path.engine.memory);
    for (const { address, mac, state } of NEIGHBOURS) this.know(address, mac, CONNECTED.includes(state));
    for (const { mac, any = false, router = false } of FDB) {
      const entry = path.entry(this.device, mac, [{ address: any ? '0.0.0.0' : REMOTE }]);
      const flags = NTF_SELF | (router ? NTF_ROUTER : 0);
      path.engine.view.setUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, flags, true);
    }
    this.flags(DEVICE_FLAG_L3MISS);
  }

  static async open(build: EngineBuild): Promise<ReplyEngine> {
    return new ReplyEngine(await HotPath.open(build));
  }

  know(address: string, mac: string, connected: boolean): void {
    this.neighbours.set(this.device, parseAddress(address)!, parseMac(mac)!, connected);
  }

  /** The FDB entry of a MAC. */
  find(mac: string): number {
    const { bytes, exports } = this.path.engine;
    bytes.set(macBytes(mac), REPLY);
    return exports.fdbFind(this.device, REPLY);
  }

  /** DEVICE_FLAG_* bits besides those of proxy and rsc. */
  flags(bits: number): void {
    const at = DEVICES_BASE + this.device * DEVICE_BYTES + DEVICE_FLAGS_OFFSET;
    this.path.engine.view.setUint32(at, bits | DEVICE_FLAG_PROXY | DEVICE_FLAG_RSC, true);
  }

  proxy(frame: Uint8Array): Outcome {
    const { exports } = this.path.engine;
    const { device } = this;
    return this.#ask(frame, (at) =>
      exports.proxyReduce(ENCAP_WORKER, device, device, at, frame.length, REPLY),
    );
  }

  /** @param mtu what the sender is told */
  tooBig(frame: Uint8Array, mtu: number): Uint8Array | undefined {
    const { exports } = this.path.engine;
    const l3 = networkOffset(frame);
    const outcome = this.#ask(frame, (at) => exports.tooBigAnswer(at, frame.length, l3, mtu, REPLY));
    assert.ok(outcome.verdict >= 0);
    return outcome.reply;
  }

  /** `reply` is the frame, rewritten or not. */
  shortCircuit(frame: Uint8Array): Outcome {
    const { bytes, exports } = this.path.engine;
    const at = bytes.length - frame.length;
    bytes.set(frame, at);
    const isRewritten = exports.shortCircuit(ENCAP_WORKER, this.device, this.device, at, frame.length);
    return { verdict: Number(isRewritten), reply: bytes.slice(at), ...this.#told() };
  }

  #ask(frame: Uint8Array, ask: (at: number) => number): Outcome {
    const { bytes } = this.path.engine;
    const at = bytes.length - frame.length;
    bytes.set(frame, at);
    const room = bytes.subarray(REPLY - CANARY_BYTES, REPLY + INJECT_REPLY_BYTES + CANARY_BYTES);
    room.fill(CANARY);
    const verdict = ask(at);
    assert.ok(sameBytes(bytes.subarray(at), frame), 'the frame stays as it was');
    const written = Math.max(0, verdict);
    assert.ok(written <= INJECT_REPLY_BYTES);
    const around = [room.subarray(0, CANARY_BYTES), room.subarray(CANARY_BYTES + written)];
    for (const part of around)
      assert.ok(
        part.every((byte) => byte === CANARY),
        'nothing is written around the reply',
      );
    const reply = bytes.slice(REPLY, REPLY + written);
    return { verdict, ...(written > 0 ? { reply } : {}), ...this.#told() };
  }

  #told(): Pick<Outcome, 'counters' | 'misses'> {
    const misses: string[] = [];
    drainEvents(this.path.engine, 0, (event) => {
      assert.equal(event.domain, this.device);
      if (event.kind !== 'l3-miss') return;
      const { family, bytes } = event.address;
      misses.push(ipText(bytes, 0, family === AF_INET ? 4 : 16));
    });
    return { counters: this.path.takeCounters(this.device), misses };
  }
}

/** The same surroundings for the naive reference. */
export function naiveWorld(noarp = false): NaiveWorld {
  const neighbours = NEIGHBOURS.map(
    ({ address, mac, state }) => [address, { mac, connected: CONNECTED.includes(state) }] as const,
  );
  const fdb = FDB.map(({ mac, any = false, router = false }) => [mac, { any, router }] as const);
  return { neighbours: new Map(neighbours), fdb: new Map(fdb), noarp };
}
