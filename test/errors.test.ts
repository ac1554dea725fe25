/** The codes of errors and the names of diagnostics channels are what their page says, and each channel tells. */
import assert from 'node:assert/strict';
import { channel } from 'node:diagnostics_channel';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { ERROR_CODES } from '../src/errors.ts';
import { createMemoryNetwork, createMemoryPort, createVtep } from '../src/index.ts';
import { Happenings } from '../src/vtep/happenings.ts';
import { until } from './support/own-namespace.ts';

class Watched extends Happenings {
  constructor(plane: Dataplane) {
    super();
    this.watch(plane, () => {});
  }
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, text: readFileSync(join(ROOT, 'src', name), 'utf8') }));

/** First cells of the tables' rows. */
const rows = (pattern: RegExp) => [...PAGE.matchAll(pattern)].map(([, cell]) => cell!);

describe('codes of errors', () => {
  it('are those of the page, and each is in use', () => {
    const codes = Object.keys(ERROR_CODES);
    assert.deepEqual(rows(/^\| `([A-Z_]+)` /gm), codes);
    const thrown = new Set<string>();
    for (const { name, text } of sources)
      for (const [, what] of text.matchAll(/new VtepError\(\s*([^,]+),/g)) {
        // What is no word is of the type, so it is one of them.
        const word = /^'([^']*)'$/.exec(what!)?.[1];
        if (word === undefined) continue;
        assert.ok(codes.includes(word), `${name}: ${word}`);
        thrown.add(word);
      }
    // SYSTEM, PERMISSION and IN_USE come by errno, too.
    assert.deepEqual(
      codes.filter((code) => !thrown.has(code)),
      [],
    );
  });
});

describe('diagnostics channels', () => {
  const named = rows(/^\| `(vxlane:[a-z]+)` /gm);

  it('are those of the page', () => {
    const made = sources.flatMap(({ text }) =>
      [...text.matchAll(/channel\('([^']+)'\)/g)].map(([, name]) => name),
    );
    assert.deepEqual(named.toSorted(), made.toSorted());
    assert.equal(new Set(made).size, made.length);
  });

  it('tell what happens, each of its own', async () => {
    const told = new Map<string, unknown[]>(named.map((name) => [name, []]));
    const listeners = named.map(
      (name) => [name, (message: unknown) => told.get(name)!.push(message)] as const,
    );
    for (const [name, listener] of listeners) channel(name).subscribe(listener);
    const vtep = await createVtep({ underlay: createMemoryNetwork().host('192.0.2.1') });
    try {
      const [mine, its] = createMemoryPort();
      const [, trunk] = createMemoryPort();
      await vtep.addDevice({ name: 'vx0', id: 42, l2miss: true, proxy: true, l3miss: true, port: its });
      await vtep.addDevice({ name: 'trunk', external: true, vnifilter: true, dstport: 4790, port: trunk });
      assert.deepEqual(told.get('vxlane:link'), [
        { event: 'link', deleted: false, ifname: 'vx0', ifindex: 1, up: true },
        { event: 'link', deleted: false, ifname: 'trunk', ifindex: 2, up: true },
      ]);
      const entry = { mac: '02:00:00:00:00:07', dst: '192.0.2.7' };
      vtep.fdb({ op: 'add', dev: 'vx0', ...entry });
      const [fdb] = told.get('vxlane:fdb') as { entry: object }[];
      const expected = {
        mac: entry.mac,
        ifname: 'vx0',
        dst: entry.dst,
        used: 0,
        updated: 0,
        flags: ['self'],
      };
      assert.deepEqual(fdb, { event: 'fdb', deleted: false, entry: { ...expected, state: 'permanent' } });
      vtep.vni({ op: 'add', dev: 'trunk', vni: [[7, 7]] });
      assert.deepEqual(
        (told.get('vxlane:vni') as { event: string; entry: { vni: number } }[]).map(({ event, entry }) => [
          event,
          entry.vni,
        ]),
        [['vni', 7]],
      );
      vtep.mdb({ op: 'add', dev: 'vx0', grp: '239.1.1.1', dst: '192.0.2.8' });
      assert.deepEqual(
        (told.get('vxlane:mdb') as { event: string; entry: { grp: string } }[]).map(({ event, entry }) => [
          event,
          entry.grp,
        ]),
        [['mdb', '239.1.1.1']],
      );
      // VTEPs on TAPs have hooks: test/hook-kernel.test.ts makes them fail.
      const hook = {
        event: 'hook',
        change: 'added',
        ifname: 'vx0',
        direction: 'encap',
        file: 'a.wasm',
        generation: 1,
      } as const;
      const plane = new Dataplane(compileEngine(), 2, 0);
      assert.ok(new Watched(plane));
      plane.notices.emit(hook);
      assert.deepEqual(told.get('vxlane:hook'), [hook]);
      // Whoever begins to listen hears of drops from the next look on.
      await new Promise((resolve) => setTimeout(resolve, 600));
      mine.write([
        Uint8Array.of(2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5, ...new Uint8Array(46)),
        Uint8Array.of(1, 2, 3),
      ]);
      await until(
        'a drop',
        () =>
          (told.get('vxlane:drop') as { reason: string }[]).some(
            ({ reason }) => reason === 'drop_short_frame',
          ),
        3000,
      );
      assert.deepEqual(told.get('vxlane:miss'), [
        { event: 'miss', ifname: 'vx0', lladdr: '02:00:00:00:00:09' },
      ]);
      assert.deepEqual(
        (told.get('vxlane:drop') as { reason: string }[]).find(({ reason }) => reason === 'drop_short_frame'),
        { ifname: 'vx0', reason: 'drop_short_frame', packets: 1 },
      );
    } finally {
      for (const [name, listener] of listeners) channel(name).unsubscribe(listener);
      await vtep.close();
    }
  });
});
