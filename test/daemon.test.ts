/** The daemon as a whole: set-up from a config, all or nothing, and the end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from '../src/daemon/client.ts';
import { readConfig } from '../src/daemon/config.ts';
import { startDaemon } from '../src/daemon/daemon.ts';
import { VtepError } from '../src/errors.ts';
import { FakeVtep } from './support/fake-vtep.ts';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
});
after(() => rm(directory, { recursive: true }));

const THREE = `
queues: 2
engine: batched
threads: 1
spin: 250
offloads: { udpGro: false }
devices:
  - { name: vx0, id: 1, fdb: [{ mac: 02:00:00:00:00:07, dst: 192.0.2.7 }] }
  - { name: vx1, id: 2, up: false }
  - { name: vx2, id: 3 }
`;

test('devices, entries and options of the config', async () => {
  const socket = join(directory, 'a.sock');
  const vtep = new FakeVtep();
  let options: unknown;
  const daemon = await startDaemon({
    config: await readConfig(THREE, 'f'),
    socket,
    createVtep: async ({ logger: _, ...given } = {}) => {
      options = given;
      return vtep;
    },
  });
  assert.deepEqual(options, {
    queues: 2,
    engine: 'batched',
    threads: 1,
    spin: 250,
    offloads: { udpGro: false },
  });
  assert.deepEqual(vtep.calls, [
    'add vx0',
    'fdb add 02:00:00:00:00:07',
    'set vx0 {"up":true}',
    'add vx1',
    'add vx2',
    'set vx2 {"up":true}',
  ]);
  await Promise.all([daemon.close(), daemon.close()]);
  assert.equal(vtep.closed, 1);
  assert.equal(existsSync(socket), false);
});

test('when the third device fails, the first two go and nothing stays', async () => {
  const socket = join(directory, 'b.sock');
  const vtep = new FakeVtep();
  vtep.failing.add('vx2');
  await assert.rejects(
    startDaemon({ config: await readConfig(THREE, 'f'), socket, createVtep: async () => vtep }),
    (error: VtepError) => error.code === 'IN_USE' && error.message === 'device vx2: UDP port 8472 is taken',
  );
  assert.deepEqual(vtep.calls.slice(-2), ['delete vx1', 'delete vx0']);
  assert.deepEqual([vtep.devices(), vtep.closed, existsSync(socket)], [[], 1, false]);
});

test('a VTEP that can not be made leaves no socket', async () => {
  const socket = join(directory, 'c.sock');
  const createVtep = async () => {
    throw new VtepError('PERMISSION', 'no /dev/net/tun');
  };
  await assert.rejects(startDaemon({ config: { devices: [] }, socket, createVtep }), /no \/dev\/net\/tun/);
  assert.equal(existsSync(socket), false);
});

test('requests during the set-up wait for its end', async () => {
  const socket = join(directory, 'd.sock');
  let arrive: () => void = () => {};
  const slow = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const starting = startDaemon({
    config: await readConfig(THREE, 'f'),
    socket,
    createVtep: async () => {
      await slow;
      return new FakeVtep();
    },
  });
  while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 5));
  const links = createClient(socket).links();
  arrive();
  assert.equal((await links).length, 3);
  await (await starting).close();
});

test('listeners and idle callers do not hold up the end', async () => {
  const socket = join(directory, 'e.sock');
  const daemon = await startDaemon({
    config: { devices: [] },
    socket,
    createVtep: async () => new FakeVtep(),
  });
  let hears = () => {};
  const heard = new Promise<void>((resolve) => {
    hears = resolve;
  });
  const ended = new Promise<void>((resolve, reject) => {
    const listening = request({ socketPath: socket, path: '/v1/events', agent: false }, (response) => {
      response.once('data', hears);
      response.on('end', resolve);
    });
    listening.on('error', reject);
    listening.end();
  });
  const half = request({ socketPath: socket, method: 'POST', path: '/v1/links', agent: false });
  half.on('error', () => undefined);
  half.write('{');
  const [connection] = await once(half, 'socket');
  if (connection.connecting) await once(connection, 'connect');
  await heard;
  const started = performance.now();
  await daemon.close();
  await ended;
  assert.ok(performance.now() - started < 4000);
});
