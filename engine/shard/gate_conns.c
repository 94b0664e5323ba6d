// SPDX-License-Identifier: Apache-2.0
// Connections whose replies wait: each turn's become a chunk, and everything behind a chunk waits with it.
#include <stdlib.h>

#include "engine/shard/conn.h"
#include "engine/shard/gate_inside.h"
#include "engine/shard/multi.h"
#include "proto/fcnp_reply.h"

#define GATHER_MAX (64 * 1024) // bytes of chunks that are joined in one send

// Replies of one turn that wait; owns its bytes.
struct chunk {
    struct chunk *next;
    struct gate_need need;
    struct buf out;
    struct refs refs;
};

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
    return k != NULL && k->refs.count == 0 && gate_met(&c->worker->gate, k->need) && c->out.len + k->out.len <= GATHER_MAX;
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
    if (c->chunks != NULL && gate_met(&c->worker->gate, c->chunks->need) && !conn_keep_out(c))
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

void gate_open(struct conn *c, uint64_t position, uint8_t asked)
{
    gate_conn(c, position, asked);
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
    bool waits = !gate_met(g, c->need);
    bool ready = c->chunks != NULL && gate_met(g, c->chunks->need);
    if (unlikely(gate_is_poisoned(w)) && !ready && (waits || c->chunks != NULL)) {
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
    c->gated = c->chunks != NULL || !gate_met(g, c->need);
    if (c->chunks == NULL)
        list_remove(&c->gate_link);
    else if (list_empty(&c->gate_link))
        list_append(&g->conns, &c->gate_link);
    return ready ? GATE_PASSES : behind ? GATE_WAITS : GATE_FREE;
}

void gate_conns_wake(struct worker *w, bool poisoned)
{
    list_for_each (node, &w->gate.conns) {
        struct conn *c = container_of(node, struct conn, gate_link);
        if (list_empty(&c->dirty) && (poisoned || gate_met(&w->gate, c->chunks->need)))
            list_append(&w->dirty, &c->dirty);
    }
}
