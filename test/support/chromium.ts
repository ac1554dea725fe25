/** A headless Chromium with a profile of its own, and the reason why there is none. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const COMMAND = process.env.CHROMIUM ?? 'chromium';

/** Why tests that need it are skipped; where it must be there (CI), they are not, and fail. */
export function whyNoChromium(): string | undefined {
  const isThere = spawnSync(COMMAND, ['--version'], { stdio: 'ignore' }).status === 0;
  if (isThere || process.env.CI) return undefined;
  return `no ${COMMAND}: apt-get install chromium, or set CHROMIUM`;
}

/** Opens an address. @returns what closes it again */
export function openChromium(address: string): () => Promise<void> {
  const profile = mkdtempSync(join(tmpdir(), 'vxlane-chromium-'));
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
  const child = spawn(COMMAND, [...flags, `--user-data-dir=${profile}`, '--remote-debugging-pipe', address], {
    // Its two pipes for a debugger keep it open, and end it with this process.
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  });
  return async () => {
    await ended(child);
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
}

/** With all of its processes. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise((done) => child.once('exit', done));
  process.kill(-child.pid, 'SIGKILL');
  await gone;
}
