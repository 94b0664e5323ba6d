// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/shard/bundle.h"
#include "engine/shard/defer.h"
#include "engine/shard/fanout.h"
#include "engine/shard/forward.h"
#include "engine/shard/glance.h"
#include "engine/shard/multi.h"
#include "engine/shard/native.h"
#include "engine/shard/run_call.h"
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
        if (unlikely(item->command->run == cmd_keys && !multi_running(c)))
            item->spread = true; // in pieces, whoever owns the shards
        if (unlikely(item->command->run == cmd_config_set && !multi_running(c)))
            item->spread = true; // its answer may come later
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
    item->hot = HOT_NOT;
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
        if (unlikely(w->gated))
            gate_read_all(w, c);
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
    if (unlikely(w->gated) && item->refusal == REFUSE_GATE) {
        const char *why = gate_refuses(w, item->command);
        w->commands[command_index(item->command)].rejected++;
        reply_error(reply, why != NULL ? why : GATE_FAILED);
        return;
    }
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

// `call` holds what all requests of the batch share.
static inline void run_local(struct conn *c, struct item *item, struct call *call, bool native)
{
    struct client *client = &c->client;
    struct reply *reply = call->reply;
    struct buf *out = likely(c->pending == NULL) ? &c->out : &c->stash;
    size_t before = out->len;
    reply->out = out;
    reply->errors = 0;
    if (unlikely(c->worker->txns.intents.count > 0) && item->refusal == REFUSE_NOT && defer_item(c, item))
        return;
    if (native) {
        c->referred = false;
        fcnp_reply_begin(reply, (uint8_t)(c->frame - 1));
    }
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
    if (native && likely(!c->referred))
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
    f.level = gate_asked(c);
    f.refer = conn_may_refer(c);
    f.no_touch = (c->client.flags & CLIENT_NO_TOUCH) != 0;
    f.watcher = item->command->run == cmd_watch ? c->client.id : 0;
    struct pending *p = conn_expect(c);
    if (p == NULL || !forward_send(w, &f, p)) {
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
        if (unlikely(c->worker->gated) && !multi_running(c) && gate_refuses(c->worker, item->command) != NULL) {
            item->refusal = REFUSE_GATE;
            run_local(c, item, call, native);
            return;
        }
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
    // What is answered elsewhere is answered in RESP, and framed when it leaves.
    c->client.protocol = PROTOCOL_RESP3;
    if (likely(item->hot != HOT_NOT)) {
        c->frame = FCNP_PLAIN + 1;
        c->bare = false;
        c->level = GATE_NO;
        if (item->hot == HOT_CLAIM)
            native_verify(c, item);
        return;
    }
    c->frame = (uint8_t)(frame->shape + 1);
    c->level = frame->level > 0 ? frame->level - 1 : GATE_NO;
    if (frame->shape == FCNP_RESP2)
        c->client.protocol = PROTOCOL_RESP2;
    c->bare = frame->bare;
    if (unlikely(frame->bare) && item->refusal == REFUSE_NOT)
        native_find_bare(c, item, frame);
}

// A batch on its way.
struct batch {
    struct item *items;
    struct fcnp_request *frames; // NULL: RESP
    uint32_t count;
    uint32_t ahead; // so many requests ahead of the one that runs are asked for; before it runs: so many have been
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

// Answers items from `i` on at a glance, as far as that goes. Returns where it ends; that one wants its command.
static inline uint32_t glance_range(struct conn *c, struct batch *b, uint32_t i, uint32_t end, bool native)
{
    struct item *items = b->items;
    uint32_t first = i, ahead = b->ahead, count = b->count;
    struct glanced done = { 0 };
    if (unlikely(!glance_may(c)))
        return i;
    if (unlikely(c->worker->gated))
        return c->pending == NULL ? glance_logged(c, items, i, end, ahead, count, native) : i;
    if (unlikely(c->pending != NULL))
        return bundle_range(c, items, i, end, ahead, count, native);
    bool may_set = c->worker->options.maxmemory == 0;
    for (; i < end && items[i].hot >= HOT_GLANCE; i++) {
        if (i + ahead < count)
            run_prefetch(items, i + ahead);
        if (unlikely(!glance_item(&items[i], &c->out, may_set, native, &done)))
            break;
    }
    if (i > first)
        glance_count(c, &done, &items[i - 1]);
    if (i < end && items[i].hot == HOT_AWAY)
        i = bundle_range(c, items, i, end, ahead, count, native);
    return i;
}

// items[i..end), of which none needs a look. Returns where it had to stop.
static inline uint32_t run_range(struct conn *c, struct batch *b, uint32_t i, uint32_t end, bool native)
{
    struct item *items = b->items;
    uint32_t ahead = b->ahead, count = b->count;
    uint64_t unsent = conn_unsent(c);
    uint64_t much = looked_at_from(c, unsent);
    for (; i < end; i++) {
        if (items[i].hot >= HOT_AWAY) {
            i = glance_range(c, b, i, end, native);
            unsent = conn_unsent(c);
            if (i == end)
                break;
            much = looked_at_from(c, unsent);
        }
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
    if (native && unlikely(unsent > OUTPUT_HIGH))
        c->paused = true;
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
    native_glance_forget(w);
    // A few now; the rest of the last ones one by one while the first ones run.
    uint32_t asked = b->ahead;
    for (uint32_t few = 0; few < 4 && asked < b->count; few++)
        run_prefetch(b->items, asked++);
    b->ahead = asked;
    struct reply reply = { .protocol = c->client.protocol };
    b->call = call_on(w, &reply, c->client.db);
    b->call.client = &c->client;
    b->call.no_touch = (c->client.flags & CLIENT_NO_TOUCH) != 0;
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
    b.ahead = count > PREFETCH_LAG ? count - PREFETCH_LAG : 0;
    return run_all_of(c, &b, false);
}

uint32_t run_frames(struct conn *c, struct item *items, struct fcnp_request *frames, uint32_t count, uint32_t asked)
{
    uint8_t protocol = c->client.protocol;
    struct batch b; // run_all_of fills it in
    b.items = items;
    b.frames = frames;
    b.count = count;
    b.ahead = asked;
    uint32_t ran = run_all_of(c, &b, true);
    c->client.protocol = protocol;
    c->frame = 0;
    c->bare = false;
    c->level = GATE_NO;
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

void run_here(struct worker *w, const struct here *here, struct buf *out)
{
    struct reply reply = { .out = out, .protocol = here->protocol };
    struct call call = call_on(w, &reply, here->db);
    call.command = here->command;
    call.argc = here->argc;
    call.argv = here->argv;
    call.blobs = here->blobs;
    call.client = here->client;
    call.refer = here->refer;
    call.no_touch = here->client != NULL && (here->client->flags & CLIENT_NO_TOUCH) != 0;
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
