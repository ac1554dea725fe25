/**
 * Bad use of the public API: wrong types in every argument and every key of every method, of the dataplane and of VTEPs
 * on ports and on TAPs; things used after their end. Each time a VtepError with a code; the tables stay as they
 * were, and frames go on.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { READERS } from '../src/daemon/call-schema.ts';
import { ERROR_CODES } from '../src/errors.ts';
import {
  compileHook,
  createDataplane,
  createMemoryNetwork,
  createMemoryPort,
  createSink,
  createVtep,
  openDataplane,
  type PortableVtep,
  type Vtep,
  VtepError,
} from '../src/index.ts';
import { compileAssembly } from './support/asc.ts';
import { handMade } from './support/hook-modules.ts';
import { Bed, missingForNamespaces, missingForTap } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';

const MAC = '02:00:00:00:00:05';
const CODES = Object.keys(ERROR_CODES);
/** Right for nothing. */
const NEVER = [null, {}, Symbol('symbol'), () => 1, 1n, [null], new Date(0)];
/** Right for some, or out of range. */
const MAYBE = [undefined, '', 'x', -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 40, true, []];

type Call = (...given: unknown[]) => unknown;
type Refusal = { code: string; message: string } | undefined;

/** What it throws, now or later. Anything but a VtepError fails the test. */
async function outcome(call: Call, given: readonly unknown[]): Promise<Refusal> {
  try {
    await call(...given);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof VtepError, `${inspect(given)}: ${(error as Error).stack}`);
    assert.ok(CODES.includes(error.code), error.code);
    assert.match(error.message, /^[^\n]{10,}$/, 'one line');
    return error;
  }
}

/** Every argument, and every key of those that are requests, replaced by what is wrong, with the name of the key. */
function* wrong(
  good: readonly unknown[],
  values: readonly unknown[],
): Generator<[given: unknown[], key: string]> {
  for (const [at, argument] of good.entries())
    for (const value of values) {
      const isRequest = isPlain(argument);
      // An object without keys is a request in which nothing is asked for.
      if (!(isRequest && (isPlain(value) || value instanceof Date))) yield [good.with(at, value), ''];
      if (!isRequest) continue;
      for (const key of Object.keys(argument)) yield [good.with(at, { ...argument, [key]: value }), key];
    }
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** A method, what it takes, and keys or arguments that take anything. */
type Method = readonly [name: string, good: readonly unknown[]];

async function misuse(of: object, methods: readonly Method[], state: () => unknown): Promise<number> {
  let refusals = 0;
  for (const [name, good] of methods) {
    const call: Call = (...given) => (of as Record<string, Call>)[name]!(...given);
    for (const [given, key] of wrong(good, NEVER)) {
      const before = state();
      const refusal = await outcome(call, given);
      assert.ok(refusal, `${name}: ${key}: nothing was refused`);
      assert.ok(['USAGE', 'UNSUPPORTED'].includes(refusal.code), `${name}: ${key}: ${refusal.message}`);
      assert.ok(refusal.message.includes(key), `${name}: ${key}: ${refusal.message}`);
      assert.deepEqual(state(), before, `${name}: ${key}`);
      ++refusals;
    }
    for (const [given] of wrong(good, MAYBE)) {
      const before = state();
      if ((await outcome(call, given)) === undefined) continue;
      assert.deepEqual(state(), before, `${name}: ${inspect(given)}`);
      ++refusals;
    }
  }
  return refusals;
}

/** `used` and `updated` tell the time. */
const still = (entries: readonly object[]) =>
  entries.map((entry) => ({ ...entry, used: 0, updated: 0, last: 0 }));

const FDB = {
  ...{
    op: 'append',
    dev: 'a',
    mac: '00:00:00:00:00:00',
    dst: '192.0.2.1',
    port: 1,
    vni: 1,
    state: 'permanent',
  },
  ...{ router: false, extern_learn: false, sticky: false, master: false, use: false },
};
const FDB_FLUSH = { dev: 'a', dst: '192.0.2.77', port: 1, vni: 1, nhid: 0, permanent: true, router: false };
const MDB = {
  ...{ op: 'replace', dev: 'a', grp: '239.1.1.1', filter_mode: 'exclude', source_list: ['192.0.2.8'] },
  ...{ dst: '192.0.2.3', dst_port: 5, vni: 6, proto: 'zebra' },
};
const MDB_FLUSH = { dev: 'a', proto: 'zebra', permanent: true, dst: '192.0.2.77', dst_port: 1, vni: 1 };
const PEER = { op: 'set', dev: 'a', mac: MAC, src: '192.0.2.1', prefixes: ['10.0.0.0/8'] };
const VNI = {
  op: 'add',
  dev: 'e',
  vni: [[5, 6]],
  remote: '192.0.2.9',
  vlan: [5, 6],
  pvid: false,
  untagged: false,
};
const POLICY = { op: 'add', dev: 'a', id: [[5, 5]], mac: MAC, dontlearn: false, applied: false };
/** As a hook of the daemon: it says nothing, and so packets pass. */
const HOOK = { op: 'replace', dev: 'a', direction: 'decap', file: 'x.wasm', wasm: handMade({ hook: [] }) };

/** `setHook` of whatever has devices by name, or a queue's by number: any function is one, so is undefined. */
async function misuseHooks(setHook: Call, device: unknown): Promise<void> {
  const hooks = NEVER.filter((one) => typeof one !== 'function');
  for (const [given, codes] of [
    ...NEVER.map(
      (one) =>
        [
          [one, 'encap', () => {}],
          ['USAGE', 'NOT_FOUND'],
        ] as const,
    ),
    ...[...NEVER, 'both', ''].map((one) => [[device, one, () => {}], ['USAGE']] as const),
    ...[...hooks, 'x', 5, { module: {} }].map((one) => [[device, 'decap', one], ['USAGE']] as const),
    [[typeof device === 'number' ? -1 : 'nobody', 'encap', () => {}], ['NOT_FOUND']] as const,
  ]) {
    const refusal = await outcome(setHook, given);
    assert.ok(
      refusal && (codes as readonly string[]).includes(refusal.code),
      `${inspect(given)}: ${refusal?.message}`,
    );
  }
}

describe('bad use of the dataplane', () => {
  it('wrong types are refused by name, and change nothing', async () => {
    const plane = createDataplane();
    const device = { name: 'a', vni: 42, address: '02:00:00:00:00:ff' };
    plane.addDevice({ ...device, remote: '192.0.2.2' });
    plane.addDevice({ ...device, name: 'e', vni: 0, external: true });
    const tables = () => [
      ...[still(plane.fdb.show()), plane.vnis.show(), plane.mdb.show(), still(plane.peers.show())],
      plane.devices(),
    ];
    const more = {
      ...{
        port: 4789,
        remote: '192.0.2.2',
        mtu: 1500,
        learning: true,
        ageing: 300,
        maxaddress: 0,
        ttl: 1,
        tos: 0,
      },
      ...{
        df: 'unset',
        flowlabel: 0,
        policy: 1,
        gbp: true,
        proxy: true,
        rsc: false,
        l2miss: false,
        l3miss: false,
      },
      ...{ external: false, vnifilter: false, knownsenders: false, knownpeers: false, family: 'inet' },
    };
    let refusals = 0;
    refusals += await misuse(
      plane.fdb,
      [
        ['apply', [FDB]],
        ['show', ['a']],
        ['get', ['a', MAC, 0]],
        ['flush', [FDB_FLUSH]],
      ],
      tables,
    );
    refusals += await misuse(
      plane.vnis,
      [
        ['apply', [VNI]],
        ['show', ['a']],
      ],
      tables,
    );
    refusals += await misuse(
      plane.mdb,
      [
        ['apply', [MDB]],
        ['show', ['a']],
        ['flush', [MDB_FLUSH]],
      ],
      tables,
    );
    refusals += await misuse(
      plane.peers,
      [
        ['apply', [PEER]],
        ['show', ['a']],
      ],
      tables,
    );
    const frames = plane.queue.frames(1, 100);
    const datagrams = plane.queue.datagrams(1, 100);
    refusals += await misuse(
      plane,
      [
        ['addDevice', [{ ...device, name: 'b', vni: 43, ...more }]],
        ...(['numberOf', 'deleteDevice', 'counters'] as const).map((name) => [name, ['nobody']] as const),
        ['encap', ['a', new Uint8Array(60)]],
        ['decap', [new Uint8Array(68), '192.0.2.1', 4789]],
        ['setNeighbour', ['a', '10.0.0.1', MAC]],
        ['reclaim', [1]],
      ],
      tables,
    );
    refusals += await misuse(
      plane.queue,
      [
        ['frames', [1, 100]],
        ['datagrams', [1, 100]],
        ['ring', [4, 100]],
        ['encap', [frames, 1]],
        ['decap', [datagrams, 4789, 1]],
      ],
      tables,
    );
    await misuseHooks(plane.setHook.bind(plane) as Call, 'a');
    await misuseHooks(plane.queue.setHook.bind(plane.queue) as Call, plane.numberOf('a'));
    for (const value of NEVER) assert.equal((await outcome(compileHook as Call, [value]))?.code, 'USAGE');
    const compiled = compileHook(await compileAssembly('examples/hooks/firewall.ts'));
    const program = plane.setHook('a', 'decap', compiled);
    for (const value of NEVER)
      assert.equal((await outcome(program?.configure.bind(program) as Call, [value]))?.code, 'USAGE');
    for (const [given] of wrong(['COUNTERS', 4], [...NEVER, -1, 0.5, 2 ** 40]))
      assert.equal(
        (await outcome(program?.read.bind(program) as Call, given))?.code,
        'USAGE',
        inspect(given),
      );
    for (const value of [null, {}, Symbol('s'), 1n, 5, 'x'])
      assert.equal((await outcome(plane.subscribe.bind(plane) as Call, [value]))?.code, 'USAGE');
    const options = { queues: 1, shared: true, bytes: new Uint8Array(8), module: {} };
    for (const make of [createDataplane, openDataplane])
      for (const [given, key] of wrong([{ ...options }], NEVER)) {
        const one = key === '' ? given : [{ [key]: (given[0] as Record<string, unknown>)[key] }];
        assert.equal((await outcome(make as Call, one))?.code, 'USAGE', key);
      }
    assert.ok(refusals > 1000, String(refusals));
    assert.equal(plane.encap('a', new Uint8Array(60)).length > 0, true);
  });

  it('slots that are wrong are refused before anything is sent; what is over says so', async () => {
    const plane = createDataplane();
    const device = plane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:ff', remote: '192.0.2.2' });
    const frames = plane.queue.frames(2, 100);
    const datagrams = plane.queue.datagrams(2, 100);
    const good = () => {
      for (const slot of frames.slots) slot.write(new Uint8Array(60));
      for (const slot of frames.slots) slot.device = device;
      for (const slot of datagrams.slots)
        slot.write(Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0, ...new Uint8Array(60)), '192.0.2.2');
    };
    const counted = () => plane.counters('a').encap_packets ?? 0;
    for (const value of [...NEVER, undefined, 'x', -1, 0.5, Number.NaN, 101])
      for (const key of ['length', 'device', 'tos', 'sender']) {
        good();
        const before = counted();
        const isFrame = key === 'length' || key === 'device';
        const slot = (isFrame ? frames : datagrams).slots[1] as unknown as Record<string, unknown>;
        const refusal = await outcome(() => {
          slot[key] = value;
          if (isFrame) plane.queue.encap(frames);
          else plane.queue.decap(datagrams);
        }, []);
        if (key !== 'tos' || typeof value !== 'number') assert.ok(refusal, `${key} ${String(value)}`);
        assert.equal(counted(), before);
        if (key === 'tos') slot.tos = 0;
      }
    for (const value of [...NEVER, undefined, 'x']) {
      assert.equal(
        (await outcome(frames.slots[0]!.write.bind(frames.slots[0]) as Call, [value]))?.code,
        'USAGE',
      );
      assert.equal(
        (await outcome(datagrams.slots[0]!.write.bind(datagrams.slots[0]) as Call, [value, '192.0.2.2']))
          ?.code,
        'USAGE',
      );
    }
    good();
    assert.ok(plane.queue.encap(frames).next());
    frames.release();
    for (const use of [() => frames.release(), () => frames.slots[0]!.bytes, () => plane.queue.encap(frames)])
      assert.equal((await outcome(use, []))?.code, 'USAGE');
    const { fdb, vnis, mdb, peers, queue } = plane;
    plane.close();
    plane.close();
    const uses: Call[] = [
      ...[
        () => fdb.show(),
        () => vnis.show(),
        () => mdb.show(),
        () => peers.show(),
        () => queue.frames(1),
        () => queue.ring(4),
      ],
      ...[
        () => plane.encap('a', new Uint8Array(60)),
        () => plane.counters(''),
        () => plane.tick(),
        () => plane.poll(),
      ],
      ...[
        () => plane.share(),
        () => plane.subscribe(() => {}),
        () => plane.numberOf('a'),
        () => plane.setHook('a', 'encap', () => {}),
        () => queue.setHook(1, 'encap', () => {}),
        () => plane.reclaim(1),
      ],
    ];
    for (const use of uses) assert.equal((await outcome(use, []))?.code, 'USAGE', String(use));
  });
});

const OF_A_VTEP: readonly Method[] = [
  ['fdb', [FDB]],
  ['fdbShow', ['a']],
  ['fdbGet', ['a', MAC, 0]],
  ['fdbFlush', [FDB_FLUSH]],
  ['vni', [VNI]],
  ['policy', [POLICY]],
  ['peer', [PEER]],
  ['mdb', [MDB]],
  ['mdbGet', ['a', '239.1.1.1', '192.0.2.8', 5]],
  ['mdbFlush', [MDB_FLUSH]],
  ['hook', [HOOK]],
  ...['vniShow', 'policyShow', 'peerShow', 'hookShow', 'mdbShow'].map((name) => [name, ['a']] as const),
  ['deleteDevice', ['nobody']],
  [
    'setDevice',
    ['a', { mtu: 1400, up: true, address: MAC, remote: '192.0.2.2', ageing: 300, learning: true, ttl: 4 }],
  ],
  ['responds', [5000]],
];

const tablesOf = (vtep: Vtep) => () => [
  ...[
    still(vtep.fdbShow()),
    vtep.vniShow(),
    vtep.policyShow(),
    still(vtep.peerShow()),
    vtep.hookShow(),
    vtep.mdbShow(),
  ],
  vtep.devices().map(({ config, up }) => ({ config, up })),
];

async function refusesAll(vtep: Vtep): Promise<void> {
  for (const [name, good] of OF_A_VTEP.filter(([name]) => name !== 'responds')) {
    const refusal = await outcome(
      (...given) => (vtep as unknown as Record<string, Call>)[name]!(...given),
      good,
    );
    assert.equal(refusal?.code, 'USAGE', name);
    assert.match(refusal.message, /has been closed/, name);
  }
  const refusal = await outcome(vtep.subscribe.bind(vtep) as Call, [() => {}]);
  assert.equal(refusal?.code, 'USAGE');
  await vtep.close();
}

async function refusesListeners(vtep: Vtep): Promise<void> {
  for (const value of [...NEVER.filter((one) => typeof one !== 'function'), undefined, 5, 'x'])
    assert.equal((await outcome(vtep.subscribe.bind(vtep) as Call, [value]))?.code, 'USAGE');
}

describe('a key that nobody knows is refused by its name, by', () => {
  const device = { name: 'a', vni: 42, address: '02:00:00:00:00:ff' };
  const plane = createDataplane();
  plane.addDevice(device);
  const entry = { op: 'add', dev: 'a', mac: MAC, dst: '192.0.2.1' };
  const underlay = () => createMemoryNetwork().host('192.0.2.1');
  const calls: Record<string, [key: string, call: () => unknown]> = {
    createDataplane: ['queue', () => (createDataplane as Call)({ queue: 2 })],
    'createDataplane, which fetches nothing': ['url', () => (createDataplane as Call)({ url: 'x:' })],
    openDataplane: ['uri', () => (openDataplane as Call)({ uri: 'x:' })],
    'addDevice of a dataplane': ['dstport', () => (plane.addDevice as Call)({ ...device, dstport: 4789 })],
    'fdb.apply': ['vlan', () => (plane.fdb.apply as Call)({ ...entry, vlan: 5 })],
    createVtep: ['sginal', () => (createVtep as Call)({ underlay: underlay(), sginal: 1 })],
    createSink: ['port', () => (createSink as Call)({ port: [0], stats: true })],
  };
  for (const [name, [key, call]] of Object.entries(calls))
    it(name, async () => {
      const refusal = await outcome(call, []);
      assert.equal(refusal?.code, 'USAGE');
      assert.match(refusal.message, new RegExp(`: ${key}: unknown key: .* are known$`));
    });

  it('but one that is undefined was not given', () => {
    (createDataplane as Call)({ queues: 1, other: undefined });
  });
});

it('a port that is handed to a VTEP on TAPs is refused as what it is', () => {
  const [port] = createMemoryPort();
  assert.throws(() => READERS.device({ name: 'vx0', id: 42, port }), {
    code: 'USAGE',
    message: /^port: a VTEP on TAPs makes its own: createVtep\(\{ underlay \}\)/,
  });
});

it('an engine that cannot be fetched or read is named, with what to do', async () => {
  for (const url of ['http://127.0.0.1:1/x.wasm', 'file:///nowhere/x.wasm']) {
    const refusal = await outcome(openDataplane as Call, [{ url }]);
    assert.equal(refusal?.code, 'SYSTEM');
    assert.match(refusal.message, /^engine: .*x\.wasm.*: .* vxlane\/dataplane\/release\.wasm/);
  }
});

describe('bad use of the sink', () => {
  it('a signal that has been aborted is refused, as by a VTEP', async () => {
    const refusal = await outcome(createSink as Call, [{ ports: [0], signal: AbortSignal.abort() }]);
    assert.deepEqual(
      [refusal?.code, refusal?.message],
      ['USAGE', 'sink: signal: it has been aborted already'],
    );
  });

  it('wrong types are refused by name', async () => {
    const options = {
      ...{ ports: [0], address: '127.0.0.1', filter: 'tcp', vnis: [[1, 2]], snaplen: 0, engine: 'portable' },
      ...{ write: '/nowhere/to/be/found', rotation: { size: 0, seconds: 5, files: 0 }, bufferBytes: 4096 },
      ...{ onPackets() {}, signal: new AbortController().signal },
    };
    for (const [given, key] of wrong([options], NEVER)) {
      const value = (given[0] as Record<string, unknown> | null)?.[key];
      if (key === 'onPackets' && typeof value === 'function') continue;
      // A rotation that asks for nothing is refused for that.
      const refusal = await outcome(createSink as Call, given);
      assert.equal(refusal?.code, 'USAGE', `${key}: ${refusal?.message}`);
      assert.ok(refusal.message.includes(key === 'vnis' ? '' : key), refusal.message);
    }
    // Any text is the name of a file.
    for (const [given, key] of wrong([options], MAYBE))
      if (key !== 'write') await outcome(createSink as Call, given);
  });
});

describe('bad use of a VTEP on ports', () => {
  it('wrong types are refused by name, and change nothing; one that is closed says so', async () => {
    const network = createMemoryNetwork();
    const far = await createVtep({ underlay: network.host('192.0.2.2') });
    const vtep = await createVtep({ underlay: network.host('192.0.2.1') });
    const [mine, its] = createMemoryPort();
    const [yours, theirs] = createMemoryPort();
    const words = { id: 42, dstport: 4789, gbp: true };
    await vtep.addDevice({ ...words, name: 'a', remote: '192.0.2.2', port: its });
    await far.addDevice({ ...words, name: 'b', port: theirs });
    const [, another] = createMemoryPort();
    await vtep.addDevice({ name: 'e', external: true, port: another });
    const methods = OF_A_VTEP.filter(([name]) => name !== 'hook');
    assert.ok((await misuse(vtep, methods, tablesOf(vtep))) > 500);
    for (const [given] of [[[HOOK]] as const, ...wrong([HOOK], NEVER)])
      assert.match((await outcome(vtep.hook.bind(vtep) as Call, given))?.code ?? '', /^(UNSUPPORTED|USAGE)$/);
    await misuseHooks(vtep.setHook.bind(vtep) as Call, 'a');
    const [, spare] = createMemoryPort();
    const device = {
      name: 'n',
      id: 5,
      port: spare,
      up: true,
      dstport: 4790,
      remote: '192.0.2.5',
      mtu: 1400,
      tos: 4,
    };
    await misuse(
      vtep,
      [
        ['addDevice', [device]],
        ['setNeighbour', ['a', '10.0.0.1', MAC]],
      ],
      tablesOf(vtep),
    );
    await refusesListeners(vtep);
    let heard = 0;
    yours.start({
      frames: (batch) => {
        heard += batch.length;
      },
      closed() {},
      warn() {},
    });
    await vtep.setDevice('a', { up: true, remote: '192.0.2.2', learning: true });
    mine.write([Uint8Array.of(2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5, ...new Uint8Array(46))]);
    await until('a frame', () => heard >= 1, 10_000);
    await vtep.close();
    await refusesAll(vtep);
    for (const use of [
      () => (vtep as PortableVtep).setNeighbour('a', '10.0.0.1', MAC),
      () => (vtep as PortableVtep).setHook('a', 'encap', () => {}),
    ])
      assert.equal((await outcome(use, []))?.code, 'USAGE');
    await far.close();
    for (const value of NEVER)
      for (const key of ['underlay', 'signal', 'logger']) {
        const options = { underlay: createMemoryNetwork().host('192.0.2.1'), [key]: value };
        if (key === 'logger' && typeof value === 'function') continue;
        assert.equal((await outcome(createVtep as Call, [options]))?.code, 'USAGE', key);
      }
  });
});

const missing = missingForNamespaces() ?? missingForTap();

describe('bad use of a VTEP on TAPs', { skip: missing !== null && !process.env.CI && missing }, () => {
  it('wrong types are refused by name, and change nothing; one that is closed says so', async (context) => {
    assert.equal(missing, null);
    const bed = new Bed();
    context.after(() => bed.close());
    enter(bed.namespace('bad-use'));
    for (const [given, key] of wrong(
      [{ queues: 1, offloads: {}, engine: 'auto', threads: 1, spin: 1 }],
      NEVER,
    )) {
      const offloads = isPlain(given[0]) ? (given[0] as { offloads?: unknown }).offloads : undefined;
      if (key === 'offloads' && (isPlain(offloads) || offloads instanceof Date)) continue;
      const refusal = await outcome(createVtep as Call, given);
      assert.equal(refusal?.code, 'USAGE', `${key}: ${String(refusal?.message)}`);
    }
    const vtep = await createVtep();
    context.after(() => vtep.close());
    await vtep.addDevice({ name: 'a', id: 42, gbp: true });
    await vtep.addDevice({ name: 'e', external: true, dstport: 4790 });
    assert.ok(
      (await misuse(
        vtep,
        OF_A_VTEP.filter(([name]) => name !== 'setDevice'),
        tablesOf(vtep),
      )) > 500,
    );
    await refusesListeners(vtep);
    await vtep.close();
    await refusesAll(vtep);
  });
});
