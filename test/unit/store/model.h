// SPDX-License-Identifier: Apache-2.0
// A store beside the simplest thing that could be right: an array of what each of a few thousand keys should be.
// Every step does one operation on both and compares what it says; model_check compares everything.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/test.h"
#include "engine/store/inside.h"
#include "test/unit/store/pages.h"

#define MODEL_KEYS  4096u
#define MODEL_START INT64_C(1750000000000)

struct model_item {
    bool present;
    bool mark;
    enum entry_type type;
    uint32_t seed; // of the value's bytes
    size_t len;
    int64_t deadline;
};

struct model {
    struct pages pages;
    struct store *store;
    struct keyspace *ks;
    struct prng prng;
    int64_t now_ms;
    uint32_t keys;      // of MODEL_KEYS in play
    uint32_t value_max; // usual length limit
    bool may_fail;      // memory can run out
    bool evicts;        // keys may go on their own, and the policy changes now and then
    uint64_t failures;
    struct model_item items[MODEL_KEYS];
    uint8_t *bytes; // scratch: a key, a value
    uint8_t *value;
};

#define MODEL_VALUE_MAX ((size_t)300 * 1024)
#define MODEL_KEY_MAX   ((size_t)80 * 1024)

// Key 0 is empty, some are longer than a byte's length, than a short's, than a slot.
static inline struct slice model_key(struct model *m, uint32_t id)
{
    size_t len = 4;
    if (id == 0)
        len = 0;
    else if (id % 512 == 1)
        len = 40000 + id;
    else if (id % 64 == 2)
        len = 250 + id % 300;
    else
        len = 4 + id % 40;
    memset(m->bytes, (int)(id % 251), len);
    if (len > 0)
        store_u32(m->bytes, id);
    return slice_of(m->bytes, len);
}

static inline uint8_t model_byte(uint32_t seed, size_t at)
{
    return (uint8_t)(seed + at * 7 + (at >> 8));
}

static inline struct slice model_value(struct model *m, uint32_t seed, size_t len)
{
    for (size_t i = 0; i < len; i++)
        m->value[i] = model_byte(seed, i);
    return slice_of(m->value, len);
}

static inline int model_start(struct model *m, uint64_t seed, const struct store_options *base)
{
    memset(m, 0, sizeof *m);
    pages_init(&m->pages);
    prng_init(&m->prng, seed);
    m->now_ms = MODEL_START;
    m->keys = MODEL_KEYS;
    m->value_max = 200;
    m->bytes = malloc(MODEL_KEY_MAX);
    m->value = malloc(MODEL_VALUE_MAX);
    struct store_options o = *base;
    o.memory = &m->pages.memory;
    o.seed = seed;
    o.secret = (struct hash_secret){ .k0 = seed, .k1 = ~seed };
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    int failed = store_new(&m->store, &o);
    if (failed == 0)
        m->ks = store_keyspace(m->store, 0, 0);
    return failed;
}

static inline void model_stop(struct model *m)
{
    m->store = store_free(m->store);
    check_equal(m->pages.held, 0);
    free(m->bytes);
    free(m->value);
}

static inline bool model_alive(struct model *m, uint32_t id)
{
    struct model_item *it = &m->items[id];
    if (it->present && it->deadline != ENTRY_NO_DEADLINE && it->deadline <= m->now_ms)
        it->present = false;
    return it->present;
}

static inline void model_compare(struct model *m, uint32_t id, const struct entry *e)
{
    struct model_item *it = &m->items[id];
    if (m->evicts && e == NULL)
        it->present = false;
    check((e != NULL) == model_alive(m, id));
    if (e == NULL || !it->present)
        return;
    struct slice key = model_key(m, id);
    check(slice_equal(entry_key(e), key));
    check_equal(entry_type(e), it->type);
    check_equal(entry_deadline(e), it->deadline);
    check_equal(entry_mark(e), it->mark);
    struct slice value = entry_value(e);
    check_equal(value.len, it->len);
    for (size_t i = 0; i < value.len && i < it->len; i++) {
        if (value.data[i] != model_byte(it->seed, i)) {
            check_equal(value.data[i], model_byte(it->seed, i));
            break;
        }
    }
    check(entry_memory(e) >= value.len + key.len);
}

static inline struct entry *model_find(struct model *m, uint32_t id)
{
    struct slice key = model_key(m, id);
    return keyspace_find(m->ks, key, keyspace_hash(m->ks, key), m->now_ms);
}

static inline struct entry *model_peek(struct model *m, uint32_t id)
{
    struct slice key = model_key(m, id);
    return keyspace_peek(m->ks, key, keyspace_hash(m->ks, key), m->now_ms);
}

static inline size_t model_len(struct model *m)
{
    uint64_t r = prng_next(&m->prng);
    switch (r % 64) {
    case 0:
        return 60000 + (r >> 8) % 80000;
    case 1:
    case 2:
        return (r >> 8) % 9000;
    case 3:
        return 0;
    default:
        return (r >> 8) % (m->value_max + 1);
    }
}

static inline int64_t model_deadline(struct model *m)
{
    uint64_t r = prng_next(&m->prng);
    switch (r % 8) {
    case 0:
        return m->now_ms + 1 + (int64_t)((r >> 8) % 40);
    case 1:
        return m->now_ms + 1 + (int64_t)((r >> 8) % 5000);
    case 2:
        return m->now_ms + 1 + (int64_t)((r >> 8) % 100000000);
    case 3:
        return INT64_MAX - (int64_t)(r >> 40);
    default:
        return ENTRY_NO_DEADLINE;
    }
}

static inline void model_failed(struct model *m, uint32_t id)
{
    check(m->may_fail);
    m->failures++;
    model_compare(m, id, model_peek(m, id));
}

static inline void model_do_set(struct model *m, uint32_t id)
{
    struct model_item *it = &m->items[id];
    struct model_item next = { .present = true, .type = (enum entry_type)(prng_next(&m->prng) % 6), .len = model_len(m) };
    next.seed = (uint32_t)prng_next(&m->prng);
    next.deadline = model_deadline(m);
    int64_t asked = next.deadline;
    if (prng_next(&m->prng) % 8 == 0) {
        asked = KEYSPACE_KEEP_DEADLINE;
        next.deadline = model_alive(m, id) ? it->deadline : ENTRY_NO_DEADLINE;
    }
    struct slice key = model_key(m, id);
    uint64_t hash = keyspace_hash(m->ks, key);
    struct slice value = model_value(m, next.seed, next.len);
    struct entry *e = NULL;
    if (m->evicts) {
        (void)store_make_room(m->store, m->now_ms);
        if (asked == KEYSPACE_KEEP_DEADLINE && model_peek(m, id) == NULL)
            next.deadline = ENTRY_NO_DEADLINE;
        key = model_key(m, id);
        value = model_value(m, next.seed, next.len);
    }
    uint64_t how = prng_next(&m->prng) % 4;
    if (how == 0) {
        e = keyspace_set_len(m->ks, key, hash, next.type, value.len, asked, m->now_ms);
        if (e != NULL && value.len > 0)
            memcpy(entry_value_bytes(e), value.data, value.len);
    } else if (how == 1 && next.len >= BLOB_MIN / 2) {
        struct blob *b = blob_new(store_blobs(m->store));
        size_t room;
        while (b->len < value.len && (room = blob_reserve(b, value.len - b->len)) > 0) {
            memcpy(b->data + b->len, value.data + b->len, room);
            b->len += room;
        }
        if (b->len < value.len) {
            blob_free(b);
            model_failed(m, id);
            return;
        }
        e = keyspace_set_blob(m->ks, key, hash, next.type, b, asked, m->now_ms);
    } else {
        e = keyspace_set(m->ks, key, hash, next.type, value, asked, m->now_ms);
    }
    if (e == NULL) {
        model_failed(m, id);
        return;
    }
    *it = next;
    model_compare(m, id, e);
}

static inline void model_do_resize(struct model *m, uint32_t id)
{
    struct entry *e = model_find(m, id);
    model_compare(m, id, e);
    if (e == NULL)
        return;
    struct model_item *it = &m->items[id];
    uint64_t r = prng_next(&m->prng);
    size_t len = r % 3 == 0 ? it->len + (r >> 8) % 30 : model_len(m);
    if (len > MODEL_VALUE_MAX)
        len = 10;
    entry_set_mark(e, it->mark = r % 2);
    e = keyspace_resize(m->ks, e, len);
    if (e == NULL) {
        model_failed(m, id);
        return;
    }
    struct slice value = entry_value(e);
    check_equal(value.len, len);
    uint8_t *bytes = entry_value_bytes(e);
    for (size_t i = it->len; i < len; i++) {
        check(bytes[i] == 0);
        bytes[i] = model_byte(it->seed, i);
    }
    it->len = len;
    model_compare(m, id, e);
}

static inline void model_do_deadline(struct model *m, uint32_t id)
{
    struct entry *e = model_find(m, id);
    model_compare(m, id, e);
    if (e == NULL)
        return;
    int64_t deadline = model_deadline(m);
    e = keyspace_set_deadline(m->ks, e, deadline);
    if (e == NULL) {
        model_failed(m, id);
        return;
    }
    m->items[id].deadline = deadline;
    model_compare(m, id, e);
}

static inline void model_do_delete(struct model *m, uint32_t id)
{
    struct slice key = model_key(m, id);
    bool alive = model_alive(m, id);
    if (m->evicts)
        alive = alive && model_peek(m, id) != NULL;
    if (prng_next(&m->prng) % 2 == 0) {
        check_equal(keyspace_delete(m->ks, key, keyspace_hash(m->ks, key), m->now_ms), alive);
    } else {
        struct entry *e = model_find(m, id);
        check_equal(e != NULL, alive);
        if (e != NULL)
            keyspace_remove(m->ks, e);
    }
    m->items[id].present = false;
}

static inline void model_seen(void *context, struct entry *e)
{
    uint8_t *seen = context;
    struct slice key = entry_key(e);
    uint32_t id = key.len == 0 ? 0 : load_u32(key.data);
    check(id < MODEL_KEYS);
    if (id < MODEL_KEYS)
        seen[id] = 1;
}

static inline void model_check(struct model *m)
{
    uint64_t alive = 0, deadlines = 0;
    static uint8_t seen[MODEL_KEYS];
    memset(seen, 0, sizeof seen);
    audit(index_valid(&m->store->world, &m->ks->index));
    uint64_t cursor = 0;
    do {
        cursor = keyspace_scan(m->ks, cursor, 1 + (uint32_t)(prng_next(&m->prng) % 20), m->now_ms, model_seen, seen);
        check(cursor >> 48 == 0);
    } while (cursor != 0);
    for (uint32_t id = 0; id < m->keys; id++) {
        struct entry *e = model_peek(m, id);
        model_compare(m, id, e);
        check_equal(seen[id], e != NULL);
        alive += e != NULL;
        deadlines += e != NULL && entry_deadline(e) != ENTRY_NO_DEADLINE;
    }
    check(keyspace_count(m->ks) >= alive);
    check(keyspace_deadline_count(m->ks) >= deadlines);
    check((keyspace_random(m->ks, &m->prng, m->now_ms) != NULL) == (alive > 0));
    struct store_memory mem = store_memory(m->store);
    check_equal(store_memory_used(m->store), mem.entries + mem.index + mem.blobs + mem.deadlines + mem.order);
    audit(s3fifo_valid(m->store));
}

static inline void model_step(struct model *m)
{
    uint64_t r = prng_next(&m->prng);
    uint32_t id = (uint32_t)(r >> 32) % m->keys;
    switch (r % 32) {
    case 0 ... 9:
        model_do_set(m, id);
        break;
    case 10 ... 14:
        model_do_resize(m, id);
        break;
    case 15 ... 18:
        model_do_deadline(m, id);
        break;
    case 19 ... 22:
        model_do_delete(m, id);
        break;
    case 23:
        m->now_ms += (int64_t)((r >> 8) % 50);
        break;
    case 24:
    case 25:
        (void)store_maintain(m->store, m->now_ms, 1 + (uint32_t)(r >> 8) % 64);
        break;
    case 26:
        if ((r >> 8) % 512 == 0) {
            keyspace_clear(m->ks);
            for (uint32_t i = 0; i < m->keys; i++)
                m->items[i].present = false;
        }
        break;
    case 27:
        if (m->evicts && (r >> 8) % 512 == 0)
            store_set_policy(m->store, (enum store_policy)((r >> 20) % STORE_POLICIES));
        break;
    default:
        model_compare(m, id, model_find(m, id));
        break;
    }
}
