/**
 * The kernel's own VXLAN devices, alike to those of the fixture, in a namespace of their own: what the FDB is
 * compared with. Commands go to `bridge -batch`, many at a time.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { AF_INET, AF_INET6 } from '../../assembly/layout.ts';
import type { NexthopInfo } from '../../src/dataplane/nexthops.ts';
import type { FdbFlush } from '../../src/types.ts';
import type { Bed, Namespace } from './netns.ts';

const member = (id: number, gateway: string, weight = 1) => ({
  id,
  weight,
  family: gateway.includes(':') ? (AF_INET6 as typeof AF_INET6) : (AF_INET as typeof AF_INET),
  gateway,
});

/** What `KERNEL_NEXTHOPS` makes, as the FDB is told. */
export const NEXTHOPS: readonly NexthopInfo[] = [
  { id: 1, fdb: true },
  { id: 2, fdb: true },
  { id: 4, fdb: true },
  { id: 40, fdb: false },
  { id: 10, fdb: true, members: [member(1, '192.0.2.1'), member(2, '192.0.2.2', 3)] },
  { id: 11, fdb: true, members: [member(2, '192.0.2.2')] },
  { id: 20, fdb: true, members: [member(4, '2001:db8::1')] },
  { id: 30, fdb: false, members: [member(40, '192.0.2.9')] },
];

const AGENT = fileURLToPath(new URL('fdb-flush-agent.ts', import.meta.url));

const SETUP = [
  'link add v1 type veth peer name v2',
  'link add v3 type veth peer name v4',
  'addr add 192.0.2.8/24 dev v1',
  'link set v1 up',
  'link set v2 up',
  'link add vx0 type vxlan id 5 dstport 8472 nolearning',
  'link add vx1 type vxlan id 6 dstport 4789 nolearning maxaddress 4',
  'link add vx6 type vxlan id 7 dstport 8472 nolearning local 2001:db8::8',
  'link add ex0 type vxlan external dstport 4790',
  'nexthop add id 1 via 192.0.2.1 fdb',
  'nexthop add id 2 via 192.0.2.2 fdb',
  'nexthop add id 4 via 2001:db8::1 fdb',
  'nexthop add id 40 via 192.0.2.9 dev v1',
  'nexthop add id 10 group 1/2,3 fdb',
  'nexthop add id 11 group 2 fdb',
  'nexthop add id 20 group 4 fdb',
  'nexthop add id 30 group 40',
];

/** What came of one command: what it printed (parsed), or the sentence it was refused with. */
export interface Outcome {
  printed?: unknown;
  refused?: string;
}

export class FdbKernel {
  readonly namespace: Namespace;
  /** Lines of `bridge monitor fdb`, oldest first. */
  readonly events: string[] = [];
  #marks = 0;
  #agent: { input: Writable; answers: AsyncIterator<string> } | undefined;

  constructor(bed: Bed) {
    this.namespace = bed.namespace('fdb');
    this.namespace.ip(...SETUP);
  }

  /** Begins to listen to events. */
  async monitor(): Promise<void> {
    const child = this.namespace.spawn('bridge', ['monitor', 'fdb'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface({ input: child.stdout! }).on('line', (line) => this.events.push(line));
    await once(child, 'spawn');
    // It listens some time after it has been started: what it hears of is asked for until it does.
    for (let looks = 0; this.events.length === 0; looks++) {
      if (looks > 500) throw new Error('the monitor says nothing');
      this.#mark();
      await pause();
    }
    await this.takeEvents();
  }

  /** All events of what was done so far, and forgets them. */
  async takeEvents(): Promise<string[]> {
    // One of its own each time: what is heard of an earlier one may be late.
    const last = `Deleted ${this.#mark()}`;
    for (let looks = 0; !this.events.some((line) => line.startsWith(last)); looks++) {
      if (looks > 500) throw new Error(`the monitor says no more: ${this.events.at(-1)}`);
      await pause();
    }
    const events = this.events.filter((line) => !line.includes(MARKS));
    this.events.length = 0;
    return events;
  }

  /** Runs commands one after the other. `print` says which of them print JSON when they are not refused. */
  run(commands: readonly string[], prints: (command: string) => boolean): Outcome[] {
    const result = spawnSync(
      'ip',
      ['netns', 'exec', this.namespace.name, 'bridge', '-j', '-force', '-batch', '-'],
      { input: `${commands.join('\n')}\n`, encoding: 'utf8', maxBuffer: 1 << 28, timeout: 60_000 },
    );
    const refused = new Map<number, string>();
    let sentence = '';
    for (const line of result.stderr.split('\n')) {
      const failed = /^Command failed -:(\d+)$/.exec(line);
      if (failed) refused.set(Number(failed[1]), sentence);
      else if (line !== '') sentence = line.replace(/^(RTNETLINK answers|Error): /, '');
    }
    const printed = result.stdout.split('\n').filter((line) => line.startsWith('['));
    return commands.map((command, at) => {
      const why = refused.get(at + 1);
      if (why !== undefined) return { refused: why };
      return prints(command) ? { printed: JSON.parse(printed.shift() ?? 'null') } : {};
    });
  }

  /** Flushes as `bridge` of iproute2 6.1 can't. @returns whether the kernel has done it */
  async flush(filter: FdbFlush): Promise<boolean> {
    this.#agent ??= this.#startAgent();
    const { input, answers } = this.#agent;
    const [link] = this.namespace.ipJson('link', 'show', 'dev', filter.dev);
    input.write(`${JSON.stringify({ ifindex: link.ifindex, filter })}\n`);
    const { value } = await answers.next();
    return Number(value) === 0;
  }

  #startAgent() {
    const child = this.namespace.spawn(process.execPath, ['--import', 'tsx', AGENT], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    return {
      input: child.stdin!,
      answers: createInterface({ input: child.stdout! })[Symbol.asyncIterator](),
    };
  }

  /** Makes an entry that only marks a place among the events, and removes it. */
  #mark(): string {
    const mac = `${MARKS}:${(++this.#marks).toString(16).padStart(4, '0').replace(/..$/, ':$&')}`;
    this.run([`fdb add ${mac} dev vx0 dst 192.0.2.1`, `fdb del ${mac} dev vx0`], () => false);
    return mac;
  }
}

const pause = () => new Promise((done) => setTimeout(done, 20));
const MARKS = '06:00:00:00';
