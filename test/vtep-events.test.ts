/** The batched VTEP as a program sees it: a few words are enough, typed events, a signal that closes, asyncDispose. */
import assert from 'node:assert/strict';
import { channel } from 'node:diagnostics_channel';
import { after, before, describe, it } from 'node:test';
import { createVtep, VtepError } from '../src/index.ts';
import { Bed, missingForNamespaces, missingForTap, type Namespace } from './support/netns.ts';
import { enter } from './support/own-namespace.ts';

const missing = missingForNamespaces() ?? missingForTap();

describe('a batched VTEP', { skip: missing !== null && !process.env.CI && missing }, () => {
  let bed: Bed;
  let host: Namespace;

  before(() => {
    assert.equal(missing, null);
    bed = new Bed();
    host = bed.namespace('events');
    enter(host);
  });

  after(() => bed?.close());

  it('tells of links, entries, misses and drops, and closes on a signal', async () => {
    const control = new AbortController();
    const vtep = await createVtep({ signal: control.signal });
    const told: string[] = [];
    const published: unknown[] = [];
    const hear = (message: unknown) => published.push(message);
    channel('vxlane:miss').subscribe(hear);
    try {
      vtep.on('link', ({ ifname, up, deleted }) =>
        told.push(`${ifname} ${deleted ? 'gone' : up ? 'up' : 'down'}`),
      );
      vtep.on('miss', ({ lladdr }) => told.push(`miss ${lladdr}`));
      vtep.on('drop', ({ reason }) => told.push(reason));
      const info = await vtep.addDevice({ name: 'vx0', id: 42, l2miss: true });
      assert.equal(info.config.dstport, 8472);
      assert.equal(info.config.learning, true);
      await assert.rejects(
        // biome-ignore lint/suspicious/noExplicitAny: that is the point
        vtep.addDevice({ name: 'vx1', id: 'many' } as any),
        (error: unknown) => error instanceof VtepError && error.code === 'USAGE',
      );
      await vtep.setDevice('vx0', { up: true });
      host.ip('addr add 10.1.1.1/24 dev vx0', 'neigh add 10.1.1.2 lladdr 02:00:00:00:00:02 dev vx0');
      host.spawn('ping', ['-c', '1', '-W', '1', '10.1.1.2'], { stdio: 'ignore' });
      const wanted = ['vx0 down', 'vx0 up', 'drop_no_target'];
      for (
        const end = performance.now() + 10_000;
        ;
        await new Promise((resolve) => setTimeout(resolve, 20))
      ) {
        if (wanted.every((line) => told.includes(line)) && published.length > 0) break;
        if (performance.now() > end) assert.fail(`${told.join(', ')}; ${published.length} published`);
      }
      assert.ok(told.includes('miss 02:00:00:00:00:02'));
      control.abort();
      await vtep[Symbol.asyncDispose]();
      assert.equal(told.at(-1), 'vx0 gone');
      await assert.rejects(createVtep({ signal: control.signal }), VtepError);
    } finally {
      channel('vxlane:miss').unsubscribe(hear);
    }
  });
});
