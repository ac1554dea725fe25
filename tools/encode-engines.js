/** Writes the engine's builds as text into a module, so that bundles can carry them. */
import { readFileSync, writeFileSync } from 'node:fs';

const folder = new URL('../build/', import.meta.url);
const lines = ['release', 'scalar'].map((build) => {
  const text = readFileSync(new URL(`${build}.wasm`, folder)).toString('base64');
  return `export const ${build}: string =\n  '${text}';\n`;
});
writeFileSync(new URL('engines.ts', folder), `/** Written by tools/encode-engines.js. */\n${lines.join('')}`);
