// SPDX-License-Identifier: Apache-2.0
// Hash -> entry references, ordered by hash, growing a little at a time.
//
//   hash   | directory bits | position x (32 bits)                     | rest |
//                             | home bucket = x * buckets >> 32  ...   |
//                             | 4 bits | tag 8 bits |
//
//   directory[top bits] -> segment of 1..33 buckets -> bucket: one line of 12 tags and 12 references
//
// The first bits choose a segment, the following ones a bucket by multiplication, which keeps the order of hashes for any number
// of buckets: so a segment grows by one step of a slot class (6 to 12 %), a scan's cursor is a place in hash order, and load stays
// between 0.8 and 0.92. A full segment splits in two, which reads its keys: no operation reads or moves more than 364 of them, and the
// directory costs 0.04 bytes an entry.
//
// A full bucket's entries go on into the next one (around the segment's end). Each bucket passed counts them in `passed`, so a
// lookup stops at the first bucket that nobody passed: nearly always the first.
//
// The tag is the 8 bits of x behind its first 4. With 16 buckets or more, bucket and tag together give x to 12 bits, which is
// enough to find nearly all entries' new bucket in a larger segment without reading their keys.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "base/assert.h"
#include "base/bytes.h"
#include "base/prefetch.h"
#include "base/slice.h"
#include "engine/store/entry.h"
#include "engine/store/slab.h"

#define BUCKET_SLOTS    12u
#define BUCKET_FULL     0xfffu
#define BUCKET_PASSED   255u // a count that stays
#define SEGMENT_MAX     33u  // buckets: fill a slot class exactly
#define INDEX_DEPTH_MAX 30u
#define TAG_SHIFT       20u // of x

struct bucket {
    uint8_t tags[BUCKET_SLOTS];
    uint32_t taken : 12; // bit i: slot i holds an entry
    uint32_t away : 12;  // and that entry is at home in a bucket before
    uint32_t passed : 8; // entries of this bucket or those before that had to go on behind it, BUCKET_PASSED = at least
    uint32_t refs[BUCKET_SLOTS];
};
static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");

// The directory repeats a segment for each value of the bits that it does not look at; `count` is kept in the first.
struct segment {
    uint32_t ref;    // of the buckets
    uint8_t depth;   // directory bits that it looks at
    uint8_t buckets; // 1..SEGMENT_MAX
    uint16_t count;
};
static_assert(sizeof(struct segment) == 8, "eight segments a line");

struct directory {
    struct directory *next; // among those waiting to be freed
    uint64_t at;            // how far the freeing is
    uint32_t bucket;        // and in its segment
    uint8_t depth;
    struct segment segments[];
};

struct index_hasher; // how to get an entry's hash back

struct index {
    struct directory *directory; // NULL while empty
    uint64_t count;
    uint64_t segments;
    struct directory *ahead; // the directory of twice the size, filled before it is needed; NULL = not begun
    size_t ahead_slots;      // of `directory` that are in it
};

// Where an entry is.
struct spot {
    struct bucket *bucket; // NULL: nowhere
    uint32_t slot;
};

typedef uint64_t index_hash_fn(const void *context, const struct entry *e);

// What operations did beside finding their key, since the store was made.
struct index_work {
    uint64_t keys;   // read for their hash, or entries released
    uint64_t moved;  // references put elsewhere
    uint64_t places; // of directories copied
};

// What all indexes of a store share.
struct index_world {
    struct slabs slabs;
    index_hash_fn *hash;
    const void *hash_context;
    uint64_t directory_bytes; // of directories with pages of their own
    struct index_work work;
};

// Room for one more entry with this hash. -ENOMEM: nothing changed.
int index_make_room(struct index_world *w, struct index *ix, uint64_t hash) warn_unused;
// After index_make_room.
void index_insert(struct index_world *w, struct index *ix, uint64_t hash, uint32_t ref);
void index_remove(struct index_world *w, struct index *ix, uint64_t hash, struct spot spot);
struct spot index_find_ref(const struct index_world *w, const struct index *ix, uint64_t hash, uint32_t ref);
// Takes all away; the directory is the caller's to free with index_free_some.
struct directory *index_detach(struct index_world *w, struct index *ix);

// Frees segments with their entries, until `budget` is used up; `release` is called for each entry. True: all is gone.
typedef void index_release_fn(void *context, uint32_t ref);
bool index_free_some(struct index_world *w, struct directory *d, uint32_t *budget, index_release_fn *release, void *context);

// Calls `visit` for entries at or behind position `from` (the upper 48 bits of the hash) bucket by bucket until `count` entries or
// buckets were seen. Returns the position to go on from, 0 at the end.
typedef void index_visit_fn(void *context, uint32_t ref);
uint64_t index_scan(const struct index_world *w, const struct index *ix, uint64_t from, uint32_t count, index_visit_fn *visit,
                    void *context);

// Calls `visit` for the entries at home in the bucket of hash `from` whose hashes are not below it: exactly those in [from, next), next
// being returned; 0: the end.
typedef void index_walk_fn(void *context, uint64_t hash, uint32_t ref);
uint64_t index_walk(const struct index_world *w, const struct index *ix, uint64_t from, index_walk_fn *visit, void *context);

// The entry at a place drawn by `random` (64 random bits): every place of a segment is as likely as any other, every segment as
// likely as its share of the hashes, and segments are nearly equally full. 0 = nobody is there.
uint32_t index_random(const struct index_world *w, const struct index *ix, uint64_t random);

// Walks everything and checks the invariants; for audits.
bool index_valid(const struct index_world *w, const struct index *ix);

// The hot path

#if defined(__SSE2__)
static inline uint32_t bucket_match(const struct bucket *b, uint8_t tag)
{
    __m128i line = _mm_load_si128((const __m128i *)(const void *)b);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(line, _mm_set1_epi8((char)tag))) & b->taken;
}
#elif defined(__ARM_NEON)
static inline uint32_t bucket_match(const struct bucket *b, uint8_t tag)
{
    static const uint8_t BITS[16] = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128 };
    uint8x16_t same = vandq_u8(vceqq_u8(vld1q_u8(b->tags), vdupq_n_u8(tag)), vld1q_u8(BITS));
    return ((uint32_t)vaddv_u8(vget_low_u8(same)) | (uint32_t)vaddv_u8(vget_high_u8(same)) << 8) & b->taken;
}
#else
static inline uint32_t bucket_match(const struct bucket *b, uint8_t tag)
{
    uint32_t match = 0;
    for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
        match |= (uint32_t)(b->tags[i] == tag) << i;
    return match & b->taken;
}
#endif

// Keys are short: two or three loads tell, where a call of memcmp costs more than that.
static inline bool keys_same_other(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len < 8) {
        if (len >= 4)
            return load_u32(a) == load_u32(b) && load_u32(a + len - 4) == load_u32(b + len - 4);
        for (size_t i = 0; i < len; i++) {
            if (a[i] != b[i])
                return false;
        }
        return true;
    }
    for (size_t i = 0; i + 8 < len; i += 8) {
        if (load_u64(a + i) != load_u64(b + i))
            return false;
    }
    return load_u64(a + len - 8) == load_u64(b + len - 8);
}

// Of 8 to 16 bytes, most of them: without a branch.
static inline __attribute__((__always_inline__)) bool keys_same(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (likely(len - 8 <= 8))
        return ((load_u64(a) ^ load_u64(b)) | (load_u64(a + len - 8) ^ load_u64(b + len - 8))) == 0;
    return keys_same_other(a, b, len);
}

// Of 8 to 16 bytes.
#if defined(__SSE2__)
static inline __m128i key_block(const uint8_t *p, size_t len)
{
    return _mm_unpacklo_epi64(_mm_loadu_si64(p), _mm_loadu_si64(p + len - 8));
}

// In the vector unit, so that what waits for the entry's line takes little room where addresses are computed.
static inline __attribute__((__always_inline__)) bool keys_same_short(const uint8_t *a, const uint8_t *b, size_t len)
{
    return _mm_movemask_epi8(_mm_cmpeq_epi8(key_block(a, len), key_block(b, len))) == 0xffff;
}
#else
static inline __attribute__((__always_inline__)) bool keys_same_short(const uint8_t *a, const uint8_t *b, size_t len)
{
    return ((load_u64(a) ^ load_u64(b)) | (load_u64(a + len - 8) ^ load_u64(b + len - 8))) == 0;
}
#endif

static inline size_t directory_slot(const struct directory *d, uint64_t hash)
{
    return (size_t)(hash >> 1 >> (63 - d->depth));
}

static inline uint32_t segment_position(const struct segment *s, uint64_t hash)
{
    return (uint32_t)(hash << s->depth >> 32);
}

static inline uint32_t segment_home(const struct segment *s, uint32_t x)
{
    return (uint32_t)((uint64_t)x * s->buckets >> 32);
}

static inline uint8_t segment_tag(uint32_t x)
{
    return (uint8_t)(x >> TAG_SHIFT);
}

static inline struct bucket *index_home(const struct index_world *w, const struct index *ix, uint64_t hash)
{
    const struct segment *s = &ix->directory->segments[directory_slot(ix->directory, hash)];
    return (struct bucket *)arena_at(&w->slabs.arena, s->ref) + segment_home(s, segment_position(s, hash));
}

// Where a lookup goes on when the home bucket has been passed: 60 % of what is not at home is in the next bucket, 90 % in the next three.
static inline void index_prefetch_beyond(const struct bucket *home)
{
    prefetch(home + 1); // beyond the segment's last one lies something else, and nothing is lost
    prefetch(home + 2);
    prefetch(home + 3);
}

static inline uint8_t index_tag(const struct index *ix, uint64_t hash)
{
    return segment_tag(segment_position(&ix->directory->segments[directory_slot(ix->directory, hash)], hash));
}

// Is it the key's? Entries with one byte of key length and nothing between lengths and key, as nearly all are, take no call.
static inline bool entry_is(const struct entry *e, struct slice key)
{
    if (likely((e->head & (ENTRY_HEAD_DEADLINE | ENTRY_HEAD_RECENCY | (ENTRY_LONG << 4))) == 0)) {
        if (e->rest[0] != key.len)
            return false;
        return likely(keys_same((const uint8_t *)e + ENTRY_LENGTHS_LEN[entry_form(e)], key.data, key.len));
    }
    struct slice have = entry_key(e);
    return have.len == key.len && keys_same(have.data, key.data, key.len);
}

// Cost when found at home: the directory's line (cached), the bucket's line, the entry's line.
static inline struct spot index_find(const struct index_world *w, const struct index *ix, uint64_t hash, struct slice key)
{
    if (unlikely(ix->directory == NULL))
        return (struct spot){ 0 };
    const struct segment *s = &ix->directory->segments[directory_slot(ix->directory, hash)];
    struct bucket *buckets = arena_at(&w->slabs.arena, s->ref);
    uint32_t x = segment_position(s, hash);
    uint32_t at = segment_home(s, x);
    uint8_t tag = segment_tag(x);
    for (uint32_t tries = s->buckets; tries > 0; tries--) {
        struct bucket *b = &buckets[at];
        for (uint32_t match = bucket_match(b, tag); match != 0; match &= match - 1) {
            uint32_t slot = (uint32_t)__builtin_ctz(match);
            if (likely(entry_is(arena_at(&w->slabs.arena, b->refs[slot]), key)))
                return (struct spot){ .bucket = b, .slot = slot };
        }
        if (likely(b->passed == 0))
            break;
        at = at + 1 == s->buckets ? 0 : at + 1;
    }
    return (struct spot){ 0 };
}
