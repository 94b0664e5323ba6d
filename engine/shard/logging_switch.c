// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/logging_switch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/shard/conn.h"
#include "engine/shard/forward.h"
#include "engine/shard/gather.h"
#include "engine/shard/multi.h"
#include "engine/shard/save.h"
#include "engine/shard/server_commands.h"
#include "engine/shard/worker.h"
#include "persist/keeper.h"
#include "reactor/log.h"

#define FAILED "ERR CONFIG SET failed (possibly related to argument 'appendonly') - "

struct switch_leave {
    struct txn txn;
    bool granted;
};

static struct logging *logging_of(const struct worker *w)
{
    return &w->server->logging;
}

static struct logging_switch *switch_of(const struct worker *w)
{
    return &logging_of(w)->turning;
}

static void wake_workers(struct worker *w)
{
    for (uint32_t i = 0; i < w->server->worker_count; i++)
        reactor_wake(w->server->workers[i]->reactor, w->reactor);
}

// The keeper and the log's host look again.
static void wake_others(struct worker *w)
{
    struct logging *l = logging_of(w);
    struct reactor *host = l->host;
    if (l->wake_keeper != NULL)
        l->wake_keeper(l->context);
    if (host != NULL)
        reactor_wake(host, w->reactor);
}

// ---- phases

static void enter(struct logging_switch *s, enum switch_phase to)
{
    atomic_store_explicit(&s->done, 0, memory_order_relaxed);
    atomic_store_explicit(&s->phase, to, memory_order_release);
}

void logging_switch_fail(struct logging *l, enum switch_phase to, const char *what, int error)
{
    struct logging_switch *s = &l->turning;
    if (s->error[0] == '\0')
        (void)snprintf(s->error, sizeof s->error, "%s%s%s", what, error != 0 ? ": " : "", error != 0 ? strerror(-error) : "");
    enter(s, to);
}

static uint64_t part_of(const struct worker *w, enum switch_phase phase)
{
    return atomic_load_explicit(&switch_of(w)->number, memory_order_relaxed) << 8 | phase;
}

// This worker's part of the phase, once; true: it is to be done now.
static bool first_time(struct worker *w, enum switch_phase phase)
{
    if (w->switching.did == part_of(w, phase))
        return false;
    w->switching.did = part_of(w, phase);
    return true;
}

// True: all workers have done theirs.
static bool count_done(struct worker *w)
{
    return atomic_fetch_add_explicit(&switch_of(w)->done, 1, memory_order_acq_rel) + 1 == w->server->worker_count;
}

static bool all_done(const struct worker *w)
{
    return atomic_load_explicit(&switch_of(w)->done, memory_order_acquire) == w->server->worker_count;
}

static void finish(struct worker *w)
{
    struct logging_switch *s = switch_of(w);
    if (s->error[0] == '\0')
        log_line(LOG_NOTICE, "appendonly is %s", s->on ? "yes" : "no");
    else
        log_line(LOG_WARNING, "appendonly stays %s: %s", logging_of(w)->on ? "yes" : "no", s->error);
    enter(s, SWITCH_ENDED);
    wake_workers(w);
}

// ---- on

bool logging_switch_wants_host(const struct logging *l)
{
    enum switch_phase phase = logging_switch_phase(&l->turning);
    return phase == SWITCH_OPENED || (phase == SWITCH_DRAINS && !l->turning.told);
}

bool logging_switch_make(struct logging *l, struct reactor *r, uint8_t owner, struct log **out)
{
    *out = NULL;
    if (logging_switch_phase(&l->turning) != SWITCH_OPENED)
        return false;
    int rc = logging_make(l, r, owner, out);
    if (rc < 0)
        logging_switch_fail(l, SWITCH_DRAINED, "the log cannot be made", rc);
    else
        enter(&l->turning, SWITCH_MADE);
    return true;
}

// The only worker hosts it.
static void make(struct worker *w)
{
    struct logging *l = logging_of(w);
    struct log *log;
    int rc = w->server->host->hold_log != NULL ? w->server->host->hold_log(w->server, w->reactor) : 0;
    if (rc < 0)
        logging_switch_fail(l, SWITCH_DRAINED, "the directory's lock cannot be held", rc);
    else
        (void)logging_switch_make(l, w->reactor, OWNER_LOG, &log);
    wake_others(w);
}

void logging_switch_attach(struct worker *w)
{
    struct logging *l = logging_of(w);
    if (w->effects.port == NULL) { // else a base has failed, and this is another one's
        effects_attach(w, &l->ports[w->id]);
        gate_refresh(w);
    }
    (void)count_done(w);
}

static void begin_base(struct worker *w)
{
    struct logging *l = logging_of(w);
    if (w->draining || !save_settle(w))
        return;               // the set under way ends first
    logging_apply_options(w); // what was set meanwhile
    w->switching.base = 0;
    enter(&l->turning, SWITCH_BASE);
    if (!save_begin_base(w))
        enter(&l->turning, SWITCH_READY);
}

static void look_at_base(struct worker *w)
{
    struct logging *l = logging_of(w);
    struct keeper_snapshot_status status;
    bool attached = all_done(w);
    if (attached && w->save.held != NULL)
        save_let_go(w);
    if (!save_settle(w))
        return;
    bool again = w->switching.base == 0;
    if (!again && !attached)
        return;
    keeper_snapshot_status(l->keeper, &status);
    again |= status.state != SNAPSHOT_WRITTEN && atomic_load_explicit(&w->server->saving.again, memory_order_relaxed);
    if (again) { // it could not begin, or FLUSHALL took the ground from under it
        enter(&l->turning, SWITCH_READY);
        return;
    }
    if (status.state != SNAPSHOT_WRITTEN) {
        (void)snprintf(l->turning.error, sizeof l->turning.error, "the snapshot that it begins with failed: %s", status.error);
        enter(&l->turning, SWITCH_LEAVES);
        return;
    }
    atomic_store(&l->on, true);
    enter(&l->turning, SWITCH_COUNTS);
    wake_workers(w);
}

static void count(struct worker *w)
{
    if (!first_time(w, SWITCH_COUNTS))
        return;
    w->options.appendonly = true;
    gate_begin(w);
    effects_flush(w);
    w->switching.settle_to = w->effects.position + effects_pending(&w->effects);
    if (!count_done(w))
        return;
    if (unlikely(logging_of(w)->fault == GATE_FAULT_EARLY_ON)) {
        finish(w);
        return;
    }
    enter(switch_of(w), SWITCH_SETTLES);
    wake_workers(w);
}

static void settle(struct worker *w)
{
    struct switching *own = &w->switching;
    struct log_port *port = w->effects.port;
    bool lost = atomic_load_explicit(&port->state, memory_order_acquire) == LOG_POISONED || w->effects.failed;
    if (!lost && atomic_load_explicit(&port->durable, memory_order_acquire) < own->settle_to) {
        if (own->settle_to <= w->effects.position) {
            atomic_store_explicit(&port->wants_sync, true, memory_order_release);
            logging_wake(w, true);
        }
        return;
    }
    if (!first_time(w, SWITCH_SETTLES))
        return;
    if (lost)
        atomic_store_explicit(&switch_of(w)->lost, true, memory_order_relaxed);
    if (!count_done(w))
        return;
    if (atomic_load_explicit(&switch_of(w)->lost, memory_order_relaxed))
        (void)snprintf(switch_of(w)->error, sizeof switch_of(w)->error, "the log has failed");
    finish(w);
}

// ---- off

void logging_switch_detach(struct worker *w)
{
    effects_detach(w);
    w->options.appendonly = false;
    (void)count_done(w);
}

static void leave_granted(struct worker *w, struct txn *t)
{
    struct switch_leave *leave = container_of(t, struct switch_leave, txn);
    leave->granted = true;
    if (t->outcome != TXN_GOOD)
        return;
    for (uint32_t i = 0; i < w->server->worker_count; i++) {
        if (i == w->id)
            logging_switch_detach(w);
        else
            forward_word(w, i, MESH_UNLOG, 0, 0);
    }
}

static void leave_free(struct worker *w)
{
    struct switch_leave *leave = w->switching.leave;
    w->switching.leave = NULL;
    if (leave->txn.state == TXN_GRANTED)
        txn_release(w, &leave->txn);
    txn_deinit(&leave->txn);
    free(leave);
}

static void begin_leave(struct worker *w)
{
    if (w->server->worker_count == 1) { // between two commands
        logging_switch_detach(w);
        return;
    }
    struct switch_leave *leave = w->draining ? NULL : calloc(1, sizeof *leave);
    if (leave == NULL)
        return; // the next turn tries again
    txn_init(&leave->txn, leave_granted);
    leave->txn.whole = true;
    bool good = true;
    uint32_t all = likely(logging_of(w)->fault != GATE_FAULT_LOOSE_OFF) ? w->server->worker_count : 1;
    for (uint32_t i = 0; good && i < all; i++)
        good = txn_add_worker(&leave->txn, i, false);
    w->switching.leave = leave;
    if (!good || !txn_start_own(w, &leave->txn))
        leave_free(w);
}

static void leave(struct worker *w)
{
    struct logging *l = logging_of(w);
    struct switch_leave *own = w->switching.leave;
    if (!all_done(w) && own == NULL)
        begin_leave(w);
    else if (own != NULL && own->granted && own->txn.outcome != TXN_GOOD)
        leave_free(w); // no memory: again
    if (!all_done(w))
        return;
    if (w->switching.leave != NULL)
        leave_free(w);
    atomic_store(&l->on, false);
    enter(&l->turning, SWITCH_DRAINS);
    wake_others(w);
}

bool logging_switch_drained(struct logging *l, struct log *log)
{
    if (logging_switch_phase(&l->turning) != SWITCH_DRAINS)
        return false;
    if (!l->turning.told)
        log_stop(log);
    l->turning.told = true;
    if (!log_stopped(log) || !log_idle(log))
        return false;
    l->turning.clean = log_stopped_clean(log);
    l->turning.old = log;
    atomic_store_explicit(&l->log, NULL, memory_order_release);
    enter(&l->turning, SWITCH_DRAINED);
    return true;
}

// ---- the keeper's part

static void open_log(struct logging *l, struct keeper *k, void (*fill)(void *context), void *context)
{
    int rc = keeper_log_begin(k, &l->options.origin);
    if (rc < 0) {
        logging_switch_fail(l, SWITCH_CLOSES, "its first segment cannot be made", rc);
        return;
    }
    fill(context);
    enter(&l->turning, SWITCH_OPENED);
}

bool logging_switch_keep(struct logging *l, struct keeper *k, bool opened, void (*fill)(void *context), void *context)
{
    enum switch_phase phase = logging_switch_phase(&l->turning);
    if (phase == SWITCH_OPENS && opened) {
        open_log(l, k, fill, context);
    } else if (phase == SWITCH_MADE) {
        keeper_attach(k, logging_log(l));
        enter(&l->turning, SWITCH_READY);
    } else if (phase == SWITCH_DRAINED) {
        keeper_log_end(k);
        if (!l->turning.clean)
            log_line(LOG_WARNING, "the log was switched off with changes that could not be written");
        enter(&l->turning, SWITCH_CLOSES);
    } else {
        return false;
    }
    return true;
}

const char *logging_switch_begin_late(struct logging *l, struct keeper *k, int *error)
{
    bool waits = false;
    *error = 0;
    while (!waits && keeper_load_step(k, &waits) == KEEPER_LOADING)
        continue;
    const struct recover_report *report = waits ? NULL : keeper_report(k);
    if (waits || keeper_load_state(k) != KEEPER_LOADED || report->entries + report->records > 0)
        return "the data directory holds data that this server has not loaded";
    *error = keeper_begin(k, &l->options.origin);
    if (*error < 0)
        return "the data directory cannot be begun";
    atomic_store_explicit(&l->stage, LOGGING_SERVES, memory_order_release);
    l->keeper = k;
    return NULL;
}

// ---- nobody waits for it any more

static void end(struct worker *w)
{
    struct logging *l = logging_of(w);
    if (w->switching.did == part_of(w, SWITCH_CLOSES))
        return;
    // Who waits for what never became durable hears that first, and nobody is kept waiting behind this turn.
    if (w->effects.port != NULL && !l->turning.clean && gate_give_up(w))
        return;
    (void)first_time(w, SWITCH_CLOSES);
    if (w->effects.port != NULL) {
        gate_end(w);
        effects_close(w);
        gate_refresh(w);
    }
    if (!count_done(w))
        return;
    if (l->turning.old != NULL)
        log_free(l->turning.old); // nobody has a look at it any more
    l->turning.old = NULL;
    atomic_store(&l->failed, false);
    finish(w);
}

// ---- the turn

bool logging_switch_busy(const struct worker *w)
{
    return atomic_load_explicit(&switch_of(w)->phase, memory_order_relaxed) != SWITCH_NONE || w->switching.due != NULL;
}

static void answer(struct worker *w, const char *error)
{
    struct switching *own = &w->switching;
    struct buf out;
    struct pending *due = own->due;
    own->due = NULL;
    buf_init(&out, BUF_NO_LIMIT);
    struct reply reply = { .out = &out, .protocol = own->protocol };
    if (error[0] == '\0')
        reply_ok(&reply);
    else
        reply_error_format(&reply, FAILED "%s", error);
    if (out.failed && due->conn != NULL)
        conn_close(due->conn);
    conn_deliver(w, due, NULL, out.data, out.data, out.len);
}

void logging_switch_turn(struct worker *w)
{
    const struct logging *l = logging_of(w);
    enum switch_phase phase = logging_switch_phase(&l->turning);
    if (phase == SWITCH_ENDED && w->switching.due != NULL) {
        answer(w, l->turning.error);
        enter(&w->server->logging.turning, SWITCH_NONE);
    } else if (w->draining && w->switching.due != NULL) {
        answer(w, "the server is being stopped");
    }
    if (phase == SWITCH_COUNTS)
        count(w);
    else if (phase == SWITCH_SETTLES)
        settle(w);
    else if (phase == SWITCH_CLOSES)
        end(w);
    if (w->id != 0)
        return;
    if (phase == SWITCH_OPENED && logging_hosts(w))
        make(w);
    else if (phase == SWITCH_READY)
        begin_base(w);
    else if (phase == SWITCH_BASE)
        look_at_base(w);
    else if (phase == SWITCH_LEAVES)
        leave(w);
}

void logging_switch_stop(struct worker *w)
{
    if (w->switching.due != NULL)
        conn_deliver(w, w->switching.due, NULL, NULL, NULL, 0);
    w->switching.due = NULL;
}

// ---- clients

bool logging_switch_wanted(const struct worker *w, const struct slice *argv, uint32_t argc, bool *on)
{
    for (uint32_t i = 2; i + 1 < argc; i += 2) {
        if (!slice_is(argv[i], "appendonly"))
            continue;
        *on = slice_is(argv[i + 1], "yes");
        return *on != logging_of(w)->on || logging_switch_phase(switch_of(w)) != SWITCH_NONE;
    }
    return false;
}

const char *logging_switch_refuses(const struct call *c)
{
    bool on;
    if (!logging_switch_wanted(c->worker, c->argv, c->argc, &on))
        return NULL;
    if (c->client != NULL && multi_running(conn_of_client(c->client)))
        return FAILED "not in a transaction, which would have to wait for its own end";
    enum logging_stage stage = logging_stage(logging_of(c->worker));
    if (stage != LOGGING_NONE && stage != LOGGING_SERVES)
        return FAILED "the dataset is being loaded";
    if (c->worker->server->host->switch_log == NULL)
        return FAILED "can't be changed in this server";
    return NULL;
}

static const char *begin(struct worker *w, bool on)
{
    struct logging *l = logging_of(w);
    struct logging_switch *s = &l->turning;
    uint32_t none = SWITCH_NONE;
    if (!atomic_compare_exchange_strong_explicit(&s->phase, &none, SWITCH_CLAIMED, memory_order_acq_rel, memory_order_relaxed))
        return FAILED "it is being changed";
    s->on = on;
    s->error[0] = '\0';
    s->clean = true;
    s->told = false;
    atomic_store_explicit(&s->lost, false, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->number, 1, memory_order_relaxed);
    enter(s, on ? SWITCH_OPENS : SWITCH_LEAVES);
    if (on)
        w->server->host->switch_log(w->server);
    wake_others(w);
    wake_workers(w);
    return NULL;
}

bool logging_switch_take(struct worker *w, struct gather *g, const char **why)
{
    bool on;
    *why = NULL;
    if (!logging_switch_wanted(w, g->args.argv, g->args.argc, &on))
        return false;
    if (w->switching.due != NULL) {
        *why = FAILED "it is being changed";
        return false;
    }
    *why = begin(w, on);
    if (*why != NULL)
        return false;
    w->switching.due = g->due;
    w->switching.protocol = g->protocol;
    return true;
}
