// SPDX-License-Identifier: Apache-2.0
// One operation on one key of a shard that the caller has entered. Shared by the functions for single keys and by batches.
#pragma once

#include "base/bytes.h"
#include "engine/embed/embed.h"
#include "engine/store/find.h"

enum skerry_status point_set(const struct core *c, struct shard *sh, struct slice key, uint64_t hash, struct slice value, int64_t ttl_ms);
enum skerry_status point_delete(const struct core *c, struct shard *sh, struct slice key, uint64_t hash);
enum skerry_status point_ttl(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t *ttl_ms);
enum skerry_status point_expire(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t ttl_ms);
enum skerry_status point_expire_at(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t deadline_ms);
enum skerry_status point_persist(struct core *c, struct shard *sh, struct slice key, uint64_t hash);
enum skerry_status point_incr(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t amount, int64_t *result);
enum skerry_status point_cas(struct core *c, struct shard *sh, struct slice key, uint64_t hash, struct slice expected, struct slice value);

// What a write needs: the time (exact where the write depends on it), the keyspace's deadline, and room when memory is limited.
// SKERRY_INVALID: ttl_ms is outside its range. SKERRY_FULL: there is no room.
enum skerry_status point_begin_write(const struct core *c, struct shard *sh, int64_t ttl_ms, int64_t *now_ms,
                                     int64_t *deadline_ms) warn_unused;

static inline struct entry *point_find(struct core *c, struct keyspace *ks, struct slice key, uint64_t hash)
{
    return keyspace_find_at(ks, key, hash, &c->clock.clock);
}

static always_inline enum skerry_status point_copy(struct slice value, void *buffer, size_t capacity, size_t *len)
{
    *len = value.len;
    if (unlikely(value.len > capacity))
        return SKERRY_TOO_SMALL;
    copy_short(buffer, value.data, value.len);
    return SKERRY_OK;
}

static always_inline enum skerry_status point_get(struct core *c, struct shard *sh, struct slice key, uint64_t hash, void *buffer,
                                                  size_t capacity, size_t *len)
{
    const struct entry *e = keyspace_find_here(sh->keys, key, hash, &c->clock.clock);
    if (e == NULL)
        return SKERRY_NOT_FOUND;
    return point_copy(entry_value(e), buffer, capacity, len);
}

static inline enum skerry_status point_exists(struct core *c, struct shard *sh, struct slice key, uint64_t hash)
{
    return keyspace_find_here(sh->keys, key, hash, &c->clock.clock) != NULL ? SKERRY_OK : SKERRY_NOT_FOUND;
}
