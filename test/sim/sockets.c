// SPDX-License-Identifier: Apache-2.0
// The connections and listeners of the world's reactors: what is submitted for them, and what becomes of it.
#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "test/sim/inside.h"

#define RECEIVES_IN_TURN 4 // of one connection

// ---- buffers

int sockets_buffer(struct sim_reactor *s, size_t len)
{
    uint32_t cap = s->world->knobs.buffers;
    for (uint32_t i = 0; s->buffers_out < cap && i < cap; i++) {
        if (s->buffers[i] != NULL)
            continue;
        // Of just this length, and given back when it is returned, so that a byte read too far or too late is found.
        s->buffers[i] = malloc(len);
        assert(s->buffers[i] != NULL);
        s->buffers_out++;
        return (int)i;
    }
    return -ENOBUFS;
}

void sockets_buffer_return(struct reactor *r, uint16_t buffer)
{
    struct sim_reactor *s = (struct sim_reactor *)r;
    if (buffer >= s->world->knobs.buffers || s->buffers[buffer] == NULL) {
        world_fail(s->world, "buffer %u was returned that nobody had", buffer);
        return;
    }
    free(s->buffers[buffer]);
    s->buffers[buffer] = NULL;
    s->buffers_out--;
}

// ---- receives

static void end_recv(struct sim_reactor *s, struct socket *c, int32_t result)
{
    struct op *op = c->recv;
    c->recv = NULL;
    world_complete(s, op, result, 0);
}

// The reset, shutdown or end that a receive without data finds; 1: nothing, it waits on.
static int32_t recv_ending(struct sim_reactor *s, struct socket *c)
{
    struct world *w = s->world;
    if (net_is_reset(&w->net, c) && !c->server_told) {
        c->server_told = true;
        return -ECONNRESET;
    }
    if (c->server_shut || c->server_told || pipe_ended(&c->in, w->now_ns))
        return 0;
    return 1;
}

static size_t some_of(struct world *w, size_t there, size_t most)
{
    size_t n = there < most ? there : most;
    if (n > 1 && world_happens(w, w->knobs.cut_receive))
        n = 1 + prng_below(&w->prng, n);
    return n;
}

// One completion of a multishot receive; false: nothing more now.
static bool step_recv(struct sim_reactor *s, struct socket *c)
{
    struct world *w = s->world;
    size_t there = pipe_arrived(&c->in, w->now_ns);
    if (there == 0) {
        int32_t ending = recv_ending(s, c);
        if (ending <= 0)
            end_recv(s, c, ending);
        return false;
    }
    int buffer = world_happens(w, w->knobs.no_buffer) ? -ENOBUFS : 0;
    size_t len = some_of(w, there, w->knobs.buffer_size);
    if (buffer == 0)
        buffer = sockets_buffer(s, len);
    if (buffer < 0) {
        s->reactor.stats.buffers_empty++;
        end_recv(s, c, -ENOBUFS);
        return false;
    }
    uint8_t *data = s->buffers[buffer];
    pipe_take(&c->in, data, len);
    s->reactor.stats.recv_bytes += len;
    bool more = !world_happens(w, w->knobs.end_receive);
    struct op *op = c->recv;
    if (!more)
        c->recv = NULL;
    struct completion *done = world_complete(s, op, (int32_t)len, (uint16_t)(COMPLETION_BUFFER | (more ? COMPLETION_MORE : 0)));
    done->buffer = (uint16_t)buffer;
    done->data = data;
    world_trace(w, XXH3_64bits(data, len));
    return more;
}

static bool step_recv_into(struct sim_reactor *s, struct socket *c)
{
    struct world *w = s->world;
    struct op *op = c->recv;
    size_t there = pipe_arrived(&c->in, w->now_ns);
    if (there > 0) {
        size_t len = some_of(w, there, op->len - c->recv_done);
        pipe_take(&c->in, (uint8_t *)op->data + c->recv_done, len);
        c->recv_done += (uint32_t)len;
        s->reactor.stats.recv_bytes += len;
    }
    int32_t ending = there > 0 ? 1 : recv_ending(s, c);
    bool whole = c->recv_done == op->len || (c->recv_done > 0 && (op->flags & OP_ALL) == 0);
    if (whole || ending <= 0)
        end_recv(s, c, c->recv_done > 0 ? (int32_t)c->recv_done : ending);
    return false;
}

static void progress_recv(struct sim_reactor *s, struct socket *c)
{
    struct world *w = s->world;
    if (c->recv_cancel != NULL && (c->recv == NULL || !world_happens(w, w->knobs.hold))) {
        if (c->recv != NULL)
            end_recv(s, c, c->recv->kind == OP_RECV_INTO && c->recv_done > 0 ? (int32_t)c->recv_done : -ECANCELED);
        if (world_happens(w, w->knobs.hold))
            return;
        struct op *cancel = c->recv_cancel;
        c->recv_cancel = NULL;
        world_complete(s, cancel, 0, 0);
        return;
    }
    for (int i = 0; i < RECEIVES_IN_TURN && c->recv != NULL; i++)
        if (!(c->recv->kind == OP_RECV ? step_recv(s, c) : step_recv_into(s, c)))
            return;
}

// ---- sends

// What a send has to send: of OP_SENDV only the first piece, as a kernel may.
static struct slice to_send(const struct op *op)
{
    if (op->kind == OP_SEND)
        return slice_of(op->data, op->len);
    const struct msghdr *m = op->data;
    return slice_of(m->msg_iov[0].iov_base, m->msg_iov[0].iov_len);
}

static uint64_t bytes_hash(const struct op *op)
{
    struct slice bytes = to_send(op);
    return XXH3_64bits(bytes.data, bytes.len);
}

// Of all that a zero-copy send is made of.
static uint64_t pieces_hash(const struct op *op)
{
    const struct msghdr *m = op->data;
    uint64_t hash = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        hash = XXH3_64bits_withSeed(m->msg_iov[i].iov_base, m->msg_iov[i].iov_len, hash);
    return hash;
}

// Sent, but the memory goes on being looked at.
static void lend(struct sim_reactor *s, struct op *op, int32_t result)
{
    struct world *w = s->world;
    assert(s->loan_count < LOANS_MAX);
    uint64_t most = w->knobs.net.spike_ns + 1;
    s->loans[s->loan_count++] = (struct loan){ .op = op, .due_ns = w->now_ns + prng_below(&w->prng, most), .hash = pieces_hash(op) };
    world_complete(s, op, result, COMPLETION_MORE);
}

void sockets_end_loans(struct sim_reactor *s)
{
    struct world *w = s->world;
    for (uint32_t i = 0; i < s->loan_count;) {
        struct loan *l = &s->loans[i];
        if (l->due_ns > w->now_ns) {
            i++;
            continue;
        }
        if (pieces_hash(l->op) != l->hash)
            world_fail(w, "worker %u: memory of a zero-copy send changed before it was given back", s->id);
        world_complete(s, l->op, (int32_t)prng_below(&w->prng, 2), 0);
        *l = s->loans[--s->loan_count];
    }
}

static void end_send(struct sim_reactor *s, struct socket *c, int32_t result)
{
    struct op *op = c->send;
    if (bytes_hash(op) != c->send_hash)
        world_fail(s->world, "worker %u: memory of a send changed while it was in flight", s->id);
    c->send = NULL;
    if (world_strikes(s->world, BUG_LOST_COMPLETION))
        return;
    if ((op->flags & OP_ZEROCOPY) != 0 && (result > 0 || prng_below(&s->world->prng, 2) == 0)) {
        lend(s, op, result);
        return;
    }
    world_complete(s, op, result, 0);
}

int sockets_send_refusal(struct world *w, const struct socket *c)
{
    if (c->server_shut)
        return -EPIPE;
    if (net_is_reset(&w->net, c))
        return c->server_told ? -EPIPE : -ECONNRESET;
    return 0;
}

static void progress_send(struct sim_reactor *s, struct socket *c)
{
    struct world *w = s->world;
    if (c->send == NULL)
        return;
    int refusal = sockets_send_refusal(w, c);
    if (refusal != 0) {
        end_send(s, c, refusal);
        return;
    }
    struct op *op = c->send;
    struct slice bytes = to_send(op);
    size_t want = bytes.len - c->send_done;
    if (want > 1 && world_happens(w, w->knobs.short_send))
        want = 1 + prng_below(&w->prng, want);
    size_t sent = net_send(&w->net, c, bytes.data + c->send_done, want);
    c->send_done += (uint32_t)sent;
    s->reactor.stats.send_bytes += sent;
    if (op->kind == OP_SENDV && sent > 0)
        end_send(s, c, (int32_t)c->send_done);
    else if (c->send_done == bytes.len || world_strikes(w, BUG_EARLY_SEND))
        end_send(s, c, (int32_t)bytes.len);
}

static void send_quietly(struct sim_reactor *s, struct socket *c, struct op *op)
{
    struct world *w = s->world;
    int refusal = sockets_send_refusal(w, c);
    if (refusal != 0) {
        world_complete(s, op, refusal, 0);
        return;
    }
    size_t want = op->len;
    if (world_happens(w, w->knobs.short_send))
        want = prng_below(&w->prng, want);
    size_t sent = net_send(&w->net, c, op->data, want);
    s->reactor.stats.send_bytes += sent;
    if (sent == op->len)
        op->state = OP_IDLE;
    else
        world_complete(s, op, sent == 0 ? -EAGAIN : (int32_t)sent, 0);
}

// ---- what is submitted

void sockets_cancel(struct sim_reactor *s, struct op *op)
{
    struct listener_socket *l = net_listener(&s->world->net, op->target->fd);
    if (l != NULL) {
        l->cancel = op;
        return;
    }
    struct socket *c = net_socket(&s->world->net, op->target->fd);
    assert(c != NULL);
    if (op->target == c->recv && c->recv_cancel == NULL)
        c->recv_cancel = op;
    else
        world_complete(s, op, -ENOENT, 0);
}

void sockets_start(struct sim_reactor *s, struct socket *c, struct op *op)
{
    if ((op->kind == OP_SEND || op->kind == OP_SENDV) && c->send != NULL) {
        world_fail(s->world, "worker %u: two sends of one connection in flight", s->id);
        op->state = OP_IDLE;
    } else if (op->kind == OP_SEND && (op->flags & OP_QUIET) != 0) {
        send_quietly(s, c, op);
    } else if ((op->flags & OP_ZEROCOPY) != 0 && world_happens(s->world, s->world->knobs.short_send)) {
        world_complete(s, op, -ENOBUFS, 0);
    } else if (op->kind == OP_SEND || op->kind == OP_SENDV) {
        c->send = op;
        c->send_done = 0;
        c->send_hash = bytes_hash(op);
    } else {
        assert(c->recv == NULL && (op->kind == OP_RECV || op->len > 0));
        c->recv = op;
        c->recv_done = 0;
    }
}

void sockets_accept(struct sim_reactor *s, struct op *op)
{
    struct listener_socket *l = net_listener(&s->world->net, op->fd);
    assert(l != NULL && l->accept == NULL);
    l->accept = op;
    l->reactor = s;
}

// ---- listeners

static void end_accept(struct sim_reactor *s, struct listener_socket *l, int32_t result)
{
    struct op *op = l->accept;
    l->accept = NULL;
    world_complete(s, op, result, 0);
}

static void progress_listener(struct sim_reactor *s, struct listener_socket *l)
{
    struct world *w = s->world;
    if (l->cancel != NULL) {
        if (l->accept != NULL)
            end_accept(s, l, -ECANCELED);
        struct op *cancel = l->cancel;
        l->cancel = NULL;
        world_complete(s, cancel, 0, 0);
        return;
    }
    while (l->accept != NULL && l->waiting > 0 && !world_happens(w, w->knobs.hold)) {
        if (world_happens(w, w->knobs.accept_error)) {
            bool aborted = prng_below(&w->prng, 2) == 0;
            if (aborted)
                net_abort(&w->net, l);
            end_accept(s, l, aborted ? -ECONNABORTED : -EMFILE);
            return;
        }
        int fd = net_accept(&w->net, l);
        if (world_happens(w, w->knobs.end_accept))
            end_accept(s, l, fd);
        else
            world_complete(s, l->accept, fd, COMPLETION_MORE);
    }
}

// ---- all of them

bool sockets_may_progress(struct world *w, struct socket *c)
{
    if (c->recv_cancel != NULL || net_is_reset(&w->net, c))
        return c->recv != NULL || c->send != NULL || c->recv_cancel != NULL;
    if (c->send != NULL && (c->client_gone || c->server_shut || pipe_room(&c->out) > 0))
        return true;
    return c->recv != NULL && (c->server_shut || c->server_told || pipe_next_ns(&c->in) <= w->now_ns);
}

// Connections in an order of the world's choice: completions of different descriptors owe each other nothing.
void sockets_progress(struct sim_reactor *s)
{
    struct world *w = s->world;
    struct net *n = &w->net;
    int order[SIM_FDS_MAX];
    uint32_t count = 0;
    for (int i = 0; i < SIM_FDS_MAX; i++) {
        if (n->listeners[i] != NULL && n->listeners[i]->reactor == s)
            order[count++] = i;
        else if (n->sockets[i] != NULL && n->sockets[i]->reactor == s && sockets_may_progress(w, n->sockets[i]))
            order[count++] = i;
    }
    while (count > 0) {
        uint32_t pick = (uint32_t)prng_below(&w->prng, count);
        int i = order[pick];
        order[pick] = order[--count];
        if (n->listeners[i] != NULL) {
            progress_listener(s, n->listeners[i]);
        } else if (!world_happens(w, w->knobs.hold)) {
            progress_send(s, n->sockets[i]);
            progress_recv(s, n->sockets[i]);
        }
    }
}
