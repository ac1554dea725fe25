/** What is wrong with leases, or with programming them. */
import type { Lease } from './lease.ts';

export type ProblemCode =
  /** Left out: */
  | 'backend-type'
  | 'incomplete'
  | 'malformed'
  | 'mac'
  | 'own-mac'
  | 'public-ip'
  | 'own-public-ip'
  | 'outside-network'
  | 'own-subnet'
  | 'own-address'
  | 'duplicate-mac'
  | 'duplicate-public-ip'
  | 'overlap'
  | 'public-ip-inside'
  /** Programmed all the same: */
  | 'vni'
  | 'port'
  | 'mtu'
  /** Of programming: */
  | 'foreign-route'
  | 'device'
  | 'refused';

export interface Problem {
  code: ProblemCode;
  /** 0 = of the lease as a whole. */
  family: 0 | 4 | 6;
  /** Leases concerned. */
  keys: string[];
  /** Those of them that are not programmed because of it. */
  skipped: string[];
  /** One line: what, why, remedy. */
  text: string;
}

/** Of a lease that is left out. */
export function skip(code: ProblemCode, family: 0 | 4 | 6, { key }: Lease, text: string): Problem {
  return { code, family, keys: [key], skipped: [key], text: `lease ${key}: ${text}: left out` };
}
