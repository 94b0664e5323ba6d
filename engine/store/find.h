// SPDX-License-Identifier: Apache-2.0
// The shortest ways to a key, for callers that do hardly more than look things up (the library, the server's commonest request): the
// whole lookup is part of the caller. Costs an eighth of a page of code each time.
#pragma once

#include "base/prefetch.h"
#include "engine/store/inside.h"

#define always_inline inline __attribute__((__always_inline__))

static_assert(ENTRY_SHORT == 0 && ENTRY_MEDIUM == 1, "without deadline and recency the upper bits of a head are its form");

// As keyspace_hash and keyspace_prefetch. `route_hash`: of the key, or what somebody says it is; only looked at with index-hash public.
static always_inline uint64_t keyspace_hash_here(const struct keyspace *ks, struct slice key, uint64_t route_hash)
{
    const struct store *s = ks->store;
    return unlikely(s->options.public_hash) ? route_mix(route_hash) : hash_keyed(&s->hash_keys, key);
}

static always_inline void keyspace_prefetch_here(const struct keyspace *ks, uint64_t hash)
{
    if (likely(ks->index.directory != NULL))
        prefetch(index_home(&ks->store->world, &ks->index, hash));
}

// Where a search begins.
struct find_home {
    const struct bucket *buckets; // of the segment
    uint32_t count, at;
    uint8_t tag;
};

static always_inline struct find_home find_home(const struct arena *arena, const struct directory *d, uint64_t hash)
{
    const struct segment *segment = &d->segments[directory_slot(d, hash)];
    uint32_t x = segment_position(segment, hash);
    return (struct find_home){ arena_at(arena, segment->ref), segment->buckets, segment_home(segment, x), segment_tag(x) };
}

// A string in a slot with one byte of key length, without deadline or recency.
static always_inline bool entry_is_plain(const struct entry *e)
{
    return (e->head & ~(ENTRY_HEAD_MARK | (ENTRY_MEDIUM << 4))) == ENTRY_STRING;
}

static always_inline bool entry_plain_has(const struct entry *e, struct slice key)
{
    const uint8_t *have = e->rest + 2 + (e->head >> 4);
    return e->rest[0] == key.len && likely(keys_same(have, key.data, key.len));
}

// The entry of the key, where it is plain, and nothing is noted of accesses. Else NULL, and nothing has happened: the key may be there
// all the same.
static always_inline struct entry *keyspace_plain(const struct keyspace *ks, struct slice key, uint64_t hash)
{
    const struct store *s = ks->store;
    const struct directory *d = ks->index.directory;
    if (unlikely(d == NULL || s->has_recency))
        return NULL;
    const struct arena *arena = &s->world.slabs.arena;
    const struct find_home home = find_home(arena, d, hash);
    uint32_t at = home.at;
    for (uint32_t tries = home.count; tries > 0; tries--) {
        const struct bucket *b = &home.buckets[at];
        for (uint32_t match = bucket_match(b, home.tag); match != 0; match &= match - 1) {
            struct entry *e = arena_at(arena, b->refs[__builtin_ctz(match)]);
            if (unlikely(!entry_is_plain(e)))
                return NULL;
            if (entry_plain_has(e, key))
                return e;
        }
        if (likely(b->passed == 0))
            return NULL;
        at = at + 1 == home.count ? 0 : at + 1;
    }
    return NULL;
}

// Of what keyspace_plain gave: SHORT or MEDIUM, of which the latter has a byte more, without a branch.
static always_inline struct slice keyspace_plain_value(const struct entry *e)
{
    uint32_t medium = (uint32_t)e->head >> 4;
    return slice_of(e->rest + 2 + medium + e->rest[0], load_u16(e->rest + 1) & (0xff | -medium));
}

// GET of such a string of up to len_max bytes. False: nothing has happened.
static always_inline bool keyspace_glance(struct keyspace *ks, struct slice key, uint64_t hash, size_t len_max, struct slice *value)
{
    const struct entry *e = keyspace_plain(ks, key, hash);
    if (unlikely(e == NULL))
        return false;
    *value = keyspace_plain_value(e);
    if (unlikely(value->len > len_max))
        return false;
    ks->stats.hits++;
    return true;
}

// Nobody listens (`told`: the caller tells the listener), and nothing is pinned.
static always_inline bool store_lets_overwrite(const struct store *s, bool told)
{
    return (s->on_change == NULL || told) && s->before_change == NULL && !slab_pinned(&s->world.slabs);
}

// Of what keyspace_plain gave. False: the value's length is another one.
static always_inline bool entry_overwrite(struct entry *e, struct slice value)
{
    struct slice old = keyspace_plain_value(e);
    if (old.len != value.len)
        return false;
    entry_set_mark(e, false);
    copy_short((uint8_t *)e + (old.data - (const uint8_t *)e), value.data, value.len);
    return true;
}

// SET of such a string to a value of the same length, while nobody listens and nothing is pinned. False: nothing has happened.
// `told`: the caller tells the listener.
static always_inline bool keyspace_overwrite(struct keyspace *ks, struct slice key, uint64_t hash, struct slice value, bool told)
{
    struct entry *e = keyspace_plain(ks, key, hash);
    if (unlikely(e == NULL || !store_lets_overwrite(ks->store, told)))
        return false;
    return entry_overwrite(e, value);
}

// The same in steps for many keys, for callers between whose steps nothing changes but by entry_overwrite.
//
// First the bucket's line...
struct find_step {
    const struct bucket *bucket;
    uint8_t tag;
};

static always_inline struct find_step keyspace_step_home(const struct keyspace *ks, uint64_t hash)
{
    const struct find_home home = find_home(&ks->store->world.slabs.arena, ks->index.directory, hash);
    struct find_step step = { &home.buckets[home.at], home.tag };
    prefetch(step.bucket);
    return step;
}

// ...then those of the entry that may be the key's. NULL: none in this bucket, then keyspace_step_beyond if the bucket has been passed
// by any. Lines of the next buckets are asked for.
static always_inline struct entry *keyspace_step_entry(const struct keyspace *ks, struct find_step step)
{
    uint32_t match = bucket_match(step.bucket, step.tag);
    const struct arena *arena = &ks->store->world.slabs.arena;
    if (unlikely(match == 0)) {
        if (step.bucket->passed != 0)
            index_prefetch_beyond(step.bucket);
        return NULL;
    }
    struct entry *e = arena_at(arena, step.bucket->refs[__builtin_ctz(match)]);
    entry_prefetch_small(e);
    while (unlikely((match &= match - 1) != 0)) // tags that agree by chance
        entry_prefetch_small(arena_at(arena, step.bucket->refs[__builtin_ctz(match)]));
    return e;
}

// ...for the 8 % that are not in their home bucket the one in those behind it...
static always_inline struct entry *keyspace_step_beyond(const struct keyspace *ks, uint64_t hash)
{
    const struct arena *arena = &ks->store->world.slabs.arena;
    const struct find_home home = find_home(arena, ks->index.directory, hash);
    uint32_t at = home.at;
    for (uint32_t tries = home.count; tries > 1 && home.buckets[at].passed != 0; tries--) {
        at = at + 1 == home.count ? 0 : at + 1;
        uint32_t match = bucket_match(&home.buckets[at], home.tag);
        if (match == 0)
            continue;
        struct entry *e = arena_at(arena, home.buckets[at].refs[__builtin_ctz(match)]);
        entry_prefetch_small(e);
        return e;
    }
    return NULL;
}

// ...and what keyspace_plain says, which has it nearly always at once.
static always_inline struct entry *keyspace_step_find(const struct keyspace *ks, struct entry *e, struct slice key, uint64_t hash)
{
    if (likely(e != NULL && entry_is_plain(e) && entry_plain_has(e, key)))
        return e;
    return keyspace_plain(ks, key, hash);
}

// The first entry in its home bucket that may be the key's; false: there is none. What it is is not known yet, and not asked for: the
// caller looks at it at places that do not depend on what stands there. No loop, no call, and no branch that keys take by chance but for
// the 12 % whose entry is not at home or not the first with its tag: so that the processor has the next such call in its works while
// this one waits for memory. Those find the next bucket on its way.
static always_inline bool keyspace_first(const struct keyspace *ks, uint64_t hash, const struct entry **e)
{
    const struct directory *d = ks->index.directory;
    if (unlikely(d == NULL))
        return false;
    const struct arena *arena = &ks->store->world.slabs.arena;
    const struct find_home home = find_home(arena, d, hash);
    const struct bucket *b = &home.buckets[home.at];
    prefetch(b + 1);
    uint32_t match = bucket_match(b, home.tag);
    if (unlikely(match == 0))
        return false;
    *e = arena_at(arena, b->refs[__builtin_ctz(match)]);
    return true;
}

// For keys of 8 to 16 bytes. Is it the key's, in a slot, with `wide` + 1 bytes of value length, and nothing that a read has to look at?
static always_inline bool entry_first_is(const struct entry *e, struct slice key, uint32_t wide)
{
    if (unlikely((load_u16(e) & ~(uint32_t)ENTRY_HEAD_MARK) != (key.len << 8 | wide << 4)))
        return false;
    return likely(keys_same_short(e->rest + 2 + wide, key.data, key.len));
}

// As keyspace_find_at. What is not a small entry without extras takes the long way.
static always_inline struct entry *keyspace_find_here(struct keyspace *ks, struct slice key, uint64_t hash, struct keyspace_clock *clock)
{
    const struct store *s = ks->store;
    const struct directory *d = ks->index.directory;
    if (unlikely(d == NULL || s->has_recency))
        return keyspace_find_at(ks, key, hash, clock);
    const struct arena *arena = &s->world.slabs.arena;
    const struct find_home home = find_home(arena, d, hash);
    uint32_t at = home.at;
    for (uint32_t tries = home.count; tries > 0; tries--) {
        const struct bucket *b = &home.buckets[at];
        for (uint32_t match = bucket_match(b, home.tag); match != 0; match &= match - 1) {
            struct entry *e = arena_at(arena, b->refs[__builtin_ctz(match)]);
            prefetch((const uint8_t *)e + 64); // the value's end: its address would wait for the header
            if (unlikely((e->head & ~(ENTRY_HEAD_TYPE | ENTRY_HEAD_MARK | (ENTRY_MEDIUM << 4))) != 0))
                return keyspace_find_at(ks, key, hash, clock);
            const uint8_t *have = e->rest + 2 + (e->head >> 4);
            if (e->rest[0] != key.len || !likely(keys_same(have, key.data, key.len)))
                continue;
            ks->stats.hits++;
            return e;
        }
        if (likely(b->passed == 0))
            break;
        at = at + 1 == home.count ? 0 : at + 1;
    }
    ks->stats.misses++;
    return NULL;
}
