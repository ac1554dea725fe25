/**
 * The examples do what they say. Each is there twice, as a script of commands and as a configuration file: the
 * script must print what its own comments (`#> `) promise, and the file must lead to the same devices, entries and
 * VNIs. A command that stands in the head of a file is run too.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../src/daemon/config.ts';
import { type Bed, end, type Namespace, REPOSITORY } from './support/netns.ts';
import { suite } from './support/traffic-gate.ts';

const FOLDER = join(REPOSITORY, 'examples');
const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const READY_MS = 20_000;
const SCRIPT_MS = 60_000;

const files = readdirSync(FOLDER);
const scripts = files.filter((file) => file.endsWith('.sh')).map((file) => file.slice(0, -3));
const read = (file: string) => readFileSync(join(FOLDER, file), 'utf8');
/** Interfaces are numbered as they come; blanks at an end of line are as iproute2 prints them. */
const lines = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.trimEnd().replace(/^\d+: /, 'N: '));
/** What a script promises, line by line. */
const promised = (script: string) =>
  lines([...script.matchAll(/^#> (.*)$/gm)].map(([, line]) => line).join('\n'));

/** The commands of a script that show what the daemon has, and what each of them prints. */
function shows(script: string): { command: string; prints: string }[] {
  const own = /^(vxlane (?:-d )?(?:link|fdb|vni|vlan|mdb|policy) (?:show|get) .*)\n((?:#> .*\n?)+)/gm;
  return [...script.matchAll(own)].map(([, command, prints]) => ({ command: command!, prints: prints! }));
}

/** Commands in the head of a file: those to run before the daemon, and those after. */
function commands(name: string): { before: string[]; after: string[] } {
  const head = [...read(`${name}.yaml`).matchAll(/^# {3}((?:ip|vxlane) .*)$/gm)].map(([, line]) => line!);
  const daemon = head.indexOf(`vxlane daemon --config examples/${name}.yaml`);
  assert.notEqual(daemon, -1, `${name}.yaml says how it is used`);
  return { before: head.slice(0, daemon), after: head.slice(daemon + 1) };
}

/** A host with eth0, as the examples want it, and `vxlane` in the PATH. */
class Machine {
  readonly #host: Namespace;
  readonly #env: NodeJS.ProcessEnv;

  constructor(bed: Bed, label: string) {
    this.#host = bed.namespace(label);
    this.#host.ip(
      'link add eth0 type veth peer name eth1',
      'addr add 192.0.2.1/24 dev eth0',
      'link set eth0 up',
      'link set eth1 up',
    );
    const bin = bed.directory();
    const program = join(bin, 'vxlane');
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' "$@"\n`);
    chmodSync(program, 0o755);
    const { VXLANE_SOCKET: _, ...env } = process.env;
    this.#env = { ...env, PATH: `${bin}:${env.PATH}` };
  }

  sh(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync('ip', ['netns', 'exec', this.#host.name, 'sh', ...args], {
      encoding: 'utf8',
      env: this.#env,
      timeout: SCRIPT_MS,
    });
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** Runs `body` beside a daemon; resolves when that has ended well. */
  async withDaemon(options: readonly string[], body: () => void): Promise<void> {
    const child = this.#host.spawn(process.execPath, [PROGRAM, 'daemon', ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: this.#env,
    });
    let said = '';
    const ready = new Promise<void>((done) => {
      for (const stream of [child.stdout!, child.stderr!])
        stream.on('data', (chunk: Buffer) => {
          said += chunk.toString();
          if (said.includes('daemon ready')) done();
        });
    });
    const late = AbortSignal.timeout(READY_MS);
    await Promise.race([ready, once(child, 'exit', { signal: late })]);
    assert.match(said, /daemon ready/);
    try {
      body();
    } finally {
      await end(child);
    }
    assert.equal(child.exitCode, 0, said);
  }
}

test('each example is a script and a file', () => {
  assert.ok(scripts.length >= 6, String(scripts));
  for (const name of scripts) {
    assert.ok(files.includes(`${name}.yaml`), name);
    assert.ok(shows(read(`${name}.sh`)).length > 0, `${name}.sh shows something`);
  }
});

for (const file of files.filter((name) => name.endsWith('.yaml')))
  test(`${file} is a configuration`, async () => {
    const { devices } = await loadConfig(join(FOLDER, file));
    assert.ok(devices.length > 0);
  });

suite('examples', ['vxlane'], (bed) => {
  for (const name of scripts) {
    test(`${name}.sh prints what it promises`, async () => {
      const machine = new Machine(bed, name);
      await machine.withDaemon([], () => {
        assert.deepEqual(lines(machine.sh(join(FOLDER, `${name}.sh`))), promised(read(`${name}.sh`)));
      });
    });

    test(`${name}.yaml is the same`, async () => {
      const machine = new Machine(bed, name);
      const { before, after } = commands(name);
      machine.sh('-ec', before.join('\n'));
      await machine.withDaemon(['--config', join(FOLDER, `${name}.yaml`)], () => {
        machine.sh('-ec', after.join('\n'));
        for (const { command, prints } of shows(read(`${name}.sh`)))
          assert.deepEqual(lines(machine.sh('-c', command)), promised(prints), command);
      });
    });
  }
});
