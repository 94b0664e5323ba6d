// SPDX-License-Identifier: Apache-2.0
// What the files of this folder know of a keyspace and of the store around it. Nobody else includes it.
#pragma once

#include "engine/store/deadline.h"
#include "engine/store/evict.h"
#include "engine/store/index.h"
#include "engine/store/keyspace.h"
#include "engine/store/s3fifo.h"
#include "engine/store/store.h"

struct keyspace {
    struct index index;
    struct store *store;
    uint64_t deadline_count;
    uint64_t deadline_sum; // of all deadlines, modulo 2^64: their mean is exact as long as it is asked from nearby
    struct keyspace_stats stats;
};
static_assert(sizeof(struct keyspace) < 256, "16 databases times many shards, most of them empty");

struct store {
    struct index_world world; // slabs and how entries hash
    struct deadlines deadlines;
    struct store_options options;
    struct hash_keys hash_keys;
    bool has_recency;          // the policy keeps something in entries
    bool untouching;           // and lookups leave it as it is
    uint32_t relief_rest;      // limit.c: calls until a slab to be drained is looked for again
    struct directory *garbage; // cleared keyspaces, freed in pieces
    struct blobs *blobs;       // pages for large values
    uint64_t blob_bytes;       // owned by entries
    uint64_t blob_count;
    int64_t charged; // others' bytes
    int64_t now_ms;  // of the last call that said so
    struct prng prng;
    struct evict_pool pool;
    struct s3fifo s3fifo;
    store_change_fn *on_change; // or NULL
    void *change_context;
    store_before_fn *before_change; // or NULL
    void *before_context;
    uint32_t local_shards;
    struct keyspace **places; // [local shard][database]; store_swap exchanges the pointers
    struct keyspace *keyspaces;
};

// Of all local shards and databases: how many of store.keyspaces are in use.
static inline size_t store_keyspace_total(const struct store *s)
{
    return (size_t)s->local_shards * s->options.databases;
}

static inline void store_changed(struct keyspace *ks, uint64_t hash, struct slice key, enum store_change_kind kind, uint64_t lo,
                                 uint64_t hi)
{
    const struct store *s = ks->store;
    if (unlikely(s->on_change != NULL))
        s->on_change(s->change_context,
                     &(struct store_change){ .keyspace = ks, .hash = hash, .key = key, .kind = kind, .lo = lo, .hi = hi });
}

static inline void store_changed_at(struct keyspace *ks, uint64_t hash, struct slice key, const struct entry *entry)
{
    const struct store *s = ks->store;
    if (unlikely(s->on_change != NULL))
        s->on_change(s->change_context,
                     &(struct store_change){ .keyspace = ks, .hash = hash, .key = key, .kind = STORE_SET, .entry = entry });
}

// Before the first byte changes. `e` NULL: there is none.
static inline void store_changes(struct keyspace *ks, uint64_t hash, struct slice key, struct entry *e)
{
    if (unlikely(ks->store->before_change != NULL))
        ks->store->before_change(ks->store->before_context, ks, hash, key, e);
}

// Releases the slot with what it points to.
void store_release_entry(struct store *s, uint32_t ref);
void store_own_blob(struct store *s, const struct blob *b);
void store_disown_blob(struct store *s, const struct blob *b);
// An index that is empty or given up goes to be freed.
void store_discard_index(struct store *s, struct index *ix);
// Whose is this entry? `keyspace` NULL: nobody's, it belongs to something that was cleared.
struct owner {
    struct keyspace *keyspace;
    uint64_t hash;
    struct spot spot;
};
struct owner store_owner(struct store *s, uint32_t ref);

static inline struct entry *store_entry(const struct store *s, uint32_t ref)
{
    return arena_at(&s->world.slabs.arena, ref);
}

static inline uint32_t store_ref(const struct store *s, const struct entry *e)
{
    return arena_ref(&s->world.slabs.arena, e);
}

// Removes an entry that is in the index at `spot`.
void keyspace_remove_spot(struct keyspace *ks, uint64_t hash, struct spot spot);
