// SPDX-License-Identifier: Apache-2.0
// As much of a worker as changes and gates need, without a server: a store, its shards, and the port of a log that nobody reads but the
// test.
#pragma once

#include <stdlib.h>

#include "base/prng.h"
#include "base/test.h"
#include "engine/shard/effects.h"
#include "engine/shard/run_call.h"
#include "engine/shard/worker.h"
#include "test/unit/store/pages.h"

#define NOW       INT64_C(1750000000000)
#define SHARDS    4
#define DATABASES 3

struct rig {
    struct pages pages;
    struct server server;
    struct reactor reactor;
    struct log_port port;
    struct prng prng;
    struct worker *w;
    uint64_t positions; // of batches taken
    char said[128];     // the last command's reply
};

static inline void rig_start(struct rig *r, uint64_t memory_max, bool logs)
{
    memset(r, 0, sizeof *r);
    pages_init(&r->pages);
    prng_init(&r->prng, 3);
    r->w = aligned_alloc(64, (sizeof *r->w + 63) & ~(size_t)63);
    assert(r->w != NULL);
    struct worker *w = r->w;
    memset(w, 0, sizeof *w);
    r->server.worker_count = 1;
    route_init(&w->route, SHARDS, ROUTE_FULL_KEY);
    w->server = &r->server;
    w->reactor = &r->reactor;
    w->now_ms = NOW;
    struct store_options o = { .route = w->route, .workers = 1, .databases = DATABASES, .memory_max = memory_max, .seed = 9 };
    o.memory = &r->pages.memory;
    o.policy = memory_max > 0 ? STORE_ALLKEYS_S3FIFO : STORE_NOEVICTION;
    int rc = store_new(&w->store, &o);
    assert(rc == 0);
    rc = txns_init(&w->txns);
    assert(rc == 0);
    rc = watches_init(&w->watches);
    assert(rc == 0);
    rc = effects_init(w);
    assert(rc == 0);
    rc = gate_init(w);
    assert(rc == 0);
    w->commands = calloc(command_count(), sizeof *w->commands);
    assert(w->commands != NULL);
    log_port_init(&r->port);
    atomic_store(&r->port.room, UINT64_MAX);
    r->server.logging.on = logs;
    if (logs)
        effects_start(w, &r->port);
}

static inline void rig_stop(struct rig *r)
{
    struct worker *w = r->w;
    if (w->effects.on)
        effects_stop(w);
    effects_deinit(w);
    gate_deinit(w);
    watches_deinit(&w->watches);
    txns_deinit(&w->txns);
    log_port_deinit(&r->port);
    store_free(w->store);
    free(w->commands);
    free(w);
}

static inline void run(struct rig *r, uint32_t db, const struct slice *argv, uint32_t argc)
{
    struct worker *w = r->w;
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    struct reply reply = { .out = &out, .protocol = PROTOCOL_RESP2 };
    struct call c = {
        .command = command_find(argv, argc),
        .argc = argc,
        .argv = argv,
        .reply = &reply,
        .store = w->store,
        .route = &w->route,
        .db = db,
        .now_ms = w->now_ms,
        .prng = &r->prng,
        .bulk_max = 512 << 20,
        .worker = w,
    };
    struct command_keys keys;
    assert(c.command != NULL);
    if (command_keys(c.command, argv, argc, &keys)) {
        struct place at = call_place(&c, keys.first);
        c.keyspace = at.keyspace;
        c.hash = at.hash;
    }
    w->gate.serve = (struct gate_need){ 0 };
    run_call(w, &c, false);
    snprintf(r->said, sizeof r->said, "%.*s", out.len < 100 ? (int)out.len : 100, (const char *)out.data);
    buf_deinit(&out);
}

// A line's words into `argv`. Returns their number.
static inline uint32_t words_of(const char *line, struct slice *argv)
{
    uint32_t argc = 0;
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        argv[argc++] = slice_of(line, len);
        line += len + (line[len] == ' ');
    }
    return argc;
}

static inline void run_text(struct rig *r, uint32_t db, const char *line)
{
    struct slice argv[16];
    run(r, db, argv, words_of(line, argv));
}
