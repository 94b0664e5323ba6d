// SPDX-License-Identifier: Apache-2.0
#include "engine/embed/point.h"

#include "proto/number.h"

// False when ttl_ms is outside its range.
static bool deadline_of(int64_t ttl_ms, int64_t now_ms, int64_t *deadline_ms)
{
    if (ttl_ms == SKERRY_NO_TTL || ttl_ms == SKERRY_KEEP_TTL) {
        *deadline_ms = ttl_ms == SKERRY_NO_TTL ? ENTRY_NO_DEADLINE : KEYSPACE_KEEP_DEADLINE;
        return true;
    }
    return ttl_ms >= 0 && !__builtin_add_overflow(now_ms, ttl_ms, deadline_ms);
}

enum skerry_status point_begin_write(const struct core *c, struct shard *sh, int64_t ttl_ms, int64_t *now_ms, int64_t *deadline_ms)
{
    if (ttl_ms != SKERRY_NO_TTL || sh->limited)
        sh->now_ms = core_now_ms(c);
    *now_ms = sh->now_ms;
    if (unlikely(!deadline_of(ttl_ms, sh->now_ms, deadline_ms)))
        return SKERRY_INVALID;
    if (unlikely(sh->limited) && !store_make_room(sh->store, sh->now_ms))
        return SKERRY_FULL;
    return SKERRY_OK;
}

enum skerry_status point_set(const struct core *c, struct shard *sh, struct slice key, uint64_t hash, struct slice value, int64_t ttl_ms)
{
    int64_t now_ms, deadline_ms;
    enum skerry_status status = point_begin_write(c, sh, ttl_ms, &now_ms, &deadline_ms);
    if (unlikely(status != SKERRY_OK))
        return status;
    return keyspace_set(sh->keys, key, hash, ENTRY_STRING, value, deadline_ms, now_ms) != NULL ? SKERRY_OK : SKERRY_NO_MEMORY;
}

enum skerry_status point_delete(const struct core *c, struct shard *sh, struct slice key, uint64_t hash)
{
    // Whether it was alive still has to be told apart only when there is something to delete: the clock is read once at most.
    if (keyspace_deadline_count(sh->keys) > 0)
        sh->now_ms = core_now_ms(c);
    return keyspace_delete(sh->keys, key, hash, sh->now_ms) ? SKERRY_OK : SKERRY_NOT_FOUND;
}

enum skerry_status point_ttl(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t *ttl_ms)
{
    const struct entry *e = point_find(c, sh->keys, key, hash);
    if (e == NULL)
        return SKERRY_NOT_FOUND;
    int64_t deadline_ms = entry_deadline(e);
    if (deadline_ms == ENTRY_NO_DEADLINE) {
        *ttl_ms = SKERRY_NO_TTL;
        return SKERRY_OK;
    }
    int64_t left = deadline_ms - core_now_ms(c);
    *ttl_ms = left > 0 ? left : 0;
    return SKERRY_OK;
}

enum skerry_status point_expire_at(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t deadline_ms)
{
    sh->now_ms = core_now_ms(c);
    struct entry *e = keyspace_find(sh->keys, key, hash, sh->now_ms);
    if (e == NULL)
        return SKERRY_NOT_FOUND;
    if (deadline_ms <= sh->now_ms) {
        keyspace_remove(sh->keys, e);
        return SKERRY_OK;
    }
    return keyspace_set_deadline(sh->keys, e, deadline_ms) != NULL ? SKERRY_OK : SKERRY_NO_MEMORY;
}

enum skerry_status point_expire(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t ttl_ms)
{
    int64_t deadline_ms;
    if (ttl_ms < 0 || !deadline_of(ttl_ms, core_now_ms(c), &deadline_ms))
        return SKERRY_INVALID;
    return point_expire_at(c, sh, key, hash, deadline_ms);
}

enum skerry_status point_persist(struct core *c, struct shard *sh, struct slice key, uint64_t hash)
{
    struct entry *e = point_find(c, sh->keys, key, hash);
    if (e == NULL)
        return SKERRY_NOT_FOUND;
    return keyspace_set_deadline(sh->keys, e, ENTRY_NO_DEADLINE) != NULL ? SKERRY_OK : SKERRY_NO_MEMORY;
}

// The value of a key that stays what it is otherwise.
static enum skerry_status replace(const struct core *c, struct shard *sh, struct slice key, uint64_t hash, struct slice value, bool is_new)
{
    return point_set(c, sh, key, hash, value, is_new ? SKERRY_NO_TTL : SKERRY_KEEP_TTL);
}

enum skerry_status point_incr(struct core *c, struct shard *sh, struct slice key, uint64_t hash, int64_t amount, int64_t *result)
{
    const struct entry *e = point_find(c, sh->keys, key, hash);
    int64_t value = 0;
    if (e != NULL && !number_parse_i64(entry_value(e), &value))
        return SKERRY_NOT_INTEGER;
    if (__builtin_add_overflow(value, amount, &value))
        return SKERRY_OVERFLOW;
    char text[NUMBER_TEXT_MAX];
    enum skerry_status status = replace(c, sh, key, hash, slice_of(text, number_format_i64(text, value)), e == NULL);
    if (status == SKERRY_OK)
        *result = value;
    return status;
}

enum skerry_status point_cas(struct core *c, struct shard *sh, struct slice key, uint64_t hash, struct slice expected, struct slice value)
{
    const struct entry *e = point_find(c, sh->keys, key, hash);
    if (expected.data == NULL) {
        if (e != NULL)
            return SKERRY_MISMATCH;
    } else if (e == NULL) {
        return SKERRY_NOT_FOUND;
    } else if (!slice_equal(entry_value(e), expected)) {
        return SKERRY_MISMATCH;
    }
    return replace(c, sh, key, hash, value, e == NULL);
}
