/** The engine's bytes: as files, as text, for memory that is shared and that is not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fittingBuild, instantiateEngine, withMemory } from '../src/dataplane/engine.ts';
import { readEngine } from '../src/dataplane/engine-file.ts';
import { createDataplane, openDataplane, VtepError, type VtepErrorCode } from '../src/dataplane/index.ts';
import { createMemory } from '../src/dataplane/memory.ts';
import { engineBytes } from '../src/dataplane/wasm.ts';

const BUILDS = ['release', 'scalar'] as const;

function refused(code: VtepErrorCode, work: () => unknown): void {
  assert.throws(work, (error) => error instanceof VtepError && error.code === code);
}

describe('the engine’s bytes', () => {
  for (const build of BUILDS) {
    test(`${build}: the text is the file`, () => {
      assert.deepEqual(engineBytes(build), readEngine(build));
    });

    test(`${build}: one bit says whether its memory is shared`, () => {
      const bytes = readEngine(build);
      assert.deepEqual(withMemory(bytes, true), bytes);
      const alone = withMemory(bytes, false);
      const changed = [...alone.keys()].filter((at) => alone[at] !== bytes[at]);
      assert.equal(changed.length, 1);
      assert.equal(alone[changed[0]!]! ^ bytes[changed[0]!]!, 2);
      for (const isShared of [true, false]) {
        const module = new WebAssembly.Module(withMemory(bytes, isShared));
        assert.ok(instantiateEngine(module, createMemory(2, isShared)).layoutVersion() > 0);
        refused('SYSTEM', () => instantiateEngine(module, createMemory(2, !isShared)));
        assert.equal(
          createDataplane({ module, shared: isShared }).queue.memory.buffer.constructor.name,
          isShared ? 'SharedArrayBuffer' : 'ArrayBuffer',
        );
      }
    });
  }

  test('SIMD where there is SIMD', (context) => {
    assert.equal(fittingBuild(), 'release');
    context.mock.method(WebAssembly, 'validate', () => false);
    assert.equal(fittingBuild(), 'scalar');
    assert.deepEqual(engineBytes(), readEngine('scalar'));
  });

  test('what is no engine is refused, at any length', () => {
    const bytes = readEngine('scalar');
    for (let length = 0; length < 200; ++length) {
      const other = bytes.slice(0, length);
      if (length > 0) other[length - 1]! ^= 0xff;
      assert.throws(() => createDataplane({ bytes: other }));
    }
    refused('USAGE', () => withMemory(new ArrayBuffer(0), false));
    refused('USAGE', () => withMemory(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 2, 1, 0), false));
  });

  test('from a file’s address, a view, a buffer, a module', async () => {
    const url = new URL('../build/release.wasm', import.meta.url);
    const bytes = readEngine('release');
    const padded = new Uint8Array(bytes.length + 10);
    padded.set(bytes, 5);
    const ways = [
      await openDataplane(),
      await openDataplane({ url }),
      await openDataplane({ url: url.href, shared: false }),
      await openDataplane({ bytes: padded.subarray(5, 5 + bytes.length) }),
      await openDataplane({ bytes: bytes.buffer }),
      await openDataplane({ module: await WebAssembly.compile(bytes) }),
    ];
    for (const plane of ways) {
      plane.addDevice({ name: 'a', vni: 1, address: '02:00:00:00:00:ff', remote: '192.0.2.2' });
      assert.equal(plane.encap('a', new Uint8Array(60)).length, 1);
    }
    await assert.rejects(openDataplane({ url, bytes }), { code: 'USAGE' });
  });
});
