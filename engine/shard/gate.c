// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/gate_inside.h"

#include "engine/shard/worker.h"
#include "reactor/log.h"

static enum gate_level level_of_option(int appendfsync)
{
    static const enum gate_level LEVELS[] = {
        [APPENDFSYNC_ALWAYS] = GATE_ALWAYS, [APPENDFSYNC_EVERYSEC] = GATE_EVERYSEC, [APPENDFSYNC_NO] = GATE_NO
    };
    return LEVELS[appendfsync];
}

int gate_init(struct worker *w)
{
    struct gate *g = &w->gate;
    *g = (struct gate){ .level = (uint8_t)level_of_option(w->options.appendfsync) };
    list_init(&g->conns);
    list_init(&g->answers);
    return gate_keys_init(g);
}

void gate_deinit(struct worker *w)
{
    struct gate *g = &w->gate;
    if (g->keys.heads == NULL)
        return;
    gate_answers_deinit(g);
    gate_keys_deinit(g);
}

uint64_t gate_memory(const struct gate *g)
{
    return gate_keys_memory(g) + g->held_bytes;
}

void gate_refresh(struct worker *w)
{
    struct gate *g = &w->gate;
    uint8_t level = (uint8_t)level_of_option(w->options.appendfsync);
    if (level == GATE_ALWAYS && g->level != GATE_ALWAYS)
        gate_changed_all(w); // what changed so far is not in the table
    g->level = level;
    w->gated = w->effects.port != NULL || g->loading || gate_is_poisoned(w);
}

const char *gate_refusal(const struct worker *w)
{
    if (w->gate.loading)
        return GATE_LOADING;
    if (gate_is_poisoned(w))
        return GATE_FAILED;
    return w->gate.on && w->gate.state == LOG_FULL ? GATE_FULL : NULL;
}

const char *gate_refuses(struct worker *w, const struct command *command)
{
    if (unlikely(w->gate.loading) && !loading_over(w))
        return (command->flags & CMD_LOADING) == 0 ? GATE_LOADING : NULL;
    return (command->flags & CMD_WRITE) != 0 ? gate_refusal(w) : NULL;
}

// Where they are refused they need not wait to hear it.
bool gate_stops_writers(const struct worker *w)
{
    return atomic_load_explicit(&w->server->logs_behind, memory_order_relaxed) > 0 && gate_refusal(w) == NULL;
}

// ---- the turn

static void caught_up(struct worker *w)
{
    struct server *s = w->server;
    w->gate.behind = false;
    if (atomic_fetch_sub_explicit(&s->logs_behind, 1, memory_order_relaxed) == 1)
        for (uint32_t i = 0; i < s->worker_count; i++)
            reactor_wake(s->workers[i]->reactor, w->reactor);
}

static void check_behind(struct worker *w)
{
    struct gate *g = &w->gate;
    struct server *s = w->server;
    uint64_t waiting = w->effects.sent_bytes - atomic_load_explicit(&w->effects.port->taken_bytes, memory_order_relaxed);
    uint64_t room = atomic_load_explicit(&w->effects.port->room, memory_order_relaxed);
    uint64_t limit = room < w->options.log_buffer_limit ? room : w->options.log_buffer_limit;
    if (likely(!g->behind && waiting <= limit))
        return;
    if (!g->behind) {
        g->behind = true;
        atomic_fetch_add_explicit(&s->logs_behind, 1, memory_order_relaxed);
    } else if (waiting <= limit / 2) {
        caught_up(w);
    }
}

static cold void state_changed(struct worker *w, uint32_t state)
{
    struct server *s = w->server;
    w->gate.state = state;
    gate_refresh(w);
    if (!gate_is_poisoned(w) || !s->logging.on || atomic_exchange_explicit(&s->logging.failed, true, memory_order_relaxed))
        return;
    log_line(LOG_WARNING, "worker %u: the log has failed: writes are refused", w->id);
    if (s->host->stop_requested != NULL)
        s->host->stop_requested(s); // the main thread decides
}

void gate_turn(struct worker *w)
{
    struct gate *g = &w->gate;
    const struct log_port *port = w->effects.port;
    if (port == NULL)
        return;
    // The state first: what was durable when it was poisoned counts.
    uint32_t state = atomic_load_explicit(&port->state, memory_order_acquire);
    uint64_t durable = atomic_load_explicit(&port->durable, memory_order_acquire);
    uint64_t written = atomic_load_explicit(&port->written, memory_order_acquire);
    check_behind(w);
    if (unlikely(w->effects.failed) && effects_logged(&w->effects) && state != LOG_POISONED)
        state = LOG_POISONED;
    bool changed = state != g->state;
    if (likely(!changed && durable == g->durable && written == g->written))
        return;
    g->durable = durable;
    g->written = written;
    if (unlikely(changed))
        state_changed(w, state);
    gate_keys_forget(g);
    gate_steps_forget(w);
    if (!list_empty(&g->answers))
        gate_answers_send(w, gate_is_poisoned(w));
    if (!list_empty(&g->conns))
        gate_conns_wake(w, gate_is_poisoned(w));
}

bool gate_has_news(const struct worker *w)
{
    const struct log_port *port = w->effects.port;
    // Under always nobody is told of what is only written.
    bool written = w->gate.level != GATE_ALWAYS && port != NULL;
    return port != NULL && (atomic_load_explicit(&port->durable, memory_order_acquire) != w->gate.durable ||
                            (written && atomic_load_explicit(&port->written, memory_order_acquire) != w->gate.written) ||
                            (atomic_load_explicit(&port->state, memory_order_acquire) != w->gate.state && !w->effects.failed));
}

// ---- the log comes and goes

void gate_begin(struct worker *w)
{
    w->gate.on = true;
    state_changed(w, w->gate.state); // it may have failed already
}

static void let_all_go(struct worker *w, bool unknown)
{
    struct gate *g = &w->gate;
    gate_keys_forget(g);
    gate_steps_forget(w);
    if (!list_empty(&g->answers))
        gate_answers_send(w, unknown);
    if (!list_empty(&g->conns))
        gate_conns_wake(w, unknown);
}

bool gate_give_up(struct worker *w)
{
    struct gate *g = &w->gate;
    if (list_empty(&g->answers) && list_empty(&g->conns))
        return false;
    g->state = LOG_POISONED;
    atomic_store_explicit(&w->effects.port->state, LOG_POISONED, memory_order_relaxed); // the role has gone
    let_all_go(w, gate_is_poisoned(w));
    return true;
}

void gate_end(struct worker *w)
{
    struct gate *g = &w->gate;
    g->written = g->durable = w->effects.position;
    let_all_go(w, false);
    g->on = false;
    g->state = LOG_OFF;
    if (g->behind)
        caught_up(w);
}
