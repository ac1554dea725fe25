/** Compiles a hook in AssemblyScript as a user would, by the command line of docs/hooks-wasm.md. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ASC = join(ROOT, 'node_modules/assemblyscript/bin/asc.js');
export const ASC_OPTIONS = ['--runtime', 'stub', '--use', 'abort=', '--noAssert', '-O3', '--converge'];
const SECONDS = 60;

/**
 * @param file path from the root
 * @param text what stands there, if it is not read: HOOKS/ in it is the folder of the files that hooks import
 */
export function compileAssembly(
  file: string,
  text?: string,
  more: readonly string[] = [],
): Uint8Array<ArrayBuffer> {
  // Elsewhere, for a user's project has no asconfig.json of ours.
  const folder = mkdtempSync(join(tmpdir(), 'vxlane-hook-'));
  try {
    if (text !== undefined)
      writeFileSync(join(folder, file), text.replaceAll('HOOKS/', `${relative(folder, ROOT)}/hooks/`));
    const source = text === undefined ? relative(folder, join(ROOT, file)) : file;
    const options = [source, ...ASC_OPTIONS, ...more, '--outFile', 'hook.wasm'];
    execFileSync(process.execPath, [ASC, ...options], { cwd: folder, timeout: SECONDS * 1000 });
    return new Uint8Array(readFileSync(join(folder, 'hook.wasm')));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
