// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/gate.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/shard/conn.h"
#include "engine/shard/forward.h"
#include "engine/shard/multi.h"
#include "engine/shard/run_call.h"
#include "engine/shard/watch.h"
#include "engine/shard/worker.h"
#include "proto/fcnp_reply.h"
#include "reactor/log.h"

#define CHAINS_MIN 256
#define STEP_NS    (25 * UINT64_C(1000000))
#define GATHER_MAX (64 * 1024) // bytes of chunks that are joined in one send
#define FREE_KEEP  4096        // nodes kept for later

struct undurable {
    struct undurable *next; // of its chain
    struct list link;       // by position
    uint64_t hash;
    uint64_t position;
};

// Replies of one turn that wait; owns its bytes.
struct chunk {
    struct chunk *next;
    struct gate_need need;
    struct buf out;
    struct refs refs;
};

// An answer to another worker that waits.
struct answer {
    struct list link;
    struct gate_need need;
    uint32_t to;
    uint64_t cookie;
    struct buf out;
    struct blob *value; // as forward_reply's
    bool grant;         // of a transaction, no reply
};

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
    *g = (struct gate){ .mask = CHAINS_MIN - 1, .level = (uint8_t)level_of_option(w->options.appendfsync) };
    list_init(&g->order);
    list_init(&g->conns);
    list_init(&g->answers);
    g->chains = calloc(CHAINS_MIN, sizeof *g->chains);
    return g->chains != NULL ? 0 : -ENOMEM;
}

void gate_deinit(struct worker *w)
{
    struct gate *g = &w->gate;
    if (g->chains == NULL)
        return;
    struct list *node;
    while ((node = list_take_first(&g->answers)) != NULL) {
        struct answer *a = container_of(node, struct answer, link);
        buf_deinit(&a->out);
        blob_free(a->value);
        free(a);
    }
    while ((node = list_take_first(&g->order)) != NULL)
        free(container_of(node, struct undurable, link));
    for (struct undurable *u = g->free, *next; u != NULL; u = next) {
        next = u->next;
        free(u);
    }
    free(g->chains);
}

uint64_t gate_memory(const struct gate *g)
{
    return ((uint64_t)g->count + g->free_count) * sizeof(struct undurable) + (g->mask + UINT64_C(1)) * sizeof *g->chains + g->held_bytes;
}

static bool is_poisoned(const struct worker *w)
{
    return w->gate.on && (w->gate.state == LOG_POISONED || w->effects.failed);
}

void gate_refresh(struct worker *w)
{
    struct gate *g = &w->gate;
    uint8_t level = (uint8_t)level_of_option(w->options.appendfsync);
    if (level == GATE_ALWAYS && g->level != GATE_ALWAYS)
        gate_changed_all(w); // what changed so far is not in the table
    g->level = level;
    w->gated = w->effects.port != NULL || g->loading || is_poisoned(w);
}

// ---- keys whose last change is not durable

static struct undurable **chain_of(const struct gate *g, uint64_t hash)
{
    return &g->chains[(hash ^ hash >> 29) & g->mask];
}

static struct undurable *find(const struct gate *g, uint64_t hash)
{
    struct undurable *u = *chain_of(g, hash);
    while (u != NULL && u->hash != hash)
        u = u->next;
    return u;
}

static void grow(struct gate *g)
{
    uint32_t old = g->mask + 1;
    struct undurable **before = g->chains, **chains = calloc((size_t)old * 2, sizeof *chains);
    if (chains == NULL)
        return;
    g->chains = chains;
    g->mask = old * 2 - 1;
    for (uint32_t i = 0; i < old; i++)
        for (struct undurable *u = before[i], *next; u != NULL; u = next) {
            next = u->next;
            struct undurable **to = chain_of(g, u->hash);
            u->next = *to;
            *to = u;
        }
    free(before);
}

void gate_changed_all(struct worker *w)
{
    w->gate.floor = effects_building(&w->effects);
}

void gate_changed(struct worker *w, uint64_t hash)
{
    struct gate *g = &w->gate;
    if (g->level != GATE_ALWAYS || w->effects.port == NULL)
        return;
    struct undurable *u = find(g, hash);
    if (u != NULL) {
        u->position = effects_building(&w->effects);
        list_remove(&u->link);
        list_append(&g->order, &u->link);
        return;
    }
    u = g->free;
    if (u != NULL) {
        g->free = u->next;
        g->free_count--;
    } else {
        u = malloc(sizeof *u);
    }
    if (u == NULL) {
        gate_changed_all(w);
        return;
    }
    if (g->count > g->mask)
        grow(g);
    struct undurable **chain = chain_of(g, hash);
    *u = (struct undurable){ .next = *chain, .hash = hash, .position = effects_building(&w->effects) };
    *chain = u;
    list_append(&g->order, &u->link);
    g->count++;
}

static void forget_durable(struct gate *g)
{
    struct list *node;
    while ((node = list_first(&g->order)) != NULL) {
        struct undurable *u = container_of(node, struct undurable, link);
        if (u->position > g->durable)
            return;
        struct undurable **at = chain_of(g, u->hash);
        while (*at != u)
            at = &(*at)->next;
        *at = u->next;
        list_remove(node);
        g->count--;
        if (g->free_count >= FREE_KEEP) {
            free(u);
            continue;
        }
        u->next = g->free;
        g->free = u;
        g->free_count++;
    }
}

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

static void forget_steps(struct worker *w)
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

// ---- what a reply waits for

static inline bool met(const struct gate *g, struct gate_need need)
{
    return need.durable <= g->durable && need.written <= g->written;
}

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
    if (likely(g->step_count == 0 || w->reactor->now_ns - step_at(g, 0)->sent_ns < GATE_STALL_NS))
        return (struct gate_need){ 0 };
    // All that was sent before, not only what is too old now: by the time that the reply goes, the rest would be.
    g->stalls++;
    return (struct gate_need){ .durable = w->effects.position };
}

// Everything up to now.
static uint64_t newest(const struct worker *w)
{
    const struct effects *e = &w->effects;
    return effects_pending(e) ? effects_building(e) : e->position;
}

static uint64_t key_position(struct worker *w, uint64_t hash)
{
    struct gate *g = &w->gate;
    if (effects_is_dirty(&w->effects, hash))
        return effects_is_held(w, hash) ? 0 : effects_building(&w->effects);
    const struct undurable *u = find(g, hash);
    uint64_t position = u != NULL ? u->position : 0;
    return position > g->floor ? position : g->floor;
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

static enum gate_level level_of(const struct worker *w, const struct conn *c)
{
    uint8_t asked = c != NULL ? gate_asked(c) : w->gate.asked;
    return (enum gate_level)(asked > w->gate.level ? asked : w->gate.level);
}

static void wait_for(struct worker *w, struct conn *c, struct gate_need need)
{
    if (c == NULL) {
        need_more(&w->gate.serve, need);
        return;
    }
    if (met(&w->gate, need))
        return;
    need_more(&c->need, need);
    c->gated = true;
    c->gate_frame = c->frame;
}

void gate_take_serve(struct conn *c)
{
    wait_for(c->worker, c, c->worker->gate.serve);
}

void gate_conn(struct conn *c, uint64_t position)
{
    struct worker *w = c->worker;
    if (position > 0 && holds(w))
        wait_for(w, c, write_need(w, level_of(w, c), position));
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

const char *gate_refusal(const struct worker *w)
{
    if (w->gate.loading)
        return GATE_LOADING;
    if (is_poisoned(w))
        return GATE_FAILED;
    return w->gate.on && w->gate.state == LOG_FULL ? GATE_FULL : NULL;
}

const char *gate_refuses(struct worker *w, const struct command *command)
{
    if (unlikely(w->gate.loading) && !loading_over(w))
        return (command->flags & CMD_LOADING) == 0 ? GATE_LOADING : NULL;
    return (command->flags & CMD_WRITE) != 0 ? gate_refusal(w) : NULL;
}

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
    return holds(w) && gate_refusal(w) == NULL && w->watches.count == 0;
}

// Where they are refused they need not wait to hear it.
bool gate_stops_writers(const struct worker *w)
{
    return atomic_load_explicit(&w->server->logs_behind, memory_order_relaxed) > 0 && gate_refusal(w) == NULL;
}

// ---- answers to other workers

static void unknown_outcome(struct buf *out, struct blob **value)
{
    struct reply reply = { .out = out, .protocol = PROTOCOL_RESP2 };
    *value = blob_free(*value);
    out->len = 0;
    reply_error(&reply, GATE_UNKNOWN);
}

static uint64_t answer_memory(const struct answer *a)
{
    return sizeof *a + a->out.cap + (a->value != NULL ? a->value->len : 0);
}

static void make_unknown(struct buf *out, struct blob **value, bool grant)
{
    if (grant)
        txn_answer_unknown(out);
    else
        unknown_outcome(out, value);
}

static bool keep(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out, struct blob **value, bool grant)
{
    struct gate *g = &w->gate;
    if (met(g, g->serve))
        return false;
    struct answer *a = is_poisoned(w) ? NULL : malloc(sizeof *a);
    if (a == NULL) {
        make_unknown(out, value, grant); // it is true
        return false;
    }
    *a = (struct answer){ .need = g->serve, .to = to, .cookie = cookie, .value = *value, .grant = grant };
    if (out->borrowed) {
        buf_init(&a->out, BUF_NO_LIMIT);
        buf_append_slice(&a->out, buf_view(out));
    } else {
        a->out = *out;
    }
    list_append(&g->answers, &a->link);
    g->held++;
    g->held_bytes += answer_memory(a);
    return true;
}

bool gate_keep(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out, struct blob **value)
{
    return keep(w, to, cookie, out, value, false);
}

bool gate_keep_grant(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out)
{
    struct blob *none = NULL;
    return keep(w, to, cookie, out, &none, true);
}

static void send_answer(struct worker *w, struct answer *a)
{
    if (a->to != w->id) {
        forward_reply(w, a->to, a->cookie, &a->out, a->value);
        return;
    }
    conn_deliver(w, (struct pending *)(uintptr_t)a->cookie, NULL, NULL, a->out.data, a->out.len);
    buf_deinit(&a->out);
}

static void send_answers(struct worker *w, bool poisoned)
{
    struct gate *g = &w->gate;
    struct list waiting;
    list_init(&waiting);
    for (struct list *node; (node = list_take_first(&g->answers)) != NULL;)
        list_append(&waiting, node);
    list_for_each_safe (node, &waiting) {
        struct answer *a = container_of(node, struct answer, link);
        bool safe = met(g, a->need);
        list_remove(node);
        if (!safe && !poisoned) {
            list_append(&g->answers, node);
            continue;
        }
        g->held_bytes -= answer_memory(a);
        if (!safe)
            make_unknown(&a->out, &a->value, a->grant);
        send_answer(w, a);
        w->stats.requests_served++;
        free(a);
    }
}

// ---- connections

// What conn_memory does not see.
static uint64_t chunk_rest(const struct chunk *k)
{
    return sizeof *k + k->out.cap - k->out.len + k->refs.cap * sizeof(struct ref);
}

// It is not the connection's any more.
static void chunk_uncount(struct conn *c, const struct chunk *k)
{
    c->chunk_bytes -= k->out.len + k->refs.bytes;
    c->worker->gate.held_bytes -= chunk_rest(k);
}

static void chunk_free(struct conn *c, struct chunk *k)
{
    chunk_uncount(c, k);
    buf_deinit(&k->out);
    refs_deinit(&k->refs);
    free(k);
}

static struct chunk *chunk_take(struct conn *c)
{
    struct chunk *k = c->chunks;
    c->chunks = k->next;
    if (c->chunks == NULL)
        c->chunk_last = NULL;
    return k;
}

void gate_forget(struct conn *c)
{
    while (c->chunks != NULL)
        chunk_free(c, chunk_take(c));
    list_remove(&c->gate_link);
    c->gated = c->shut = false;
}

static bool chunk_add(struct conn *c)
{
    struct chunk *k = conn_keep_out(c) ? malloc(sizeof *k) : NULL;
    if (k == NULL)
        return false;
    *k = (struct chunk){ .need = c->need, .out = c->out, .refs = c->refs };
    buf_init(&c->out, BUF_NO_LIMIT);
    c->refs = (struct refs){ 0 };
    if (c->chunk_last != NULL)
        c->chunk_last->next = k;
    else
        c->chunks = k;
    c->chunk_last = k;
    c->chunk_bytes += k->out.len + k->refs.bytes;
    c->worker->gate.held++;
    c->worker->gate.held_bytes += chunk_rest(k);
    if (c->chunk_bytes > OUTPUT_HIGH)
        c->paused = true;
    return true;
}

static bool joins(const struct conn *c, const struct chunk *k)
{
    return k != NULL && k->refs.count == 0 && met(&c->worker->gate, k->need) && c->out.len + k->out.len <= GATHER_MAX;
}

// Chunks that may go become `out`.
static void gather(struct conn *c)
{
    if (!joins(c, c->chunks)) {
        struct chunk *k = chunk_take(c);
        chunk_uncount(c, k);
        c->out = k->out;
        c->refs = k->refs;
        free(k);
        return;
    }
    struct buf *out = conn_out_begin(c);
    while (joins(c, c->chunks)) {
        struct chunk *k = chunk_take(c);
        buf_append_slice(out, buf_view(&k->out));
        chunk_free(c, k);
    }
    conn_out_end(c);
    list_remove(&c->dirty);
    // Who has more to send wants to hear when this has been sent.
    if (c->chunks != NULL && met(&c->worker->gate, c->chunks->need) && !conn_keep_out(c))
        conn_close(c);
}

// Nobody can say whether what the client asked for has happened.
static cold void give_up(struct conn *c)
{
    gate_forget(c);
    if (multi_busy(c->multi)) {
        conn_close(c);
        return;
    }
    conn_forget_pending(c);
    refs_deinit(&c->refs);
    c->out.len = 0;
    c->stash.len = 0;
    c->need = (struct gate_need){ 0 };
    struct buf *out = conn_out_begin(c);
    struct reply reply = { .out = out, .protocol = c->client.protocol };
    uint8_t shape = c->gate_frame != 0 ? (uint8_t)(c->gate_frame - 1) : 0;
    size_t mark = c->gate_frame != 0 ? fcnp_reply_begin(&reply, shape) : 0;
    reply_error(&reply, GATE_UNKNOWN);
    if (c->gate_frame != 0)
        fcnp_reply_end(&reply, mark, shape);
    conn_out_end(c);
    conn_end(c);
    list_remove(&c->dirty);
}

void gate_shut(struct conn *c)
{
    c->gated = c->shut = true;
}

void gate_open(struct conn *c, uint64_t position)
{
    gate_conn(c, position);
    if (!c->shut)
        return;
    c->shut = false;
    if (list_empty(&c->dirty))
        list_append(&c->worker->dirty, &c->dirty);
}

enum gate_passage gate_pass(struct conn *c)
{
    struct worker *w = c->worker;
    struct gate *g = &w->gate;
    if (c->shut) {
        if (!conn_keep_out(c))
            conn_close(c);
        return GATE_WAITS;
    }
    bool waits = !met(g, c->need);
    bool ready = c->chunks != NULL && met(g, c->chunks->need);
    if (unlikely(is_poisoned(w)) && !ready && (waits || c->chunks != NULL)) {
        give_up(c);
        return c->state == CONN_CLOSING ? GATE_WAITS : GATE_PASSES;
    }
    ready = ready && !c->sending_now;
    bool behind = waits || c->chunks != NULL;
    if (c->out.len > 0 && (ready || (behind && !conn_gathers(c))) && !chunk_add(c)) {
        conn_close(c);
        return GATE_WAITS;
    }
    if (ready)
        gather(c);
    else if (behind && c->out.len > 0 && !conn_keep_out(c))
        conn_close(c);
    if (c->state == CONN_CLOSING)
        return GATE_WAITS;
    c->gated = c->chunks != NULL || !met(g, c->need);
    if (c->chunks == NULL)
        list_remove(&c->gate_link);
    else if (list_empty(&c->gate_link))
        list_append(&g->conns, &c->gate_link);
    return ready ? GATE_PASSES : behind ? GATE_WAITS : GATE_FREE;
}

static void free_conns(struct worker *w, bool poisoned)
{
    list_for_each (node, &w->gate.conns) {
        struct conn *c = container_of(node, struct conn, gate_link);
        if (list_empty(&c->dirty) && (poisoned || met(&w->gate, c->chunks->need)))
            list_append(&w->dirty, &c->dirty);
    }
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
    if (!is_poisoned(w) || !s->logging.on || atomic_exchange_explicit(&s->logging.failed, true, memory_order_relaxed))
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
    forget_durable(g);
    forget_steps(w);
    if (!list_empty(&g->answers))
        send_answers(w, is_poisoned(w));
    if (!list_empty(&g->conns))
        free_conns(w, is_poisoned(w));
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
    forget_durable(g);
    forget_steps(w);
    if (!list_empty(&g->answers))
        send_answers(w, unknown);
    if (!list_empty(&g->conns))
        free_conns(w, unknown);
}

bool gate_give_up(struct worker *w)
{
    struct gate *g = &w->gate;
    if (list_empty(&g->answers) && list_empty(&g->conns))
        return false;
    g->state = LOG_POISONED;
    atomic_store_explicit(&w->effects.port->state, LOG_POISONED, memory_order_relaxed); // the role has gone
    let_all_go(w, is_poisoned(w));
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
