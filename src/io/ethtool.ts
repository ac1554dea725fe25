/**
 * Can an interface, or whoever drives it, cut UDP tunnels' super-frames? Asked as `ethtool -k` does (linux/ethtool.h).
 */
import { AF_INET } from './family.ts';
import { IFNAMSIZ, nameOf } from './interface.ts';
import { SOCK_CLOEXEC, SOCK_DGRAM } from './socket-numbers.ts';
import { syscalls } from './syscalls.ts';

const SIOCETHTOOL = 0x8946;
const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GSSET_INFO = 0x37;
const ETHTOOL_GFEATURES = 0x3a;
const ETH_SS_FEATURES = 4;
const STRING_BYTES = 32;
/** Features that this can name: kernels have some 60. */
const FEATURES_MAX = 256;
/** Where `struct ethtool_gstrings` has its strings, and `struct ethtool_gfeatures` its blocks of four u32. */
const STRINGS_OFFSET = 12;
const BLOCKS_OFFSET = 8;
const BLOCK_BYTES = 16;
const BLOCK_ACTIVE_OFFSET = 8;

const PLAIN = 'tx-udp_tnl-segmentation';
const SUMMED = 'tx-udp_tnl-csum-segmentation';

export interface TunnelSegmentation {
  /** Super-frames whose outer UDP checksum is zero. */
  plain: boolean;
  /** Super-frames with outer UDP checksums. */
  summed: boolean;
}

// Larger than what V8 keeps on its moving heap: their addresses hold.
const data = new Uint8Array(STRINGS_OFFSET + FEATURES_MAX * STRING_BYTES);
const view = new DataView(data.buffer);
/** Number of each feature; the same for all interfaces of a kernel. */
let numbers: { plain: number; summed: number; count: number } | undefined;

/** What is switched on at the moment. Neither, too, when the interface has gone. Holds the kernel's rtnl lock. */
export function tunnelSegmentation(ifindex: number): TunnelSegmentation {
  const name = nameOf(ifindex);
  const sys = syscalls();
  const socket = name === undefined ? -1 : sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (name === undefined || socket < 0) return { plain: false, summed: false };
  const request = new Uint8Array(128);
  request.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  new DataView(request.buffer).setBigUint64(IFNAMSIZ, BigInt(sys.addressOf(data)), true);
  const ask = (...words: number[]) => {
    data.fill(0, 0, BLOCKS_OFFSET + 4);
    words.forEach((word, i) => {
      view.setUint32(i * 4, word, true);
    });
    return sys.ioctl(socket, SIOCETHTOOL, request) >= 0;
  };
  try {
    numbers ??= readNumbers(ask);
    if (numbers === undefined || !ask(ETHTOOL_GFEATURES, Math.ceil(numbers.count / 32))) {
      return { plain: false, summed: false };
    }
    return { plain: isActive(numbers.plain), summed: isActive(numbers.summed) };
  } finally {
    sys.close(socket);
  }
}

function readNumbers(ask: (...words: number[]) => boolean): typeof numbers {
  if (!ask(ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES)) return undefined;
  // struct ethtool_sset_info: u32 command, u32, u64 mask, u32 counts.
  const count = Math.min(view.getUint32(16, true), FEATURES_MAX);
  if (!ask(ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count)) return undefined;
  const names = Array.from({ length: count }, (_, i) => {
    const text = data.subarray(STRINGS_OFFSET + i * STRING_BYTES, STRINGS_OFFSET + (i + 1) * STRING_BYTES);
    return new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
  });
  return { plain: names.indexOf(PLAIN), summed: names.indexOf(SUMMED), count };
}

function isActive(number: number): boolean {
  if (number < 0) return false;
  const word = BLOCKS_OFFSET + (number >> 5) * BLOCK_BYTES + BLOCK_ACTIVE_OFFSET;
  return ((view.getUint32(word, true) >>> (number & 31)) & 1) === 1;
}
