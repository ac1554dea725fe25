/**
 * The same steps on the kernel's device and on vxlane's. A step is a line of shell with `ip` and `bridge` in it; on
 * the kernel's side these are the real tools, on vxlane's the wrappers, with a daemon in the namespace. Each step's
 * exit code, and what it printed where it is asked to show, go into a transcript: vxlane's must be the kernel's.
 *
 * The kernel goes first, as the control: a check that it does not pass itself says nothing.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  VXLAN_ID,
  VXLAN_LOCAL,
  VXLAN_LOCALBYPASS,
  VXLAN_PORT,
  VXLAN_RESERVED_BITS,
  type VxlanAttributes,
} from './kernel-link.ts';
import { type Bed, type Namespace, REPOSITORY } from './netns.ts';
import { Agent } from './traffic.ts';
import { ip } from './traffic-frames.ts';
import { kinds, suite } from './traffic-gate.ts';
import type { Kind } from './traffic-vtep.ts';

export const WRAPPERS = join(REPOSITORY, 'wrap');
const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const READY_MS = 30_000;
const STEP_MS = 20_000;

export interface Step {
  script: string;
  code: number | null;
  out: string;
  err: string;
}

/** One host with the device under test, and as many plain neighbours as a test wants. */
export class Place {
  readonly kind: Kind;
  readonly host: Namespace;
  readonly transcript: string[] = [];
  readonly #bed: Bed;
  readonly #agents = new Map<Namespace, Agent>();

  private constructor(kind: Kind, bed: Bed, host: Namespace) {
    this.kind = kind;
    this.host = host;
    this.#bed = bed;
  }

  static async start(kind: Kind, bed: Bed): Promise<Place> {
    const host = bed.namespace(kind);
    host.sysctl({ 'net.ipv6.conf.default.disable_ipv6': 0, 'net.ipv6.conf.default.accept_dad': 0 });
    if (kind === 'vxlane') await startDaemonIn(host);
    return new Place(kind, bed, host);
  }

  /** Another host, with nothing in it. */
  neighbour(label: string): Namespace {
    const namespace = this.#bed.namespace(label);
    namespace.sysctl({ 'net.ipv6.conf.default.accept_dad': 0 });
    return namespace;
  }

  async agent(namespace: Namespace = this.host): Promise<Agent> {
    let agent = this.#agents.get(namespace);
    if (agent === undefined) {
      agent = await Agent.start(namespace);
      this.#agents.set(namespace, agent);
    }
    return agent;
  }

  /** What the tools' environment is on this side. */
  get environment(): Record<string, string> {
    if (this.kind === 'kernel') return {};
    return { PATH: `${WRAPPERS}:${process.env.PATH}`, VXLANE_NODE: process.execPath };
  }

  /**
   * A device with options that the installed iproute2 may lack words for: words on vxlane's side, rtnetlink on the
   * kernel's.
   */
  async device(verb: 'add' | 'set', name: string, options: NewerOptions): Promise<void> {
    if (this.kind === 'kernel') {
      const agent = await this.agent();
      await agent.call('vxlanLink', name, verb === 'add', attributesOf(options));
    } else {
      const { code, err } = this.quietly(`ip link ${verb} dev ${name} type vxlan ${wordsOf(options)}`);
      assert.equal(code, 0, err);
    }
    this.transcript.push(`${verb} ${name} ${wordsOf(options)}`);
  }

  /** Runs a line and leaves no trace of it. */
  quietly(script: string): Step {
    const { VXLANE_SOCKET: _, ...inherited } = process.env;
    const env = { ...inherited, ...this.environment };
    const result = spawnSync('/usr/bin/env', ['ip', 'netns', 'exec', this.host.name, 'sh', '-c', script], {
      encoding: 'utf8',
      timeout: STEP_MS,
      env,
    });
    if (result.error) throw result.error;
    return { script, code: result.status, out: result.stdout, err: result.stderr };
  }

  /** Runs a line; its exit code is part of the comparison. */
  run(script: string): Step {
    const step = this.quietly(script);
    this.transcript.push(`${script}: ${step.code}`);
    return step;
  }

  /** Runs lines that must end well. */
  ok(...scripts: string[]): void {
    for (const script of scripts) {
      const { code, err } = this.run(script);
      assert.equal(code, 0, `${this.kind}: ${script}: ${err}`);
    }
  }

  /** Runs a line that must end with this code and say this on stderr. */
  refused(code: number, script: string, words?: RegExp): void {
    const step = this.run(script);
    assert.equal(step.code, code, `${this.kind}: ${script}: ${step.err}`);
    if (words) assert.match(step.err, words, `${this.kind}: ${script}`);
  }

  /** Runs a line that must end well; what it printed is part of the comparison. */
  show(script: string): string {
    const { code, out, err } = this.quietly(script);
    assert.equal(code, 0, `${this.kind}: ${script}: ${err}`);
    this.transcript.push(`${script}:\n${out}`);
    return out;
  }

  /** How many lines of a list hold these words. */
  count(script: string, words: string | RegExp): number {
    const { code, out, err } = this.quietly(script);
    assert.equal(code, 0, `${this.kind}: ${script}: ${err}`);
    const found = out
      .split('\n')
      .filter((line) => (typeof words === 'string' ? line.includes(words) : words.test(line))).length;
    this.transcript.push(`${script} | count ${words}: ${found}`);
    return found;
  }

  /** A fact that was measured otherwise, for the comparison. */
  note(name: string, value: unknown): void {
    this.transcript.push(`${name}: ${JSON.stringify(value)}`);
  }
}

export interface NewerOptions {
  id?: number;
  local?: string;
  dstport?: number;
  localbypass?: boolean;
  reserved_bits?: bigint;
}

function wordsOf({ id, local, dstport, localbypass, reserved_bits }: NewerOptions): string {
  return [
    ...(id === undefined ? [] : [`id ${id}`]),
    ...(local === undefined ? [] : [`local ${local}`]),
    ...(dstport === undefined ? [] : [`dstport ${dstport}`]),
    ...(localbypass === undefined ? [] : [localbypass ? 'localbypass' : 'nolocalbypass']),
    ...(reserved_bits === undefined ? [] : [`reserved_bits 0x${reserved_bits.toString(16)}`]),
  ].join(' ');
}

function attributesOf({ id, local, dstport, localbypass, reserved_bits }: NewerOptions): VxlanAttributes {
  const mask = new Uint8Array(8);
  new DataView(mask.buffer).setBigUint64(0, reserved_bits ?? 0n);
  return [
    ...(id === undefined ? [] : [[VXLAN_ID, new Uint8Array(new Uint32Array([id]).buffer)] as const]),
    ...(local === undefined ? [] : [[VXLAN_LOCAL, ip(local)] as const]),
    ...(dstport === undefined ? [] : [[VXLAN_PORT, Uint8Array.of(dstport >> 8, dstport)] as const]),
    ...(localbypass === undefined ? [] : [[VXLAN_LOCALBYPASS, Uint8Array.of(localbypass ? 1 : 0)] as const]),
    ...(reserved_bits === undefined ? [] : [[VXLAN_RESERVED_BITS, mask] as const]),
  ];
}

async function startDaemonIn(namespace: Namespace): Promise<void> {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run "npm run build" first`);
  const { VXLANE_SOCKET: _, ...env } = process.env;
  const child = namespace.spawn(process.execPath, [PROGRAM, 'daemon'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
  });
  let said = '';
  let ready: () => void = () => undefined;
  const up = new Promise<void>((done) => {
    ready = done;
  });
  const hear = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-8192);
    if (said.includes('daemon ready')) ready();
  };
  child.stdout?.on('data', hear);
  child.stderr?.on('data', hear);
  const late = setTimeout(ready, READY_MS);
  await Promise.race([up, once(child, 'exit')]);
  clearTimeout(late);
  if (!said.includes('daemon ready'))
    throw new Error(`vxlane daemon (${child.exitCode ?? 'running'}): ${said}`);
}

export interface Check {
  name: string;
  steps: (place: Place) => Promise<void> | void;
  /** Why the kernel's side can't run it here (its tools lack the words): only vxlane's steps are checked then. */
  only?: string;
}

/** Runs each check on a place of its own, on the kernel first, and compares. */
export function twice(name: string, checks: readonly Check[]): void {
  const control = new Map<Check, readonly string[]>();
  for (const kind of kinds) {
    if (kind === 'kernel' && checks.every(({ only }) => only)) continue;
    suite(`${name}: ${kind}`, kind === 'vxlane' ? ['kernel', 'vxlane'] : [kind], (bed) => {
      for (const check of checks) {
        if (kind === 'kernel' && check.only) continue;
        test(check.only ? `${check.name} (${check.only})` : check.name, async () => {
          const place = await Place.start(kind, bed);
          await check.steps(place);
          if (kind === 'kernel') control.set(check, place.transcript);
          else if (!check.only && kinds.includes('kernel'))
            assert.deepEqual(place.transcript, control.get(check), 'other outcomes than the kernel’s');
        });
      }
    });
  }
}
