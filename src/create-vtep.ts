/** The door of the public API: which kind of VTEP, and that what programs hand in is looked at. */

import type { EventEmitter } from 'node:events';
import { READERS } from './daemon/call-schema.ts';
import { VtepError } from './errors.ts';
import type { Vtep, VtepEvents } from './types.ts';
import { type PortableVtep, type PortableVtepOptions, PortVtep } from './vtep/portable-vtep.ts';
import { createVtep as createBatched, type VtepOptions } from './vtep/vtep.ts';

/**
 * A VTEP whose devices have ports and whose datagrams go over an underlay: on any OS, without privilege. It carries
 * packets on this thread.
 *
 * @example
 * const [mine, its] = createMemoryPort();
 * const vtep = await createVtep({ underlay: dgramUnderlay() });
 * await vtep.addDevice({ name: 'vx0', id: 42, dstport: 4789, remote: '192.0.2.7', port: its });
 * mine.start({ frames: (batch) => console.log(`${batch.length} frames`) });
 * mine.write([frame]);
 *
 * @throws VtepError USAGE, IN_USE, SYSTEM
 */
export function createVtep(options: PortableVtepOptions): Promise<PortableVtep & EventEmitter<VtepEvents>>;
/**
 * A VTEP on TAPs and batched UDP sockets, with threads of its own: Linux, CAP_NET_ADMIN.
 *
 * @throws VtepError UNSUPPORTED (not Linux, no koffi), USAGE (no such engine), SYSTEM
 */
export function createVtep(options?: VtepOptions): Promise<Vtep & EventEmitter<VtepEvents>>;
export async function createVtep(
  options: PortableVtepOptions | VtepOptions = {},
): Promise<(Vtep | PortableVtep) & EventEmitter<VtepEvents>> {
  if (typeof options !== 'object' || options === null)
    throw new VtepError('USAGE', 'createVtep: an object of options is expected');
  const { logger, signal } = options;
  if (logger !== undefined && typeof logger !== 'function')
    throw new VtepError('USAGE', 'logger: a function is expected');
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new VtepError('USAGE', 'signal: an AbortSignal is expected');
  return 'underlay' in options ? new PortVtep(options, READERS) : createBatched(options, READERS);
}
