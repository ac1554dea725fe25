/** Address families of Linux, for the floors that have no business in the dataplane's memory. */
import { AF_INET, AF_INET6 } from '../../assembly/layout.ts';

export { AF_INET, AF_INET6 };

export type Family = typeof AF_INET | typeof AF_INET6;

/** Bytes of an address: 4 or 16. */
export function addressBytes(family: Family): number {
  return family === AF_INET ? 4 : 16;
}
