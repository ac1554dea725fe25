/*
 * Learning: a frame that arrives tells where its source MAC is to be found [vxlan_snoop].
 */
import * as counter from './count';
import * as event from './event';
import * as fdb from './fdb';
import {
  DEVICE_FLAG_HONOUR_DONT_LEARN,
  DROP_ENTRY_EXISTS,
  DROP_INVALID_SOURCE_MAC,
  FDB_BUSY,
  FDB_FULL,
  FDB_LEARNED,
  FDB_MOVED,
  HEADER_BASE,
  HEADER_NOW_OFFSET,
  VXLAN_FLAG_GBP,
  VXLAN_GBP_DONT_LEARN,
} from './layout';
import * as ethernet from './wire/ethernet';

/**
 * Whether a header asks not to be learned from, and the device does as asked. Then it is as with `nolearning`.
 * @param word first word of the VXLAN header, as a number
 */
export function isForbidden(flags: u32, word: u32): bool {
  const bits: u32 = VXLAN_FLAG_GBP | VXLAN_GBP_DONT_LEARN;
  return (flags & DEVICE_FLAG_HONOUR_DONT_LEARN) !== 0 && (word & bits) === bits;
}

/**
 * @param sender struct sockaddr_in or sockaddr_in6
 * @param ifindex where the frame came in when the sender's address is link-local, else 0
 * @returns 0, or the verdict to drop the frame with
 */
export function snoop(
  worker: usize,
  device: u32,
  domain: u32,
  frame: usize,
  sender: usize,
  ifindex: u32,
): i32 {
  const source = ethernet.source(frame);
  if (source === 0 || ethernet.isGroup(source)) return DROP_INVALID_SOURCE_MAC;
  const now = load<u32>(HEADER_BASE, HEADER_NOW_OFFSET);
  const verdict = fdb.learn(domain, frame + 6, sender, ifindex, now);
  if (verdict === fdb.LEARN_KNOWN) return 0;
  if (verdict === fdb.LEARN_REFUSED) return DROP_ENTRY_EXISTS;
  if (verdict === fdb.LEARN_NEW) {
    counter.one(worker, device, FDB_LEARNED);
    event.learned(worker, domain, frame + 6, sender, ifindex);
  } else if (verdict === fdb.LEARN_MOVED) {
    counter.one(worker, device, FDB_MOVED);
    event.moved(worker, domain, frame + 6, sender, ifindex);
  } else if (verdict === fdb.LEARN_FULL) {
    counter.one(worker, device, FDB_FULL);
  } else if (verdict === fdb.LEARN_LATER) {
    counter.one(worker, device, FDB_BUSY);
  }
  return 0;
}
