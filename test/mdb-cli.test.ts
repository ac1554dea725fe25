/**
 * `vxlane mdb` against what `bridge` 7.1 and the kernel's driver said to the same words: through the command
 * line, the control API and the database, byte by byte and exit code by exit code.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { configOf } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import { parseDevice } from '../src/daemon/schema.ts';
import { commandLine } from './support/command-line.ts';
import { loadEngine } from './support/engine.ts';
import { MDB_DEVICES, MdbFixture } from './support/mdb-fixture.ts';
import { MdbVtep } from './support/mdb-vtep.ts';

let directory: string;
let socket: string;
let fixture: MdbFixture;
let daemon: Daemon;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  fixture = new MdbFixture(await loadEngine('release'));
  const vtep = new MdbVtep(fixture);
  for (const { name, vni, port } of MDB_DEVICES) {
    await vtep.addDevice(parseDevice({ name, id: vni, dstport: port }));
  }
  daemon = await startDaemon({ config: configOf([]), socket, createVtep: async () => vtep });
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});
beforeEach(() => fixture.reset());

const vxlane = (line: string) => commandLine(socket, line);

function call(method: string, path: string, body?: object): Promise<[status: number, answer: unknown]> {
  return new Promise((resolve, reject) => {
    const exchange = request({ socketPath: socket, method, path }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve([response.statusCode ?? 0, text === '' ? '' : JSON.parse(text)]));
    });
    exchange.on('error', reject);
    exchange.end(body && JSON.stringify(body));
  });
}

interface Said {
  line: string;
  out: string;
  code: number;
}

function transcript(): Said[] {
  const text = readFileSync(new URL('support/mdb-transcript.txt', import.meta.url), 'utf8');
  return text
    .replace(/^#.*\n/gm, '')
    .split(/^\$ /m)
    .slice(1)
    .map((entry) => {
      const [line, ...rest] = entry.split('\n');
      const exit = /^exit (\d+)$/.exec(rest.at(-2) ?? '');
      return { line: line!, out: rest.slice(0, exit ? -2 : -1).join('\n'), code: Number(exit?.[1] ?? 0) };
    });
}

describe('vxlane mdb', () => {
  test('says what bridge says', async () => {
    const spoken = transcript();
    assert.ok(spoken.length > 600 && spoken.filter(({ code }) => code !== 0).length > 150);
    for (const [at, { line, out, code }] of spoken.entries()) {
      const said = await vxlane(line);
      const where = `command ${at}: ${line}: ${said.err}`;
      assert.equal(said.code, code, where);
      if (code === 0) assert.deepEqual([said.out, said.err], [out === '' ? '' : `${out}\n`, ''], where);
      else assertRefusal(said, out);
    }
  });

  /** The kernel's sentence, or the one that bridge itself has, in one line of our own. */
  function assertRefusal({ out, err }: { out: string; err: string }, theirs: string): void {
    const sentence = theirs.replace(/^Error: /, '').replace(/, try "bridge mdb help"\.$/, '');
    assert.equal(out, '');
    assert.match(err, /^vxlane: [^\n]+\n$/);
    assert.ok(err.includes(sentence), `${sentence}: ${err}`);
  }

  test('words that are wrong, before anything is asked of the database', async () => {
    const G = 'mdb add dev vx0 port vx0 grp 239.1.1.1 permanent dst 198.51.100.1';
    const cases: [line: string, code: number, words: RegExp][] = [
      [`${G} dst 198.51.100.2`, 255, /either "dst" is duplicate/],
      [`${G} foo`, 255, /unknown word "foo"/],
      [`${G} filter_mode foo`, 255, /Invalid filter mode "foo"/],
      [`${G} proto foo`, 255, /Invalid protocol value "foo"/],
      [`${G} proto 256`, 255, /Invalid protocol value "256"/],
      [`${G} dst_port 65536`, 255, /Invalid destination port/],
      [
        `${G} filter_mode include source_list 192.0.2.1,foo`,
        255,
        /Invalid source entry "foo" in source list/,
      ],
      [`${G} filter_mode include source_list 192.0.2.1,`, 255, /Invalid source entry "" in source list/],
      [`${G} src foo`, 255, /Invalid source address "foo"/],
      ['mdb add dev vx0 port vx0 grp foo permanent dst 198.51.100.1', 255, /Invalid address "foo"/],
      ['mdb add dev vx0 port vx0 grp 239.1.1.1 permanent dst foo', 255, /Invalid underlay destination/],
      ['mdb show vid 5', 255, /"vid" is not supported/],
      ['mdb get dev vx0 grp foo', 254, /Invalid address "foo"/],
      ['mdb flush dev vx0 foo', 255, /unknown word "foo"/],
    ];
    for (const [line, code, words] of cases) {
      const said = await vxlane(line);
      assert.deepEqual([said.code, said.out], [code, ''], line);
      assert.match(said.err, words);
    }
    assert.deepEqual(fixture.mdb.show(), []);
  });

  test('deliberate differences: family of the remote, and a source that is none', async () => {
    const add = 'mdb add dev vx0 port vx0 grp 239.1.1.1 permanent';
    const other = await vxlane(`${add} dst 2001:db8::1`);
    assert.equal(other.code, 255);
    assert.match(other.err, /Address family not supported by protocol; vx0 takes IPv4 remotes/);
    const back = await vxlane('mdb add dev vx6 port vx6 grp ff0e::1 permanent dst 192.0.2.1');
    assert.match(back.err, /vx6 takes IPv6 remotes/);
    const listed = await vxlane(`${add} dst 198.51.100.1 filter_mode exclude source_list 0.0.0.0`);
    assert.match(listed.err, /Invalid source entry "0\.0\.0\.0" in source list/);
    assert.equal((await vxlane(`${add} src 0.0.0.0 dst 198.51.100.1`)).code, 0);
    assert.equal((await vxlane('mdb')).out, 'dev vx0 port vx0 grp 239.1.1.1 permanent dst 198.51.100.1\n');
  });

  test('an interface that has gone is named as iproute2 does', async () => {
    fixture.add('239.1.1.1', '198.51.100.1', { via: 'veth3' });
    fixture.gone.add(4);
    assert.match((await vxlane('mdb show')).out, / via if4\n$/);
    fixture.gone.clear();
  });

  test('help, abbreviations, and no daemon', async () => {
    assert.match((await vxlane('mdb help')).out, /^Usage: vxlane mdb[\s\S]*Examples:/);
    assert.equal((await vxlane('m a dev vx0 port vx0 grp ff0e::7 permanent dst 198.51.100.1')).code, 0);
    assert.equal((await vxlane('m l')).out, 'dev vx0 port vx0 grp ff0e::7 permanent dst 198.51.100.1\n');
    assert.equal((await vxlane(`--socket ${directory}/none mdb`)).code, 3);
  });
});

describe('the control API of the MDB', () => {
  test('adds, lists, gets, flushes', async () => {
    const entry = { op: 'add', dev: 'vx0', grp: '239.1.1.1', dst: '198.51.100.1', src_vni: 10, vni: '0x20' };
    assert.deepEqual(await call('POST', '/v1/mdb', entry), [204, '']);
    const shown = {
      ...{ index: 101, dev: 'vx0', grp: '239.1.1.1', filter_mode: 'exclude', source_list: [] },
      ...{ protocol: 'static', blocked: false, dst: '198.51.100.1', vni: 32 },
    };
    assert.deepEqual(await call('GET', '/v1/mdb'), [200, [shown]]);
    assert.deepEqual(await call('GET', '/v1/mdb?dev=vx6'), [200, []]);
    assert.deepEqual(await call('GET', '/v1/mdb/vx0/239.1.1.1?src_vni=10'), [200, [shown]]);
    assert.equal((await call('GET', '/v1/mdb/vx0/239.1.1.1?src=192.0.2.1'))[0], 404);
    assert.equal((await call('GET', '/v1/mdb/vx0/239.1.1.1?src_vni=x'))[0], 400);
    assert.equal((await call('POST', '/v1/mdb', entry))[0], 409);
    assert.deepEqual(await call('POST', '/v1/mdb/flush', { dev: 'vx0' }), [200, { removed: 1 }]);
  });

  test('refuses what has the wrong shape, by its key', async () => {
    const good = { op: 'add', dev: 'vx0', grp: '239.1.1.1', dst: '198.51.100.1' };
    const cases: [object, RegExp][] = [
      [{ ...good, op: 'append' }, /op: add, replace or del is expected/],
      [{ ...good, dst: undefined }, /dst: missing/],
      [{ ...good, vni: -1 }, /vni: integer out of range\./],
      [{ ...good, source_list: '192.0.2.1' }, /source_list: a list of addresses is expected/],
      [{ ...good, filter_mode: 'both' }, /filter_mode: Invalid filter mode "both"/],
      [{ ...good, port: 'vx0' }, /port: unknown key/],
    ];
    for (const [body, words] of cases) {
      const [status, answer] = await call('POST', '/v1/mdb', body);
      assert.equal(status, 400);
      assert.match((answer as { error: { message: string } }).error.message, words);
    }
    const [status, answer] = await call('POST', '/v1/mdb/flush', { dev: 'vx0', permanent: 'yes' });
    assert.equal(status, 400);
    assert.match(JSON.stringify(answer), /permanent: true or false is expected/);
    assert.deepEqual(fixture.mdb.show(), []);
  });
});
