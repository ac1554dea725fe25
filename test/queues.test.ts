/**
 * Devices with several queues, and workers for each: flows are spread over the workers in both directions, and each
 * stays in order. The other end is the kernel's device.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Vtep } from '../src/types.ts';
import { AS_GIVEN } from '../src/vtep/readers.ts';
import { createVtep } from '../src/vtep/vtep.ts';
import { deviceConfig } from './support/device-config.ts';
import {
  Bed,
  missingForKernelVxlan,
  missingForNamespaces,
  missingForTap,
  type Namespace,
  REPOSITORY,
} from './support/netns.ts';
import { type Arrived, collect, EACH, FLOWS, send } from './support/numbered-flows.ts';
import { enter, until } from './support/own-namespace.ts';

const QUEUES = 3;
const SETTLE_MS = 15_000;
const PROGRAM = ['--import', 'tsx', join(REPOSITORY, 'test/support/numbered-flows.ts')];
const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();

const count = (arrived: Arrived) => arrived.reduce((sum, [, numbers]) => sum + numbers.length, 0);

function assertComplete(arrived: Arrived): void {
  const all = Array.from({ length: EACH }, (_, number) => number);
  assert.deepEqual(
    arrived.map(([flow]) => flow).sort((a, b) => a - b),
    Array.from({ length: FLOWS }, (_, flow) => flow),
  );
  for (const [flow, numbers] of arrived) assert.deepEqual(numbers, all, `flow ${flow}`);
}

describe('several queues', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let here: Namespace;
  let far: Namespace;

  before(() => {
    far = bed.namespace('far');
    here = bed.namespace('here');
    enter(here);
    here.ip(
      `link add u0 type veth peer name u0 netns ${far.name}`,
      'link set lo up',
      'link set u0 up',
      'address add 10.9.0.1/24 dev u0',
    );
    far.ip(
      'link set u0 up',
      'address add 10.9.0.2/24 dev u0',
      'link add vx0 type vxlan id 42 dstport 4789 local 10.9.0.2 remote 10.9.0.1 dev u0',
      'link set vx0 up',
      'address add 10.8.0.2/24 dev vx0',
    );
  });
  after(() => bed.close());

  for (const threads of [1, 2] as const) {
    describe(`with ${threads === 1 ? 'a thread' : 'two threads'} each`, () => {
      let vtep: Vtep;

      const batches = (kind: string) =>
        vtep
          .status()
          .workers.filter(({ name }) => name.startsWith(kind))
          .map((worker) => worker.batches);

      before(async () => {
        vtep = await createVtep({ queues: QUEUES, threads }, AS_GIVEN);
        await vtep.addDevice(deviceConfig({ local: '10.9.0.1', remote: '10.9.0.2', dev: 'u0' }));
        here.ip('link set vx0 up', 'address add 10.8.0.1/24 dev vx0');
        await until('up', () => vtep.devices()[0]?.up === true, SETTLE_MS);
        here.run('ping', '-c', '1', '-W', '3', '10.8.0.2');
      });
      after(() => vtep?.close());

      it('flows that come in are spread, and each stays in order', async () => {
        const before = batches('decap');
        const { arrived, close } = await collect('10.8.0.1');
        far.run(process.execPath, ...PROGRAM, 'send', '10.8.0.1');
        await until('all there', () => count(arrived) >= FLOWS * EACH, SETTLE_MS);
        close();
        assertComplete(arrived);
        const now = batches('decap');
        assert.equal(now.length, QUEUES);
        for (const [queue, of] of now.entries())
          assert.ok(of > before[queue]!, `decap ${queue} has had nothing to do`);
      });

      it('flows that go out are spread, and each stays in order', async () => {
        const before = batches('encap');
        const child = far.spawn(process.execPath, [...PROGRAM, 'collect', '10.8.0.2'], {
          stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        });
        await once(child, 'message');
        await send('10.8.0.2');
        let arrived: Arrived = [];
        for (let tries = 0; count(arrived) < FLOWS * EACH && tries < 20; ++tries) {
          child.send('take');
          [arrived] = (await once(child, 'message')) as [Arrived];
        }
        child.disconnect();
        assertComplete(arrived);
        for (const [queue, of] of batches('encap').entries())
          assert.ok(of > before[queue]!, `encap ${queue} has had nothing to do`);
      });
    });
  }
});
