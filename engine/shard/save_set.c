// SPDX-License-Identifier: Apache-2.0
// When a set begins, how all workers cut at one moment, and what follows from its end.
//
//   IDLE --save_begin--> BEGINS --granted: all workers' keys are this transaction's--> RUNS --the keeper says so--> IDLE
//
// The transaction is shared: it waits for writers, and keeps them out for the time of a message to each worker. For the snapshot at
// shutdown without a log it stays until the server has stopped: what would be written behind it would be lost.
#include <stdlib.h>
#include <string.h>

#include "engine/shard/conn.h"
#include "engine/shard/forward.h"
#include "engine/shard/save.h"
#include "engine/shard/statistics.h"
#include "engine/shard/worker.h"
#include "persist/keeper.h"
#include "reactor/log.h"

#define RETRY_MS 5000 // after one that has failed (Redis: CONFIG_BGSAVE_RETRY_DELAY)

struct save_run {
    struct txn txn;
    bool stops; // the server, when it has ended
    bool base;
};

static struct saving *saving_of(const struct worker *w)
{
    return &w->server->saving;
}

static struct keeper *keeper_of(const struct worker *w)
{
    return w->server->logging.keeper;
}

static uint64_t changes_told(const struct server *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->worker_count; i++)
        sum += statistics_load(&s->workers[i]->save.changes);
    return sum;
}

uint64_t save_changes(const struct worker *w)
{
    uint64_t told = changes_told(w->server), saved = atomic_load_explicit(&saving_of(w)->changes_saved, memory_order_relaxed);
    return told > saved ? told - saved : 0;
}

// ---- beginning

static void run_free(struct worker *w, struct save_run *r)
{
    txn_release(w, &r->txn);
    txn_deinit(&r->txn);
    free(r);
}

static void cut_all(struct worker *w, uint64_t set, bool base)
{
    for (uint32_t i = 0; i < w->server->worker_count; i++) {
        if (i == w->id)
            save_cut(w, set, base);
        else
            forward_word(w, i, MESH_CUT, set, base ? MESH_BASE : 0);
    }
}

// What all workers hold now is the new set's. False: not now, but soon; `good` says that it could be.
static bool begin_set(struct worker *w, bool good, bool base)
{
    struct saving *s = saving_of(w);
    uint64_t set = 0;
    if (good)
        set = base ? keeper_base_begin(keeper_of(w), w->now_ms) : keeper_snapshot_begin(keeper_of(w), w->now_ms);
    if (base)
        w->switching.base = set;
    if (set == 0 && base) { // who wants it tries again
        atomic_store_explicit(&s->phase, SAVE_IDLE, memory_order_release);
        return false;
    }
    if (set == 0) {
        // Workers have not left the last one, or there was no memory: soon.
        atomic_store_explicit(&s->again, true, memory_order_relaxed);
        atomic_store_explicit(&s->phase, SAVE_IDLE, memory_order_release);
        return false;
    }
    atomic_store_explicit(&s->set, set, memory_order_relaxed);
    atomic_store_explicit(&s->changes_cut, changes_told(w->server), memory_order_relaxed);
    atomic_store_explicit(&s->phase, SAVE_RUNS, memory_order_release);
    cut_all(w, set, base);
    if (atomic_exchange_explicit(&s->cancel, false, memory_order_relaxed))
        keeper_snapshot_cancel(keeper_of(w), set, SAVE_CANCELLED);
    return true;
}

static void granted(struct worker *w, struct txn *t)
{
    struct save_run *r = container_of(t, struct save_run, txn);
    bool begun = begin_set(w, t->outcome == TXN_GOOD, r->base);
    if (begun && (r->base || (r->stops && !w->server->logging.on)))
        w->save.held = r;
    else
        run_free(w, r);
}

void save_begin_alone(struct worker *w)
{
    w->save.due = false;
    (void)begin_set(w, true, w->save.base);
}

static bool begin_shared(struct worker *w, bool stops, bool base)
{
    struct save_run *r = calloc(1, sizeof *r);
    bool good = r != NULL;
    if (good) {
        txn_init(&r->txn, granted);
        r->txn.whole = true;
        r->stops = stops;
        r->base = base;
        for (uint32_t i = 0; good && i < w->server->worker_count; i++)
            good = txn_add_worker(&r->txn, i, false);
        good = good && txn_start_own(w, &r->txn);
    }
    if (!good && r != NULL)
        txn_deinit(&r->txn);
    if (!good)
        free(r);
    return good;
}

static bool may_begin(const struct worker *w)
{
    return keeper_of(w) != NULL && !w->gate.loading && logging_stage(&w->server->logging) == LOGGING_SERVES && !w->draining;
}

static bool begin(struct worker *w, bool base)
{
    struct saving *s = saving_of(w);
    uint32_t idle = SAVE_IDLE;
    if (!may_begin(w))
        return false;
    if (!atomic_compare_exchange_strong_explicit(&s->phase, &idle, SAVE_BEGINS, memory_order_acq_rel, memory_order_relaxed))
        return false;
    bool stops = atomic_load_explicit(&s->stopping, memory_order_relaxed) != SAVE_STOP_NOT;
    // A lone worker is between two commands at the end of each turn: nobody needs to wait for anybody.
    w->save.base = base;
    atomic_store_explicit(&s->cancel, false, memory_order_relaxed);
    w->save.due = w->server->worker_count == 1 && (base || !(stops && !w->server->logging.on));
    if (!w->save.due && !begin_shared(w, stops, base)) {
        atomic_store_explicit(&s->phase, SAVE_IDLE, memory_order_release);
        return false;
    }
    atomic_store_explicit(&s->again, false, memory_order_relaxed);
    atomic_store_explicit(&s->tried_ms, w->now_ms, memory_order_relaxed);
    return true;
}

bool save_begin(struct worker *w)
{
    return logging_switch_phase(&w->server->logging.turning) == SWITCH_NONE && begin(w, false);
}

bool save_begin_base(struct worker *w)
{
    return begin(w, true);
}

void save_let_go(struct worker *w)
{
    struct save_run *r = w->save.held;
    w->save.held = NULL;
    if (r != NULL)
        run_free(w, r);
}

// ---- the end

static void stop_server(struct worker *w, bool good)
{
    struct saving *s = saving_of(w);
    uint32_t how = atomic_exchange_explicit(&s->stopping, SAVE_STOP_NOT, memory_order_relaxed);
    if (how == SAVE_STOP_NOT)
        return;
    if (!good && how != SAVE_STOP_FORCED) {
        log_line(LOG_WARNING, "the snapshot failed: the server goes on. SHUTDOWN NOSAVE or FORCE stops it all the same");
        return;
    }
    struct server *server = w->server;
    // What a client asks for from here on would not be in the snapshot.
    atomic_store(&server->stop, server->logging.on ? SERVER_STOPS : SERVER_STOPS_NOW);
    if (server->host->stop_requested != NULL)
        server->host->stop_requested(server);
}

bool save_settle(struct worker *w)
{
    struct saving *s = saving_of(w);
    struct keeper_snapshot_status status;
    uint32_t phase = atomic_load_explicit(&s->phase, memory_order_acquire);
    if (phase != SAVE_RUNS)
        return phase == SAVE_IDLE;
    uint64_t set = atomic_load_explicit(&s->set, memory_order_relaxed);
    keeper_snapshot_status(keeper_of(w), &status);
    if (status.id != set || status.state == SNAPSHOT_RUNS)
        return false;
    if (!atomic_compare_exchange_strong_explicit(&s->phase, &phase, SAVE_IDLE, memory_order_acq_rel, memory_order_relaxed))
        return false;
    bool good = status.state == SNAPSHOT_WRITTEN;
    if (good)
        atomic_store_explicit(&s->changes_saved, atomic_load_explicit(&s->changes_cut, memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&s->took_ms, w->now_ms - status.began_ms, memory_order_relaxed);
    if (good || !atomic_load_explicit(&s->again, memory_order_relaxed))
        stop_server(w, good);
    return true;
}

// ---- save points

// The next number of the text; false: the end, or something else.
static bool next_number(const char **at, int64_t *out)
{
    while (**at == ' ')
        ++*at;
    if (**at < '0' || **at > '9')
        return false;
    *out = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        if ((*out = *out * 10 + (**at - '0')) > INT32_MAX)
            return false;
    return **at == ' ' || **at == '\0';
}

bool save_points_valid(const char *text)
{
    int64_t seconds, changes;
    const char *at = text;
    while (next_number(&at, &seconds))
        if (seconds < 1 || !next_number(&at, &changes))
            return false;
    while (*at == ' ')
        at++;
    return *at == '\0';
}

static bool point_is_due(const struct worker *w, const struct keeper_snapshot_status *status)
{
    const char *at = w->options.save;
    int64_t seconds, needed;
    int64_t last_ms = status->last_save_ms > w->server->started_wall_ms ? status->last_save_ms : w->server->started_wall_ms;
    uint64_t changes = save_changes(w);
    while (next_number(&at, &seconds) && next_number(&at, &needed))
        if (changes >= (uint64_t)needed && changes > 0 && w->now_ms - last_ms > seconds * 1000)
            return true;
    return false;
}

void save_tick(struct worker *w)
{
    struct saving *s = saving_of(w);
    struct keeper_snapshot_status status;
    if (w->id == 0)
        atomic_store_explicit(&s->points, w->options.save[0] != '\0', memory_order_relaxed);
    if (!may_begin(w) || !save_settle(w) || w->id != 0)
        return;
    uint32_t asked = atomic_exchange_explicit(&s->stop, SAVE_STOP_NOT, memory_order_relaxed);
    if (asked != SAVE_STOP_NOT)
        atomic_store_explicit(&s->stopping, asked, memory_order_relaxed);
    if (asked != SAVE_STOP_NOT || atomic_load_explicit(&s->again, memory_order_relaxed)) {
        (void)save_begin(w);
        return;
    }
    keeper_snapshot_status(keeper_of(w), &status);
    int64_t tried_ms = atomic_load_explicit(&s->tried_ms, memory_order_relaxed);
    if (status.state == SNAPSHOT_FAILED && w->now_ms - tried_ms < RETRY_MS)
        return;
    if (w->options.save[0] != '\0' && point_is_due(w, &status))
        (void)save_begin(w);
}

bool save_stop_ask(struct server *s)
{
    struct saving *g = &s->saving;
    if (s->logging.keeper == NULL || logging_stage(&s->logging) != LOGGING_SERVES ||
        !atomic_load_explicit(&g->points, memory_order_relaxed))
        return false;
    if (atomic_load_explicit(&g->stopping, memory_order_relaxed) != SAVE_STOP_NOT)
        return false;
    return atomic_exchange_explicit(&g->stop, SAVE_STOP_ASKED, memory_order_relaxed) == SAVE_STOP_NOT;
}

void save_view(struct worker *w, struct save_view *v)
{
    const struct server *server = w->server;
    const struct saving *s = &server->saving;
    struct keeper_snapshot_status status;
    *v = (struct save_view){ .last_save_ms = server->started_wall_ms, .took_ms = -1, .current_ms = -1 };
    if (server->logging.keeper == NULL)
        return;
    (void)save_settle(w);
    keeper_snapshot_status(server->logging.keeper, &status);
    const struct keeper_stats *k = keeper_stats(server->logging.keeper);
    v->runs = atomic_load_explicit(&s->phase, memory_order_relaxed) != SAVE_IDLE;
    v->scheduled = atomic_load_explicit(&s->again, memory_order_relaxed);
    v->failed = status.state == SNAPSHOT_FAILED;
    v->changes = save_changes(w);
    v->saves = status.count;
    v->entries = status.entries;
    v->bytes = status.bytes;
    if (status.last_save_ms != 0)
        v->last_save_ms = status.last_save_ms;
    v->took_ms = status.count > 0 ? atomic_load_explicit(&s->took_ms, memory_order_relaxed) : -1;
    v->current_ms = v->runs ? w->now_ms - atomic_load_explicit(&s->tried_ms, memory_order_relaxed) : -1;
    v->scrubbed_bytes = atomic_load_explicit(&k->scrubbed_bytes, memory_order_relaxed);
    v->scrub_errors = atomic_load_explicit(&k->scrub_errors, memory_order_relaxed);
    v->segments_recycled = atomic_load_explicit(&k->segments_recycled, memory_order_relaxed);
    v->log_bytes = atomic_load_explicit(&k->log_bytes, memory_order_relaxed);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        const struct save *each = &server->workers[i]->save;
        uint64_t longest = statistics_load(&each->longest_ns) / 1000;
        v->image_bytes += statistics_load(&each->image_bytes);
        v->seen_bytes += statistics_load(&each->seen.bytes);
        v->longest_us = longest > v->longest_us ? longest : v->longest_us;
    }
}
