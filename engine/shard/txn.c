// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/txn.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/relax.h"
#include "base/state.h"
#include "engine/shard/conn.h"
#include "engine/shard/defer.h"
#include "engine/shard/forward.h"
#include "engine/shard/run.h"
#include "engine/shard/watched.h"

#define LOCK_TRIES   64   // before the lock is left for the next turn
#define NUMBERED_MAX 64   // transactions that get their numbers in one hold of it
#define READY_MAX    1024 // tickets served in one go; more are for the next turn

static const uint32_t TXN_MOVES[] = {
    [TXN_NEW] = STATE(TXN_STARTING) | STATE(TXN_QUEUED), // QUEUED at once: a single participant
    [TXN_STARTING] = STATE(TXN_QUEUED),
    [TXN_QUEUED] = STATE(TXN_GRANTED), // whatever the outcome: every participant has answered
    [TXN_GRANTED] = STATE(TXN_RELEASED),
    [TXN_RELEASED] = 0,
};

// The participant's: its part of a transaction.
struct txn_share {
    struct ticket ticket;
    struct list link; // txns.arrived
    uint64_t number;
    uint64_t cookie; // the coordinator's struct pending
    uint64_t watcher;
    uint64_t name; // in the log
    uint32_t marks;
    uint32_t from;
    bool needs_room;
    uint8_t level;
    struct intent intents[];
};

// Follows the head of MESH_QUEUE; then the prints.
struct queue_message {
    uint64_t number;
    uint64_t watcher;
    uint64_t name;
    uint32_t marks;
    uint32_t count;
    uint8_t root; // enum intent_mode
    uint8_t needs_room;
    uint8_t level; // enum gate_level
};

struct queue_answer {
    uint64_t ticket;
    uint64_t outcome;
};

int txns_init(struct txns *x)
{
    list_init(&x->starting);
    list_init(&x->arrived);
    return intents_init(&x->intents);
}

void txns_deinit(struct txns *x)
{
    if (x->intents.queues.heads == NULL)
        return;
    assert(list_empty(&x->starting) && list_empty(&x->arrived));
    intents_deinit(&x->intents);
}

uint64_t txn_print_of(struct worker *w, struct slice key)
{
    // All workers hash with one secret, and all keyspaces alike.
    return txn_print(keyspace_hash(store_keyspace(w->store, w->id, 0), key));
}

// ---- who takes part

void txn_init(struct txn *t, txn_granted_fn *granted)
{
    *t = (struct txn){ .granted = granted };
    list_init(&t->link);
}

void txn_deinit(struct txn *t)
{
    assert(t->state == TXN_NEW || t->state == TXN_RELEASED);
    for (uint32_t i = 0; i < t->count; i++)
        free(t->parts[i].prints);
    free(t->parts);
    t->parts = NULL;
    t->count = t->cap = 0;
}

static struct txn_part *part_of(struct txn *t, uint32_t worker)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->parts[i].worker == worker)
            return &t->parts[i];
    if (t->count == t->cap) {
        uint32_t cap = t->cap == 0 ? 4 : t->cap * 2;
        struct txn_part *grown = realloc(t->parts, cap * sizeof *grown);
        if (grown == NULL)
            return NULL;
        t->parts = grown;
        t->cap = cap;
    }
    t->parts[t->count] = (struct txn_part){ .worker = worker };
    return &t->parts[t->count++];
}

bool txn_add_worker(struct txn *t, uint32_t worker, bool exclusive)
{
    struct txn_part *p = part_of(t, worker);
    if (p != NULL)
        p->exclusive |= exclusive;
    return p != NULL;
}

bool txn_add_print(struct txn *t, uint32_t worker, uint64_t print, bool exclusive)
{
    struct txn_part *p = part_of(t, worker);
    if (p == NULL)
        return false;
    if (p->count == p->cap) {
        uint32_t cap = p->cap == 0 ? 4 : p->cap * 2;
        uint64_t *grown = realloc(p->prints, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        p->prints = grown;
        p->cap = cap;
    }
    p->prints[p->count++] = print << 1 | exclusive;
    p->exclusive |= exclusive;
    return true;
}

bool txn_add_key(struct worker *w, struct txn *t, struct slice key, bool exclusive)
{
    uint32_t worker = route_shard(&w->route, key) % w->server->worker_count;
    return txn_add_print(t, worker, txn_print_of(w, key), exclusive);
}

// ---- the participant

static struct txn_order *order_of(const struct worker *w)
{
    return &w->server->order;
}

static void share_ended(struct worker *w)
{
    atomic_fetch_sub_explicit(&order_of(w)->live, 1, memory_order_relaxed);
}

static struct txn_share *share_new(enum intent_mode root, const uint64_t *prints, uint32_t count)
{
    struct txn_share *s = malloc(sizeof *s + (count + 1) * sizeof s->intents[0]);
    if (s == NULL)
        return NULL;
    *s = (struct txn_share){ .number = 0 };
    list_init(&s->link);
    ticket_init(&s->ticket, s->intents, count + 1, root);
    s->ticket.kind = TICKET_SHARE;
    for (uint32_t i = 0; i < count; i++)
        ticket_key(&s->ticket, i + 1, prints[i] >> 1, (prints[i] & 1) != 0);
    return s;
}

static void answer(struct worker *w, uint32_t to, uint64_t cookie, const struct txn_share *s, enum txn_outcome outcome)
{
    struct queue_answer a = { .ticket = (uintptr_t)s, .outcome = outcome };
    if (to == w->id) {
        conn_deliver(w, (struct pending *)(uintptr_t)cookie, NULL, NULL, (const uint8_t *)&a, sizeof a);
        return;
    }
    struct mesh_reply *reply = mesh_append(&w->mesh, to, MESH_REPLIES, sizeof *reply + sizeof a);
    assert(reply != NULL);
    *reply = (struct mesh_reply){ .cookie = cookie, .len = sizeof a };
    memcpy(reply + 1, &a, sizeof a);
}

// A share that cannot be had: the coordinator hears of it and will not release it.
static void refuse(struct worker *w, uint32_t to, uint64_t cookie)
{
    share_ended(w);
    answer(w, to, cookie, NULL, TXN_NO_MEMORY);
}

static void enqueue(struct worker *w, struct txn_share *s)
{
    if (likely(intents_enqueue(&w->txns.intents, &s->ticket) == 0))
        return;
    refuse(w, s->from, s->cookie);
    free(s);
}

// By number, from the back: each sender's come in order.
static void arrive(struct worker *w, struct txn_share *s)
{
    struct list *at = w->txns.arrived.prev;
    while (at != &w->txns.arrived && container_of(at, struct txn_share, link)->number > s->number)
        at = at->prev;
    list_append(at->next, &s->link);
}

void txn_admit(struct worker *w, uint64_t watermark)
{
    struct list *node;
    while ((node = list_first(&w->txns.arrived)) != NULL) {
        struct txn_share *s = container_of(node, struct txn_share, link);
        if (s->number > watermark)
            return;
        list_remove(node);
        enqueue(w, s);
    }
}

void txn_serve_queue(struct worker *w, uint32_t from, const struct mesh_request *head)
{
    const struct queue_message *m = (const struct queue_message *)(const void *)(head + 1);
    struct txn_share *s = share_new((enum intent_mode)m->root, (const uint64_t *)(const void *)(m + 1), m->count);
    if (s == NULL) {
        refuse(w, from, head->cookie);
        return;
    }
    if (unlikely(order_of(w)->fault == TXN_FAULT_HALF))
        for (uint32_t i = 0; i <= m->count; i++)
            s->intents[i].mode = i == 0 ? INTENT_SOME_SHARED : INTENT_SHARED;
    s->number = m->number;
    s->cookie = head->cookie;
    s->watcher = m->watcher;
    s->name = m->name;
    s->marks = m->marks;
    s->needs_room = m->needs_room != 0;
    s->level = m->level;
    s->from = from;
    if (s->number == 0)
        enqueue(w, s);
    else
        arrive(w, s);
}

// `worked`: the transaction has changed something, or could have.
static void share_release(struct worker *w, struct txn_share *s, bool worked)
{
    effects_settle_released(w, &s->ticket, s->name, worked ? s->marks : 0);
    intents_release(&w->txns.intents, &s->ticket);
    free(s);
    share_ended(w);
}

void txn_serve_release(struct worker *w, const struct mesh_request *head)
{
    share_release(w, (struct txn_share *)(uintptr_t)head->cookie, (head->flags & MESH_WORKED) != 0);
}

// That a key was changed is seen by the client, so the change must be as safe as what it asks to see.
static bool answer_waits(struct worker *w, const struct txn_share *s, enum txn_outcome *outcome)
{
    struct queue_answer a = { .ticket = (uintptr_t)s, .outcome = TXN_CHANGED };
    struct buf out;
    if (!w->gated)
        return false;
    buf_init(&out, BUF_NO_LIMIT);
    buf_append(&out, &a, sizeof a);
    gate_serve(&w->gate, s->level);
    gate_read_all(w, NULL);
    if (!out.failed && gate_keep_grant(w, s->from, s->cookie, &out))
        return true;
    if (out.failed)
        *outcome = TXN_UNKNOWN;
    else
        *outcome = (enum txn_outcome)load_u64(out.data + offsetof(struct queue_answer, outcome));
    buf_deinit(&out);
    return false;
}

void txn_answer_unknown(struct buf *out)
{
    struct queue_answer a;
    assert(out->len == sizeof a);
    memcpy(&a, out->data, sizeof a);
    a.outcome = TXN_UNKNOWN;
    memcpy(out->data, &a, sizeof a);
}

static void share_ready(struct worker *w, struct txn_share *s)
{
    enum txn_outcome outcome = TXN_GOOD;
    if (s->watcher != 0 && watched_settle(w, s->watcher) && order_of(w)->fault != TXN_FAULT_STALE_WATCH)
        outcome = TXN_CHANGED;
    else if (s->needs_room && w->options.maxmemory > 0 && !worker_make_room(w))
        outcome = TXN_NO_ROOM;
    effects_settle_share(w, &s->ticket);
    if (outcome == TXN_CHANGED && answer_waits(w, s, &outcome))
        return;
    answer(w, s->from, s->cookie, s, outcome);
}

void txn_run_ready(struct worker *w)
{
    struct ticket *t;
    for (int i = 0; i < READY_MAX && (t = intents_take(&w->txns.intents)) != NULL; i++) {
        if (t->kind == TICKET_SHARE)
            share_ready(w, container_of(t, struct txn_share, ticket));
        else
            defer_run(w, t);
    }
}

// ---- the coordinator

static enum intent_mode root_mode(const struct txn *t, const struct txn_part *p)
{
    if (t->whole)
        return p->exclusive ? INTENT_EXCLUSIVE : INTENT_SHARED;
    return p->exclusive ? INTENT_SOME_EXCLUSIVE : INTENT_SOME_SHARED;
}

// Everything that can fail for want of memory, but the messages.
static bool prepare(struct worker *w, struct txn *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct txn_part *p = &t->parts[i];
        p->pending = pending_new(w);
        if (p->pending == NULL)
            return false;
        p->pending->kind = PENDING_GRANT;
        p->pending->owner = t;
        p->pending->part = i;
        if (p->worker != w->id)
            continue;
        p->own = share_new(root_mode(t, p), p->prints, p->count);
        if (p->own == NULL)
            return false;
        p->own->cookie = (uintptr_t)p->pending;
        p->own->watcher = t->watcher;
        p->own->needs_room = t->needs_room;
        p->own->level = t->level;
        p->own->name = t->name;
        p->own->marks = p->exclusive ? t->marks : 0;
        p->own->from = w->id;
    }
    return true;
}

static void unprepare(struct worker *w, struct txn *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->parts[i].pending != NULL)
            pending_free(w, t->parts[i].pending);
        free(t->parts[i].own);
    }
}

static void send_queue(struct worker *w, struct txn *t, struct txn_part *p, uint64_t number)
{
    size_t bytes = p->count * sizeof p->prints[0];
    size_t size = sizeof(struct mesh_request) + sizeof(struct queue_message) + bytes;
    struct mesh_request *head = mesh_append(&w->mesh, p->worker, MESH_REQUESTS, size);
    if (head == NULL) {
        refuse(w, w->id, (uintptr_t)p->pending);
        return;
    }
    *head = (struct mesh_request){
        .cookie = (uintptr_t)p->pending,
        .size = (uint32_t)round_up(size, MESH_ALIGN),
        .argc = 1,
        .shard = MESH_NO_SHARD,
        .command = MESH_QUEUE,
    };
    struct queue_message *m = (struct queue_message *)(void *)(head + 1);
    *m = (struct queue_message){
        .number = number,
        .watcher = t->watcher,
        .name = t->name,
        .marks = p->exclusive ? t->marks : 0,
        .count = p->count,
        .root = (uint8_t)root_mode(t, p),
        .needs_room = t->needs_room,
        .level = t->level,
    };
    if (bytes > 0)
        memcpy(m + 1, p->prints, bytes);
    w->stats.requests_forwarded++;
}

// To all participants. A single one, and a message that found no memory, may answer before this returns.
static void send_parts(struct worker *w, struct txn *t, uint64_t number)
{
    state_move(&t->state, TXN_QUEUED, TXN_MOVES);
    for (uint32_t i = 0, count = t->count; i < count; i++) {
        struct txn_part *p = &t->parts[i];
        struct txn_share *own = p->own;
        p->own = NULL;
        if (own == NULL) {
            send_queue(w, t, p, number);
        } else if (number == 0) {
            enqueue(w, own);
        } else {
            own->number = number;
            arrive(w, own);
        }
    }
}

// The coordinator has a marker too, so that its position stands for all of them.
static void name_it(struct worker *w, struct txn *t)
{
    bool own = false;
    for (uint32_t i = 0; i < t->count; i++) {
        t->marks += t->parts[i].exclusive;
        own |= t->parts[i].exclusive && t->parts[i].worker == w->id;
    }
    if (t->marks == 0)
        return;
    t->marks += !own;
    t->name = (uint64_t)w->id << 48 | ++w->txns.names;
}

bool txn_start(struct worker *w, struct txn *t)
{
    assert(t->count > 0);
    name_it(w, t); // whether or not there is a log now: one may have been switched on when it works
    if (!prepare(w, t)) {
        unprepare(w, t);
        return false;
    }
    t->left = t->count;
    atomic_fetch_add_explicit(&order_of(w)->live, t->count, memory_order_relaxed);
    if (t->count == 1) {
        send_parts(w, t, 0);
        return true;
    }
    state_move(&t->state, TXN_STARTING, TXN_MOVES);
    list_append(&w->txns.starting, &t->link);
    return true;
}

bool txn_start_own(struct worker *w, struct txn *t)
{
    // Counted before the look at `stop`: whoever leaves looks at the two the other way round (txn_idle).
    atomic_fetch_add(&order_of(w)->live, 1);
    bool started = atomic_load(&w->server->stop) == SERVER_RUNS && txn_start(w, t);
    share_ended(w);
    return started;
}

void txn_answer(struct worker *w, struct txn *t, uint32_t part, const uint8_t *bytes, uint64_t len)
{
    struct queue_answer a;
    assert(len == sizeof a);
    memcpy(&a, bytes, sizeof a);
    t->parts[part].ticket = a.ticket;
    if (a.outcome > t->outcome)
        t->outcome = (uint8_t)a.outcome;
    if (--t->left > 0)
        return;
    state_move(&t->state, TXN_GRANTED, TXN_MOVES);
    t->granted(w, t);
}

void txn_release(struct worker *w, struct txn *t)
{
    bool worked = t->outcome == TXN_GOOD, own = false;
    state_move(&t->state, TXN_RELEASED, TXN_MOVES);
    for (uint32_t i = 0; i < t->count; i++) {
        const struct txn_part *p = &t->parts[i];
        if (p->ticket == 0)
            continue;
        if (p->worker == w->id) {
            own = p->exclusive;
            share_release(w, (struct txn_share *)(uintptr_t)p->ticket, worked);
            continue;
        }
        forward_word(w, p->worker, MESH_RELEASE, p->ticket, worked ? MESH_WORKED : 0);
    }
    if (t->marks == 0 || !worked)
        return;
    if (!own)
        effects_mark(w, t->name, t->marks);
    if (!effects_pending(&w->effects))
        return; // nothing was changed
    t->position = effects_building(&w->effects);
    gate_promise(w, t->level);
}

// ---- numbers

static bool try_lock(struct txn_order *o)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (atomic_load_explicit(&o->lock, memory_order_relaxed) == 0 && atomic_exchange_explicit(&o->lock, 1, memory_order_acquire) == 0)
            return true;
        cpu_relax();
    }
    return false;
}

// Every ring takes what goes into it, so that no number is waited for longer than the lock is held.
static bool rings_take(struct worker *w, const struct txn *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->parts[i].worker != w->id && !mesh_takes(&w->mesh, t->parts[i].worker))
            return false;
    return true;
}

void txn_number(struct worker *w)
{
    if (likely(list_empty(&w->txns.starting)))
        return;
    struct txn_order *o = order_of(w);
    if (!try_lock(o))
        return;
    uint64_t targets[MESH_WORKERS_MAX / 64] = { 0 };
    struct list *node;
    for (int n = 0; n < NUMBERED_MAX && (node = list_first(&w->txns.starting)) != NULL; n++) {
        struct txn *t = container_of(node, struct txn, link);
        if (!rings_take(w, t))
            break;
        list_remove(node);
        for (uint32_t i = 0; i < t->count; i++)
            targets[t->parts[i].worker / 64] |= UINT64_C(1) << (t->parts[i].worker % 64);
        send_parts(w, t, ++o->last);
    }
    targets[w->id / 64] &= ~(UINT64_C(1) << (w->id % 64));
    for (uint32_t i = 0; i < w->mesh.count; i++)
        if ((targets[i / 64] >> (i % 64) & 1) != 0)
            mesh_push_to(&w->mesh, w->server->workers, i);
    atomic_store_explicit(&o->watermark, o->last, memory_order_release);
    atomic_store_explicit(&o->lock, 0, memory_order_release);
    for (uint32_t i = 0; i < w->mesh.count; i++)
        if ((targets[i / 64] >> (i % 64) & 1) != 0)
            reactor_wake(w->server->workers[i]->reactor, w->reactor);
}

uint64_t txn_watermark(const struct worker *w)
{
    return atomic_load_explicit(&w->server->order.watermark, memory_order_acquire);
}

bool txn_hurries(const struct worker *w)
{
    return !list_empty(&w->txns.starting) || !list_empty(&w->txns.arrived) || !list_empty(&w->txns.intents.ready);
}

bool txn_idle(const struct worker *w)
{
    return w->txns.intents.count == 0 && list_empty(&w->txns.starting) && atomic_load(&w->server->order.live) == 0;
}
