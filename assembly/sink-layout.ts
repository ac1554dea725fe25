/*
 * The memory of the mirror sink: a module of its own (sink.ts) on a memory of its own, which one thread alone uses.
 * A leaf, as layout.ts is, read by both languages.
 *
 *   0           64 KiB   left to the compiler
 *   COUNTERS             one 64-bit counter per verdict         written by the walk
 *   OUTPUT STATE         where the next block goes, and where there is no room any more
 *   INTERFACES           (VNI, outer source) -> interface of the file: a hash table    written by both
 *   RECEIVES             struct mmsghdr, iovec, address and control messages of each message
 *   BUFFERS              what the kernel writes datagrams into
 *   OUTPUT               pcapng blocks
 */

/** Counters, by number. The host's names for them are those in src/sink/counters.ts. */
export const SINK_DATAGRAMS = 0;
export const SINK_DATAGRAM_OCTETS = 1;
/** Messages of the kernel: a datagram each, or a bundle (UDP_GRO). */
export const SINK_MESSAGES = 2;
export const SINK_PACKETS = 3;
/** Bytes of inner packets, as they were before anybody cut them. */
export const SINK_PACKET_OCTETS = 4;
/** Cut on the way: the length in the inner IP header is larger than what came. */
export const SINK_TRUNCATED = 5;
/** Cut here, by the snapshot length. */
export const SINK_SNAPPED = 6;
/** Kept, though header bits beyond I and VNI were set. */
export const SINK_RESERVED_BITS = 7;
export const SINK_DROP_SHORT_DATAGRAM = 8;
export const SINK_DROP_NO_VNI_FLAG = 9;
export const SINK_DROP_GPE = 10;
export const SINK_DROP_GENEVE = 11;
export const SINK_DROP_SHORT_INNER_FRAME = 12;
export const SINK_DROP_VNI = 13;
export const SINK_DROP_FILTER = 14;
export const SINK_DROP_INTERFACES = 15;
export const SINK_DROP_TRUNCATED = 16;
export const SINK_DROP_TAP_WRITE = 17;
export const SINK_COUNTER_COUNT = 18;

export const SINK_COUNTERS_BASE = 65536;
export const SINK_COUNTERS_BYTES = 256;

/** Addresses of the next block and of the end of the room. */
export const SINK_STATE_BASE = SINK_COUNTERS_BASE + SINK_COUNTERS_BYTES;
export const SINK_STATE_NEXT_OFFSET = 0;
export const SINK_STATE_END_OFFSET = 4;
export const SINK_STATE_SNAPLEN_OFFSET = 8;
/** Not 0: the host is asked about each packet before it is kept. */
export const SINK_STATE_ASK_OFFSET = 12;
/** Slot of the last packet's interface, 0 = none. */
export const SINK_STATE_LAST_OFFSET = 16;
/** Of the table's hash, so that nobody can aim at one slot. */
export const SINK_STATE_SEED_OFFSET = 20;
export const SINK_STATE_BYTES = 256;

/** Slots of the table, a power of two; at most SINK_INTERFACE_MAX are used, so that searching ends. */
export const SINK_INTERFACE_SLOTS = 16384;
export const SINK_INTERFACE_MAX = 8192;
/** source address (16 bytes, IPv4 mapped), VNI + 1 (0 = free), interface, packets, octets */
export const SINK_INTERFACE_BYTES = 40;
export const SINK_INTERFACE_VNI_OFFSET = 16;
export const SINK_INTERFACE_ID_OFFSET = 20;
export const SINK_INTERFACE_PACKETS_OFFSET = 24;
export const SINK_INTERFACE_OCTETS_OFFSET = 32;
export const SINK_INTERFACES_BASE = SINK_STATE_BASE + SINK_STATE_BYTES;
export const SINK_INTERFACES_BYTES = SINK_INTERFACE_SLOTS * SINK_INTERFACE_BYTES;

export const SINK_RECEIVE_COUNT = 64;
/** struct mmsghdr, one after the other as the kernel wants them. */
export const SINK_RECEIVES_BASE = SINK_INTERFACES_BASE + SINK_INTERFACES_BYTES;
export const SINK_RECEIVES_BYTES = SINK_RECEIVE_COUNT * 64;
/** Beside each: struct sockaddr (32), struct iovec (16), control messages. */
export const SINK_RECEIPT_BYTES = 192;
export const SINK_RECEIPT_IOVEC_OFFSET = 32;
export const SINK_RECEIPT_CONTROL_OFFSET = 64;
export const SINK_RECEIPT_CONTROL_BYTES = 128;
export const SINK_RECEIPTS_BASE = SINK_RECEIVES_BASE + SINK_RECEIVES_BYTES;
export const SINK_RECEIPTS_BYTES = SINK_RECEIVE_COUNT * SINK_RECEIPT_BYTES;

/** As large as a datagram or a bundle can be, and apart so that they do not all lie in the same lines of the cache. */
export const SINK_DATAGRAM_MAX_BYTES = 65536;
export const SINK_BUFFER_BYTES = 67648;
export const SINK_BUFFERS_BASE = SINK_RECEIPTS_BASE + SINK_RECEIPTS_BYTES;
export const SINK_BUFFERS_BYTES = SINK_RECEIVE_COUNT * SINK_BUFFER_BYTES;

/** The largest block, with its interface's before it, fits several times. */
export const SINK_OUTPUT_BASE = SINK_BUFFERS_BASE + SINK_BUFFERS_BYTES;
export const SINK_OUTPUT_BYTES = 1048576;
/** Bytes that a packet's block takes beside its data, and those of a new interface's block before it, at most. */
export const SINK_BLOCK_EXTRA_BYTES = 1024;

export const SINK_MEMORY_BYTES = SINK_OUTPUT_BASE + SINK_OUTPUT_BYTES;

/** Rises with every change of this file: module and host are checked at load. */
export const SINK_LAYOUT_VERSION = 1;

/** Answers of the host when it is asked about a packet. */
export const SINK_KEEP = 0;
export const SINK_REFUSE_VNI = 1;
export const SINK_REFUSE_FILTER = 2;

/** pcapng (draft-ietf-opsawg-pcapng): Enhanced Packet Block. */
export const PCAPNG_PACKET_BLOCK = 6;
export const PCAPNG_PACKET_DATA_OFFSET = 28;
/** Behind the data: padding to 4, options, the block's length once more. */
export const PCAPNG_OPTION_COMMENT = 1;
