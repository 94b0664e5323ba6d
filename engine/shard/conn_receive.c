// SPDX-License-Identifier: Apache-2.0
// What comes in: when the receive is armed, into what, and how the stream ends.
#include <errno.h>

#include "engine/shard/conn.h"
#include "engine/shard/session.h"

static void arm_recv(struct conn *c)
{
    assert(!c->receiving);
    c->receiving = true;
    c->into_blob = false;
    c->recv.kind = OP_RECV;
    c->recv.flags = 0;
    reactor_submit(c->worker->reactor, &c->recv);
}

// A big argument's bytes go from the socket to the pages where they will stay.
static void arm_recv_blob(struct conn *c)
{
    size_t want = c->blob_left < BLOB_RECV_CHUNK ? (size_t)c->blob_left : BLOB_RECV_CHUNK;
    size_t room = blob_reserve(c->blob, c->blob_left);
    if (room == 0) {
        conn_close(c);
        return;
    }
    assert(!c->receiving);
    c->receiving = true;
    c->into_blob = true;
    c->recv.kind = OP_RECV_INTO;
    c->recv.flags = OP_ALL;
    c->recv.data = c->blob->data + c->blob->len;
    c->recv.len = (uint32_t)(room < want ? room : want);
    reactor_submit(c->worker->reactor, &c->recv);
}

static bool wants_blob_recv(const struct conn *c)
{
    return c->blob != NULL && c->blob_left >= BLOB_RECV_MIN && c->later.len == 0;
}

// A connection that waits reads on for a while: most fan-outs are over before much has come.
static bool has_enough(const struct conn *c)
{
    return c->later.len > OUTPUT_LOW;
}

void conn_read_on(struct conn *c)
{
    if (c->state != CONN_OPEN || c->paused || has_enough(c) || c->end_seen || c->receiving)
        return;
    if (wants_blob_recv(c))
        arm_recv_blob(c);
    else
        arm_recv(c);
}

void conn_stop_reading(struct conn *c)
{
    if (c->recv.state == OP_IDLE || c->cancel.state != OP_IDLE)
        return;
    c->cancel.kind = OP_CANCEL;
    c->cancel.target = &c->recv;
    reactor_submit(c->worker->reactor, &c->cancel);
}

static void end_of_stream(struct conn *c)
{
    // The client may have closed only its half: what is due is still sent.
    c->end_seen = true;
    if (session_has_kept(c))
        return;
    if (c->pending == NULL && c->out.len == 0 && c->chunks == NULL && !c->sending_now)
        conn_close(c);
    else
        conn_end(c);
}

void conn_on_recv(struct conn *c, const struct completion *done)
{
    struct worker *w = c->worker;
    bool more = (done->flags & COMPLETION_MORE) != 0;
    if (likely(done->result > 0 && c->state == CONN_OPEN)) {
        c->client.net_in += (uint64_t)done->result;
        c->client.last_ms = w->now_ms;
        w->stats.net_in += (uint64_t)done->result;
        if (unlikely(c->into_blob))
            session_blob_received(c, (uint64_t)done->result);
        else
            session_feed(c, slice_of(done->data, (size_t)done->result));
    }
    if (done->flags & COMPLETION_BUFFER)
        reactor_buffer_return(w->reactor, done->buffer);
    if (!more)
        c->receiving = false;
    if (c->state != CONN_OPEN)
        return;
    if (likely(more)) {
        if (unlikely(c->paused || has_enough(c) || wants_blob_recv(c)))
            conn_stop_reading(c);
        return;
    }
    if (done->result == 0)
        end_of_stream(c);
    else if (done->result > 0 || done->result == -ENOBUFS || done->result == -ECANCELED || done->result == -EINTR ||
             done->result == -EAGAIN)
        conn_read_on(c);
    else
        conn_close(c);
}
