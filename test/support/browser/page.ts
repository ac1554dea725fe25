/** Runs in a page: every way to a dataplane there is in browsers, and packets through each. Tells the server what it saw. */
import {
  compileHook,
  createDataplane,
  type EmbeddedDataplane,
  openDataplane,
  VtepError,
} from 'vxlane/dataplane';
import { engineBytes } from 'vxlane/dataplane/wasm';
import type { Firewalled } from '../firewalled.ts';

const FRAME = Uint8Array.from({ length: 60 }, (_, at) => (at === 0 || at === 6 ? 2 : at));

/** "ok", or what went wrong. */
function carries(plane: EmbeddedDataplane): string {
  const device = { vni: 42, address: '02:00:00:00:00:ff' };
  const number = plane.addDevice({ ...device, name: 'a', remote: '192.0.2.2' });
  const [datagram, ...more] = plane.encap('a', FRAME);
  if (datagram?.address !== '192.0.2.2' || more.length > 0) return 'encap';
  const [frame] = plane.decap(datagram.bytes, '192.0.2.2');
  if (frame?.device !== 'a' || frame.bytes.some((byte, at) => byte !== FRAME[at])) return 'decap';
  const batch = plane.queue.frames(64);
  for (const slot of batch.slots) {
    slot.write(FRAME);
    slot.device = number;
  }
  const sent = plane.queue.encap(batch);
  let count = 0;
  for (; sent.next(); ++count) if (sent.bytes.some((byte, at) => byte !== datagram.bytes[at])) return 'batch';
  plane.tick();
  if (count !== 64 || plane.counters('a').encap_packets !== 65) return `${count} of 64`;
  plane.close();
  return 'ok';
}

async function outcome(work: () => string | Promise<string>): Promise<string> {
  try {
    return await work();
  } catch (error) {
    return error instanceof VtepError ? error.code : String(error);
  }
}

/** One frame that a hook drops, and one that it passes. */
async function firewall(shared: boolean): Promise<string> {
  const { wasm, rules, telnet, web } = (await (await fetch('firewall.json')).json()) as Firewalled;
  const plane = await openDataplane({ shared });
  plane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:ff', remote: '192.0.2.2' });
  const program = plane.setHook('a', 'encap', compileHook(Uint8Array.from(wasm), shared));
  program?.configure(Uint8Array.from(rules));
  if (plane.encap('a', Uint8Array.from(telnet)).length !== 0) return 'not dropped';
  if (plane.encap('a', Uint8Array.from(web)).length !== 1) return 'not passed';
  return plane.counters('a').drop_hook === 1 ? 'ok' : 'not counted';
}

/** A frame through a queue in a worker. */
async function inWorker(): Promise<string> {
  const plane = await openDataplane({ queues: 2 });
  const device = plane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:ff', remote: '192.0.2.2' });
  const worker = new Worker('worker.js', { type: 'module' });
  const answer = new Promise<string>((done) => {
    worker.onmessage = ({ data }) => done(data);
    worker.onerror = ({ message }) => done(message);
  });
  worker.postMessage({ shared: plane.share(), device, frame: FRAME });
  const said = await answer;
  return plane.counters('a').encap_packets === 1 ? said : 'not counted here';
}

const results = {
  isolated: crossOriginIsolated,
  text: await outcome(async () => carries(await openDataplane())),
  url: await outcome(async () => carries(await openDataplane({ url: 'release.wasm' }))),
  missing: await outcome(async () => carries(await openDataplane({ url: 'no.wasm' }))),
  synchronous: await outcome(() => carries(createDataplane({ bytes: engineBytes() }))),
  scalar: await outcome(() => carries(createDataplane({ bytes: engineBytes('scalar') }))),
  shared: await outcome(async () => carries(await openDataplane({ shared: true }))),
  alone: await outcome(async () => carries(await openDataplane({ shared: false }))),
  firewall: await outcome(() => firewall(true)),
  firewallAlone: await outcome(() => firewall(false)),
  worker: await outcome(inWorker),
};
const next = await fetch('results', { method: 'POST', body: JSON.stringify(results) });
const address = await next.text();
if (address !== '') location.href = address;
