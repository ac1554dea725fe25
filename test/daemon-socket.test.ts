/** The control socket: who may reach it, whom it gives way to, what stays behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { configOf } from '../src/daemon/config.ts';
import { startDaemon } from '../src/daemon/daemon.ts';
import { listenAt } from '../src/daemon/socket.ts';
import { VtepError } from '../src/errors.ts';
import { FakeVtep } from './support/fake-vtep.ts';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
});
after(() => rm(directory, { recursive: true }));

const start = (socket: string) =>
  startDaemon({ config: configOf([]), socket, createVtep: async () => new FakeVtep() });

test('mode 0600 from the first instant, in a directory of mode 0700; removed at the end', async () => {
  const socket = join(directory, 'made/deep/s.sock');
  const server = createServer();
  const modes: number[] = [];
  // The name exists as soon as listen() returns, before anything else runs.
  const { listen } = server;
  server.listen = ((...args: unknown[]) => {
    const result = Reflect.apply(listen, server, args);
    modes.push(statSync(socket).mode & 0o777);
    return result;
  }) as typeof server.listen;
  const umask = process.umask();
  const stop = await listenAt(server, socket);
  assert.equal(process.umask(), umask);
  assert.deepEqual(modes, [0o600]);
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  assert.equal(statSync(join(directory, 'made')).mode & 0o777, 0o700);
  await stop();
  assert.equal(existsSync(socket), false);
});

test('the socket of a dead daemon gives way', async () => {
  const socket = join(directory, 'stale.sock');
  const script = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(existsSync(socket), 'the killed process left its socket');
  const daemon = await start(socket);
  await daemon.close();
  assert.equal(existsSync(socket), false);
});

test('a living daemon does not give way, and is named', async () => {
  const socket = join(directory, 'live.sock');
  const daemon = await start(socket);
  await assert.rejects(start(socket), (error: VtepError) => {
    assert.equal(error.code, 'IN_USE');
    assert.equal(
      error.message,
      `socket ${socket} is already in use by a running daemon (pid ${process.pid})`,
    );
    return true;
  });
  assert.ok(existsSync(socket), 'the refusal leaves the socket alone');
  await daemon.close();
});

test('whatever is no socket is left alone', async () => {
  const socket = join(directory, 'file');
  writeFileSync(socket, 'precious');
  await assert.rejects(start(socket), (error: VtepError) => error.code === 'EXISTS');
  assert.ok(existsSync(socket));
});

test('a path that cannot be looked at is refused by name', async () => {
  const file = join(directory, 'no-folder');
  writeFileSync(file, '');
  await assert.rejects(start(join(file, 's.sock')), {
    name: 'VtepError',
    code: 'SYSTEM',
    message: `socket ${file}/s.sock: ENOTDIR, name another with --socket`,
  });
});

test('a path that no socket can have', async () => {
  await assert.rejects(start(join(directory, 'x'.repeat(120))), /the path is longer than 107 bytes/);
  await assert.rejects(start('/proc/vxlane/s.sock'), (error: unknown) => error instanceof VtepError);
});
