/** Neighbours and nexthops are handed to the real `ip`: its words, the flags, what it prints and its exit code. */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runCli } from '../src/cli/program.ts';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  const tool = async (folder: string, script: string) => {
    await mkdir(join(directory, folder));
    const path = join(directory, folder, 'ip');
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
  };
  await tool('wrappers', 'echo a wrapper was asked; exit 9');
  await tool('skipped', 'echo a wrapper was asked; exit 9');
  await writeFile(join(directory, 'wrappers', 'vxlane-front'), '');
  await tool('real', 'echo "$@"; echo complaint >&2; exit 3');
});
after(() => rm(directory, { recursive: true }));

async function run(...argv: string[]) {
  let out = '';
  let err = '';
  const folders = ['wrappers', 'skipped', 'real'].map((folder) => join(directory, folder));
  const code = await runCli(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: { PATH: folders.join(':'), VXLANE_WRAP: join(directory, 'skipped') },
  });
  return { code, out, err };
}

test('words, flags and exit code pass through, past every wrapper', async () => {
  assert.deepEqual(await run('neigh', 'add', '10.0.0.7', 'lladdr', '02:00:00:00:00:07', 'dev', 'vx0'), {
    code: 3,
    out: 'neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev vx0\n',
    err: 'complaint\n',
  });
  assert.equal(
    (await run('-j', '-p', '-d', '-s', '-s', '-6', 'nexthop', 'show')).out,
    '-j -p -d -s -s -f inet6 nexthop show\n',
  );
});

test('objects cut short or written out', async () => {
  for (const [word, object] of [
    ['n', 'neigh'],
    ['neighbour', 'neigh'],
    ['neighbor', 'neigh'],
    ['nex', 'nexthop'],
  ] as const)
    assert.equal((await run(word)).out, `${object}\n`, word);
});
