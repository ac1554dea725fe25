/** The door of the public API: which kind of VTEP, and that what programs hand in is looked at. */

import type { EventEmitter } from 'node:events';
import { READERS } from './daemon/call-schema.ts';
import { checkShape } from './dataplane/shape.ts';
import { VtepError } from './errors.ts';
import type { Vtep, VtepEvents } from './types.ts';
import type { PortableVtep, PortableVtepOptions, VtepOptions } from './vtep/options.ts';
import { PortVtep } from './vtep/portable-vtep.ts';
import { createVtep as createBatched } from './vtep/vtep.ts';

const OFFLOADS = { udpSegment: 'flag', udpGro: 'flag', coalesce: 'flag', tapUso: 'flag' } as const;

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
  checkShape(
    'createVtep',
    options,
    {},
    { queues: 'number', engine: 'text', threads: 'number', spin: 'number' },
    ['underlay', 'offloads', 'signal', 'logger'],
  );
  if (logger !== undefined && typeof logger !== 'function')
    throw new VtepError('USAGE', 'logger: a function is expected');
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new VtepError('USAGE', 'signal: an AbortSignal is expected');
  if ('underlay' in options) return new PortVtep(options, READERS);
  const { offloads = {}, threads = 2, spin = 0 } = options;
  checkShape('offloads', offloads, {}, OFFLOADS);
  if (threads !== 1 && threads !== 2) throw new VtepError('USAGE', `threads ${threads}: give 1 or 2`);
  if (!(spin >= 0)) throw new VtepError('USAGE', `spin ${spin}: give microseconds, from 0`);
  return createBatched(options, READERS);
}
