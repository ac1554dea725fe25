/* The door: everything that the host may call. Addresses and 32-bit numbers only. */
import { LAYOUT_VERSION } from './layout';

export { decap, decapArrivals, decapDone, prepare as decapPrepare } from './decap';
export {
  applyIpv4 as ecnApplyIpv4,
  applyIpv6 as ecnApplyIpv6,
  decapsulate as ecnDecapsulate,
  encapsulate as ecnEncapsulate,
} from './ecn';
export { encap, encapParcels } from './encap';
export {
  l2Miss as eventL2Miss,
  l3Miss as eventL3Miss,
  learned as eventLearned,
  moved as eventMoved,
} from './event';
export {
  addRemote as fdbAddRemote,
  beginChange as fdbBeginChange,
  collectAt as fdbCollect,
  endChange as fdbEndChange,
  erase as fdbErase,
  find as fdbFind,
  findZero as fdbFindZero,
  insert as fdbInsert,
  isNexthop as fdbIsNexthop,
  learn as fdbLearn,
  lock as fdbLock,
  next as fdbNext,
  nextExpired as fdbNextExpired,
  publish as fdbPublish,
  removeRemote as fdbRemoveRemote,
  touch as fdbTouch,
  unlock as fdbUnlock,
} from './fdb';
export { hash as flowHash, port as flowPort, slot as flowSlot } from './flow';
export { decapVerdicts } from './hook-decap';
export { encapPark } from './hook-encap';
export { collect as mdbCollect, home as mdbHome } from './mdb';
export { findInto as neighbourFind } from './neighbour';
export { choose as nexthopChoose } from './nexthop';
export { slotOf as pathSlot } from './path';
export { refused as policyRefused, seen as policySeen, sent as policySent } from './policy';
export { reduce as proxyReduce } from './proxy';
export { shortCircuit } from './short-circuit';
export { answer as tooBigAnswer } from './too-big';
export { cut as encapCut } from './tunnel-cut';
export {
  frames as uringFrames,
  nextFailure as uringNextFailure,
  reads as uringReads,
  writes as uringWrites,
} from './uring';
export { lookup as vniLookup, ofVlan as vniOfVlan } from './vni';
export {
  copyAndSum as checksumCopy,
  ipv4Header as ipv4HeaderChecksum,
  pseudoIpv4,
  pseudoIpv6,
  sum as checksum,
  update16 as checksumUpdate,
} from './wire/checksum';

export function layoutVersion(): i32 {
  return LAYOUT_VERSION;
}
