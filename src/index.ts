/**
 * vxlane: the Linux VXLAN device in user space.
 *
 * `createVtep` makes devices on TAPs and UDP sockets (Linux, CAP_NET_ADMIN); `createDataplane` is the
 * forwarding alone, for any program on any system; `createSink` receives mirrored traffic, without rights.
 */
export * from './dataplane/index.ts';
export { openPortablePort, type PortablePort } from './io/portable.ts';
export type { SinkCounters } from './sink/counters.ts';
export type { Rotation } from './sink/file-output.ts';
export type { SinkPacket } from './sink/packet-output.ts';
export type { SinkInterface } from './sink/recorder.ts';
export type { SinkOptions } from './sink/settings.ts';
export { createSink, type Sink } from './sink/sink.ts';
export type { SinkStats } from './sink/stats.ts';
export type {
  DeviceChange,
  DeviceConfig,
  DeviceInfo,
  DirectionStats,
  FdbStateWord,
  Vtep,
  VtepStatus,
  WorkerProfile,
  WorkerStatus,
} from './types.ts';
export { createVtep, type VtepOptions } from './vtep/vtep.ts';
