/** Hooks of a portable VTEP: what they send into tunnels and out of ports goes there by itself. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import {
  createMemoryNetwork,
  createMemoryPort,
  createVtep,
  type HookBatch,
  type PortableVtep,
  type VtepEvent,
} from '../src/index.ts';

const open: PortableVtep[] = [];
after(async () => {
  for (const one of open) await one.close();
});

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !condition(); await pause(2))
    if (performance.now() > end) throw new Error(`not within 10 s: ${what}`);
}

function frame(body: string): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 0x88, 0xb5, ...Buffer.from(body.padEnd(46)));
}

const textOf = (one: Uint8Array) => Buffer.from(one).toString('latin1', 14).trim();

/** A device with its port's other end, which keeps what it hears. */
async function device(vtep: PortableVtep, name: string, id: number, remote: string) {
  const [mine, its] = createMemoryPort();
  await vtep.addDevice({ name, id, remote, port: its, learning: false });
  const heard: string[] = [];
  mine.start({ frames: (batch) => heard.push(...batch.map(textOf)), closed() {}, warn() {} });
  return { heard, say: (body: string) => void mine.write([frame(body)]) };
}

async function host(network: ReturnType<typeof createMemoryNetwork>, address: string): Promise<PortableVtep> {
  const vtep = await createVtep({ underlay: network.host(address) });
  open.push(vtep);
  return vtep;
}

/** Hosts 1, 2 and 3: a gateway in the middle, with VNI 10 to the one side and VNI 20 to the other. */
async function gateway() {
  const network = createMemoryNetwork();
  const [left, middle, right] = [
    await host(network, '192.0.2.1'),
    await host(network, '192.0.2.2'),
    await host(network, '192.0.2.3'),
  ];
  return {
    middle,
    left: await device(left, 'red', 10, '192.0.2.2'),
    red: await device(middle, 'red', 10, '192.0.2.1'),
    blue: await device(middle, 'blue', 20, '192.0.2.3'),
    right: await device(right, 'blue', 20, '192.0.2.2'),
    // Numbers are given in the order of the devices' making.
    numbers: { red: 1, blue: 2 },
  };
}

test('a gateway joins two VNIs in both directions, and its ports hear nothing', async () => {
  const { left, right, middle, red, blue, numbers } = await gateway();
  const into = (number: number) => (batch: HookBatch) => {
    while (batch.next()) batch.redirect(number, 'tunnel');
  };
  middle.setHook('red', 'decap', into(numbers.blue));
  middle.setHook('blue', 'decap', into(numbers.red));
  for (let packet = 0; packet < 100; ++packet) left.say(`to the right ${packet}`);
  await until('all of them', () => right.heard.length === 100);
  assert.deepEqual(
    right.heard,
    Array.from({ length: 100 }, (_, packet) => `to the right ${packet}`),
  );
  right.say('and back');
  await until('the answer', () => left.heard.length === 1);
  assert.deepEqual([left.heard, red.heard, blue.heard], [['and back'], [], []]);
  assert.equal(middle.status().counters.red?.hook_redirects_received, 100);
});

test('a device’s encap hook sends frames out of another port, and mirrors others', async () => {
  const { middle, red, blue, right, left, numbers } = await gateway();
  middle.setHook('red', 'encap', (batch) => {
    while (batch.next()) {
      const text = textOf(batch.bytes);
      if (text === 'across') batch.redirect(numbers.blue);
      if (text === 'both') batch.mirror(numbers.blue, 'tunnel');
      if (text === 'none') batch.drop();
    }
  });
  for (const text of ['across', 'both', 'none', 'plain']) red.say(text);
  await until('all', () => left.heard.length === 2 && blue.heard.length === 1 && right.heard.length === 1);
  assert.deepEqual([left.heard, blue.heard, right.heard], [['both', 'plain'], ['across'], ['both']]);
  assert.equal(middle.status().counters.red?.drop_hook, 1);
});

test('a hook that throws loses its packets, is told of, and carries on; a deleted device takes its hook along', async () => {
  const { left, middle, red } = await gateway();
  const events: VtepEvent[] = [];
  middle.subscribe((event) => events.push(event));
  middle.setHook('red', 'decap', (batch) => {
    while (batch.next()) if (textOf(batch.bytes) === 'bad') throw new Error('what is that?');
  });
  left.say('bad');
  await until('the fault', () => events.some(({ event }) => event === 'hook'));
  left.say('good');
  await until('the next one', () => red.heard.length === 1);
  const [told] = events.filter((event) => event.event === 'hook');
  assert.deepEqual(told, {
    ...{ event: 'hook', change: 'fault', ifname: 'red', direction: 'decap', file: '', generation: 0 },
    reason: 'Error: what is that?',
  });
  assert.equal(middle.status().counters.red?.drop_hook_fault_received, 1);
  await middle.deleteDevice('red');
  const again = await device(middle, 'again', 10, '192.0.2.1');
  left.say('bad');
  await until('no hook', () => again.heard.length === 1);
  assert.throws(() => middle.setHook('red', 'decap', undefined), { code: 'NOT_FOUND' });
});
