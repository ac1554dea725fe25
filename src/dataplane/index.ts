/** `vxlane/dataplane`: the embeddable module. */
export { VtepError, type VtepErrorCode } from '../errors.ts';
export type { FdbEntry, FdbFlush, FdbRequest } from '../types.ts';
export type { CounterName } from './counters.ts';
export {
  createDataplane,
  type Datagram,
  type EmbeddedDataplane,
  type EmbeddedDevice,
  type Frame,
} from './embedded.ts';
