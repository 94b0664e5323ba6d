// SPDX-License-Identifier: Apache-2.0
// Handles: opening, cloning, splitting, handing over, closing.
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/embed/embed.h"

static_assert((int)SKERRY_NOEVICTION == (int)STORE_NOEVICTION && (int)SKERRY_ALLKEYS_LRU == (int)STORE_ALLKEYS_LRU &&
                  (int)SKERRY_ALLKEYS_LFU == (int)STORE_ALLKEYS_LFU && (int)SKERRY_ALLKEYS_RANDOM == (int)STORE_ALLKEYS_RANDOM &&
                  (int)SKERRY_VOLATILE_LRU == (int)STORE_VOLATILE_LRU && (int)SKERRY_VOLATILE_LFU == (int)STORE_VOLATILE_LFU &&
                  (int)SKERRY_VOLATILE_RANDOM == (int)STORE_VOLATILE_RANDOM && (int)SKERRY_VOLATILE_TTL == (int)STORE_VOLATILE_TTL &&
                  (int)SKERRY_ALLKEYS_S3FIFO == (int)STORE_ALLKEYS_S3FIFO && (int)SKERRY_VOLATILE_S3FIFO == (int)STORE_VOLATILE_S3FIFO &&
                  (int)SKERRY_VOLATILE_S3FIFO + 1 == (int)STORE_POLICIES,
              "the public names are the store's");
static_assert((int)SKERRY_ROUTE_FULL_KEY == (int)ROUTE_FULL_KEY && (int)SKERRY_ROUTE_SESSION_PREFIX == (int)ROUTE_SESSION_PREFIX,
              "and the route's");

// Reads what an older or newer caller filled in: fields that it does not know are 0, fields that we do not know must be.
static bool read_struct(void *to, size_t our_size, const void *from, size_t their_size)
{
    if (their_size < sizeof(size_t))
        return false;
    const uint8_t *bytes = from;
    for (size_t i = our_size; i < their_size; i++) {
        if (bytes[i] != 0)
            return false;
    }
    memset(to, 0, our_size);
    memcpy(to, from, their_size < our_size ? their_size : our_size);
    return true;
}

static bool options_valid(const struct skerry_options *o)
{
    return is_power_of_two(o->shards) && o->shards <= SKERRY_SHARDS_MAX && (uint32_t)o->route_mode <= SKERRY_ROUTE_SESSION_PREFIX &&
           (uint32_t)o->hash <= SKERRY_HASH_PUBLIC && (uint32_t)o->huge_pages <= SKERRY_HUGE_OFF &&
           (uint32_t)o->policy < (uint32_t)STORE_POLICIES;
}

enum skerry_status skerry_open(struct skerry **out, const struct skerry_options *options)
{
    struct skerry_options o = skerry_options_default();
    struct skerry_memory memory;
    if (out == NULL || (options != NULL && !read_struct(&o, sizeof o, options, options->size)))
        return SKERRY_INVALID;
    if (o.shards == 0)
        o.shards = SHARDS_DEFAULT;
    if (!options_valid(&o))
        return SKERRY_INVALID;
    if (o.memory != NULL) {
        if (!read_struct(&memory, sizeof memory, o.memory, o.memory->size) || memory.reserve == NULL || memory.release == NULL)
            return SKERRY_INVALID;
        o.memory = &memory;
    }
    struct core *c;
    if (core_new(&c, &o) != 0)
        return SKERRY_NO_MEMORY;
    struct skerry *s = handle_new(c, 0, 1, false);
    if (s == NULL) {
        core_free(c);
        return SKERRY_NO_MEMORY;
    }
    atomic_store(&c->handles, 1);
    fork_register(c);
    *out = s;
    return SKERRY_OK;
}

struct skerry *skerry_clone(struct skerry *s)
{
    if (s == NULL || s->local)
        return NULL;
    atomic_fetch_add(&s->clones, 1);
    return s;
}

static bool has_views(struct skerry *s)
{
    bool found = false;
    for (uint32_t i = 0; i < s->core->route.shards && !found; i++) {
        struct shard *sh = s->shards[i];
        if (sh == NULL)
            continue;
        shard_lock(s, sh);
        found = sh->views > 0;
        shard_unlock(s, sh);
    }
    return found;
}

static void drop_core(struct core *c)
{
    if (atomic_fetch_sub(&c->handles, 1) > 1)
        return;
    fork_unregister(c);
    core_free(c);
}

enum skerry_status skerry_close(struct skerry *s)
{
    if (s == NULL)
        return SKERRY_OK;
    if (!s->local) {
        unsigned clones = atomic_load(&s->clones);
        while (clones > 1) {
            if (atomic_compare_exchange_weak(&s->clones, &clones, clones - 1))
                return SKERRY_OK;
        }
    }
    if (has_views(s))
        return SKERRY_BUSY;
    for (uint32_t i = 0; s->local && i < s->core->route.shards; i++) {
        if (s->shards[i] != NULL)
            shard_close(s->shards[i]);
    }
    drop_core(s->core);
    free(s);
    return SKERRY_OK;
}

enum skerry_status skerry_split(struct skerry *s, uint32_t workers, struct skerry **locals)
{
    if (s == NULL || locals == NULL || s->local || workers == 0 || workers > s->core->route.shards)
        return SKERRY_INVALID;
    if (atomic_load(&s->clones) != 1 || has_views(s))
        return SKERRY_BUSY;
    struct core *c = s->core;
    for (uint32_t i = 0; i < workers; i++) {
        locals[i] = handle_new(c, i, workers, true);
        if (locals[i] != NULL)
            continue;
        while (i-- > 0) {
            free(locals[i]);
            locals[i] = NULL;
        }
        return SKERRY_NO_MEMORY;
    }
    atomic_store(&c->handles, workers);
    fork_unregister(c);
    c->locks = false;
    fork_register(c);
    free(s);
    return SKERRY_OK;
}

enum skerry_status skerry_hand_over(struct skerry *local)
{
    if (local == NULL)
        return SKERRY_INVALID;
    if (!local->local)
        return SKERRY_OK;
    if (!thread_owns(local))
        return SKERRY_WRONG_THREAD;
    atomic_store_explicit(&local->owner, 0, memory_order_release);
    return SKERRY_OK;
}
