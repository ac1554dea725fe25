/*
 * The hot kernels once more, in plain C, on the same bytes: what assembly/ does in WASM, as a C program would be
 * written. `m` is where the engine's memory lies, numbers are its addresses; what the layout says comes from the
 * command line as -D. Each function does the whole batch, as bench/native/kernels.ts does.
 *
 *   cc -O3 -shared -fPIC -D... kernels.c
 */
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define EXPORT __attribute__((visibility("default")))

static inline u16 get16(const u8 *p) { u16 v; memcpy(&v, p, 2); return v; }
static inline u32 get32(const u8 *p) { u32 v; memcpy(&v, p, 4); return v; }
static inline u64 get64(const u8 *p) { u64 v; memcpy(&v, p, 8); return v; }
static inline void put32(u8 *p, u32 v) { memcpy(p, &v, 4); }
static inline void put64(u8 *p, u64 v) { memcpy(p, &v, 8); }
/* Readers of the FDB take no lock; on x86-64 an acquiring load is a plain one. */
static inline u32 acquire32(const u8 *p) { return __atomic_load_n((const u32 *)p, __ATOMIC_ACQUIRE); }
static inline u64 acquire64(const u8 *p) { return __atomic_load_n((const u64 *)p, __ATOMIC_ACQUIRE); }

/* ---------------------------------------------------------------- checksum */

static u32 fold(u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return (u32)((sum & 0xffff) + (sum >> 16));
}

/* 16-bit words into a 32-bit sum: the form that compilers make vectors of. */
static u32 checksum(const u8 *p, u32 bytes) {
  u32 sum = 0;
  u32 words = bytes >> 1;
  for (u32 i = 0; i < words; i++) sum += get16(p + 2 * i);
  if (bytes & 1) sum += p[bytes - 1];
  return fold(sum);
}

EXPORT u32 checksum_batch(u8 *m, u32 at, u32 bytes, u32 stride, u32 count) {
  u32 result = 0;
  for (u32 i = 0; i < count; i++) result += checksum(m + at + i * stride, bytes);
  return result;
}

/* --------------------------------------------------------------------- FDB */

static inline u64 key_of(u32 domain, const u8 *mac) {
  return (get64(mac) & 0xffffffffffff) | (u64)domain << 48;
}

static inline u64 hash_of(const u8 *m, u64 key) {
  u64 seed = get32(m + HEADER_BASE + HEADER_HASH_SEED_OFFSET);
  u64 hash = (key ^ seed << 16 ^ seed) * 0x9e3779b97f4a7c15;
  return (hash ^ hash >> 32) * 0xd6e8feb86659fd93;
}

static inline u32 home_of(u64 hash) { return (hash >> 32) * FDB_BUCKET_COUNT >> 32; }
static inline u32 tag_of(u64 hash) { return ((u32)hash & ~(u32)FDB_SLOT_ENTRY_MASK) | 0x80000000; }
static inline u8 *record_of(u8 *m, int32_t entry) { return m + FDB_ENTRIES_BASE + (u64)entry * FDB_ENTRY_BYTES; }

#ifdef __SSE2__
/* The vectors that the engine has too: every x86-64 has them, and compilers don't find them by themselves. */
static inline __m128i tagged(const u8 *slots, __m128i tags) {
  __m128i mask = _mm_set1_epi32((int)~(u32)FDB_SLOT_ENTRY_MASK);
  return _mm_cmpeq_epi32(_mm_and_si128(_mm_loadu_si128((const __m128i *)slots), mask), tags);
}

static inline u32 slots_with(const u8 *line, u32 tag) {
  __m128i tags = _mm_set1_epi32((int)tag);
  __m128i first = _mm_packs_epi32(tagged(line, tags), tagged(line + 16, tags));
  __m128i second = _mm_packs_epi32(tagged(line + 32, tags), tagged(line + 48, tags));
  return (u32)_mm_movemask_epi8(_mm_packs_epi16(first, second)) & ~1u;
}
#else
static inline u32 slots_with(const u8 *line, u32 tag) {
  for (u32 i = 1; i < 16; i++)
    if ((get32(line + 4 * i) & ~(u32)FDB_SLOT_ENTRY_MASK) == tag) return 0xfffeu & ~0u << i;
  return 0;
}
#endif

static inline int32_t look_up(u8 *m, u64 key) {
  u64 hash = hash_of(m, key);
  u32 tag = tag_of(hash);
  u32 bucket = home_of(hash);
  for (u32 step = 1; step <= FDB_PROBE_BUCKETS; step++) {
    const u8 *line = m + FDB_BUCKETS_BASE + (u64)bucket * FDB_BUCKET_BYTES;
    for (u32 found = slots_with(line, tag); found; found &= found - 1) {
      int32_t entry = (get32(line + 4 * __builtin_ctz(found)) & FDB_SLOT_ENTRY_MASK) - 1;
      if (entry >= 0 && acquire64(record_of(m, entry) + FDB_KEY_OFFSET) == key) return entry;
    }
    if (get32(line) == 0) return -1;
    bucket += step;
    if (bucket >= FDB_BUCKET_COUNT) bucket -= FDB_BUCKET_COUNT;
  }
  return -1;
}

EXPORT u32 look_up_batch(u8 *m, u32 domain, u32 macs, u32 count) {
  u32 result = 0;
  for (u32 i = 0; i < count; i++) result += (u32)look_up(m, key_of(domain, m + macs + 8 * i));
  return result;
}

/* The first remote of an entry, as it was at one moment. */
static inline u32 collect(u8 *m, int32_t entry, u64 key, u8 *into) {
  const u8 *record = record_of(m, entry);
  for (u32 spin = 0; spin < 1 << 22; spin++) {
    u32 version = acquire32(record + FDB_VERSION_OFFSET);
    if (acquire64(record + FDB_KEY_OFFSET) != key) return 0;
    if (version & 1) continue;
    u32 count = __atomic_load_n((const u16 *)(record + FDB_REMOTES_OFFSET), __ATOMIC_ACQUIRE);
    for (int i = 0; i < 32; i += 8) put64(into + i, acquire64(record + FDB_REMOTE_OFFSET + i));
    if (acquire32(record + FDB_VERSION_OFFSET) == version) return count;
  }
  return 0;
}

/* Frames side by side: where to, and the eight bytes in front. */
EXPORT u32 header_batch(u8 *m, u32 domain, u32 vni, u32 frames, u32 stride, u32 count, u32 into) {
  u32 result = 0;
  for (u32 i = 0; i < count; i++) {
    u8 *frame = m + frames + i * stride;
    u64 key = key_of(domain, frame);
    int32_t entry = look_up(m, key);
    if (entry < 0) continue;
    result += collect(m, entry, key, m + into + i * 32);
    put32(frame - 8, __builtin_bswap32(0x08000000));
    put32(frame - 4, __builtin_bswap32(vni << 8));
  }
  return result;
}

/* New entries with one IPv4 remote, each under the lock: what learning does. */
EXPORT u32 insert_batch(u8 *m, u32 domain, u32 macs, u32 count, u32 now) {
  u8 *header = m + HEADER_BASE;
  u8 *device = m + DEVICES_BASE + get32(m + DOMAINS_BASE + domain * DOMAIN_BYTES) * DEVICE_BYTES;
  for (u32 i = 0; i < count; i++) {
    u64 key = key_of(domain, m + macs + 8 * i);
    if (look_up(m, key) >= 0) continue;
    u32 unlocked = 0;
    if (!__atomic_compare_exchange_n((u32 *)(header + HEADER_FDB_LOCK_OFFSET), &unlocked, 1, 0, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
      return i;
    if (look_up(m, key) >= 0) return i;
    u32 limit = get32(device + DEVICE_FDB_LIMIT_OFFSET);
    if (limit && get32(device + DEVICE_FDB_COUNT_OFFSET) >= limit) return i;
    u32 entry = get32(header + HEADER_FDB_FRESH_OFFSET);
    if (entry >= FDB_CAPACITY) return i;
    u64 hash = hash_of(m, key);
    u32 bucket = home_of(hash);
    u8 *line = m + FDB_BUCKETS_BASE + (u64)bucket * FDB_BUCKET_BYTES;
    u32 free = slots_with(line, 0);
    for (u32 step = 1; !free; step++) {
      put32(line, get32(line) + 1);
      bucket += step;
      if (bucket >= FDB_BUCKET_COUNT) bucket -= FDB_BUCKET_COUNT;
      line = m + FDB_BUCKETS_BASE + (u64)bucket * FDB_BUCKET_BYTES;
      free = slots_with(line, 0);
    }
    u8 *record = record_of(m, entry);
    u32 odd = get32(record + FDB_VERSION_OFFSET) | 1;
    __atomic_store_n((u32 *)(record + FDB_VERSION_OFFSET), odd, __ATOMIC_SEQ_CST);
    put32(record + FDB_STATE_OFFSET, 2 | 2 << 16);
    put32(record + FDB_USED_OFFSET, now);
    put32(record + FDB_UPDATED_OFFSET, now);
    u8 *remote = record + FDB_REMOTE_OFFSET;
    memset(remote, 0, 32);
    remote[2] = 1;
    put32(remote + 8, 0xffffffff);
    remote[14] = 2;
    put32(remote + 16, i);
    put32(header + HEADER_FDB_FRESH_OFFSET, entry + 1);
    u32 created = get32(header + HEADER_FDB_CREATED_OFFSET) + 1;
    put32(header + HEADER_FDB_CREATED_OFFSET, created);
    put32(m + FDB_CREATIONS_BASE + entry * 4, created);
    put32(header + HEADER_FDB_COUNT_OFFSET, get32(header + HEADER_FDB_COUNT_OFFSET) + 1);
    put32(device + DEVICE_FDB_COUNT_OFFSET, get32(device + DEVICE_FDB_COUNT_OFFSET) + 1);
    __atomic_store_n((u64 *)(record + FDB_KEY_OFFSET), key, __ATOMIC_SEQ_CST);
    __atomic_store_n((u32 *)(record + FDB_VERSION_OFFSET), odd + 1, __ATOMIC_SEQ_CST);
    __atomic_store_n((u32 *)(line + 4 * __builtin_ctz(free)), tag_of(hash) | (entry + 1), __ATOMIC_SEQ_CST);
    __atomic_store_n((u32 *)(header + HEADER_FDB_LOCK_OFFSET), 0, __ATOMIC_SEQ_CST);
  }
  return count;
}

/* --------------------------------------------------------------- flow hash */

static inline u32 stir(u32 state, u32 word) {
  u32 mixed = (state ^ word) * 0x9e3779b1;
  return mixed ^ mixed >> 15;
}

static inline u32 scramble(u32 state) {
  state = (state ^ state >> 16) * 0x85ebca6b;
  state = (state ^ state >> 13) * 0xc2b2ae35;
  return state ^ state >> 16;
}

static inline u32 big16(const u8 *p) { return __builtin_bswap16(get16(p)); }

static inline u32 join(u32 source, u32 destination, u32 ports, u32 protocol) {
  u32 ends = scramble(stir(source, ports & 0xffff)) + scramble(stir(destination, ports >> 16));
  return scramble(stir(ends, protocol));
}

static inline u32 stir_address(u32 state, const u8 *address) {
  for (int i = 0; i < 16; i += 4) state = stir(state, get32(address + i));
  return state;
}

static inline u32 ports_of(const u8 *ip, u32 at, u32 length, u32 protocol) {
  if (protocol != 6 && protocol != 17 && protocol != 132) return 0;
  return at + 4 <= length ? get32(ip + at) : 0;
}

static u32 flow_hash(const u8 *frame, u32 length, u32 seed) {
  if (length < 14) return scramble(stir(seed, 0));
  u32 offset = 14;
  for (int tags = 0; big16(frame + offset - 2) == 0x8100 || big16(frame + offset - 2) == 0x88a8; tags++) {
    if (tags == 7 || offset + 4 > length) {
      offset = 14;
      break;
    }
    offset += 4;
  }
  u32 type = big16(frame + offset - 2);
  const u8 *ip = frame + offset;
  u32 rest = length - offset;
  if (type == 0x0800 && rest >= 20) {
    u32 source = stir(seed, get32(ip + 12));
    u32 destination = stir(seed, get32(ip + 16));
    if (offset > 14) return join(source, destination, 0, 0);
    u32 bytes = (ip[0] & 15) * 4;
    if ((get16(ip + 6) & 0xff3f) != 0 || bytes < 20) return join(source, destination, 0, ip[9]);
    return join(source, destination, ports_of(ip, bytes, rest, ip[9]), ip[9]);
  }
  if (type == 0x86dd && rest >= 40) {
    u32 source = stir_address(seed, ip + 8);
    u32 destination = stir_address(seed, ip + 24);
    if (offset > 14) return join(source, destination, 0, 0);
    u32 protocol = ip[6];
    u32 at = 40;
    for (int i = 0; i < 6 && at + 8 <= rest; i++) {
      if (protocol == 44) return join(source, destination, 0, ip[at]);
      if (protocol != 0 && protocol != 43 && protocol != 60) break;
      protocol = ip[at];
      at += (ip[at + 1] + 1) * 8;
    }
    return join(source, destination, ports_of(ip, at, rest, protocol), protocol);
  }
  return scramble(stir(seed, type));
}

EXPORT u32 flow_batch(u8 *m, u32 frames, u32 length, u32 stride, u32 count, u32 seed) {
  u32 result = 0;
  for (u32 i = 0; i < count; i++) result += flow_hash(m + frames + i * stride, length, seed);
  return result;
}
