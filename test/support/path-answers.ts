/**
 * Plays the part of src/vtep/paths.ts: answers the encap walk's questions about paths, from a table instead of the
 * kernel's, and tells the worker the time.
 */
import assert from 'node:assert/strict';
import {
  AF_INET,
  ENCAP_PATH_REMOTE_OFFSET,
  ENCAP_PATH_WANTED_OFFSET,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_PATHS_GENERATION_OFFSET,
  HEADER_PATHS_OFFSET,
  PATH_EXPIRES_OFFSET,
  PATH_FAMILY_OFFSET,
  PATH_FLAGS_OFFSET,
  PATH_GENERATION_OFFSET,
  PATH_HOPS_OFFSET,
  PATH_IFINDEX_OFFSET,
  PATH_KNOWN_MILLISECONDS,
  PATH_LOCAL,
  PATH_MTU_OFFSET,
  PATH_OUT_OFFSET,
  PATH_SOURCE_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  WORKER_CLOCK_OFFSET,
} from '../../assembly/layout.ts';
import type { TestEngine } from './engine.ts';
import { ipBytes } from './frames.ts';
import { ipText } from './parse.ts';

export interface PathFields {
  local?: boolean;
  /** ifindex that the route leads out of */
  out?: number;
  mtu?: number;
  /** Super-frames may leave whole from this address. */
  whole?: WholePath;
}

export interface WholePath {
  source: string;
  hops: number;
  /** PATH_WHOLE and PATH_WHOLE_CHECKSUM */
  flags: number;
}

export class PathAnswers {
  /** By remote address, "address%ifindex" where there is one; others: a way out with an MTU of 1500. */
  readonly routes = new Map<string, PathFields>();
  readonly #engine: TestEngine;
  readonly #worker: number;

  constructor(engine: TestEngine, worker: number) {
    this.#engine = engine;
    this.#worker = worker;
  }

  /** Whether the walk asks. */
  set wanted(on: boolean) {
    this.#engine.view.setUint32(HEADER_BASE + HEADER_PATHS_OFFSET, Number(on), true);
  }

  /** Milliseconds, as a 32-bit number that wraps around. */
  set clock(milliseconds: number) {
    this.#engine.view.setUint32(this.#worker + WORKER_CLOCK_OFFSET, milliseconds, true);
  }

  /** Routes or addresses have changed. */
  change(): void {
    const at = HEADER_BASE + HEADER_PATHS_GENERATION_OFFSET;
    const { view } = this.#engine;
    view.setUint32(at, view.getUint32(at, true) + 1, true);
  }

  /** Answers what has been asked, if anything. @returns the remote's name */
  answer(): string[] {
    const { view, bytes, exports } = this.#engine;
    const state = this.#worker + ENCAP_STATE_OFFSET;
    const wanted = view.getUint32(state + ENCAP_PATH_WANTED_OFFSET, true);
    if (wanted === 0) return [];
    assert.equal(wanted, 1);
    const remote = state + ENCAP_PATH_REMOTE_OFFSET;
    const record = bytes.slice(remote, remote + REMOTE_BYTES);
    const family = record[REMOTE_FAMILY_OFFSET]!;
    const ifindex = view.getUint32(remote + REMOTE_IFINDEX_OFFSET, true);
    const address = ipText(record, REMOTE_ADDRESS_OFFSET, family === AF_INET ? 4 : 16);
    const name = ifindex === 0 ? address : `${address}%${ifindex}`;
    const { local = false, out = 1, mtu = 1500, whole } = this.routes.get(name) ?? {};
    const slot = exports.pathSlot(this.#worker, remote);
    bytes.set(record.subarray(REMOTE_ADDRESS_OFFSET, REMOTE_ADDRESS_OFFSET + 16), slot);
    view.setUint32(slot + PATH_IFINDEX_OFFSET, ifindex, true);
    view.setUint8(slot + PATH_FAMILY_OFFSET, family);
    view.setUint32(slot + PATH_MTU_OFFSET, mtu, true);
    view.setUint32(slot + PATH_FLAGS_OFFSET, (local ? PATH_LOCAL : 0) | (whole?.flags ?? 0), true);
    view.setUint8(slot + PATH_HOPS_OFFSET, whole?.hops ?? 0);
    bytes.fill(0, slot + PATH_SOURCE_OFFSET, slot + PATH_SOURCE_OFFSET + 16);
    if (whole) bytes.set(ipBytes(whole.source), slot + PATH_SOURCE_OFFSET);
    view.setUint32(slot + PATH_OUT_OFFSET, out, true);
    const now = view.getUint32(this.#worker + WORKER_CLOCK_OFFSET, true);
    view.setUint32(slot + PATH_EXPIRES_OFFSET, now + PATH_KNOWN_MILLISECONDS, true);
    const generation = view.getUint32(HEADER_BASE + HEADER_PATHS_GENERATION_OFFSET, true);
    view.setUint32(slot + PATH_GENERATION_OFFSET, generation, true);
    return [name];
  }
}
