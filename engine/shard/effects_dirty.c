// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/effects_dirty.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/shard/effects_records.h"

#define CHAINS_MIN 256

int effects_dirty_init(struct effects *e, uint32_t shards)
{
    int rc = chains_init(&e->dirty, CHAINS_MIN);
    e->shards = calloc(shards + 1, sizeof *e->shards);
    if (rc != 0 || e->shards == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i <= shards; i++)
        list_init(&e->shards[i]);
    return 0;
}

static void give_back(struct effects *e, struct dirty *d)
{
    if (d->key != d->bytes) {
        e->key_bytes -= d->key_len;
        free(d->key);
    }
    free_list_give(&e->free, d);
}

void effects_dirty_remove(struct effects *e, struct dirty *d)
{
    chains_remove(&e->dirty, &d->node);
    list_remove(&d->link);
    give_back(e, d);
}

void effects_dirty_deinit(struct effects *e, uint32_t shards)
{
    for (uint32_t i = 0; e->shards != NULL && i < shards; i++)
        list_for_each_safe (node, &e->shards[i])
            effects_dirty_remove(e, container_of(node, struct dirty, link));
    free_list_deinit(&e->free);
    chains_deinit(&e->dirty);
    free(e->shards);
}

static struct dirty *dirty_new(struct effects *e, struct slice key)
{
    struct dirty *d = free_list_new(&e->free, sizeof *d);
    if (d == NULL)
        return NULL;
    d->key = key.len <= KEY_INLINE ? d->bytes : malloc(key.len);
    if (d->key == NULL) {
        free(d);
        return NULL;
    }
    if (key.len > 0)
        memcpy(d->key, key.data, key.len);
    d->key_len = (uint32_t)key.len;
    e->key_bytes += d->key == d->bytes ? 0 : key.len;
    return d;
}

struct dirty *effects_dirty_add(struct worker *w, struct keyspace *ks, uint64_t hash, struct slice key)
{
    struct effects *e = &w->effects;
    struct dirty *d = dirty_new(e, key);
    if (d == NULL) {
        effects_records_lose(e);
        return NULL;
    }
    store_place(w->store, ks, &d->shard, &d->db);
    d->keyspace = ks;
    d->what = 0;
    d->lo = UINT64_MAX;
    d->hi = 0;
    chains_insert(&e->dirty, &d->node, hash);
    list_append(&e->shards[d->shard / w->server->worker_count], &d->link);
    return d;
}

uint64_t effects_dirty_memory(const struct effects *e)
{
    return ((uint64_t)e->dirty.count + e->free.count) * sizeof(struct dirty) + e->key_bytes + chains_memory(&e->dirty);
}
