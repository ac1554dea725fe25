/** What `bridge fdb flush` chooses, in the kernel's terms. */
import {
  NTF_EXT_LEARNED,
  NTF_ROUTER,
  NTF_STICKY,
  NUD_NOARP,
  NUD_PERMANENT,
  REMOTE_VNI_DEFAULT,
  VXLAN_VNI_MAX,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FdbFlush } from '../types.ts';
import type { Remote } from './fdb-record.ts';
import { checkNumber, type FdbDevice, readAddress } from './fdb-request.ts';
import { sameAddress } from './fdb-text.ts';

/** What of an entry a filter looks at. */
export interface Flushable {
  readonly state: number;
  readonly flags: number;
  /** 0 = it has remotes of its own. */
  readonly nhid: number;
  /** VNI whose table it is in. */
  readonly vni: number;
}

/** What an entry, and then each of its remotes, must be like to be flushed. */
export interface FlushMatch {
  entry(entry: Flushable): boolean;
  /** Absent: the whole entry goes. */
  remote?(remote: Remote): boolean;
}

/** Bits asked for and bits that are to be as asked: permanent, static and dynamic, true and false. */
const STATES = {
  permanent: [
    [NUD_PERMANENT, NUD_PERMANENT],
    [0, NUD_PERMANENT],
  ],
  static: [
    [NUD_NOARP, NUD_NOARP | NUD_PERMANENT],
    [0, NUD_NOARP],
  ],
  dynamic: [
    [0, NUD_NOARP | NUD_PERMANENT],
    [NUD_NOARP, NUD_NOARP],
  ],
} as const;

interface Bits {
  bits: number;
  mask: number;
}

function readStates(filter: FdbFlush): Bits {
  const wanted = { bits: 0, mask: 0 };
  for (const word of ['permanent', 'static', 'dynamic'] as const) {
    const asked = filter[word];
    if (asked === undefined) continue;
    const [bits, mask] = STATES[word][asked ? 0 : 1];
    wanted.bits |= bits;
    wanted.mask |= mask;
  }
  return wanted;
}

function readFlags(what: string, filter: FdbFlush): Bits {
  if (filter.sticky)
    throw new VtepError(
      'UNSUPPORTED',
      `${what}: Unsupported fdb flush ndm flag bits set.; name the entries, "fdb del" takes one`,
    );
  const wanted = { bits: 0, mask: 0 };
  for (const [bit, asked] of [
    [NTF_EXT_LEARNED, filter.extern_learn],
    [NTF_ROUTER, filter.router],
    [NTF_STICKY, filter.sticky],
  ] as const) {
    if (asked === undefined) continue;
    wanted.mask |= bit;
    if (asked) wanted.bits |= bit;
  }
  return wanted;
}

/**
 * Entries are chosen by state, flags, VNI of their table and group; then, of those that have remotes of their
 * own, remotes by address, port and VNI on the wire.
 * @throws VtepError UNSUPPORTED or USAGE
 */
export function readFlush(filter: FdbFlush, device: FdbDevice): FlushMatch {
  const what = `fdb flush dev ${filter.dev}`;
  const { dst, port = 0, vni = 0, src_vni = 0, nhid = 0 } = filter;
  const states = readStates(filter);
  const flags = readFlags(what, filter);
  checkNumber(what, 'port', port, 0xffff);
  checkNumber(what, 'vni', vni, VXLAN_VNI_MAX);
  checkNumber(what, 'src_vni', src_vni, VXLAN_VNI_MAX);
  checkNumber(what, 'nhid', nhid, 0xffffffff);
  const byRemote = dst !== undefined || port !== 0 || vni !== 0;
  const entry = (has: Flushable) =>
    (has.state & states.mask) === states.bits &&
    (has.flags & flags.mask) === flags.bits &&
    filter.offloaded !== true &&
    (src_vni === 0 || has.vni === src_vni) &&
    (nhid === 0 || has.nhid === nhid) &&
    !(byRemote && has.nhid !== 0);
  if (!byRemote) return { entry };
  const address = dst === undefined ? undefined : readAddress(what, dst);
  return {
    entry,
    // A port or VNI left out when the entry was made is the device's: it matches by that number.
    remote: (remote) =>
      (address === undefined || sameAddress(remote.address, address)) &&
      (port === 0 || (remote.port || device.port) === port) &&
      (vni === 0 || (remote.vni === REMOTE_VNI_DEFAULT ? device.vni : remote.vni) === vni),
  };
}
