// SPDX-License-Identifier: Apache-2.0
// libskerry's batches, packed reads, sessions and walks.
#include "test/unit/embed/host.h"

static struct host host;

#define OPS 300

struct planned {
    char key[24];
    char value[40];
    char expected[40];
    uint8_t buffer[64];
};

static void plan(struct planned *p, struct skerry_op *op)
{
    *op = (struct skerry_op){ .kind = (enum skerry_op_kind)prng_below(&host.prng, SKERRY_OP_VIEW) };
    snprintf(p->key, sizeof p->key, "s:%d:c:%d", (int)prng_below(&host.prng, 9), (int)prng_below(&host.prng, 12));
    op->key = text(p->key);
    snprintf(p->value, sizeof p->value, "%d", (int)prng_below(&host.prng, 5));
    op->value = text(p->value);
    snprintf(p->expected, sizeof p->expected, "%d", (int)prng_below(&host.prng, 5));
    op->expected = prng_below(&host.prng, 3) == 0 ? (struct skerry_slice){ 0 } : text(p->expected);
    op->buffer = p->buffer;
    op->capacity = prng_below(&host.prng, 10) == 0 ? 0 : sizeof p->buffer;
    op->number = (int64_t)prng_below(&host.prng, 50);
    if (op->kind == SKERRY_OP_SET)
        op->number = prng_below(&host.prng, 2) ? SKERRY_NO_TTL : SKERRY_KEEP_TTL;
    if (op->kind == SKERRY_OP_EXPIRE_AT)
        op->number += host.now_ms;
}

// What the op does, by the function for single keys.
static enum skerry_status alone(struct skerry *s, struct skerry_op *op)
{
    const void *key = op->key.data;
    size_t len = op->key.len;
    switch (op->kind) {
    case SKERRY_OP_GET:
        return skerry_get(s, key, len, op->buffer, op->capacity, &op->len);
    case SKERRY_OP_SET:
        return skerry_set(s, key, len, op->value.data, op->value.len, op->number);
    case SKERRY_OP_DELETE:
        return skerry_delete(s, key, len);
    case SKERRY_OP_EXISTS:
        return skerry_exists(s, key, len);
    case SKERRY_OP_TTL:
        return skerry_ttl(s, key, len, &op->number);
    case SKERRY_OP_EXPIRE:
        return skerry_expire(s, key, len, op->number);
    case SKERRY_OP_EXPIRE_AT:
        return skerry_expire_at(s, key, len, op->number);
    case SKERRY_OP_PERSIST:
        return skerry_persist(s, key, len);
    case SKERRY_OP_INCR:
        return skerry_incr(s, key, len, op->number, &op->number);
    case SKERRY_OP_CAS:
        return skerry_cas(s, key, len, op->expected.data, op->expected.len, op->value.data, op->value.len);
    case SKERRY_OP_VIEW:
        break;
    }
    return SKERRY_INVALID;
}

static void compare(const struct skerry_op *a, const struct skerry_op *b)
{
    check_equal(a->status, b->status);
    check_equal(a->number, b->number);
    check_equal(a->len, b->len);
    if (a->kind == SKERRY_OP_GET && a->status == SKERRY_OK)
        check(memcmp(a->buffer, b->buffer, a->len) == 0);
}

// Two stores in step: one is asked in batches, the other op by op.
static void batches_answer_as_their_ops_alone(void)
{
    static struct planned plans[2][OPS];
    static struct skerry_op ops[2][OPS];
    for (int variant = 0; variant < 8; variant++) {
        struct skerry_options o = host_options(&host, variant & 1 ? 16 : 1);
        o.route_mode = variant & 2 ? SKERRY_ROUTE_SESSION_PREFIX : SKERRY_ROUTE_FULL_KEY;
        o.hash = SKERRY_HASH_PUBLIC;
        struct skerry *a = host_open(&o), *b = host_open(&o), *local;
        if (variant & 4) {
            check_equal(skerry_split(a, 1, &local), SKERRY_OK);
            a = local;
        }
        for (int round = 0; round < 60; round++) {
            size_t count = prng_below(&host.prng, OPS + 1), done = 0;
            for (size_t i = 0; i < count; i++) {
                plan(&plans[0][i], &ops[0][i]);
                plans[1][i] = plans[0][i];
                ops[1][i] = ops[0][i];
                ops[1][i].buffer = plans[1][i].buffer;
                ops[1][i].status = alone(b, &ops[1][i]);
                done += ops[1][i].status == SKERRY_OK;
            }
            check_equal(skerry_batch(a, ops[0], count), done);
            for (size_t i = 0; i < count; i++)
                compare(&ops[0][i], &ops[1][i]);
            host.now_ms += 3;
        }
        check_equal(skerry_close(a), SKERRY_OK);
        check_equal(skerry_close(b), SKERRY_OK);
    }
}

static void each_op_of_a_batch_has_its_own_status(void)
{
    struct skerry_options o = host_options(&host, 4);
    struct skerry *s = host_open(&o), *locals[4];
    struct skerry_prepared prepared;
    check_equal(set_text(s, "alpha", "1"), SKERRY_OK);
    check_equal(skerry_prepare(s, "alpha", 5, &prepared), SKERRY_OK);
    check_equal(skerry_split(s, 4, locals), SKERRY_OK); // "alpha" is at home in shard 0, "user:42" in shard 3
    struct skerry_view view;
    struct skerry_op ops[] = {
        { .kind = SKERRY_OP_EXISTS, .prepared = &prepared },
        { .kind = SKERRY_OP_EXISTS, .key = text("user:42") },
        { .kind = SKERRY_OP_EXISTS, .key = { "alpha", SKERRY_KEY_MAX + 1 } },
        { .kind = SKERRY_OP_SET, .key = text("alpha"), .value = { "", SKERRY_VALUE_MAX + 1 }, .number = SKERRY_NO_TTL },
        { .kind = (enum skerry_op_kind)99, .key = text("alpha") },
        { .kind = SKERRY_OP_VIEW, .key = text("alpha"), .view = &view },
        { .kind = SKERRY_OP_SET, .key = text("alpha"), .value = text("2"), .number = -9 },
    };
    static const enum skerry_status WANT[] = { SKERRY_OK,      SKERRY_WRONG_ROUTE, SKERRY_TOO_LONG, SKERRY_TOO_LONG,
                                               SKERRY_INVALID, SKERRY_OK,          SKERRY_INVALID };
    check_equal(skerry_batch(locals[0], ops, 7), 2);
    for (int i = 0; i < 7; i++)
        check_equal(ops[i].status, WANT[i]);
    check(view.len == 1 && memcmp(view.data, "1", 1) == 0);
    check_equal(skerry_release(locals[0], &view), SKERRY_OK);
    for (int i = 0; i < 4; i++)
        check_equal(skerry_close(locals[i]), SKERRY_OK);
}

static void packed_reads_fill_one_buffer_and_tell_what_is_needed(void)
{
    struct skerry_options o = host_options(&host, 8);
    struct skerry *s = host_open(&o);
    static char names[200][16], buffer[20000];
    static struct skerry_slice keys[200];
    size_t offsets[200], lengths[200], want = 0, hits = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(names[i], sizeof names[i], "key:%d", i);
        keys[i] = text(names[i]);
        if (i % 3 == 0)
            continue;
        char value[200];
        memset(value, 'a' + i % 26, (size_t)i);
        check_equal(skerry_set(s, names[i], strlen(names[i]), value, (size_t)i, SKERRY_NO_TTL), SKERRY_OK);
        want += (size_t)i;
        hits++;
    }
    struct skerry_packed p = { .buffer = buffer, .capacity = want, .offsets = offsets, .lengths = lengths };
    check_equal(skerry_get_packed(s, keys, 200, &p), SKERRY_OK);
    check(p.used == want && p.hits == hits);
    for (int i = 0; i < 200; i++) {
        if (i % 3 == 0) {
            check(lengths[i] == SKERRY_MISSING);
            continue;
        }
        check_equal(lengths[i], i);
        for (size_t j = 0; j < lengths[i]; j++)
            check(buffer[offsets[i] + j] == 'a' + i % 26);
    }
    p.capacity = want - 1;
    check_equal(skerry_get_packed(s, keys, 200, &p), SKERRY_TOO_SMALL);
    check(p.used == want && p.hits == hits);
    check_equal(skerry_get_packed(s, keys, 0, &p), SKERRY_OK);
    check(p.used == 0 && p.hits == 0);
    check_equal(skerry_close(s), SKERRY_OK);
}

// Sessions

static void put_session(struct skerry *s, const char *session, uint32_t count, uint8_t fill, size_t each, int64_t ttl_ms)
{
    static char names[100][16];
    static uint8_t values[100][4000];
    static struct skerry_chunk chunks[100];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "c:%u", i);
        memset(values[i], fill + (int)i, each);
        chunks[i] = (struct skerry_chunk){ .name = text(names[i]), .value = { values[i], each } };
    }
    check_equal(skerry_session_put(s, session, strlen(session), chunks, count, ttl_ms), SKERRY_OK);
}

static bool session_is(struct skerry *s, const char *session, uint32_t count, uint8_t fill, size_t each)
{
    static uint8_t buffer[400000];
    size_t offsets[100], lengths[100], n = 100;
    struct skerry_packed p = { .buffer = buffer, .capacity = sizeof buffer, .offsets = offsets, .lengths = lengths };
    if (skerry_session_get(s, session, strlen(session), &n, &p) != SKERRY_OK || n != count || p.used != count * each || p.hits != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (offsets[i] != i * each || lengths[i] != each)
            return false;
        for (size_t j = 0; j < each; j++) {
            if (buffer[offsets[i] + j] != (uint8_t)(fill + i))
                return false;
        }
    }
    return true;
}

static void a_session_is_replaced_as_one(void)
{
    struct skerry_options o = host_options(&host, 4);
    o.route_mode = SKERRY_ROUTE_SESSION_PREFIX;
    struct skerry *s = host_open(&o);
    struct skerry_view view;
    struct skerry_chunk chunk;
    put_session(s, "s:1", 10, 1, 100, SKERRY_NO_TTL);
    put_session(s, "s:2", 100, 50, 4000, SKERRY_NO_TTL); // on pages of its own
    check(session_is(s, "s:1", 10, 1, 100) && session_is(s, "s:2", 100, 50, 4000));
    check_equal(skerry_session_view(s, "s:1", 3, &view), SKERRY_OK);
    put_session(s, "s:1", 3, 200, 20, 1000);
    check(session_is(s, "s:1", 3, 200, 20));
    check_equal(skerry_pack_count(&view), 10);
    check_equal(skerry_pack_chunk(&view, 9, &chunk), SKERRY_OK);
    check(chunk.value.len == 100 && ((const uint8_t *)chunk.value.data)[99] == 10);
    check(chunk.name.len == 3 && memcmp(chunk.name.data, "c:9", 3) == 0);
    check_equal(skerry_pack_chunk(&view, 10, &chunk), SKERRY_NOT_FOUND);
    check_equal(skerry_release(s, &view), SKERRY_OK);
    put_session(s, "s:2", 0, 0, 0, SKERRY_NO_TTL);
    check(session_is(s, "s:2", 0, 0, 0));
    check_equal(skerry_session_delete(s, "s:2", 3), SKERRY_OK);
    check_equal(skerry_session_delete(s, "s:2", 3), SKERRY_NOT_FOUND);
    host.now_ms += 1000;
    check(!session_is(s, "s:1", 3, 200, 20));
    check_equal(skerry_exists(s, "s:1", 3), SKERRY_NOT_FOUND); // packs and keys do not meet
    check_equal(skerry_close(s), SKERRY_OK);
}

static void chunks_are_found_by_name(void)
{
    struct skerry_options o = host_options(&host, 2);
    struct skerry *s = host_open(&o);
    put_session(s, "s", 50, 1, 30, SKERRY_NO_TTL);
    struct skerry_slice names[] = { text("c:7"), text("c:50"), text("c:0"), text("c:49"), text(""), text("c:7") };
    char buffer[200];
    size_t offsets[6], lengths[6], n = 0;
    struct skerry_packed p = { .buffer = buffer, .capacity = sizeof buffer, .offsets = offsets, .lengths = lengths };
    check_equal(skerry_session_get_chunks(s, "s", 1, names, 6, &p), SKERRY_OK);
    check(p.hits == 4 && p.used == 120);
    check(lengths[1] == SKERRY_MISSING && lengths[4] == SKERRY_MISSING);
    check(buffer[offsets[0]] == 8 && buffer[offsets[2]] == 1 && buffer[offsets[3]] == 50 && buffer[offsets[5] + 29] == 8);
    p.capacity = 119;
    check_equal(skerry_session_get_chunks(s, "s", 1, names, 6, &p), SKERRY_TOO_SMALL);
    check_equal(p.used, 120);
    check_equal(skerry_session_get_chunks(s, "t", 1, names, 6, &p), SKERRY_NOT_FOUND);
    check_equal(skerry_session_count(s, "s", 1, &n), SKERRY_OK);
    check_equal(n, 50);
    check_equal(skerry_session_count(s, "t", 1, &n), SKERRY_NOT_FOUND);
    n = 49;
    check_equal(skerry_session_get(s, "s", 1, &n, &p), SKERRY_TOO_SMALL);
    check(n == 50 && p.used == 1500);
    check_equal(skerry_session_put(s, "s", 1, NULL, SIZE_MAX, SKERRY_NO_TTL), SKERRY_INVALID);
    struct skerry_chunk huge[2] = { { .value = { "", SKERRY_VALUE_MAX } }, { .value = { "", 1 } } };
    check_equal(skerry_session_put(s, "s", 1, huge, 2, SKERRY_NO_TTL), SKERRY_TOO_LONG);
    huge[0].value.len = SIZE_MAX;
    check_equal(skerry_session_put(s, "s", 1, huge, 2, SKERRY_NO_TTL), SKERRY_TOO_LONG);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void a_view_that_is_no_pack_has_no_chunks(void)
{
    struct skerry_options o = host_options(&host, 1);
    struct skerry *s = host_open(&o);
    struct skerry_view view;
    struct skerry_chunk chunk;
    check_equal(set_text(s, "a", "SKPK but no pack"), SKERRY_OK);
    check_equal(skerry_get_view(s, "a", 1, &view), SKERRY_OK);
    // The magic word is bytes like others: what follows is checked against the length.
    check_equal(skerry_pack_chunk(&view, 0, &chunk), SKERRY_NOT_FOUND);
    check_equal(skerry_pack_count(&view), 0);
    check_equal(skerry_release(s, &view), SKERRY_OK);
    check_equal(skerry_close(s), SKERRY_OK);
}

// Walks

static void note_key(void *context, const struct skerry_item *item)
{
    uint8_t *seen = context;
    char key[32];
    check(item->key.len < sizeof key);
    memcpy(key, item->key.data, item->key.len);
    key[item->key.len] = '\0';
    int i = atoi(key + 4);
    check(item->value.len == sizeof i && memcmp(item->value.data, &i, sizeof i) == 0);
    check(item->deadline_at_ms == (i % 2 ? SKERRY_NO_TTL : HOST_START + 1000000));
    seen[i]++;
}

static void iteration_finds_every_key(void)
{
    static uint8_t seen[5000];
    struct skerry_options o = host_options(&host, 8);
    struct skerry *s = host_open(&o), *locals[3];
    for (int i = 0; i < 5000; i++) {
        char key[32];
        size_t len = (size_t)snprintf(key, sizeof key, "key:%d", i);
        check_equal(skerry_set(s, key, len, &i, sizeof i, i % 2 ? SKERRY_NO_TTL : 1000000), SKERRY_OK);
    }
    uint64_t cursor = 0;
    int calls = 0;
    do {
        check_equal(skerry_iterate(s, &cursor, 10, note_key, seen), SKERRY_OK);
        calls++;
    } while (cursor != 0);
    check(calls > 20);
    for (int i = 0; i < 5000; i++)
        check_equal(seen[i], 1);
    check_equal(skerry_split(s, 3, locals), SKERRY_OK);
    for (int w = 0; w < 3; w++) {
        do {
            check_equal(skerry_iterate(locals[w], &cursor, 1000, note_key, seen), SKERRY_OK);
        } while (cursor != 0);
    }
    for (int i = 0; i < 5000; i++)
        check_equal(seen[i], 2);
    cursor = UINT64_MAX;
    check_equal(skerry_iterate(locals[0], &cursor, 1, note_key, seen), SKERRY_INVALID);
    cursor = 0;
    check_equal(skerry_iterate(locals[0], &cursor, 0, note_key, seen), SKERRY_INVALID);
    for (int w = 0; w < 3; w++)
        check_equal(skerry_close(locals[w]), SKERRY_OK);
}

static void a_key_snapshot_holds_the_keys_of_one_instant(void)
{
    struct skerry_options o = host_options(&host, 4);
    struct skerry *s = host_open(&o);
    struct skerry_keys *keys;
    check_equal(skerry_keys_new(s, &keys), SKERRY_OK);
    check_equal(skerry_keys_count(keys), 0);
    skerry_keys_free(keys);
    check_equal(skerry_set(s, "", 0, "x", 1, SKERRY_NO_TTL), SKERRY_OK);
    check_equal(skerry_set(s, "soon", 4, "x", 1, 10), SKERRY_OK);
    for (int i = 0; i < 1000; i++)
        check_equal(skerry_set(s, &i, sizeof i, "x", 1, SKERRY_NO_TTL), SKERRY_OK);
    host.now_ms += 10;
    check_equal(skerry_keys_new(s, &keys), SKERRY_OK);
    check_equal(skerry_clear(s), SKERRY_OK);
    check_equal(skerry_keys_count(keys), 1001);
    uint8_t seen[1001] = { 0 };
    for (size_t i = 0; i < 1001; i++) {
        struct skerry_slice key = skerry_keys_at(keys, i);
        int n = 1000;
        if (key.len > 0)
            memcpy(&n, key.data, sizeof n);
        check(n >= 0 && n <= 1000 && (key.len == sizeof n || key.len == 0));
        seen[n]++;
    }
    for (int i = 0; i < 1001; i++)
        check_equal(seen[i], 1);
    skerry_keys_free(keys);
    skerry_keys_free(NULL);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void maintenance_keeps_to_its_time_and_comes_to_an_end(void)
{
    struct skerry_options o = host_options(&host, 4);
    struct skerry *s = host_open(&o);
    struct skerry_stats stats = { .size = sizeof stats };
    bool more = true;
    check_equal(skerry_maintain(s, 1000, NULL), SKERRY_OK);
    for (int i = 0; i < 20000; i++)
        check_equal(skerry_set(s, &i, sizeof i, "x", 1, 1000), SKERRY_OK);
    check(skerry_next_deadline(s) > host.now_ms && skerry_next_deadline(s) <= host.now_ms + 1016);
    host.now_ms += 2000;
    uint64_t before = host.now_ns;
    check_equal(skerry_maintain(s, 50, &more), SKERRY_OK);
    check(more && host.now_ns - before >= 50000 && host.now_ns - before < 60000);
    for (int i = 0; i < 10000 && more; i++)
        check_equal(skerry_maintain(s, 50, &more), SKERRY_OK);
    check(!more);
    check_equal(skerry_stats(s, &stats), SKERRY_OK);
    check(stats.keys == 0 && stats.expired == 20000 && stats.keys_with_deadline == 0);
    check_equal(skerry_next_deadline(s), INT64_MAX);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void figures_say_what_is_there(void)
{
    struct skerry_options o = host_options(&host, 4);
    struct skerry *s = host_open(&o);
    struct skerry_stats stats = { .size = sizeof stats };
    static char large[100000];
    struct skerry_view view;
    size_t len;
    check_equal(skerry_set(s, "a", 1, "1", 1, 5000), SKERRY_OK);
    check_equal(skerry_set(s, "b", 1, large, sizeof large, SKERRY_NO_TTL), SKERRY_OK);
    put_session(s, "s", 3, 1, 10, SKERRY_NO_TTL);
    check_equal(skerry_exists(s, "a", 1), SKERRY_OK);
    check_equal(skerry_get(s, "c", 1, NULL, 0, &len), SKERRY_NOT_FOUND);
    check_equal(skerry_get_view(s, "b", 1, &view), SKERRY_OK);
    check_equal(skerry_stats(s, &stats), SKERRY_OK);
    check(stats.keys == 2 && stats.keys_with_deadline == 1 && stats.sessions == 1 && stats.views == 1);
    check(stats.hits == 2 && stats.misses == 1 && stats.expired == 0 && stats.evicted == 0);
    check(stats.memory_large >= sizeof large && stats.memory_used > stats.memory_large && stats.memory_reserved >= stats.memory_used);
    check(stats.memory_entries > 0 && stats.memory_index > 0 && stats.memory_deadlines > 0);
    check_equal(skerry_release(s, &view), SKERRY_OK);
    stats.size = 4;
    check_equal(skerry_stats(s, &stats), SKERRY_INVALID);
    check_equal(skerry_close(s), SKERRY_OK);
}

TESTS(TEST(batches_answer_as_their_ops_alone), TEST(each_op_of_a_batch_has_its_own_status),
      TEST(packed_reads_fill_one_buffer_and_tell_what_is_needed), TEST(a_session_is_replaced_as_one), TEST(chunks_are_found_by_name),
      TEST(a_view_that_is_no_pack_has_no_chunks), TEST(iteration_finds_every_key), TEST(a_key_snapshot_holds_the_keys_of_one_instant),
      TEST(maintenance_keeps_to_its_time_and_comes_to_an_end), TEST(figures_say_what_is_there))
