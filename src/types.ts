/**
 * What a VTEP is asked to do and what it answers: plain data, so that the same shapes serve the public
 * API, the control socket and the command line. Words and defaults are iproute2's.
 */
export type * from './types/device.ts';
export type * from './types/event.ts';
export type * from './types/fdb.ts';
export type * from './types/hook.ts';
export type * from './types/mdb.ts';
export type * from './types/peer.ts';
export type * from './types/policy.ts';
export type * from './types/status.ts';
export type * from './types/vni.ts';
export type * from './types/vtep.ts';
