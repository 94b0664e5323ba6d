// SPDX-License-Identifier: Apache-2.0
// What goes out: `out` is written in the turn's arena and handed to the kernel at the turn's end by a send that says nothing if all went
// well; what the socket does not take, what is large and what waits moves to the heap and is sent by one that completes.
#include <errno.h>
#include <stdlib.h>

#include "engine/shard/conn.h"
#include "reactor/log.h"

// The turn's arena lends its tail to one connection at a time. A connection that comes back in the same turn gets the tail again
// only if nobody wrote behind it; otherwise its buffer has no room left and moves to the heap.
struct buf *conn_out_begin(struct conn *c)
{
    struct worker *w = c->worker;
    struct arena_turn *arena = &w->arenas[w->arena];
    struct buf *out = &c->out;
    if (out->data == NULL && arena->used < TURN_ARENA_FULL)
        buf_init_borrowed(out, arena->memory + arena->used, TURN_ARENA_SIZE - arena->used, BUF_NO_LIMIT);
    else if (out->borrowed && out->data + out->len == arena->memory + arena->used)
        out->cap = out->len + TURN_ARENA_SIZE - arena->used;
    if (list_empty(&c->dirty))
        list_append(&w->dirty, &c->dirty);
    return out;
}

void conn_out_end(struct conn *c)
{
    struct arena_turn *arena = &c->worker->arenas[c->worker->arena];
    if (!c->out.borrowed)
        return;
    size_t used = (size_t)(c->out.data - arena->memory) + c->out.len;
    // Without room beyond its bytes it did not hold the tail: others have written behind it.
    if (c->out.cap > c->out.len || used > arena->used)
        arena->used = used;
    c->out.cap = c->out.len;
}

static void over_output_limit(struct conn *c, uint64_t unsent)
{
    struct worker *w = c->worker;
    const struct output_limit *limit = &w->options.client_output_buffer_limit[OUTPUT_NORMAL];
    bool over = limit->hard > 0 && unsent > limit->hard;
    if (limit->soft > 0 && unsent > limit->soft) {
        if (c->soft_since_ms == 0)
            c->soft_since_ms = w->now_ms;
        over |= w->now_ms - c->soft_since_ms > (int64_t)limit->soft_seconds * 1000;
    } else {
        c->soft_since_ms = 0;
    }
    if (!over)
        return;
    w->stats.output_limit_closed++;
    log_line(LOG_WARNING, "client id=%llu addr=%s closed: %llu bytes of replies unsent are over client-output-buffer-limit",
             (unsigned long long)c->client.id, c->client.address, (unsigned long long)unsent);
    conn_close(c);
}

bool conn_keep_out(struct conn *c)
{
    if (!c->out.borrowed)
        return true;
    uint8_t *copy = malloc(c->out.len);
    if (copy == NULL)
        return false;
    memcpy(copy, c->out.data, c->out.len);
    c->worker->stats.bytes_copied += c->out.len;
    c->out = (struct buf){ .data = copy, .len = c->out.len, .cap = c->out.len, .limit = BUF_NO_LIMIT };
    return true;
}

// What is left of `sending`.
static void send_rest(struct conn *c)
{
    uint64_t left = c->sending_total - c->sent;
    c->sending_now = true;
    if (unlikely(c->sending_refs.count > 0) && c->lent == NULL && (c->lent = lent_send(c)) != NULL)
        return;
    c->send.flags = 0;
    if (c->sending_refs.count == 0) {
        c->send.kind = OP_SEND;
        c->send.data = c->sending.data + c->sent;
        c->send.len = left > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)left;
    } else {
        struct iovec *pieces = (struct iovec *)(void *)(c->pieces + 1);
        c->pieces->msg_iov = pieces;
        c->pieces->msg_iovlen = refs_pieces(&c->sending_refs, buf_view(&c->sending), c->sent, pieces);
        c->send.kind = OP_SENDV;
        c->send.data = c->pieces;
        c->send.len = 0;
    }
    reactor_submit(c->worker->reactor, &c->send);
}

static void send_owned(struct conn *c)
{
    assert(c->sending_refs.count == 0);
    buf_deinit(&c->sending);
    c->sending = c->out;
    c->sending_refs = c->refs;
    buf_init(&c->out, BUF_NO_LIMIT);
    c->refs = (struct refs){ 0 };
    c->sent = 0;
    c->sending_total = c->sending.len + c->sending_refs.bytes;
    send_rest(c);
}

void conn_flush(struct conn *c)
{
    list_remove(&c->dirty);
    if (c->state == CONN_CLOSING) {
        buf_deinit(&c->out);
        return;
    }
    if (unlikely(c->out.failed || c->stash.failed)) {
        conn_close(c);
        return;
    }
    uint64_t unsent = conn_due(c);
    if (unlikely(unsent > OUTPUT_LOW)) {
        over_output_limit(c, unsent);
        if (c->state == CONN_CLOSING)
            return;
    }
    enum gate_passage gate = likely(!c->gated) ? GATE_FREE : gate_pass(c);
    if (unlikely(gate == GATE_WAITS) && c->out.len > 0)
        return;
    if (c->out.len == 0) {
        buf_deinit(&c->out);
        conn_settle(c);
        return;
    }
    if (conn_gathers(c) && c->refs.count == 0 && gate == GATE_FREE) {
        if (!conn_keep_out(c))
            conn_close(c);
        return;
    }
    c->client.net_out += c->out.len + c->refs.bytes;
    c->worker->stats.net_out += c->out.len + c->refs.bytes;
    if (unlikely(c->sending_now)) {
        if (!conn_keep_out(c))
            conn_close(c);
        return;
    }
    if (unlikely(!c->out.borrowed || c->paused || c->state == CONN_ENDING || c->refs.count > 0)) {
        if (conn_keep_out(c))
            send_owned(c);
        else
            conn_close(c);
        return;
    }
    c->send.kind = OP_SEND;
    c->send.flags = OP_QUIET;
    c->send.data = c->out.data;
    c->send.len = (uint32_t)c->out.len;
    buf_init(&c->out, BUF_NO_LIMIT);
    reactor_submit(c->worker->reactor, &c->send);
}

// A quiet send that the socket did not take whole: the rest moves to the heap, in front of what was written since.
static void finish_quiet(struct conn *c, size_t done)
{
    struct buf rest;
    buf_init(&rest, BUF_NO_LIMIT);
    buf_append(&rest, (const uint8_t *)c->send.data + done, c->send.len - done);
    struct buf later = c->out;
    struct refs later_refs = c->refs;
    c->out = rest;
    c->refs = (struct refs){ 0 };
    c->worker->stats.sends_short++;
    c->worker->stats.bytes_copied += rest.len;
    if (rest.failed) {
        conn_close(c);
    } else {
        send_owned(c);
    }
    c->out = later;
    c->refs = later_refs;
}

// Of `sending`.
static void sent_some(struct conn *c, size_t sent)
{
    c->sent += sent;
    if (c->sent < c->sending_total) {
        send_rest(c);
        return;
    }
    if (unlikely(c->lent != NULL))
        lent_leave(c->lent, &c->sending, &c->sending_refs);
    c->lent = NULL;
    refs_deinit(&c->sending_refs);
    c->sending_total = 0;
    buf_deinit(&c->sending);
    c->sent = 0;
    c->soft_since_ms = 0;
    if ((c->out.len > 0 || c->gated) && list_empty(&c->dirty))
        list_append(&c->worker->dirty, &c->dirty);
    else
        conn_settle(c);
}

void conn_on_send(struct conn *c, const struct completion *done)
{
    bool quiet = (c->send.flags & OP_QUIET) != 0;
    c->sending_now = false;
    if (c->state == CONN_CLOSING)
        return;
    if (done->result < 0 && !(quiet && done->result == -EAGAIN)) {
        conn_close(c);
        return;
    }
    size_t sent = done->result < 0 ? 0 : (size_t)done->result;
    if (quiet) {
        finish_quiet(c, sent);
        return;
    }
    sent_some(c, sent);
}

// A kernel or a socket that cannot, or has no room for it, says so before anything was sent.
static bool plainly(struct conn *c, int32_t result)
{
    c->no_zerocopy |= result == -EOPNOTSUPP || result == -EINVAL;
    return c->no_zerocopy || result == -ENOBUFS || result == -ENOMEM || result == -EAGAIN || result == -EINTR;
}

void conn_on_lent(struct conn *c, int32_t result)
{
    c->sending_now = false;
    if (c->state == CONN_CLOSING)
        return;
    if (result < 0 && !plainly(c, result)) {
        conn_close(c);
        return;
    }
    sent_some(c, result < 0 ? 0 : (size_t)result);
}
