// SPDX-License-Identifier: Apache-2.0
// What the reply of each request waits for, found out where the request runs.
#include "engine/shard/conn.h"
#include "engine/shard/gate_inside.h"
#include "engine/shard/run_call.h"
#include "engine/shard/watch.h"

#define STEP_NS (25 * UINT64_C(1000000))

// ---- how old is what is not durable

static struct gate_step *step_at(struct gate *g, uint32_t i)
{
    return &g->steps[(g->step_first + i) % GATE_STEPS];
}

void gate_sent(struct worker *w, uint64_t now_ns)
{
    struct gate *g = &w->gate;
    if (g->step_count == GATE_STEPS || (g->step_count > 0 && now_ns - step_at(g, g->step_count - 1)->sent_ns < STEP_NS))
        return;
    *step_at(g, g->step_count++) = (struct gate_step){ .position = w->effects.position, .sent_ns = now_ns };
}

// The last position of the oldest step.
static uint64_t step_end(struct worker *w)
{
    struct gate *g = &w->gate;
    return g->step_count > 1 ? step_at(g, 1)->position - 1 : w->effects.position;
}

void gate_steps_forget(struct worker *w)
{
    struct gate *g = &w->gate;
    while (g->step_count > 0 && step_end(w) <= g->durable) {
        g->step_first = (g->step_first + 1) % GATE_STEPS;
        g->step_count--;
    }
}

bool gate_take_sync(struct worker *w)
{
    bool sync = w->gate.sync || w->gate.level == GATE_ALWAYS;
    w->gate.sync = false;
    return sync;
}

void gate_promise(struct worker *w, uint8_t asked)
{
    w->gate.soon |= asked == GATE_EVERYSEC && w->gate.level == GATE_NO;
}

bool gate_take_soon(struct worker *w)
{
    bool soon = w->gate.soon || w->gate.level == GATE_EVERYSEC; // the log's policy may become `no` before it has flushed
    w->gate.soon = false;
    return soon;
}

// ---- positions of changes and of keys

static void need_more(struct gate_need *to, struct gate_need need)
{
    if (need.durable > to->durable)
        to->durable = need.durable;
    if (need.written > to->written)
        to->written = need.written;
}

// A flush of `position` is wanted, whatever the server's level.
static void ask_sync(struct worker *w, uint64_t position)
{
    struct effects *e = &w->effects;
    if (w->gate.level == GATE_ALWAYS)
        return;
    if (position > e->position)
        w->gate.sync = true;
    else {
        atomic_store_explicit(&e->port->wants_sync, true, memory_order_release);
        logging_wake(w, true);
    }
}

static struct gate_need write_need(struct worker *w, enum gate_level level, uint64_t position)
{
    struct gate *g = &w->gate;
    if (unlikely(w->server->logging.fault == GATE_FAULT_EARLY_REPLY))
        return (struct gate_need){ 0 };
    switch (level) {
    case GATE_NO:
        return (struct gate_need){ .written = position };
    case GATE_ALWAYS:
        ask_sync(w, position);
        return (struct gate_need){ .durable = position };
    case GATE_EVERYSEC:
        break;
    }
    gate_promise(w, (uint8_t)level);
    uint64_t written = g->level == GATE_NO ? position : 0; // asking for more takes nothing away of what the server gives
    if (likely(g->step_count == 0 || w->reactor->now_ns - step_at(g, 0)->sent_ns < GATE_STALL_NS))
        return (struct gate_need){ .written = written };
    // All that was sent before, not only what is too old now: by the time that the reply goes, the rest would be. And a flush of it: the
    // one under way may have begun before some of it was written, and another one is not due for half a second.
    g->stalls++;
    if (g->stalled != w->effects.position) {
        g->stalled = w->effects.position;
        ask_sync(w, g->stalled);
    }
    return (struct gate_need){ .durable = w->effects.position, .written = written };
}

// Everything up to now.
static uint64_t newest(const struct worker *w)
{
    const struct effects *e = &w->effects;
    return effects_pending(e) ? effects_building(e) : e->position;
}

static uint64_t key_position(struct worker *w, uint64_t hash)
{
    if (effects_is_dirty(&w->effects, hash))
        return effects_is_held(w, hash) ? 0 : effects_building(&w->effects);
    return gate_keys_position(&w->gate, hash);
}

static bool all_durable(const struct worker *w)
{
    return !effects_pending(&w->effects) && w->effects.position <= w->gate.durable;
}

static uint64_t call_position(struct worker *w, const struct call *call)
{
    struct command_keys keys;
    if ((call->command->flags & (CMD_READONLY | CMD_WRITE)) == 0)
        return 0;
    if (!command_keys(call->command, call->argv, call->argc, &keys))
        return w->effects.open ? 0 : newest(w);
    if (w->gate.level != GATE_ALWAYS)
        return newest(w); // there is no table
    uint64_t position = 0;
    const struct keyspace *any = store_keyspace(w->store, w->id, 0);
    for (uint32_t i = keys.first; i <= keys.last; i += keys.step) {
        // A part of a command that is spread has not been located.
        bool located = i == keys.first && call->keyspace != NULL;
        uint64_t next = key_position(w, located ? call->hash : keyspace_hash(any, call->argv[i]));
        position = next > position ? next : position;
    }
    return position;
}

static bool holds(const struct worker *w)
{
    return w->gate.on && effects_logged(&w->effects);
}

static struct gate_need read_need(struct worker *w, uint64_t position)
{
    if (unlikely(w->server->logging.fault == GATE_FAULT_DIRTY_READ))
        return (struct gate_need){ 0 };
    if (position > w->gate.durable)
        ask_sync(w, position);
    return (struct gate_need){ .durable = position };
}

uint8_t gate_asked(const struct conn *c)
{
    return c->level > c->client.level ? c->level : c->client.level;
}

static enum gate_level at_least_servers(const struct worker *w, uint8_t asked)
{
    return (enum gate_level)(asked > w->gate.level ? asked : w->gate.level);
}

static enum gate_level level_of(const struct worker *w, const struct conn *c)
{
    return at_least_servers(w, c != NULL ? gate_asked(c) : w->gate.asked);
}

// ---- who waits

static void wait_for(struct worker *w, struct conn *c, struct gate_need need)
{
    if (c == NULL) {
        need_more(&w->gate.serve, need);
        return;
    }
    if (gate_met(&w->gate, need))
        return;
    need_more(&c->need, need);
    c->gated = true;
    c->gate_frame = c->frame;
}

void gate_take_serve(struct conn *c)
{
    wait_for(c->worker, c, c->worker->gate.serve);
}

void gate_conn(struct conn *c, uint64_t position, uint8_t asked)
{
    struct worker *w = c->worker;
    if (position > 0 && holds(w))
        wait_for(w, c, write_need(w, at_least_servers(w, asked), position));
}

void gate_read(struct worker *w, struct conn *c, uint64_t hash)
{
    if (holds(w) && level_of(w, c) == GATE_ALWAYS && !all_durable(w))
        wait_for(w, c, read_need(w, w->gate.level == GATE_ALWAYS ? key_position(w, hash) : newest(w)));
}

void gate_read_all(struct worker *w, struct conn *c)
{
    if (holds(w) && level_of(w, c) == GATE_ALWAYS && !all_durable(w))
        wait_for(w, c, read_need(w, newest(w)));
}

// ---- running

static cold void refuse(struct worker *w, struct call *call, const char *why)
{
    w->stats.commands++;
    w->stats.rejected_calls++;
    w->commands[command_index(call->command)].rejected++;
    reply_error(call->reply, why);
    run_count_error(w, call->reply);
}

void gate_run(struct worker *w, struct call *call, bool granted)
{
    struct effects *e = &w->effects;
    uint32_t flags = call->command->flags;
    const char *why = granted ? NULL : gate_refuses(w, call->command);
    if (unlikely(why != NULL)) {
        refuse(w, call, why);
        return;
    }
    uint64_t changes = e->changes;
    effects_command_begins(e);
    run_call_now(w, call, granted);
    effects_command_ends(w);
    if (!holds(w))
        return;
    struct conn *c = call->client != NULL ? conn_of_client(call->client) : NULL;
    enum gate_level level = level_of(w, c);
    if (e->changes != changes && (flags & CMD_WRITE) != 0) {
        assert(effects_pending(e) || e->failed);
        // What a transaction holds is not settled: its reply waits for the marker.
        if (!granted || w->txns.intents.count == 0)
            wait_for(w, c, write_need(w, level, effects_building(e)));
    } else if (level == GATE_ALWAYS && !all_durable(w)) {
        wait_for(w, c, read_need(w, call_position(w, call)));
    }
}

bool gate_all_durable(const struct worker *w)
{
    return all_durable(w);
}

bool gate_lets_reads(const struct conn *c)
{
    return !c->worker->gate.loading && (level_of(c->worker, c) != GATE_ALWAYS || all_durable(c->worker));
}

bool gate_lets_sets(const struct conn *c)
{
    const struct worker *w = c->worker;
    return holds(w) && gate_refusal(w) == NULL && w->watches.keys.count == 0;
}
