/** The two questions over HTTP: codes, reasons as text and as JSON, and clear errors where nobody can listen. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { describe, it } from 'node:test';
import { startHealth } from '../src/flannel/health.ts';
import { freePort } from './support/etcd.ts';

const IP = '127.0.0.1';

async function ask(port: number, path: string, init: RequestInit = {}) {
  const response = await fetch(`http://${IP}:${port}${path}`, init);
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

describe('health', () => {
  it('answers what it was told', async () => {
    const port = await freePort();
    let reasons: string[] = ['leases: etcd has not answered yet', 'none of 2 peers answers'];
    let fault = false;
    const ready = () => {
      if (fault) throw new Error('a fault');
      return { ok: reasons.length === 0, reasons };
    };
    const health = await startHealth({ ip: IP, port, ready });
    const plain = 'text/plain; charset=utf-8';
    const json = { headers: { accept: 'application/json' } };
    assert.deepEqual(await ask(port, '/healthz'), { status: 200, type: plain, text: 'ok\n' });
    assert.deepEqual(await ask(port, '/readyz'), {
      ...{ status: 503, type: plain, text: `${reasons.join('\n')}\n` },
    });
    const answer = await ask(port, '/readyz?verbose', json);
    assert.equal(answer.status, 503);
    assert.equal(answer.type, 'application/json');
    assert.deepEqual(JSON.parse(answer.text), { ok: false, reasons });
    reasons = [];
    assert.deepEqual(await ask(port, '/readyz'), { status: 200, type: plain, text: 'ok\n' });
    assert.deepEqual(JSON.parse((await ask(port, '/readyz', json)).text), { ok: true, reasons: [] });
    fault = true;
    assert.deepEqual(await ask(port, '/readyz'), { status: 503, type: plain, text: 'a fault\n' });
    assert.equal((await ask(port, '/healthz')).status, 200, 'alive all the same');
    assert.deepEqual(await ask(port, '/healthz', { method: 'HEAD' }), { status: 200, type: plain, text: '' });
    assert.equal((await ask(port, '/healthz', { method: 'POST' })).status, 405);
    assert.equal((await ask(port, '/metrics')).status, 404);
    await health.close();
    await health.close();
    await assert.rejects(ask(port, '/healthz'));
  });

  it('is not disturbed by what is no HTTP, and ends connections when it closes', async () => {
    const port = await freePort();
    const health = await startHealth({ ip: IP, port, ready: () => ({ ok: true, reasons: [] }) });
    const rude = connect(port, IP);
    rude.on('error', () => undefined);
    await once(rude, 'connect');
    rude.write('\0\x16nothing of the kind\r\n\r\n');
    rude.resume();
    await once(rude, 'close');
    const idle = connect(port, IP);
    idle.on('error', () => undefined);
    await once(idle, 'connect');
    assert.equal((await ask(port, '/readyz')).status, 200);
    await Promise.all([health.close(), once(idle, 'close')]);
  });

  it('is off with port 0, and says who is in the way otherwise', async () => {
    const ready = () => ({ ok: true, reasons: [] });
    await (await startHealth({ ip: IP, port: 0, ready })).close();
    const other = createServer().listen(0, IP);
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await assert.rejects(startHealth({ ip: IP, port, ready }), {
      code: 'IN_USE',
      message: `health endpoint 127.0.0.1 port ${port}: EADDRINUSE: somebody else listens there: choose another --healthz-port`,
    });
    other.close();
    await assert.rejects(startHealth({ ip: '192.0.2.77', port, ready }), {
      code: 'USAGE',
      message: `health endpoint 192.0.2.77 port ${port}: EADDRNOTAVAIL: --healthz-ip is no address of this host`,
    });
    await assert.rejects(startHealth({ ip: IP, port: 65536, ready }), { code: 'USAGE' });
  });
});
