// SPDX-License-Identifier: Apache-2.0
// Keys of a worker that have changed and are not settled: a table by hash, and a list of each shard. For effects.c, and for who begins and
// ends it.
#pragma once

#include "engine/shard/effects.h"
#include "engine/shard/worker.h"

#define KEY_INLINE 48 // bytes of a key that a node holds itself

enum dirty_what { DIRTY_VALUE = 1, DIRTY_RANGE = 2, DIRTY_DEADLINE = 4 };

struct dirty {
    struct chained node;
    struct list link; // of its shard
    struct keyspace *keyspace;
    uint64_t lo, hi;    // DIRTY_RANGE
    uint32_t shard, db; // databases change places only when nothing is dirty
    uint8_t what;
    uint32_t key_len;
    uint8_t *key; // `bytes`, or heap
    uint8_t bytes[KEY_INLINE];
};

static inline struct dirty *effects_dirty_of(struct chained *node)
{
    return container_of(node, struct dirty, node);
}

// NULL: it is clean.
static inline struct dirty *effects_dirty_find(const struct effects *e, const struct keyspace *ks, uint64_t hash, struct slice key)
{
    for (struct chained *node = chains_first(&e->dirty, hash); node != NULL; node = chains_next(node)) {
        struct dirty *d = effects_dirty_of(node);
        if (d->keyspace == ks && d->key_len == key.len && (key.len == 0 || memcmp(d->key, key.data, key.len) == 0))
            return d;
    }
    return NULL;
}

// Shards of this worker.
static inline uint32_t effects_dirty_shards(const struct worker *w)
{
    uint32_t shards = w->route.shards, workers = w->server->worker_count;
    return w->id < shards ? (shards - w->id + workers - 1) / workers : 0;
}

int effects_dirty_init(struct effects *e, uint32_t shards) warn_unused;
void effects_dirty_deinit(struct effects *e, uint32_t shards);
// A clean key is dirty now, in nothing yet. NULL: no memory, and the change is lost.
struct dirty *effects_dirty_add(struct worker *w, struct keyspace *ks, uint64_t hash, struct slice key);
// It is clean, and `d` gone.
void effects_dirty_remove(struct effects *e, struct dirty *d);
uint64_t effects_dirty_memory(const struct effects *e);
