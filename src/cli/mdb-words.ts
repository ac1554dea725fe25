/**
 * The words of `bridge mdb`. What a request to the MDB has no place for, because a VXLAN device has only one
 * answer to it (port, state, VLAN), is checked here, with the kernel's sentences.
 */
import { filterMode, mdbPort, mdbVni, text } from '../daemon/mdb-schema.ts';
import * as values from '../daemon/values.ts';
import { VtepError } from '../errors.ts';
import type { MdbFlush, MdbRequest } from '../types.ts';
import { DEV, exact, type Keyword, parseWords, usage } from './words.ts';

const flag = (names: string, key: string, is: boolean): Keyword => ({ names, exact: true, key, is });

const PORT = exact('port', values.deviceName);
const VID = exact('vid', (value) => Number(value));
const GRP = exact('grp', group);
const SRC = exact('src', text);
const SRC_VNI = exact('src_vni', mdbVni);
const OF_REMOTE = [
  exact('proto', text),
  exact('dst', text),
  exact('dst_port', mdbPort),
  exact('vni', mdbVni),
];

/** Of any size: that it is none is an answer of the kernel's, with an exit code of its own. */
const anyVni = values.within(0, 0xffffffff, 'Invalid source VNI. It is a number');

/** A MAC would be a group of a bridge. */
function group(value: values.Value): string {
  const isMac = /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(String(value));
  if (!isMac) return String(value);
  throw new VtepError(
    'USAGE',
    'vxlan: Group address must be an IPv4 / IPv6 address. Frames to a MAC are for "fdb append"',
  );
}

function sourceList(value: values.Value): string[] {
  return String(value).split(',');
}

/** What is said beside the entry itself. */
interface Beside {
  port?: string;
  permanent?: boolean;
  vid?: number;
}

export function parseChange(op: MdbRequest['op'], words: readonly string[]): MdbRequest {
  const found = parseWords(words, {
    keywords: [
      DEV,
      GRP,
      PORT,
      flag('permanent', 'permanent', true),
      flag('temp', 'permanent', false),
      VID,
      SRC,
      exact('filter_mode', filterMode),
      exact('source_list', sourceList),
      ...OF_REMOTE,
      SRC_VNI,
      exact('via', values.deviceName),
    ],
    unknown: (word) => `unknown word "${word}": "vxlane mdb help" lists the words of "mdb ${op}"`,
  }).values;
  const { port, permanent, vid, ...request } = found as Partial<MdbRequest> & Beside;
  if (request.dev === undefined || request.grp === undefined || port === undefined) {
    throw usage(
      `Device, group address and port name are required arguments. As in "mdb ${op} dev NAME port NAME grp GROUP"`,
    );
  }
  checkPort(port, request.dev, 'vxlan: Port net device must be the VXLAN net device.');
  if (op !== 'del' && permanent !== true) {
    throw usage('vxlan: MDB entry must be permanent. Say "permanent"');
  }
  checkVid(vid);
  if (request.dst === undefined) {
    const others = Object.keys(request).length > 2;
    const missing = others ? 'remote destination IP address' : 'MDBA_SET_ENTRY_ATTRS attribute';
    throw usage(`vxlan: Missing ${missing}. Name the far VTEP with "dst"`);
  }
  return { op, ...request } as MdbRequest;
}

export function parseShow(words: readonly string[]): string | undefined {
  const { values: found } = parseWords(words, {
    keywords: [DEV, { names: 'vid', exact: true, refused: 'entries of a VXLAN device have no VLAN' }],
    unknown: (word) => `unknown word "${word}": "vxlane mdb show [dev NAME]" is what there is`,
  });
  return found.dev as string | undefined;
}

export interface MdbGet {
  dev: string;
  grp: string;
  src?: string;
  src_vni?: number;
}

export function parseGet(words: readonly string[]): MdbGet {
  const found = parseWords(words, {
    // bridge takes "vid" and the kernel pays no heed to it.
    keywords: [DEV, GRP, { ...VID, ignored: true }, SRC, exact('src_vni', anyVni)],
    unknown: (word) => `unknown word "${word}": "vxlane mdb help" lists the words of "mdb get"`,
  }).values;
  if (found.dev === undefined || found.grp === undefined) {
    throw usage('Device and group address are required arguments. As in "mdb get dev NAME grp GROUP"');
  }
  return found as unknown as MdbGet;
}

export function parseFlush(words: readonly string[]): MdbFlush {
  const found = parseWords(words, {
    keywords: [
      DEV,
      PORT,
      VID,
      SRC_VNI,
      flag('permanent', 'permanent', true),
      flag('nopermanent', 'permanent', false),
      ...OF_REMOTE,
    ],
    unknown: (word) => `unknown word "${word}": "vxlane mdb help" lists the filters of "mdb flush"`,
  }).values;
  const { port, vid, ...filter } = found as Partial<MdbFlush> & Beside;
  if (filter.dev === undefined) {
    throw usage('Device is a required argument. As in "mdb flush dev NAME"');
  }
  checkPort(port ?? filter.dev, filter.dev, 'vxlan: Invalid port net device.');
  checkVid(vid);
  return filter as MdbFlush;
}

function checkPort(port: string, dev: string, sentence: string): void {
  if (port !== dev) throw usage(`${sentence} Say "port ${dev}"`);
}

function checkVid(vid = 0): void {
  if (vid !== 0) throw usage('vxlan: VID must not be specified. A VNI is chosen with "src_vni"');
}
