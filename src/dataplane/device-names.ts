/** Devices by the names that requests give them. */
import { VtepError } from '../errors.ts';

export interface DeviceNames {
  /** Index of a device by its name; 0 = there is none. */
  deviceIndex(name: string): number;
  deviceName(index: number): string;
}

/**
 * @param what the request, to begin a message with
 * @param kind as the kernel's tool calls it
 * @throws VtepError NOT_FOUND
 */
export function findDevice(names: DeviceNames, what: string, name: string, kind = 'device'): number {
  const index = names.deviceIndex(name);
  if (index !== 0) return index;
  throw new VtepError(
    'NOT_FOUND',
    `${what}: Cannot find ${kind} "${name}": "vxlane link show" lists those that there are`,
  );
}
