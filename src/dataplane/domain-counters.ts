/** Counters per VNI: what `bridge -s vni` shows of an external device's VNIs. */
import {
  DOMAIN_COUNTER_ROW_BYTES,
  DOMAIN_COUNTERS_OFFSET,
  DOMAIN_DECAP_BYTES,
  DOMAIN_DECAP_DROPS,
  DOMAIN_DECAP_ERRORS,
  DOMAIN_DECAP_PACKETS,
  DOMAIN_ENCAP_BYTES,
  DOMAIN_ENCAP_DROPS,
  DOMAIN_ENCAP_ERRORS,
  DOMAIN_ENCAP_PACKETS,
} from '../../assembly/layout.ts';
import type { VniInfo } from '../types.ts';
import { workerBase } from './memory.ts';

const COUNTER_BYTES = 8;

/** @param workers blocks to sum over, from the first one on */
export function readDomainStats(view: DataView, workers: number, domain: number): VniInfo['stats'] {
  const sum = (counter: number) => {
    let total = 0n;
    for (let worker = 0; worker < workers; ++worker) {
      total += view.getBigUint64(rowOf(worker, domain) + counter * COUNTER_BYTES, true);
    }
    return Number(total);
  };
  return {
    rx: {
      bytes: sum(DOMAIN_DECAP_BYTES),
      packets: sum(DOMAIN_DECAP_PACKETS),
      drops: sum(DOMAIN_DECAP_DROPS),
      errors: sum(DOMAIN_DECAP_ERRORS),
    },
    tx: {
      bytes: sum(DOMAIN_ENCAP_BYTES),
      packets: sum(DOMAIN_ENCAP_PACKETS),
      drops: sum(DOMAIN_ENCAP_DROPS),
      errors: sum(DOMAIN_ENCAP_ERRORS),
    },
  };
}

/** A domain is given to another VNI. */
export function clearDomainStats(view: DataView, workers: number, domain: number): void {
  for (let worker = 0; worker < workers; ++worker) {
    new Uint8Array(view.buffer, rowOf(worker, domain), DOMAIN_COUNTER_ROW_BYTES).fill(0);
  }
}

function rowOf(worker: number, domain: number): number {
  return workerBase(worker) + DOMAIN_COUNTERS_OFFSET + domain * DOMAIN_COUNTER_ROW_BYTES;
}
