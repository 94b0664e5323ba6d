// SPDX-License-Identifier: Apache-2.0
// The public functions for single keys: route, enter the shard, run, leave.
#include "engine/embed/point.h"

#define ENTER(key_data, key_length)      ENTER_BY(core_place, key_data, key_length)
#define ENTER_HERE(key_data, key_length) ENTER_BY(core_place_here, key_data, key_length)

#define ENTER_BY(place_of, key_data, key_length)                                                                                           \
    if (unlikely((key_length) > SKERRY_KEY_MAX))                                                                                           \
        return SKERRY_TOO_LONG;                                                                                                            \
    struct slice k = slice_of(key_data, key_length);                                                                                       \
    struct place p = place_of(s->core, k);                                                                                                 \
    enum skerry_status status;                                                                                                             \
    struct shard *sh = shard_enter(s, p.shard, &status);                                                                                   \
    if (unlikely(sh == NULL))                                                                                                              \
    return status

#define LEAVE(result)                                                                                                                      \
    status = (result);                                                                                                                     \
    shard_unlock(s, sh);                                                                                                                   \
    return status

enum skerry_status single_get(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity, size_t *len)
{
    ENTER_HERE(key, key_len);
    LEAVE(point_get(s->core, sh, k, p.hash, buffer, capacity, len));
}

enum skerry_status skerry_get(struct skerry *s, const void *key, size_t key_len, void *buffer, size_t capacity, size_t *len)
{
    return s->get(s, key, key_len, buffer, capacity, len);
}

enum skerry_status skerry_set(struct skerry *s, const void *key, size_t key_len, const void *value, size_t value_len, int64_t ttl_ms)
{
    if (unlikely(value_len > SKERRY_VALUE_MAX))
        return SKERRY_TOO_LONG;
    ENTER_HERE(key, key_len);
    LEAVE(point_set(s->core, sh, k, p.hash, slice_of(value, value_len), ttl_ms));
}

enum skerry_status skerry_delete(struct skerry *s, const void *key, size_t key_len)
{
    ENTER(key, key_len);
    LEAVE(point_delete(s->core, sh, k, p.hash));
}

enum skerry_status skerry_exists(struct skerry *s, const void *key, size_t key_len)
{
    ENTER(key, key_len);
    LEAVE(point_exists(s->core, sh, k, p.hash));
}

enum skerry_status skerry_ttl(struct skerry *s, const void *key, size_t key_len, int64_t *ttl_ms)
{
    ENTER(key, key_len);
    LEAVE(point_ttl(s->core, sh, k, p.hash, ttl_ms));
}

enum skerry_status skerry_expire(struct skerry *s, const void *key, size_t key_len, int64_t ttl_ms)
{
    ENTER(key, key_len);
    LEAVE(point_expire(s->core, sh, k, p.hash, ttl_ms));
}

enum skerry_status skerry_expire_at(struct skerry *s, const void *key, size_t key_len, int64_t deadline_at_ms)
{
    ENTER(key, key_len);
    LEAVE(point_expire_at(s->core, sh, k, p.hash, deadline_at_ms));
}

enum skerry_status skerry_persist(struct skerry *s, const void *key, size_t key_len)
{
    ENTER(key, key_len);
    LEAVE(point_persist(s->core, sh, k, p.hash));
}

enum skerry_status skerry_incr(struct skerry *s, const void *key, size_t key_len, int64_t amount, int64_t *result)
{
    int64_t ours;
    ENTER(key, key_len);
    LEAVE(point_incr(s->core, sh, k, p.hash, amount, result != NULL ? result : &ours));
}

enum skerry_status skerry_cas(struct skerry *s, const void *key, size_t key_len, const void *expected, size_t expected_len,
                              const void *value, size_t value_len)
{
    if (unlikely(value_len > SKERRY_VALUE_MAX))
        return SKERRY_TOO_LONG;
    ENTER(key, key_len);
    LEAVE(point_cas(s->core, sh, k, p.hash, slice_of(expected, expected_len), slice_of(value, value_len)));
}

// Prepared keys: the place is known.

#define ENTER_PREPARED(key)                                                                                                                \
    struct slice k = slice_of((key)->key.data, (key)->key.len);                                                                            \
    struct place p = place_prepared(key);                                                                                                  \
    enum skerry_status status;                                                                                                             \
    struct shard *sh = shard_enter(s, p.shard, &status);                                                                                   \
    if (unlikely(sh == NULL))                                                                                                              \
    return status

enum skerry_status skerry_prepare(const struct skerry *s, const void *key, size_t key_len, struct skerry_prepared *out)
{
    if (key_len > SKERRY_KEY_MAX)
        return SKERRY_TOO_LONG;
    struct place p = core_place(s->core, slice_of(key, key_len));
    *out = (struct skerry_prepared){ .key = { .data = key, .len = key_len }, .opaque = { p.hash, p.shard } };
    return SKERRY_OK;
}

enum skerry_status skerry_get_prepared(struct skerry *s, const struct skerry_prepared *key, void *buffer, size_t capacity, size_t *len)
{
    ENTER_PREPARED(key);
    LEAVE(point_get(s->core, sh, k, p.hash, buffer, capacity, len));
}

enum skerry_status skerry_set_prepared(struct skerry *s, const struct skerry_prepared *key, const void *value, size_t value_len,
                                       int64_t ttl_ms)
{
    if (unlikely(value_len > SKERRY_VALUE_MAX))
        return SKERRY_TOO_LONG;
    ENTER_PREPARED(key);
    LEAVE(point_set(s->core, sh, k, p.hash, slice_of(value, value_len), ttl_ms));
}

enum skerry_status skerry_delete_prepared(struct skerry *s, const struct skerry_prepared *key)
{
    ENTER_PREPARED(key);
    LEAVE(point_delete(s->core, sh, k, p.hash));
}

// Routing

uint32_t skerry_shards(const struct skerry *s)
{
    return s->core->route.shards;
}

uint32_t skerry_route_key(const struct skerry *s, const void *key, size_t key_len)
{
    return route_shard(&s->core->route, slice_of(key, key_len));
}

uint32_t skerry_route_session(const struct skerry *s, const void *session, size_t session_len)
{
    return core_session_place(s->core, slice_of(session, session_len)).shard;
}

bool skerry_owns(const struct skerry *s, uint32_t shard)
{
    return shard < s->core->route.shards && s->shards[shard] != NULL;
}
