// SPDX-License-Identifier: Apache-2.0
// The shortest way to a key, for callers that do nothing but look things up (the library): the whole lookup is part of the caller.
// Costs an eighth of a page of code each time.
#pragma once

#include "engine/store/inside.h"

#define always_inline inline __attribute__((__always_inline__))

// As keyspace_find_at.
static always_inline struct entry *keyspace_find_here(struct keyspace *ks, struct slice key, uint64_t hash, struct keyspace_clock *clock)
{
    const struct store *s = ks->store;
    const struct directory *d = ks->index.directory;
    if (unlikely(d == NULL || s->has_recency))
        return keyspace_find_at(ks, key, hash, clock);
    const struct arena *arena = &s->world.slabs.arena;
    const struct segment *segment = &d->segments[directory_slot(d, hash)];
    uint32_t x = segment_position(segment, hash);
    const struct bucket *b = (const struct bucket *)arena_at(arena, segment->ref) + segment_home(segment, x);
    for (uint32_t match = bucket_match(b, segment_tag(x)); match != 0; match &= match - 1) {
        struct entry *e = arena_at(arena, b->refs[__builtin_ctz(match)]);
        // Small entries without extras are told apart by their first two bytes; the rest takes the long way.
        if (unlikely((e->head & ~(ENTRY_HEAD_TYPE | ENTRY_HEAD_MARK | (ENTRY_MEDIUM << 4))) != 0))
            return keyspace_find_at(ks, key, hash, clock);
        if (e->rest[0] != key.len)
            continue;
        const uint8_t *have = (const uint8_t *)e + ENTRY_LENGTHS_LEN[entry_form(e)];
        if (likely(keys_same(have, key.data, key.len))) {
            ks->stats.hits++;
            return e;
        }
    }
    if (likely(b->passed == 0)) {
        ks->stats.misses++;
        return NULL;
    }
    return keyspace_find_at(ks, key, hash, clock);
}
