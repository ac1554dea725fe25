/** What blocks of code in the documents take for granted, or have from a block before. */
import type { Socket } from 'node:dgram';
import type { EventEmitter } from 'node:events';
import type { Worker } from 'node:worker_threads';
import type * as vxlane from 'vxlane';

declare global {
  const attachDataplane: typeof vxlane.attachDataplane;
  const attachProducer: typeof vxlane.attachProducer;
  const createDataplane: typeof vxlane.createDataplane;
  const VtepError: typeof vxlane.VtepError;
  const dataplane: vxlane.EmbeddedDataplane;
  const queue: vxlane.DataplaneQueue;
  const vtep: vxlane.PortableVtep & EventEmitter<vxlane.VtepEvents>;
  const port: vxlane.FramePort;
  // What a message from another thread holds.
  // biome-ignore lint/suspicious/noExplicitAny: two of them, of different types
  const shared: any;
  const socket: Socket;
  const worker: Worker;
  const device: number;
  const waiting: number;
  const sender: string;
  const frame: Uint8Array;
  const datagram: Uint8Array;
  const bytes: Uint8Array;
  const settings: Uint8Array;
  function deliver(device: string | number, bytes: Uint8Array): void;
  function send(bytes: Uint8Array, port: number, address: string, flow?: number): void;
  function readFrameInto(bytes: Uint8Array): number;
}
