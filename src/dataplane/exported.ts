/** What `vxlane/dataplane` has everywhere. */
export { VtepError, type VtepErrorCode } from '../errors.ts';
export type {
  FdbEntry,
  FdbFlush,
  FdbRequest,
  MdbEntry,
  MdbFlush,
  MdbRequest,
  PeerInfo,
  PeerRequest,
  VniInfo,
  VniRequest,
  VtepEvent,
} from '../types.ts';
export type {
  ArrivedFrames,
  DatagramBatch,
  DatagramSlot,
  DataplaneQueue,
  FrameBatch,
  FrameSlot,
  Replied,
  SentDatagrams,
} from './batch.ts';
export type { CounterName } from './counters.ts';
export { attachDataplane, type DataplaneOptions, type OpenOptions, QUEUES_MAX } from './doors.ts';
export type {
  Datagram,
  EmbeddedDataplane,
  EmbeddedDevice,
  EmbeddedFdb,
  EmbeddedMdb,
  EmbeddedPeers,
  EmbeddedVnis,
  Frame,
  SharedDataplane,
} from './embedded-types.ts';
export {
  type CompiledHook,
  compileHook,
  HOOK_FUEL,
  type HookFault,
  type HookProgram,
} from './hook-program.ts';
export type {
  HookBatch,
  HookDirection,
  HookFailure,
  HookFunction,
  HookWay,
} from './hook-types.ts';
export type { FrameRing, RingConsumer, RingProducer, SharedRing } from './ring.ts';
export { attachConsumer, attachProducer } from './ring-ends.ts';
