/** Commands from a file or standard input: how lines are read, what ends a batch, and what it leaves behind. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, beforeEach, test } from 'node:test';
import { type BatchLine, linesOf, wordsOf } from '../src/cli/batch.ts';
import { runCli } from '../src/cli/program.ts';
import { configOf } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import { FakeVtep } from './support/fake-vtep.ts';

let directory: string;
let socket: string;
let file: string;
let vtep: FakeVtep;
let daemon: Daemon;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  file = join(directory, 'commands');
  vtep = new FakeVtep();
  daemon = await startDaemon({ config: configOf([]), socket, createVtep: async () => vtep });
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});
beforeEach(async () => {
  for (const { config } of vtep.devices()) await vtep.deleteDevice(config.name);
});

async function run(argv: string[], input?: string) {
  let out = '';
  let err = '';
  const code = await runCli(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: { VXLANE_SOCKET: socket },
    ...(input === undefined ? {} : { input: Readable.from([input]) }),
  });
  return { code, out, err };
}

async function batch(text: string, ...flags: string[]) {
  await writeFile(file, text);
  return run([...flags, '-batch', file]);
}

async function read(text: string): Promise<BatchLine[]> {
  const lines: BatchLine[] = [];
  for await (const line of linesOf(Readable.from([text]))) lines.push(line);
  return lines;
}

const names = () => vtep.devices().map(({ config }) => config.name);

test('words: blanks part them, quotes hold them together', () => {
  assert.deepEqual(wordsOf('  link  set\tvx0 up '), ['link', 'set', 'vx0', 'up']);
  assert.deepEqual(wordsOf(`a "b c" 'd "e"' ""`), ['a', 'b c', 'd "e"', '']);
  assert.deepEqual(wordsOf(`it's 5"`), [`it's`, '5"'], 'a quote within a word is a letter');
  assert.throws(() => wordsOf('a "b'), /Unterminated quoted string: "b/);
});

test('lines: comments, continuation, and the number of the last one', async () => {
  assert.deepEqual(await read('# nothing\n\n a b # c\nd \\\n  e\\\nf\r\n   \ng'), [
    { number: 3, words: ['a', 'b'] },
    { number: 6, words: ['d', 'ef'] },
    { number: 8, words: ['g'] },
  ]);
  // What a comment ends in is no continuation.
  assert.deepEqual(await read('a # b \\\nc'), [
    { number: 1, words: ['a'] },
    { number: 2, words: ['c'] },
  ]);
  await assert.rejects(read('a \\\n'), /Missing continuation line/);
});

test('a batch from a file: in order, with the flags of the whole', async () => {
  const { code, out, err } = await batch(
    'link add vx0 type vxlan id 1 dstport 0\nl set vx0 \\\n up # now\nf add 2:0:0:0:0:7 dev "vx0" dst 192.0.2.7\nfdb\n',
    '-j',
  );
  assert.deepEqual([code, err], [0, '']);
  assert.equal(
    out,
    '[{"mac":"02:00:00:00:00:07","ifname":"vx0","dst":"192.0.2.7","flags":["self"],"state":"permanent"}]\n',
  );
  assert.equal(vtep.devices()[0]?.up, true);
});

test('a failure ends it, with file and line; -force goes on', async () => {
  const text =
    'link add vx0 type vxlan id 1 dstport 0\nlink set \\\nnope up\nnope\nlink add vx1 type vxlan id x\nlink add vx2 type vxlan id 3 dstport 0\n';
  const first = await batch(text);
  assert.deepEqual([first.code, names()], [1, ['vx0']]);
  assert.match(first.err, /^vxlane: Cannot find device "nope"[^\n]*\nCommand failed [^\n]*commands:3\n$/);

  await vtep.deleteDevice('vx0');
  const forced = await batch(text, '-force');
  assert.deepEqual([forced.code, names()], [1, ['vx0', 'vx2']]);
  assert.deepEqual(
    [...forced.err.matchAll(/^Command failed .*:(\d+)$/gm)].map(([, line]) => line),
    ['3', '4', '5'],
  );
});

test('a batch from standard input, whatever its last line ends in', async () => {
  const { code, err } = await run(['-b', '-'], 'link add vx0 type vxlan id 1 dstport 0\nlink del nope');
  assert.deepEqual([code, names()], [1, ['vx0']]);
  assert.match(err, /\nCommand failed -:2\n$/);
});

test('no file, no daemon', async () => {
  assert.deepEqual(await run(['-batch', join(directory, 'nope')]), {
    code: 1,
    out: '',
    err: `vxlane: Cannot open file "${join(directory, 'nope')}" for reading: No such file or directory\n`,
  });
  const { code, err } = await run(['--socket', '/nobody.sock', '-b', '-'], 'link\n');
  assert.equal(code, 1);
  assert.match(err, /^vxlane: no daemon answers at \/nobody\.sock[^\n]*\nCommand failed -:1\n$/);
});
