/**
 * Sources as the kernel would send: no flow label but the address's, no loop for multicast, one socket a port; a
 * local address that is not the host's is told apart from a range without a free port.
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { after, before, describe, it } from 'node:test';
import { SOURCE_PORT_COUNT } from '../assembly/layout.ts';
import { createMemory, type Views, viewsOf } from '../src/dataplane/memory.ts';
import { AF_INET, AF_INET6 } from '../src/io/family.ts';
import { syscalls } from '../src/io/syscalls.ts';
import {
  connectSource,
  disableSegmentation,
  isConnected,
  peerAt,
  refusedSources,
  releaseSource,
  retainSource,
  SOURCE_UNREACHABLE,
  type SourceGroup,
  socketOf,
} from '../src/vtep/sources.ts';
import { Bed, missingForNamespaces, type Namespace } from './support/netns.ts';
import { enter } from './support/own-namespace.ts';

const SOL_IP = 0;
const IP_MULTICAST_LOOP = 34;
const SOL_IPV6 = 41;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_FLOWINFO_SEND = 33;
const IPV6_AUTOFLOWLABEL = 70;
const missing = missingForNamespaces();

function option(fd: number, level: number, name: number): number {
  const value = new Uint8Array(4);
  assert.equal(syscalls().getsockopt(fd, level, name, value, Uint8Array.of(4, 0, 0, 0)), 0);
  return new DataView(value.buffer).getInt32(0, true);
}

describe('sources', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let here: Namespace;
  let views: Views;
  const group = (differences: Partial<SourceGroup> = {}): SourceGroup => ({
    ...{ family: AF_INET, local: '', df: false, noChecksum: false, ports: [50000, 50010] },
    ...differences,
  });
  const first = (number: number) => number * SOURCE_PORT_COUNT;

  before(() => {
    here = bed.namespace('sources');
    enter(here);
    here.ip('link add u0 type veth peer name u1', 'link set u0 up', 'link set u1 up');
    views = viewsOf(createMemory(1));
  });
  after(() => bed.close());

  it('over IPv4 do not loop what they send to groups', () => {
    const number = retainSource(views, group());
    const fd = socketOf(views, first(number));
    assert.equal(option(fd, SOL_IP, IP_MULTICAST_LOOP), 0);
    assert.equal(socketOf(views, first(number)), fd, 'opened once');
    releaseSource(views, number);
  });

  it('tell from where the kernel has refused segments, and forget it with the group', () => {
    const all = [
      group(),
      group({ local: '192.0.2.9' }),
      group({ family: AF_INET6, local: '2001:db8::9' }),
      group({ noChecksum: true }),
    ];
    const numbers = all.map((wanted) => retainSource(views, wanted));
    // Without checksum nobody tries.
    assert.deepEqual(refusedSources(views), []);
    for (const number of numbers.slice(0, 3)) disableSegmentation(views, first(number));
    assert.deepEqual(refusedSources(views), ['any address', '192.0.2.9', '2001:db8::9']);
    for (const number of numbers) releaseSource(views, number);
    assert.deepEqual(refusedSources(views), []);
  });

  it('over IPv6 send the label of the address and none of their own', () => {
    const number = retainSource(views, group({ family: AF_INET6 }));
    const fd = socketOf(views, first(number));
    assert.deepEqual(
      [IPV6_MULTICAST_LOOP, IPV6_FLOWINFO_SEND, IPV6_AUTOFLOWLABEL].map((name) => option(fd, SOL_IPV6, name)),
      [0, 1, 0],
    );
    releaseSource(views, number);
  });

  it('a local address that is not the host’s is unreachable until it is', () => {
    const number = retainSource(views, group({ local: '192.0.2.7' }));
    assert.equal(socketOf(views, first(number)), SOURCE_UNREACHABLE);
    assert.equal(socketOf(views, first(number)), SOURCE_UNREACHABLE, 'asked again');
    here.ip('addr add 192.0.2.7 dev u0');
    assert.ok(socketOf(views, first(number)) >= 0);
    releaseSource(views, number);
  });

  it('over IPv6 it is sent from all the same, as by the kernel’s device', () => {
    const number = retainSource(views, group({ family: AF_INET6, local: '2001:db8::7' }));
    assert.ok(socketOf(views, first(number)) >= 0);
    releaseSource(views, number);
  });

  it('a link-local address belongs to its interface', () => {
    const u0 = here.ipJson('link', 'show', 'u0')[0].ifindex;
    const u1 = here.ipJson('link', 'show', 'u1')[0].ifindex;
    here.ip('addr add fe80::77/64 dev u0 nodad');
    const links = [u0, u1].map((scope) =>
      retainSource(views, group({ family: AF_INET6, local: 'fe80::77', scope })),
    );
    assert.notEqual(links[0], links[1]);
    assert.ok(socketOf(views, first(links[0]!)) >= 0);
    assert.ok(socketOf(views, first(links[1]!)) >= 0, 'on another one it is another');
    for (const number of links) releaseSource(views, number);
  });

  it('with an address of their own are connected to the first remote, to none of a group', () => {
    here.ip('addr add 192.0.2.9/24 dev u0');
    const name = views.bytes.byteLength - 64;
    const remote = (...address: number[]) => {
      views.view.setUint16(name, AF_INET, true);
      views.view.setUint16(name + 2, 8472);
      views.bytes.set(address, name + 4);
    };
    const where = (source: number, fd: number) => {
      connectSource(views, source, fd, syscalls().addressOf(views.bytes), name);
      return isConnected(views, source)
        ? [...views.bytes.subarray(peerAt(source) + 2, peerAt(source) + 8)]
        : [];
    };
    const own = retainSource(views, group({ local: '192.0.2.9' }));
    const fd = socketOf(views, first(own));
    remote(239, 1, 1, 1);
    assert.deepEqual(where(first(own), fd), []);
    remote(203, 0, 113, 1);
    assert.deepEqual(where(first(own), fd), [], 'no route, so it stays as it is');
    remote(192, 0, 2, 10);
    assert.deepEqual(where(first(own), fd), [0x21, 0x18, 192, 0, 2, 10]);
    remote(192, 0, 2, 11);
    assert.deepEqual(where(first(own), fd), [0x21, 0x18, 192, 0, 2, 10], 'and stays so');
    releaseSource(views, own);
    const any = retainSource(views, group());
    assert.deepEqual(where(first(any), socketOf(views, first(any))), [], 'the route chooses the source');
    releaseSource(views, any);
  });

  it('a range whose ports are all taken is another thing', async () => {
    const holder = createSocket('udp4');
    await new Promise<void>((done) => holder.bind(50000, () => done()));
    const number = retainSource(views, group({ ports: [50000, 50001] }));
    assert.equal(socketOf(views, first(number)), -1);
    await new Promise<void>((done) => holder.close(() => done()));
    assert.ok(socketOf(views, first(number)) >= 0);
    releaseSource(views, number);
  });
});
