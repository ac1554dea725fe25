/** What `vxlane/dataplane` has everywhere. */
export { VtepError, type VtepErrorCode } from '../errors.ts';
export type * from '../types/event.ts';
export type * from '../types/fdb.ts';
export type * from '../types/mdb.ts';
export type * from '../types/peer.ts';
export type * from '../types/vni.ts';
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
export type * from './embedded-types.ts';
export type { DataSegment } from './hook-guard-shape.ts';
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
export type { EngineBytes, EngineMemory, EngineModule } from './wasm-types.ts';
