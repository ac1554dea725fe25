#!/usr/bin/env node
/** What the wrappers start when a command may concern vxlane: `wrap-main TOOL REAL-PATH ARGUMENTS`. */
import { runWrapped } from './wrap-run.ts';

process.title = 'vxlane';

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const [tool, real, ...argv] = process.argv.slice(2);
const code = await runWrapped(tool === 'bridge' ? 'bridge' : 'ip', real ?? '', argv, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
});
process.exitCode = code;
if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit(code);
