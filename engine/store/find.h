// SPDX-License-Identifier: Apache-2.0
// The shortest ways to a key, for callers that do hardly more than look things up (the library, the server's commonest request): the
// whole lookup is part of the caller. Costs an eighth of a page of code each time.
#pragma once

#include "base/prefetch.h"
#include "engine/store/inside.h"

#define always_inline inline __attribute__((__always_inline__))

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

// The entry of the key, where it is a string in a slot with one byte of key length, without deadline, and nothing is noted of accesses.
// Else NULL, and nothing has happened: the key may be there all the same.
static always_inline struct entry *keyspace_plain(const struct keyspace *ks, struct slice key, uint64_t hash)
{
    const struct store *s = ks->store;
    const struct directory *d = ks->index.directory;
    if (unlikely(d == NULL || s->has_recency))
        return NULL;
    const struct arena *arena = &s->world.slabs.arena;
    const struct segment *segment = &d->segments[directory_slot(d, hash)];
    const struct bucket *buckets = arena_at(arena, segment->ref);
    uint32_t x = segment_position(segment, hash), at = segment_home(segment, x);
    for (uint32_t tries = segment->buckets; tries > 0; tries--) {
        const struct bucket *b = &buckets[at];
        for (uint32_t match = bucket_match(b, segment_tag(x)); match != 0; match &= match - 1) {
            struct entry *e = arena_at(arena, b->refs[__builtin_ctz(match)]);
            if (unlikely((e->head & ~(ENTRY_HEAD_MARK | (ENTRY_MEDIUM << 4))) != ENTRY_STRING))
                return NULL;
            const uint8_t *have = (const uint8_t *)e + ENTRY_LENGTHS_LEN[entry_form(e)];
            if (e->rest[0] == key.len && likely(keys_same(have, key.data, key.len)))
                return e;
        }
        if (likely(b->passed == 0))
            return NULL;
        at = at + 1 == segment->buckets ? 0 : at + 1;
    }
    return NULL;
}

// Of what keyspace_plain gave.
static always_inline struct slice keyspace_plain_value(const struct entry *e)
{
    const uint8_t *key = (const uint8_t *)e + ENTRY_LENGTHS_LEN[entry_form(e)];
    return slice_of(key + e->rest[0], entry_form(e) == ENTRY_SHORT ? e->rest[1] : load_u16(e->rest + 1));
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

// SET of such a string to a value of the same length, while nobody listens and nothing is pinned. False: nothing has happened.
static always_inline bool keyspace_overwrite(struct keyspace *ks, struct slice key, uint64_t hash, struct slice value)
{
    const struct store *s = ks->store;
    struct entry *e = keyspace_plain(ks, key, hash);
    if (unlikely(e == NULL || s->on_change != NULL || s->before_change != NULL || slab_pinned(&s->world.slabs)))
        return false;
    struct slice old = keyspace_plain_value(e);
    if (old.len != value.len)
        return false;
    entry_set_mark(e, false);
    copy_short((uint8_t *)e + (old.data - (const uint8_t *)e), value.data, value.len);
    return true;
}

// As keyspace_find_at. What is not a small entry without extras takes the long way.
static always_inline struct entry *keyspace_find_here(struct keyspace *ks, struct slice key, uint64_t hash, struct keyspace_clock *clock)
{
    const struct store *s = ks->store;
    const struct directory *d = ks->index.directory;
    if (unlikely(d == NULL || s->has_recency))
        return keyspace_find_at(ks, key, hash, clock);
    const struct arena *arena = &s->world.slabs.arena;
    const struct segment *segment = &d->segments[directory_slot(d, hash)];
    const struct bucket *buckets = arena_at(arena, segment->ref);
    uint32_t x = segment_position(segment, hash), at = segment_home(segment, x);
    for (uint32_t tries = segment->buckets; tries > 0; tries--) {
        const struct bucket *b = &buckets[at];
        for (uint32_t match = bucket_match(b, segment_tag(x)); match != 0; match &= match - 1) {
            struct entry *e = arena_at(arena, b->refs[__builtin_ctz(match)]);
            prefetch((const uint8_t *)e + 64); // the value's end: its address would wait for the header
            if (unlikely((e->head & ~(ENTRY_HEAD_TYPE | ENTRY_HEAD_MARK | (ENTRY_MEDIUM << 4))) != 0))
                return keyspace_find_at(ks, key, hash, clock);
            const uint8_t *have = (const uint8_t *)e + ENTRY_LENGTHS_LEN[entry_form(e)];
            if (e->rest[0] != key.len || !likely(keys_same(have, key.data, key.len)))
                continue;
            ks->stats.hits++;
            return e;
        }
        if (likely(b->passed == 0))
            break;
        at = at + 1 == segment->buckets ? 0 : at + 1;
    }
    ks->stats.misses++;
    return NULL;
}
