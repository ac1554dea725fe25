/**
 * Offloads of an interface, switched the way ethtool does it: the legacy switches by their short words, and any
 * feature by its name (tx-udp_tnl-segmentation, tx-udp-segmentation ...). With them off, a capture shows finished
 * checksums and packets of wire size. Runs inside the namespace (see traffic-agent.ts).
 */
import { AF_INET, arena, close, ioctl, LITTLE_ENDIAN, SOCK_DGRAM, socket } from './traffic-libc.ts';

const SIOCETHTOOL = 0x8946;
const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GSSET_INFO = 0x37;
const ETHTOOL_GFEATURES = 0x3a;
const ETHTOOL_SFEATURES = 0x3b;
const ETH_SS_FEATURES = 4;
const STRING_BYTES = 32;

/** Legacy words and their "set" commands, in the order in which they may depend on each other. */
const LEGACY: Record<string, number> = { rx: 0x15, tx: 0x17, tso: 0x1f, gso: 0x24, gro: 0x2c };

const REQUEST_BYTES = 64 << 10;
const request = arena(64);
const data = arena(REQUEST_BYTES);

function call(ifname: string): void {
  request.bytes.fill(0);
  request.bytes.set(Buffer.from(ifname), 0);
  request.view.setBigUint64(16, data.address, LITTLE_ENDIAN);
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  try {
    ioctl(fd, SIOCETHTOOL, request.address);
  } finally {
    close(fd);
  }
}

function put(...words: number[]): void {
  data.bytes.fill(0, 0, 64);
  words.forEach((word, i) => {
    data.view.setUint32(i * 4, word, LITTLE_ENDIAN);
  });
}

const word = (at: number) => data.view.getUint32(at, LITTLE_ENDIAN);

function featureNames(ifname: string): string[] {
  put(ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES);
  call(ifname);
  const count = word(16);
  put(ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count);
  call(ifname);
  return Array.from({ length: count }, (_, i) => {
    const at = 12 + i * STRING_BYTES;
    const text = Buffer.from(data.bytes.subarray(at, at + STRING_BYTES)).toString('latin1');
    return text.slice(0, text.indexOf('\0'));
  });
}

/** Every feature's state by its name. */
export function features(ifname: string): Record<string, boolean> {
  const names = featureNames(ifname);
  put(ETHTOOL_GFEATURES, Math.ceil(names.length / 32));
  call(ifname);
  const result: Record<string, boolean> = {};
  names.forEach((name, i) => {
    // Blocks of four words: available, requested, active, never changed.
    if (name !== '') result[name] = ((word(8 + (i >> 5) * 16 + 8) >>> (i & 31)) & 1) === 1;
  });
  return result;
}

/** Switches offloads and throws if the interface kept one that was to change. */
export function setOffloads(ifname: string, wanted: Record<string, boolean>): void {
  for (const [name, command] of Object.entries(LEGACY)) {
    if (wanted[name] === undefined) continue;
    put(command, wanted[name] ? 1 : 0);
    call(ifname);
  }
  const named = Object.entries(wanted).filter(([name]) => LEGACY[name] === undefined);
  if (named.length === 0) return;
  const names = featureNames(ifname);
  const blocks = Math.ceil(names.length / 32);
  put(ETHTOOL_SFEATURES, blocks);
  for (const [name, on] of named) {
    const i = names.indexOf(name);
    if (i < 0) throw new Error(`${ifname} knows no feature ${name}`);
    const at = 8 + (i >> 5) * 8;
    const bit = 1 << (i & 31);
    data.view.setUint32(at, word(at) | bit, LITTLE_ENDIAN);
    if (on) data.view.setUint32(at + 4, word(at + 4) | bit, LITTLE_ENDIAN);
  }
  call(ifname);
  const now = features(ifname);
  for (const [name, on] of named) {
    if (now[name] !== on) throw new Error(`${ifname} keeps ${name} ${on ? 'off' : 'on'}`);
  }
}
