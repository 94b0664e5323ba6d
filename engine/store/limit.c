// SPDX-License-Identifier: Apache-2.0
#include "engine/store/limit.h"

#include "engine/store/compact.h"
#include "engine/store/inside.h"

// Of what a slice's budget is, a call may use so much: 64 small entries moved, and up to 2048 where too much is held.
#define RELIEF_LEAST       256u
#define RELIEF_MOST        8192u
#define RELIEF_BYTES       64u // one for so many too many
#define RELIEF_REST        8u  // calls, after one that found no slab to be drained
#define KEEP_FREE_GRANULES 32u // at most 2 MiB, and a 64th of all, stay at hand

static uint64_t margin(const struct store *s)
{
    return LIMIT_MARGIN_LEAST + s->options.memory_max / LIMIT_MARGIN_SHARE;
}

uint64_t limit_free_in_slabs(const struct store *s)
{
    const struct slabs *slabs = &s->world.slabs;
    uint64_t held = (uint64_t)slabs->arena.taken_count * ARENA_GRANULE;
    for (int kind = 0; kind < SLAB_KINDS; kind++)
        held -= slabs->used[kind];
    return held;
}

static uint64_t held(const struct store *s)
{
    return store_memory_used(s) + limit_free_in_slabs(s);
}

static uint64_t free_granules(const struct store *s)
{
    const struct arena *a = &s->world.slabs.arena;
    return (uint64_t)(arena_resident(a) - a->taken_count) * ARENA_GRANULE;
}

uint64_t limit_excess(const struct store *s)
{
    uint64_t max = s->options.memory_max, used = store_memory_used(s);
    if (max == 0 || used > max)
        return max == 0 ? 0 : used - max;
    uint64_t most = max + (s->relief_rest > 0 ? 1 : 2) * margin(s), have = held(s);
    if (likely(have <= most) || (have - most) * LIMIT_PRESSURE <= max - used)
        return 0;
    return (have - most) * LIMIT_PRESSURE - (max - used);
}

uint64_t limit_overrun(const struct store *s)
{
    uint64_t most = s->options.memory_max + 2 * margin(s), have = held(s);
    return have > most ? have - most : 0;
}

void limit_relieve(struct store *s)
{
    uint64_t have = held(s), most = s->options.memory_max + margin(s);
    if (unlikely(have + free_granules(s) + blobs_free(s->blobs) > most + margin(s)))
        (void)limit_give_back(s);
    if (likely(have <= most) || s->garbage != NULL) {
        s->relief_rest = 0;
        return;
    }
    if (s->relief_rest > 0) {
        s->relief_rest--;
        return;
    }
    uint64_t wanted = RELIEF_LEAST + limit_overrun(s) / RELIEF_BYTES;
    uint32_t budget = wanted < RELIEF_MOST ? (uint32_t)wanted : RELIEF_MOST;
    slab_drain_eagerly(&s->world.slabs);
    if (!compact_some(s, &budget))
        s->relief_rest = RELIEF_REST;
}

// Below the limit a little stays at hand, near it no more than there is room for.
bool limit_give_back(struct store *s)
{
    struct arena *a = &s->world.slabs.arena;
    uint64_t few = (uint64_t)KEEP_FREE_GRANULES * ARENA_GRANULE, taken = (uint64_t)a->taken_count * ARENA_GRANULE;
    uint64_t slots = (taken / 32 < few ? taken / 32 : few) + taken / 64, pages = few + blobs_taken(s->blobs) / 64;
    uint64_t max = s->options.memory_max;
    if (max != 0) {
        uint64_t most = max + 2 * margin(s), have = held(s), room = most > have ? most - have : 0;
        slots = slots < room ? slots : room;
        room -= free_granules(s) < room ? free_granules(s) : room;
        pages = pages < room ? pages : room;
    }
    return arena_discard(a, (uint32_t)(slots / ARENA_GRANULE)) || blobs_discard(s->blobs, pages);
}

// What is asked for ahead of its use would be too much near the limit.
void limit_set(struct store *s, uint64_t bytes)
{
    uint64_t ahead = bytes - bytes / 8;
    s->options.memory_max = bytes;
    s->relief_rest = 0;
    arena_prepare_below(&s->world.slabs.arena, ahead);
    blobs_prepare_below(s->blobs, ahead);
}
