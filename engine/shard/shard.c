// SPDX-License-Identifier: Apache-2.0
// One turn of a worker: where everything meets.
//
//   completions      accept -> conn,  recv -> session -> batch -> run here | forward,  send -> what follows
//   mesh             requests of other workers -> run -> answers;  answers to ours -> replies, in order
//   transactions     shares that arrived are enqueued, those that are ready answered; commands that waited for keys run
//   stalled          connections that had to wait go on
//   clock            expiry, timeouts, statistics
//   turn's end       one send per connection, one message per worker, connections that are done are freed
#include <stdlib.h>

#include "engine/shard/accept.h"
#include "engine/shard/ahead.h"
#include "engine/shard/conn.h"
#include "engine/shard/durability.h"
#include "engine/shard/effects_records.h"
#include "engine/shard/export.h"
#include "engine/shard/fanout.h"
#include "engine/shard/forward.h"
#include "engine/shard/metrics.h"
#include "engine/shard/monitor.h"
#include "engine/shard/multi.h"
#include "engine/shard/run.h"
#include "engine/shard/session.h"
#include "engine/shard/watch.h"
#include "engine/shard/worker.h"
#include "reactor/clock.h"
#include "reactor/ticks.h"

// Entries of background work in a turn: a few, and as many again as requests were run, so that what a load of writes leaves behind
// (keys that fall due, records that are dead) cannot outgrow it, while a slice takes no longer than the turn that it is part of.
#define MAINTAIN_BUDGET     64
#define MAINTAIN_BUDGET_MAX 4096
#define DRAIN_MAX_NS        (3 * NS_PER_SEC) // for clients to take their last replies when we stop
#define CRON_CONNS_SHARE    10               // a pass over all connections takes so many ticks

static void on_completion(struct worker *w, const struct completion *done)
{
    struct op *op = done->op;
    switch ((enum op_owner)op->owner) {
    case OWNER_CONN_RECV:
        conn_on_recv(container_of(op, struct conn, recv), done);
        break;
    case OWNER_CONN_SEND:
        conn_on_send(container_of(op, struct conn, send), done);
        break;
    case OWNER_CONN_CANCEL:
        break;
    case OWNER_EXPORT_RECV:
    case OWNER_EXPORT_SEND:
    case OWNER_EXPORT_CANCEL:
        exporter_on_completion(w->exporter, done);
        break;
    case OWNER_LOG:
        log_on_completion(logging_log(&w->server->logging), done);
        break;
    case OWNER_LENT:
        lent_on_completion(w, done);
        break;
    case OWNER_LISTENER_CANCEL:
        accept_on_cancelled(container_of(op, struct listener, cancel));
        break;
    case OWNER_LISTENER:
        accept_on_completion(container_of(op, struct listener, op), done);
        break;
    }
}

// A send is never put off: a quiet one is in this array for the last time (reactor.h). A connection's receives stay in order, for once one
// is put off, so are all that follow. False: it is to be looked at now.
static cold bool put_off(struct worker *w, const struct completion *done)
{
    struct put_off *p = &w->put_off[w->put_off_to];
    if (done->op->owner != OWNER_CONN_RECV)
        return false;
    if (p->count == p->cap) {
        uint32_t cap = p->cap == 0 ? 64 : p->cap * 2;
        struct completion *grown = realloc(p->items, cap * sizeof *grown);
        if (grown == NULL) {
            conn_close(container_of(done->op, struct conn, recv)); // and its bytes are not looked at, so that none pass others
            return false;
        }
        p->items = grown;
        p->cap = cap;
    }
    p->items[p->count++] = *done;
    container_of(done->op, struct conn, recv)->put_off++;
    w->stats.receives_put_off++;
    return true;
}

static inline bool has_put_off(const struct worker *w)
{
    return w->put_off[w->put_off_to].count > 0;
}

static void on_completions(struct worker *w, const struct completion *done, uint32_t count)
{
    struct ahead ring[AHEAD_RING];
    uint32_t looked = 0, asked = 0;
    native_glance_over(w, done, count);
    for (uint32_t i = 0; i < count; i++) {
        w->native_glance.now = i;
        for (; looked < count && looked < i + AHEAD_USE; looked++)
            ahead_look(w, &done[looked], &ring[looked % AHEAD_RING]);
        for (; asked < looked && asked < i + AHEAD_ENTRY; asked++)
            ahead_entry(&ring[asked % AHEAD_RING]);
        if (unlikely(w->arenas[w->arena].used >= TURN_ARENA_FULL || has_put_off(w)) && put_off(w, &done[i]))
            continue;
        if (unlikely(done[i].op->owner != OWNER_CONN_RECV && done[i].op->owner != OWNER_CONN_SEND))
            native_glance_forget(w);
        on_completion(w, &done[i]);
    }
    native_glance_over(w, NULL, 0);
}

static cold void on_put_off(struct worker *w)
{
    struct put_off *p = &w->put_off[w->put_off_to];
    w->put_off_to ^= 1;
    for (uint32_t i = 0; i < p->count; i++)
        container_of(p->items[i].op, struct conn, recv)->put_off--;
    on_completions(w, p->items, p->count);
    p->count = 0;
}

// False: there is more.
static bool take_mail(struct worker *w, uint32_t peer)
{
    for (int i = 0; i < MESH_DRAIN_MAX; i++) {
        struct mesh_block *b = mesh_take(&w->mesh, peer);
        if (b == NULL)
            return true;
        mesh_expect(b);
        if (b->kind == MESH_REQUESTS)
            forward_serve(w, b);
        else
            forward_answers(w, b);
        mesh_block_release(&w->mesh, b);
    }
    mesh_remind(&w->mesh, peer);
    return false;
}

static void drain_mesh(struct worker *w)
{
    uint64_t watermark = txn_watermark(w);
    bool all = true;
    for (uint32_t word = 0; word < (w->mesh.count + 63) / 64; word++) {
        uint64_t peers = mesh_collect(&w->mesh, word);
        for (; peers != 0; peers &= peers - 1)
            all &= take_mail(w, word * 64 + (uint32_t)__builtin_ctzll(peers));
    }
    if (unlikely(!list_empty(&w->txns.arrived)) && all)
        txn_admit(w, watermark);
}

static void resume_stalled(struct worker *w)
{
    struct list ready;
    list_init(&ready);
    struct list *node;
    while ((node = list_take_first(&w->stalled)) != NULL)
        list_append(&ready, node);
    while ((node = list_take_first(&ready)) != NULL)
        session_resume(container_of(node, struct conn, stalled));
}

// ---- clock

static void check_idle(struct worker *w, struct conn *c)
{
    bool over = w->options.timeout > 0 && w->now_ms - c->client.last_ms > w->options.timeout * 1000;
    // A stranger who does not say the password within a minute only holds a descriptor.
    over |= (c->client.flags & CLIENT_AUTHENTICATED) == 0 && w->now_ms - c->client.created_ms > 60 * 1000;
    over |= c->admin && w->now_ms - c->client.created_ms > METRICS_TIMEOUT_MS;
    if (!over || c->pending_count > 0)
        return;
    w->stats.timeouts_closed++;
    conn_close(c);
}

// Some connections each tick, from the list's head to its tail.
static void check_conns(struct worker *w)
{
    uint64_t some = w->stats.clients / CRON_CONNS_SHARE + 1;
    for (uint64_t i = 0; i < some && !list_empty(&w->conns); i++) {
        struct list *node = list_take_first(&w->conns);
        struct conn *c = container_of(node, struct conn, link);
        list_append(&w->conns, node);
        conn_charge(c);
        if (conn_due(c) > OUTPUT_LOW && list_empty(&c->dirty))
            list_append(&w->dirty, &c->dirty); // conn_flush looks at the limits
        check_idle(w, c);
    }
}

static void tick(struct worker *w)
{
    int64_t period = 1000 / w->options.hz;
    int64_t late = w->now_ms - w->next_cron_ms;
    if (late < 0 && late > -period * 2)
        return;
    w->next_cron_ms = w->now_ms + period;
    audit(intents_sound(&w->txns.intents));
    uint64_t ran = w->stats.commands - w->last_commands;
    w->last_commands = w->stats.commands;
    uint64_t rate = ran * 1000 / (uint64_t)(late > 0 && late < 60000 ? period + late : period);
    w->stats.sampled_ops_per_second = (w->stats.sampled_ops_per_second * 3 + rate) / 4;
    accept_retry(w);
    check_conns(w);
    effects_records_trim(&w->effects);
    if (effects_records_gone(&w->effects, (uint32_t)w->options.hz) && w->server->host->give_back != NULL)
        w->server->host->give_back();
    worker_refresh_stats(w);
    save_tick(w);
    if (w->options.maxmemory > 0 && !w->gate.loading)
        worker_make_room(w);
}

// ---- stopping

static bool has_due(const struct conn *c)
{
    return c->pending != NULL || conn_due(c) > 0 || session_has_kept(c) || c->put_off > 0;
}

static bool listeners_idle(const struct worker *w)
{
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (w->listeners[i].op.state != OP_IDLE || w->listeners[i].cancel.state != OP_IDLE)
            return false;
    return true;
}

// True when this worker has nothing more to do: no connection anywhere, so nobody will ask it either.
static bool drained(struct worker *w)
{
    int stop = atomic_load(&w->server->stop); // before what txn_idle looks at
    if (likely(stop == SERVER_RUNS))
        return false;
    if (!w->draining) {
        w->draining = true;
        w->drain_until_ns = w->reactor->now_ns + DRAIN_MAX_NS;
        accept_stop(w);
    }
    bool now = stop == SERVER_STOPS_NOW || w->reactor->now_ns > w->drain_until_ns;
    list_for_each_safe (node, &w->conns) {
        struct conn *c = container_of(node, struct conn, link);
        if (now || !has_due(c))
            conn_close(c);
    }
    if (unlikely(w->save.held != NULL) && atomic_load_explicit(&w->server->connected, memory_order_relaxed) == 0)
        save_let_go(w);
    bool exported = w->exporter == NULL || exporter_drained(w->exporter, now);
    return exported && (now || w->lent_count == 0) && list_empty(&w->closing) && listeners_idle(w) && txn_idle(w) &&
           atomic_load_explicit(&w->server->connected, memory_order_relaxed) == 0;
}

// ---- background work

static uint32_t maintain_budget(const struct worker *w)
{
    uint64_t budget = MAINTAIN_BUDGET + (w->stats.commands - w->turn_commands);
    return budget < MAINTAIN_BUDGET_MAX ? (uint32_t)budget : MAINTAIN_BUDGET_MAX;
}

static void maintain(struct worker *w)
{
    if (unlikely(w->pause.until_ms != 0 || atomic_load_explicit(&w->server->no_active_expire, memory_order_relaxed))) {
        w->maintain_more = false;
        return;
    }
    uint64_t began = reactor_ticks(w->reactor);
    w->maintain_more = store_maintain(w->store, w->now_ms, maintain_budget(w));
    uint64_t ticks = ticks_between(began, reactor_ticks(w->reactor));
    if (unlikely(ticks >= w->watch.slow_ticks))
        stopwatch_event(w, LATENCY_EXPIRE_CYCLE, reactor_ticks_ns(w->reactor, ticks));
}

// ---- the turn

static uint64_t may_wait_ns(struct worker *w)
{
    if (w->maintain_more || !list_empty(&w->stalled) || !list_empty(&w->dirty) || mesh_has_backlog(&w->mesh) || mesh_has_mail(&w->mesh) ||
        !list_empty(&w->slices) || w->save.more || txn_hurries(w) || has_put_off(w))
        return 0;
    int64_t until = w->next_cron_ms;
    bool rests = w->pause.until_ms != 0 || w->gate.loading || atomic_load_explicit(&w->server->no_active_expire, memory_order_relaxed);
    int64_t deadline = rests ? INT64_MAX : store_next_deadline(w->store);
    if (deadline < until)
        until = deadline;
    if (unlikely(w->pause.until_ms != 0) && w->pause.until_ms < until)
        until = w->pause.until_ms;
    int64_t ms = until - w->now_ms;
    if (unlikely(w->gate.loading || logging_switch_busy(w)))
        ms = ms < 1 ? ms : 1;
    if (unlikely(!list_empty(&w->waiters)) && durability_deadline(w) - w->now_ms < ms)
        ms = durability_deadline(w) - w->now_ms;
    if (w->draining || !list_empty(&w->closing))
        ms = ms < 5 ? ms : 5;
    uint64_t ns = ms <= 0 ? 0 : (uint64_t)ms * NS_PER_MS;
    if (unlikely(w->exporter != NULL)) {
        uint64_t export_ns = exporter_wait_ns(w->exporter);
        ns = export_ns < ns ? export_ns : ns;
    }
    if (unlikely(w->gated) && logging_hosts(w) && logging_log(&w->server->logging) != NULL) {
        uint64_t log_ns = log_next_ns(logging_log(&w->server->logging));
        ns = log_ns < ns ? log_ns : ns;
    }
    return ns;
}

static void end_turn(struct worker *w)
{
    struct list *node;
    if (unlikely(w->lines.len > 0))
        monitor_flush(w);
    if (unlikely(w->gated)) {
        effects_flush(w);
        if (logging_hosts(w))
            logging_step(w);
        gate_turn(w);
    } else if (unlikely(w->effects.on)) {
        effects_flush(w);
    }
    if (unlikely(w->exporter != NULL))
        exporter_turn(w->exporter);
    while ((node = list_first(&w->dirty)) != NULL)
        conn_flush(container_of(node, struct conn, dirty));
    txn_number(w);
    mesh_push(&w->mesh, w->server->workers);
    list_for_each_safe (closing, &w->closing) {
        struct conn *c = container_of(closing, struct conn, link);
        if (conn_idle(c) && !multi_busy(c->multi))
            conn_free(c);
    }
}

// What the last turn took, as the reactor measured it anyway.
static inline void note_turn(struct worker *w)
{
    uint64_t busy = w->reactor->stats.busy_ns;
    if (unlikely(w->options.latency_monitor_threshold > 0))
        stopwatch_event(w, LATENCY_TURN, busy - w->last_busy_ns);
    w->last_busy_ns = busy;
    w->watch.mark = 0;
    w->watch.rested = w->reactor->waited;
}

bool worker_turn(struct worker *w)
{
    const struct completion *done;
    uint32_t count = reactor_turn(w->reactor, may_wait_ns(w), &done);
    w->now_ms = w->reactor->wall_ms;
    // What was sent last turn may still be looked at while this turn's completions are walked; the arena before it is free.
    w->arena ^= 1;
    struct arena_turn *arena = &w->arenas[w->arena];
    if (unlikely(arena->used > arena->used_most))
        arena->used_most = arena->used;
    arena->used = 0;
    note_turn(w);
    watch_turn(w);
    if (unlikely(has_put_off(w)))
        on_put_off(w);
    on_completions(w, done, count);
    w->watch.mark = 0;
    drain_mesh(w);
    if (unlikely(!list_empty(&w->slices)))
        fanout_run_slices(w);
    if (unlikely(!list_empty(&w->txns.intents.ready)))
        txn_run_ready(w);
    w->watch.mark = 0;
    if (unlikely(!list_empty(&w->stalled)))
        resume_stalled(w);
    if (unlikely(w->gate.loading))
        w->maintain_more = loading_turn(w);
    else if (w->maintain_more || store_next_deadline(w->store) <= w->now_ms || w->now_ms >= w->next_cron_ms)
        maintain(w);
    w->turn_commands = w->stats.commands;
    if (unlikely(!list_empty(&w->waiters)))
        durability_turn(w);
    if (unlikely(save_busy(&w->save))) {
        save_turn(w);
        worker_charge_durability(w);
    }
    if (unlikely(logging_switch_busy(w)))
        logging_switch_turn(w);
    tick(w);
    bool stop = drained(w);
    if (unlikely(stop)) {
        logging_switch_stop(w);
        save_stop(w);
    }
    end_turn(w);
    return !stop;
}
