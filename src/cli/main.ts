#!/usr/bin/env node
/** The `vxlane` command: hands argv over and ends the process with the answer. */
import { runCli } from './program.ts';
import { withoutWrappers } from './wrap.ts';

// Who asks what holds a port, or what is using the CPU, is to read this and not "node".
process.title = 'vxlane';

// What vxlane asks of `ip`, it asks of the real one.
process.env.PATH = withoutWrappers(process.env.PATH);

// `vxlane fdb show | head` is no error: the reader has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const code = await runCli(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
});
process.exitCode = code;
// Nothing may keep a finished command alive; only output that a slow reader has yet to take is waited for.
if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit(code);
