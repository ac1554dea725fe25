/** One event in the form of `bridge monitor` (FDB, MDB, VNIs, links) or of `ip monitor neigh` (misses). */
import type { VtepEvent } from '../types.ts';
import { fdbText } from './fdb-format.ts';
import { mdbLine } from './mdb-format.ts';

export interface MonitorForm {
  /** -d: what an MDB entry filters. */
  details: boolean;
  /** -s: ages. */
  statistics: boolean;
}

/** What has a line of its own. */
export type ShownEvent = Exclude<VtepEvent, { event: 'lost' }>;

const LABELS: Readonly<Record<ShownEvent['event'], string>> = {
  fdb: '[NEIGH]',
  miss: '[NEIGH]',
  vni: '[TUNNEL]',
  mdb: '[MDB]',
  link: '[LINK]',
  hook: '[HOOK]',
};

/** What `monitor all` puts in front of a line. */
export function labelOf(event: ShownEvent): string {
  return LABELS[event.event];
}

/** Without a newline. */
export function monitorText(event: ShownEvent, form: MonitorForm): string {
  if (event.event === 'miss') return missText(event);
  if (event.event === 'hook') return hookText(event);
  return `${event.deleted ? 'Deleted ' : ''}${changeText(event, form)}`;
}

/** The kernel tells of a miss as of a neighbour without a state of its own. */
function missText({ ifname, lladdr, dst }: Extract<VtepEvent, { event: 'miss' }>): string {
  return `miss ${dst === undefined ? '' : `${dst} `}dev ${ifname} ${lladdr === undefined ? '' : `lladdr ${lladdr} `}STALE `;
}

/** "vx0 encap firewall.wasm generation 2 fault packets 64: unreachable" */
function hookText(hook: Extract<VtepEvent, { event: 'hook' }>): string {
  const { change, ifname, direction, file, generation, packets, reason } = hook;
  const lost = packets === undefined ? '' : ` packets ${packets}`;
  return `dev ${ifname} ${direction} ${file} generation ${generation} ${change}${lost}${reason === undefined ? '' : `: ${reason}`}`;
}

function changeText(event: Exclude<ShownEvent, { event: 'miss' | 'hook' }>, form: MonitorForm): string {
  switch (event.event) {
    case 'fdb':
      return fdbText([event.entry], { oneDevice: false, ages: form.statistics }).slice(0, -1);
    case 'mdb':
      return mdbLine(event.entry, { details: form.details, timers: form.statistics });
    case 'vni': {
      const { ifname, vni, remote, group } = event.entry;
      return `${ifname.padEnd(16)}  ${String(vni).padEnd(17)}  ${remote ?? group ?? ''}`;
    }
    case 'link': {
      const { ifindex, ifname, up } = event;
      return `${ifindex}: ${ifname}: <BROADCAST,MULTICAST${up ? ',UP,LOWER_UP' : ''}> state ${up ? 'UNKNOWN' : 'DOWN'} `;
    }
  }
}
