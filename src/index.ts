/**
 * vxlane: the Linux VXLAN device in user space.
 *
 * `createVtep` makes devices: on TAPs and batched UDP sockets (Linux, CAP_NET_ADMIN), or, with an `underlay`, on ports of
 * any kind, on any system and without privilege. `createDataplane` is the forwarding alone; `createSink` receives mirrored
 * traffic, without rights.
 */

export { createVtep } from './create-vtep.ts';
export * from './dataplane/index.ts';
export { type BatchedUnderlayOptions, batchedUnderlay } from './io/batched-underlay.ts';
export { type DgramUnderlayOptions, dgramUnderlay } from './io/dgram-underlay.ts';
export { type DuplexPortOptions, type DuplexTapLike, fromDuplex } from './io/duplex-port.ts';
export type { FramePort, FrameSink } from './io/frame-port.ts';
export { type MacvtapOptions, openMacvtap } from './io/macvtap.ts';
export { createMemoryNetwork, type MemoryNetwork, type MemoryNetworkOptions } from './io/memory-network.ts';
export { createMemoryPort, type MemoryPort, type MemoryPortOptions } from './io/memory-port.ts';
export type {
  LossReason,
  OutgoingDatagram,
  Underlay,
  UnderlayAbilities,
  UnderlayFamily,
  UnderlaySink,
} from './io/underlay.ts';
export type { SinkCounter, SinkCounters } from './sink/counters.ts';
export type { Rotation } from './sink/file-output.ts';
export type { SinkPacket } from './sink/packet-output.ts';
export type { SinkInterface } from './sink/recorder.ts';
export type { SinkOptions } from './sink/settings.ts';
export { createSink, type Sink } from './sink/sink.ts';
export type { SinkStats } from './sink/stats.ts';
export type * from './types.ts';
export type {
  EngineChoice,
  Logger,
  PortableVtep,
  PortableVtepOptions,
  PortDeviceRequest,
  VtepOptions,
} from './vtep/options.ts';
