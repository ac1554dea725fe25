/**
 * `--profile`: where the time of each worker thread goes, while a row's traffic passes. Every figure has one of
 * three sources:
 *
 * - the daemon's own stopwatch (VXLANE_PROFILE): calls and seconds by system call, of the engine, and asleep.
 *   JavaScript is what is left of the wall clock; the stopwatch's own cost is a line of its own.
 * - /proc/PID/task/TID: on a core (schedstat), ready without one (schedstat), user and system (stat), switches.
 * - the workers' counters in the daemon's status: packets and batches.
 *
 * A second pair without the stopwatch carries the same traffic, so that it shows what the looking costs.
 */
import { createClient } from '../src/daemon/client.ts';
import type { WorkerProfile, WorkerStatus } from '../src/types.ts';
import { type ThreadTimes, threadTimes } from './cpu.ts';
import type { Options } from './options.ts';
import type { Probe, Subject } from './probe.ts';
import { columns } from './table.ts';
import type { Host, Pair, Testbed } from './testbed.ts';
import { KERNEL, tunnelOf } from './tunnels.ts';

interface Sight {
  /** Seconds, of a monotonic clock. */
  at: number;
  workers: { status: WorkerStatus; profile: WorkerProfile; times: ThreadTimes }[];
}

/** Measures and prints, row by row, candidate by candidate. */
export async function profile(
  bed: Testbed,
  probe: Probe,
  { candidates, trials }: Options,
  print: (text: string) => void,
): Promise<void> {
  for (const [index, candidate] of candidates.entries()) {
    if (candidate.name === KERNEL) throw new Error('the kernel has no worker threads to look at');
    const bare = await bed.pair(`bare${index}`, tunnelOf(candidate));
    const env = { ...candidate.env, VXLANE_PROFILE: '1' };
    const watched = await bed.pair(`watched${index}`, tunnelOf({ ...candidate, env }));
    for (const trial of trials) {
      if (trial.alone || trial.against) {
        print(`${trial.name}: has no profile`);
        continue;
      }
      for (const pair of [bare, watched]) bed.offloads(pair, trial.offloads !== false);
      const subject = (pair: Pair): Subject => ({ name: pair.name, pair, reverse: false, bare: false });
      // Nobody looks, but UDP has to be a flood on both.
      probe.watch = { begin: () => {}, end: () => {} };
      const without = await trial.measure(probe, subject(bare));
      const sights: Sight[][] = [];
      const look = async () => void sights.push(await Promise.all([watched.a, watched.b].map(sightOf)));
      probe.watch = { begin: look, end: look };
      const timed = await trial.measure(probe, subject(watched));
      probe.watch = undefined;
      await probe.dismiss();
      const { key, unit, digits, title } = trial.metrics[0]!;
      const figures = [timed, without].map((metrics) => metrics[key]!.toFixed(digits));
      print(
        `\n${trial.name}: ${title}, ${candidate.name}: ${figures[0]} ${unit}; ${figures[1]} without the stopwatch`,
      );
      const [before, after] = sights;
      for (const [host, name] of ['sending host', 'receiving host'].entries()) {
        for (const text of workersText(before![host]!, after![host]!)) print(`\n${name}, ${text}`);
      }
    }
  }
}

async function sightOf(host: Host): Promise<Sight> {
  const { workers, pid } = await createClient(host.socket!).status();
  const at = performance.now() / 1000;
  return {
    at,
    workers: workers.map((status) => {
      if (!status.profile) throw new Error('this build of vxlane has no stopwatch (VXLANE_PROFILE)');
      return { status, profile: status.profile, times: threadTimes(pid, status.profile.thread) };
    }),
  };
}

export interface Share {
  what: string;
  /** Of the wall clock. */
  seconds: number;
  count?: number;
}

/** What each kind has taken of `wall` seconds between two looks, the largest first; the rest is JavaScript's. */
export function shares(before: WorkerProfile, after: WorkerProfile, wall: number): Share[] {
  const kinds = Object.entries(after.calls).map(([what, { count, seconds }]) => ({
    what: what === 'epoll_wait' ? 'epoll_wait (a look)' : what,
    seconds: seconds - (before.calls[what]?.seconds ?? 0),
    count: count - (before.calls[what]?.count ?? 0),
  }));
  const calls = kinds.reduce((sum, { count }) => sum + count, 0);
  const stopwatch = { what: 'stopwatch', seconds: calls * after.secondsPerCall, count: calls };
  const known = kinds.reduce((sum, { seconds }) => sum + seconds, stopwatch.seconds);
  const rest = { what: 'JavaScript', seconds: Math.max(0, wall - known) };
  return [...kinds.filter(({ count, seconds }) => count > 0 || seconds > 0), stopwatch, rest].sort(
    (x, y) => y.seconds - x.seconds,
  );
}

function workersText(before: Sight, after: Sight): string[] {
  const wall = after.at - before.at;
  return after.workers.map(({ status, profile, times }, index) => {
    const then = before.workers[index]!;
    const packets = status.packets - then.status.packets;
    const each = (amount: number) => (packets > 0 ? amount / packets : 0);
    const share = (seconds: number) => `${((seconds / wall) * 100).toFixed(1)} %`;
    const moved = (key: keyof ThreadTimes) => times[key] - then.times[key];
    const batches = status.batches - then.status.batches;
    const perSecond = (amount: number) => Math.round(amount / wall).toLocaleString('en');
    const lines = shares(then.profile, profile, wall).map(({ what, seconds, count }) => [
      what,
      share(seconds),
      (each(seconds) * 1e9).toFixed(1),
      count === undefined ? '' : perSecond(count),
      count === undefined ? '' : each(count).toFixed(3),
      count ? ((seconds / count) * 1e9).toFixed(0) : '',
    ]);
    return [
      `${status.name} (thread ${profile.thread}): ${perSecond(packets)} packets/s, ${(packets / Math.max(1, batches)).toFixed(1)} a batch`,
      `  /proc: on a core ${share(moved('running'))} (user ${share(moved('user'))}, system ${share(moved('system'))}), ` +
        `ready without one ${share(moved('queued'))}; switches a second: ` +
        `${perSecond(moved('voluntary'))} to wait, ${perSecond(moved('involuntary'))} pushed out`,
      columns([
        ['  stopwatch', 'of the time', 'ns/packet', 'calls/s', 'calls/packet', 'ns/call'],
        ...lines.map(indented),
      ]),
    ].join('\n');
  });
}

const indented = ([first, ...rest]: string[]) => [`  ${first}`, ...rest];
