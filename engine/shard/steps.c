// SPDX-License-Identifier: Apache-2.0
// SPREAD_STEPS: fetch every key's value -> run the command here, on copies -> put back what it changed. The transaction around it holds
// the keys from the first step to the last, so nobody comes between.
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/shard/gather.h"
#include "proto/number.h"

// u8 present, u8 type, u8 mark, 5 zero bytes, i64 deadline, value
#define FETCHED_HEAD 16

static void fetched_append(struct buf *out, const struct entry *e)
{
    uint8_t head[FETCHED_HEAD] = { 0 };
    if (e != NULL) {
        head[0] = 1;
        head[1] = (uint8_t)entry_type(e);
        head[2] = entry_mark(e);
        store_u64(head + 8, (uint64_t)entry_deadline(e));
    }
    buf_append(out, head, sizeof head);
    if (e != NULL)
        buf_append_slice(out, entry_value(e));
}

static bool fetched_put(struct keyspace *ks, struct slice key, struct slice bytes, int64_t now_ms)
{
    uint64_t hash = keyspace_hash(ks, key);
    if (bytes.len < FETCHED_HEAD || bytes.data[0] == 0) {
        keyspace_delete(ks, key, hash, now_ms);
        return true;
    }
    struct slice value = slice_of(bytes.data + FETCHED_HEAD, bytes.len - FETCHED_HEAD);
    int64_t deadline = (int64_t)load_u64(bytes.data + 8);
    struct entry *e = keyspace_set(ks, key, hash, (enum entry_type)bytes.data[1], value, deadline, now_ms);
    if (e != NULL && bytes.data[2] != 0)
        entry_set_mark(e, true);
    return e != NULL;
}

void steps_serve(struct worker *w, const struct mesh_request *head, const struct slice *argv, struct buf *out)
{
    struct keyspace *ks = store_keyspace(w->store, head->shard, head->db);
    if (head->command == MESH_FETCH) {
        uint64_t hash = keyspace_hash(ks, argv[1]);
        fetched_append(out, keyspace_find(ks, argv[1], hash, w->now_ms));
        if (unlikely(w->gated))
            gate_read(w, NULL, hash);
        return;
    }
    bool room = argv[2].len < FETCHED_HEAD || w->options.maxmemory == 0 || worker_make_room(w);
    struct reply reply = { .out = out, .protocol = PROTOCOL_RESP2 };
    if (room && fetched_put(ks, argv[1], argv[2], w->now_ms))
        reply_ok(&reply);
    else
        reply_error(&reply, REPLY_OUT_OF_MEMORY);
}

static uint32_t steps_db(const struct gather *g, uint32_t k)
{
    return k == 1 ? g->db_second : g->db;
}

static void steps_send(struct worker *w, struct gather *g, uint32_t part, struct slice key, const struct slice *value)
{
    struct slice argv[3] = { slice_of(NULL, 0), key, value != NULL ? *value : slice_of(NULL, 0) };
    uint32_t shard = route_shard(&w->route, key);
    struct forward f = gather_forward(g, shard % w->server->worker_count, argv, value != NULL ? 3 : 2);
    f.shard = shard;
    f.db = steps_db(g, part);
    f.command = value != NULL ? MESH_PUT : MESH_FETCH;
    gather_send(w, g, part, &f);
}

command_fn cmd_copy;

// COPY may name the database of its destination. One that makes no sense is the command's to refuse.
uint32_t steps_second_db(const struct worker *w, const struct gather *g)
{
    for (uint32_t i = 3; g->command->run == cmd_copy && i + 1 < g->args.argc; i++) {
        int64_t db;
        if (slice_is(g->args.argv[i], "db") && number_parse_i64(g->args.argv[i + 1], &db) && db >= 0 && db < w->options.databases)
            return (uint32_t)db;
    }
    return g->db;
}

void steps_begin(struct worker *w, struct gather *g)
{
    uint32_t n = keys_count(&g->keys);
    g->phase = GATHER_FETCH;
    g->left = n + 1;
    for (uint32_t k = 0; k < n; k++)
        steps_send(w, g, k, gather_key(g, k), NULL);
    gather_landed(w, g);
}

static struct keyspace *scratch_of(struct worker *w, uint32_t db)
{
    if (w->scratch == NULL) {
        struct store_options o = { .worker = 0, .workers = 1, .databases = (uint32_t)w->options.databases, .memory = w->memory };
        route_init(&o.route, 1, ROUTE_FULL_KEY);
        o.secret = (struct hash_secret){ prng_next(&w->prng), prng_next(&w->prng) };
        o.seed = prng_next(&w->prng);
        if (store_new(&w->scratch, &o) != 0)
            return NULL;
    }
    return store_keyspace(w->scratch, 0, db);
}

// A part that is no value says that there was no memory for it; acting on what is missing would be wrong.
static bool steps_copy_values(struct worker *w, const struct gather *g)
{
    for (uint32_t k = 0; k < g->parts; k++) {
        const struct part *p = &g->part[k];
        struct keyspace *ks = scratch_of(w, steps_db(g, k));
        if (ks == NULL || p->len < FETCHED_HEAD || p->bytes[0] > 1)
            return false;
        if (!fetched_put(ks, gather_key(g, k), slice_of(p->bytes, p->len), w->now_ms))
            return false;
    }
    return true;
}

static void steps_clear(struct worker *w, const struct gather *g)
{
    if (w->scratch == NULL)
        return;
    keyspace_clear(scratch_of(w, g->db));
    keyspace_clear(scratch_of(w, g->db_second));
    while (store_maintain(w->scratch, w->now_ms, 1024))
        ;
}

// The values are here: run the command on copies, and find out what it changed.
void steps_run(struct worker *w, struct gather *g)
{
    struct reply reply = { .out = &g->reply, .protocol = g->protocol };
    if (!steps_copy_values(w, g)) {
        steps_clear(w, g);
        reply_error(&reply, REPLY_OUT_OF_MEMORY);
        gather_finish(w, g, &g->reply);
        return;
    }
    struct keyspace *ks = scratch_of(w, g->db);
    struct route route;
    route_init(&route, 1, ROUTE_FULL_KEY);
    struct slice first = gather_key(g, 0);
    struct call call = {
        .command = g->command,
        .argc = g->args.argc,
        .argv = g->args.argv,
        .reply = &reply,
        .store = w->scratch,
        .route = &route,
        .db = g->db,
        .keyspace = ks,
        .hash = keyspace_hash(ks, first),
        .now_ms = w->now_ms,
        .prng = &w->prng,
        .bulk_max = w->options.proto_max_bulk_len,
        .worker = w,
    };
    w->stats.commands++;
    g->command->run(&call);
    w->commands[command_index(g->command)].calls++;
    w->commands[command_index(g->command)].failed += reply.errors;

    // Each part's bytes become what is to be put; a part without bytes needs no put.
    uint32_t changed = 0;
    for (uint32_t k = 0; k < g->parts; k++) {
        struct buf now;
        buf_init(&now, BUF_NO_LIMIT);
        struct slice key = gather_key(g, k);
        struct keyspace *own = scratch_of(w, steps_db(g, k));
        fetched_append(&now, keyspace_peek(own, key, keyspace_hash(own, key), w->now_ms));
        struct part *p = &g->part[k];
        bool same = now.len == p->len && memcmp(now.data, p->bytes, now.len) == 0;
        free(p->bytes);
        *p = (struct part){ .bytes = same ? NULL : now.data, .len = same ? 0 : now.len };
        if (same)
            buf_deinit(&now);
        else
            changed++;
    }
    steps_clear(w, g);
    if (changed == 0) {
        gather_finish(w, g, &g->reply);
        return;
    }
    g->phase = GATHER_PUT;
    g->left = changed + 1;
    uint32_t parts = g->parts;
    for (uint32_t k = 0; k < parts && changed > 0; k++) {
        struct part put = g->part[k];
        if (put.bytes == NULL)
            continue;
        g->part[k] = (struct part){ .bytes = NULL };
        changed--;
        struct slice value = slice_of(put.bytes, put.len);
        steps_send(w, g, k, gather_key(g, k), &value);
        free(put.bytes);
    }
    gather_release(w, g); // behind the puts
    gather_landed(w, g);
}

void steps_finish(struct worker *w, struct gather *g)
{
    for (uint32_t k = 0; k < g->parts; k++) {
        struct part *p = &g->part[k];
        if (p->bytes == NULL || p->bytes[0] != '-')
            continue;
        g->reply.len = 0;
        buf_append(&g->reply, p->bytes, p->len);
        break;
    }
    gather_finish(w, g, &g->reply);
}
