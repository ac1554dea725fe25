/**
 * vxlane: the Linux VXLAN device in user space.
 *
 * `createVtep` makes devices on TAPs and UDP sockets (Linux, CAP_NET_ADMIN); `createDataplane` is the
 * forwarding alone, for any program on any system.
 */
export * from './dataplane/index.ts';
export { openPortablePort, type PortablePort } from './io/portable.ts';
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
