/**
 * Writes what the compiler made as modules of TypeScript: the engine's builds as text, so that bundles can carry them,
 * and the types of its exports, so that the package has them where its declarations look.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const folder = new URL('../build/', import.meta.url);
const write = (name, text) =>
  writeFileSync(new URL(name, folder), `/** Written by tools/encode-engines.js. */\n${text}`);

const lines = ['release', 'scalar'].map((build) => {
  const text = readFileSync(new URL(`${build}.wasm`, folder)).toString('base64');
  return `export const ${build}: string =\n  '${text}';\n`;
});
write('engines.ts', lines.join(''));
write('engine-exports.ts', readFileSync(new URL('release.d.ts', folder), 'utf8'));
