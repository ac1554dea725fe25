/** The end of the demonstration: what crossed, and whether that is all that should have. */
import type { Sample, Tour } from './lab.ts';
import { percentile } from './rates.ts';
import { dropLine, roundTrips, transferred } from './view.ts';

/** A busy machine may lose a few. */
const ECHOES_NEEDED = 0.8;

/** What did not cross, in words; empty if everything did. */
export function shortcomings(tour: Tour, { transfers, echoes, tx, rx }: Sample): string[] {
  const found: string[] = [];
  if (transfers.bytesOut === 0) found.push(`no ${tour.transfers} body went out`);
  if (transfers.bytesIn === 0) found.push(`no ${tour.transfers} body came in`);
  if (transfers.corrupt > 0)
    found.push(`${transfers.corrupt} ${tour.transfers} bodies arrived with another SHA-256`);
  if (transfers.failed > 0)
    found.push(`${transfers.failed} ${tour.transfers} transfers failed (${transfers.lastFailure})`);
  if (echoes.received < echoes.sent * ECHOES_NEEDED || echoes.received === 0)
    found.push(`only ${echoes.received} of ${echoes.sent} echoes came back`);
  if (echoes.corrupt > 0) found.push(`${echoes.corrupt} echoes came back with other bytes`);
  if (tx.packets === 0) found.push('vxlane counted no packet out');
  if (rx.packets === 0) found.push('vxlane counted no packet in');
  return found;
}

export function summaryText(tour: Tour, sample: Sample, seconds: number): string[] {
  const { tx, rx, echoes, drops } = sample;
  return [
    `${seconds.toFixed(1)} s: ${tour.transfers} ${transferred(sample)}`,
    `${echoes.received} of ${echoes.sent} echoes back, RTT ${roundTrips(echoes.rtts)}`,
    `vxlane counted ${tx.packets} packets out and ${rx.packets} in; ${drops.length === 0 ? 'no drops' : `drops: ${drops.map(dropLine).join(', ')}`}`,
  ];
}

export function summaryObject(tour: Tour, sample: Sample, seconds: number): object {
  const { transfers, echoes, tx, rx, fdb, drops, engine, offloads } = sample;
  const rounded = (value: number | undefined) => (value === undefined ? null : Number(value.toFixed(3)));
  const { rtts, ...counted } = echoes;
  return {
    mode: tour.mode,
    near: tour.near,
    far: tour.far,
    seconds: Number(seconds.toFixed(3)),
    tunnel: { tx, rx },
    transfers: { kind: tour.transfers, ...transfers },
    echoes: {
      ...counted,
      rtt_ms: { p50: rounded(percentile(rtts, 50)), p99: rounded(percentile(rtts, 99)) },
    },
    fdb,
    drops,
    engine,
    offloads,
  };
}
