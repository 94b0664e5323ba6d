// SPDX-License-Identifier: Apache-2.0
// A local store asks for all its keys' buckets, then for their entries, and runs each key in order some entries behind: every miss
// overlaps with others, and with running (a burst of entries alone is waited for: processors look up few pages' addresses at a time).
// A shared store does the same along a short chain of shards: up to AHEAD locks are held at once, taken in the order of the shards'
// numbers (so that two batches cannot wait for each other) and given back as soon as their shard's keys have run; thus two batches
// follow each other instead of waiting for the other's end.
#include "engine/embed/lanes.h"

#define AHEAD  4u
#define BEHIND 8u // keys whose entries have been asked for when one runs

// Lanes of one shard, in their order.
struct group {
    uint64_t lanes; // bits
    uint32_t shard;
};
static_assert(LANES_MAX == 64, "lanes are bits of a word");

static void run_lane(struct lanes *l, uint32_t lane, struct shard *sh, enum skerry_status status)
{
    l->run(l->context, l->first + lane, sh, l->places[lane].hash, status);
}

// True when the lane can run; else it has been told why not.
static bool lane_usable(struct lanes *l, uint32_t lane)
{
    if (unlikely(l->too_long[lane])) {
        run_lane(l, lane, NULL, SKERRY_TOO_LONG);
        return false;
    }
    if (unlikely(l->store->shards[l->places[lane].shard] == NULL)) {
        run_lane(l, lane, NULL, SKERRY_WRONG_ROUTE);
        return false;
    }
    return true;
}

static struct shard *lane_shard(const struct lanes *l, uint32_t lane)
{
    return l->store->shards[l->places[lane].shard];
}

static void run_local(struct lanes *l)
{
    uint64_t usable = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        if (!lane_usable(l, i))
            continue;
        usable |= UINT64_C(1) << i;
        keyspace_prefetch(lane_shard(l, i)->keys, l->places[i].hash);
    }
    for (uint32_t i = 0; i < l->count + BEHIND; i++) {
        if (i < l->count && (usable >> i & 1) != 0)
            keyspace_prefetch_entry(lane_shard(l, i)->keys, l->places[i].hash);
        if (i >= BEHIND && (usable >> (i - BEHIND) & 1) != 0)
            run_lane(l, i - BEHIND, lane_shard(l, i - BEHIND), SKERRY_OK);
    }
}

// Groups in ascending order of their shards; returns how many.
static uint32_t make_groups(struct lanes *l, struct group *groups)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        if (!lane_usable(l, i))
            continue;
        uint32_t shard = l->places[i].shard, at = count;
        while (at > 0 && groups[at - 1].shard > shard)
            at--;
        if (at > 0 && groups[at - 1].shard == shard) {
            groups[at - 1].lanes |= UINT64_C(1) << i;
            continue;
        }
        for (uint32_t j = count; j > at; j--)
            groups[j] = groups[j - 1];
        groups[at] = (struct group){ .lanes = UINT64_C(1) << i, .shard = shard };
        count++;
    }
    return count;
}

static void group_enter(struct lanes *l, const struct group *g)
{
    struct shard *sh = l->store->shards[g->shard];
    shard_lock(l->store, sh);
    for (uint64_t left = g->lanes; left != 0; left &= left - 1)
        keyspace_prefetch(sh->keys, l->places[__builtin_ctzll(left)].hash);
}

static void group_fetch(struct lanes *l, const struct group *g)
{
    struct shard *sh = l->store->shards[g->shard];
    for (uint64_t left = g->lanes; left != 0; left &= left - 1)
        keyspace_prefetch_entry(sh->keys, l->places[__builtin_ctzll(left)].hash);
}

static void group_run(struct lanes *l, const struct group *g)
{
    struct shard *sh = l->store->shards[g->shard];
    for (uint64_t left = g->lanes; left != 0; left &= left - 1)
        run_lane(l, (uint32_t)__builtin_ctzll(left), sh, SKERRY_OK);
    shard_unlock(l->store, sh);
}

static void run_shared(struct lanes *l)
{
    struct group groups[LANES_MAX];
    uint32_t count = make_groups(l, groups);
    for (uint32_t step = 0; step < count + AHEAD - 1; step++) {
        if (step < count)
            group_enter(l, &groups[step]);
        if (step >= AHEAD / 2 && step - AHEAD / 2 < count)
            group_fetch(l, &groups[step - AHEAD / 2]);
        if (step >= AHEAD - 1 && step - (AHEAD - 1) < count)
            group_run(l, &groups[step - (AHEAD - 1)]);
    }
}

void lanes_flush(struct lanes *l)
{
    if (l->count == 0)
        return;
    if (l->store->local)
        run_local(l);
    else
        run_shared(l);
    l->first += l->count;
    l->count = 0;
}

void lanes_add(struct lanes *l, struct slice key, const struct skerry_prepared *prepared)
{
    uint32_t lane = l->count++;
    l->too_long[lane] = prepared == NULL && key.len > SKERRY_KEY_MAX;
    if (prepared != NULL)
        l->places[lane] = place_prepared(prepared);
    else if (likely(!l->too_long[lane]))
        l->places[lane] = core_place_here(l->store->core, key);
    if (l->count == LANES_MAX)
        lanes_flush(l);
}
