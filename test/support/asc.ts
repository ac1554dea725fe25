/**
 * Compiles a hook in AssemblyScript as a user would, by the command line of docs/hooks-wasm.md. What has been compiled
 * from the same text before is not compiled again: several tests use the examples.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COMPILER = join(ROOT, 'node_modules/assemblyscript');
const HOOKS = join(ROOT, 'hooks');
const COMPILED = join(ROOT, 'build/hooks');
export const ASC_OPTIONS = [
  '--runtime',
  'stub',
  '--use',
  'abort=',
  '--noAssert',
  '-O3',
  '--converge',
  '--enable',
  'simd',
];
const SECONDS = 60;

/**
 * @param file path from the root
 * @param text what stands there, if it is not read: HOOKS/ in it is the folder of the files that hooks import
 */
export async function compileAssembly(
  file: string,
  text?: string,
  more: readonly string[] = [],
): Promise<Uint8Array<ArrayBuffer>> {
  const options = [...ASC_OPTIONS, ...more];
  const compiled = join(
    COMPILED,
    `${fingerprint(text ?? readFileSync(join(ROOT, file), 'utf8'), options)}.wasm`,
  );
  try {
    return new Uint8Array(readFileSync(compiled));
  } catch {
    // Not yet.
  }
  // Elsewhere, for a user's project has no asconfig.json of ours.
  const folder = mkdtempSync(join(tmpdir(), 'vxlane-hook-'));
  try {
    if (text !== undefined)
      writeFileSync(join(folder, file), text.replaceAll('HOOKS/', `${relative(folder, ROOT)}/hooks/`));
    const source = text === undefined ? relative(folder, join(ROOT, file)) : file;
    const words = [join(COMPILER, 'bin/asc.js'), source, ...options, '--outFile', 'hook.wasm'];
    await promisify(execFile)(process.execPath, words, { cwd: folder, timeout: SECONDS * 1000 });
    const bytes = new Uint8Array(readFileSync(join(folder, 'hook.wasm')));
    mkdirSync(COMPILED, { recursive: true });
    // Whole or not at all, for tests that run beside this one.
    const part = `${compiled}.${process.pid}`;
    writeFileSync(part, bytes);
    renameSync(part, compiled);
    return bytes;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Of all that a module is made from: its text, what it may import, and the compiler. */
function fingerprint(text: string, options: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([text, options]));
  for (const name of readdirSync(HOOKS).sort()) hash.update(name).update(readFileSync(join(HOOKS, name)));
  return hash.update(readFileSync(join(COMPILER, 'package.json'))).digest('hex');
}
