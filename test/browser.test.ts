/**
 * The dataplane in a browser, from a bundle: with and without cross-origin isolation, that is with and without shared
 * memory, each way to an engine, a firewall in WebAssembly, and a worker on the page's memory.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { bundle } from './support/bundle.ts';
import { openChromium, whyNoChromium } from './support/chromium.ts';
import { firewalled } from './support/firewalled.ts';

const PATIENCE_MS = 60_000;
const ISOLATION = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};
const PAGE = '<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>';

describe('in a browser', () => {
  test('a bundle has nothing of Node’s', async () => {
    const files = await bundle();
    assert.ok(files.has('page.js') && files.has('worker.js'));
    for (const [name, contents] of files) {
      const found = /["']node:|\bprocess\.|\bBuffer\.|\brequire\(/.exec(Buffer.from(contents).toString());
      assert.equal(found, null, `${name}: ${found?.[0]}`);
    }
  });

  test('isolated or not', { skip: whyNoChromium() ?? false }, async (context) => {
    const files = await bundle();
    files.set('', Buffer.from(PAGE));
    files.set('release.wasm', readFileSync(new URL('../build/release.wasm', import.meta.url)));
    files.set('firewall.json', Buffer.from(JSON.stringify(await firewalled())));
    const results: Record<string, unknown>[] = [];
    let finished = () => {};
    const finish = new Promise<void>((done, failed) => {
      finished = done;
      const timer = setTimeout(() => failed(new Error(`no answer: ${JSON.stringify(results)}`)), PATIENCE_MS);
      context.after(() => clearTimeout(timer));
    });
    const server = createServer(async (request, response) => {
      const [, folder, name = ''] = request.url!.split('/');
      if (request.method === 'POST') {
        results.push(JSON.parse(Buffer.concat(await request.toArray()).toString()));
        response.end(folder === 'plain' ? '/isolated/' : '');
        if (folder === 'isolated') finished();
        return;
      }
      const type =
        { js: 'text/javascript', wasm: 'application/wasm', json: 'application/json' }[
          name.split('.')[1] ?? ''
        ] ?? 'text/html';
      const contents = files.get(name);
      response.writeHead(contents ? 200 : 404, {
        'content-type': type,
        ...(folder === 'isolated' && ISOLATION),
      });
      response.end(contents);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    context.after(() => server.close());
    context.after(() => server.closeAllConnections());
    context.after(openChromium(`http://127.0.0.1:${(server.address() as AddressInfo).port}/plain/`));
    await finish;
    const everywhere = {
      text: 'ok',
      url: 'ok',
      missing: 'SYSTEM',
      synchronous: 'ok',
      scalar: 'ok',
      alone: 'ok',
      firewall: 'ok',
      firewallAlone: 'ok',
    };
    const [plain, isolated] = results;
    assert.deepEqual(isolated, { ...everywhere, isolated: true, shared: 'ok', worker: 'ok' });
    // The memory can be had all the same; what can't is to hand it over.
    assert.deepEqual(plain, { ...everywhere, isolated: false, shared: 'ok', worker: 'UNSUPPORTED' });
  });
});
