// SPDX-License-Identifier: Apache-2.0
// SAVE BGSAVE LASTSAVE BGREWRITEAOF, and SHUTDOWN where it saves. SAVE keeps its own connection waiting and nobody else.
#include <stdlib.h>

#include "engine/shard/conn.h"
#include "engine/shard/multi.h"
#include "engine/shard/save.h"
#include "engine/shard/server_commands.h"
#include "engine/shard/worker.h"
#include "persist/keeper.h"

#define NOWHERE     "ERR there is nowhere to save to: CONFIG SET appendonly yes, or start with save points or with the data directory of before"
#define IN_PROGRESS "ERR Background save already in progress"

struct save_waiter {
    struct list link; // worker.save.waiters
    struct pending *due;
    uint64_t count; // of sets that counted before
    uint8_t protocol;
    bool shutdown;
};

static void answer(struct worker *w, struct save_waiter *a, const struct keeper_snapshot_status *status)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    struct reply reply = { .out = &out, .protocol = a->protocol };
    bool good = status->count > a->count;
    if (!good && a->shutdown)
        reply_error(&reply, "ERR Errors trying to SHUTDOWN. Check logs.");
    else if (!good)
        reply_error_format(&reply, "ERR the snapshot failed: %s", status->error);
    else if (!a->shutdown)
        reply_ok(&reply);
    if (out.failed && a->due->conn != NULL)
        conn_close(a->due->conn);
    conn_deliver(w, a->due, NULL, out.data, out.data, out.len);
    list_remove(&a->link);
    free(a);
}

void save_waiters_turn(struct worker *w)
{
    struct keeper_snapshot_status status;
    if (!save_settle(w) || atomic_load_explicit(&w->server->saving.again, memory_order_relaxed))
        return;
    keeper_snapshot_status(w->server->logging.keeper, &status);
    list_for_each_safe (node, &w->save.waiters)
        answer(w, container_of(node, struct save_waiter, link), &status);
}

// The reply comes when no set is under way any more.
static bool wait_for_end(struct call *c, bool shutdown)
{
    struct worker *w = c->worker;
    struct conn *conn = conn_of_client(c->client);
    struct keeper_snapshot_status status;
    struct save_waiter *a = calloc(1, sizeof *a);
    struct pending *due = a != NULL ? conn_expect(conn) : NULL;
    if (due == NULL) {
        free(a);
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return false;
    }
    due->silent = conn_silent(conn);
    due->barrier = conn->barrier = due->slow = true;
    keeper_snapshot_status(w->server->logging.keeper, &status);
    *a = (struct save_waiter){ .due = due, .count = status.count, .protocol = c->client->protocol, .shutdown = shutdown };
    list_append(&w->save.waiters, &a->link);
    return true;
}

// The server stops before they could be answered.
void save_waiters_forget(struct worker *w)
{
    list_for_each_safe (node, &w->save.waiters) {
        struct save_waiter *a = container_of(node, struct save_waiter, link);
        conn_deliver(w, a->due, NULL, NULL, NULL, 0);
        list_remove(&a->link);
        free(a);
    }
}

// False: an error was written.
static bool begin(struct call *c)
{
    const struct server *s = c->worker->server;
    if (s->logging.keeper == NULL)
        reply_error(c->reply, NOWHERE);
    else if (atomic_load_explicit(&s->saving.phase, memory_order_acquire) != SAVE_IDLE || !save_begin(c->worker))
        reply_error(c->reply, IN_PROGRESS);
    else
        return true;
    return false;
}

void cmd_save(struct call *c)
{
    if (conn_of_client(c->client)->frame != 0)
        reply_error(c->reply, "ERR SAVE is not part of FCNP: send it as RESP");
    else if (begin(c))
        (void)wait_for_end(c, false);
}

// As Valkey 8.1. The base of a log that is being switched on is not one of BGSAVE.
static void cancel(struct call *c)
{
    struct server *s = c->worker->server;
    struct saving *g = &s->saving;
    bool ours = s->logging.keeper != NULL && logging_switch_phase(&s->logging.turning) == SWITCH_NONE;
    uint32_t phase = ours && !save_settle(c->worker) ? atomic_load_explicit(&g->phase, memory_order_acquire) : SAVE_IDLE;
    bool scheduled = ours && atomic_exchange_explicit(&g->again, false, memory_order_relaxed);
    if (phase == SAVE_RUNS)
        keeper_snapshot_cancel(s->logging.keeper, atomic_load_explicit(&g->set, memory_order_relaxed), SAVE_CANCELLED);
    else if (phase == SAVE_BEGINS)
        atomic_store_explicit(&g->cancel, true, memory_order_relaxed);
    if (phase != SAVE_IDLE)
        reply_simple(c->reply, "Background saving cancelled");
    else if (scheduled)
        reply_simple(c->reply, "Scheduled background saving cancelled");
    else
        reply_error(c->reply, "ERR Background saving is currently not in progress or scheduled");
}

void cmd_bgsave(struct call *c)
{
    if (c->argc == 2 && slice_is(c->argv[1], "cancel")) {
        cancel(c);
        return;
    }
    bool schedule = c->argc == 2 && slice_is(c->argv[1], "schedule");
    if (c->argc > 2 || (c->argc == 2 && !schedule)) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    struct server *s = c->worker->server;
    if (s->logging.keeper != NULL && multi_running(conn_of_client(c->client))) { // it holds keys: when it is over
        atomic_store_explicit(&s->saving.again, true, memory_order_relaxed);
        reply_simple(c->reply, "Background saving scheduled");
    } else if (begin(c)) {
        reply_simple(c->reply, "Background saving started");
    }
}

// A log needs no rewriting: what a snapshot holds is not kept in it.
void cmd_bgrewriteaof(struct call *c)
{
    struct server *s = c->worker->server;
    if (s->logging.keeper == NULL) {
        reply_error(c->reply, NOWHERE);
        return;
    }
    if (!multi_running(conn_of_client(c->client)) && save_begin(c->worker)) {
        reply_simple(c->reply, "Background append only file rewriting started");
        return;
    }
    atomic_store_explicit(&s->saving.again, true, memory_order_relaxed);
    reply_simple(c->reply, "Background append only file rewriting scheduled");
}

void cmd_lastsave(struct call *c)
{
    struct server *s = c->worker->server;
    struct keeper_snapshot_status status = { .last_save_ms = 0 };
    if (s->logging.keeper != NULL)
        keeper_snapshot_status(s->logging.keeper, &status);
    reply_integer(c->reply, (status.last_save_ms != 0 ? status.last_save_ms : s->started_wall_ms) / 1000);
}

bool save_shutdown(struct call *c, bool save, bool force)
{
    struct server *s = c->worker->server;
    struct saving *g = &s->saving;
    if (s->logging.keeper == NULL || (!save && c->worker->options.save[0] == '\0'))
        return false;
    atomic_store_explicit(&g->stopping, force ? SAVE_STOP_FORCED : SAVE_STOP_ASKED, memory_order_relaxed);
    if (!save_begin(c->worker)) {
        // One is under way: it does not hold what came since, so another one follows it.
        atomic_store_explicit(&g->stop, force ? SAVE_STOP_FORCED : SAVE_STOP_ASKED, memory_order_relaxed);
        atomic_store_explicit(&g->stopping, SAVE_STOP_NOT, memory_order_relaxed);
        atomic_store_explicit(&g->again, true, memory_order_relaxed);
    }
    return wait_for_end(c, true);
}
