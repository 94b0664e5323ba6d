// SPDX-License-Identifier: Apache-2.0
// Invariants, for each segment: count = bits set in all `taken`; an entry with home h in bucket b passed exactly the buckets
// h..b-1; a bucket's `passed` is the number of entries that passed it (or BUCKET_PASSED).
// Failure mode: no memory for a larger segment. Then it goes on filling beyond 0.92 to its last slot before an insert fails.
#include "engine/store/index.h"

#include <errno.h>
#include <string.h>

#define SEGMENT_ENTRIES (SEGMENT_MAX * BUCKET_SLOTS)
#define PREFETCH_AHEAD  16u
#define TAG_BUCKETS     16u
#define AHEAD_DEPTH_MIN 4u    // smaller directories are copied when the time comes
#define AHEAD_SLOTS     64u   // copied at each change of a segment's size: a segment changes it five times between two doublings
#define DIRECTORY_SLOT  2112u // bytes; larger ones have pages of their own: a slab of such slots would be mostly empty
#define SPLIT_SLACK     6u    // directory bits beyond the balanced depth before we take the hashes for hostile

static_assert(SEGMENT_MAX * sizeof(struct bucket) <= SLAB_SLOT_MAX, "a segment's buckets are one slot");

static uint32_t fill_limit(uint32_t buckets)
{
    return buckets * BUCKET_SLOTS * 92 / 100;
}

// The next number of buckets whose bytes fill a slot class exactly.
static uint32_t buckets_step(uint32_t buckets)
{
    uint32_t fits = slab_round(buckets * sizeof(struct bucket)) / (uint32_t)sizeof(struct bucket);
    return fits < SEGMENT_MAX ? fits : SEGMENT_MAX;
}

static uint32_t buckets_for(uint32_t count)
{
    uint32_t slots = count * 100 / 87 + 1;
    return buckets_step((slots + BUCKET_SLOTS - 1) / BUCKET_SLOTS);
}

static struct bucket *buckets_at(const struct index_world *w, uint32_t ref)
{
    return arena_at(&w->slabs.arena, ref);
}

static uint32_t buckets_new(struct index_world *w, uint32_t buckets)
{
    size_t bytes = buckets * sizeof(struct bucket);
    uint32_t ref = slab_take(&w->slabs, SLAB_INDEX, bytes);
    if (ref != 0)
        memset(buckets_at(w, ref), 0, bytes);
    return ref;
}

// The first of a segment's places in the directory.
static struct segment *segment_of(const struct index *ix, uint64_t hash)
{
    struct directory *d = ix->directory;
    size_t slot = directory_slot(d, hash);
    uint32_t repeat_bits = (uint32_t)(d->depth - d->segments[slot].depth);
    return &d->segments[slot >> repeat_bits << repeat_bits];
}

static void segment_store(struct index *ix, uint64_t hash, struct segment s)
{
    struct directory *d = ix->directory;
    uint32_t repeat_bits = (uint32_t)(d->depth - s.depth);
    size_t first = directory_slot(d, hash) >> repeat_bits << repeat_bits;
    for (size_t i = first; i < first + ((size_t)1 << repeat_bits); i++) {
        d->segments[i] = s;
        if (unlikely(i < ix->ahead_slots))
            ix->ahead->segments[2 * i] = ix->ahead->segments[2 * i + 1] = s;
    }
}

// Of the segment that begins at `s`: its count changed.
static inline void count_ahead(struct index *ix, const struct segment *s)
{
    size_t slot = (size_t)(s - ix->directory->segments);
    if (unlikely(slot < ix->ahead_slots))
        ix->ahead->segments[2 * slot].count = s->count;
}

static void place(struct bucket *buckets, uint32_t count, uint32_t home, uint8_t tag, uint32_t ref)
{
    uint32_t at = home;
    while (buckets[at].taken == BUCKET_FULL) {
        if (buckets[at].passed != BUCKET_PASSED)
            buckets[at].passed = (buckets[at].passed + 1u) & BUCKET_PASSED;
        at = at + 1 == count ? 0 : at + 1;
    }
    struct bucket *b = &buckets[at];
    uint32_t slot = (uint32_t)__builtin_ctz(~(uint32_t)b->taken);
    b->taken = (b->taken | 1u << slot) & BUCKET_FULL;
    b->away = (b->away | (uint32_t)(at != home) << slot) & BUCKET_FULL;
    b->tags[slot] = tag;
    b->refs[slot] = ref;
}

static void place_hash(const struct index_world *w, const struct segment *s, uint64_t hash, uint32_t ref)
{
    uint32_t x = segment_position(s, hash);
    place(buckets_at(w, s->ref), s->buckets, segment_home(s, x), segment_tag(x), ref);
}

// Directories

static size_t directory_size(uint32_t depth)
{
    return sizeof(struct directory) + (sizeof(struct segment) << depth);
}

static struct directory *directory_new(struct index_world *w, uint32_t depth)
{
    size_t size = directory_size(depth);
    struct directory *d;
    if (size <= DIRECTORY_SLOT) {
        uint32_t ref = slab_take(&w->slabs, SLAB_INDEX, size);
        if (ref == 0)
            return NULL;
        d = arena_at(&w->slabs.arena, ref);
    } else {
        struct memory *m = w->slabs.arena.memory;
        size = round_up(size, 4096);
        d = m->reserve(m, size, memory_align(size));
        if (d == NULL)
            return NULL;
        w->directory_bytes += size;
    }
    d->next = NULL;
    d->at = 0;
    d->bucket = 0;
    d->depth = (uint8_t)depth;
    return d;
}

static void directory_free(struct index_world *w, struct directory *d)
{
    size_t size = directory_size(d->depth);
    if (size <= DIRECTORY_SLOT) {
        slab_give(&w->slabs, arena_ref(&w->slabs.arena, d));
        return;
    }
    struct memory *m = w->slabs.arena.memory;
    size = round_up(size, 4096);
    w->directory_bytes -= size;
    m->release(m, d, size);
}

static void copy_ahead(struct index_world *w, struct index *ix, size_t slots)
{
    const struct directory *d = ix->directory;
    size_t end = ix->ahead_slots + slots, all = (size_t)1 << d->depth;
    end = end < all ? end : all;
    w->work.places += end - ix->ahead_slots;
    for (; ix->ahead_slots < end; ix->ahead_slots++) {
        size_t i = ix->ahead_slots;
        ix->ahead->segments[2 * i] = ix->ahead->segments[2 * i + 1] = d->segments[i];
    }
}

// When nearly all segments look at all bits, the next doubling is not far: a piece of it.
static void work_ahead(struct index_world *w, struct index *ix)
{
    uint64_t all = UINT64_C(1) << ix->directory->depth;
    if (ix->ahead == NULL) {
        if (ix->directory->depth < AHEAD_DEPTH_MIN || ix->directory->depth >= INDEX_DEPTH_MAX || ix->segments < all - all / 8)
            return;
        ix->ahead = directory_new(w, ix->directory->depth + 1u);
        if (ix->ahead == NULL)
            return;
    }
    copy_ahead(w, ix, AHEAD_SLOTS);
}

static void drop_ahead(struct index_world *w, struct index *ix)
{
    if (ix->ahead != NULL)
        directory_free(w, ix->ahead);
    ix->ahead = NULL;
    ix->ahead_slots = 0;
}

static int directory_double(struct index_world *w, struct index *ix)
{
    struct directory *old = ix->directory;
    if (old->depth >= INDEX_DEPTH_MAX || (UINT64_C(1) << old->depth) >= ix->segments << SPLIT_SLACK)
        return -ENOMEM;
    if (ix->ahead == NULL)
        ix->ahead = directory_new(w, old->depth + 1u);
    if (ix->ahead == NULL)
        return -ENOMEM;
    copy_ahead(w, ix, SIZE_MAX / 2);
    ix->directory = ix->ahead;
    ix->ahead = NULL;
    ix->ahead_slots = 0;
    directory_free(w, old);
    return 0;
}

static int directory_first(struct index_world *w, struct index *ix)
{
    uint32_t ref = buckets_new(w, 1);
    if (ref == 0)
        return -ENOMEM;
    ix->directory = directory_new(w, 0);
    if (ix->directory == NULL) {
        slab_give(&w->slabs, ref);
        return -ENOMEM;
    }
    ix->directory->segments[0] = (struct segment){ .ref = ref, .buckets = 1 };
    ix->segments = 1;
    return 0;
}

// Changing the size of a segment

// Every reference of a segment with its hash, the keys read in batches so that their cache misses overlap.
struct roll {
    uint32_t count;
    uint32_t refs[SEGMENT_ENTRIES];
    uint64_t hashes[SEGMENT_ENTRIES];
};

static void roll_call(struct index_world *w, const struct segment *s, struct roll *roll)
{
    const struct bucket *buckets = buckets_at(w, s->ref);
    roll->count = 0;
    for (uint32_t i = 0; i < s->buckets; i++) {
        for (uint32_t left = buckets[i].taken; left != 0; left &= left - 1)
            roll->refs[roll->count++] = buckets[i].refs[__builtin_ctz(left)];
    }
    w->work.keys += roll->count;
    w->work.moved += roll->count;
    for (uint32_t i = 0; i < roll->count; i++) {
        if (i + PREFETCH_AHEAD < roll->count)
            entry_prefetch(arena_at(&w->slabs.arena, roll->refs[i + PREFETCH_AHEAD]));
        roll->hashes[i] = w->hash(w->hash_context, arena_at(&w->slabs.arena, roll->refs[i]));
    }
}

// The only 12-bit prefix of x with this tag in a bucket of a segment with at least TAG_BUCKETS (so at most 256 prefixes each).
static uint32_t prefix_of(uint32_t bucket, uint32_t buckets, uint8_t tag)
{
    uint32_t first = (uint32_t)((((uint64_t)bucket << 32) + buckets - 1) / buckets >> TAG_SHIFT);
    return first + ((tag - first) & 0xff);
}

// The home in a segment of another size, when bucket and tag decide it: 0 or a bucket number + 1.
static uint32_t home_from_tag(uint32_t bucket, uint32_t buckets, uint32_t new_buckets, uint8_t tag)
{
    uint64_t low = (uint64_t)prefix_of(bucket, buckets, tag) << TAG_SHIFT;
    uint32_t home = (uint32_t)(low * new_buckets >> 32);
    uint32_t last = (uint32_t)((low | ((1u << TAG_SHIFT) - 1)) * new_buckets >> 32);
    return home == last ? home + 1 : 0;
}

static void move_exactly(struct index_world *w, const struct segment *from, const struct segment *to)
{
    struct roll roll;
    roll_call(w, from, &roll);
    for (uint32_t i = 0; i < roll.count; i++)
        place_hash(w, to, roll.hashes[i], roll.refs[i]);
}

// The home bucket of an entry, when it can be told without its key: its own bucket, or the one before when nobody came to that
// from further back. 0 or a bucket number + 1.
static uint32_t home_known(const struct bucket *buckets, uint32_t count, uint32_t at, uint32_t slot)
{
    if ((buckets[at].away >> slot & 1) == 0)
        return at + 1;
    uint32_t before = (at == 0 ? count : at) - 1;
    uint32_t further = (before == 0 ? count : before) - 1;
    return buckets[further].passed == 0 ? before + 1 : 0;
}

static void move_by_tags(struct index_world *w, const struct segment *from, const struct segment *to)
{
    const struct bucket *buckets = buckets_at(w, from->ref);
    struct bucket *moved = buckets_at(w, to->ref);
    uint32_t unsure[SEGMENT_ENTRIES];
    uint32_t unsure_count = 0;
    for (uint32_t i = 0; i < from->buckets; i++) {
        for (uint32_t left = buckets[i].taken; left != 0; left &= left - 1) {
            uint32_t slot = (uint32_t)__builtin_ctz(left);
            uint8_t tag = buckets[i].tags[slot];
            uint32_t home = home_known(buckets, from->buckets, i, slot);
            if (home != 0)
                home = home_from_tag(home - 1, from->buckets, to->buckets, tag);
            if (home != 0)
                place(moved, to->buckets, home - 1, tag, buckets[i].refs[slot]);
            else
                unsure[unsure_count++] = buckets[i].refs[slot];
        }
    }
    w->work.keys += unsure_count;
    w->work.moved += from->count;
    for (uint32_t i = 0; i < unsure_count; i++)
        entry_prefetch(arena_at(&w->slabs.arena, unsure[i]));
    for (uint32_t i = 0; i < unsure_count; i++)
        place_hash(w, to, w->hash(w->hash_context, arena_at(&w->slabs.arena, unsure[i])), unsure[i]);
}

static int segment_resize(struct index_world *w, struct index *ix, uint64_t hash, uint32_t buckets)
{
    struct segment old = *segment_of(ix, hash);
    struct segment s = old;
    s.ref = buckets_new(w, buckets);
    if (s.ref == 0)
        return -ENOMEM;
    s.buckets = (uint8_t)buckets;
    if (old.buckets >= TAG_BUCKETS)
        move_by_tags(w, &old, &s);
    else
        move_exactly(w, &old, &s);
    segment_store(ix, hash, s);
    slab_give(&w->slabs, old.ref);
    work_ahead(w, ix);
    return 0;
}

static int segment_split(struct index_world *w, struct index *ix, uint64_t hash)
{
    struct segment old = *segment_of(ix, hash);
    if (old.depth == ix->directory->depth && directory_double(w, ix) != 0)
        return -ENOMEM;
    struct roll roll;
    roll_call(w, &old, &roll);
    uint64_t bit = UINT64_C(1) << (63 - old.depth);
    uint32_t upper_count = 0;
    for (uint32_t i = 0; i < roll.count; i++)
        upper_count += (roll.hashes[i] & bit) != 0;
    struct segment half[2] = { { .count = (uint16_t)(roll.count - upper_count) }, { .count = (uint16_t)upper_count } };
    for (int i = 0; i < 2; i++) {
        uint32_t buckets = buckets_for(half[i].count);
        half[i].depth = (uint8_t)(old.depth + 1);
        half[i].buckets = (uint8_t)buckets;
        half[i].ref = buckets_new(w, buckets);
    }
    if (half[0].ref == 0 || half[1].ref == 0)
        goto no_memory;
    for (uint32_t i = 0; i < roll.count; i++)
        place_hash(w, &half[(roll.hashes[i] & bit) != 0], roll.hashes[i], roll.refs[i]);
    segment_store(ix, hash & ~bit, half[0]);
    segment_store(ix, hash | bit, half[1]);
    slab_give(&w->slabs, old.ref);
    ix->segments++;
    return 0;
no_memory:
    for (int i = 0; i < 2; i++) {
        if (half[i].ref != 0)
            slab_give(&w->slabs, half[i].ref);
    }
    return -ENOMEM;
}

int index_make_room(struct index_world *w, struct index *ix, uint64_t hash)
{
    if (unlikely(ix->directory == NULL))
        return directory_first(w, ix);
    const struct segment *s = segment_of(ix, hash);
    while (unlikely(s->count >= fill_limit(s->buckets))) {
        int failed = s->buckets < SEGMENT_MAX ? segment_resize(w, ix, hash, buckets_step(s->buckets + 1u)) : segment_split(w, ix, hash);
        s = segment_of(ix, hash);
        if (failed)
            return s->count < s->buckets * BUCKET_SLOTS ? 0 : failed;
    }
    return 0;
}

void index_insert(struct index_world *w, struct index *ix, uint64_t hash, uint32_t ref)
{
    struct segment *s = segment_of(ix, hash);
    assert(s->count < s->buckets * BUCKET_SLOTS);
    place_hash(w, s, hash, ref);
    s->count++;
    ix->count++;
    count_ahead(ix, s);
}

struct directory *index_detach(struct index_world *w, struct index *ix)
{
    drop_ahead(w, ix);
    struct directory *d = ix->directory;
    *ix = (struct index){ 0 };
    return d;
}

static void shrink(struct index_world *w, struct index *ix, uint64_t hash)
{
    const struct segment *s = segment_of(ix, hash);
    if (s->buckets > 1 && s->count < s->buckets * BUCKET_SLOTS * 4 / 10 && segment_resize(w, ix, hash, buckets_for(s->count)) != 0)
        return; // without memory it stays as large as it is
}

void index_remove(struct index_world *w, struct index *ix, uint64_t hash, struct spot spot)
{
    struct segment *s = segment_of(ix, hash);
    struct bucket *buckets = buckets_at(w, s->ref);
    uint32_t at = segment_home(s, segment_position(s, hash));
    assert((spot.bucket->taken >> spot.slot & 1) != 0);
    uint32_t others = BUCKET_FULL & ~(1u << spot.slot);
    spot.bucket->taken = spot.bucket->taken & others & BUCKET_FULL;
    spot.bucket->away = spot.bucket->away & others & BUCKET_FULL;
    while (&buckets[at] != spot.bucket) {
        if (buckets[at].passed != BUCKET_PASSED)
            buckets[at].passed = (buckets[at].passed - 1u) & BUCKET_PASSED;
        at = at + 1 == s->buckets ? 0 : at + 1;
    }
    s->count--;
    ix->count--;
    count_ahead(ix, s);
    shrink(w, ix, hash);
}

struct spot index_find_ref(const struct index_world *w, const struct index *ix, uint64_t hash, uint32_t ref)
{
    if (ix->directory == NULL)
        return (struct spot){ 0 };
    const struct segment *s = segment_of(ix, hash);
    struct bucket *buckets = buckets_at(w, s->ref);
    uint32_t x = segment_position(s, hash);
    uint32_t at = segment_home(s, x);
    for (uint32_t tries = s->buckets; tries > 0; tries--) {
        struct bucket *b = &buckets[at];
        for (uint32_t match = bucket_match(b, segment_tag(x)); match != 0; match &= match - 1) {
            uint32_t slot = (uint32_t)__builtin_ctz(match);
            if (b->refs[slot] == ref)
                return (struct spot){ .bucket = b, .slot = slot };
        }
        if (b->passed == 0)
            break;
        at = at + 1 == s->buckets ? 0 : at + 1;
    }
    return (struct spot){ 0 };
}

// Freeing

// From bucket d->bucket on. True: the segment is gone.
static bool free_segment(struct index_world *w, struct directory *d, uint32_t *budget, index_release_fn *release, void *context)
{
    const struct segment *s = &d->segments[d->at];
    const struct bucket *buckets = buckets_at(w, s->ref);
    for (uint32_t count = s->buckets; *budget > 0 && d->bucket < count; d->bucket++) {
        const struct bucket *b = &buckets[d->bucket];
        for (uint32_t left = d->bucket + 1 < s->buckets ? b[1].taken : 0; left != 0; left &= left - 1)
            entry_prefetch(arena_at(&w->slabs.arena, b[1].refs[__builtin_ctz(left)]));
        uint32_t cost = 1 + (uint32_t)__builtin_popcount(b->taken);
        for (uint32_t left = b->taken; left != 0; left &= left - 1)
            release(context, b->refs[__builtin_ctz(left)]);
        *budget -= cost < *budget ? cost : *budget;
    }
    if (d->bucket < s->buckets)
        return false;
    slab_give(&w->slabs, s->ref);
    return true;
}

bool index_free_some(struct index_world *w, struct directory *d, uint32_t *budget, index_release_fn *release, void *context)
{
    uint64_t end = UINT64_C(1) << d->depth;
    while (d->at < end) {
        uint64_t repeated = UINT64_C(1) << (d->depth - d->segments[d->at].depth);
        if (*budget == 0 || !free_segment(w, d, budget, release, context))
            return false;
        d->at += repeated;
        d->bucket = 0;
    }
    directory_free(w, d);
    return true;
}

// Scanning

// The first hash behind a bucket; 0: it is the last of all. A segment looks at 32 bits behind its directory bits (at most
// INDEX_DEPTH_MAX), so that every bucket's hashes are an interval with whole numbers for its ends.
static uint64_t bucket_end(const struct segment *s, uint64_t hash, uint32_t bucket)
{
    uint64_t segment_begin = s->depth == 0 ? 0 : hash >> (64 - s->depth) << (64 - s->depth);
    uint64_t x = (((uint64_t)(bucket + 1) << 32) + s->buckets - 1) / s->buckets; // <= 2^32
    return segment_begin + (x << 1 << (31 - s->depth));
}
static_assert(INDEX_DEPTH_MAX <= 31, "the shift of bucket_end");

uint64_t index_walk(const struct index_world *w, const struct index *ix, uint64_t from, index_walk_fn *visit, void *context)
{
    if (ix->directory == NULL)
        return 0;
    const struct segment *s = segment_of(ix, from);
    const struct bucket *buckets = buckets_at(w, s->ref);
    uint32_t home = segment_home(s, segment_position(s, from)), at = home;
    // What is at home there, wherever it stands.
    for (uint32_t tries = s->buckets; tries > 0; tries--) {
        const struct bucket *b = &buckets[at];
        for (uint32_t left = b->taken; left != 0; left &= left - 1) {
            uint32_t ref = b->refs[__builtin_ctz(left)];
            uint64_t hash = w->hash(w->hash_context, arena_at(&w->slabs.arena, ref));
            if (segment_home(s, segment_position(s, hash)) == home && hash >= from)
                visit(context, hash, ref);
        }
        if (b->passed == 0)
            break;
        at = at + 1 == s->buckets ? 0 : at + 1;
    }
    return bucket_end(s, from, home);
}

struct scan {
    index_visit_fn *visit;
    void *context;
    uint32_t seen;
};

static void scan_one(void *context, uint64_t hash, uint32_t ref)
{
    (void)hash;
    struct scan *scan = context;
    scan->visit(scan->context, ref);
    scan->seen++;
}

uint64_t index_scan(const struct index_world *w, const struct index *ix, uint64_t from, uint32_t count, index_visit_fn *visit,
                    void *context)
{
    struct scan scan = { .visit = visit, .context = context };
    if (from >> 48 != 0)
        return 0;
    uint64_t at = from << 16;
    // A cursor is rounded down, so that nothing is left out: on until it is another one.
    for (uint32_t visited = 0; visited == 0 || at >> 16 == from || (scan.seen < count && visited < count); visited++) {
        at = index_walk(w, ix, at, scan_one, &scan);
        if (at == 0)
            return 0;
    }
    return at >> 16;
}

uint32_t index_random(const struct index_world *w, const struct index *ix, uint64_t random)
{
    if (ix->directory == NULL)
        return 0;
    const struct bucket *b = index_home(w, ix, random);
    uint32_t slot = (uint32_t)((random & 0xffff) * BUCKET_SLOTS >> 16);
    return (b->taken >> slot & 1) != 0 ? b->refs[slot] : 0;
}

// Audits

static bool segment_valid(const struct index_world *w, const struct segment *s, uint64_t prefix)
{
    const struct bucket *buckets = buckets_at(w, s->ref);
    uint32_t passed[SEGMENT_MAX] = { 0 };
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->buckets; i++) {
        for (uint32_t left = buckets[i].taken; left != 0; left &= left - 1, count++) {
            uint32_t slot = (uint32_t)__builtin_ctz(left);
            uint64_t hash = w->hash(w->hash_context, arena_at(&w->slabs.arena, buckets[i].refs[slot]));
            uint32_t x = segment_position(s, hash);
            if ((buckets[i].away >> slot & 1) != (segment_home(s, x) != i))
                return false;
            if (buckets[i].tags[slot] != segment_tag(x) || (s->depth > 0 && hash >> (64 - s->depth) != prefix))
                return false;
            for (uint32_t at = segment_home(s, x); at != i; at = at + 1 == s->buckets ? 0 : at + 1)
                passed[at]++;
        }
    }
    for (uint32_t i = 0; i < s->buckets; i++) {
        if (buckets[i].passed != BUCKET_PASSED && buckets[i].passed != passed[i])
            return false;
    }
    return count == s->count;
}

static bool ahead_valid(const struct index *ix)
{
    const struct directory *d = ix->directory, *ahead = ix->ahead;
    for (size_t i = 0; i < ix->ahead_slots; i++) {
        const struct segment *s = &d->segments[i], *first = &ahead->segments[2 * i], *second = first + 1;
        bool leads = i % (UINT64_C(1) << (d->depth - s->depth)) == 0;
        if (first->ref != s->ref || second->ref != s->ref || first->depth != s->depth || first->buckets != s->buckets)
            return false;
        if (leads && first->count != s->count)
            return false;
    }
    return true;
}

bool index_valid(const struct index_world *w, const struct index *ix)
{
    const struct directory *d = ix->directory;
    uint64_t count = 0, segments = 0;
    for (uint64_t i = 0; d != NULL && i < UINT64_C(1) << d->depth; segments++) {
        const struct segment *s = &d->segments[i];
        uint32_t repeat_bits = (uint32_t)(d->depth - s->depth);
        if (i % (UINT64_C(1) << repeat_bits) != 0 || !segment_valid(w, s, i >> repeat_bits))
            return false;
        count += s->count;
        i += UINT64_C(1) << repeat_bits;
    }
    return count == ix->count && segments == ix->segments && ahead_valid(ix);
}
