// SPDX-License-Identifier: Apache-2.0
// The order of the replies: those that are due from elsewhere, what stands behind them, and large values that replies refer to.
#include <stdlib.h>

#include "engine/shard/bundle.h"
#include "engine/shard/conn.h"
#include "engine/shard/durability.h"
#include "engine/shard/gather.h"
#include "engine/shard/native.h"
#include "proto/fcnp_reply.h"

// ---- large values

// The value's header, and where it belongs. False: out of memory, nothing was written. A frame's header may have its room already.
static bool refer_to(struct conn *c, struct buf *out, struct blob *value, bool frame)
{
    uint8_t header[FCNP_HEADER + REPLY_HEADER_MAX];
    size_t len = FCNP_HEADER;
    if (frame)
        fcnp_reply_header(header, FCNP_VALUE, (uint32_t)value->len);
    else
        len = (size_t)(reply_put_header(header, '$', value->len) - header);
    if (c->pieces == NULL)
        c->pieces = calloc(1, sizeof *c->pieces + REFS_PIECES * sizeof(struct iovec));
    uint8_t *to = c->pieces == NULL ? NULL : buf_reserve(out, len + 2);
    if (to == NULL || !refs_add(&c->refs, out->len + len, value))
        return false;
    memcpy(to, header, len);
    buf_advance(out, len);
    if (!frame)
        buf_append(out, "\r\n", 2);
    c->worker->stats.values_referred++;
    if (conn_due(c) > OUTPUT_HIGH)
        c->paused = true;
    return true;
}

// Behind a reply that is due from elsewhere: a reply that is due too, and here.
static bool refer_later(struct conn *c, struct blob *value)
{
    struct pending *p = conn_expect(c);
    if (p == NULL)
        return false;
    p->value = blob_pin(value);
    p->ready = true;
    c->pending_values += value->len;
    if (conn_due(c) > OUTPUT_HIGH)
        c->paused = true;
    return true;
}

bool conn_refer(struct call *call, struct blob *value)
{
    struct conn *c = conn_of_client(call->client);
    struct worker *w = c->worker;
    struct buf *out = call->reply->out;
    if (value->len < REFS_MIN || !conn_may_refer(c) || out->failed)
        return false;
    size_t begun = c->frame != 0 ? FCNP_HEADER : 0; // fcnp_reply_begin
    out->len -= begun;
    if (!(c->pending != NULL ? refer_later(c, value) : refer_to(c, out, value, c->frame != 0))) {
        out->len += begun;
        return false;
    }
    c->referred = true;
    if (value->len >= w->watch.reply_min)
        stopwatch_keep(w, LOG_LARGE_REPLY, stopwatch_large(w, LOG_LARGE_REPLY, call->command, call->argv, call->argc, value->len),
                       &c->client);
    return true;
}

// A value that cannot be referred to is out of memory's.
static cold void advance_value(struct conn *c, struct buf *out, const struct pending *p)
{
    c->pending_values -= p->value->len;
    if (!p->silent && !refer_to(c, out, p->value, p->frame != 0))
        out->failed = true;
}

void conn_write_value(struct conn *c, struct buf *out, struct blob *value, bool frame)
{
    c->pending_values -= value->len;
    if (!refer_to(c, out, value, frame))
        out->failed = true;
}

// ---- replies that are due

struct pending *pending_new(struct worker *w)
{
    struct pending *p = w->pending_free;
    if (p != NULL)
        w->pending_free = p->next;
    else
        p = malloc(sizeof *p);
    if (p != NULL)
        *p = (struct pending){ .conn = NULL };
    return p;
}

struct pending *pending_free(struct worker *w, struct pending *p)
{
    if (p->kind == PENDING_BUNDLE) {
        bundle_free(w, bundle_of(p));
        return NULL;
    }
    if (p->block != NULL)
        mesh_block_release(&w->mesh, p->block);
    blob_free(p->value);
    free(p->heap);
    p->next = w->pending_free;
    w->pending_free = p;
    return NULL;
}

struct pending *conn_expect(struct conn *c)
{
    struct pending *p = pending_new(c->worker);
    if (p == NULL)
        return NULL;
    p->conn = c;
    p->frame = c->frame;
    *c->pending_tail = p;
    c->pending_tail = &p->next;
    c->pending_count++;
    return p;
}

void conn_forget_pending(struct conn *c)
{
    for (struct pending *p = c->pending, *next; p != NULL; p = next) {
        next = p->next;
        p->conn = NULL;
        p->next = NULL;
        if (p->ready)
            pending_free(c->worker, p);
    }
    c->pending = NULL;
    c->pending_tail = &c->pending;
    c->pending_count = c->bundles = 0;
    c->pending_values = 0;
}

void conn_say(struct conn *c, struct slice bytes)
{
    if (c->pending == NULL) {
        buf_append_slice(conn_out_begin(c), bytes);
        conn_out_end(c);
        return;
    }
    buf_append_slice(&c->stash, bytes);
    container_of(c->pending_tail, struct pending, next)->after += bytes.len;
}

// The first pending has its reply: it and whatever was waiting only for it goes out.
static void advance(struct conn *c, struct buf *out)
{
    uint64_t stash_used = 0;
    while (c->pending != NULL && c->pending->ready) {
        struct pending *p = c->pending;
        if (p->kind == PENDING_BUNDLE) {
            stash_used += bundle_write(c, bundle_of(p), out, stash_used);
            c->pending_count -= bundle_of(p)->count - 1;
            c->bundles--;
        } else if (unlikely(p->value != NULL))
            advance_value(c, out, p);
        else if (unlikely(p->frame != 0) && !p->silent)
            native_frame(out, slice_of(p->bytes, p->len), (uint8_t)(p->frame - 1));
        else if (!p->silent)
            buf_append(out, p->bytes, p->len);
        if (p->after > 0)
            buf_append(out, c->stash.data + stash_used, p->after);
        stash_used += p->after;
        c->pending = p->next;
        c->pending_count--;
        pending_free(c->worker, p);
    }
    if (c->pending == NULL) {
        c->pending_tail = &c->pending;
        c->stash.len = 0;
        if (c->stash.cap > OUTPUT_LOW)
            buf_deinit(&c->stash);
    } else {
        buf_consume(&c->stash, stash_used);
    }
}

void conn_advance(struct conn *c)
{
    advance(c, conn_out_begin(c));
    conn_out_end(c);
    if (unlikely(c->crowded) && c->pending_count <= PENDING_MAX / 2) {
        c->crowded = false;
        conn_go_on_later(c);
    }
    conn_settle(c);
}

static void deliver_part(struct worker *w, struct pending *p, uint8_t *heap, const uint8_t *bytes, uint64_t len)
{
    void *owner = p->owner;
    uint32_t part = p->part;
    enum pending_kind kind = (enum pending_kind)p->kind;
    pending_free(w, p);
    if (kind == PENDING_GRANT)
        txn_answer(w, owner, part, bytes, len);
    else if (kind == PENDING_SETTLED)
        durability_settled(w, owner);
    else
        gather_part(w, owner, part, heap, bytes, len);
}

void conn_deliver(struct worker *w, struct pending *p, struct mesh_block *block, uint8_t *heap, const uint8_t *bytes, uint64_t len)
{
    if (unlikely(p->kind != PENDING_REPLY)) {
        deliver_part(w, p, heap, bytes, len);
        return;
    }
    struct conn *c = p->conn;
    p->heap = heap;
    p->bytes = bytes;
    p->len = len;
    p->ready = true;
    if (unlikely(c == NULL)) {
        pending_free(w, p);
        return;
    }
    if (unlikely(p->barrier))
        conn_pass(c);
    if (likely(c->pending == p)) {
        conn_advance(c);
        return;
    }
    if (block != NULL) {
        p->block = block;
        block->refs++;
    } else if (heap == NULL && len > 0) {
        p->heap = malloc(len);
        if (p->heap == NULL) {
            conn_close(c);
            return;
        }
        memcpy(p->heap, bytes, len);
        p->bytes = p->heap;
    }
}

void conn_deliver_value(struct worker *w, struct pending *p, struct blob *value)
{
    assert(p->kind == PENDING_REPLY);
    p->value = value;
    if (p->conn != NULL)
        p->conn->pending_values += value->len;
    conn_deliver(w, p, NULL, NULL, NULL, 0);
}
