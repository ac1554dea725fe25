/**
 * Other network namespaces, for what a TAP was moved to. Only the calling thread goes there, and only for as long
 * as a synchronous piece of work takes: sockets and programs that it starts stay where they were made.
 */
import { systemError } from './errno.ts';
import { syscalls } from './syscalls.ts';

const O_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;

/**
 * @param namespace descriptor of a network namespace
 * @throws VtepError PERMISSION or SYSTEM when it can't be entered; then the work has not begun
 */
export function within<T>(namespace: number, work: () => T): T {
  const sys = syscalls();
  const home = sys.open('/proc/thread-self/ns/net', O_CLOEXEC);
  if (home < 0) throw systemError('network namespace: /proc/thread-self/ns/net');
  try {
    if (sys.setns(namespace, CLONE_NEWNET) < 0) throw systemError('network namespace: setns');
    try {
      return work();
    } finally {
      // It was left a moment ago and is held open: there is nothing that could refuse it.
      sys.setns(home, CLONE_NEWNET);
    }
  } finally {
    sys.close(home);
  }
}
