/** The control API over a real Unix socket: routes, refusals, bad input, events. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from '../src/daemon/client.ts';
import { configOf } from '../src/daemon/config.ts';
import { type Daemon, startDaemon } from '../src/daemon/daemon.ts';
import { FakeVtep } from './support/fake-vtep.ts';

let directory: string;
let socket: string;
let vtep: FakeVtep;
let daemon: Daemon;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  socket = join(directory, 's.sock');
  vtep = new FakeVtep();
  daemon = await startDaemon({ config: configOf([]), socket, createVtep: async () => vtep });
});
after(async () => {
  await daemon.close();
  await rm(directory, { recursive: true });
});

interface Answer {
  status: number;
  body: unknown;
}

function call(method: string, path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: socket, method, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const json = (method: string, path: string, body: unknown) => call(method, path, JSON.stringify(body));

async function refused(answer: Promise<Answer>, status: number, code: string, message: string | RegExp) {
  const { status: got, body } = await answer;
  const { error } = body as { error: { code: string; message: string } };
  assert.deepEqual([got, error.code], [status, code], error.message);
  if (typeof message === 'string') assert.equal(error.message, message);
  else assert.match(error.message, message);
}

test('a device comes, changes and goes', async () => {
  const added = await json('POST', '/v1/links', { name: 'vx0', id: 42, remote: '192.0.2.2' });
  assert.equal(added.status, 200);
  assert.equal((added.body as { config: { dstport: number } }).config.dstport, 8472);
  assert.equal(((await call('GET', '/v1/links')).body as unknown[]).length, 1);
  const set = await json('PATCH', '/v1/links/vx0', { up: true, id: 42, mtu: 1400 });
  assert.deepEqual([(set.body as { up: boolean }).up, set.status], [true, 200]);
  assert.ok(
    vtep.calls.includes('set vx0 {"mtu":1400,"up":true}') ||
      vtep.calls.includes('set vx0 {"up":true,"mtu":1400}'),
  );
  assert.deepEqual(await call('DELETE', '/v1/links/vx0'), { status: 204, body: undefined });
  await refused(call('GET', '/v1/links/vx0'), 404, 'NOT_FOUND', /^Device "vx0" does not exist/);
  await refused(call('DELETE', '/v1/links/vx0'), 404, 'NOT_FOUND', 'Cannot find device "vx0"');
});

test('entries come and go', async () => {
  await json('POST', '/v1/links', { name: 'vx1', id: 43 });
  const entry = { op: 'add', dev: 'vx1', mac: '2:0:0:0:0:7', dst: '192.0.2.7', port: 0 };
  assert.equal((await json('POST', '/v1/fdb', entry)).status, 204);
  await refused(json('POST', '/v1/fdb', entry), 409, 'EXISTS', /File exists/);
  const shown = {
    mac: '02:00:00:00:00:07',
    ifname: 'vx1',
    dst: '192.0.2.7',
    used: 0,
    updated: 0,
    flags: ['self'],
    state: 'permanent',
  };
  assert.deepEqual((await call('GET', '/v1/fdb?dev=vx1')).body, [shown]);
  assert.deepEqual((await call('GET', '/v1/fdb')).body, [shown]);
  assert.deepEqual((await call('GET', '/v1/fdb/vx1/02%3A00%3A00%3A00%3A00%3A07')).body, shown);
  await refused(call('GET', '/v1/fdb/vx1/02:00:00:00:00:08'), 404, 'NOT_FOUND', 'Fdb entry not found.');
  await refused(call('GET', '/v1/fdb?dev=nope'), 404, 'NOT_FOUND', 'Cannot find device "nope"');
  assert.deepEqual((await json('POST', '/v1/fdb/flush', { dev: 'vx1', permanent: true })).body, {
    removed: 1,
  });
});

test('refusals name the key', async () => {
  const links = (body: unknown) => json('POST', '/v1/links', body);
  await refused(
    links({ name: 'vx2', id: -1 }),
    400,
    'USAGE',
    'id: invalid id: a VNI is a number from 0 to 16777215',
  );
  await refused(links({ name: 'vx2' }), 400, 'USAGE', 'id: missing virtual network identifier');
  await refused(links({ id: 1 }), 400, 'USAGE', 'name: missing');
  await refused(links({ name: 'vx2', id: 1, colour: 1 }), 400, 'USAGE', /^colour: unknown key: name, id, /);
  await refused(links({ name: 'vx2', id: true }), 400, 'USAGE', 'id: a text or a number is expected');
  await refused(
    links({ name: 'vx2', id: 1, mcroute: true }),
    400,
    'UNSUPPORTED',
    /^mcroute: "mcroute" is not supported: the host's multicast routing can't be reached/,
  );
  await refused(links([]), 400, 'USAGE', 'a mapping of keys to values is expected');
  await refused(call('POST', '/v1/links'), 400, 'USAGE', 'a mapping of keys to values is expected');
  await refused(
    json('POST', '/v1/fdb', { op: 'add', dev: 'vx1', mac: '02:00:00:00:00:01' }),
    400,
    'USAGE',
    /^dst: missing/,
  );
  await refused(
    json('POST', '/v1/fdb', { op: 'drop' }),
    400,
    'USAGE',
    'op: add, append, replace or del is expected',
  );
  await refused(
    json('POST', '/v1/fdb/flush', { dev: 'vx1', dynamic: 'yes' }),
    400,
    'USAGE',
    'dynamic: true or false is expected',
  );
});

/** What each word allows and all of them together don't: the kernel's sentence, with the key. */
const TOGETHER: [device: Record<string, unknown>, key: string, sentence: string][] = [
  [
    { group: '239.1.1.1', remote: '192.0.2.2', dev: 'lo' },
    'group',
    'both group and remote cannot be specified',
  ],
  [{ group: '239.1.1.1' }, 'group', 'Local interface required for multicast remote destination'],
  [{ external: true }, 'id', "both 'external' and vni cannot be specified"],
  [{ vnifilter: true }, 'vnifilter', 'vxlan vnifilter only valid in collect metadata mode'],
  [{ srcport: [5, 4] }, 'srcport', 'Invalid source port range'],
  [
    { reserved_bits: '0x0800000000000000' },
    'reserved_bits',
    'Used bits 0x08000000ffffff00 cannot overlap reserved bits 0x0800000000000000.',
  ],
  [
    { gbp: true, remcsumrx: true, reserved_bits: 255 },
    'reserved_bits',
    'Used bits 0x88ffffffffffffff cannot overlap reserved bits 0x00000000000000ff.',
  ],
  [{ gpe: true, gbp: true }, 'gbp', 'VXLAN GPE does not support this combination of attributes'],
  [{ gpe: true, learning: true }, 'learning', 'VXLAN GPE does not support this combination of attributes'],
  [{ gpe: true, ttl: 'inherit' }, 'ttl', 'VXLAN GPE does not support this combination of attributes'],
  [
    { local: '192.0.2.1', remote: '2001:db8::2' },
    'local',
    'Local and remote address must be from the same family',
  ],
  [
    { local: '2001:db8::1', group: '239.1.1.1', dev: 'lo' },
    'local',
    'Local and remote address must be from the same family',
  ],
  [{ remote: 'fe80::1' }, 'local', 'Invalid combination of local and remote address scopes'],
  [
    { local: 'fe80::2', remote: '2001:db8::1', dev: 'lo' },
    'local',
    'Invalid combination of local and remote address scopes',
  ],
  [{ local: 'fe80::2' }, 'dev', 'Local interface required for link-local local/remote addresses'],
  [{ flowlabel: 5 }, 'flowlabel', 'Label attribute only applies to IPv6 VXLAN devices.'],
  [{ flowlabel: 'inherit' }, 'flowlabel', 'Label policy only applies to IPv6 VXLAN devices.'],
  [{ bind: true }, 'bind', '"bind" needs "local"'],
  [{ policy: 7 }, 'policy', '"policy" needs "gbp"'],
  [{ proxyforward: true }, 'proxyforward', '"proxyforward" needs "proxy"'],
  [{ honourdontlearn: true }, 'honourdontlearn', '"honourdontlearn" needs "gbp"'],
];

test('words that are right by themselves and wrong together', async () => {
  const from = vtep.calls.length;
  for (const [device, key, sentence] of TOGETHER) {
    const { status, body } = await json('POST', '/v1/links', { name: 'vx4', id: 1, ...device });
    const { error } = body as { error: { code: string; message: string } };
    assert.deepEqual([status, error.code], [400, 'USAGE'], error.message);
    assert.ok(
      error.message.startsWith(`${key}: ${sentence}`),
      `${error.message}\nis not\n${key}: ${sentence}`,
    );
  }
  assert.equal(vtep.calls.length, from, 'nothing was begun');
});

test('words that the kernel takes together, and our own', async () => {
  for (const device of [
    { external: true, vnifilter: true },
    { external: true, gpe: true },
    { id: 7, gpe: true, remote: '192.0.2.2' },
    { id: 7, local: 'fe80::2', remote: 'fe80::1', dev: 'lo' },
    { id: 7, local: 'fe80::2', group: 'ff02::1', dev: 'lo' },
    { id: 7, remote: '::', flowlabel: 5 },
    {
      id: 7,
      gbp: true,
      reserved_bits: '0x7700000000000001',
      policy: 3,
      listen: [1, 2],
      bind: true,
      local: '192.0.2.1',
    },
  ]) {
    const { status, body } = await json('POST', '/v1/links', { name: 'vx5', dstport: 4789, ...device });
    assert.equal(status, 200, JSON.stringify(body));
    await call('DELETE', '/v1/links/vx5');
  }
});

test('what a device keeps for life', async () => {
  await json('POST', '/v1/links', { name: 'vx3', id: 45, local: '192.0.2.1', dev: 'eth0' });
  const again = 'delete the device and add it again';
  const from = vtep.calls.length;
  for (const [key, value, message] of [
    ['id', 46, 'Cannot change VNI'],
    ['dstport', 8472, 'Cannot change port'],
    ['srcport', [1, 2], 'Cannot change port range'],
    ['maxaddress', 5, 'Cannot change limit'],
    ['udpcsum', false, 'Cannot change UDP_CSUM flag'],
    ['reserved_bits', 0, 'Cannot change reserved_bits'],
    ['noudp6zerocsumrx', true, 'vxlan: cannot change UDP_ZERO_CSUM6_RX flag'],
    ['udp6zerocsumtx', true, 'vxlan: cannot change UDP_ZERO_CSUM6_TX flag'],
    ['proxy', false, 'vxlan: cannot change PROXY flag'],
    ['norsc', true, 'vxlan: cannot change RSC flag'],
    ['l2miss', true, 'vxlan: cannot change L2MISS flag'],
    ['l3miss', true, 'vxlan: cannot change L3MISS flag'],
    ['remcsumtx', true, 'vxlan: cannot change REMCSUM_TX flag'],
    ['remcsumrx', true, 'vxlan: cannot change REMCSUM_RX flag'],
    ['external', true, 'vxlan: cannot change COLLECT_METADATA flag'],
    ['gbp', true, 'vxlan: cannot change GBP flag'],
    ['gpe', true, 'vxlan: cannot change GPE flag'],
    ['vnifilter', true, 'vxlan: cannot change VNIFILTER flag'],
    ['ttl', 'inherit', 'vxlan: cannot change TTL_INHERIT flag'],
    ['remote', '2001:db8::1', 'New group address family does not match old group'],
    ['group', 'ff05::1', 'New group address family does not match old group'],
    ['local', '2001:db8::1', 'New local address family does not match old'],
    ['bind', true, 'Cannot change the address that is listened on'],
    ['listen', [1], 'Cannot change the ports that are listened on'],
  ] as const)
    await refused(
      json('PATCH', '/v1/links/vx3', { up: true, [key]: value }),
      400,
      'UNSUPPORTED',
      `${message}: ${again}`,
    );
  for (const [change, message] of [
    [{ flowlabel: 5 }, 'flowlabel: Label attribute only applies to IPv6 VXLAN devices.'],
    [{ policy: 5 }, 'policy: "policy" needs "gbp"'],
    [{ proxyforward: true }, 'proxyforward: "proxyforward" needs "proxy"'],
    [{ remote: '192.0.2.2', group: '239.1.1.1' }, 'group: both group and remote cannot be specified'],
    [{ mtu: 67 }, 'mtu: mtu less than device minimum, which is 68'],
  ] as const)
    await refused(json('PATCH', '/v1/links/vx3', { up: true, ...change }), 400, 'USAGE', message);
  assert.equal(vtep.calls.length, from, 'nothing was half applied');
  await json('POST', '/v1/links', { name: 'vx6', id: 46, ttl: 'inherit' });
  // As in the kernel: taken, and of no effect.
  const { body } = await json('PATCH', '/v1/links/vx6', { ttl: 5 });
  assert.equal((body as { config: { ttl: unknown } }).config.ttl, 'inherit');
  for (const name of ['vx3', 'vx6']) await call('DELETE', `/v1/links/${name}`);
});

test('bad HTTP and bad JSON', async () => {
  await refused(call('POST', '/v1/links', '{"name": '), 400, 'USAGE', /^the body is not JSON/);
  await refused(call('GET', '/v2/links'), 404, 'NOT_FOUND', 'no such request: GET /v2/links');
  await refused(call('PUT', '/v1/links'), 404, 'NOT_FOUND', 'no such request: PUT /v1/links');
  await refused(call('GET', '/v1/links/%ff'), 400, 'USAGE', 'the path is not well formed: %ff');
});

test('a body that is too large is refused, announced or not', async () => {
  await refused(
    call('POST', '/v1/links', ' '.repeat(2 ** 20 + 1)),
    413,
    'USAGE',
    'the body is larger than 1048576 bytes',
  );
  const chunk = `${(2 ** 19).toString(16)}\r\n${' '.repeat(2 ** 19)}\r\n`;
  const text = await raw(
    `POST /v1/links HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}${chunk}`,
  );
  assert.match(text, /^HTTP\/1\.1 413 /);
  assert.equal((await call('GET', '/v1/status')).status, 200);
});

test('half a message harms nobody', async () => {
  const half = connect(socket);
  half.write('POST /v1/links HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"name": "half"');
  await new Promise((resolve) => setTimeout(resolve, 50));
  // Others are served while it hangs, and after it broke off.
  assert.equal((await call('GET', '/v1/status')).status, 200);
  half.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal((await call('GET', '/v1/status')).status, 200);
  assert.ok(!vtep.calls.includes('add half'));
  assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /);
});

function raw(text: string): Promise<string> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    let answer = '';
    connection.setEncoding('utf8');
    connection.on('data', (chunk: string) => {
      answer += chunk;
      connection.end();
    });
    connection.on('error', () => undefined);
    connection.on('close', () => resolve(answer));
    connection.write(text);
  });
}

test('events: a sample at once, then one each second', async () => {
  const samples = await new Promise<string>((resolve, reject) => {
    const listening = request({ socketPath: socket, path: '/v1/events', agent: false }, (response) => {
      let text = '';
      assert.equal(response.headers['content-type'], 'text/event-stream');
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.split('\n\n').length > 2) {
          listening.destroy();
          resolve(text);
        }
      });
    });
    listening.on('error', reject);
    listening.end();
  });
  const [first] = samples.split('\n\n');
  assert.match(first!, /^event: status\ndata: \{"version":/);
});

test('changes are made one after the other', async () => {
  const client = createClient(socket);
  const names = Array.from({ length: 8 }, (_, index) => `s${index}`);
  const from = vtep.calls.length;
  await Promise.all(names.map((name, id) => client.addLink({ name, id: 1000 + id })));
  await Promise.all(names.map((name) => client.deleteLink(name)));
  assert.equal(vtep.calls.slice(from).filter((line) => line.startsWith('add')).length, 8);
});
