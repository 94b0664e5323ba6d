// SPDX-License-Identifier: Apache-2.0
// CLIENT DURABILITY and WAITAOF.
//
// WAITAOF asks every worker to say when what it has changed so far is durable: once everything in front of it has been answered, for a
// request may wait for a transaction at its worker, and be overtaken by the question. It keeps nobody from anything but its own connection,
// which goes on behind its reply.
#include "engine/shard/durability.h"

#include <stdlib.h>

#include "engine/shard/conn.h"
#include "engine/shard/forward.h"
#include "engine/shard/multi.h"
#include "proto/number.h"

#define NO_LOG "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."

static const char *const LEVELS[] = { [GATE_NO] = "no", [GATE_EVERYSEC] = "everysec", [GATE_ALWAYS] = "always" };

void cmd_client_durability(struct call *c)
{
    struct client *client = c->client;
    if (c->argc > 3) {
        reply_error(c->reply, REPLY_SYNTAX);
        return;
    }
    if (c->argc == 2) {
        reply_bulk_cstr(c->reply, client->level == GATE_NO ? "default" : LEVELS[client->level]);
        return;
    }
    if (slice_is(c->argv[2], "default")) {
        client->level = GATE_NO;
        reply_ok(c->reply);
        return;
    }
    for (uint8_t level = GATE_NO; level <= GATE_ALWAYS; level++) {
        if (!slice_is(c->argv[2], LEVELS[level]))
            continue;
        client->level = level;
        reply_ok(c->reply);
        return;
    }
    reply_error(c->reply, REPLY_SYNTAX);
}

// ---- WAITAOF

struct waiter {
    struct list link;    // worker.waiters
    struct pending *due; // NULL: has been answered
    uint32_t left;       // workers that have not said so
    bool local;          // their saying so is what is waited for
    bool asked;          // all of them have been
    bool lost;           // one could not be: nothing is promised
    uint8_t protocol;
    uint64_t number; // of the last switch of the log when it was asked
    int64_t deadline_ms;
};

static uint64_t switch_number(const struct worker *w)
{
    return atomic_load_explicit(&w->server->logging.turning.number, memory_order_relaxed);
}

// There is a log, and it counts: while it is being switched (logging_switch.h) a worker may say that nothing is to be waited for, because
// for it there is no log yet, or none any more.
static bool log_counts(const struct worker *w)
{
    return effects_logged(&w->effects) && logging_switch_phase(&w->server->logging.turning) == SWITCH_NONE;
}

static void answer(struct worker *w, struct waiter *a)
{
    bool counts = log_counts(w) && a->number == switch_number(w);
    struct buf out;
    struct pending *due = a->due;
    a->due = NULL;
    buf_init(&out, BUF_NO_LIMIT);
    struct reply reply = { .out = &out, .protocol = a->protocol };
    if (a->local && !counts) {
        reply_error(&reply, NO_LOG);
    } else {
        reply_array(&reply, 2);
        reply_integer(&reply, a->left == 0 && !a->lost && counts);
        reply_integer(&reply, 0);
    }
    if (out.failed && due->conn != NULL)
        conn_close(due->conn);
    conn_deliver(w, due, NULL, out.data, out.data, out.len);
}

static void waiter_free(struct waiter *a)
{
    list_remove(&a->link);
    free(a);
}

void durability_settled(struct worker *w, void *waiter)
{
    struct waiter *a = waiter;
    a->left--;
    if (a->due != NULL && a->left == 0 && a->local)
        answer(w, a);
    if (a->due == NULL && a->left == 0)
        waiter_free(a);
}

void durability_serve_settle(struct worker *w, uint32_t from, uint64_t cookie)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    if (w->gated) {
        gate_serve(&w->gate, GATE_ALWAYS);
        gate_read_all(w, NULL);
        struct blob *none = NULL;
        if (gate_keep(w, from, cookie, &out, &none))
            return;
    }
    if (from == w->id)
        conn_deliver(w, (struct pending *)(uintptr_t)cookie, NULL, NULL, NULL, 0);
    else
        forward_reply(w, from, cookie, &out, NULL);
}

int64_t durability_deadline(const struct worker *w)
{
    int64_t first = INT64_MAX;
    list_for_each (node, &w->waiters) {
        const struct waiter *a = container_of(node, struct waiter, link);
        if (a->due != NULL && a->deadline_ms < first)
            first = a->deadline_ms;
    }
    return first;
}

static void ask(struct worker *w, struct waiter *a, uint32_t target)
{
    struct pending *p = pending_new(w);
    if (p == NULL) {
        a->lost = true;
        durability_settled(w, a);
        return;
    }
    p->kind = PENDING_SETTLED;
    p->owner = a;
    if (target == w->id)
        durability_serve_settle(w, w->id, (uintptr_t)p);
    else
        forward_word(w, target, MESH_SETTLE, (uintptr_t)p, 0);
}

static void ask_all(struct worker *w, struct waiter *a)
{
    a->asked = true;
    for (uint32_t i = 0; i < w->server->worker_count; i++)
        ask(w, a, i);
    durability_settled(w, a);
}

static bool is_first(const struct waiter *a)
{
    return a->due != NULL && a->due->conn != NULL && a->due->conn->pending == a->due;
}

void durability_turn(struct worker *w)
{
    list_for_each_safe (node, &w->waiters) {
        struct waiter *a = container_of(node, struct waiter, link);
        if (a->due != NULL && (w->now_ms >= a->deadline_ms || a->due->conn == NULL))
            answer(w, a);
        if (a->due == NULL && (a->left == 0 || !a->asked))
            waiter_free(a);
        else if (!a->asked && is_first(a))
            ask_all(w, a);
    }
}

static void begin(struct call *c, bool local, bool forever, int64_t timeout)
{
    struct worker *w = c->worker;
    struct conn *conn = conn_of_client(c->client);
    struct waiter *a = calloc(1, sizeof *a);
    struct pending *due = a != NULL ? conn_expect(conn) : NULL;
    if (due == NULL) {
        free(a);
        reply_error(c->reply, REPLY_OUT_OF_MEMORY);
        return;
    }
    due->silent = conn_silent(conn);
    due->barrier = conn->barrier = due->slow = true;
    *a = (struct waiter){
        .due = due, .left = w->server->worker_count + 1, .local = local, .protocol = c->client->protocol, .number = switch_number(w)
    };
    a->deadline_ms = forever ? INT64_MAX : w->now_ms + timeout;
    list_append(&w->waiters, &a->link);
    if (is_first(a))
        ask_all(w, a);
}

static bool parse(struct call *c, int64_t *local, int64_t *replicas, int64_t *timeout)
{
    if (!number_parse_i64(c->argv[1], local) || !number_parse_i64(c->argv[2], replicas)) {
        reply_error(c->reply, REPLY_NOT_INTEGER);
    } else if (*local < 0 || *local > 1) {
        reply_error(c->reply, "ERR value is out of range, must be between 0 and 1");
    } else if (*replicas < 0) {
        reply_error(c->reply, "ERR value is out of range, must be positive");
    } else if (!number_parse_i64(c->argv[3], timeout)) {
        reply_error(c->reply, "ERR timeout is not an integer or out of range");
    } else if (*timeout < 0) {
        reply_error(c->reply, "ERR timeout is negative");
    } else if (*timeout > INT64_MAX - c->now_ms) {
        reply_error(c->reply, "ERR timeout is out of range");
    } else {
        return true;
    }
    return false;
}

void cmd_waitaof(struct call *c)
{
    struct worker *w = c->worker;
    int64_t local, replicas, timeout;
    if (!parse(c, &local, &replicas, &timeout))
        return;
    if (local > 0 && !log_counts(w)) {
        reply_error(c->reply, NO_LOG);
        return;
    }
    struct conn *conn = conn_of_client(c->client);
    bool in_multi = multi_running(conn);
    if (conn->frame != 0) {
        reply_error(c->reply, "ERR WAITAOF is not part of FCNP: send it as RESP");
        return;
    }
    if (in_multi || (local == 0 && replicas == 0)) {
        reply_array(c->reply, 2);
        // Without waiting nothing is known of other workers.
        reply_integer(c->reply, log_counts(w) && w->server->worker_count == 1 && gate_all_durable(w));
        reply_integer(c->reply, 0);
        return;
    }
    begin(c, replicas == 0, timeout == 0, timeout);
}
