// SPDX-License-Identifier: Apache-2.0
// A worker's making and unmaking, its clock work ten times a second, and what other folders ask of it.
#include <errno.h>
#include <stdlib.h>

#include "engine/shard/bundle.h"
#include "engine/shard/conn.h"
#include "engine/shard/export.h"
#include "engine/shard/native.h"
#include "engine/shard/session.h"
#include "engine/shard/statistics.h"
#include "engine/shard/stopwatch.h"
#include "engine/shard/worker.h"
#include "reactor/ticks.h"

static uint64_t memory_share(const struct server *s, uint64_t bytes)
{
    return bytes / s->worker_count;
}

static int open_store(struct worker *w, uint64_t seed, const struct hash_secret *secret)
{
    struct store_options o = {
        .route = w->route,
        .worker = w->id,
        .workers = w->server->worker_count,
        .databases = (uint32_t)w->options.databases,
        .memory_max = memory_share(w->server, w->options.maxmemory),
        .policy = (enum store_policy)w->options.maxmemory_policy,
        .public_hash = w->options.index_hash != 0,
        .secret = *secret,
        .seed = seed,
        .memory = w->memory,
    };
    return store_new(&w->store, &o);
}

static bool has_mail(void *context)
{
    struct worker *w = context;
    if (unlikely(w->exporter != NULL) && export_has_mail(&w->server->export))
        return true;
    if (likely(!w->gated))
        return mesh_has_mail(&w->mesh);
    struct log *log = logging_hosts(w) ? logging_log(&w->server->logging) : NULL;
    return mesh_has_mail(&w->mesh) || gate_has_news(w) || (log != NULL && log_has_work(log));
}

int worker_new(struct worker **out, struct server *server, uint32_t id, struct reactor *reactor, struct memory *memory, uint64_t seed,
               const struct hash_secret *secret)
{
    struct worker *w = aligned_alloc(64, round_up(sizeof *w, 64));
    if (w == NULL)
        return -ENOMEM;
    memset(w, 0, sizeof *w);
    w->id = id;
    w->server = server;
    w->reactor = reactor;
    w->memory = memory;
    w->route = server->route;
    w->now_ms = reactor->wall_ms;
    w->base_ns = server->started_ns;
    w->next_client = id + 1;
    options_copy(&w->options, &server->options);
    prng_init(&w->prng, seed);
    list_init(&w->conns);
    list_init(&w->closing);
    list_init(&w->dirty);
    list_init(&w->stalled);
    list_init(&w->slices);
    list_init(&w->waiters);
    list_init(&w->lents);
    save_init(w);
    int result = txns_init(&w->txns);
    if (result == 0)
        result = watches_init(&w->watches);
    if (result == 0)
        result = effects_init(w);
    if (result == 0)
        result = gate_init(w);
    if (result == 0 && id == 0 && w->options.wal_export_mode != WAL_EXPORT_OFF)
        result = exporter_new(&w->exporter, w);
    if (result == 0)
        result = mesh_init(&w->mesh, server->rings, id, server->worker_count);
    list_init(&w->monitors);
    buf_init(&w->lines, BUF_NO_LIMIT);
    if (result == 0)
        result = open_store(w, prng_next(&w->prng), secret);
    if (result == 0)
        result = stopwatch_init(w);
    w->commands = calloc(command_count(), sizeof *w->commands);
    w->databases = calloc((size_t)w->options.databases, sizeof *w->databases);
    w->shards = calloc(w->route.shards, sizeof *w->shards);
    w->shards_next = calloc(w->route.shards, sizeof *w->shards_next);
    if (result == 0)
        result = worker_reserve_listeners(w, 0);
    for (int i = 0; i < 2; i++)
        w->arenas[i].memory = memory->reserve(memory, TURN_ARENA_SIZE, 4096);
    if (result == 0 && (w->commands == NULL || w->databases == NULL || w->shards == NULL || w->shards_next == NULL ||
                        w->arenas[0].memory == NULL || w->arenas[1].memory == NULL))
        result = -ENOMEM;
    if (result != 0) {
        worker_free(w);
        return result;
    }
    w->public_hash = w->options.index_hash == INDEX_HASH_PUBLIC;
    native_commands_init(w->native_commands);
    if (server->logging.keeper != NULL)
        loading_begin(w);
    else if (w->options.wal_export_mode != WAL_EXPORT_OFF)
        effects_start(w, NULL);
    worker_listen_changes(w);
    reactor->pending = has_mail;
    reactor->pending_context = w;
    *out = w;
    return 0;
}

struct worker *worker_free(struct worker *w)
{
    list_for_each_safe (node, &w->conns)
        conn_close(container_of(node, struct conn, link));
    list_for_each_safe (node, &w->closing) {
        struct conn *c = container_of(node, struct conn, link);
        c->recv.state = c->send.state = c->cancel.state = OP_IDLE; // the reactor has stopped
        if (c->lent != NULL)
            c->lent->answered = true;
        c->put_off = 0;
        conn_free(c);
    }
    lent_deinit(w);
    for (uint32_t i = 0; i < w->listener_count; i++)
        reactor_close(w->reactor, w->listeners[i].op.fd);
    for (int i = 0; i < 2; i++)
        if (w->arenas[i].memory != NULL)
            w->memory->release(w->memory, w->arenas[i].memory, TURN_ARENA_SIZE);
    if (w->store != NULL)
        store_free(w->store);
    if (w->scratch != NULL)
        store_free(w->scratch);
    for (struct pending *p = w->pending_free, *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    bundle_pool_free(w);
    txns_deinit(&w->txns);
    stopwatch_deinit(w);
    buf_deinit(&w->lines);
    if (w->id == 0)
        for (int i = 0; i < LOG_KINDS; i++)
            command_log_reset(&w->server->logs[i]);
    watches_deinit(&w->watches);
    exporter_free(w->exporter);
    effects_deinit(w);
    gate_deinit(w);
    mesh_deinit(&w->mesh);
    fcnp_deinit(&w->native);
    options_deinit(&w->options);
    free(w->put_off[0].items);
    free(w->put_off[1].items);
    free(w->listeners);
    free(w->commands);
    free(w->databases);
    free(w->shards);
    free(w->shards_next);
    free(w);
    return NULL;
}

int worker_reserve_listeners(struct worker *w, uint32_t more)
{
    assert(w->listener_count == 0);
    struct listener *grown = realloc(w->listeners, (WORKER_LISTENERS_MAX + more) * sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    w->listeners = grown;
    w->listener_cap = WORKER_LISTENERS_MAX + more;
    return 0;
}

static int listen_on(struct worker *w, int fd, uint8_t flags, uint32_t shard)
{
    if (w->listener_count == w->listener_cap)
        return -ENOSPC;
    struct listener *l = &w->listeners[w->listener_count++];
    *l = (struct listener){ .worker = w, .flags = flags, .shard = shard };
    l->op = (struct op){ .kind = OP_ACCEPT, .owner = OWNER_LISTENER, .fd = fd, .fixed_buffer = -1 };
    reactor_submit(w->reactor, &l->op);
    return 0;
}

int worker_listen(struct worker *w, int fd, uint8_t flags)
{
    return listen_on(w, fd, flags, NO_SHARD);
}

int worker_listen_direct(struct worker *w, int fd, uint32_t shard)
{
    assert(shard % w->server->worker_count == w->id);
    return listen_on(w, fd, LISTENER_DIRECT, shard);
}

void worker_apply_options(struct worker *w)
{
    store_set_memory_max(w->store, memory_share(w->server, w->options.maxmemory));
    store_set_policy(w->store, (enum store_policy)w->options.maxmemory_policy);
    stopwatch_set_limits(w);
    gate_refresh(w);
    logging_apply_options(w);
    list_for_each (node, &w->conns)
        session_set_limits(container_of(node, struct conn, link));
}

// What the log's frames take is counted by all workers alike. The log outlives the last worker that logs.
static uint64_t frames_share(const struct worker *w)
{
    const struct log *log = w->effects.logs ? logging_log(&w->server->logging) : NULL;
    return log != NULL ? log_memory(log) / w->server->worker_count : 0;
}

// Of `bytes`, of which `frames` do not become fewer when writes are refused, what counts against the limit.
static uint64_t durability_counts(const struct worker *w, uint64_t bytes, uint64_t frames)
{
    uint64_t most = memory_share(w->server, w->options.maxmemory) / DURABILITY_SHARE;
    if (w->options.maxmemory == 0)
        return bytes;
    if (w->options.maxmemory_policy != STORE_NOEVICTION)
        return bytes < most ? bytes : most;
    return frames < most ? bytes : bytes - frames + most;
}

void worker_charge_durability(struct worker *w)
{
    struct worker_stats *s = &w->stats;
    uint64_t frames = frames_share(w);
    s->memory_log = effects_memory(&w->effects) + gate_memory(&w->gate) + frames;
    s->memory_snapshot = save_memory(&w->save);
    s->memory_let_go = w->save.let_go_bytes;
    uint64_t bytes = durability_counts(w, statistics_durability(s), frames);
    store_charge(w->store, (int64_t)(bytes - w->durability_charged));
    w->durability_charged = bytes;
}

void worker_refresh_stats(struct worker *w)
{
    struct worker_stats *s = &w->stats;
    struct keyspace_stats sum = { 0 };
    uint64_t keys = 0;
    for (uint32_t shard = w->id; shard < w->route.shards; shard += w->server->worker_count)
        for (uint32_t db = 0; db < (uint32_t)w->options.databases; db++) {
            const struct keyspace *ks = store_keyspace(w->store, shard, db);
            struct keyspace_stats one = keyspace_stats(ks);
            sum.hits += one.hits;
            sum.misses += one.misses;
            sum.expired += one.expired;
            sum.evicted += one.evicted;
            keys += keyspace_count(ks);
        }
    s->keyspace_hits = sum.hits;
    s->keyspace_misses = sum.misses;
    s->expired = sum.expired;
    s->evicted = sum.evicted;
    s->keys = keys;
    worker_charge_durability(w);
    s->memory_used = store_memory_used(w->store) - s->client_memory - w->durability_charged;
    struct store_memory m = store_memory(w->store);
    s->memory_reserved = m.reserved;
    s->memory_entries = m.entries;
    s->memory_index = m.index;
    s->memory_blobs = m.blobs;
    s->memory_deadlines = m.deadlines;
    s->memory_free_slots = m.free_slots;
    s->memory_buffers = w->mesh.bytes + w->reactor->stats.buffer_bytes;
    for (int i = 0; i < 2; i++)
        s->memory_buffers += round_up(w->arenas[i].used_most, 4096);
    worker_refresh_databases(w);
}

void worker_each_client(struct worker *w, worker_client_fn *fn, void *context)
{
    list_for_each_safe (node, &w->conns) {
        struct conn *c = container_of(node, struct conn, link);
        if (!c->admin)
            fn(context, &c->client);
    }
}

void worker_kill_client(struct worker *w, struct client *c, bool after_reply)
{
    if (after_reply)
        c->flags |= CLIENT_CLOSE_AFTER_REPLY;
    else
        conn_close(conn_of_client(c));
}

static void on_change(void *context, const struct store_change *change)
{
    struct worker *w = context;
    w->save.changes++;
    if (w->watches.keys.count > 0)
        watched_changed(w, change);
    if (w->effects.on)
        effects_changed(w, change);
}

void worker_listen_changes(struct worker *w)
{
    store_listen(w->store, w->watches.keys.count > 0 || w->effects.on || save_counts(w) ? on_change : NULL, w);
}

bool worker_make_room(struct worker *w)
{
    if (likely(w->options.latency_monitor_threshold == 0))
        return store_make_room(w->store, w->now_ms);
    uint64_t began = reactor_ticks(w->reactor);
    bool room = store_make_room(w->store, w->now_ms);
    uint64_t ticks = ticks_between(began, reactor_ticks(w->reactor));
    stopwatch_event(w, LATENCY_EVICTION_CYCLE, reactor_ticks_ns(w->reactor, ticks));
    return room;
}
