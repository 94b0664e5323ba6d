// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/shard/defer.h"
#include "engine/shard/fanout.h"
#include "engine/shard/gather.h"
#include "engine/shard/monitor.h"
#include "engine/shard/multi.h"
#include "engine/shard/native.h"
#include "engine/shard/session.h"
#include "engine/shard/span.h"
#include "engine/shard/watch.h"
#include "proto/fcnp_reply.h"
#include "reactor/log.h"

// ---- look up and route

static inline void route_to(struct worker *w, struct item *item, uint32_t shard, uint32_t db, struct slice key)
{
    item->shard = shard;
    item->worker = shard % w->server->worker_count;
    item->keyspace = store_keyspace(w->store, shard, db);
    if (item->keyspace == NULL)
        return;
    item->hash = keyspace_hash(item->keyspace, key);
    keyspace_prefetch(item->keyspace, item->hash);
}

// Do all keys belong to the worker of the first one?
static bool one_worker(struct worker *w, const struct item *item, const struct command_keys *keys)
{
    uint32_t workers = w->server->worker_count;
    for (uint32_t i = keys->first; i <= keys->last; i += keys->step)
        if (route_shard(&w->route, item->request.argv[i]) % workers != item->worker)
            return false;
    return true;
}

static void route_many(struct conn *c, struct item *item)
{
    struct worker *w = c->worker;
    const struct request *rq = &item->request;
    struct command_keys keys;
    if (!command_keys(item->command, rq->argv, rq->argc, &keys)) {
        item->spread = w->server->worker_count > 1 && item->command->spread != SPREAD_NONE;
        return;
    }
    struct slice first = rq->argv[keys.first];
    route_to(w, item, route_shard(&w->route, first), c->client.db, first);
    item->spread = w->server->worker_count > 1 && keys.last > keys.first && !one_worker(w, item, &keys);
    if (unlikely(item->command->run == cmd_watch))
        item->spread = true; // run_odd has a look
}

static inline bool place(struct conn *c, struct item *item, const struct command *command)
{
    struct worker *w = c->worker;
    const struct request *rq = &item->request;
    item->command = command;
    item->keyspace = NULL;
    item->shard = NO_SHARD;
    item->worker = w->id;
    item->spread = false;
    item->displaced = false;
    item->refusal = REFUSE_NOT;
    if (unlikely(command == NULL)) {
        item->refusal = REFUSE_UNKNOWN;
        return false;
    }
    if (unlikely(!command_arity_ok(command, rq->argc))) {
        item->refusal = REFUSE_ARITY;
        return false;
    }
    if (unlikely((c->client.flags & CLIENT_AUTHENTICATED) == 0 && (command->flags & CMD_NO_AUTH) == 0)) {
        item->refusal = REFUSE_AUTH;
        return false;
    }
    if (likely(command->key_first > 0 && command->key_first == command->key_last &&
               (command->flags & (CMD_MOVABLE_KEYS | CMD_TIMED)) == 0)) {
        struct slice key = rq->argv[command->key_first];
        route_to(w, item, route_shard(&w->route, key), c->client.db, key);
        return false;
    }
    w->seen |= command->flags;
    if (unlikely((command->flags & CMD_CURSOR) != 0)) {
        item->worker = command_cursor_shard(command, rq->argv, rq->argc, &w->route) % w->server->worker_count;
        return false;
    }
    if ((command->flags & CMD_LOCAL) == 0)
        route_many(c, item);
    // Behind SWAPDB a database's keyspaces are others.
    return (command->flags & CMD_LOCAL) != 0 || command->run == cmd_swapdb;
}

bool run_prepare(struct conn *c, struct item *item)
{
    return place(c, item, command_find(item->request.argv, item->request.argc));
}

bool run_place(struct conn *c, struct item *item)
{
    return place(c, item, item->command);
}

// ---- run

void run_count_error(struct worker *w, const struct reply *reply)
{
    w->stats.errors += reply->errors;
    for (int i = 0; i < ERROR_CODES_MAX; i++) {
        struct error_stats *e = &w->errors[i];
        if (e->code[0] == '\0')
            memcpy(e->code, reply->error_code, sizeof e->code);
        else if (strncmp(e->code, reply->error_code, sizeof e->code) != 0)
            continue;
        e->count += reply->errors;
        return;
    }
}

static void reply_unknown(struct reply *reply, const struct request *rq)
{
    // As Redis: the name and the arguments' beginnings, 128 bytes of each at most.
    char args[160];
    size_t len = 0;
    args[0] = '\0';
    for (uint32_t i = 1; i < rq->argc && len < 128; i++) {
        int room = (int)(128 - len);
        int n = rq->argv[i].len < (size_t)room ? (int)rq->argv[i].len : room;
        len += (size_t)snprintf(args + len, sizeof args - len, "'%.*s' ", n, (const char *)rq->argv[i].data);
        if (len >= sizeof args)
            len = sizeof args - 1;
    }
    struct slice name = rq->argv[0];
    reply_error_format(reply, "ERR unknown command '%.*s', with args beginning with: %s", name.len < 128 ? (int)name.len : 128,
                       (const char *)name.data, args);
}

// A browser that was tricked into talking to us sends POST, and any HTTP client Host: on its next line. Nothing of such a
// connection is answered, so that a page cannot smuggle commands in a request's body.
static cold bool is_http(const struct item *item)
{
    struct slice name = item->request.argv[0];
    return item->command == NULL && (slice_is(name, "post") || slice_is(name, "host:"));
}

static cold void drop_http(struct conn *c)
{
    c->worker->stats.protocol_errors++;
    log_line(LOG_WARNING, "client id=%llu addr=%s speaks HTTP: closed", (unsigned long long)c->client.id, c->client.address);
    conn_close(c);
}

static const char *multi_refusal(enum refusal refusal)
{
    if (refusal == REFUSE_NO_MULTI)
        return "ERR Command not allowed inside a transaction";
    if (refusal == REFUSE_MEMORY)
        return REPLY_OUT_OF_MEMORY;
    return "ERR MULTI is not part of FCNP: send it as RESP";
}

// EXEC with arguments: the transaction is over.
static cold void refuse_exec(struct conn *c, struct reply *reply)
{
    multi_reset(c);
    reply_error(reply, "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
}

static cold void refuse(struct conn *c, const struct item *item, struct reply *reply)
{
    struct worker *w = c->worker;
    if (item->refusal == REFUSE_BARE_MISS) {
        w->stats.commands++;
        w->commands[command_index(item->command)].calls++;
        reply_null(reply);
        return;
    }
    if (item->refusal == REFUSE_QUEUED) {
        reply_simple(reply, "QUEUED");
        return;
    }
    w->stats.rejected_calls++;
    if (item->command != NULL)
        w->commands[command_index(item->command)].rejected++;
    if (item->refusal == REFUSE_UNKNOWN)
        reply_unknown(reply, &item->request);
    else if (item->refusal == REFUSE_ARITY && item->command->run == cmd_exec)
        refuse_exec(c, reply);
    else if (item->refusal == REFUSE_ARITY)
        reply_error_format(reply, "ERR wrong number of arguments for '%s' command", item->command->name);
    else if (item->refusal == REFUSE_AUTH)
        reply_error(reply, "NOAUTH Authentication required.");
    else if (item->refusal > REFUSE_QUEUED)
        reply_error(reply, multi_refusal((enum refusal)item->refusal));
    else
        reply_error(reply, native_refusal((enum refusal)item->refusal));
}

// The one place where a command function is called.
// `has_room`: somebody has asked for it already.
static inline void run_call(struct worker *w, struct call *call, bool has_room)
{
    struct reply *reply = call->reply;
    struct command_stats *stats = &w->commands[command_index(call->command)];
    w->stats.commands++;
    if (unlikely(w->options.maxmemory > 0) && (call->command->flags & CMD_DENYOOM) != 0 && !has_room &&
        !store_make_room(w->store, w->now_ms)) {
        stats->rejected++;
        w->stats.rejected_calls++;
        reply_error(reply, REPLY_OUT_OF_MEMORY);
    } else {
        call->command->run(call);
        stats->calls++;
        stats->failed += reply->errors;
    }
    if (unlikely(reply->errors > 0))
        run_count_error(w, reply);
}

static inline struct call call_on(struct worker *w, struct reply *reply, uint32_t db)
{
    return (struct call){
        .reply = reply,
        .store = w->store,
        .route = &w->route,
        .db = db,
        .now_ms = w->now_ms,
        .prng = &w->prng,
        .bulk_max = w->options.proto_max_bulk_len,
        .worker = w,
    };
}

// `call` holds what all requests of the batch share.
static inline void run_local(struct conn *c, struct item *item, struct call *call, bool native)
{
    struct client *client = &c->client;
    struct reply *reply = call->reply;
    struct buf *out = likely(c->pending == NULL) ? &c->out : &c->stash;
    size_t before = out->len;
    uint32_t referred = native ? c->refs.count : 0;
    reply->out = out;
    reply->errors = 0;
    if (unlikely(c->worker->txns.intents.count > 0) && item->refusal == REFUSE_NOT && defer_item(c, item))
        return;
    if (native)
        fcnp_reply_begin(reply, (uint8_t)(c->frame - 1));
    if (unlikely(item->refusal != REFUSE_NOT)) {
        if (!native && is_http(item)) {
            drop_http(c);
            return;
        }
        refuse(c, item, reply);
        if (reply->errors > 0)
            run_count_error(c->worker, reply);
    } else {
        call->command = item->command;
        call->argc = item->request.argc;
        call->argv = item->request.argv;
        call->keyspace = item->keyspace;
        call->hash = item->hash;
        client->last_command = item->command;
        run_call(c->worker, call, multi_running(c));
    }
    if (native && likely(c->refs.count == referred))
        fcnp_reply_end(reply, before, (uint8_t)(c->frame - 1));
    if (unlikely(client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)))
        out->len = before;
    if (unlikely(out == &c->stash) && c->pending != NULL)
        container_of(c->pending_tail, struct pending, next)->after += out->len - before;
}

static cold void no_memory(struct conn *c)
{
    conn_close(c);
}

static void forward(struct conn *c, struct item *item)
{
    struct worker *w = c->worker;
    struct forward f = {
        .target = item->worker,
        .shard = item->shard,
        .db = c->client.db,
        .command = unlikely(c->bare) ? MESH_BARE : (uint16_t)command_index(item->command),
        .protocol = c->client.protocol,
        .argc = item->request.argc,
        .argv = item->request.argv,
        .blobs = c->blobs,
        .blobs_cap = c->blobs_cap,
    };
    f.in_txn = multi_running(c);
    f.watcher = item->command->run == cmd_watch ? c->client.id : 0;
    struct pending *p = conn_expect(c);
    if (p == NULL || !run_forward(w, &f, p)) {
        no_memory(c);
        return;
    }
    p->silent = conn_silent(c);
    c->client.last_command = item->command;
    w->stats.requests_forwarded++;
}

// The skip that CLIENT REPLY SKIP asked for holds for the command behind it only.
static inline void turn_skips(struct client *client)
{
    if (likely((client->flags & (CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT)) == 0))
        return;
    bool next = (client->flags & CLIENT_REPLY_SKIP_NEXT) != 0;
    client->flags &= ~(uint32_t)(CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
    if (next)
        client->flags |= CLIENT_REPLY_SKIP;
}

static inline void dispatch(struct conn *c, struct item *item, struct call *call, bool native)
{
    if (unlikely(item->spread)) {
        fanout_start(c, item);
        if (c->state != CONN_CLOSING)
            conn_out_begin(c);
    } else if (unlikely(item->worker != c->worker->id)) {
        forward(c, item);
    } else {
        run_local(c, item, call, native);
    }
}

static cold void run_watch(struct conn *c, struct item *item, struct call *call)
{
    struct worker *w = c->worker;
    struct command_keys keys;
    bool keyed = command_keys(item->command, item->request.argv, item->request.argc, &keys);
    assert(keyed);
    struct pending **before = c->pending_tail;
    w->watcher = c->client.id;
    item->spread = w->server->worker_count > 1 && !one_worker(w, item, &keys);
    dispatch(c, item, call, false);
    if (c->pending_tail != before)
        multi_watching(c);
}

// What is not a command of one worker to be run now.
static cold void run_odd(struct conn *c, struct item *item, struct call *call, bool native)
{
    if (c->queueing)
        multi_take(c, item);
    bool watch = item->refusal == REFUSE_NOT && item->command->run == cmd_watch;
    if (watch && multi_watch(c, item))
        run_watch(c, item, call);
    if (watch)
        return;
    if (c->state == CONN_OPEN || multi_running(c))
        dispatch(c, item, call, native);
}

static inline void run_item(struct conn *c, struct item *item, struct call *call, bool native)
{
    c->client.requests++;
    if (unlikely((int)item->spread | (int)c->queueing))
        run_odd(c, item, call, native);
    else
        dispatch(c, item, call, native);
    turn_skips(&c->client);
}

// What a frame asks for beside its request.
static inline void begin_frame(struct conn *c, struct item *item, const struct fcnp_request *frame)
{
    c->frame = (uint8_t)(frame->shape + 1);
    // What is answered elsewhere is answered in RESP, and framed when it leaves.
    c->client.protocol = frame->shape == FCNP_RESP2 ? PROTOCOL_RESP2 : PROTOCOL_RESP3;
    c->bare = frame->bare;
    if (unlikely(frame->bare) && item->refusal == REFUSE_NOT)
        native_find_bare(c, item, frame);
}

// A batch on its way.
struct batch {
    struct item *items;
    struct fcnp_request *frames; // NULL: RESP
    uint32_t count;
    uint32_t ahead; // so many requests ahead of the one that runs are asked for
    struct call call;
    struct span span;
    bool watched;
};

// Bytes unsent from which a reply is looked at, when there are `unsent` now.
static inline uint64_t looked_at_from(const struct conn *c, uint64_t unsent)
{
    uint64_t large = unsent + c->worker->watch.reply_min;
    return large < OUTPUT_HIGH + 1 ? large : OUTPUT_HIGH + 1;
}

static cold void much_written(struct conn *c, const struct item *item, uint64_t before, uint64_t unsent)
{
    if (unsent > before && unsent - before >= c->worker->watch.reply_min)
        span_heavy(c, item, unsent - before);
    if (unsent > OUTPUT_HIGH)
        c->paused = true;
}

// items[i..end), of which none needs a look. Returns where it had to stop.
static inline uint32_t run_range(struct conn *c, struct batch *b, uint32_t i, uint32_t end, bool native)
{
    struct item *items = b->items;
    uint32_t ahead = b->ahead, count = b->count;
    uint64_t unsent = conn_unsent(c);
    uint64_t much = looked_at_from(c, unsent);
    for (; i < end; i++) {
        if (unlikely(!conn_runs(c)))
            break;
        if (i + ahead < count)
            run_prefetch(items, i + ahead);
        if (native)
            begin_frame(c, &items[i], &b->frames[i]);
        run_item(c, &items[i], &b->call, native);
        if (unlikely(c->client.flags & CLIENT_CLOSE_AFTER_REPLY))
            conn_end(c);
        uint64_t before = unsent;
        unsent = conn_unsent(c);
        if (unlikely(unsent >= much)) {
            much_written(c, &items[i], before, unsent);
            much = looked_at_from(c, unsent);
        }
        if (unlikely(c->pending_count >= PENDING_MAX))
            c->crowded = true;
    }
    return i;
}

// One that is watched, timed alone, or may change the session. False: it must not run now.
static __attribute__((noinline)) bool run_special(struct conn *c, struct batch *b, uint32_t i)
{
    struct item *item = &b->items[i];
    if (!conn_runs(c) || (b->watched && !watch_request(c, item)))
        return false;
    uint32_t flags = item->command != NULL ? item->command->flags : 0;
    bool alone = span_picks(c->worker, &b->span, i, flags) && span_cut(c, &b->span, b->items, i);
    run_range(c, b, i, i + 1, b->frames != NULL);
    if (alone)
        span_single(c, &b->span, b->items, i);
    if ((flags & CMD_LOCAL) != 0 && c->state == CONN_OPEN) {
        session_set_limits(c);
        if (c->multi != NULL && c->multi->state == MULTI_DUE) {
            multi_begin(c);
            b->span.began = reactor_ticks(c->worker->reactor); // its commands are timed one by one
        }
        c->paused |= conn_unsent(c) > OUTPUT_HIGH;
        c->crowded |= c->pending_count >= PENDING_MAX;
        if ((c->client.flags & CLIENT_CLOSE_AFTER_REPLY) != 0)
            conn_end(c);
    }
    return true;
}

static inline uint32_t run_all_of(struct conn *c, struct batch *b, bool native)
{
    struct worker *w = c->worker;
    // A few now; the rest of the last ones one by one while the first ones run.
    uint32_t asked = b->count > PREFETCH_LAG ? b->count - PREFETCH_LAG : 0;
    for (uint32_t few = 0; few < 4 && asked < b->count; few++)
        run_prefetch(b->items, asked++);
    b->ahead = asked;
    struct reply reply = { .protocol = c->client.protocol };
    b->call = call_on(w, &reply, c->client.db);
    b->call.client = &c->client;
    b->call.refer = conn_refer;
    b->call.blobs = c->blobs != NULL && b->count == 1 && c->blobs_cap >= b->items[0].request.argc ? c->blobs : NULL;
    b->watched = watch_wants(c, b->items, b->count);
    b->span = span_begin(w, b->count);
    bool special = b->watched || w->watch.alone == UINT32_MAX || (w->seen & (CMD_TIMED | CMD_LOCAL)) != 0;
    w->seen = 0;
    uint32_t i = 0;
    conn_out_begin(c);
    while (i < b->count) {
        uint32_t end = special ? i : b->span.sample < b->count ? b->span.sample : b->count;
        i = run_range(c, b, i, end, native);
        if (i < end || i == b->count || !run_special(c, b, i))
            break;
        i++;
    }
    conn_out_end(c);
    span_end(c, &b->span, b->items, i);
    return i;
}

uint32_t run_batch(struct conn *c, struct item *items, uint32_t count)
{
    struct batch b; // run_all_of fills it in
    b.items = items;
    b.frames = NULL;
    b.count = count;
    return run_all_of(c, &b, false);
}

uint32_t run_frames(struct conn *c, struct item *items, struct fcnp_request *frames, uint32_t count)
{
    uint8_t protocol = c->client.protocol;
    struct batch b; // run_all_of fills it in
    b.items = items;
    b.frames = frames;
    b.count = count;
    uint32_t ran = run_all_of(c, &b, true);
    c->client.protocol = protocol;
    c->frame = 0;
    c->bare = false;
    c->worker->stats.native_frames += ran;
    return ran;
}

void run_queued(struct conn *c, const struct command *command, struct args *args)
{
    struct item item = { .command = command, .request = { .argc = args->argc, .argv = args->argv } };
    struct reply reply = { .protocol = c->client.protocol };
    struct call call = call_on(c->worker, &reply, c->client.db);
    struct blob **blobs = c->blobs;
    uint32_t blobs_cap = c->blobs_cap;
    run_place(c, &item);
    call.client = &c->client;
    call.blobs = c->blobs = args->blobs;
    c->blobs_cap = args->argc;
    uint64_t began = reactor_ticks(c->worker->reactor);
    run_item(c, &item, &call, false);
    uint64_t ticks = ticks_between(began, reactor_ticks(c->worker->reactor));
    if (item.refusal == REFUSE_NOT && !item.spread && item.worker == c->worker->id)
        stopwatch_keep(c->worker, LOG_SLOW, stopwatch_note(c->worker, command, args->argv, args->argc, ticks, 1), &c->client);
    c->blobs = blobs;
    c->blobs_cap = blobs_cap;
    if ((command->flags & CMD_LOCAL) != 0 && c->state == CONN_OPEN)
        session_set_limits(c);
}

void run_word(struct worker *w, uint32_t target, uint16_t word, uint64_t cookie)
{
    struct mesh_request *head = mesh_append(&w->mesh, target, MESH_REQUESTS, sizeof *head);
    assert(head != NULL);
    *head = (struct mesh_request){ .cookie = cookie, .size = sizeof *head, .argc = 1, .shard = MESH_NO_SHARD, .command = word };
}

void run_here(struct worker *w, const struct here *here, struct buf *out)
{
    struct reply reply = { .out = out, .protocol = here->protocol };
    struct call call = call_on(w, &reply, here->db);
    call.command = here->command;
    call.argc = here->argc;
    call.argv = here->argv;
    call.blobs = here->blobs;
    call.client = here->client;
    w->watcher = here->watcher;
    struct command_keys keys;
    if (command_keys(here->command, here->argv, here->argc, &keys)) {
        struct slice key = here->argv[keys.first];
        call.keyspace = store_keyspace(w->store, route_shard(&w->route, key), here->db);
        call.hash = call.keyspace != NULL ? keyspace_hash(call.keyspace, key) : 0;
    }
    uint64_t began = reactor_ticks(w->reactor);
    run_call(w, &call, here->in_txn);
    uint64_t ticks = ticks_between(began, reactor_ticks(w->reactor));
    stopwatch_keep(w, LOG_SLOW, stopwatch_note(w, here->command, here->argv, here->argc, ticks, 1), here->client);
}

// ---- to another worker

static struct blob *blob_of(const struct forward *f, uint32_t arg)
{
    return f->blobs != NULL && arg < f->blobs_cap ? f->blobs[arg] : NULL;
}

static size_t forward_size(const struct forward *f)
{
    size_t size = sizeof(struct mesh_request) + (f->argc - 1) * sizeof(uint32_t);
    for (uint32_t i = 1; i < f->argc; i++)
        size += blob_of(f, i) != NULL ? sizeof(struct blob *) : f->argv[i].len;
    return f->watcher != 0 ? round_up(size, MESH_ALIGN) + sizeof f->watcher : size;
}

bool run_forward(struct worker *w, const struct forward *f, struct pending *p)
{
    size_t size = forward_size(f);
    struct mesh_request *head = mesh_append(&w->mesh, f->target, MESH_REQUESTS, size);
    if (head == NULL)
        return false;
    *head = (struct mesh_request){
        .cookie = (uintptr_t)p,
        .size = (uint32_t)round_up(size, MESH_ALIGN),
        .argc = f->argc,
        .shard = f->shard == NO_SHARD ? MESH_NO_SHARD : (uint16_t)f->shard,
        .db = (uint16_t)f->db,
        .command = f->command,
        .protocol = f->protocol,
        .flags = f->in_txn ? MESH_IN_TXN : 0,
    };
    if (unlikely(f->watcher != 0)) {
        head->flags |= MESH_WATCHER;
        store_u64((uint8_t *)head + head->size - sizeof f->watcher, f->watcher);
    }
    uint8_t *lengths = (uint8_t *)(head + 1);
    uint8_t *bytes = lengths + (f->argc - 1) * sizeof(uint32_t);
    for (uint32_t i = 1; i < f->argc; i++, lengths += sizeof(uint32_t)) {
        struct blob *blob = blob_of(f, i);
        assert(f->argv[i].len < MESH_BLOB);
        store_u32(lengths, (uint32_t)f->argv[i].len | (blob != NULL ? MESH_BLOB : 0));
        if (unlikely(blob != NULL)) {
            store_u64(bytes, (uintptr_t)blob);
            bytes += sizeof blob;
            f->blobs[i] = NULL;
            head->flags |= MESH_HAS_BLOBS;
            continue;
        }
        copy_short(bytes, f->argv[i].data, f->argv[i].len);
        bytes += f->argv[i].len;
    }
    return true;
}

// ---- for another worker

#define REPLY_INLINE 1024 // bytes of a late reply that travel in the block

// A request taken out of its block.
struct served {
    const struct mesh_request *head;
    const struct slice *argv;
    struct keyspace *keyspace;
    uint64_t hash;
    bool displaced; // as struct item's
};

uint64_t run_watcher(const struct mesh_request *head)
{
    return (head->flags & MESH_WATCHER) != 0 ? load_u64((const uint8_t *)head + head->size - sizeof(uint64_t)) : 0;
}

static struct blob *blob_at(const uint8_t *bytes)
{
    return (struct blob *)(uintptr_t)load_u64(bytes);
}

static void views(struct served *s, struct slice *argv)
{
    const uint8_t *lengths = (const uint8_t *)(s->head + 1);
    const uint8_t *bytes = lengths + (s->head->argc - 1) * sizeof(uint32_t);
    uint16_t id = s->head->command;
    argv[0] = id >= MESH_WORDS ? slice_of(NULL, 0) : slice_cstr(command_at(id)->name);
    for (uint32_t i = 1; i < s->head->argc; i++, lengths += sizeof(uint32_t)) {
        uint32_t len = load_u32(lengths);
        if (unlikely((len & MESH_BLOB) != 0)) {
            argv[i] = slice_of(blob_at(bytes)->data, len & ~MESH_BLOB);
            bytes += sizeof(struct blob *);
            continue;
        }
        argv[i] = slice_of(bytes, len);
        bytes += len;
    }
    s->argv = argv;
}

struct blob **run_blobs(const struct mesh_request *head)
{
    struct blob **blobs = calloc(head->argc, sizeof *blobs);
    const uint8_t *lengths = (const uint8_t *)(head + 1);
    const uint8_t *bytes = lengths + (head->argc - 1) * sizeof(uint32_t);
    for (uint32_t i = 1; blobs != NULL && i < head->argc; i++, lengths += sizeof(uint32_t)) {
        uint32_t len = load_u32(lengths);
        if (len & MESH_BLOB)
            blobs[i] = blob_at(bytes);
        bytes += len & MESH_BLOB ? sizeof(struct blob *) : len;
    }
    return blobs;
}

static void locate(struct worker *w, struct served *s)
{
    s->keyspace = NULL;
    s->hash = 0;
    if (s->head->shard == MESH_NO_SHARD || s->head->command >= MESH_WORDS)
        return;
    uint32_t first = (uint32_t)command_at(s->head->command)->key_first;
    if (first == 0 || first >= s->head->argc)
        first = 1;
    s->keyspace = store_keyspace(w->store, s->head->shard, s->head->db);
    s->hash = keyspace_hash(s->keyspace, s->argv[first]);
    keyspace_prefetch(s->keyspace, s->hash);
}

static void run_served(struct worker *w, struct served *s, struct buf *out)
{
    const struct mesh_request *head = s->head;
    if (unlikely(head->command == MESH_BARE)) {
        native_serve_bare(w, head, s->argv, out);
        return;
    }
    if (head->command >= MESH_WORDS) {
        steps_serve(w, head, s->argv, out);
        return;
    }
    struct reply reply = { .out = out, .protocol = head->protocol };
    struct call call = call_on(w, &reply, head->db);
    call.command = command_at(head->command);
    call.argc = head->argc;
    call.argv = s->argv;
    call.keyspace = s->keyspace;
    call.hash = s->hash;
    struct blob **blobs = unlikely((head->flags & MESH_HAS_BLOBS) != 0) ? run_blobs(head) : NULL;
    call.blobs = blobs;
    w->watcher = run_watcher(head);
    run_call(w, &call, (head->flags & MESH_IN_TXN) != 0);
    if (blobs == NULL)
        return;
    // What the command did not take goes back to the system.
    for (uint32_t i = 0; i < head->argc; i++)
        if (blobs[i] != NULL)
            blob_free(blobs[i]);
    free(blobs);
}

void run_reply(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out)
{
    if (out->failed)
        out->len = 0;
    bool heap = out->len > REPLY_INLINE;
    size_t len = heap ? sizeof(struct mesh_heap) : out->len;
    struct mesh_reply *reply = mesh_append(&w->mesh, to, MESH_REPLIES, sizeof *reply + len);
    assert(reply != NULL);
    *reply = (struct mesh_reply){ .cookie = cookie, .len = (uint32_t)len, .heap = heap };
    if (heap) {
        *(struct mesh_heap *)(reply + 1) = (struct mesh_heap){ .bytes = out->data, .len = out->len };
        return;
    }
    if (len > 0)
        memcpy(reply + 1, out->data, len);
    buf_deinit(out);
}

// Requests that are not answered here and now: true.
static cold bool serve_aside(struct worker *w, uint32_t from, const struct served *s)
{
    const struct mesh_request *head = s->head;
    switch (head->command) {
    case MESH_QUEUE:
        txn_serve_queue(w, from, head);
        return true;
    case MESH_UNWATCH:
        watched_forget(w, head->cookie);
        return true;
    case MESH_RELEASE:
        txn_serve_release(w, head);
        return true;
    case MESH_BARE:
        return w->txns.intents.count > 0 && native_defer_bare(w, from, head, s->argv);
    default:
        break;
    }
    if (head->command >= MESH_WORDS || (head->flags & MESH_IN_TXN) != 0)
        return false;
    if (s->keyspace == NULL && (command_at(head->command)->flags & CMD_CURSOR) == 0)
        return false;
    return defer_served(w, from, head, s->argv, s->hash);
}

// What the log of this worker's commands has to say of a request goes to where its connection is, in front of its reply.
static void send_note(struct worker *w, uint32_t from, uint64_t cookie, struct command_entry *entry, int kind)
{
    struct mesh_reply *note = entry == NULL ? NULL : mesh_append(&w->mesh, from, MESH_REPLIES, sizeof *note + sizeof(struct mesh_note));
    if (note == NULL) {
        command_entry_free(entry);
        return;
    }
    *note = (struct mesh_reply){ .cookie = cookie, .len = sizeof(struct mesh_note), .heap = MESH_NOTE };
    *(struct mesh_note *)(note + 1) = (struct mesh_note){ .entry = entry, .kind = (uint64_t)kind };
}

// Bytes that were written in the open block, out of the way of what has to go before them.
static bool move_to_heap(struct buf *out)
{
    uint8_t *copy = malloc(out->len + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, out->data, out->len);
    *out = (struct buf){ .data = copy, .len = out->len, .cap = out->len + 1, .limit = BUF_NO_LIMIT };
    return true;
}

static cold void notes_of(struct worker *w, uint32_t from, const struct served *s, struct command_entry *slow, struct buf *out)
{
    struct command_entry *large = stopwatch_large(w, LOG_LARGE_REPLY, command_at(s->head->command), s->argv, s->head->argc, out->len);
    if ((slow == NULL && large == NULL) || (out->borrowed && !move_to_heap(out))) {
        command_entry_free(slow);
        command_entry_free(large);
        return;
    }
    send_note(w, from, s->head->cookie, slow, LOG_SLOW);
    send_note(w, from, s->head->cookie, large, LOG_LARGE_REPLY);
}

// The reply is written where it will travel; only one that outgrows the block goes by the heap. `timed`: of this request alone,
// or NULL.
static void serve_one(struct worker *w, uint32_t from, struct served *s, struct span *timed)
{
    if (unlikely(s->head->command >= MESH_WORDS || w->txns.intents.count > 0) && serve_aside(w, from, s))
        return;
    uint8_t *at = NULL;
    size_t room = mesh_room(&w->mesh, from, MESH_REPLIES, &at);
    struct buf out;
    if (likely(room > 0))
        buf_init_borrowed(&out, at + sizeof(struct mesh_reply), room - sizeof(struct mesh_reply), BUF_NO_LIMIT);
    else
        buf_init(&out, BUF_NO_LIMIT);
    run_served(w, s, &out);
    struct command_entry *slow = NULL;
    if (unlikely(timed != NULL))
        slow = span_served(w, timed, command_at(s->head->command), s->argv, s->head->argc);
    if (unlikely(slow != NULL || out.len >= w->watch.reply_min) && s->head->command < MESH_WORDS)
        notes_of(w, from, s, slow, &out);
    if (out.failed)
        out.len = 0;
    size_t len = out.borrowed ? out.len : sizeof(struct mesh_heap);
    struct mesh_reply *reply = mesh_append(&w->mesh, from, MESH_REPLIES, sizeof *reply + len);
    assert(reply != NULL && (!out.borrowed || (uint8_t *)reply == at));
    *reply = (struct mesh_reply){ .cookie = s->head->cookie, .len = (uint32_t)len, .heap = out.borrowed ? MESH_BYTES : MESH_HEAP };
    if (!out.borrowed)
        *(struct mesh_heap *)(reply + 1) = (struct mesh_heap){ .bytes = out.data, .len = out.len };
    w->stats.requests_served++;
}

// One request with more arguments than the batch's array holds.
static void serve_large(struct worker *w, uint32_t from, struct served *s)
{
    struct slice *argv = malloc(s->head->argc * sizeof *argv);
    assert(argv != NULL); // the request itself took more
    views(s, argv);
    locate(w, s);
    struct span span = span_begin(w, 1);
    serve_one(w, from, s, s->head->command < MESH_WORDS ? &span : NULL);
    free(argv);
}

// Quick requests that took long together: the last one stands for them, and nobody knows its client here.
static cold void blame_served(struct worker *w, const struct served *batch, uint32_t end, uint64_t ticks)
{
    const struct mesh_request *head = batch[end - 1].head;
    if (head->command < MESH_WORDS)
        stopwatch_keep(w, LOG_SLOW, stopwatch_blame(w, command_at(head->command), batch[end - 1].argv, head->argc, ticks), NULL);
}

static cold bool times_alone(struct worker *w, struct span *span, const struct served *batch, uint32_t i)
{
    const struct mesh_request *head = batch[i].head;
    bool sampled = i == span->sample;
    if (sampled && span->weight != 1)
        span->sample += stopwatch_distance(&w->watch);
    if (head->command >= MESH_WORDS)
        return false;
    const struct command *command = command_at(head->command);
    if (!sampled && ((command->flags & w->watch.alone) == 0 || !stopwatch_times_alone(&w->watch, command, head->argc)))
        return false;
    uint64_t ticks = span_cut_served(w, span, i);
    if (unlikely(ticks > 0 && ticks >= w->watch.slow_ticks))
        blame_served(w, batch, i, ticks);
    return true;
}

static void serve_batch(struct worker *w, uint32_t from, struct served *batch, uint32_t count)
{
    struct span span = span_begin(w, count);
    for (uint32_t i = 0; i < count; i++) {
        uint16_t id = batch[i].head->command;
        uint32_t flags = likely(id < MESH_WORDS) ? command_at(id)->flags : 0;
        bool alone = span_picks(w, &span, i, flags) && times_alone(w, &span, batch, i);
        serve_one(w, from, &batch[i], unlikely(alone) ? &span : NULL);
    }
    uint64_t ticks = span_close(w, &span, count);
    if (unlikely(ticks > 0) && count > 0)
        blame_served(w, batch, count, ticks);
}

void run_serve(struct worker *w, struct mesh_block *block)
{
    struct served batch[BATCH_REQUESTS];
    uint32_t offset = 0;
    while (offset < block->len) {
        uint32_t count = 0, args = 0;
        while (count < BATCH_REQUESTS && offset < block->len) {
            struct served *s = &batch[count];
            s->head = (const struct mesh_request *)(const void *)(block->data + offset);
            if (s->head->argc > BATCH_ARGS - args)
                break;
            offset += s->head->size;
            views(s, w->args + args);
            locate(w, s);
            args += s->head->argc;
            count++;
            if (unlikely(s->keyspace == NULL) && s->head->command < MESH_WORDS && command_at(s->head->command)->run == cmd_swapdb)
                break; // what follows is located in other keyspaces
        }
        for (uint32_t i = 0; i < count; i++)
            batch[i].displaced = batch[i].keyspace != NULL && keyspace_prefetch_entry(batch[i].keyspace, batch[i].hash);
        for (uint32_t i = 0; i < count; i++)
            if (unlikely(batch[i].displaced))
                keyspace_prefetch_displaced(batch[i].keyspace, batch[i].hash);
        serve_batch(w, block->from, batch, count);
        if (count == 0) {
            offset += batch[0].head->size;
            serve_large(w, block->from, &batch[0]);
        }
    }
}

static cold void take_note(struct worker *w, const struct pending *p, const struct mesh_note *note)
{
    const struct conn *c = p->kind == PENDING_PART ? ((const struct gather *)p->owner)->due->conn : p->conn;
    stopwatch_keep(w, (int)note->kind, note->entry, c != NULL ? &c->client : NULL);
}

void run_answers(struct worker *w, struct mesh_block *block)
{
    for (uint32_t offset = 0; offset < block->len;) {
        const struct mesh_reply *reply = (const struct mesh_reply *)(const void *)(block->data + offset);
        offset += (uint32_t)round_up(sizeof *reply + reply->len, MESH_ALIGN);
        struct pending *p = (struct pending *)(uintptr_t)reply->cookie;
        if (unlikely(reply->heap == MESH_LINES)) {
            monitor_show(w, slice_of(reply + 1, reply->len));
        } else if (unlikely(reply->heap == MESH_NOTE)) {
            take_note(w, p, (const struct mesh_note *)(const void *)(reply + 1));
        } else if (unlikely(reply->heap)) {
            const struct mesh_heap *heap = (const struct mesh_heap *)(const void *)(reply + 1);
            conn_deliver(w, p, NULL, heap->bytes, heap->bytes, heap->len);
        } else {
            conn_deliver(w, p, block, NULL, (const uint8_t *)(reply + 1), reply->len);
        }
    }
}
