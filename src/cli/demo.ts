/**
 * `vxlane demo`: two hosts, a tunnel between them and real traffic in it, on this machine alone. What it is made of
 * depends on what the machine allows (demo/mode.ts); what is shown does not. However it ends, nothing stays behind.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { InProcessLab } from './demo/in-process-lab.ts';
import type { Lab, Sample, Tour } from './demo/lab.ts';
import { chooseMode, type Mode, runInUserNamespace } from './demo/mode.ts';
import { NamespaceLab } from './demo/namespace-lab.ts';
import { ratesBetween } from './demo/rates.ts';
import { paintFor, Screen } from './demo/screen.ts';
import { shortcomings, summaryObject, summaryText } from './demo/summary.ts';
import { footer, header, logLine, table } from './demo/view.ts';

const ONCE_SECONDS = 10;
const REFRESH_MS = 1000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface DemoOptions {
  /** End by itself, with a verdict. */
  once: boolean;
  json: boolean;
  /** How long; 10 with `once`, else until Ctrl-C. */
  seconds?: number;
}

const say = (text: string) => process.stderr.write(`vxlane demo: ${text}\n`);
const print = (lines: readonly string[]) => process.stdout.write(`${lines.join('\n')}\n`);

/** Resolves to the exit code: 0, or 1 after one line that says what went wrong. */
export async function demo(options: DemoOptions): Promise<number> {
  const stopping = new AbortController();
  const stop = () => stopping.abort(new Error('interrupted'));
  for (const signal of SIGNALS) process.on(signal, stop);
  // Inside the user namespace: the one who started this is gone.
  process.on('disconnect', stop);
  try {
    const mode = chooseMode();
    // Choosing blocks: a signal that came meanwhile is heard now.
    await pause(1);
    if (stopping.signal.aborted) return interrupted(options);
    if (mode.kind !== 'user-namespace') return await runLab(labOf(mode), options, stopping.signal);
    say('no root, so this enters a user namespace of its own (unshare)');
    return await runInUserNamespace(stopping.signal);
  } catch (error) {
    say((error as Error).message.replace(/\s*\n\s*/g, ' '));
    return 1;
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
    process.off('disconnect', stop);
  }
}

/** Before there was anything to see: no failure, unless a verdict was asked for. */
function interrupted({ once }: DemoOptions): number {
  if (once) say('interrupted');
  return once ? 1 : 0;
}

function labOf(mode: Exclude<Mode, { kind: 'user-namespace' }>): Lab {
  if (mode.kind === 'namespaces') return new NamespaceLab(mode);
  say(`no namespaces here, so the same tunnel runs in this process over loopback sockets: ${mode.why}`);
  return new InProcessLab();
}

async function runLab(lab: Lab, options: DemoOptions, signal: AbortSignal): Promise<number> {
  // The last resort, for an end that no signal announces.
  const abandon = () => lab.abandon();
  process.on('exit', abandon);
  try {
    return await show(lab, options, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    return interrupted(options);
  } finally {
    await lab.stop();
    process.off('exit', abandon);
  }
}

async function show(lab: Lab, options: DemoOptions, signal: AbortSignal): Promise<number> {
  if (!options.json) say('setting up two hosts, Ctrl-C ends it and cleans up');
  const tour = await lab.start(signal);
  const seconds = options.seconds ?? (options.once ? ONCE_SECONDS : Number.POSITIVE_INFINITY);
  const { first, last } = await watch(lab, tour, seconds, options, signal);
  const elapsed = (last.at - first.at) / 1000;

  const wrong = shortcomings(tour, last);
  if (options.once && signal.aborted) wrong.push(`interrupted after ${elapsed.toFixed(1)} s`);
  if (options.json) {
    if (options.once)
      print([JSON.stringify({ ok: wrong.length === 0, wrong, ...summaryObject(tour, last, elapsed) })]);
  } else {
    print([...(process.stdout.isTTY ? [''] : []), ...summaryText(tour, last, elapsed)]);
  }
  if (!options.once) return 0;
  if (wrong.length === 0) return 0;
  say(`failed: ${wrong.join('; ')}`);
  return 1;
}

/** Samples and shows until time is up or the signal comes. */
async function watch(
  lab: Lab,
  tour: Tour,
  seconds: number,
  { once, json }: DemoOptions,
  signal: AbortSignal,
): Promise<{ first: Sample; last: Sample }> {
  const { stdout } = process;
  const paint = paintFor(stdout);
  const screen = stdout.isTTY && !json ? new Screen(stdout) : undefined;
  if (!screen && !json) print([...header(tour, paint), ...footer(tour, paint)]);
  try {
    const first = await lab.sample();
    let last = first;
    const end = first.at + seconds * 1000;
    while (!signal.aborted && last.at < end) {
      await pause(Math.min(REFRESH_MS, end - last.at), undefined, { signal }).catch(() => {});
      const now = await lab.sample();
      const rates = ratesBetween(last, now);
      const elapsed = (now.at - first.at) / 1000;
      if (screen)
        screen.draw([
          '',
          ...header(tour, paint),
          '',
          ...table(tour, now, rates, paint),
          '',
          ...footer(tour, paint),
        ]);
      else if (!json) print([logLine(tour, elapsed, now, rates)]);
      else if (!once) print([JSON.stringify({ ...summaryObject(tour, now, elapsed), rates })]);
      last = now;
    }
    return { first, last };
  } finally {
    screen?.close();
  }
}
