/**
 * A memory whose datagrams a program takes itself, as parcels: no socket of the engine's stands behind them, and of
 * source groups remain the flow's number and DF.
 */
import {
  HEADER_BASE,
  HEADER_PARCELS_OFFSET,
  SOURCE_GROUP_BYTES,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCES_BASE,
} from '../../assembly/layout.ts';
import type { Views } from './memory.ts';

export const SOURCE = 0;
export const SOURCE_DF = 1;

export function wantParcels({ view }: Views): void {
  view.setUint32(HEADER_BASE + HEADER_PARCELS_OFFSET, 1, true);
  for (const group of [SOURCE, SOURCE_DF])
    view.setUint32(SOURCES_BASE + group * SOURCE_GROUP_BYTES + SOURCE_PORTS_OFFSET, SOURCE_PORT_COUNT, true);
}
