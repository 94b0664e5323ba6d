// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/conn.h"

#include <stdlib.h>

#include "engine/shard/bundle.h"
#include "engine/shard/monitor.h"
#include "engine/shard/multi.h"
#include "engine/shard/session.h"

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
    conn_read_on(c);
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

void conn_pass(struct conn *c)
{
    c->barrier = false;
    conn_go_on_later(c);
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
    conn_go_on_later(c);
}

void conn_end(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    state_move(&c->state, CONN_ENDING, CONN_MOVES);
    conn_stop_reading(c);
    if (list_empty(&c->dirty))
        list_append(&c->worker->dirty, &c->dirty);
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
