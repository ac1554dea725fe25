/*
 * The memory map, and every number that both languages need. A leaf: it imports
 * nothing, and its constants are untyped so that AssemblyScript and TypeScript
 * read the same text.
 *
 *   0         64 KiB     left to the compiler
 *   HEADER    4 KiB      version, address of this memory, hash seed, the FDB lock
 *   DEVICES              one record per device               written by the host
 *   LISTENERS            one record per receiving socket     written by the host
 *   DOMAINS              one record per VNI of a device      written by the host
 *   VNIS                 (listener, VNI) -> domain           written by the host
 *   VLANS                (external device, VLAN) -> domain   written by the host
 *   POLICIES             group policy: ids to send, to refuse   written by the host
 *   MDB                  (domain, group, source) -> FDB entry   written by the host
 *   NEIGHBOURS           (device, IP address) -> MAC         written by the host
 *   SENDERS              (device, IP address) that may send to it   written by the host
 *   PEERS                (device, MAC) -> from where its frames may come   written by the host, counted in by workers
 *   SOURCES              sockets that datagrams leave from   written by the host
 *   FDB                  index, entries, extra remotes       written under the lock
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
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_QINQ = 0x88a8;
export const ETHERTYPE_IPV6 = 0x86dd;
export const IP_PROTOCOL_ICMP = 1;
export const IP_PROTOCOL_TCP = 6;
export const IP_PROTOCOL_UDP = 17;
export const IP_PROTOCOL_ICMPV6 = 58;
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
/** struct virtio_net_hdr_v1_hash_tunnel: the same, then what lies outside of a UDP tunnel's super-frame (Linux 6.17). */
export const VIRTIO_TUNNEL_HEADER_BYTES = 24;
export const VIRTIO_OUTER_L4_OFFSET = 20;
export const VIRTIO_INNER_L3_OFFSET = 22;
export const VIRTIO_TUNNEL_CHECKSUM = 8;
export const VIRTIO_GSO_TUNNEL_IPV4 = 0x20;
export const VIRTIO_GSO_TUNNEL_IPV6 = 0x40;

/** Linux's numbers, the same on x86-64 and arm64. */
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOL_IP = 0;
export const SOL_SOCKET = 1;
export const SO_TIMESTAMPNS = 35;
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

/** struct io_uring_sqe and io_uring_cqe (linux/io_uring.h), and what is used of it. */
export const SQE_BYTES = 64;
export const SQE_OPCODE_OFFSET = 0;
export const SQE_FD_OFFSET = 4;
export const SQE_POSITION_OFFSET = 8;
export const SQE_ADDRESS_OFFSET = 16;
export const SQE_LENGTH_OFFSET = 24;
/** RWF_* of a read or write, MSG_* of a send */
export const SQE_FLAGS_OFFSET = 28;
export const SQE_USER_DATA_OFFSET = 32;
export const CQE_BYTES = 16;
export const CQE_USER_DATA_OFFSET = 0;
export const CQE_RESULT_OFFSET = 8;
export const IORING_OP_WRITEV = 2;
export const IORING_OP_READ = 22;
/** Answer EAGAIN instead of waiting. */
export const RWF_NOWAIT = 8;
export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;

/** VXLAN header, first word in network order, as a 32-bit number (most significant bit first). */
export const VXLAN_FLAG_VNI = 0x08000000;
/** Group policy (draft-smith-vxlan-group-policy): extension, don't learn, applied; the id in the low 16 bits. */
export const VXLAN_FLAG_GBP = 0x80000000;
export const VXLAN_GBP_DONT_LEARN = 0x00400000;
export const VXLAN_GBP_APPLIED = 0x00080000;
/** Generic protocol extension (draft-ietf-nvo3-vxlan-gpe): version, next protocol present, OAM. */
export const VXLAN_GPE_VERSION = 0x30000000;
export const VXLAN_GPE_PROTOCOL = 0x04000000;
export const VXLAN_GPE_OAM = 0x01000000;
export const GPE_PROTOCOL_IPV4 = 1;
export const GPE_PROTOCOL_IPV6 = 2;
export const GPE_PROTOCOL_ETHERNET = 3;
export const GPE_PROTOCOL_NSH = 4;
export const GPE_PROTOCOL_MPLS = 5;
/** Remote checksum offload (draft-herbert-vxlan-rco): flag; in the last byte of the second word: UDP, start / 2. */
export const VXLAN_FLAG_RCO = 0x00200000;
export const VXLAN_RCO_UDP = 0x80;
export const VXLAN_RCO_START = 0x7f;

// ----------------------------------------------------------- implementation

/** Raised with every change of this file that an older module could not read. */
export const LAYOUT_VERSION = 6;

export const WASM_PAGE_BYTES = 65536;
/** What the kernel maps memory by. */
export const PAGE_BYTES = 4096;
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
/** u32: head of the list of free FDB entries (entry + 1; 0 = none). */
export const HEADER_FDB_FREE_OFFSET = 44;
/** u32: FDB entries handed out so far; those below it that are free are in the list. */
export const HEADER_FDB_FRESH_OFFSET = 48;
/** u32 lock word of the FDB: 0 free, 1 held. On a cache line of its own. */
export const HEADER_FDB_LOCK_OFFSET = 64;
/** 8 bytes beside the lock, for its holder: where the host puts a MAC that it wants found. */
export const HEADER_FDB_MAC_OFFSET = 72;
/** u64 beside the lock: key of the entry that is reserved. */
export const HEADER_FDB_KEY_OFFSET = 80;
/** u32s beside the lock: where the index has room for that key in its home bucket, 0 = farther on; its tag. */
export const HEADER_FDB_SLOT_OFFSET = 88;
export const HEADER_FDB_TAG_OFFSET = 92;
/** u32: raised when routes or addresses of the underlay change: what workers know of paths is old then. */
export const HEADER_PATHS_GENERATION_OFFSET = 128;
/** u32: counts changes of the MDB; its lowest bit says which of the two tables is in use. */
export const HEADER_MDB_VERSION_OFFSET = 132;
/** u32: odd while the table is being changed. */
export const HEADER_NEIGHBOUR_VERSION_OFFSET = 136;
/** u32: 1 = the surroundings resolve paths (encap stops and asks); 0 = nobody does, every remote is remote. */
export const HEADER_PATHS_OFFSET = 140;
/** u32: highest listener number in use, so that a search needn't look at all. */
export const HEADER_LISTENERS_OFFSET = 144;
/** u32: odd while the table of senders is being changed. */
export const HEADER_SENDER_VERSION_OFFSET = 148;
/** u32: 1 = a program takes the datagrams itself: encap writes parcels, nothing for the kernel. */
export const HEADER_PARCELS_OFFSET = 152;
/** u32: a bit for each pair of worker blocks that a thread of such a program has taken. */
export const HEADER_QUEUES_OFFSET = 156;
/** An MDB slot's worth of bytes, for the host: where it puts a key whose home it wants to know. */
export const HEADER_MDB_KEY_OFFSET = 192;
/**
 * The underlay TAP, for super-frames that leave whole: its MAC, 6 bytes in network order and two zero bytes; i32
 * descriptor; u32 ifindex; u32: 1 = it may be used; i32: why a worker has cleared that, an error number.
 */
export const HEADER_UNDERLAY_MAC_OFFSET = 240;
export const HEADER_UNDERLAY_TAP_OFFSET = 248;
export const HEADER_UNDERLAY_IFINDEX_OFFSET = 252;
export const HEADER_UNDERLAY_ON_OFFSET = 256;
export const HEADER_UNDERLAY_ERROR_OFFSET = 260;

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
export const DEVICE_FLAG_PROXY = 8;
export const DEVICE_FLAG_RSC = 16;
export const DEVICE_FLAG_L2MISS = 32;
export const DEVICE_FLAG_L3MISS = 64;
export const DEVICE_FLAG_LOCALBYPASS = 128;
/** Many VNIs, told apart by VLAN on the TAP. */
export const DEVICE_FLAG_EXTERNAL = 256;
export const DEVICE_FLAG_GBP = 512;
/** Packets without Ethernet header, over a TUN. */
export const DEVICE_FLAG_GPE = 1024;
export const DEVICE_FLAG_REMCSUM_TX = 2048;
export const DEVICE_FLAG_REMCSUM_RX = 4096;
/** Has MDB entries. */
export const DEVICE_FLAG_MDB = 8192;
/** The TAP is a port of a bridge: what doesn't fit through the tunnel is answered with ICMP. */
export const DEVICE_FLAG_BRIDGED = 16384;
/** The flow label is the inner IPv6 packet's. */
export const DEVICE_FLAG_LABEL_INHERIT = 32768;
/** Underlay addresses are link-local: only what comes in through DEVICE_LINK is the device's. */
export const DEVICE_FLAG_LINK_LOCAL = 65536;
/** Policies are set for VNIs or sources, or ids are refused: more than DEVICE_POLICY has to be looked at. */
export const DEVICE_FLAG_POLICIES = 131072;
/** The TAP is set to `arp off`: its proxy answers no ARP request. */
export const DEVICE_FLAG_NOARP = 262144;
/** What the proxy cannot answer goes on as any frame does. */
export const DEVICE_FLAG_PROXY_FORWARD = 524288;
/** Learn from a frame only when nothing is left to drop it for. */
export const DEVICE_FLAG_LATE_LEARNING = 1048576;
/** A group policy header with the D bit teaches nothing. */
export const DEVICE_FLAG_HONOUR_DONT_LEARN = 2097152;
/** Only remotes of entries that a command made may send to it: the table of senders has them. */
export const DEVICE_FLAG_KNOWN_SENDERS = 4194304;
/** One datagram per message, whatever the VTEP can do. */
export const DEVICE_FLAG_GSO_OFF = 8388608;
/** Whole super-frames may leave through an underlay TAP. */
export const DEVICE_FLAG_GSO_TUNNEL = 16777216;
/** Nothing that arrives is merged. */
export const DEVICE_FLAG_GRO_OFF = 33554432;
/** No UDP is merged into super-frames for the TAP. */
export const DEVICE_FLAG_USO_OFF = 67108864;
/** Frames are taken from peers only, each from its own address and prefixes: the table of peers has them. */
export const DEVICE_FLAG_KNOWN_PEERS = 134217728;
/** It has a hook on decap: frames of this host for it take the way of datagrams, for only there the hook sees them. */
export const DEVICE_FLAG_HOOK_DECAP = 268435456;
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
/** u32: ageing time in seconds; AGEING_NEVER = what was learned stays. */
export const DEVICE_AGEING_OFFSET = 44;
export const AGEING_NEVER = 0xffffffff;
/** two u32, in network order: bits of the VXLAN header that make a datagram be dropped. */
export const DEVICE_RESERVED_OFFSET = 48;
/** u32: fixed flow label, IPv6 underlay */
export const DEVICE_LABEL_OFFSET = 56;
/** u32: GBP bits of the first header word for what is sent (VXLAN_FLAG_GBP, VXLAN_GBP_*, the id); 0 = a plain header. */
export const DEVICE_POLICY_OFFSET = 60;
/** i32 per queue: descriptor of the TAP queue, -1 = none */
export const DEVICE_TAP_OFFSET = 64;
export const DEVICE_QUEUE_MAX = 8;
/** u32s: ifindex of the TAP, and of `dev`, 0 = none */
export const DEVICE_IFINDEX_OFFSET = 96;
export const DEVICE_LINK_OFFSET = 100;
/** u32: domain of untagged frames of an external device, 0 = none */
export const DEVICE_UNTAGGED_OFFSET = 104;
/** u32: RECEIVE_* bits: devices on one port share a socket when they agree on them. */
export const DEVICE_RECEIVE_OFFSET = 108;
/** u16s: VLAN table of an external device, and table of refused policy ids, as number + 1; 0 = none */
export const DEVICE_VLANS_OFFSET = 112;
export const DEVICE_REFUSED_OFFSET = 114;

/** What must be equal for two devices to share a receiving socket (VXLAN_F_RCV_FLAGS of the driver). */
export const RECEIVE_GBP = 1;
export const RECEIVE_GPE = 2;
export const RECEIVE_ZERO_CHECKSUM = 4;
export const RECEIVE_REMCSUM = 8;
export const RECEIVE_EXTERNAL = 16;
export const RECEIVE_VNIFILTER = 32;

// Listeners: a receiving UDP socket for each queue, shared by the devices of a (family, port, RECEIVE_* bits).
// Number 0 is never used.
export const LISTENER_COUNT = 256;
export const LISTENER_BYTES = 64;
export const LISTENERS_BASE = DEVICES_BASE + DEVICES_BYTES;
export const LISTENERS_BYTES = LISTENER_COUNT * LISTENER_BYTES;
/** i32 for each queue: descriptor, 0 = none; the first is there as long as the listener is open */
export const LISTENER_SOCKETS_OFFSET = 0;
/** u16 in host order, u8, u32: RECEIVE_* bits */
export const LISTENER_PORT_OFFSET = 32;
export const LISTENER_FAMILY_OFFSET = 34;
export const LISTENER_RECEIVE_OFFSET = 36;

// Domains: one forwarding domain each, with an FDB of its own. Domain N below DEVICE_COUNT is the
// (only, or default) VNI of device N; those above are further VNIs of external devices.
export const DOMAIN_COUNT = 8192;
export const DOMAIN_BYTES = 32;
export const DOMAINS_BASE = LISTENERS_BASE + LISTENERS_BYTES;
export const DOMAINS_BYTES = DOMAIN_COUNT * DOMAIN_BYTES;
/** u32s; device 0 = free */
export const DOMAIN_DEVICE_OFFSET = 0;
export const DOMAIN_VNI_OFFSET = 4;
/** u16: VLAN that its frames carry on the TAP, DOMAIN_NO_VLAN = none is mapped */
export const DOMAIN_VLAN_OFFSET = 8;
export const DOMAIN_NO_VLAN = 0xffff;
/** u16: 1 = its frames are untagged on the TAP */
export const DOMAIN_UNTAGGED_OFFSET = 10;
/** u32: as DEVICE_POLICY, for this VNI; DOMAIN_NO_POLICY = the device's */
export const DOMAIN_POLICY_OFFSET = 12;
export const DOMAIN_NO_POLICY = 0xffffffff;
/** The last domain is nobody's: remotes of the MDB stand in the FDB under it. */
export const MDB_DOMAIN = 8191;

// VNIs: open addressing over u64 slots: listener (8 bits) and VNI (24 bits) in the low word,
// domain and device (16 bits each) in the high word; 0 = empty. A slot is published with one store.
export const VNI_SLOT_COUNT = 16384;
export const VNI_SLOT_BYTES = 8;
export const VNIS_BASE = DOMAINS_BASE + DOMAINS_BYTES;
export const VNIS_BYTES = VNI_SLOT_COUNT * VNI_SLOT_BYTES;
/** High word of a slot whose domain has gone: look-ups walk on. */
export const VNI_SLOT_GONE = 0xffff;
/** A look-up begins at slot (low word * multiplier) >>> shift. */
export const VNI_HASH_MULTIPLIER = 0x3c6ef373;
export const VNI_HASH_SHIFT = 18;

// VLANs: for each external device a table of 4096 u16: the domain of a VLAN id, 0 = none.
export const VLAN_TABLE_COUNT = 16;
export const VLAN_COUNT = 4096;
export const VLANS_BASE = VNIS_BASE + VNIS_BYTES;
export const VLANS_BYTES = VLAN_TABLE_COUNT * VLAN_COUNT * 2;

// Policies: ids to send by source MAC, open addressing over 16-byte slots (u64 key as in the FDB, u32
// GBP bits); then for each device that refuses ids a bitmap of all 65536.
export const POLICY_SLOT_COUNT = 1024;
export const POLICY_SLOT_BYTES = 16;
export const POLICY_VALUE_OFFSET = 8;
/** Key of a slot whose source has gone, in both halves: look-ups walk on. No MAC and domain have it. */
export const POLICY_GONE = 0xffffffff;
export const POLICIES_BASE = VLANS_BASE + VLANS_BYTES;
export const POLICIES_BYTES = POLICY_SLOT_COUNT * POLICY_SLOT_BYTES;
export const REFUSED_TABLE_COUNT = 16;
export const REFUSED_TABLE_BYTES = 8192;
export const REFUSED_BASE = POLICIES_BASE + POLICIES_BYTES;
export const REFUSED_BYTES = REFUSED_TABLE_COUNT * REFUSED_TABLE_BYTES;

// MDB: two tables, open addressing over slots. One is in use while the other one is written.
// What packets need only: the host keeps the rest.
export const MDB_SLOT_COUNT = 8192;
export const MDB_SLOT_BYTES = 48;
export const MDB_BASE = REFUSED_BASE + REFUSED_BYTES;
export const MDB_TABLE_BYTES = MDB_SLOT_COUNT * MDB_SLOT_BYTES;
export const MDB_BYTES = 2 * MDB_TABLE_BYTES;
/** Most entries, so that look-ups stay short and find an empty slot to end at. */
export const MDB_CAPACITY = 6144;
/** A look-up begins at slot hash >>> shift of a 64-bit hash. */
export const MDB_HASH_SHIFT = 51;
/** u32: domain; 0 = empty */
export const MDB_DOMAIN_OFFSET = 0;
/** u32: FDB entry under MDB_DOMAIN that has the remotes; MDB_NO_REMOTE = drop what matches */
export const MDB_ENTRY_OFFSET = 4;
export const MDB_NO_REMOTE = 0xffffffff;
/** u32: number that is the MAC of that FDB entry */
export const MDB_MAC_OFFSET = 8;
/** u8 */
export const MDB_FAMILY_OFFSET = 12;
/** 16 bytes each: an IPv4 address in the first four, the rest zero; source all zero = any */
export const MDB_GROUP_OFFSET = 16;
export const MDB_SOURCE_OFFSET = 32;

// Neighbours of overlay devices: open addressing over slots, for proxy and rsc.
export const NEIGHBOUR_SLOT_COUNT = 8192;
export const NEIGHBOUR_SLOT_BYTES = 32;
export const NEIGHBOURS_BASE = MDB_BASE + MDB_BYTES;
export const NEIGHBOURS_BYTES = NEIGHBOUR_SLOT_COUNT * NEIGHBOUR_SLOT_BYTES;
/** u16: device; 0 = empty */
export const NEIGHBOUR_DEVICE_OFFSET = 0;
/** u8 family; u8 1 = its state is one that the kernel calls connected */
export const NEIGHBOUR_FAMILY_OFFSET = 2;
export const NEIGHBOUR_CONNECTED_OFFSET = 3;
/** 6 bytes in network order, then two zero bytes */
export const NEIGHBOUR_MAC_OFFSET = 8;
/** 16 bytes: an IPv4 address in the first four, the rest zero */
export const NEIGHBOUR_ADDRESS_OFFSET = 16;
/**
 * A look-up begins at slot hash >>> shift. The hash begins as HEADER_HASH_SEED and takes, one after the other, device |
 * family << 16 and the four words of the address: hash = (hash ^ word) * multiplier; hash ^= hash >>> 15.
 */
export const NEIGHBOUR_HASH_MULTIPLIER = 0x9e3779b1;
export const NEIGHBOUR_HASH_SHIFT = 19;

// Senders: who may send to a device that asks for it; slots and hash as of neighbours, without MAC. Each is a remote
// of the FDB, so there is room for all of them.
export const SENDER_SLOT_COUNT = 1048576;
export const SENDER_HASH_SHIFT = 12;
export const SENDERS_BASE = NEIGHBOURS_BASE + NEIGHBOURS_BYTES;
export const SENDERS_BYTES = SENDER_SLOT_COUNT * NEIGHBOUR_SLOT_BYTES;

// Peers: who a device that asks for it takes frames from. An index says where the entries are, which lie side by side,
// so that few of them take few pages. Its buckets are as those of the FDB: a u32 that counts the entries that found this
// bucket full and lie in a later one, then fifteen u32 slots. A slot is a tag out of the key's hash (high bits) and
// entry + 1; 0 is an empty slot.
export const PEER_COUNT = 131072;
export const PEER_BUCKET_COUNT = 16384;
export const PEER_BUCKET_BYTES = 64;
/** u32s of a bucket, the counter included. */
export const PEER_BUCKET_WORDS = 16;
/** Bits of a slot that name the entry; the others are the tag. */
export const PEER_SLOT_ENTRY_MASK = 0x3ffff;
/**
 * The hash begins as HEADER_HASH_SEED and takes the low and the high word of the key: hash = (hash ^ word) *
 * multiplier; hash ^= hash >>> 15. The home is bucket hash >>> shift; the low bits of the hash are the tag.
 */
export const PEER_HASH_MULTIPLIER = 0x9e3779b1;
export const PEER_HASH_SHIFT = 18;
export const PEER_TAG_SHIFT = 18;
export const PEER_BUCKETS_BASE = SENDERS_BASE + SENDERS_BYTES;
export const PEER_BUCKETS_BYTES = PEER_BUCKET_COUNT * PEER_BUCKET_BYTES;
/** What decap counts has a cache line of its own. */
export const PEER_BYTES = 192;
export const PEERS_BASE = PEER_BUCKETS_BASE + PEER_BUCKETS_BYTES;
export const PEERS_BYTES = PEER_COUNT * PEER_BYTES;
/** u64: MAC (low 48 bits, first byte lowest) | device << 48; 0 = no entry. */
export const PEER_KEY_OFFSET = 0;
/** u32: odd while the entry is being changed. */
export const PEER_VERSION_OFFSET = 8;
/** From where its frames may come, PEER_SOURCE_BYTES that belong together. */
export const PEER_SOURCE_OFFSET = 16;
export const PEER_SOURCE_BYTES = 56;
/** 16 bytes of outer address; an IPv4 address in the first four, the rest zero. */
export const PEER_ADDRESS_OFFSET = 0;
/** Networks that inner sources lie in, and their masks, in network order; no network: all ones and mask 0. */
export const PEER_IPV4_OFFSET = 16;
export const PEER_IPV4_MASK_OFFSET = 20;
export const PEER_IPV6_OFFSET = 24;
export const PEER_IPV6_MASK_OFFSET = 40;
/** u64s: what was sent to it */
export const PEER_TX_PACKETS_OFFSET = 80;
export const PEER_TX_BYTES_OFFSET = 88;
/** u64s: what was taken from it, and what was refused with its MAC; u32: HEADER_NOW of the last one taken, 0 = none */
export const PEER_RX_PACKETS_OFFSET = 128;
export const PEER_RX_BYTES_OFFSET = 136;
export const PEER_ADDRESS_DROPS_OFFSET = 144;
export const PEER_SUBNET_DROPS_OFFSET = 152;
export const PEER_LAST_OFFSET = 160;

// Sources: sockets that datagrams leave from. A group is (family, local address, DF, checksum,
// port range) and holds SOURCE_PORT_COUNT sockets, one for each source port in use.
export const SOURCE_GROUP_COUNT = 64;
export const SOURCE_PORT_COUNT = 64;
export const SOURCE_GROUP_HEADER_BYTES = 64;
/** What a socket is connected to, of each port. */
export const SOURCE_PEER_BYTES = 32;
export const SOURCE_GROUP_BYTES = SOURCE_GROUP_HEADER_BYTES + SOURCE_PORT_COUNT * (4 + 2 + SOURCE_PEER_BYTES);
export const SOURCES_BASE = PEERS_BASE + PEERS_BYTES;
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
/** u32: ifindex that a link-local address belongs to, 0 for any other address */
export const SOURCE_SCOPE_OFFSET = 32;
/** i32 per port: the descriptor, -1 = opened at first use. */
export const SOURCE_SOCKETS_OFFSET = 64;
/** u16 per port, in host order: what the socket is bound to, 0 = not open. */
export const SOURCE_NUMBERS_OFFSET = SOURCE_SOCKETS_OFFSET + SOURCE_PORT_COUNT * 4;
/**
 * Per port struct sockaddr_in or sockaddr_in6: what its socket is connected to. The first word, family and port, is
 * stored last: 0 = nothing yet, SOURCE_PEER_CONNECTING, SOURCE_PEER_NEVER = the route may choose another source for
 * other remotes.
 */
export const SOURCE_PEERS_OFFSET = SOURCE_NUMBERS_OFFSET + SOURCE_PORT_COUNT * 2;
export const SOURCE_PEER_CONNECTING = 1;
export const SOURCE_PEER_NEVER = 0xffffffff;
/** In a message's envelope instead of a socket: a super-frame that leaves whole, through the underlay TAP. */
export const SOURCE_UNDERLAY_TAP = SOURCE_GROUP_COUNT * SOURCE_PORT_COUNT;

// FDB: 1,000,000 entries in less than 64 MiB. An index of buckets says where the entries are; the entries lie side
// by side, so that few of them take few pages. A bucket is one cache line: a u32 that counts the entries that found
// this bucket full and lie farther on, then fifteen u32 slots. A slot is a tag out of the key's hash (high bits, never
// 0) and entry + 1; 0 is an empty slot.
export const FDB_BUCKET_COUNT = 110592;
export const FDB_BUCKET_BYTES = 64;
/** u32s of a bucket, the counter included. */
export const FDB_BUCKET_WORDS = 16;
/** Bits of a slot that name the entry; the others are the tag. */
export const FDB_SLOT_ENTRY_MASK = 0xfffff;
/** How many buckets, the home one included, a slot may lie in. */
export const FDB_PROBE_BUCKETS = 32;
export const FDB_BUCKETS_BASE = SOURCES_BASE + SOURCES_BYTES;
export const FDB_BUCKETS_BYTES = FDB_BUCKET_COUNT * FDB_BUCKET_BYTES;
/** Most entries, all devices together: 60 % of the slots. */
export const FDB_CAPACITY = 1000000;
export const FDB_ENTRY_BYTES = 56;
export const FDB_ENTRIES_BASE = FDB_BUCKETS_BASE + FDB_BUCKETS_BYTES;
/** In whole pages, as the next region: the workers' blocks, which lie behind them, begin with a page. */
export const FDB_ENTRIES_BYTES = (FDB_CAPACITY * FDB_ENTRY_BYTES + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
/** u32: odd while the entry is being changed. */
export const FDB_VERSION_OFFSET = 0;
/** u16: NUD_* bits */
export const FDB_STATE_OFFSET = 4;
/** u16: NTF_* bits */
export const FDB_FLAGS_OFFSET = 6;
/** u32 seconds of the monotonic clock: last looked up for sending; last learned or changed. */
export const FDB_USED_OFFSET = 8;
export const FDB_UPDATED_OFFSET = 12;
/** u64: MAC (low 48 bits, first byte lowest) | domain << 48; 0 = no entry (domains begin at 1). */
export const FDB_KEY_OFFSET = 16;
/** A remote, in the entry itself: the first of the list. */
export const FDB_REMOTE_OFFSET = 24;
/** u16: number of remotes, the one inside the entry included: in that one, behind its link. */
export const FDB_REMOTES_OFFSET = 26;
/** What no packet asks for lies apart. u32: HEADER_FDB_CREATED at creation; of a free entry, the next free one + 1. */
export const FDB_CREATED_BYTES = 4;
export const FDB_CREATIONS_BASE = FDB_ENTRIES_BASE + FDB_ENTRIES_BYTES;
export const FDB_CREATIONS_BYTES = (FDB_CAPACITY * FDB_CREATED_BYTES + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

/** Neighbour states (linux/neighbour.h) that the driver uses. */
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;
/** Neighbour flags (linux/neighbour.h) that the driver uses. */
export const NTF_SELF = 0x02;
export const NTF_MASTER = 0x04;
export const NTF_EXT_LEARNED = 0x10;
export const NTF_STICKY = 0x40;
export const NTF_ROUTER = 0x80;
/** The driver's own, above the eight bits of the netlink message: made by a command. */
export const NTF_ADDED_BY_USER = 0x100;
/** Ours: the remotes are the members of a nexthop group, of which each flow takes one. */
export const NTF_NEXTHOP = 0x200;

// A remote: where a copy of a frame goes. The first of an entry lies in the entry, further
// ones in this pool, chained by index + 1.
export const REMOTE_BYTES = 32;
export const REMOTE_COUNT = 16384;
export const REMOTES_BASE = FDB_CREATIONS_BASE + FDB_CREATIONS_BYTES;
export const REMOTES_BYTES = REMOTE_COUNT * REMOTE_BYTES;
/** u16: the next remote in the pool as index + 1; 0 ends the list. */
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
/** u8: weight in a nexthop group less 1 */
export const REMOTE_WEIGHT_OFFSET = 15;
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
/** u32: milliseconds of a monotonic clock, kept by the worker, for the age of paths. */
export const WORKER_CLOCK_OFFSET = 96;
/** u32s, on a cache line of their own: where in this memory the parts of the worker's io_uring lie, stored by the host. */
export const WORKER_SQ_HEAD_OFFSET = 128;
export const WORKER_SQ_TAIL_OFFSET = 132;
export const WORKER_CQ_HEAD_OFFSET = 136;
export const WORKER_CQ_TAIL_OFFSET = 140;
export const WORKER_CQES_OFFSET = 144;
/** u32: entries of the completion queue less one */
export const WORKER_CQ_MASK_OFFSET = 148;
/** Of the completions that were reaped last: u32 bytes read, i32 the last result below 0 that is not EAGAIN, 0 = none. */
export const WORKER_URING_READ_OFFSET = 152;
export const WORKER_URING_ERROR_OFFSET = 156;

/** u64: slots of PEER_RUNS that have something to be added to their entries, as bits */
export const WORKER_PEERS_OFFSET = 160;

/** u8 per device: 1 = its frames, in this block's direction, are shown to a hook (assembly/hook.ts). */
export const WORKER_HOOKED_OFFSET = 256;

/** Where its time goes, when somebody asks: [slot][WORKER_PROFILE_*], see src/vtep/profile.ts. */
export const WORKER_PROFILE_OFFSET = 1024;
export const WORKER_PROFILE_SLOTS = 64;
/** f64 calls, f64 seconds */
export const WORKER_PROFILE_COUNT_OFFSET = 0;
export const WORKER_PROFILE_SECONDS_OFFSET = 8;
export const WORKER_PROFILE_SLOT_BYTES = 16;

// Counters: [device][counter] u64. Row 0 is for datagrams that belong to no device.
export const COUNTERS_OFFSET = 4096;
export const COUNTER_COUNT = 88;
export const COUNTER_BYTES = 8;
export const COUNTER_ROW_BYTES = COUNTER_COUNT * COUNTER_BYTES;
export const COUNTERS_BYTES = DEVICE_COUNT * COUNTER_ROW_BYTES;

/** Per VNI: [domain][DOMAIN_COUNTER_*] u64, counted for domains above DEVICE_COUNT only. */
export const DOMAIN_COUNTERS_OFFSET = COUNTERS_OFFSET + COUNTERS_BYTES;
export const DOMAIN_COUNTER_ROW_BYTES = 64;
export const DOMAIN_COUNTERS_BYTES = DOMAIN_COUNT * DOMAIN_COUNTER_ROW_BYTES;
export const DOMAIN_ENCAP_PACKETS = 0;
export const DOMAIN_ENCAP_BYTES = 1;
export const DOMAIN_ENCAP_DROPS = 2;
export const DOMAIN_ENCAP_ERRORS = 3;
export const DOMAIN_DECAP_PACKETS = 4;
export const DOMAIN_DECAP_BYTES = 5;
export const DOMAIN_DECAP_DROPS = 6;
export const DOMAIN_DECAP_ERRORS = 7;

/**
 * io_uring: the submission queue, and a page for the cursors and the completion queue (twice as many). One page each,
 * for Linux before 6.10 takes no two that do not lie side by side in the machine's memory.
 */
export const URING_OFFSET = DOMAIN_COUNTERS_OFFSET + DOMAIN_COUNTERS_BYTES;
export const URING_ENTRIES = 64;
export const URING_QUEUES_OFFSET = URING_OFFSET + PAGE_BYTES;
export const URING_BYTES = 2 * PAGE_BYTES;

// Events: a ring from the worker to the host (assembly/event.ts). When it is full, events are lost and counted.
export const EVENTS_OFFSET = URING_OFFSET + URING_BYTES;
/** u32s: written by the worker, taken by the host, lost */
export const EVENTS_WRITTEN_OFFSET = 0;
export const EVENTS_TAKEN_OFFSET = 64;
export const EVENTS_LOST_OFFSET = 128;
export const EVENTS_RECORDS_OFFSET = 192;
export const EVENT_COUNT = 1024;
export const EVENT_BYTES = 48;
export const EVENTS_BYTES = EVENTS_RECORDS_OFFSET + EVENT_COUNT * EVENT_BYTES;
/** u32s: EVENT_*, domain; then the MAC in network order with two zero bytes; ifindex; family; 16 bytes of address */
export const EVENT_KIND_OFFSET = 0;
export const EVENT_DOMAIN_OFFSET = 4;
export const EVENT_MAC_OFFSET = 8;
export const EVENT_IFINDEX_OFFSET = 16;
export const EVENT_FAMILY_OFFSET = 20;
export const EVENT_ADDRESS_OFFSET = 32;
export const EVENT_LEARNED = 1;
export const EVENT_MOVED = 2;
export const EVENT_L2_MISS = 3;
export const EVENT_L3_MISS = 4;

/** Group policy ids that were received: u32 device << 16 | id, u32 count; 0 = empty. */
export const SEEN_OFFSET = EVENTS_OFFSET + EVENTS_BYTES;
export const SEEN_COUNT = 512;
export const SEEN_BYTES = SEEN_COUNT * 8;
/** How many slots an id may lie in: whoever sends ever new ids fills the table, not the time of a worker. */
export const SEEN_PROBES = 16;

/**
 * Peers as the worker found them last, direct-mapped by their keys, and what is still to be added to their entries: so
 * that many frames of a peer in a batch are one update.
 */
export const PEER_RUN_COUNT = 64;
export const PEER_RUN_BYTES = 128;
/** 64 less the bits of PEER_RUN_COUNT */
export const PEER_RUN_SHIFT = 58;
export const PEER_RUNS_OFFSET = SEEN_OFFSET + SEEN_BYTES;
export const PEER_RUNS_BYTES = PEER_RUN_COUNT * PEER_RUN_BYTES;
/** u64 key, 0 = none; u32s: the entry's version and address */
export const PEER_RUN_KEY_OFFSET = 0;
export const PEER_RUN_VERSION_OFFSET = 8;
export const PEER_RUN_ENTRY_OFFSET = 12;
/** u64s: packets << PEER_RUN_PACKETS_SHIFT | bytes; a batch has far fewer of both */
export const PEER_RUN_RECEIVED_OFFSET = 16;
export const PEER_RUN_SENT_OFFSET = 24;
export const PEER_RUN_PACKETS_SHIFT = 40;
/** PEER_SOURCE of the entry. */
export const PEER_RUN_SOURCE_OFFSET = 32;

/** Remotes of the frame at hand, copied out of the FDB under its version counter. */
export const FANOUT_OFFSET = PEER_RUNS_OFFSET + PEER_RUNS_BYTES;
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
/**
 * Encap: u32 address of the virtio header, u32 bytes after that header, u16 device; u16 domain, which the
 * walk fills in once it is known (0 = not yet).
 */
export const DESCRIPTOR_ADDRESS_OFFSET = 0;
export const DESCRIPTOR_LENGTH_OFFSET = 4;
export const DESCRIPTOR_DEVICE_OFFSET = 8;
export const DESCRIPTOR_DOMAIN_OFFSET = 10;
/** u32: HOOK_WORD_* of a frame that a hook has been shown, 0 = none has */
export const DESCRIPTOR_HOOK_OFFSET = 12;

// Encap: frames from the TAP -> messages for UDP sockets.
export const ENCAP_RING_COUNT = 256;
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
/** u32: injections in use */
export const ENCAP_INJECTS_USED_OFFSET = 12;
/** u32: lanes in use */
export const ENCAP_LANES_USED_OFFSET = 32;
/** u32: 1 = the walk stopped because the path to the remote at ENCAP_PATH_REMOTE has to be resolved. */
export const ENCAP_PATH_WANTED_OFFSET = 28;
// The frame at hand. The first two, side by side as in an envelope, are written and compared as one u64; the
// others too are written as one when the frame's turn comes.
/** u32: its flow label, 0 = none */
export const ENCAP_LABEL_OFFSET = 40;
/** u32 */
export const ENCAP_DOMAIN_OFFSET = 44;
/** u32: first word of its VXLAN header, as a number; u8: last byte of the second */
export const ENCAP_WORD_OFFSET = 48;
export const ENCAP_TAIL_OFFSET = 52;
/** u8: ENCAP_FRAME_* */
export const ENCAP_FRAME_FLAGS_OFFSET = 53;
/** It was rewritten by rsc: an "any" remote takes it back into the device. */
export const ENCAP_FRAME_SHORT_CIRCUITED = 1;
/** u16: where its network header begins */
export const ENCAP_L3_OFFSET = 54;
/** u32: hash of its flow, 0 = its datagrams go in no other's place */
export const ENCAP_FLOW_OFFSET = 56;
/** A remote record: whose path is wanted. */
export const ENCAP_PATH_REMOTE_OFFSET = 64;
/** 32 bytes: struct sockaddr of the loopback address, as the sender of frames that bypass the underlay. */
export const ENCAP_LOOPBACK_OFFSET = 96;
/** u32: identification of the next outer IPv4 header that is written here. */
export const ENCAP_OUTER_ID_OFFSET = 128;
/** u32: source group of the device that wants that path. */
export const ENCAP_PATH_GROUP_OFFSET = 132;
/** A remote record: where a super-frame that the underlay TAP refused is sent to. */
export const ENCAP_CUT_REMOTE_OFFSET = 160;
/** A descriptor, length 0 = none: a mirrored frame that goes into a tunnel before the frame at hand goes on; u32: mirror bytes in use. */
export const ENCAP_MIRROR_OFFSET = 192;
export const ENCAP_MIRROR_USED_OFFSET = 208;
/** u32: where two bytes are borrowed (HOOK_WORD_BORROWED); u16: what they were. */
export const ENCAP_BORROWED_OFFSET = 212;
/** Most datagrams in one UDP_SEGMENT message (Linux before 6.9 takes no more), and most bytes. */
export const MESSAGE_SEGMENT_MAX = 64;
export const MESSAGE_MAX_BYTES = 65507;
/** UIO_MAXIOV */
export const MESSAGE_IOVEC_MAX = 1024;

/** u32: where the walk that fetches FDB entries beforehand leaves what it need not keep. */
export const ENCAP_WARM_OFFSET = 128;

/** Most segments of one super-frame: 64 KiB of payload at the smallest MSS that Linux uses. */
export const SEGMENT_MAX = 1536;

/** struct mmsghdr, side by side as sendmmsg wants them. */
export const MESSAGE_COUNT = 512;
export const MESSAGES_OFFSET = ENCAP_STATE_OFFSET + ENCAP_STATE_BYTES;
export const MESSAGES_BYTES = MESSAGE_COUNT * MMSGHDR_BYTES;
/**
 * In their place, and in that of envelopes, where a program takes the datagrams itself: parcels, in the order of the
 * frames. u32s: address and length of the frame; 8 bytes: its VXLAN header; u8: AF_INET or AF_INET6; u8: 1 = that header stands before the
 * frame already; u16: port; u32: source, as in an envelope, or the group's first and PARCEL_FLOW_UNTOLD: who wants the
 * flow hashes the frame; u32: TOS | TTL << 8; u32s: flow label, ifindex; u16s:
 * device, domain; 16 bytes: an IPv4 address in the first four, the rest zero.
 */
export const PARCEL_BYTES = MMSGHDR_BYTES;
export const PARCEL_COUNT = SEGMENT_MAX;
export const PARCELS_OFFSET = MESSAGES_OFFSET;
export const PARCEL_FRAME_OFFSET = 0;
export const PARCEL_LENGTH_OFFSET = 4;
export const PARCEL_HEADER_OFFSET = 8;
export const PARCEL_FAMILY_OFFSET = 16;
export const PARCEL_HEADED_OFFSET = 17;
export const PARCEL_PORT_OFFSET = 18;
export const PARCEL_SOURCE_OFFSET = 20;
export const PARCEL_FLOW_UNTOLD = 65536;
export const PARCEL_MARKS_OFFSET = 24;
export const PARCEL_LABEL_OFFSET = 28;
export const PARCEL_IFINDEX_OFFSET = 32;
export const PARCEL_DEVICE_OFFSET = 36;
export const PARCEL_DOMAIN_OFFSET = 38;
export const PARCEL_ADDRESS_OFFSET = 48;
/** What stands behind each message: its address, its control messages, and what the next datagram must equal to join it. */
export const ENVELOPE_BYTES = 208;
export const ENVELOPES_OFFSET = MESSAGES_OFFSET + MESSAGES_BYTES;
export const ENVELOPES_BYTES = MESSAGE_COUNT * ENVELOPE_BYTES;
export const ENVELOPE_NAME_OFFSET = 0;
export const ENVELOPE_CONTROL_OFFSET = 32;
export const ENVELOPE_CONTROL_BYTES = 112;
/** Instead of both, for a super-frame that leaves whole: its outer headers; two iovecs; u32s: its source, its address. */
export const ENVELOPE_HEADERS_OFFSET = 0;
export const ENVELOPE_WHOLE_IOVECS_OFFSET = 96;
export const ENVELOPE_CUT_SOURCE_OFFSET = 128;
export const ENVELOPE_CUT_FRAME_OFFSET = 132;
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
/** u32s: flow label (IPv6) and domain, one u64 */
export const ENVELOPE_LABEL_OFFSET = 184;
export const ENVELOPE_DOMAIN_OFFSET = 188;
/** u32: its first iovec; u16s: how many there are, and how many there is room for */
export const ENVELOPE_IOVECS_OFFSET = 192;
export const ENVELOPE_IOVEC_COUNT_OFFSET = 196;
export const ENVELOPE_IOVEC_ROOM_OFFSET = 198;
/** u32: envelope + 1 that follows in its lane, 0 = none */
export const ENVELOPE_NEXT_OFFSET = 200;
/** u32: hash of its first datagram's flow, 0 = nothing may come before that one */
export const ENVELOPE_FLOW_OFFSET = 204;

/** Lanes, one for each source port: u16s: first and last envelope + 1 of the batch, 0 = none. */
export const LANE_BYTES = 4;
export const LANES_OFFSET = ENVELOPES_OFFSET + ENVELOPES_BYTES;
export const LANES_BYTES = SOURCE_PORT_COUNT * LANE_BYTES;
export const LANE_FIRST_OFFSET = 0;
export const LANE_LAST_OFFSET = 2;
/** u8s: the lanes in use, in the order in which they came into it */
export const LANE_ORDER_OFFSET = LANES_OFFSET + LANES_BYTES;
export const LANE_ORDER_BYTES = SOURCE_PORT_COUNT;
/** u16s: the envelope of each message */
export const MESSAGE_ENVELOPES_OFFSET = LANE_ORDER_OFFSET + LANE_ORDER_BYTES;
export const MESSAGE_ENVELOPES_BYTES = MESSAGE_COUNT * 2;

/** Runs: u32 source, u32 first message, u32 messages: one sendmmsg each. */
export const RUN_BYTES = 16;
export const RUN_SOURCE_OFFSET = 0;
export const RUN_FIRST_OFFSET = 4;
export const RUN_COUNT_OFFSET = 8;
export const RUNS_OFFSET = MESSAGE_ENVELOPES_OFFSET + MESSAGE_ENVELOPES_BYTES;
export const RUNS_BYTES = MESSAGE_COUNT * RUN_BYTES;

export const ENCAP_IOVEC_COUNT = 8192;
export const ENCAP_IOVECS_OFFSET = RUNS_OFFSET + RUNS_BYTES;
export const ENCAP_IOVECS_BYTES = ENCAP_IOVEC_COUNT * IOVEC_BYTES;
/** Headers of segments: VXLAN + Ethernet with two tags + IP + TCP with options. */
export const SEGMENT_HEADER_MAX_BYTES = 160;
export const ENCAP_HEADERS_OFFSET = ENCAP_IOVECS_OFFSET + ENCAP_IOVECS_BYTES;
export const ENCAP_HEADERS_BYTES = 2 * SEGMENT_MAX * SEGMENT_HEADER_MAX_BYTES;
// Paths: what this worker knows of the way to each remote, by address and ifindex; direct-mapped.
export const PATH_SLOT_COUNT = 4096;
export const PATH_SLOT_BYTES = 64;
export const PATHS_OFFSET = ENCAP_HEADERS_OFFSET + ENCAP_HEADERS_BYTES;
export const PATHS_BYTES = PATH_SLOT_COUNT * PATH_SLOT_BYTES;
/** 16 bytes, u32, u8 */
export const PATH_ADDRESS_OFFSET = 0;
export const PATH_IFINDEX_OFFSET = 16;
export const PATH_FAMILY_OFFSET = 20;
/** u32: path MTU in bytes, 0 = not known */
export const PATH_MTU_OFFSET = 24;
/** u32: PATH_* bits */
export const PATH_FLAGS_OFFSET = 28;
/** The address is this host's. */
export const PATH_LOCAL = 1;
/** Super-frames from PATH_SOURCE may leave whole through the underlay TAP, without and with outer UDP checksums. */
export const PATH_WHOLE = 2;
export const PATH_WHOLE_CHECKSUM = 4;
/** u32: ifindex that the route leads out of, 0 = none */
export const PATH_OUT_OFFSET = 32;
/**
 * How long a path is known. Routes and addresses that change are heard of; a path MTU that ICMP lowers is not:
 * it is asked for again.
 */
export const PATH_KNOWN_MILLISECONDS = 100;
/** u32 milliseconds: WORKER_CLOCK when it was found, and PATH_KNOWN_MILLISECONDS; and HEADER_PATHS_GENERATION when it was found */
export const PATH_EXPIRES_OFFSET = 36;
export const PATH_GENERATION_OFFSET = 40;
/** u8: TTL or hop limit where the device gives none; 16 bytes: the local address */
export const PATH_HOPS_OFFSET = 44;
export const PATH_SOURCE_OFFSET = 48;

// Injections: frames that the encap walk hands to a TAP instead of the underlay.
export const INJECT_COUNT = 64;
export const INJECT_BYTES = 64;
export const INJECTS_OFFSET = PATHS_OFFSET + PATHS_BYTES;
export const INJECTS_BYTES = INJECT_COUNT * INJECT_BYTES;
/** Two struct iovec; u32s: device whose TAP takes it, how many of the iovecs count */
export const INJECT_IOVECS_OFFSET = 0;
export const INJECT_DEVICE_OFFSET = 32;
export const INJECT_IOVEC_COUNT_OFFSET = 36;
/** A buffer for each: virtio header, then a reply of at most INJECT_REPLY_BYTES. */
export const INJECT_BUFFER_BYTES = 1344;
export const INJECT_REPLY_BYTES = 1334;
export const INJECT_BUFFERS_OFFSET = INJECTS_OFFSET + INJECTS_BYTES;
export const INJECT_BUFFERS_BYTES = INJECT_COUNT * INJECT_BUFFER_BYTES;

/**
 * One run of memory that frames are read into: one behind the other, or, where many are asked for before the size of
 * the first one is known, each into a slot. The odd stride spreads the first lines of slots over the cache. Three for
 * each source port: the more of many mixed flows leave together, the fewer are the calls and the messages.
 */
export const FRAME_MAX_BYTES = 65600;
export const FRAME_HEADROOM_BYTES = 64;
export const FRAME_SLOT_BYTES = 67648;
export const FRAME_SLOT_COUNT = 192;
export const ENCAP_ARENA_OFFSET = INJECT_BUFFERS_OFFSET + INJECT_BUFFERS_BYTES;
export const ENCAP_ARENA_BYTES = FRAME_SLOT_COUNT * FRAME_SLOT_BYTES;
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
/** State of a walk that stopped because the writes ran out. */
export const DECAP_STATE_OFFSET = RECEIPTS_OFFSET + RECEIPTS_BYTES;
export const DECAP_STATE_BYTES = 256;
/** u32s: message and byte at hand, writes in use, listener, flows open. */
export const DECAP_MESSAGE_OFFSET = 0;
export const DECAP_POSITION_OFFSET = 4;
export const DECAP_WRITES_USED_OFFSET = 8;
export const DECAP_FLOWS_USED_OFFSET = 12;
/** u32: 1 = the batch has trains of datagrams. */
export const DECAP_TRAINS_OFFSET = 16;
/** As ENCAP_WARM. */
export const DECAP_WARM_OFFSET = 20;
/** u32s: records that wait for verdicts; writes that are kept for them; bytes of their frames; mirror bytes in use. */
export const DECAP_PARKED_OFFSET = 24;
export const DECAP_KEPT_OFFSET = 28;
export const DECAP_PARKED_BYTES_OFFSET = 32;
export const DECAP_MIRROR_USED_OFFSET = 36;
/** u32: 1 = the walk goes on behind the verdicts, and frames may join its writes: they are not to be taken yet. */
export const DECAP_GOES_ON_OFFSET = 40;

/** The most bytes of an IP packet without jumbograms. */
export const IP_LENGTH_MAX = 65535;

/** Writes: one writev to a TAP each. The walk takes the first half; a mirrored frame may need one more. */
export const WRITE_COUNT = 256;
export const WRITE_ROOM = 2 * WRITE_COUNT;
export const WRITE_BYTES = 128;
export const WRITES_OFFSET = DECAP_STATE_OFFSET + DECAP_STATE_BYTES;
export const WRITES_BYTES = WRITE_ROOM * WRITE_BYTES;
/** u16s: domain, device, which are found and compared as one; u32s: iovecs, bytes with the virtio header; then that. */
export const WRITE_PLACE_OFFSET = 0;
export const WRITE_DEVICE_OFFSET = 2;
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
/** u32: bits WRITE_OPEN, WRITE_VERIFIED, WRITE_IPV6, WRITE_UDP, WRITE_FIXED_ID */
export const WRITE_FLAGS_OFFSET = 60;
export const WRITE_OPEN = 1;
export const WRITE_VERIFIED = 2;
export const WRITE_IPV6 = 4;
/** A train of datagrams, and one whose IPv4 ids do not count up. */
export const WRITE_UDP = 8;
export const WRITE_FIXED_ID = 16;
/** iovecs of a write: virtio header, first frame, then a payload for each segment merged into it. */
export const WRITE_IOVEC_MAX = 68;
export const WRITE_IOVECS_BASE_OFFSET = WRITES_OFFSET + WRITES_BYTES;
export const WRITE_IOVECS_BYTES = WRITE_ROOM * WRITE_IOVEC_MAX * IOVEC_BYTES;
/** Flows that may have an unfinished super-frame at a time: u32 write index + 1 each. */
export const FLOW_COUNT = 16;
export const FLOWS_OFFSET = WRITE_IOVECS_BASE_OFFSET + WRITE_IOVECS_BYTES;
export const FLOWS_BYTES = FLOW_COUNT * 4;
/** Trains of UDP datagrams that may be open at a time, by hash of the flow: u32 write index of the first datagram. */
export const TRAIN_COUNT = 64;
/** 32 less the bits of TRAIN_COUNT */
export const TRAIN_SHIFT = 26;
/** UDP_GRO_CNT_MAX of Linux, and the most segments that a kernel before 6.9 cuts one frame into. */
export const TRAIN_LONGEST = 64;
export const TRAINS_OFFSET = FLOWS_OFFSET + FLOWS_BYTES;
export const TRAINS_BYTES = TRAIN_COUNT * 4;
/**
 * Arrivals: datagrams that a program hands over itself, wherever they lie in the receive buffers: struct sockaddr of the
 * sender; u32s: address and bytes; u8s: listener, outer TOS; u16: segment.
 */
export const ARRIVAL_COUNT = WRITE_COUNT;
export const ARRIVAL_BYTES = 64;
export const ARRIVALS_OFFSET = TRAINS_OFFSET + TRAINS_BYTES;
export const ARRIVALS_BYTES = ARRIVAL_COUNT * ARRIVAL_BYTES;
export const ARRIVAL_NAME_OFFSET = 0;
export const ARRIVAL_ADDRESS_OFFSET = 32;
export const ARRIVAL_LENGTH_OFFSET = 36;
export const ARRIVAL_LISTENER_OFFSET = 40;
export const ARRIVAL_TOS_OFFSET = 41;
/** u16: bytes of each datagram, where several lie one behind the other; the last one may be shorter. 0 = it is one */
export const ARRIVAL_SEGMENT_OFFSET = 42;
/** Receive buffers, last, beside the records of hooks: whole UDP_GRO bundles and a kernel peer's super-frames. The odd stride spreads their first lines over the cache. */
export const RECEIVE_BUFFER_BYTES = 65536;
export const RECEIVE_STRIDE_BYTES = 67648;
export const RECEIVE_BUFFERS_OFFSET = ARRIVALS_OFFSET + ARRIVALS_BYTES;
export const RECEIVE_BUFFERS_BYTES = RECEIVE_COUNT * RECEIVE_STRIDE_BYTES;
export const DECAP_BYTES = RECEIVE_BUFFERS_OFFSET + RECEIVE_BUFFERS_BYTES;

/*
 * Hooks (assembly/hook.ts), at the same place in either kind of block. A program is given the address of its first
 * record. The records lie behind the memory of frames (ENCAP_ARENA, RECEIVE_BUFFERS) with nothing of the engine's
 * between: from there to the end of the records a program may write; what it writes is looked at before it is used.
 */
export const HOOK_RECORD_COUNT = 256;
export const HOOK_RECORD_BYTES = 64;
export const HOOK_RECORDS_OFFSET = 15728640;
export const HOOK_RECORDS_BYTES = HOOK_RECORD_COUNT * HOOK_RECORD_BYTES;
/**
 * Behind the records, nobody's: an address that was found to lie in a program's memory may be followed by accesses up to
 * this far behind it (src/dataplane/hook-guard.ts).
 */
export const HOOK_FENCE_BYTES = 256;
export const HOOK_FENCE_OFFSET = HOOK_RECORDS_OFFSET + HOOK_RECORDS_BYTES;
/** Where the memory that a program may write begins, by direction, and where it ends. */
export const HOOK_WINDOW_ENCAP_OFFSET = ENCAP_ARENA_OFFSET;
export const HOOK_WINDOW_DECAP_OFFSET = RECEIVE_BUFFERS_OFFSET;
export const HOOK_WINDOW_END_OFFSET = HOOK_RECORDS_OFFSET + HOOK_RECORDS_BYTES;
/** u32s, which the program may change within HOOK_RECORD_ROOM: address of the frame's first byte, its bytes. */
export const HOOK_RECORD_ADDRESS_OFFSET = 0;
export const HOOK_RECORD_LENGTH_OFFSET = 4;
/** u32, the program's: HOOK_PASS, HOOK_DROP or HOOK_REDIRECT, and HOOK_MIRROR or not; HOOK_UNDECIDED when it is called. */
export const HOOK_RECORD_VERDICT_OFFSET = 8;
export const HOOK_PASS = 0;
export const HOOK_DROP = 1;
export const HOOK_REDIRECT = 2;
/** The host's: the program failed before it decided. */
export const HOOK_FAULT = 3;
/** The host's: the program has been stopped, and nothing is to pass without it. */
export const HOOK_STOPPED = 4;
/** As HOOK_PASS when the program returns, HOOK_FAULT when it fails. */
export const HOOK_UNDECIDED = 255;
export const HOOK_MIRROR = 256;
/** u32s, the program's: device number that HOOK_REDIRECT and HOOK_MIRROR go to, with HOOK_TARGET_TUNNEL: into its tunnel; else out of its port. */
export const HOOK_RECORD_TARGET_OFFSET = 12;
export const HOOK_RECORD_MIRROR_OFFSET = 16;
export const HOOK_TARGET_TUNNEL = 65536;
/** What follows is told, and not read back. u16s: device; where the IP header begins, from the address, 0 = not IP */
export const HOOK_RECORD_DEVICE_OFFSET = 20;
export const HOOK_RECORD_L3_OFFSET = 22;
/** u32: VNI that it came with, or goes out under as it is */
export const HOOK_RECORD_VNI_OFFSET = 24;
/** u16: HOOK_FLAG_* */
export const HOOK_RECORD_FLAGS_OFFSET = 28;
/** Encap; else decap. */
export const HOOK_FLAG_ENCAP = 1;
/** Checksum of TCP or UDP not finished: it is the pseudo header's sum, and stays that. */
export const HOOK_FLAG_PARTIAL = 2;
/** Will be cut into segments. */
export const HOOK_FLAG_SUPER = 4;
/** Of a GPE device: an IP packet, no Ethernet header before it; l3 is 0. */
export const HOOK_FLAG_PACKET = 8;
/** u8s, decap: outer TOS; family of the sender, AF_INET or AF_INET6; 0 on encap */
export const HOOK_RECORD_TOS_OFFSET = 30;
export const HOOK_RECORD_FAMILY_OFFSET = 31;
/** u32s: addresses that the frame may begin at, and must end before or at */
export const HOOK_RECORD_ROOM_OFFSET = 32;
export const HOOK_RECORD_ROOM_END_OFFSET = 36;
/** u32, decap: first word of the VXLAN header as a number */
export const HOOK_RECORD_WORD_OFFSET = 40;
/** 16 bytes, decap: the sender's address, an IPv4 address in the first four, the rest zero */
export const HOOK_RECORD_SENDER_OFFSET = 48;
/** Headroom that a program has: behind it the engine needs its own. */
export const HOOK_ROOM_ENCAP_BYTES = 32;
export const HOOK_ROOM_DECAP_BYTES = 4;

/** What the engine knows of each record, out of the program's reach. */
export const HOOK_PARKED_BYTES = 32;
export const HOOK_PARKEDS_OFFSET = HOOK_FENCE_OFFSET + HOOK_FENCE_BYTES;
export const HOOK_PARKEDS_BYTES = HOOK_RECORD_COUNT * HOOK_PARKED_BYTES;
/** u32s: place as in a write; segment size that the socket reported; address, length; 1 = has been mirrored; 10 bytes: virtio header */
export const HOOK_PARKED_PLACE_OFFSET = 0;
export const HOOK_PARKED_GSO_OFFSET = 4;
export const HOOK_PARKED_ADDRESS_OFFSET = 8;
export const HOOK_PARKED_LENGTH_OFFSET = 12;
export const HOOK_PARKED_MIRRORED_OFFSET = 16;
export const HOOK_PARKED_VIRTIO_OFFSET = 20;

/** DESCRIPTOR_HOOK: number + 1 of the record; else: it goes its way; it is gone; it lies in a receive buffer, whose bytes before it are borrowed for the first two of a virtio header, in the low 16 bits. */
export const HOOK_WORD_GOES = 65536;
export const HOOK_WORD_GONE = 131072;
export const HOOK_WORD_BORROWED = 262144;

/** Copies of mirrored frames, each behind HOOK_MIRROR_HEADROOM_BYTES. */
export const HOOK_MIRRORS_OFFSET = HOOK_PARKEDS_OFFSET + HOOK_PARKEDS_BYTES;
export const HOOK_MIRRORS_BYTES = 1023744;
export const HOOK_MIRROR_HEADROOM_BYTES = 64;

/** Memory of the programs themselves, which they see at 0: an area for each that is loaded, two while one is being replaced. */
export const HOOK_AREA_BYTES = 65536;
export const HOOK_AREA_COUNT = 16;
export const HOOK_AREAS_OFFSET = HOOK_MIRRORS_OFFSET + HOOK_MIRRORS_BYTES;
export const HOOK_AREAS_BYTES = HOOK_AREA_COUNT * HOOK_AREA_BYTES;

/** Room for either kind, in whole pages. */
export const WORKER_BYTES = 17825792;
/** Blocks: of each queue one for encap, one for decap, one for what decap's hooks redirect into tunnels. */
export const WORKER_MAX = 24;

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
/** An external device has no VNI for the frame's VLAN. */
export const DROP_UNMAPPED_VLAN = 44;
/** An MDB entry matched and has no remote for it. */
export const DROP_MDB_NO_REMOTE = 45;
/** The nexthop group has no member. */
export const DROP_NO_NEXTHOP = 46;
/** The route to the remote leads back into the device. */
export const DROP_ROUTE_LOOP = 47;
/** The remote is this host, and no device here has that VNI and port. */
export const DROP_UNKNOWN_LOCAL_VNI = 48;
/** A proxied ARP or ND request that is too short. */
export const DROP_SHORT_REQUEST = 49;
/** A GPE device can't say what this packet is. */
export const DROP_UNKNOWN_PROTOCOL = 50;
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
/** GPE: no next protocol, another version, OAM, or a protocol that is not known. */
export const DROP_GPE_HEADER = 29;
/** GPE: a protocol that a TUN can't carry. */
export const DROP_GPE_PROTOCOL = 30;
/** Remote checksum offload: the checksum's place is behind the end. */
export const DROP_SHORT_REMCSUM = 31;
/** Group policy: the id is refused here. */
export const DROP_POLICY = 51;
/** External device with a VLAN map: the VNI is on none of its VLANs. */
export const DROP_UNMAPPED_VNI = 59;
/** The device takes datagrams of known senders only, and this is none. */
export const DROP_UNKNOWN_SENDER = 60;
/** The device takes frames of known peers only: the MAC is no peer's; or it comes from another address; or from outside its prefixes. */
export const DROP_UNKNOWN_PEER = 63;
export const DROP_PEER_ADDRESS = 64;
export const DROP_PEER_SUBNET = 65;
// Hooks, encap: dropped by the program; it failed, or wrote what can't be; what it redirects to is gone, down or of another kind.
export const DROP_HOOK = 66;
export const DROP_HOOK_FAULT = 67;
export const DROP_HOOK_TARGET = 68;
// The same on decap; and there was no room on the way into another device's tunnel.
export const DROP_HOOK_RECEIVED = 69;
export const DROP_HOOK_FAULT_RECEIVED = 70;
export const DROP_HOOK_TARGET_RECEIVED = 71;
export const DROP_HOOK_FORWARD = 72;
// The program of a hook that lets nothing pass without it has been stopped: encap, decap.
export const DROP_HOOK_STOPPED = 79;
export const DROP_HOOK_STOPPED_RECEIVED = 80;
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
/** ARP and ND requests that were answered, and that were swallowed without an answer. */
export const PROXY_REPLIES = 52;
export const PROXY_SWALLOWED = 53;
/** Frames that were too big for the path and answered with ICMP. */
export const TOO_BIG_REPLIES = 54;
export const L2_MISSES = 55;
export const L3_MISSES = 56;
/** Frames that went straight to another device of this host. */
export const LOCAL_BYPASSES = 57;
/** Frames that were routed between subnets without a router (rsc). */
export const ROUTE_SHORT_CIRCUITS = 58;
/** Super-frames that left whole, and those that were split after all because the kernel refused them. */
export const SUPER_FRAMES_WHOLE = 61;
export const SUPER_FRAMES_REFUSED = 62;
/** Frames that hooks redirected, and copies that they had made: on encap, on decap; copies that found no room or no target. */
export const HOOK_REDIRECTS = 73;
export const HOOK_REDIRECTS_RECEIVED = 74;
export const HOOK_MIRRORS = 75;
export const HOOK_MIRRORS_RECEIVED = 76;
export const HOOK_MIRRORS_LOST = 77;
/** Frames that were not learned from because the table was being written to. */
export const FDB_BUSY = 78;
