// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/multi.h"

#include <stdlib.h>

#include "base/state.h"
#include "engine/shard/forward.h"
#include "engine/shard/run.h"
#include "engine/shard/watched.h"
#include "proto/number.h"

static const uint32_t MULTI_MOVES[] = {
    [MULTI_OFF] = STATE(MULTI_QUEUEING) | STATE(MULTI_WATCHING),
    [MULTI_QUEUEING] = STATE(MULTI_DUE) | STATE(MULTI_OFF),
    [MULTI_DUE] = STATE(MULTI_WAITING) | STATE(MULTI_RUNNING) | STATE(MULTI_OFF),
    [MULTI_WAITING] = STATE(MULTI_RUNNING) | STATE(MULTI_OFF),
    [MULTI_RUNNING] = STATE(MULTI_OFF),
    [MULTI_WATCHING] = STATE(MULTI_OFF),
};

static struct multi *multi_of(struct conn *c)
{
    if (c->multi != NULL)
        return c->multi;
    c->multi = calloc(1, sizeof *c->multi);
    if (c->multi != NULL)
        c->multi->conn = c;
    return c->multi;
}

static void move(struct multi *m, enum multi_state to)
{
    state_move(&m->state, (uint8_t)to, MULTI_MOVES);
    m->conn->queueing = to == MULTI_QUEUEING;
}

static void drop_queue(struct multi *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        args_deinit(&m->queue[i].args);
    free(m->queue);
    m->queue = NULL;
    m->count = m->cap = m->next = m->flags = 0;
    m->bytes = 0;
    m->broken = false;
}

// ---- watched keys, the connection's side

static void forget_watched(struct multi *m)
{
    free(m->watched);
    m->watched = NULL;
    m->watched_count = m->watched_cap = 0;
    m->watched_bytes = 0;
}

// Tells every worker that has some.
static void unwatch(struct multi *m)
{
    struct worker *w = m->conn->worker;
    uint64_t told[MESH_WORKERS_MAX / 64] = { 0 };
    for (uint32_t i = 0; i < m->watched_count; i++) {
        uint32_t target = m->watched[i].worker;
        uint64_t bit = UINT64_C(1) << (target % 64);
        if ((told[target / 64] & bit) != 0)
            continue;
        told[target / 64] |= bit;
        if (target == w->id)
            watched_forget(w, m->conn->client.id);
        else
            forward_word(w, target, MESH_UNWATCH, m->conn->client.id, 0);
    }
    forget_watched(m);
}

bool multi_watch(struct conn *c, struct item *item)
{
    struct worker *w = c->worker;
    struct multi *m = multi_of(c);
    const struct request *rq = &item->request;
    for (uint32_t i = 1; m != NULL && i < rq->argc; i++) {
        m->watched_bytes += rq->argv[i].len + sizeof(struct watched) * 4;
        if (m->watched_bytes > w->options.client_query_buffer_limit)
            break;
        if (m->watched_count == m->watched_cap) {
            uint32_t cap = m->watched_cap == 0 ? 8 : m->watched_cap * 2;
            struct watched *grown = realloc(m->watched, cap * sizeof *grown);
            if (grown == NULL)
                break;
            m->watched = grown;
            m->watched_cap = cap;
        }
        uint32_t worker = route_shard(&w->route, rq->argv[i]) % w->server->worker_count;
        m->watched[m->watched_count++] = (struct watched){ .print = txn_print_of(w, rq->argv[i]), .worker = worker };
        if (i + 1 == rq->argc)
            return true;
    }
    // As a query buffer over its limit.
    w->stats.query_limit_closed++;
    conn_close(c);
    return false;
}

void multi_watching(struct conn *c)
{
    if (c->pending == NULL || c->state != CONN_OPEN)
        return;
    // UNWATCH, or the connection's end, must find what WATCH has registered.
    struct pending *last = container_of(c->pending_tail, struct pending, next);
    last->barrier = true;
    c->barrier = true;
    move(c->multi, MULTI_WATCHING);
}

// ---- queueing

static command_fn *const AT_ONCE[] = { cmd_exec, cmd_discard, cmd_quit, cmd_reset };

static bool runs_at_once(const struct command *command)
{
    for (size_t i = 0; i < sizeof AT_ONCE / sizeof AT_ONCE[0]; i++)
        if (command->run == AT_ONCE[i])
            return true;
    return false;
}

static bool keep(struct conn *c, const struct item *item)
{
    struct multi *m = c->multi;
    if (m->count == m->cap) {
        uint32_t cap = m->cap == 0 ? 8 : m->cap * 2;
        struct queued *grown = realloc(m->queue, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        m->queue = grown;
        m->cap = cap;
    }
    struct queued *q = &m->queue[m->count];
    q->command = item->command;
    if (!args_copy(&q->args, item->request.argv, item->request.argc, c->blobs, c->blobs_cap))
        return false;
    m->count++;
    m->bytes += q->args.bytes + sizeof *q;
    m->flags |= item->command->flags;
    return true;
}

void multi_take(struct conn *c, struct item *item)
{
    struct worker *w = c->worker;
    struct multi *m = c->multi;
    if (item->refusal == REFUSE_NOT && runs_at_once(item->command) && c->frame == 0)
        return;
    item->spread = false;
    item->worker = w->id;
    if (item->refusal == REFUSE_NOT && c->frame != 0)
        item->refusal = REFUSE_MULTI_FRAME;
    else if (item->refusal == REFUSE_NOT && (item->command->flags & CMD_NO_MULTI) != 0)
        item->refusal = REFUSE_NO_MULTI;
    else if (item->refusal == REFUSE_NOT && w->gated && gate_refuses(w, item->command) != NULL)
        item->refusal = REFUSE_GATE;
    else if (item->refusal == REFUSE_NOT && (item->command->flags & CMD_DENYOOM) != 0 && w->options.maxmemory > 0 && !worker_make_room(w))
        item->refusal = REFUSE_MEMORY;
    if (item->refusal != REFUSE_NOT) {
        m->broken = true;
        return;
    }
    item->refusal = REFUSE_QUEUED;
    if (keep(c, item) && m->bytes <= w->options.client_query_buffer_limit)
        return;
    w->stats.query_limit_closed++;
    conn_close(c);
}

// ---- EXEC

static void finish(struct multi *m)
{
    struct conn *c = m->conn;
    if (m->owns_txn)
        m->txn.level = m->level;
    if (m->owns_txn && m->txn.state == TXN_GRANTED)
        txn_release(c->worker, &m->txn);
    if (m->owns_txn && c->state != CONN_CLOSING)
        gate_open(c, m->txn.position, m->level);
    if (m->owns_txn)
        txn_deinit(&m->txn);
    m->owns_txn = false;
    drop_queue(m);
    move(m, MULTI_OFF);
    if (c->state == CONN_CLOSING) {
        unwatch(m);
        conn_forget_pending(c);
    }
    if ((c->client.flags & CLIENT_CLOSE_AFTER_REPLY) != 0)
        conn_end(c);
}

static void run(struct multi *m)
{
    struct conn *c = m->conn;
    if (c->state != CONN_CLOSING)
        conn_out_begin(c);
    while (m->next < m->count && !c->barrier) {
        struct queued *q = &m->queue[m->next++];
        if (gate_asked(c) > m->level)
            m->level = gate_asked(c);
        if (m->silent)
            c->client.flags |= CLIENT_REPLY_SKIP;
        run_queued(c, q->command, &q->args);
    }
    if (c->state != CONN_CLOSING)
        conn_out_end(c);
    else
        buf_deinit(&c->out);
    if (!c->barrier)
        finish(m);
}

void multi_resume(struct conn *c)
{
    if (c->barrier)
        return;
    if (c->multi->state == MULTI_RUNNING)
        run(c->multi);
    else if (c->multi->state == MULTI_WATCHING) {
        move(c->multi, MULTI_OFF);
        if (c->state == CONN_CLOSING) {
            unwatch(c->multi);
            conn_forget_pending(c);
        }
    }
}

static void head(struct multi *m, struct buf *out, enum txn_outcome outcome)
{
    struct reply reply = { .out = out, .protocol = m->conn->client.protocol };
    switch (outcome) {
    case TXN_GOOD:
        reply_array(&reply, m->count);
        break;
    case TXN_CHANGED:
        reply_null_array(&reply);
        break;
    case TXN_UNKNOWN:
        reply_error(&reply, GATE_UNKNOWN);
        break;
    case TXN_NO_ROOM:
        reply_error_format(&reply, "EXECABORT Transaction discarded because of: %s", REPLY_OUT_OF_MEMORY);
        break;
    case TXN_NO_MEMORY:
        reply_error(&reply, "EXECABORT Transaction discarded because of: ERR out of memory");
        break;
    }
    if (reply.errors > 0)
        run_count_error(m->conn->worker, &reply);
}

static void granted(struct worker *w, struct txn *t)
{
    struct multi *m = container_of(t, struct multi, txn);
    enum txn_outcome outcome = (enum txn_outcome)t->outcome;
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    head(m, &out, outcome);
    if (outcome == TXN_GOOD)
        move(m, MULTI_RUNNING);
    if (outcome == TXN_GOOD && t->marks > 0 && w->gate.on && m->conn->state != CONN_CLOSING)
        gate_shut(m->conn);
    if (outcome == TXN_NO_MEMORY)
        unwatch(m); // some may not have been asked
    else
        forget_watched(m);
    // Takes the barrier away: multi_resume will be called.
    conn_deliver(w, m->due, NULL, out.data, out.data, out.len);
    if (outcome != TXN_GOOD)
        finish(m);
}

static bool add_all_workers(struct worker *w, struct txn *t, bool exclusive)
{
    bool good = true;
    t->whole = true;
    for (uint32_t i = 0; good && i < w->server->worker_count; i++)
        good = txn_add_worker(t, i, exclusive);
    return good;
}

static bool add_command(struct worker *w, struct txn *t, const struct queued *q)
{
    const struct command *command = q->command;
    const struct slice *argv = q->args.argv;
    bool exclusive = (command->flags & CMD_WRITE) != 0, good = true;
    struct command_keys keys;
    if ((command->flags & CMD_CURSOR) != 0)
        return txn_add_worker(t, command_cursor_shard(command, argv, q->args.argc, &w->route) % w->server->worker_count, false);
    if (!command_keys(command, argv, q->args.argc, &keys)) {
        bool touches = (command->flags & (CMD_WRITE | CMD_READONLY)) != 0 && (command->flags & CMD_LOCAL) == 0;
        return !touches || add_all_workers(w, t, exclusive);
    }
    for (uint32_t i = keys.first; good && i <= keys.last; i += keys.step)
        good = txn_add_key(w, t, argv[i], exclusive);
    return good;
}

static bool announce(struct multi *m)
{
    struct conn *c = m->conn;
    struct worker *w = c->worker;
    bool good = true;
    txn_init(&m->txn, granted);
    m->txn.needs_room = (m->flags & CMD_DENYOOM) != 0;
    m->txn.watcher = m->watched_count > 0 ? c->client.id : 0;
    m->txn.level = gate_asked(c);
    for (uint32_t i = 0; good && i < m->count; i++)
        good = add_command(w, &m->txn, &m->queue[i]);
    for (uint32_t i = 0; good && i < m->watched_count; i++)
        good = txn_add_print(&m->txn, m->watched[i].worker, m->watched[i].print, false);
    return good;
}

// Everything is on this worker, and nobody has announced anything.
static bool is_here(const struct multi *m)
{
    const struct worker *w = m->conn->worker;
    if (w->txns.intents.count > 0)
        return false;
    return m->txn.count == 0 || (m->txn.count == 1 && m->txn.parts[0].worker == w->id);
}

static void run_now(struct multi *m)
{
    struct conn *c = m->conn;
    struct worker *w = c->worker;
    enum txn_outcome outcome = m->watched_count > 0 && watched_settle(w, c->client.id) ? TXN_CHANGED : TXN_GOOD;
    forget_watched(m);
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    head(m, &out, outcome);
    if (outcome == TXN_CHANGED && w->gated)
        gate_read_all(w, c); // it shows that there was a change
    if (!m->silent)
        conn_say(c, buf_view(&out));
    buf_deinit(&out);
    move(m, MULTI_RUNNING);
    if (outcome == TXN_GOOD)
        run(m);
    else
        finish(m);
}

void multi_begin(struct conn *c)
{
    struct multi *m = c->multi;
    struct worker *w = c->worker;
    m->next = 0;
    m->level = GATE_NO;
    // A lone worker has tickets while a snapshot keeps changes out (save_set.c).
    if (w->server->worker_count == 1 && w->txns.intents.count == 0) {
        run_now(m);
        return;
    }
    bool good = announce(m);
    if (good && is_here(m)) {
        txn_deinit(&m->txn);
        run_now(m);
        return;
    }
    m->due = good ? conn_expect(c) : NULL;
    if (m->due == NULL) {
        txn_deinit(&m->txn);
        conn_close(c);
        return;
    }
    m->due->silent = m->silent;
    m->due->barrier = c->barrier = true;
    m->owns_txn = true;
    move(m, MULTI_WAITING);
    if (txn_start(w, &m->txn))
        return;
    m->owns_txn = false;
    txn_deinit(&m->txn);
    move(m, MULTI_OFF);
    conn_close(c);
}

// ---- the connection

void multi_reset(struct conn *c)
{
    struct multi *m = c->multi;
    if (m == NULL)
        return;
    if (m->state == MULTI_QUEUEING || m->state == MULTI_DUE)
        move(m, MULTI_OFF);
    drop_queue(m);
    unwatch(m);
}

void multi_free(struct conn *c)
{
    if (c->multi == NULL)
        return;
    assert(!multi_busy(c->multi));
    drop_queue(c->multi);
    forget_watched(c->multi);
    free(c->multi);
    c->multi = NULL;
}

// ---- commands

void cmd_multi(struct call *call)
{
    struct conn *c = conn_of_client(call->client);
    struct multi *m = multi_of(c);
    if (m == NULL) {
        reply_error(call->reply, "ERR out of memory");
    } else if (c->frame != 0) {
        reply_error(call->reply, "ERR MULTI is not part of FCNP: send it as RESP");
    } else {
        move(m, MULTI_QUEUEING);
        reply_ok(call->reply);
    }
}

void cmd_exec(struct call *call)
{
    struct conn *c = conn_of_client(call->client);
    struct worker *w = c->worker;
    if (!c->queueing) {
        reply_error(call->reply, "ERR EXEC without MULTI");
        return;
    }
    struct multi *m = c->multi;
    const char *why = w->gated && (m->flags & CMD_WRITE) != 0 ? gate_refusal(w) : NULL;
    if ((m->flags & CMD_DENYOOM) != 0 && w->options.maxmemory > 0 && !worker_make_room(w))
        why = REPLY_OUT_OF_MEMORY;
    if (m->broken || why != NULL) {
        bool broken = m->broken;
        multi_reset(c);
        if (broken)
            reply_error(call->reply, "EXECABORT Transaction discarded because of previous errors.");
        else
            reply_error_format(call->reply, "EXECABORT Transaction discarded because of: %s", why);
        return;
    }
    m->silent = conn_silent(c);
    move(m, MULTI_DUE); // run.c calls multi_begin
}

void cmd_discard(struct call *call)
{
    struct conn *c = conn_of_client(call->client);
    if (!c->queueing) {
        reply_error(call->reply, "ERR DISCARD without MULTI");
        return;
    }
    multi_reset(c);
    reply_ok(call->reply);
}

// On the workers that own the keys, for a client of any worker.
void cmd_watch(struct call *call)
{
    struct worker *w = call->worker;
    for (uint32_t i = 1; i < call->argc; i++)
        if (!watched_add(w, w->watcher, call->db, call->argv[i])) {
            reply_error(call->reply, "ERR out of memory");
            return;
        }
    reply_ok(call->reply);
}

void cmd_unwatch(struct call *call)
{
    struct conn *c = conn_of_client(call->client);
    if (c->multi != NULL && !multi_running(c))
        unwatch(c->multi);
    reply_ok(call->reply);
}

static bool database(struct call *call, uint32_t arg, uint32_t *out)
{
    int64_t db;
    if (!number_parse_i64(call->argv[arg], &db) || db < INT32_MIN || db > INT32_MAX) {
        reply_error(call->reply, arg == 1 ? "ERR invalid first DB index" : "ERR invalid second DB index");
        return false;
    }
    *out = db < 0 ? UINT32_MAX : (uint32_t)db; // neither is there
    return true;
}

void cmd_swapdb(struct call *call)
{
    uint32_t a, b;
    if (!database(call, 1, &a) || !database(call, 2, &b))
        return;
    if (a >= store_databases(call->store) || b >= store_databases(call->store)) {
        reply_error(call->reply, "ERR DB index is out of range");
        return;
    }
    watched_swapped(call->worker, a, b);
    effects_swapped(call->worker, a, b);
    store_swap(call->store, a, b);
    call->dirty++;
    reply_ok(call->reply);
}
