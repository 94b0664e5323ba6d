// SPDX-License-Identifier: Apache-2.0
// Looking at all keys: a piece at a time, or at one instant.
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/embed/embed.h"

#define CURSOR_BITS 48 // of the keyspace's cursor; the shard's number stands above
static_assert(SKERRY_SHARDS_MAX <= 1u << (64 - CURSOR_BITS), "a cursor names any shard");

struct visiting {
    skerry_visit_fn *visit;
    void *context;
};

static void visit_entry(void *context, struct entry *e)
{
    const struct visiting *v = context;
    struct slice key = entry_key(e), value = entry_value(e);
    int64_t deadline = entry_deadline(e);
    struct skerry_item item = {
        .key = { key.data, key.len },
        .value = { value.data, value.len },
        .deadline_at_ms = deadline == ENTRY_NO_DEADLINE ? SKERRY_NO_TTL : deadline,
    };
    v->visit(v->context, &item);
}

enum skerry_status skerry_iterate(struct skerry *s, uint64_t *cursor, uint32_t steps, skerry_visit_fn *visit, void *context)
{
    struct visiting v = { .visit = visit, .context = context };
    uint32_t shards = s->core->route.shards;
    uint64_t number = *cursor >> CURSOR_BITS, place = *cursor & ((UINT64_C(1) << CURSOR_BITS) - 1);
    if (!handle_usable(s))
        return SKERRY_WRONG_THREAD;
    if (number >= shards || steps == 0)
        return SKERRY_INVALID;
    while (number < shards && s->shards[number] == NULL)
        number++;
    if (number < shards) {
        struct shard *sh = s->shards[number];
        shard_lock(s, sh);
        place = keyspace_scan(sh->keys, place, steps, core_now_ms(s->core), visit_entry, &v);
        shard_unlock(s, sh);
        number += place == 0;
    }
    while (number < shards && s->shards[number] == NULL)
        number++;
    *cursor = number < shards ? number << CURSOR_BITS | place : 0;
    return SKERRY_OK;
}

// All keys at one instant

struct skerry_keys {
    size_t count;
    size_t *ends; // of each key in `bytes`
    uint8_t *bytes;
    size_t used;
};

static void measure_key(void *context, struct entry *e)
{
    struct skerry_keys *k = context;
    k->count++;
    k->used += entry_key(e).len;
}

static void copy_key(void *context, struct entry *e)
{
    struct skerry_keys *k = context;
    struct slice key = entry_key(e);
    if (key.len > 0)
        memcpy(k->bytes + k->used, key.data, key.len);
    k->used += key.len;
    k->ends[k->count++] = k->used;
}

static void walk_all(struct skerry *s, int64_t now_ms, keyspace_visit_fn *visit, struct skerry_keys *k)
{
    k->count = 0;
    k->used = 0;
    for (uint32_t i = 0; i < s->core->route.shards; i++) {
        if (s->shards[i] == NULL)
            continue;
        uint64_t cursor = 0;
        do {
            cursor = keyspace_scan(s->shards[i]->keys, cursor, UINT32_MAX, now_ms, visit, k);
        } while (cursor != 0);
    }
}

static void lock_all(struct skerry *s)
{
    for (uint32_t i = 0; i < s->core->route.shards; i++) {
        if (s->shards[i] != NULL)
            shard_lock(s, s->shards[i]);
    }
}

static void unlock_all(struct skerry *s)
{
    for (uint32_t i = 0; i < s->core->route.shards; i++) {
        if (s->shards[i] != NULL)
            shard_unlock(s, s->shards[i]);
    }
}

// Two walks over what nobody changes in between.
static bool copy_keys(struct skerry *s, struct skerry_keys *k)
{
    int64_t now_ms = core_now_ms(s->core);
    walk_all(s, now_ms, measure_key, k);
    k->ends = malloc((k->count + 1) * sizeof k->ends[0]);
    k->bytes = malloc(k->used + 1);
    if (k->ends == NULL || k->bytes == NULL)
        return false;
    walk_all(s, now_ms, copy_key, k);
    return true;
}

enum skerry_status skerry_keys_new(struct skerry *s, struct skerry_keys **out)
{
    if (!handle_usable(s))
        return SKERRY_WRONG_THREAD;
    struct skerry_keys *k = calloc(1, sizeof *k);
    if (k == NULL)
        return SKERRY_NO_MEMORY;
    lock_all(s);
    bool done = copy_keys(s, k);
    unlock_all(s);
    if (!done) {
        skerry_keys_free(k);
        return SKERRY_NO_MEMORY;
    }
    *out = k;
    return SKERRY_OK;
}

size_t skerry_keys_count(const struct skerry_keys *keys)
{
    return keys->count;
}

struct skerry_slice skerry_keys_at(const struct skerry_keys *keys, size_t i)
{
    assert(i < keys->count);
    size_t begin = i == 0 ? 0 : keys->ends[i - 1];
    return (struct skerry_slice){ .data = keys->bytes + begin, .len = keys->ends[i] - begin };
}

void skerry_keys_free(struct skerry_keys *keys)
{
    if (keys == NULL)
        return;
    free(keys->ends);
    free(keys->bytes);
    free(keys);
}
