/** The manual page: every word of the command line is in it, it renders, and its table is the one in docs. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FDB_CAPACITY } from '../assembly/layout.ts';
import { objectWords } from '../src/cli/completion-words.ts';
import { runCli } from '../src/cli/program.ts';
import { AGEING_DEFAULT_SECONDS, DSTPORT_DEFAULT } from '../src/daemon/values.ts';
import { REPOSITORY } from './support/netns.ts';

const PAGE = join(REPOSITORY, 'man/vxlane.8');
const source = readFileSync(PAGE, 'utf8');
const table = readFileSync(join(REPOSITORY, 'docs/differences.md'), 'utf8');

/** Words of the page; macros are words too, and none of ours looks like one. */
const words = new Set(source.match(/[\w.]+/g));

/** The page as it is read: without macros, quotes and line ends. */
const reading = source
  .replace(/\\\(lq|\\\(rq|[`"]/g, '')
  .replace(/^\.It |^\.Em |^\.\w\w /gm, '')
  .replace(/\s+/g, ' ');

async function help(...argv: string[]): Promise<string> {
  let out = '';
  await runCli([...argv, '--help'], {
    out: (text) => {
      out += text;
    },
    err: () => {},
    env: {},
  });
  return out;
}

test('every object, verb and word of the command line is in the manual page', async () => {
  const objects = await objectWords();
  assert.ok(objects.length >= 9);
  let count = 0;
  for (const { name, verbs } of objects) {
    assert.ok(words.has(name), `object ${name}`);
    for (const { verb, words: list } of verbs) {
      assert.ok(words.has(verb), `${name} ${verb}`);
      for (const word of list) {
        assert.ok(words.has(word), `${name} ${verb}: ${word}`);
        count++;
      }
    }
  }
  assert.ok(count > 200, `${count} words`);
});

test('every option of the program and its commands is in the manual page', async () => {
  const top = await help();
  const commands = [...top.matchAll(/^ {2}([a-z]+) /gm)]
    .map(([, name]) => name!)
    .filter((name) => name !== 'vxlane');
  assert.ok(commands.includes('wrap') && commands.includes('link'));
  const texts = await Promise.all([[], ...commands.map((name) => [name])].map((argv) => help(...argv)));
  const options = new Set(texts.flatMap((text) => text.match(/(?<=^ +(?:-\w, )?)--[a-z]+/gm) ?? []));
  assert.ok(options.size >= 12);
  for (const option of options) assert.match(source, new RegExp(`Fl Fl ${option.slice(2)}\\b`), option);
  for (const command of commands) assert.ok(words.has(command), command);
});

test('the differences are the same in the manual page and in docs, three sides each', () => {
  const rows = table.split('\n').filter((line) => /^\| \d+\. /.test(line));
  assert.ok(rows.length >= 17);
  for (const row of rows) {
    const cells = row
      .slice(1, -1)
      .replaceAll('`', '')
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim());
    assert.equal(cells.length, 5, row);
    for (const cell of cells.slice(0, 4)) assert.ok(reading.includes(cell.replaceAll('\\|', '|')), cell);
    if (cells[4] !== 'None needed.') assert.ok(reading.includes(cells[4]!), cells[4]);
  }
});

test('figures are those of the program', () => {
  assert.ok(table.includes(` ${FDB_CAPACITY} `));
  assert.ok(reading.includes(`[${DSTPORT_DEFAULT}; `));
  assert.ok(reading.includes(`forgotten [${AGEING_DEFAULT_SECONDS}]`));
});

test('what a TAP cannot carry, and what is not offered, is said', () => {
  for (const words of ['no tunnel metadata', 'no packet mark', 'mcroute is not offered'])
    assert.ok(reading.includes(words), words);
});

test('the package ships the page, the wrappers and the table', () => {
  const { man, files } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8'));
  assert.equal(man, 'man/vxlane.8');
  for (const folder of ['man', 'wrap', 'docs']) assert.ok(files.includes(folder), folder);
});

const renderers = [
  { command: 'groff', argv: ['-mdoc', '-Tutf8', '-ww', PAGE] },
  { command: 'mandoc', argv: ['-T', 'lint', '-W', 'warning', PAGE] },
].filter(({ command }) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0);

for (const { command, argv } of renderers)
  test(`${command} renders the page without a warning`, () => {
    const { status, stdout, stderr } = spawnSync(command, argv, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    if (command === 'groff') assert.ok(stdout.split('\n').length > 300);
  });
