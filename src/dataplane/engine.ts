/**
 * Compiles and instantiates the engine, wherever its bytes come from. One module, one instance per thread, all on one
 * memory. Nothing here knows a file: engine-file.ts finds those.
 */
import { HEADER_BASE, HEADER_VERSION_OFFSET, LAYOUT_VERSION } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { EngineExports } from './exports.ts';

/** `release` needs 128-bit SIMD, `scalar` does not, `debug` checks itself. */
export type EngineBuild = 'release' | 'scalar' | 'debug';

/** `() => i8x16.splat(0)` and its kind: valid where there is SIMD. */
const SIMD_PROBE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0],
  ...[10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);
/** Sections of a module, and the kind of an import, by number. */
const SECTION_IMPORT = 2;
const IMPORT_MEMORY = 2;
const PREAMBLE_BYTES = 8;
/** Limits of a memory: a maximum is given; it is shared. */
const LIMITS_MAXIMUM = 1;
const LIMITS_SHARED = 2;

/** The fastest build that this machine and runtime can run. */
export function fittingBuild(): EngineBuild {
  return WebAssembly.validate(SIMD_PROBE) ? 'release' : 'scalar';
}

/**
 * The engine for a memory of one thread: some browsers refuse a shared one to pages that are not cross-origin isolated.
 * The builds differ in one bit only, that of the imported memory's kind.
 * @returns a copy
 * @throws VtepError USAGE when the bytes are not an engine's
 */
export function withMemory(module: BufferSource, shared: boolean): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(module).slice();
  const at = limitsOf(bytes);
  if (at < 0) throw new VtepError('USAGE', 'engine: the bytes given are not a build of vxlane’s engine');
  bytes[at] = shared ? LIMITS_MAXIMUM | LIMITS_SHARED : LIMITS_MAXIMUM;
  return bytes;
}

/**
 * @returns the module's own exports
 * @throws VtepError SYSTEM when module and memory are of different layouts or kinds
 */
export function instantiateEngine(module: WebAssembly.Module, memory: WebAssembly.Memory): EngineExports {
  const exports = link(module, memory).exports as unknown as EngineExports;
  const version = new DataView(memory.buffer).getUint32(HEADER_BASE + HEADER_VERSION_OFFSET, true);
  if (version !== LAYOUT_VERSION || exports.layoutVersion() !== LAYOUT_VERSION) {
    throw new VtepError(
      'SYSTEM',
      `engine: layout ${exports.layoutVersion()} on a memory of layout ${version}, ${LAYOUT_VERSION} expected: run "npm run build"`,
    );
  }
  return exports;
}

function link(module: WebAssembly.Module, memory: WebAssembly.Memory): WebAssembly.Instance {
  try {
    return new WebAssembly.Instance(module, { env: { memory } });
  } catch (cause) {
    throw new VtepError('SYSTEM', `engine: ${(cause as Error).message}: give it an engine of this version`);
  }
}

/** Where the flags of the imported memory's limits stand; -1: there is no such import. */
function limitsOf(bytes: Uint8Array): number {
  const read = { at: PREAMBLE_BYTES };
  while (read.at < bytes.length) {
    const section = bytes[read.at++]!;
    const size = unsigned(bytes, read);
    if (section !== SECTION_IMPORT) {
      read.at += size;
      continue;
    }
    const count = unsigned(bytes, read);
    // Module and field, as bytes behind their length.
    for (let name = 0; name < 2; ++name) {
      const length = unsigned(bytes, read);
      read.at += length;
    }
    return count === 1 && bytes[read.at] === IMPORT_MEMORY ? read.at + 1 : -1;
  }
  return -1;
}

/** LEB128 */
function unsigned(bytes: Uint8Array, read: { at: number }): number {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = bytes[read.at++] ?? 0;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value >>> 0;
}

function bytesOf(source: BufferSource): Uint8Array<ArrayBuffer> {
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  return new Uint8Array(source);
}
