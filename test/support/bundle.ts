/** The package as a bundler for browsers takes it: through its exports map, without a module of Node's. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const folder = fileURLToPath(new URL('browser/', import.meta.url));

/** @returns files by name: page.js, worker.js and what they share. @throws where something is not to be had in a browser */
export async function bundle(): Promise<Map<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: [`${folder}page.ts`, `${folder}worker.ts`],
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    outdir: folder,
    write: false,
    logLevel: 'silent',
  });
  return new Map(outputFiles.map(({ path, contents }) => [path.slice(folder.length), contents]));
}
