// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/conn.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/shard/bundle.h"
#include "engine/shard/durability.h"
#include "engine/shard/gather.h"
#include "engine/shard/monitor.h"
#include "engine/shard/multi.h"
#include "engine/shard/native.h"
#include "engine/shard/session.h"
#include "proto/fcnp_reply.h"
#include "reactor/log.h"

static const uint32_t CONN_MOVES[] = {
    [CONN_OPEN] = STATE(CONN_ENDING) | STATE(CONN_CLOSING),
    [CONN_ENDING] = STATE(CONN_CLOSING),
    [CONN_CLOSING] = 0,
};

static void op_prepare(struct op *op, enum op_owner owner, int fd)
{
    op->owner = (uint8_t)owner;
    op->fd = fd;
    op->fixed_buffer = -1;
}

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

static void stop_reading(struct conn *c)
{
    if (c->recv.state == OP_IDLE || c->cancel.state != OP_IDLE)
        return;
    c->cancel.kind = OP_CANCEL;
    c->cancel.target = &c->recv;
    reactor_submit(c->worker->reactor, &c->cancel);
}

struct conn *conn_new(struct worker *w, int fd, bool is_unix)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        reactor_close(w->reactor, fd);
        return NULL;
    }
    c->worker = w;
    c->only_shard = NO_SHARD;
    op_prepare(&c->recv, OWNER_CONN_RECV, fd);
    op_prepare(&c->send, OWNER_CONN_SEND, fd);
    op_prepare(&c->cancel, OWNER_CONN_CANCEL, fd);
    list_init(&c->dirty);
    list_init(&c->stalled);
    list_init(&c->monitor);
    list_init(&c->gate_link);
    list_append(&w->conns, &c->link);
    c->pending_tail = &c->pending;
    buf_init(&c->out, BUF_NO_LIMIT);
    buf_init(&c->sending, BUF_NO_LIMIT);
    buf_init(&c->stash, BUF_NO_LIMIT);
    struct client *client = &c->client;
    client->id = w->next_client;
    w->next_client += w->server->worker_count;
    client->fd = fd;
    client->flags = is_unix ? CLIENT_UNIX : 0;
    client->created_ms = client->last_ms = w->now_ms;
    reactor_names(w->reactor, fd, client->address, client->local_address, CLIENT_ADDRESS_MAX);
    client_reset(client, w->options.requirepass[0] != '\0');
    session_init(c);
    w->stats.clients++;
    arm_recv(c);
    return c;
}

// Counts against maxmemory in place of what was counted last.
static void set_charge(struct conn *c, uint64_t bytes)
{
    struct worker *w = c->worker;
    int64_t more = (int64_t)(bytes - c->charged);
    c->charged = bytes;
    w->stats.client_memory += (uint64_t)more;
    store_charge(w->store, more);
}

void conn_free(struct conn *c)
{
    struct worker *w = c->worker;
    assert(c->state == CONN_CLOSING && c->pending == NULL);
    assert(conn_idle(c));
    reactor_close(w->reactor, c->client.fd);
    list_remove(&c->link);
    list_remove(&c->dirty);
    list_remove(&c->stalled);
    set_charge(c, 0);
    gate_forget(c);
    multi_free(c);
    session_deinit(c);
    if (c->lent != NULL)
        lent_leave(c->lent, &c->sending, &c->sending_refs);
    buf_deinit(&c->out);
    buf_deinit(&c->sending);
    buf_deinit(&c->stash);
    refs_deinit(&c->refs);
    refs_deinit(&c->sending_refs);
    free(c->pieces);
    client_deinit(&c->client);
    bool admin = c->admin;
    free(c);
    w->stats.clients--;
    if (admin)
        w->admin_conns--;
    else
        atomic_fetch_sub_explicit(&w->server->connected, 1, memory_order_relaxed);
}

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

uint64_t conn_memory(const struct conn *c)
{
    uint64_t bytes = sizeof *c + c->sending.cap + c->stash.cap + c->carry.cap + c->later.cap + resp_memory(&c->parser);
    bytes +=
        (uint64_t)c->pending_count * sizeof(struct pending) + c->bundles * sizeof(struct bundle) + c->blobs_cap * sizeof(struct blob *);
    bytes += (c->refs.cap + c->sending_refs.cap) * sizeof(struct ref);
    if (c->pieces != NULL)
        bytes += sizeof *c->pieces + REFS_PIECES * sizeof(struct iovec);
    if (c->blob != NULL)
        bytes += c->blob->len; // pages that were never touched take nothing
    for (uint32_t i = 0; i < c->blobs_cap; i++)
        bytes += c->blobs[i] != NULL ? c->blobs[i]->len : 0;
    return bytes + c->chunk_bytes + (c->out.borrowed ? 0 : c->out.cap);
}

void conn_charge(struct conn *c)
{
    set_charge(c, conn_memory(c));
}

struct client_buffers client_buffers(const struct client *client)
{
    const struct conn *c = conn_of_client(client);
    return (struct client_buffers){
        .query = c->carry.len,
        .query_free = c->carry.cap - c->carry.len,
        .output = conn_due(c),
        .memory = conn_memory(c),
        .pending = c->pending_count,
        .queued = c->queueing ? (int64_t)c->multi->count : -1,
        .watched = c->multi != NULL ? c->multi->watched_count : 0,
        .multi_memory = c->multi != NULL ? c->multi->bytes : 0,
        .argv_memory = (uint32_t)resp_memory(&c->parser),
    };
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

// At the end of the turn, not here: this may be running below a batch of the same connection.
static void go_on_later(struct conn *c)
{
    if (list_empty(&c->stalled))
        list_append(&c->worker->stalled, &c->stalled);
}

void conn_pass(struct conn *c)
{
    c->barrier = false;
    go_on_later(c);
}

void conn_settle(struct conn *c)
{
    if (c->state == CONN_ENDING && c->pending == NULL && c->out.len == 0 && c->chunks == NULL && !c->sending_now &&
        c->send.state == OP_IDLE) {
        conn_close(c);
        return;
    }
    if (c->state != CONN_OPEN || !c->paused)
        return;
    if (conn_due(c) > OUTPUT_LOW)
        return;
    c->paused = false;
    go_on_later(c);
}

void conn_end(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    state_move(&c->state, CONN_ENDING, CONN_MOVES);
    stop_reading(c);
    if (list_empty(&c->dirty))
        list_append(&c->worker->dirty, &c->dirty);
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

void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    state_move(&c->state, CONN_CLOSING, CONN_MOVES);
    monitor_leave(c);
    gate_forget(c);
    if (!multi_busy(c->multi)) {
        multi_reset(c);
        conn_forget_pending(c);
    }
    // Ends whatever is in flight, and sends FIN even while a receive is armed.
    reactor_shutdown(c->worker->reactor, c->client.fd);
    list_remove(&c->link);
    list_append(&c->worker->closing, &c->link);
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
            stop_reading(c);
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

// A value that cannot be referred to is out of memory's.
static cold void advance_value(struct conn *c, struct buf *out, const struct pending *p)
{
    c->pending_values -= p->value->len;
    if (!p->silent && !refer_to(c, out, p->value, p->frame != 0))
        out->failed = true;
}

void conn_write_value(struct conn *c, struct buf *out, struct blob *value)
{
    c->pending_values -= value->len;
    if (!refer_to(c, out, value, false))
        out->failed = true;
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
        go_on_later(c);
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
