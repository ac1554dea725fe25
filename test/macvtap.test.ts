/**
 * A macvtap by plain files and the dgram underlay, against the kernel's vxlan device: pings of all sizes, and TCP both
 * ways, through super-frames on either side.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { createVtep, dgramUnderlay, openMacvtap, VtepError } from '../src/index.ts';
import {
  Bed,
  missingForKernelVxlan,
  missingForNamespaces,
  type Namespace,
  REPOSITORY,
} from './support/netns.ts';
import { enter } from './support/own-namespace.ts';

const VNI = 42;
const PORT = 4789;
const NEAR = '10.99.0.1';
const FAR = '10.99.0.2';
const BYTES = 16 * 1024 * 1024;

const SERVER = `
  const { createHash } = require('node:crypto');
  require('node:net').createServer((socket) => {
    const hash = createHash('sha1'); let bytes = 0;
    socket.on('data', (part) => {
      hash.update(part); bytes += part.length;
      if (bytes === ${BYTES}) socket.end(hash.digest('hex'));
    });
  }).listen(7000, '0.0.0.0', () => console.log('listening'));`;

const client = (address: string) => `
  const { createHash, randomBytes } = require('node:crypto');
  const data = randomBytes(${BYTES});
  const socket = require('node:net').connect(7000, '${address}', () => socket.write(data));
  let answer = '';
  socket.on('data', (part) => { answer += part; });
  socket.on('end', () => {
    console.log(answer === createHash('sha1').update(data).digest('hex') ? 'equal' : 'different ' + answer);
    socket.end();
  });`;

/** In a process of its own, whose /sys is that of the namespace. */
const WATCHER = `
  import('./src/index.ts').then(({ openMacvtap }) => {
    const port = openMacvtap(process.argv[1]);
    port.start({ frames() {}, closed: (error) => console.log('closed: ' + error.message), warn() {} });
    console.log(port.mtu + ' ' + port.address);
  });`;

/** Everything here runs beside the VTEP, which needs its turns: nothing may be waited for in place. */
function finished(child: ChildProcess, milliseconds = 20_000): Promise<{ code: number | null; out: string }> {
  let out = '';
  child.stdout!.on('data', (part) => {
    out += part;
  });
  child.stderr!.on('data', (part) => {
    out += part;
  });
  return new Promise((resolve, reject) => {
    const patience = setTimeout(
      () => reject(new Error(`not within ${milliseconds} ms: ${out}`)),
      milliseconds,
    );
    child.once('exit', (code) => {
      clearTimeout(patience);
      resolve({ code, out });
    });
  });
}

const missing = missingForNamespaces() ?? missingForKernelVxlan() ?? missingForMacvtap();

function missingForMacvtap(): string | null {
  const bed = new Bed();
  try {
    bed.namespace('probe').ip('link add va type veth peer name vb', 'link add link va name mv0 type macvtap');
    return null;
  } catch (error) {
    return `needs macvtap (CONFIG_MACVTAP): ${(error as Error).message}`;
  } finally {
    bed.abandon();
  }
}

describe('a macvtap by plain files', { skip: missing !== null && !process.env.CI && missing }, () => {
  let bed: Bed;
  let near: Namespace;
  let pod: Namespace;
  let far: Namespace;
  let node = '';
  let vtep: Awaited<ReturnType<typeof createVtep>> | undefined;

  before(async () => {
    assert.equal(missing, null);
    bed = new Bed();
    near = bed.namespace('near');
    far = bed.namespace('far');
    pod = bed.namespace('pod');
    near.ip(
      `link add u0 type veth peer name u1 netns ${far.name}`,
      `link add p0 type veth peer name p1 netns ${pod.name}`,
      `addr add ${NEAR}/24 dev u0`,
      'link set u0 up',
      'link set p0 mtu 1450 up',
      'link add link p0 name mv0 type macvtap mode passthru',
      'link set mv0 up',
    );
    far.ip(
      `addr add ${FAR}/24 dev u1`,
      'link set u1 up',
      `link add vx0 type vxlan id ${VNI} dstport ${PORT} local ${FAR} remote ${NEAR}`,
      'link set vx0 mtu 1450',
      'addr add 10.98.0.2/24 dev vx0',
      'link set vx0 up',
    );
    pod.ip(
      'link set p1 mtu 1450 address 02:00:00:00:00:99',
      'addr add 10.98.0.1/24 dev p1',
      'link set p1 up',
    );
    const number = near.ipJson('link', 'show', 'mv0')[0].ifindex;
    const [major, minor] = near.run('sh', '-c', 'cat /sys/class/net/mv0/macvtap/tap*/dev').trim().split(':');
    node = `${bed.directory()}/tap${number}`;
    near.run('mknod', node, 'c', major!, minor!);
    enter(near);
  });

  after(async () => {
    await vtep?.close();
    await bed?.close();
  });

  it('is refused with a typed error where it is not', () => {
    const refused = (code: string) => (error: unknown) => error instanceof VtepError && error.code === code;
    assert.throws(() => openMacvtap('/nowhere/tap7'), refused('NOT_FOUND'));
    assert.throws(() => openMacvtap(''), refused('USAGE'));
    assert.throws(() => openMacvtap(node, { poll: 0 }), refused('USAGE'));
  });

  it('pings through dgram and the kernel’s device, whatever the size', async () => {
    const port = openMacvtap(node);
    const made = await createVtep({ underlay: dgramUnderlay({ address: NEAR }) });
    vtep = made;
    await made.addDevice({ name: 'vx0', id: VNI, dstport: PORT, remote: FAR, mtu: 1450, port });
    for (const size of [0, 56, 1422, 4000]) {
      const { code, out } = await finished(
        pod.spawn('ping', ['-c', '5', '-i', '0.02', '-W', '2', '-s', `${size}`, '10.98.0.2']),
      );
      assert.equal(code, 0, out);
      assert.match(out, / 0% packet loss/);
    }
    const { rx, tx } = made.devices()[0]!.stats;
    assert.ok(rx.packets >= 20 && tx.packets >= 20);
    assert.equal(made.fdbShow('vx0').filter(({ dst }) => dst === FAR).length, 2);
  });

  for (const direction of ['out', 'in'] as const)
    it(`TCP ${direction} arrives whole`, async () => {
      const options = { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };
      const [server, sender, address] =
        direction === 'out' ? ([far, pod, '10.98.0.2'] as const) : ([pod, far, '10.98.0.1'] as const);
      const listening = server.spawn(process.execPath, ['-e', SERVER], options);
      await new Promise((resolve) => listening.stdout!.once('data', resolve));
      const { out } = await finished(sender.spawn(process.execPath, ['-e', client(address)], options));
      assert.equal(out.trim(), 'equal');
      listening.kill();
    });

  it('knows its interface, and its end when that is deleted', async () => {
    await vtep?.close();
    const watcher = near.spawn(process.execPath, ['--import', 'tsx', '-e', WATCHER, node], {
      ...{ cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'pipe'] },
    });
    const ended = finished(watcher);
    await new Promise((resolve) => watcher.stdout!.once('data', resolve));
    near.ip('link del mv0');
    const { out } = await ended;
    assert.match(out, /^1450 [0-9a-f]{2}(:[0-9a-f]{2}){5}\nclosed: the macvtap has been deleted\n$/);
  });
});
