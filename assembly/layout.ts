/*
 * The memory map, and every number that both languages need. A leaf: it imports
 * nothing, and its constants are untyped so that AssemblyScript and TypeScript
 * read the same text.
 *
 *   0         64 KiB     left to the compiler
 *   HEADER    4 KiB      version, address of this memory, hash seed, the FDB lock
 *   DEVICES              one record per device               written by the host
 *   VNIS                 (listener, VNI) -> device           written by the host
 *   SOURCES              sockets that datagrams leave from   written by the host
 *   FDB                  buckets, entries, extra remotes     written under the lock
 *   WORKERS              one block per worker; only its owner writes there
 *
 * A region begins where the last one ends (X_BASE = PREVIOUS_BASE + PREVIOUS_BYTES).
 * Inside a record, offsets are relative to the record and end in _OFFSET.
 */

// ------------------------------------------------------------ specification

export const ETHERNET_HEADER_BYTES = 14;
export const VLAN_TAG_BYTES = 4;
export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;
export const UDP_HEADER_BYTES = 8;
export const TCP_HEADER_BYTES = 20;
/** RFC 7348 section 5: flags, reserved, VNI, reserved. */
export const VXLAN_HEADER_BYTES = 8;
export const VXLAN_VNI_MAX = 0xffffff;
/** Outer IPv4 + UDP + VXLAN + inner Ethernet: what a tunnel takes from the underlay's MTU. */
export const OVERHEAD_IPV4_BYTES = 50;
export const OVERHEAD_IPV6_BYTES = 70;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_QINQ = 0x88a8;
export const ETHERTYPE_IPV6 = 0x86dd;
export const IP_PROTOCOL_TCP = 6;
export const IP_PROTOCOL_UDP = 17;
export const IP_PROTOCOL_SCTP = 132;

/** struct virtio_net_hdr (linux/virtio_net.h), as a TAP with IFF_VNET_HDR gives and takes it. */
export const VIRTIO_HEADER_BYTES = 10;
export const VIRTIO_FLAGS_OFFSET = 0;
export const VIRTIO_GSO_TYPE_OFFSET = 1;
export const VIRTIO_HEADER_LENGTH_OFFSET = 2;
export const VIRTIO_GSO_SIZE_OFFSET = 4;
export const VIRTIO_CHECKSUM_START_OFFSET = 6;
export const VIRTIO_CHECKSUM_FIELD_OFFSET = 8;
export const VIRTIO_NEEDS_CHECKSUM = 1;
export const VIRTIO_GSO_NONE = 0;
export const VIRTIO_GSO_TCPV4 = 1;
export const VIRTIO_GSO_TCPV6 = 4;
export const VIRTIO_GSO_UDP = 5;
export const VIRTIO_GSO_ECN = 0x80;

/** Linux's numbers, the same on x86-64 and arm64. */
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOL_IP = 0;
export const SOL_IPV6 = 41;
export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
export const IP_TOS = 1;
export const IP_TTL = 2;
export const IP_PKTINFO = 8;
export const IPV6_PKTINFO = 50;
export const IPV6_HOPLIMIT = 52;
export const IPV6_TCLASS = 67;
export const MSG_TRUNC = 0x20;

/** struct iovec, struct mmsghdr, struct cmsghdr on 64-bit Linux. */
export const IOVEC_BYTES = 16;
export const IOVEC_LENGTH_OFFSET = 8;
export const MMSGHDR_BYTES = 64;
export const MMSGHDR_NAME_OFFSET = 0;
export const MMSGHDR_NAME_LENGTH_OFFSET = 8;
export const MMSGHDR_IOVEC_OFFSET = 16;
export const MMSGHDR_IOVEC_COUNT_OFFSET = 24;
export const MMSGHDR_CONTROL_OFFSET = 32;
export const MMSGHDR_CONTROL_LENGTH_OFFSET = 40;
export const MMSGHDR_FLAGS_OFFSET = 48;
export const MMSGHDR_LENGTH_OFFSET = 56;
export const CMSGHDR_BYTES = 16;
export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;

// ----------------------------------------------------------- implementation

/** Raised with every change of this file that an older module could not read. */
export const LAYOUT_VERSION = 1;

export const WASM_PAGE_BYTES = 65536;
export const CACHE_LINE_BYTES = 64;

export const HEADER_BASE = 65536;
export const HEADER_BYTES = 4096;
/** u32 LAYOUT_VERSION, stored by the host. */
export const HEADER_VERSION_OFFSET = 0;
/** u64: where this memory lies in the process; 0 where no kernel is told addresses. */
export const HEADER_ADDRESS_OFFSET = 8;
/** u32: random, so that source ports can't be predicted. */
export const HEADER_HASH_SEED_OFFSET = 16;
/** u32: OFFLOAD_* bits in use. */
export const HEADER_OFFLOADS_OFFSET = 20;
/** u32: entries of the FDB, all devices together. */
export const HEADER_FDB_COUNT_OFFSET = 24;
/** u32: head of the list of free extra remotes (index + 1; 0 = none). */
export const HEADER_REMOTE_FREE_OFFSET = 28;
/** u32: extra remotes handed out so far; those below it that are free are in the list. */
export const HEADER_REMOTE_FRESH_OFFSET = 32;
/** u32: counts creations, so that a dump can list the newest entry first. */
export const HEADER_FDB_CREATED_OFFSET = 36;
/** u32: seconds of the monotonic clock, kept by the host. */
export const HEADER_NOW_OFFSET = 40;
/** u32 lock word of the FDB: 0 free, 1 held. On a cache line of its own. */
export const HEADER_FDB_LOCK_OFFSET = 64;
/** 8 bytes beside the lock, for its holder: where the host puts a MAC that it wants found. */
export const HEADER_FDB_MAC_OFFSET = 72;

/** UDP_SEGMENT may be used for sending. */
export const OFFLOAD_UDP_SEGMENT = 1;
/** Received TCP segments may be merged into super-frames for the TAP. */
export const OFFLOAD_COALESCE = 2;

// Devices. Index 0 stands for "no device" in the counters and is never used.
export const DEVICE_COUNT = 256;
export const DEVICE_BYTES = 128;
export const DEVICES_BASE = HEADER_BASE + HEADER_BYTES;
export const DEVICES_BYTES = DEVICE_COUNT * DEVICE_BYTES;
/** u32: DEVICE_FREE, DEVICE_UP or DEVICE_DOWN; stored last when a device is made. */
export const DEVICE_STATE_OFFSET = 0;
export const DEVICE_FREE = 0;
export const DEVICE_UP = 1;
export const DEVICE_DOWN = 2;
/** u32 */
export const DEVICE_VNI_OFFSET = 4;
/** 6 bytes in network order, then two zero bytes: one aligned u64 load gives the MAC. */
export const DEVICE_MAC_OFFSET = 8;
/** u32: DEVICE_FLAG_* bits. */
export const DEVICE_FLAGS_OFFSET = 16;
export const DEVICE_FLAG_LEARNING = 1;
export const DEVICE_FLAG_TTL_INHERIT = 2;
export const DEVICE_FLAG_TOS_INHERIT = 4;
/** u32: MTU of the TAP in bytes. */
export const DEVICE_MTU_OFFSET = 20;
/** u8, 0 = the route's own hop limit */
export const DEVICE_TTL_OFFSET = 24;
/** u8 */
export const DEVICE_TOS_OFFSET = 25;
/** u8: DF_UNSET, DF_SET, DF_INHERIT */
export const DEVICE_DF_OFFSET = 26;
export const DF_UNSET = 0;
export const DF_SET = 1;
export const DF_INHERIT = 2;
/** u8: AF_INET or AF_INET6, the family of the underlay. */
export const DEVICE_FAMILY_OFFSET = 27;
/** u16 in host order */
export const DEVICE_PORT_OFFSET = 28;
/** u16: source group for datagrams without DF, and (at + 2) with DF. */
export const DEVICE_SOURCE_OFFSET = 30;
export const DEVICE_SOURCE_DF_OFFSET = 32;
/** u32: most entries that may be in this device's FDB by learning; 0 = no limit. */
export const DEVICE_FDB_LIMIT_OFFSET = 36;
/** u32: entries this device has now. */
export const DEVICE_FDB_COUNT_OFFSET = 40;
/** u32: ageing time in seconds. */
export const DEVICE_AGEING_OFFSET = 44;
/** two u32, in network order: bits of the VXLAN header that make a datagram be dropped. */
export const DEVICE_RESERVED_OFFSET = 48;
/** i32 per queue: descriptor of the TAP queue, -1 = none */
export const DEVICE_TAP_OFFSET = 64;
export const DEVICE_QUEUE_MAX = 8;

// Listeners: one receiving UDP socket each, shared by the devices of a (family, port). i32: its
// descriptor, 0 = none. Number 0 is never used.
export const LISTENER_COUNT = 256;
export const LISTENERS_BASE = DEVICES_BASE + DEVICES_BYTES;
export const LISTENERS_BYTES = LISTENER_COUNT * 4;

// VNIs: open addressing over u64 slots: listener (8 bits) and VNI (24 bits) in the low word,
// device in the high word; 0 = empty. A slot is published with one store.
export const VNI_SLOT_COUNT = 1024;
export const VNI_SLOT_BYTES = 8;
export const VNIS_BASE = LISTENERS_BASE + LISTENERS_BYTES;
export const VNIS_BYTES = VNI_SLOT_COUNT * VNI_SLOT_BYTES;
/** High word of a slot whose device has gone: look-ups walk on. */
export const VNI_SLOT_GONE = 0xffff;
/** A look-up begins at slot (low word * multiplier) >>> shift. */
export const VNI_HASH_MULTIPLIER = 0x3c6ef373;
export const VNI_HASH_SHIFT = 22;

// Sources: sockets that datagrams leave from. A group is (family, local address, DF, checksum,
// port range) and holds SOURCE_PORT_COUNT sockets, one for each source port in use.
export const SOURCE_GROUP_COUNT = 64;
export const SOURCE_PORT_COUNT = 64;
export const SOURCE_GROUP_HEADER_BYTES = 64;
export const SOURCE_GROUP_BYTES = SOURCE_GROUP_HEADER_BYTES + SOURCE_PORT_COUNT * 4;
export const SOURCES_BASE = VNIS_BASE + VNIS_BYTES;
export const SOURCES_BYTES = SOURCE_GROUP_COUNT * SOURCE_GROUP_BYTES;
/** u32: sockets this group spreads its flows over, at most SOURCE_PORT_COUNT. */
export const SOURCE_PORTS_OFFSET = 0;
/** u8: 1 = UDP_SEGMENT may be used here */
export const SOURCE_SEGMENT_OFFSET = 4;
/** u8s: AF_INET or AF_INET6; 1 = the DF bit is set; 1 = no UDP checksum */
export const SOURCE_FAMILY_OFFSET = 5;
export const SOURCE_DF_OFFSET = 6;
export const SOURCE_NO_CHECKSUM_OFFSET = 7;
/** u16s in host order: half-open range of ports */
export const SOURCE_PORT_MIN_OFFSET = 8;
export const SOURCE_PORT_MAX_OFFSET = 10;
/** u32: devices that use the group; 0 = free */
export const SOURCE_USERS_OFFSET = 12;
/** 16 bytes: the local address, all zero = the route's choice */
export const SOURCE_LOCAL_OFFSET = 16;
/** i32 per port: the descriptor, -1 = opened at first use. */
export const SOURCE_SOCKETS_OFFSET = 64;

// FDB. A bucket is one cache line: a u64 word of which the low 32 bits count the entries that
// found this bucket full and lie farther on, then seven u64 keys. A key is
// MAC (low 48 bits, first byte lowest) | device << 48; 0 is an empty slot (devices begin at 1).
// The entry of slot s in bucket b has the index b * 8 + s.
export const FDB_BUCKET_COUNT = 16384;
export const FDB_BUCKET_BYTES = 64;
export const FDB_BUCKET_SLOTS = 8;
/** How many buckets, the home one included, an entry may lie in: enough to fill FDB_CAPACITY. */
export const FDB_PROBE_BUCKETS = 32;
export const FDB_BUCKETS_BASE = SOURCES_BASE + SOURCES_BYTES;
export const FDB_BUCKETS_BYTES = FDB_BUCKET_COUNT * FDB_BUCKET_BYTES;
/** Most entries, all devices together: 80 % of the slots. */
export const FDB_CAPACITY = 91750;
export const FDB_ENTRY_BYTES = 64;
export const FDB_ENTRIES_BASE = FDB_BUCKETS_BASE + FDB_BUCKETS_BYTES;
export const FDB_ENTRIES_BYTES = FDB_BUCKET_COUNT * FDB_BUCKET_SLOTS * FDB_ENTRY_BYTES;
/** u32: odd while the entry is being changed. */
export const FDB_VERSION_OFFSET = 0;
/** u16: NUD_* bits */
export const FDB_STATE_OFFSET = 4;
/** u16: NTF_* bits */
export const FDB_FLAGS_OFFSET = 6;
/** u32 seconds of the monotonic clock: last looked up for sending; last learned or changed. */
export const FDB_USED_OFFSET = 8;
export const FDB_UPDATED_OFFSET = 12;
/** u32: number of remotes, the one inside the entry included. */
export const FDB_REMOTES_OFFSET = 16;
/** u32: HEADER_FDB_CREATED at creation. */
export const FDB_CREATED_OFFSET = 20;
/** u64: the key, from the reservation of the entry to its publication. */
export const FDB_KEY_OFFSET = 24;
/** A remote, in the entry itself: the first of the list. */
export const FDB_REMOTE_OFFSET = 32;

/** Neighbour states (linux/neighbour.h) that the driver uses. */
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;
/** Neighbour flags (linux/neighbour.h) that the driver uses. */
export const NTF_SELF = 0x02;
export const NTF_EXT_LEARNED = 0x10;
export const NTF_STICKY = 0x40;
export const NTF_ROUTER = 0x80;
/** The driver's own, above the eight bits of the netlink message: made by a command. */
export const NTF_ADDED_BY_USER = 0x100;

// A remote: where a copy of a frame goes. The first of an entry lies in the entry, further
// ones in this pool, chained by index + 1.
export const REMOTE_BYTES = 32;
export const REMOTE_COUNT = 16384;
export const REMOTES_BASE = FDB_ENTRIES_BASE + FDB_ENTRIES_BYTES;
export const REMOTES_BYTES = REMOTE_COUNT * REMOTE_BYTES;
/** u32: the next remote in the pool as index + 1; 0 ends the list. */
export const REMOTE_NEXT_OFFSET = 0;
/** u32: ifindex to leave through ("via"); 0 = by route. */
export const REMOTE_IFINDEX_OFFSET = 4;
/** u32: VNI on the wire; REMOTE_VNI_DEFAULT = the device's. */
export const REMOTE_VNI_OFFSET = 8;
export const REMOTE_VNI_DEFAULT = 0xffffffff;
/** u16 in host order; 0 = the device's. */
export const REMOTE_PORT_OFFSET = 12;
/** u8 AF_INET or AF_INET6 */
export const REMOTE_FAMILY_OFFSET = 14;
/** 16 bytes: an IPv4 address in the first four, the rest zero. */
export const REMOTE_ADDRESS_OFFSET = 16;

// ------------------------------------------------------------------ workers

/** A worker block begins with what every worker has. */
export const WORKERS_BASE = REMOTES_BASE + REMOTES_BYTES;

/** u32: 1 = leave the loop. */
export const WORKER_STOP_OFFSET = 0;
/** u32: raised once a round: whoever waits for two of them knows the worker holds no older state. */
export const WORKER_ROUNDS_OFFSET = 64;
/** f64s: system calls, batches and sleeps, for status and benchmarks. */
export const WORKER_SYSCALLS_OFFSET = 72;
export const WORKER_BATCHES_OFFSET = 80;
export const WORKER_SLEEPS_OFFSET = 88;

// Counters: [device][counter] u64. Row 0 is for datagrams that belong to no device.
export const COUNTERS_OFFSET = 4096;
export const COUNTER_COUNT = 48;
export const COUNTER_BYTES = 8;
export const COUNTER_ROW_BYTES = COUNTER_COUNT * COUNTER_BYTES;
export const COUNTERS_BYTES = DEVICE_COUNT * COUNTER_ROW_BYTES;

/** Remotes of the frame at hand, copied out of the FDB under its version counter. */
export const FANOUT_OFFSET = COUNTERS_OFFSET + COUNTERS_BYTES;
export const FANOUT_MAX = 1024;
export const FANOUT_BYTES = FANOUT_MAX * REMOTE_BYTES;

/** Where the part that differs between encap and decap begins. */
export const WORKER_COMMON_BYTES = FANOUT_OFFSET + FANOUT_BYTES;

/** struct epoll_event array for the host, at the start of the part that differs. */
export const EPOLL_OFFSET = WORKER_COMMON_BYTES;
export const EPOLL_EVENT_COUNT = 64;
export const EPOLL_BYTES = 1024;

// A ring (assembly/ring.ts): three cursors on cache lines of their own, then descriptors.
//   filled   written by the producer: descriptors before it may be read
//   taken    written by the engine:   descriptors before it have been walked
//   freed    written by the producer: their memory may be used again
export const RING_FILLED_OFFSET = 0;
export const RING_TAKEN_OFFSET = 64;
export const RING_FREED_OFFSET = 128;
export const RING_DESCRIPTORS_OFFSET = 192;
export const DESCRIPTOR_BYTES = 16;
/** Encap: u32 address of the virtio header, u32 bytes after that header, u32 device. */
export const DESCRIPTOR_ADDRESS_OFFSET = 0;
export const DESCRIPTOR_LENGTH_OFFSET = 4;
export const DESCRIPTOR_DEVICE_OFFSET = 8;

// Encap: frames from the TAP -> messages for UDP sockets.
export const ENCAP_RING_COUNT = 128;
export const ENCAP_RING_OFFSET = EPOLL_OFFSET + EPOLL_BYTES;
export const ENCAP_RING_BYTES = RING_DESCRIPTORS_OFFSET + ENCAP_RING_COUNT * DESCRIPTOR_BYTES;
/** State of a walk that stopped because the messages ran out. */
export const ENCAP_STATE_OFFSET = ENCAP_RING_OFFSET + ENCAP_RING_BYTES;
export const ENCAP_STATE_BYTES = 256;
/** u32s: messages, iovecs and header bytes in use; fan-out position of the frame at hand. */
export const ENCAP_MESSAGES_USED_OFFSET = 0;
export const ENCAP_IOVECS_USED_OFFSET = 4;
export const ENCAP_HEADERS_USED_OFFSET = 8;
export const ENCAP_FANOUT_NEXT_OFFSET = 16;
export const ENCAP_FANOUT_COUNT_OFFSET = 20;
/** u32: 1 = the datagrams that were last asked room for may share messages (UDP_SEGMENT). */
export const ENCAP_SHARED_OFFSET = 24;
/** Most datagrams in one UDP_SEGMENT message (Linux before 6.9 takes no more), and most bytes. */
export const MESSAGE_SEGMENT_MAX = 64;
export const MESSAGE_MAX_BYTES = 65507;
/** UIO_MAXIOV */
export const MESSAGE_IOVEC_MAX = 1024;

/** struct mmsghdr, side by side as sendmmsg wants them. */
export const MESSAGE_COUNT = 512;
export const MESSAGES_OFFSET = ENCAP_STATE_OFFSET + ENCAP_STATE_BYTES;
export const MESSAGES_BYTES = MESSAGE_COUNT * MMSGHDR_BYTES;
/** Beside each message: its address, its control messages, and what the next datagram must equal to join it. */
export const ENVELOPE_BYTES = 192;
export const ENVELOPES_OFFSET = MESSAGES_OFFSET + MESSAGES_BYTES;
export const ENVELOPES_BYTES = MESSAGE_COUNT * ENVELOPE_BYTES;
export const ENVELOPE_NAME_OFFSET = 0;
export const ENVELOPE_CONTROL_OFFSET = 32;
export const ENVELOPE_CONTROL_BYTES = 112;
/** u32s: source (group * SOURCE_PORT_COUNT + port), segment bytes, segments, bytes, 1 = takes no more. */
export const ENVELOPE_SOURCE_OFFSET = 144;
export const ENVELOPE_SEGMENT_OFFSET = 148;
export const ENVELOPE_SEGMENTS_OFFSET = 152;
export const ENVELOPE_LENGTH_OFFSET = 156;
export const ENVELOPE_CLOSED_OFFSET = 160;
/** u32s: ifindex to leave through, and TOS | TTL << 8. */
export const ENVELOPE_IFINDEX_OFFSET = 164;
export const ENVELOPE_MARKS_OFFSET = 168;
/** u32: device, for the counters when sending fails. */
export const ENVELOPE_DEVICE_OFFSET = 172;
/** u32: bytes of control messages without the UDP_SEGMENT one, which stands last. */
export const ENVELOPE_CONTROL_USED_OFFSET = 176;
/** u32: bytes of each datagram that the byte counter leaves out: VXLAN and inner Ethernet headers. */
export const ENVELOPE_OVERHEAD_OFFSET = 180;

/** Runs: u32 source, u32 first message, u32 messages: one sendmmsg each. */
export const RUN_BYTES = 16;
export const RUN_SOURCE_OFFSET = 0;
export const RUN_FIRST_OFFSET = 4;
export const RUN_COUNT_OFFSET = 8;
export const RUNS_OFFSET = ENVELOPES_OFFSET + ENVELOPES_BYTES;
export const RUNS_BYTES = MESSAGE_COUNT * RUN_BYTES;

/** Most segments of one super-frame: 64 KiB of payload at the smallest MSS that Linux uses. */
export const SEGMENT_MAX = 1536;
export const ENCAP_IOVEC_COUNT = 8192;
export const ENCAP_IOVECS_OFFSET = RUNS_OFFSET + RUNS_BYTES;
export const ENCAP_IOVECS_BYTES = ENCAP_IOVEC_COUNT * IOVEC_BYTES;
/** Headers of segments: VXLAN + Ethernet with two tags + IP + TCP with options. */
export const SEGMENT_HEADER_MAX_BYTES = 160;
export const ENCAP_HEADERS_OFFSET = ENCAP_IOVECS_OFFSET + ENCAP_IOVECS_BYTES;
export const ENCAP_HEADERS_BYTES = 2 * SEGMENT_MAX * SEGMENT_HEADER_MAX_BYTES;
/** One run of memory that frames are read into, one behind the other. */
export const FRAME_MAX_BYTES = 65600;
export const FRAME_HEADROOM_BYTES = 64;
export const ENCAP_ARENA_OFFSET = ENCAP_HEADERS_OFFSET + ENCAP_HEADERS_BYTES;
export const ENCAP_ARENA_BYTES = 1048576;
export const ENCAP_BYTES = ENCAP_ARENA_OFFSET + ENCAP_ARENA_BYTES;

// Decap: datagrams from UDP sockets -> frames for the TAP.
export const RECEIVE_COUNT = 64;
export const RECEIVES_OFFSET = EPOLL_OFFSET + EPOLL_BYTES;
export const RECEIVES_BYTES = RECEIVE_COUNT * MMSGHDR_BYTES;
/** Beside each received message: the sender's address, control messages, the iovec. */
export const RECEIPT_BYTES = 192;
export const RECEIPTS_OFFSET = RECEIVES_OFFSET + RECEIVES_BYTES;
export const RECEIPTS_BYTES = RECEIVE_COUNT * RECEIPT_BYTES;
export const RECEIPT_NAME_OFFSET = 0;
export const RECEIPT_CONTROL_OFFSET = 32;
export const RECEIPT_CONTROL_BYTES = 96;
export const RECEIPT_IOVEC_OFFSET = 128;
/** Receive buffers: whole UDP_GRO bundles and a kernel peer's super-frames. The odd stride spreads their first lines over the cache. */
export const RECEIVE_BUFFER_BYTES = 65536;
export const RECEIVE_STRIDE_BYTES = 67648;
export const RECEIVE_BUFFERS_OFFSET = RECEIPTS_OFFSET + RECEIPTS_BYTES;
export const RECEIVE_BUFFERS_BYTES = RECEIVE_COUNT * RECEIVE_STRIDE_BYTES;
/** State of a walk that stopped because the writes ran out. */
export const DECAP_STATE_OFFSET = RECEIVE_BUFFERS_OFFSET + RECEIVE_BUFFERS_BYTES;
export const DECAP_STATE_BYTES = 256;
/** u32s: message and byte at hand, writes in use, listener, flows open. */
export const DECAP_MESSAGE_OFFSET = 0;
export const DECAP_POSITION_OFFSET = 4;
export const DECAP_WRITES_USED_OFFSET = 8;
export const DECAP_FLOWS_USED_OFFSET = 12;

/** Writes: one writev to a TAP each. */
export const WRITE_COUNT = 256;
export const WRITE_BYTES = 128;
export const WRITES_OFFSET = DECAP_STATE_OFFSET + DECAP_STATE_BYTES;
export const WRITES_BYTES = WRITE_COUNT * WRITE_BYTES;
/** u32s: device, iovecs, bytes with the virtio header, then the virtio header itself. */
export const WRITE_DEVICE_OFFSET = 0;
export const WRITE_IOVECS_OFFSET = 4;
export const WRITE_LENGTH_OFFSET = 8;
/** u32: frames in it as they came from the wire. */
export const WRITE_FRAMES_OFFSET = 12;
export const WRITE_VIRTIO_OFFSET = 16;
/** What a later segment must fit to be merged (coalesce.ts). */
export const WRITE_FRAME_OFFSET = 32;
export const WRITE_L4_OFFSET = 40;
export const WRITE_PAYLOAD_OFFSET = 44;
export const WRITE_SEGMENT_OFFSET = 48;
export const WRITE_NEXT_SEQUENCE_OFFSET = 52;
export const WRITE_IP_LENGTH_OFFSET = 56;
/** u32: bits WRITE_OPEN, WRITE_VERIFIED, WRITE_IPV6 */
export const WRITE_FLAGS_OFFSET = 60;
export const WRITE_OPEN = 1;
export const WRITE_VERIFIED = 2;
export const WRITE_IPV6 = 4;
/** iovecs of a write: virtio header, first frame, then a payload for each segment merged into it. */
export const WRITE_IOVEC_MAX = 68;
export const WRITE_IOVECS_BASE_OFFSET = WRITES_OFFSET + WRITES_BYTES;
export const WRITE_IOVECS_BYTES = WRITE_COUNT * WRITE_IOVEC_MAX * IOVEC_BYTES;
/** Flows that may have an unfinished super-frame at a time: u32 write index + 1 each. */
export const FLOW_COUNT = 16;
export const FLOWS_OFFSET = WRITE_IOVECS_BASE_OFFSET + WRITE_IOVECS_BYTES;
export const FLOWS_BYTES = FLOW_COUNT * 4;
export const DECAP_BYTES = FLOWS_OFFSET + FLOWS_BYTES;

/** Room for either kind, in whole pages. */
export const WORKER_BYTES = 5242880;
export const WORKER_MAX = 16;

// ----------------------------------------------------------------- counters

/*
 * One counter per verdict. The names the host shows stand in src/dataplane/counters.ts in the
 * same order. "Bytes" leave the inner Ethernet header out, as the kernel driver counts them.
 */
export const ENCAP_PACKETS = 0;
export const ENCAP_BYTES_COUNTED = 1;
export const DECAP_PACKETS = 2;
export const DECAP_BYTES_COUNTED = 3;
// Encap drops.
export const DROP_SHORT_FRAME = 4;
export const DROP_BAD_OFFLOAD = 5;
export const DROP_NO_TARGET = 6;
export const DROP_SHORT_INNER_IP = 7;
export const DROP_NO_REMOTE = 8;
export const DROP_SOCKET_FULL = 9;
export const DROP_NO_BUFFERS = 10;
export const DROP_TOO_BIG = 11;
export const DROP_UNREACHABLE = 12;
export const DROP_REFUSED = 13;
export const DROP_SEND_ERROR = 14;
export const DROP_TAP_READ = 15;
// Decap drops.
export const DROP_SHORT_DATAGRAM = 16;
export const DROP_NO_VNI_FLAG = 17;
export const DROP_UNKNOWN_VNI = 18;
export const DROP_RESERVED_BITS = 19;
export const DROP_SHORT_INNER_FRAME = 20;
export const DROP_LOCAL_MAC = 21;
export const DROP_INVALID_SOURCE_MAC = 22;
export const DROP_ENTRY_EXISTS = 23;
export const DROP_SHORT_INNER_IP_RECEIVED = 24;
export const DROP_ECN = 25;
export const DROP_DEVICE_DOWN = 26;
export const DROP_TRUNCATED = 27;
export const DROP_TAP_WRITE = 28;
// What happened to packets that went through.
export const SUPER_FRAMES_SPLIT = 32;
export const SEGMENTS_SENT = 33;
export const SEGMENTS_MERGED = 34;
export const SUPER_FRAMES_MERGED = 35;
export const SUPER_FRAMES_RECEIVED = 36;
export const CHECKSUMS_COMPLETED = 37;
export const CHECKSUMS_LEFT_PARTIAL = 38;
export const MERGE_CHECKSUM_BAD = 39;
export const FDB_LEARNED = 40;
export const FDB_MOVED = 41;
export const FDB_FULL = 42;
export const SEND_RETRIES = 43;
