/** Runs in a worker of the page: sends a frame by a queue of its own. */
import { attachDataplane, type SharedDataplane } from 'vxlane/dataplane';

declare const self: {
  onmessage: (event: { data: { shared: SharedDataplane; device: number; frame: Uint8Array } }) => void;
  postMessage(said: string): void;
};

self.onmessage = ({ data: { shared, device, frame } }) => {
  const queue = attachDataplane(shared);
  const batch = queue.frames(1);
  batch.slots[0]!.write(frame);
  batch.slots[0]!.device = device;
  const sent = queue.encap(batch);
  const isRight = sent.next() && sent.bytes.length === 68 && sent.address === '192.0.2.2';
  queue.close();
  self.postMessage(isRight ? 'ok' : 'encap');
};
