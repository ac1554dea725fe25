/** Compiles a hook in AssemblyScript as a user would, options and all. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** What docs/hooks-wasm.md says. */
export const ASC_OPTIONS = ['--runtime', 'stub', '--use', 'abort=', '--noAssert', '-O3', '--converge'];

/**
 * @param file path from the root
 * @param text what stands there, if it is not read
 */
export async function compileAssembly(
  file: string,
  text?: string,
  more: readonly string[] = [],
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  const { error, stderr } = await asc.main([file, ...ASC_OPTIONS, ...more, '--outFile', 'hook.wasm'], {
    readFile(name, base) {
      // A user's project has none of ours.
      if (name.endsWith('asconfig.json')) return null;
      if (text !== undefined && name === file) return text;
      try {
        return readFileSync(join(base.startsWith('/') ? '' : ROOT, base, name), 'utf8');
      } catch {
        return null;
      }
    },
    writeFile(name, contents) {
      if (name.endsWith('.wasm')) bytes = Uint8Array.from(contents as Uint8Array);
    },
    listFiles: () => [],
  });
  if (error || bytes === undefined) throw new Error(`${dirname(file)}: ${stderr.toString()}`);
  return bytes;
}
