// SPDX-License-Identifier: Apache-2.0
// Keeping house: background work, limits, figures, words.
#include <string.h>

#include "engine/embed/embed.h"

#define SLICE_ENTRIES 64u // of maintenance before the lock is given back and the clock looked at

// Tends shards in turns, from where the last call stopped, until the time is up or a whole round had nothing more to do.
enum skerry_status skerry_maintain(struct skerry *s, uint64_t budget_us, bool *more)
{
    const struct core *c = s->core;
    uint32_t shards = c->route.shards, idle = 0;
    if (!handle_usable(s))
        return SKERRY_WRONG_THREAD;
    uint64_t begin_ns = c->clock.monotonic_ns(c->clock.context);
    bool in_time = true;
    while (idle < shards && in_time) {
        struct shard *sh = s->shards[atomic_fetch_add_explicit(&s->next_to_tend, 1, memory_order_relaxed) % shards];
        idle++;
        if (sh == NULL)
            continue;
        shard_lock(s, sh);
        sh->now_ms = core_now_ms(c);
        if (store_maintain(sh->store, sh->now_ms, SLICE_ENTRIES))
            idle = 0;
        shard_unlock(s, sh);
        in_time = c->clock.monotonic_ns(c->clock.context) - begin_ns < budget_us * 1000;
    }
    if (more != NULL)
        *more = idle < shards;
    return SKERRY_OK;
}

int64_t skerry_next_deadline(struct skerry *s)
{
    int64_t next = INT64_MAX;
    if (!handle_usable(s))
        return next;
    for (uint32_t i = 0; i < s->core->route.shards; i++) {
        struct shard *sh = s->shards[i];
        if (sh == NULL)
            continue;
        shard_lock(s, sh);
        int64_t at = store_next_deadline(sh->store);
        shard_unlock(s, sh);
        if (at < next)
            next = at;
    }
    return next;
}

// One step for every shard of the handle, each under its lock.
static enum skerry_status each_shard(struct skerry *s, void (*step)(struct shard *sh, void *context), void *context)
{
    if (!handle_usable(s))
        return SKERRY_WRONG_THREAD;
    for (uint32_t i = 0; i < s->core->route.shards; i++) {
        struct shard *sh = s->shards[i];
        if (sh == NULL)
            continue;
        shard_lock(s, sh);
        step(sh, context);
        shard_unlock(s, sh);
    }
    return SKERRY_OK;
}

static void clear(struct shard *sh, void *context)
{
    keyspace_clear(sh->keys);
    keyspace_clear(sh->packs);
}

enum skerry_status skerry_clear(struct skerry *s)
{
    return each_shard(s, clear, NULL);
}

static void set_memory_max(struct shard *sh, void *context)
{
    const uint64_t *bytes = context;
    store_set_memory_max(sh->store, *bytes);
    sh->limited = true; // from now on: the policy may need the time even when the limit goes
}

enum skerry_status skerry_set_memory_max(struct skerry *s, uint64_t bytes)
{
    uint32_t shards = s->core->route.shards;
    uint64_t each = bytes / shards + (bytes % shards != 0);
    return each_shard(s, set_memory_max, &each);
}

static void set_policy(struct shard *sh, void *context)
{
    const enum store_policy *policy = context;
    store_set_policy(sh->store, *policy);
    sh->limited = true;
}

enum skerry_status skerry_set_policy(struct skerry *s, enum skerry_policy policy)
{
    enum store_policy p = (enum store_policy)policy;
    if ((uint32_t)policy >= (uint32_t)STORE_POLICIES)
        return SKERRY_INVALID;
    enum skerry_status status = each_shard(s, set_policy, &p);
    owner_choose_get(s);
    return status;
}

static void add_stats(struct shard *sh, void *context)
{
    struct skerry_stats *t = context;
    struct keyspace_stats keys = keyspace_stats(sh->keys), packs = keyspace_stats(sh->packs);
    struct store_memory m = store_memory(sh->store);
    t->keys += keyspace_count(sh->keys);
    t->keys_with_deadline += keyspace_deadline_count(sh->keys);
    t->sessions += keyspace_count(sh->packs);
    t->hits += keys.hits + packs.hits;
    t->misses += keys.misses + packs.misses;
    t->expired += keys.expired + packs.expired;
    t->evicted += keys.evicted + packs.evicted;
    t->memory_used += store_memory_used(sh->store);
    t->memory_reserved += m.reserved;
    t->memory_entries += m.entries;
    t->memory_index += m.index;
    t->memory_large += m.blobs;
    t->memory_deadlines += m.deadlines;
    t->views += sh->views;
}

enum skerry_status skerry_stats(struct skerry *s, struct skerry_stats *out)
{
    struct skerry_stats total = { 0 };
    size_t size = out->size;
    if (size < sizeof(size_t))
        return SKERRY_INVALID;
    enum skerry_status status = each_shard(s, add_stats, &total);
    if (status != SKERRY_OK)
        return status;
    total.size = size;
    // An older caller knows fewer fields, a newer one finds those that we do not know as 0.
    memset(out, 0, size);
    memcpy(out, &total, size < sizeof total ? size : sizeof total);
    return SKERRY_OK;
}

const char *skerry_version(void)
{
    return SKERRY_VERSION;
}

const char *skerry_status_text(enum skerry_status status)
{
    static const char *const TEXTS[] = {
        [SKERRY_OK] = "done",
        [SKERRY_NOT_FOUND] = "no such key",
        [SKERRY_MISMATCH] = "the value is another one",
        [SKERRY_TOO_SMALL] = "the buffer is too small",
        [SKERRY_TOO_LONG] = "key or value above its limit",
        [SKERRY_NO_MEMORY] = "out of memory",
        [SKERRY_FULL] = "memory limit reached and nothing may be evicted",
        [SKERRY_WRONG_ROUTE] = "the key belongs to another local store",
        [SKERRY_WRONG_THREAD] = "the local store belongs to another thread",
        [SKERRY_BUSY] = "other handles or views are alive",
        [SKERRY_NOT_INTEGER] = "the value is not an integer",
        [SKERRY_OVERFLOW] = "the sum does not fit 64 bits",
        [SKERRY_BAD_VIEW] = "the view was released or is not this store's",
        [SKERRY_INVALID] = "an argument is outside its range",
    };
    if ((uint32_t)status >= sizeof TEXTS / sizeof TEXTS[0])
        return "no such status";
    return TEXTS[status];
}
