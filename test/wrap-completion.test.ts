/** Completion, tried in bash: what is offered for what was typed. zsh and fish get scripts with the same words. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { objectWords } from '../src/cli/completion-words.ts';
import { runCli } from '../src/cli/program.ts';

async function script(shell: string): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const code = await runCli(['completion', shell], {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    env: {},
  });
  return { code, ...said };
}

let directory: string;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vxl-completion-'));
  writeFileSync(join(directory, 'vxlane.bash'), (await script('bash')).out);
  writeFileSync(join(directory, 's.devices'), '# netns 1:2\nflannel.1\nvx0\nvx10\n');
});
after(() => rmSync(directory, { recursive: true }));

/** What bash offers for the last word of a line. */
function offered(line: string): string[] {
  const words = line.split(' ');
  const source = [
    `source ${join(directory, 'vxlane.bash')}`,
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})`,
    `COMP_CWORD=${words.length - 1}`,
    '_vxlane',
    `printf "%s\\n" "\${COMPREPLY[@]}"`,
  ].join('\n');
  const env = { ...process.env, VXLANE_SOCKET: join(directory, 's.sock') };
  const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-c', source], { encoding: 'utf8', env });
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
  return stdout.split('\n').filter((word) => word !== '');
}

test('objects and commands', () => {
  const all = offered('vxlane ');
  for (const name of ['link', 'fdb', 'mdb', 'vni', 'monitor', 'status', 'daemon', 'wrap', 'completion'])
    assert.ok(all.includes(name), name);
  assert.deepEqual(offered('vxlane li'), ['link']);
  assert.deepEqual(offered('vxlane -j -s li'), ['link']);
  assert.deepEqual(offered('vxlane --socket /x li'), ['link']);
});

test('verbs', () => {
  assert.deepEqual(offered('vxlane link s').sort(), ['set', 'show']);
  assert.deepEqual(offered('vxlane fdb ap'), ['append']);
});

test('every word of every verb is offered behind it', async () => {
  for (const { name, verbs } of await objectWords())
    for (const { verb, words } of verbs) {
      const found = offered(`vxlane ${name} ${verb} x `);
      for (const word of words) assert.ok(found.includes(word), `${name} ${verb}: ${word}`);
    }
});

test('options of the program and of its commands', () => {
  assert.deepEqual(offered('vxlane --stat'), ['--statistics']);
  assert.deepEqual(offered('vxlane link show --js'), ['--json']);
  assert.deepEqual(offered('vxlane daemon --con'), ['--config']);
  assert.deepEqual(offered('vxlane demo --onc'), ['--once']);
});

test('devices of the daemon where a device is meant', () => {
  assert.deepEqual(offered('vxlane fdb show dev ').sort(), ['flannel.1', 'vx0', 'vx10']);
  assert.deepEqual(offered('vxlane fdb add 02:00:00:00:00:01 dev vx').sort(), ['vx0', 'vx10']);
  assert.deepEqual(offered('vxlane link del fl'), ['flannel.1']);
  assert.deepEqual(offered('vxlane link set vx1'), ['vx10']);
  assert.ok(!offered('vxlane link add v').includes('vx0'));
});

test('interfaces of the host where the underlay is meant', () => {
  assert.deepEqual(offered('vxlane link add vx1 type vxlan id 1 dev l'), ['lo']);
  assert.deepEqual(offered('vxlane fdb add 02:00:00:00:00:01 dev vx0 dst 192.0.2.1 via l'), ['lo']);
});

test('values of words that take one of a few', () => {
  assert.deepEqual(offered('vxlane link add vx1 type '), ['vxlan']);
  assert.deepEqual(offered('vxlane link add vx1 type vxlan id 1 df '), ['unset', 'set', 'inherit']);
  assert.deepEqual(offered('vxlane fdb show state st').sort(), ['stale', 'static']);
});

test('without a daemon there are no devices, and no complaint', () => {
  rmSync(join(directory, 's.devices'));
  const found = offered('vxlane fdb show dev ');
  assert.ok(!found.includes('vx0'));
});

for (const shell of ['zsh', 'fish'])
  test(`${shell} gets the same words`, async () => {
    const { code, out } = await script(shell);
    assert.equal(code, 0);
    for (const { name, verbs } of await objectWords()) {
      assert.ok(out.includes(name), name);
      for (const { verb, words } of verbs)
        for (const word of [verb, ...words])
          assert.match(out, new RegExp(`\\b${word}\\b`), `${name} ${verb}`);
    }
  });

test('another shell is refused by name', async () => {
  const { code, err } = await script('tcsh');
  assert.equal(code, 1);
  assert.match(err, /bash, zsh, fish/);
});
