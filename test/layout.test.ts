/**
 * The memory map, and the modules built on it: regions and fields aligned and disjoint, and a module that
 * owns nothing: one import, no data, no start, no globals, no allocator, and the door's functions only.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import * as layout from '../assembly/layout.ts';
import { COUNTERS } from '../src/dataplane/counters.ts';
import { instantiateEngine } from '../src/dataplane/engine.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { createMemory, memoryBytes } from '../src/dataplane/memory.ts';
import { BUILDS } from './support/engine.ts';
import { I64, readModule, SECTION } from './support/wasm-sections.ts';

const numbers = layout as unknown as Record<string, number>;
const fileOf = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url));

/** Regions in order: [where it begins, how long it is]. */
function chained(names: readonly string[], base: string, bytes = 'BYTES'): [number, number][] {
  return names.map((name) => [numbers[`${name}_${base}`]!, numbers[`${name}_${bytes}`]!]);
}

function assertChain(regions: readonly [number, number][], names: readonly string[]): void {
  for (const [i, [start, bytes]] of regions.entries()) {
    assert.ok(bytes > 0 && start % layout.CACHE_LINE_BYTES === 0, `${names[i]} begins a cache line`);
    if (i > 0) assert.equal(start, regions[i - 1]![0] + regions[i - 1]![1], `${names[i]} follows`);
  }
}

/** Fields of a record, each [offset constant, bytes]; alignment is the power of two that the bytes allow. */
function assertRecord(record: number, fields: readonly [string, number, number?][]): void {
  let end = 0;
  const sorted = fields
    .map(
      ([name, bytes, align]) =>
        [numbers[`${name}_OFFSET`]!, bytes, name, align ?? Math.min(bytes, 8)] as const,
    )
    .sort((one, other) => one[0] - other[0]);
  for (const [offset, bytes, name, align] of sorted) {
    assert.ok(offset >= end, `${name} lies behind the field before it`);
    assert.equal(offset % align, 0, `${name} is aligned`);
    end = offset + bytes;
  }
  assert.ok(end <= record);
}

describe('layout', () => {
  const shared = [
    'HEADER',
    'DEVICES',
    'LISTENERS',
    'DOMAINS',
    'VNIS',
    'VLANS',
    'POLICIES',
    'REFUSED',
    'MDB',
    'NEIGHBOURS',
    'SENDERS',
    'PEER_BUCKETS',
    'PEERS',
    'SOURCES',
    'FDB_BUCKETS',
    'FDB_ENTRIES',
    'FDB_CREATIONS',
    'REMOTES',
  ];
  const common = ['COUNTERS', 'DOMAIN_COUNTERS', 'URING', 'EVENTS', 'SEEN', 'PEER_RUNS', 'FANOUT'];
  const lanes = ['LANES', 'LANE_ORDER', 'MESSAGE_ENVELOPES'];
  const encap = ['EPOLL', 'ENCAP_RING', 'ENCAP_STATE', 'MESSAGES', 'ENVELOPES', ...lanes, 'RUNS'];
  const encapData = ['ENCAP_IOVECS', 'ENCAP_HEADERS', 'PATHS', 'INJECTS', 'INJECT_BUFFERS', 'ENCAP_ARENA'];
  const decap = ['EPOLL', 'RECEIVES', 'RECEIPTS', 'DECAP_STATE', 'WRITES'];
  const hooks = ['HOOK_RECORDS', 'HOOK_FENCE', 'HOOK_PARKEDS', 'HOOK_MIRRORS', 'HOOK_AREAS'];

  it('shared regions follow each other, the first page left to the compiler', () => {
    const regions = chained(shared, 'BASE');
    assert.equal(regions[0]![0], layout.WASM_PAGE_BYTES);
    assertChain([...regions, [layout.WORKERS_BASE, layout.WORKER_BYTES]], [...shared, 'WORKERS']);
  });

  it('a worker’s regions follow each other and fit its block', () => {
    assertChain(
      [...chained(common, 'OFFSET'), ...chained(encap, 'OFFSET'), ...chained(encapData, 'OFFSET')],
      [...common, ...encap, ...encapData],
    );
    const iovecs: [number, number] = [layout.WRITE_IOVECS_BASE_OFFSET, layout.WRITE_IOVECS_BYTES];
    const arrivals: [number, number] = [layout.ARRIVALS_OFFSET, layout.ARRIVALS_BYTES];
    const flows: [number, number] = [layout.FLOWS_OFFSET, layout.FLOWS_BYTES];
    const trains: [number, number] = [layout.TRAINS_OFFSET, layout.TRAINS_BYTES];
    const buffers: [number, number] = [layout.RECEIVE_BUFFERS_OFFSET, layout.RECEIVE_BUFFERS_BYTES];
    assertChain(
      [...chained(common, 'OFFSET'), ...chained(decap, 'OFFSET'), iovecs, flows, trains, arrivals, buffers],
      [...common, ...decap, 'WRITE_IOVECS', 'FLOWS', 'TRAINS', 'ARRIVALS', 'RECEIVE_BUFFERS'],
    );
    assertChain(chained(hooks, 'OFFSET'), hooks);
    assert.ok(layout.HOOK_RECORDS_OFFSET >= Math.max(layout.ENCAP_BYTES, layout.DECAP_BYTES));
    assert.ok(layout.HOOK_AREAS_OFFSET + layout.HOOK_AREAS_BYTES <= layout.WORKER_BYTES);
    for (const offset of [layout.HOOK_RECORDS_OFFSET, layout.HOOK_AREAS_OFFSET])
      assert.equal(offset % layout.CACHE_LINE_BYTES, 0);
    assert.equal((layout.WORKERS_BASE + layout.URING_OFFSET) % layout.PAGE_BYTES, 0);
    assert.equal(layout.WORKER_BYTES % layout.PAGE_BYTES, 0);
    assert.equal(layout.URING_ENTRIES * layout.SQE_BYTES, layout.PAGE_BYTES, 'a page of submissions');
    assert.ok(2 * layout.URING_ENTRIES * layout.CQE_BYTES < layout.PAGE_BYTES, 'a page for the rest');
    assert.equal(layout.ENCAP_BYTES, layout.ENCAP_ARENA_OFFSET + layout.ENCAP_ARENA_BYTES);
    assert.equal(layout.DECAP_BYTES, layout.RECEIVE_BUFFERS_OFFSET + layout.RECEIVE_BUFFERS_BYTES);
    assert.ok(Math.max(layout.ENCAP_BYTES, layout.DECAP_BYTES) <= layout.WORKER_BYTES);
    assert.ok(memoryBytes(layout.WORKER_MAX) <= 2 ** 31, 'addresses are positive as signed numbers');
  });

  it('fields of records are aligned and apart', () => {
    assertRecord(layout.HEADER_BYTES, [
      ['HEADER_VERSION', 4],
      ['HEADER_ADDRESS', 8],
      ['HEADER_HASH_SEED', 4],
      ['HEADER_OFFLOADS', 4],
      ['HEADER_FDB_COUNT', 4],
      ['HEADER_REMOTE_FREE', 4],
      ['HEADER_REMOTE_FRESH', 4],
      ['HEADER_FDB_CREATED', 4],
      ['HEADER_NOW', 4],
      ['HEADER_FDB_LOCK', 4, 64],
      ['HEADER_FDB_MAC', 8],
      ['HEADER_FDB_KEY', 8],
      ['HEADER_FDB_SLOT', 4],
      ['HEADER_FDB_TAG', 4],
      ['HEADER_PATHS_GENERATION', 4],
      ['HEADER_MDB_VERSION', 4],
      ['HEADER_NEIGHBOUR_VERSION', 4],
      ['HEADER_PATHS', 4],
      ['HEADER_LISTENERS', 4],
      ['HEADER_SENDER_VERSION', 4],
      ['HEADER_PARCELS', 4],
      ['HEADER_QUEUES', 4],
      ['HEADER_MDB_KEY', 48, 8],
      ['HEADER_UNDERLAY_MAC', 8],
      ['HEADER_UNDERLAY_TAP', 4],
      ['HEADER_UNDERLAY_IFINDEX', 4],
      ['HEADER_UNDERLAY_ON', 4],
      ['HEADER_UNDERLAY_ERROR', 4],
    ]);
    assertRecord(layout.COUNTERS_OFFSET, [
      ['WORKER_STOP', 4],
      ['WORKER_ROUNDS', 4],
      ['WORKER_SYSCALLS', 8],
      ['WORKER_BATCHES', 8],
      ['WORKER_SLEEPS', 8],
      ['WORKER_CLOCK', 4],
      ['WORKER_PEERS', 8],
      ['WORKER_PROFILE', layout.WORKER_PROFILE_SLOTS * layout.WORKER_PROFILE_SLOT_BYTES, 8],
    ]);
    assertRecord(layout.LISTENER_BYTES, [
      ['LISTENER_SOCKETS', layout.DEVICE_QUEUE_MAX * 4, 4],
      ['LISTENER_PORT', 2],
      ['LISTENER_FAMILY', 1],
      ['LISTENER_RECEIVE', 4],
    ]);
    assertRecord(layout.DOMAIN_BYTES, [
      ['DOMAIN_DEVICE', 4],
      ['DOMAIN_VNI', 4],
      ['DOMAIN_VLAN', 2],
      ['DOMAIN_UNTAGGED', 2],
      ['DOMAIN_POLICY', 4],
    ]);
    assertRecord(layout.MDB_SLOT_BYTES, [
      ['MDB_DOMAIN', 4],
      ['MDB_ENTRY', 4],
      ['MDB_MAC', 4],
      ['MDB_FAMILY', 1],
      ['MDB_GROUP', 16, 8],
      ['MDB_SOURCE', 16, 8],
    ]);
    assertRecord(layout.NEIGHBOUR_SLOT_BYTES, [
      ['NEIGHBOUR_DEVICE', 2],
      ['NEIGHBOUR_FAMILY', 1],
      ['NEIGHBOUR_CONNECTED', 1],
      ['NEIGHBOUR_MAC', 8],
      ['NEIGHBOUR_ADDRESS', 16, 8],
    ]);
    assertRecord(layout.PEER_BYTES, [
      ['PEER_KEY', 8],
      ['PEER_VERSION', 4],
      ['PEER_SOURCE', layout.PEER_SOURCE_BYTES, 8],
      ['PEER_TX_PACKETS', 8],
      ['PEER_TX_BYTES', 8],
      ['PEER_RX_PACKETS', 8, 64],
      ['PEER_RX_BYTES', 8],
      ['PEER_ADDRESS_DROPS', 8],
      ['PEER_SUBNET_DROPS', 8],
      ['PEER_LAST', 4],
    ]);
    assert.equal(layout.PEER_BYTES % layout.CACHE_LINE_BYTES, 0);
    assertRecord(layout.PEER_SOURCE_BYTES, [
      ['PEER_ADDRESS', 16, 8],
      ['PEER_IPV4', 4],
      ['PEER_IPV4_MASK', 4],
      ['PEER_IPV6', 16, 8],
      ['PEER_IPV6_MASK', 16, 8],
    ]);
    const slots = layout.PEER_BUCKET_COUNT * (layout.PEER_BUCKET_WORDS - 1);
    assert.ok(layout.PEER_COUNT < slots && layout.PEER_COUNT <= layout.PEER_SLOT_ENTRY_MASK);
    assert.equal(layout.PEER_BUCKET_WORDS * 4, layout.PEER_BUCKET_BYTES);
    assert.equal(2 ** (32 - layout.PEER_HASH_SHIFT), layout.PEER_BUCKET_COUNT);
    assert.equal(2 ** layout.PEER_TAG_SHIFT - 1, layout.PEER_SLOT_ENTRY_MASK);
    assertRecord(layout.PEER_RUN_BYTES, [
      ['PEER_RUN_KEY', 8],
      ['PEER_RUN_VERSION', 4],
      ['PEER_RUN_ENTRY', 4],
      ['PEER_RUN_RECEIVED', 8],
      ['PEER_RUN_SENT', 8],
      ['PEER_RUN_SOURCE', layout.PEER_SOURCE_BYTES, 8],
    ]);
    assert.equal(2 ** (64 - layout.PEER_RUN_SHIFT), layout.PEER_RUN_COUNT);
    assertRecord(layout.PATH_SLOT_BYTES, [
      ['PATH_ADDRESS', 16, 8],
      ['PATH_IFINDEX', 4],
      ['PATH_FAMILY', 1],
      ['PATH_MTU', 4],
      ['PATH_FLAGS', 4],
      ['PATH_OUT', 4],
      ['PATH_EXPIRES', 4],
      ['PATH_GENERATION', 4],
      ['PATH_HOPS', 1],
      ['PATH_SOURCE', 16, 8],
    ]);
    assertRecord(layout.EVENT_BYTES, [
      ['EVENT_KIND', 4],
      ['EVENT_DOMAIN', 4],
      ['EVENT_MAC', 8],
      ['EVENT_IFINDEX', 4],
      ['EVENT_FAMILY', 4],
      ['EVENT_ADDRESS', 16, 8],
    ]);
    assertRecord(layout.INJECT_BYTES, [
      ['INJECT_IOVECS', 32, 8],
      ['INJECT_DEVICE', 4],
      ['INJECT_IOVEC_COUNT', 4],
    ]);
    assert.equal(layout.MDB_DOMAIN, layout.DOMAIN_COUNT - 1);
    assertRecord(layout.DEVICE_BYTES, [
      ['DEVICE_STATE', 4],
      ['DEVICE_VNI', 4],
      ['DEVICE_MAC', 8],
      ['DEVICE_FLAGS', 4],
      ['DEVICE_MTU', 4],
      ['DEVICE_TTL', 1],
      ['DEVICE_TOS', 1],
      ['DEVICE_DF', 1],
      ['DEVICE_FAMILY', 1],
      ['DEVICE_PORT', 2],
      ['DEVICE_SOURCE', 2],
      ['DEVICE_SOURCE_DF', 2],
      ['DEVICE_FDB_LIMIT', 4],
      ['DEVICE_FDB_COUNT', 4],
      ['DEVICE_AGEING', 4],
      ['DEVICE_RESERVED', 8],
      ['DEVICE_LABEL', 4],
      ['DEVICE_POLICY', 4],
      ['DEVICE_TAP', 4 * layout.DEVICE_QUEUE_MAX, 4],
      ['DEVICE_IFINDEX', 4],
      ['DEVICE_LINK', 4],
      ['DEVICE_UNTAGGED', 4],
      ['DEVICE_RECEIVE', 4],
      ['DEVICE_VLANS', 2],
      ['DEVICE_REFUSED', 2],
    ]);
    assertRecord(layout.SOURCE_GROUP_BYTES, [
      ['SOURCE_PORTS', 4],
      ['SOURCE_SEGMENT', 1],
      ['SOURCE_FAMILY', 1],
      ['SOURCE_DF', 1],
      ['SOURCE_NO_CHECKSUM', 1],
      ['SOURCE_PORT_MIN', 2],
      ['SOURCE_PORT_MAX', 2],
      ['SOURCE_USERS', 4],
      ['SOURCE_LOCAL', 16],
      ['SOURCE_SOCKETS', 4 * layout.SOURCE_PORT_COUNT],
      ['SOURCE_NUMBERS', 2 * layout.SOURCE_PORT_COUNT, 2],
      ['SOURCE_PEERS', layout.SOURCE_PEER_BYTES * layout.SOURCE_PORT_COUNT],
    ]);
    assertRecord(layout.FDB_ENTRY_BYTES, [
      ['FDB_VERSION', 4],
      ['FDB_STATE', 2],
      ['FDB_FLAGS', 2],
      ['FDB_USED', 4],
      ['FDB_UPDATED', 4],
      ['FDB_KEY', 8],
      ['FDB_REMOTE', layout.REMOTE_BYTES],
    ]);
    assertRecord(layout.REMOTE_BYTES, [
      ['REMOTE_NEXT', 2],
      ['REMOTE_IFINDEX', 4],
      ['REMOTE_VNI', 4],
      ['REMOTE_PORT', 2],
      ['REMOTE_FAMILY', 1],
      ['REMOTE_WEIGHT', 1],
      ['REMOTE_ADDRESS', 16],
    ]);
    assertRecord(layout.ENVELOPE_BYTES, [
      ['ENVELOPE_NAME', layout.SOCKADDR_IN6_BYTES, 8],
      ['ENVELOPE_CONTROL', layout.ENVELOPE_CONTROL_BYTES],
      ['ENVELOPE_SOURCE', 4],
      ['ENVELOPE_SEGMENT', 4],
      ['ENVELOPE_SEGMENTS', 4],
      ['ENVELOPE_LENGTH', 4],
      ['ENVELOPE_CLOSED', 4],
      ['ENVELOPE_IFINDEX', 4],
      ['ENVELOPE_MARKS', 4],
      ['ENVELOPE_DEVICE', 4],
      ['ENVELOPE_CONTROL_USED', 4],
      ['ENVELOPE_OVERHEAD', 4],
      ['ENVELOPE_LABEL', 4],
      ['ENVELOPE_DOMAIN', 4],
      ['ENVELOPE_IOVECS', 4],
      ['ENVELOPE_IOVEC_COUNT', 2],
      ['ENVELOPE_IOVEC_ROOM', 2],
      ['ENVELOPE_NEXT', 4],
    ]);
    // All three are written as one.
    assert.equal(layout.ENVELOPE_IOVEC_COUNT_OFFSET, layout.ENVELOPE_IOVECS_OFFSET + 4);
    assert.equal(layout.ENVELOPE_IOVEC_ROOM_OFFSET, layout.ENVELOPE_IOVECS_OFFSET + 6);
    assertRecord(layout.PARCEL_BYTES, [
      ['PARCEL_FRAME', 4],
      ['PARCEL_LENGTH', 4],
      ['PARCEL_HEADER', layout.VXLAN_HEADER_BYTES],
      ['PARCEL_FAMILY', 1],
      ['PARCEL_HEADED', 1],
      ['PARCEL_PORT', 2],
      ['PARCEL_SOURCE', 4],
      ['PARCEL_MARKS', 4],
      ['PARCEL_LABEL', 4],
      ['PARCEL_IFINDEX', 4],
      ['PARCEL_DEVICE', 2],
      ['PARCEL_DOMAIN', 2],
      ['PARCEL_ADDRESS', 16],
    ]);
    // Written as one.
    assert.equal(layout.PARCEL_DOMAIN_OFFSET, layout.PARCEL_DEVICE_OFFSET + 2);
    assert.ok(
      layout.PARCEL_COUNT * layout.PARCEL_BYTES <= layout.MESSAGES_BYTES + layout.ENVELOPES_BYTES,
      'in the place of messages and envelopes',
    );
    // A super-frame always finds room in an empty batch: one that does not would be asked for again and again.
    const headers = layout.SEGMENT_HEADER_MAX_BYTES + layout.CACHE_LINE_BYTES;
    assert.ok(layout.PARCEL_COUNT * headers + 2 * layout.FRAME_MAX_BYTES <= layout.ENCAP_HEADERS_BYTES);
    // Read as one.
    assert.equal(layout.ARRIVAL_TOS_OFFSET, layout.ARRIVAL_LISTENER_OFFSET + 1);
    assert.equal(layout.ARRIVAL_SEGMENT_OFFSET, layout.ARRIVAL_LISTENER_OFFSET + 2);
    assertRecord(layout.ARRIVAL_BYTES, [
      ['ARRIVAL_NAME', layout.SOCKADDR_IN6_BYTES, 8],
      ['ARRIVAL_ADDRESS', 4],
      ['ARRIVAL_LENGTH', 4],
      ['ARRIVAL_LISTENER', 1, 4],
      ['ARRIVAL_TOS', 1],
      ['ARRIVAL_SEGMENT', 2],
    ]);
    assertRecord(layout.LANE_BYTES, [
      ['LANE_FIRST', 2],
      ['LANE_LAST', 2],
    ]);
    assert.ok(layout.SOURCE_PORT_COUNT <= 256, 'a lane is a byte');
    assertRecord(layout.RECEIPT_BYTES, [
      ['RECEIPT_NAME', layout.SOCKADDR_IN6_BYTES, 8],
      ['RECEIPT_CONTROL', layout.RECEIPT_CONTROL_BYTES],
      ['RECEIPT_IOVEC', layout.IOVEC_BYTES],
    ]);
    const write = [
      'PLACE',
      'IOVECS',
      'LENGTH',
      'FRAMES',
      'FRAME',
      'L4',
      'PAYLOAD',
      'SEGMENT',
      'NEXT_SEQUENCE',
    ];
    assertRecord(layout.WRITE_BYTES, [
      ...[...write, 'IP_LENGTH', 'FLAGS'].map((name): [string, number] => [`WRITE_${name}`, 4]),
      ['WRITE_VIRTIO', layout.VIRTIO_HEADER_BYTES, 8],
    ]);
    assertRecord(layout.DESCRIPTOR_BYTES, [
      ['DESCRIPTOR_ADDRESS', 4],
      ['DESCRIPTOR_LENGTH', 4],
      ['DESCRIPTOR_DEVICE', 2],
      ['DESCRIPTOR_DOMAIN', 2],
      ['DESCRIPTOR_HOOK', 4],
    ]);
    // The host stores the device as a u32, which says that the domain is not known.
    assert.equal(layout.DESCRIPTOR_DEVICE_OFFSET % 4, 0);
    assertRecord(layout.HOOK_RECORD_BYTES, [
      ['HOOK_RECORD_ADDRESS', 4],
      ['HOOK_RECORD_LENGTH', 4],
      ['HOOK_RECORD_VERDICT', 4],
      ['HOOK_RECORD_TARGET', 4],
      ['HOOK_RECORD_MIRROR', 4],
      ['HOOK_RECORD_DEVICE', 2],
      ['HOOK_RECORD_L3', 2],
      ['HOOK_RECORD_VNI', 4],
      ['HOOK_RECORD_FLAGS', 2],
      ['HOOK_RECORD_TOS', 1],
      ['HOOK_RECORD_FAMILY', 1],
      ['HOOK_RECORD_ROOM', 4],
      ['HOOK_RECORD_ROOM_END', 4],
      ['HOOK_RECORD_WORD', 4],
      ['HOOK_RECORD_SENDER', 16, 8],
    ]);
    assertRecord(layout.HOOK_PARKED_BYTES, [
      ['HOOK_PARKED_PLACE', 4],
      ['HOOK_PARKED_GSO', 4],
      ['HOOK_PARKED_ADDRESS', 4],
      ['HOOK_PARKED_LENGTH', 4],
      ['HOOK_PARKED_MIRRORED', 4],
      ['HOOK_PARKED_VIRTIO', layout.VIRTIO_HEADER_BYTES, 2],
    ]);
    assert.equal(layout.DESCRIPTOR_DOMAIN_OFFSET, layout.DESCRIPTOR_DEVICE_OFFSET + 2);
    const state = [
      ...['MESSAGES_USED', 'IOVECS_USED', 'HEADERS_USED', 'INJECTS_USED', 'FANOUT_NEXT', 'FANOUT_COUNT'],
      ...['SHARED', 'PATH_WANTED', 'LANES_USED', 'LABEL', 'DOMAIN', 'WORD'],
    ];
    assertRecord(layout.ENCAP_STATE_BYTES, [
      ...state.map((name): [string, number] => [`ENCAP_${name}`, 4]),
      ['ENCAP_TAIL', 1],
      ['ENCAP_FRAME_FLAGS', 1],
      ['ENCAP_L3', 2],
      ['ENCAP_PATH_REMOTE', layout.REMOTE_BYTES, 8],
      ['ENCAP_LOOPBACK', 32, 8],
    ]);
    assert.ok(layout.SOCKADDR_IN6_BYTES <= 32);
    assertRecord(layout.DECAP_STATE_BYTES, [
      ['DECAP_MESSAGE', 4],
      ['DECAP_POSITION', 4],
      ['DECAP_WRITES_USED', 4],
      ['DECAP_FLOWS_USED', 4],
      ['DECAP_TRAINS', 4],
    ]);
    assertRecord(layout.WRITE_BYTES, [
      ['WRITE_PLACE', 2, 4],
      ['WRITE_DEVICE', 2],
      ['WRITE_IOVECS', 4],
      ['WRITE_LENGTH', 4],
      ['WRITE_FRAMES', 4],
      ['WRITE_VIRTIO', layout.VIRTIO_HEADER_BYTES, 2],
      ...['FRAME', 'L4', 'PAYLOAD', 'SEGMENT', 'NEXT_SEQUENCE', 'IP_LENGTH', 'FLAGS'].map(
        (name): [string, number] => [`WRITE_${name}`, 4],
      ),
    ]);
    assert.equal(2 ** (32 - layout.TRAIN_SHIFT), layout.TRAIN_COUNT);
    assert.ok(layout.TRAIN_LONGEST < layout.WRITE_IOVEC_MAX);
    // The longest answer, ICMPv6 with 1280 bytes of packet, and a tag.
    assert.ok(layout.INJECT_REPLY_BYTES >= 14 + layout.VLAN_TAG_BYTES + 1280);
    assert.equal(layout.INJECT_BUFFER_BYTES, layout.VIRTIO_HEADER_BYTES + layout.INJECT_REPLY_BYTES);
    assert.ok(layout.FRAME_HEADROOM_BYTES >= layout.VIRTIO_HEADER_BYTES + layout.ETHERNET_HEADER_BYTES);
    assert.ok(
      layout.ENVELOPE_CONTROL_BYTES >= 24 + 24 + 40 + 24,
      'TOS, TTL, packet information, UDP_SEGMENT',
    );
  });

  it('every drop has a counter, a name of its own, and no two share a number', () => {
    const values = Object.values(COUNTERS);
    assert.equal(new Set(values).size, values.length);
    assert.ok(values.every((value) => value >= 0 && value < layout.COUNTER_COUNT));
    const drops = Object.keys(numbers).filter((name) => name.startsWith('DROP_'));
    assert.ok(drops.length > 20);
    for (const name of drops) {
      assert.equal(COUNTERS[name.toLowerCase() as keyof typeof COUNTERS], numbers[name], name);
    }
  });
});

/** Names that assembly/index.ts gives away. */
function door(): string[] {
  const text = fileOf('assembly/index.ts').toString();
  const lists = [...text.matchAll(/export \{([^}]*)\}/g)].flatMap(([, list]) => list!.split(','));
  const names = lists.map(
    (item) =>
      item
        .trim()
        .split(/\s+as\s+/)
        .at(-1)!,
  );
  const functions = [...text.matchAll(/export function (\w+)/g)].map(([, name]) => name!);
  return [...names, ...functions].filter((name) => name !== '').sort();
}

for (const build of BUILDS) {
  describe(`module (${build})`, () => {
    const module = compileEngine(build);

    it('imports env.memory and nothing else; exports the door’s functions and nothing else', () => {
      assert.deepEqual(WebAssembly.Module.imports(module), [
        { module: 'env', name: 'memory', kind: 'memory' },
      ]);
      const functions = WebAssembly.Module.exports(module).filter(({ kind }) => kind === 'function');
      assert.deepEqual(functions.map(({ name }) => name).sort(), door());
      const others = WebAssembly.Module.exports(module).filter(({ kind }) => kind !== 'function');
      assert.deepEqual(
        others.filter(({ kind }) => kind !== 'memory'),
        [],
      );
    });

    it('has neither data nor a start function; no 64-bit number crosses the border', () => {
      const { sections, signatures, globals } = readModule(fileOf(`build/${build}.wasm`));
      assert.ok(!sections.includes(SECTION.start));
      if (build !== 'debug') {
        assert.equal(globals, 0);
        assert.ok(!sections.includes(SECTION.data) && !sections.includes(SECTION.dataCount));
      }
      for (const [name, types] of signatures) assert.ok(!types.includes(I64), name);
      assert.equal(signatures.size, door().length);
    });

    it('refuses a memory of another layout', () => {
      const memory = createMemory(1);
      const view = new DataView(memory.buffer);
      for (const version of [0, layout.LAYOUT_VERSION + 1]) {
        view.setUint32(layout.HEADER_BASE + layout.HEADER_VERSION_OFFSET, version, true);
        assert.throws(() => instantiateEngine(module, memory), { name: 'VtepError', code: 'SYSTEM' });
      }
      view.setUint32(layout.HEADER_BASE + layout.HEADER_VERSION_OFFSET, layout.LAYOUT_VERSION, true);
      assert.equal(instantiateEngine(module, memory).layoutVersion(), layout.LAYOUT_VERSION);
    });
  });
}

describe('module text', () => {
  it('calls no allocator and never grows the memory', () => {
    const text = fileOf('build/release.wat').toString();
    assert.match(text, /\(func \$assembly\/encap\/encap/);
    assert.doesNotMatch(text, /~lib\/rt|__new|__alloc|memory\.grow|call_indirect/);
  });
});
