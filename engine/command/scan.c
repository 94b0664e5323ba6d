// SPDX-License-Identifier: Apache-2.0
// Commands that look at all keys: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHALL, FLUSHDB.
#include "engine/command/scan.h"

#include <limits.h>
#include <stdio.h>

#include "base/bytes.h"
#include "engine/command/glob.h"
#include "engine/command/keys.h"
#include "engine/command/string_value.h"
#include "proto/number.h"

#define KEYS_AT_ONCE 1024
#define KEYS_PIECE   512

static void offer(void *context, struct entry *e)
{
    struct scan *s = context;
    s->visited++;
    if (s->type != SCAN_ANY_TYPE && (int)entry_type(e) != s->type)
        return;
    struct slice key = entry_key(e);
    if (!s->all && !glob_match(s->pattern, key, false))
        return;
    reply_bulk(s->out, key);
    s->found++;
}

// Empty buckets count too, so that a call's time is bounded in a sparse index.
#define SCAN_ROUNDS 10

uint64_t scan_shard(struct call *c, struct scan *s, uint32_t shard, uint64_t cursor)
{
    struct keyspace *ks = store_keyspace(c->store, shard, c->db);
    assert(ks != NULL);
    for (int round = 0; round < SCAN_ROUNDS && s->visited < (uint64_t)s->count; round++) {
        uint64_t left = (uint64_t)s->count - s->visited;
        cursor = keyspace_scan(ks, cursor, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, c->now_ms, offer, s);
        if (cursor == 0)
            break;
    }
    return cursor;
}

// As strtoul reads it: spaces and a plus sign may stand before the digits, or a minus sign before 0.
static bool parse_cursor(struct slice text, uint64_t *out)
{
    uint64_t value = 0;
    size_t begin = 0;
    while (begin < text.len && (text.data[begin] == ' ' || (text.data[begin] >= '\t' && text.data[begin] <= '\r')))
        begin++;
    bool minus = begin < text.len && text.data[begin] == '-';
    begin += minus || (begin < text.len && text.data[begin] == '+');
    for (size_t i = begin; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        if (!size_mul(value, 10, &value) || !size_add(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    }
    *out = value;
    return text.len > begin && (!minus || value == 0);
}

uint32_t command_cursor_shard(const struct command *command, const struct slice *argv, uint32_t argc, const struct route *route)
{
    uint64_t cursor;
    assert(command->flags & CMD_CURSOR);
    if (argc < 2 || !parse_cursor(argv[1], &cursor))
        return 0;
    uint64_t shard = cursor >> SCAN_SHARD_SHIFT;
    return shard < route->shards ? (uint32_t)shard : 0;
}

static int type_of(struct slice name)
{
    for (int type = ENTRY_STRING; type <= ENTRY_STREAM; type++)
        if (slice_is(name, key_type_name((enum entry_type)type)))
            return type;
    return SCAN_NO_TYPE;
}

static bool parse_options(struct call *c, struct scan *s)
{
    for (uint32_t arg = 2; arg < c->argc; arg += 2) {
        struct slice word = c->argv[arg];
        bool has_value = arg + 1 < c->argc;
        if (has_value && slice_is(word, "count")) {
            if (!string_integer(c, arg + 1, &s->count))
                return false;
            if (s->count < 1) {
                reply_error(c->reply, REPLY_SYNTAX);
                return false;
            }
        } else if (has_value && slice_is(word, "match")) {
            s->pattern = c->argv[arg + 1];
            s->all = glob_is_all(s->pattern);
        } else if (has_value && slice_is(word, "type")) {
            struct slice name = c->argv[arg + 1];
            s->type = type_of(name);
            if (s->type == SCAN_NO_TYPE) {
                int len = name.len < INT_MAX ? (int)name.len : INT_MAX;
                reply_error_format(c->reply, "ERR unknown type name '%.*s'", len, (const char *)name.data);
                return false;
            }
        } else {
            reply_error(c->reply, REPLY_SYNTAX);
            return false;
        }
    }
    return true;
}

// The cursor to tell the client.
static uint64_t walk(struct call *c, struct scan *s, uint64_t cursor)
{
    uint64_t shard = cursor >> SCAN_SHARD_SHIFT;
    uint64_t at = cursor & ((UINT64_C(1) << SCAN_SHARD_SHIFT) - 1);
    while (shard < c->route->shards && store_keyspace(c->store, (uint32_t)shard, c->db) != NULL) {
        at = scan_shard(c, s, (uint32_t)shard, at);
        shard += at == 0;
        if (s->visited >= (uint64_t)s->count || at != 0)
            break;
    }
    return shard < c->route->shards ? shard << SCAN_SHARD_SHIFT | at : 0;
}

void cmd_scan(struct call *c)
{
    uint64_t cursor;
    struct scan s = { .all = true, .count = 10, .type = SCAN_ANY_TYPE };
    if (!parse_cursor(c->argv[1], &cursor)) {
        reply_error(c->reply, "ERR invalid cursor");
        return;
    }
    if (!parse_options(c, &s))
        return;
    // The cursor stands before the keys but is known behind them.
    uint8_t memory[4096];
    struct buf keys;
    buf_init_borrowed(&keys, memory, sizeof memory, c->reply->out->limit);
    struct reply into = { .out = &keys, .protocol = c->reply->protocol };
    s.out = &into;
    cursor = walk(c, &s, cursor);
    char text[NUMBER_TEXT_MAX];
    reply_array(c->reply, 2);
    reply_bulk(c->reply, slice_of(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)cursor)));
    reply_array(c->reply, s.found);
    reply_raw(c->reply, buf_view(&keys));
    c->reply->out->failed |= keys.failed;
    buf_deinit(&keys);
}

struct keys_walk {
    struct call *call;
    struct scan scan;
};

static void all_keys(void *context, struct keyspace *ks, uint32_t shard)
{
    struct keys_walk *w = context;
    uint64_t cursor = 0;
    do
        cursor = keyspace_scan(ks, cursor, KEYS_AT_ONCE, w->call->now_ms, offer, &w->scan);
    while (cursor != 0);
}

// A piece of KEYS: what engine/shard/walk.c asks for.
static void some_keys(struct call *c)
{
    uint64_t cursor = 0;
    struct scan s = { .pattern = c->argv[1], .all = glob_is_all(c->argv[1]), .count = KEYS_PIECE, .type = SCAN_ANY_TYPE };
    bool good = parse_cursor(c->argv[2], &cursor);
    assert(good);
    struct buf keys;
    buf_init(&keys, c->reply->out->limit);
    struct reply into = { .out = &keys, .protocol = c->reply->protocol };
    s.out = &into;
    cursor = walk(c, &s, cursor);
    reply_integer(c->reply, (int64_t)cursor);
    reply_array(c->reply, s.found);
    reply_raw(c->reply, buf_view(&keys));
    c->reply->out->failed |= keys.failed;
    buf_deinit(&keys);
}

void cmd_keys(struct call *c)
{
    if (c->argc == 3) {
        some_keys(c);
        return;
    }
    struct keys_walk w = { .call = c, .scan = { .pattern = c->argv[1], .type = SCAN_ANY_TYPE, .out = c->reply } };
    w.scan.all = glob_is_all(c->argv[1]);
    size_t mark = reply_array_later(c->reply);
    call_each_keyspace(c, all_keys, &w);
    reply_array_set(c->reply, mark, w.scan.found);
}

static void count_keys(void *context, struct keyspace *ks, uint32_t shard)
{
    uint64_t *count = context;
    *count += keyspace_count(ks);
}

void cmd_dbsize(struct call *c)
{
    uint64_t count = 0;
    call_each_keyspace(c, count_keys, &count);
    reply_integer(c->reply, (int64_t)count);
}

struct draw {
    struct call *call;
    uint64_t seen; // keys of the keyspaces so far
    struct entry *chosen;
};

// Each keyspace is taken with the chance that its share of the keys gives it.
static void draw_one(void *context, struct keyspace *ks, uint32_t shard)
{
    struct draw *d = context;
    uint64_t keys = keyspace_count(ks);
    d->seen += keys;
    if (keys == 0 || (d->chosen != NULL && prng_next(d->call->prng) % d->seen >= keys))
        return;
    struct entry *e = keyspace_random(ks, d->call->prng, d->call->now_ms);
    if (e != NULL)
        d->chosen = e;
}

void cmd_randomkey(struct call *c)
{
    struct draw d = { .call = c };
    call_each_keyspace(c, draw_one, &d);
    if (d.chosen == NULL)
        reply_null(c->reply);
    else
        reply_bulk(c->reply, entry_key(d.chosen));
}

static void clear(void *context, struct keyspace *ks, uint32_t shard)
{
    uint64_t *dirty = context;
    *dirty += keyspace_count(ks);
    keyspace_clear(ks);
}

// ASYNC, and no word: keys are gone at once, memory follows piece by piece. SYNC: the memory is back before the reply.
static bool flush_options_ok(struct call *c)
{
    if (c->argc == 1 || (c->argc == 2 && (slice_is(c->argv[1], "async") || slice_is(c->argv[1], "sync"))))
        return true;
    reply_error(c->reply, REPLY_SYNTAX);
    return false;
}

static void flushed(struct call *c)
{
    if (c->argc == 2 && slice_is(c->argv[1], "sync"))
        store_reclaim(c->store);
    reply_ok(c->reply);
}

void cmd_flushdb(struct call *c)
{
    if (!flush_options_ok(c))
        return;
    call_each_keyspace(c, clear, &c->dirty);
    flushed(c);
}

void cmd_flushall(struct call *c)
{
    if (!flush_options_ok(c))
        return;
    uint32_t db = c->db;
    for (c->db = 0; c->db < store_databases(c->store); c->db++)
        call_each_keyspace(c, clear, &c->dirty);
    c->db = db;
    c->dirty++;
    flushed(c);
}
