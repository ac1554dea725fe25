/** Entry of the thread that sleeps until a descriptor can be read; see readiness.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { EPOLL_EVENT_BYTES } from './poller.ts';
import { READINESS_ARMED, READINESS_STOP, type ReadinessStart } from './readiness.ts';
import { Scratch } from './scratch.ts';
import { syscalls } from './syscalls.ts';

const { poller, control } = workerData as ReadinessStart;
const sys = syscalls();
const scratch = new Scratch(sys);
const event = scratch.address + scratch.claim(EPOLL_EVENT_BYTES);
const isStopped = () => Atomics.load(control, READINESS_STOP) !== 0;

while (!isStopped()) {
  Atomics.wait(control, READINESS_ARMED, 0);
  if (isStopped()) break;
  if (sys.epoll_wait(poller.epoll, event, 1, -1) <= 0 || isStopped()) continue;
  Atomics.store(control, READINESS_ARMED, 0);
  parentPort!.postMessage(0);
}
