/** What the kernel says about time: of the whole machine, of a process, of a thread. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** USER_HZ: 100 on every architecture that Node runs on. */
const CLOCK_TICKS = 100;

/** Seconds that all cores together were busy since start-up, and seconds that the hypervisor kept from them. */
export function busySeconds(): { at: number; busy: number; stolen: number } {
  const words = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = words;
  const busy = (user + nice + system + irq + softirq) / CLOCK_TICKS;
  return { at: performance.now() / 1000, busy, stolen: steal / CLOCK_TICKS };
}

/** Mean over a window that begins after `afterMs`. */
export async function busyCores(afterMs: number, forMs: number): Promise<number> {
  await sleep(afterMs);
  const before = busySeconds();
  await sleep(forMs);
  const after = busySeconds();
  return (after.busy - before.busy) / (after.at - before.at);
}

/** CPU seconds of one process, all its threads. */
export function processSeconds(pid: number): number {
  const [user, system] = ticks(`/proc/${pid}/stat`);
  return (user + system) / CLOCK_TICKS;
}

function ticks(file: string): [user: number, system: number] {
  const stat = readFileSync(file, 'utf8');
  // The command's name may hold blanks and parentheses: count from behind it.
  const words = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return [Number(words[11]), Number(words[12])];
}

/** Sums since the thread began. */
export interface ThreadTimes {
  /** Seconds in user mode and in the kernel, in steps of 10 ms (stat). */
  user: number;
  system: number;
  /** Seconds on a core, and seconds ready to run without one, exact (schedstat). */
  running: number;
  queued: number;
  /** Switches because it had to wait for something, and because another thread took the core (status). */
  voluntary: number;
  involuntary: number;
}

export function threadTimes(pid: number, thread: number): ThreadTimes {
  const directory = `/proc/${pid}/task/${thread}`;
  const [user, system] = ticks(`${directory}/stat`);
  const [running = 0, queued = 0] = readFileSync(`${directory}/schedstat`, 'utf8').split(' ').map(Number);
  const status = readFileSync(`${directory}/status`, 'utf8');
  const switches = (kind: string) =>
    Number(new RegExp(`^${kind}_ctxt_switches:\\s*(\\d+)`, 'm').exec(status)?.[1]);
  return {
    user: user / CLOCK_TICKS,
    system: system / CLOCK_TICKS,
    running: running / 1e9,
    queued: queued / 1e9,
    voluntary: switches('voluntary'),
    involuntary: switches('nonvoluntary'),
  };
}
