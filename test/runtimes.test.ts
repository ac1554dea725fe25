/**
 * The dataplane in other runtimes than Node, as a project that has installed the package uses it, with a firewall in
 * WebAssembly on memory of either kind. Deno gets no permission
 * whatever: the core touches neither files nor the environment.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { firewalled } from './support/firewalled.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const SCRIPT = `
import { attachDataplane, compileHook, createDataplane, openDataplane } from 'vxlane/dataplane';
import { engineBytes } from 'vxlane/dataplane/wasm';

const frame = Uint8Array.from({ length: 60 }, (_, at) => (at === 0 || at === 6 ? 2 : at));
function carried(plane) {
  const number = plane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:ff', remote: '192.0.2.2' });
  const [datagram] = plane.encap('a', frame);
  const [back] = plane.decap(datagram.bytes, datagram.address);
  const batch = plane.queue.frames(64);
  for (const slot of batch.slots) {
    slot.write(frame);
    slot.device = number;
  }
  const sent = plane.queue.encap(batch);
  let bytes = 0;
  while (sent.next()) bytes += sent.bytes.length;
  return back.device + back.bytes.join() + bytes;
}
const { wasm, rules, telnet, web } = FIREWALLED;
function firewall(shared) {
  const plane = createDataplane({ shared });
  plane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:ff', remote: '192.0.2.2' });
  const program = plane.setHook('a', 'encap', compileHook(Uint8Array.from(wasm), shared));
  program.configure(Uint8Array.from(rules));
  const sent = [telnet, web].map((frame) => plane.encap('a', Uint8Array.from(frame)).length);
  return { sent, dropped: plane.counters('a').drop_hook };
}
const shared = createDataplane({ queues: 2 });
console.log(JSON.stringify({
  synchronous: carried(createDataplane()),
  asynchronous: carried(await openDataplane()),
  scalar: carried(createDataplane({ bytes: engineBytes('scalar') })),
  alone: carried(createDataplane({ shared: false })),
  attached: attachDataplane(shared.share()).number,
  firewall: firewall(true),
  firewallAlone: firewall(false),
}));
`;

/** Without what the engine needs: whoever only imports needs none of it. */
const IMPORT = `
for (const name of ['WebAssembly', 'SharedArrayBuffer', 'performance', 'fetch', 'atob', 'process', 'Buffer'])
  Object.defineProperty(globalThis, name, { get() { throw new Error(name + ' was asked for'); } });
await import('vxlane/dataplane');
await import('vxlane/dataplane/wasm');
`;

const RUNTIMES: Record<string, readonly string[]> = {
  deno: ['run', '--no-prompt', '--quiet'],
  bun: ['run'],
  node: [],
};

function projectOf(context: TestContext, script: string): string {
  const project = mkdtempSync(join(tmpdir(), 'vxlane-runtime-'));
  context.after(() => rmSync(project, { recursive: true }));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules', 'vxlane'));
  symlinkSync(join(ROOT, 'node_modules', 'ipaddr.js'), join(project, 'node_modules', 'ipaddr.js'));
  writeFileSync(join(project, 'package.json'), '{"type":"module","dependencies":{"vxlane":"*"}}');
  writeFileSync(join(project, 'main.js'), script);
  return project;
}

for (const [name, words] of Object.entries(RUNTIMES)) {
  const variable = name.toUpperCase();
  const command = name === 'node' ? process.execPath : (process.env[variable] ?? name);
  const isThere = spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  const remedy = `no ${command}: npm install --no-save ${name}, or set ${variable}`;
  // Where it must be there (CI), it is not skipped, and fails.
  const skip = isThere || process.env.CI ? false : remedy;

  test(`in ${name}`, { skip }, async (context) => {
    const given = `const FIREWALLED = ${JSON.stringify(await firewalled())};\n`;
    const project = projectOf(context, given + SCRIPT);
    const { status, stdout, stderr } = spawnSync(command, [...words, 'main.js'], {
      cwd: project,
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(status, 0, stderr);
    const frame = Uint8Array.from({ length: 60 }, (_, at) => (at === 0 || at === 6 ? 2 : at));
    const carried = `a${frame.join()}${64 * 68}`;
    assert.deepEqual(JSON.parse(stdout), {
      ...{ synchronous: carried, asynchronous: carried, scalar: carried, alone: carried },
      attached: 1,
      ...{ firewall: { sent: [0, 1], dropped: 1 }, firewallAlone: { sent: [0, 1], dropped: 1 } },
    });
  });
}

test('to import it does nothing', (context) => {
  const { status, stderr } = spawnSync(process.execPath, ['--conditions=browser', 'main.js'], {
    cwd: projectOf(context, IMPORT),
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(status, 0, stderr);
});
