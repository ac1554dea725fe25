/**
 * Has this process, its threads and the programs it starts do without io_uring, as the seccomp profile of Docker has
 * it: io_uring_setup answers EPERM. There is no way back. Then it runs the program that is named, in this process.
 *
 *   node --import tsx without-uring.ts PROGRAM WORDS...
 */
import { pathToFileURL } from 'node:url';
import koffi from 'koffi';

const PR_SET_NO_NEW_PRIVS = 38;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;
const EPERM = 1;
/** struct sock_filter { code, jt, jf, k }: what struct seccomp_data begins with is the number of the call. */
const FILTER: readonly [number, number, number, number][] = [
  [0x20, 0, 0, 0], // load it
  [0x15, 0, 1, 425], // io_uring_setup?
  [0x06, 0, 0, 0x0005_0000 | EPERM], // answer with an error
  [0x06, 0, 0, 0x7fff_0000], // else allow
];

function forbid(): void {
  const prctl = koffi.load(null).func('int prctl(int what, ulong a, void *b, ulong c, ulong d)');
  const program = new Uint8Array(256);
  const view = new DataView(program.buffer);
  FILTER.forEach(([code, jt, jf, k], index) => {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, jt);
    view.setUint8(index * 8 + 3, jf);
    view.setUint32(index * 8 + 4, k, true);
  });
  view.setUint16(128, FILTER.length, true);
  view.setBigUint64(136, BigInt(koffi.address(program)), true);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, null, 0, 0) !== 0) throw new Error(`no_new_privs: ${koffi.errno()}`);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program.subarray(128), 0, 0) !== 0)
    throw new Error(`seccomp: errno ${koffi.errno()}`);
}

forbid();
process.argv.splice(1, 1);
await import(pathToFileURL(process.argv[1]!).href);
