/** The benchmark as it is started: a row is measured and written down, a profile printed, and nothing is left behind. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../bench/run.ts', import.meta.url));

interface Ended {
  code: number | null;
  out: string;
  err: string;
  pid: number;
}

function bench(...words: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended: Ended = { code: null, out: '', err: '', pid: child.pid! };
    child.stdout.on('data', (chunk) => {
      ended.out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      ended.err += chunk;
    });
    child.on('close', (code) => resolve({ ...ended, code }));
  });
}

const left = ({ pid }: Ended) =>
  spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout.match(new RegExp(`^vxb${pid}-.*`, 'gm')) ??
  [];

test('a quick row beside the kernel, in files; the words reach the daemon', { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'vxlane-bench-test-'));
  try {
    const words = ['--quick', '--only', 'rtt', '--candidate', 'plain: udpcsum', '--out', directory];
    const ended = await bench(...words);
    assert.equal(ended.code, 0, ended.err);
    assert.match(ended.out, /^command: npm run bench -- --quick --only rtt --candidate 'plain: udpcsum'/m);
    assert.match(ended.out, /^rtt-p50: .* plain .*<= 3x/m);
    const { rows } = JSON.parse(readFileSync(join(directory, 'results.json'), 'utf8'));
    const [p50] = rows;
    for (const who of ['kernel', 'plain', 'veth']) {
      const { median } = p50.entries[who].of;
      assert.ok(median > 0.5 && median < 100_000, `${who}: ${median} us`);
    }
    assert.ok(p50.entries.plain.ratio.median > 0);
    assert.match(readFileSync(join(directory, 'rtt.svg'), 'utf8'), /plain/);
    assert.deepEqual(left(ended), []);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a profile names the workers of both hosts and where their time goes', { timeout: 60_000 }, async () => {
  const ended = await bench('--profile', '--quick', '--only', 'rtt');
  assert.equal(ended.code, 0, ended.err);
  for (const host of ['sending host', 'receiving host']) {
    for (const worker of ['encap 0', 'decap 0'])
      assert.match(ended.out, new RegExp(`^${host}, ${worker} \\(thread \\d+\\)`, 'm'));
  }
  for (const kind of ['wasm', 'JavaScript', 'stopwatch', 'sendmmsg', 'recvmmsg']) {
    assert.match(ended.out, new RegExp(`^  ${kind} +[\\d.]+ % +[\\d.]+ `, 'm'), kind);
  }
  assert.deepEqual(left(ended), []);
});

test('what it can’t do it says, and leaves nothing', { timeout: 60_000 }, async () => {
  const ended = await bench(
    '--quick',
    '--only',
    'rtt',
    '--candidate',
    'wrong: nosuchword',
    '--out',
    '/nonexistent/x',
  );
  assert.equal(ended.code, 1);
  assert.match(ended.out, /^failed: end to end: .*nosuchword/ms);
  assert.deepEqual(left(ended), []);
});
