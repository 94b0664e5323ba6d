// SPDX-License-Identifier: Apache-2.0
#include "test/sim/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "reactor/clock.h"
#include "test/sim/inside.h"

#define RECEIVES_IN_TURN 4 // of one connection

// ---- the world's own

static const char *const BUG_NAMES[BUG_COUNT] = {
    [BUG_NONE] = "none",
    [BUG_LOST_WAKE] = "lost-wake",
    [BUG_SWAPPED_RECEIVES] = "swapped-receives",
    [BUG_LOST_BYTE] = "lost-byte",
    [BUG_DOUBLE_COMPLETION] = "double-completion",
    [BUG_LOST_COMPLETION] = "lost-completion",
    [BUG_EARLY_SEND] = "early-send",
    [BUG_REUSED_BUFFER] = "reused-buffer",
    [BUG_SLOW_CLOCK] = "slow-clock",
    [BUG_UNSEEDED] = "unseeded",
};

const char *world_bug_name(enum world_bug bug)
{
    return BUG_NAMES[bug];
}

void world_init(struct world *w, const struct world_knobs *knobs, uint64_t seed)
{
    *w = (struct world){ .now_ns = NS_PER_SEC, .wall_start_ms = 1700000000000, .knobs = *knobs };
    prng_init(&w->prng, seed);
    net_init(&w->net, &w->now_ns, &knobs->net, prng_next(&w->prng));
}

void world_deinit(struct world *w)
{
    net_deinit(&w->net);
}

int64_t world_wall_ms(const struct world *w)
{
    return w->wall_start_ms + (int64_t)(w->now_ns / NS_PER_MS);
}

void world_calm(struct world *w)
{
    w->calm = true;
    w->net.knobs.spike_permille = 0;
}

void world_fail(struct world *w, const char *format, ...)
{
    if (w->failure[0] != '\0')
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(w->failure, sizeof w->failure, format, args);
    va_end(args);
}

void world_trace(struct world *w, uint64_t value)
{
    w->trace = (w->trace ^ value) * 0x9e3779b97f4a7c15u;
    w->trace ^= w->trace >> 29;
}

void world_plant(struct world *w, enum world_bug bug, uint64_t occasions)
{
    w->bug = bug;
    w->bug_in = occasions;
    if (bug == BUG_LOST_BYTE)
        w->net.lose_byte_in = (int)occasions;
}

// True once: at the occasion that was drawn.
static bool strikes(struct world *w, enum world_bug bug)
{
    if (likely(w->bug != bug) || w->bug_struck || --w->bug_in > 0)
        return false;
    w->bug_struck = true;
    return true;
}

bool world_happens(struct world *w, uint32_t permille)
{
    return permille > 0 && !w->calm && prng_below(&w->prng, 1000) < permille;
}

// ---- completions

struct completion *world_complete(struct sim_reactor *s, struct op *op, int32_t result, uint16_t flags)
{
    assert(s->count < COMPLETIONS_MAX);
    if ((flags & COMPLETION_MORE) == 0)
        op->state = OP_IDLE;
    struct completion *done = &s->items[s->count++];
    *done = (struct completion){ .op = op, .result = result, .flags = flags };
    s->reactor.stats.completions++;
    world_trace(s->world, (uint64_t)s->id << 56 ^ (uint64_t)op->kind << 48 ^ (uint64_t)flags << 40 ^ (uint32_t)result);
    world_trace(s->world, s->world->now_ns ^ (uint64_t)(uint32_t)op->fd << 40);
    return done;
}

static int buffer_take(struct sim_reactor *s, size_t len)
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

static void buffer_return(struct reactor *r, uint16_t buffer)
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
        buffer = buffer_take(s, len);
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

static void progress_loans(struct sim_reactor *s)
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
    if (strikes(s->world, BUG_LOST_COMPLETION))
        return;
    if ((op->flags & OP_ZEROCOPY) != 0 && (result > 0 || prng_below(&s->world->prng, 2) == 0)) {
        lend(s, op, result);
        return;
    }
    world_complete(s, op, result, 0);
}

static int send_refusal(struct world *w, const struct socket *c)
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
    int refusal = send_refusal(w, c);
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
    else if (c->send_done == bytes.len || strikes(w, BUG_EARLY_SEND))
        end_send(s, c, (int32_t)bytes.len);
}

// ---- what is submitted

static void send_quietly(struct sim_reactor *s, struct socket *c, struct op *op)
{
    struct world *w = s->world;
    int refusal = send_refusal(w, c);
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

static void start_cancel(struct sim_reactor *s, struct op *op)
{
    if (sim_disk_owns(op->target->fd)) {
        files_cancel(s, op);
        return;
    }
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

static void start_on_socket(struct sim_reactor *s, struct socket *c, struct op *op)
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

static bool is_file_op(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_WRITE || op->kind == OP_FSYNC;
}

// `linked`: the one submitted before it has OP_LINK.
static void start(struct sim_reactor *s, struct op *op, bool linked)
{
    op->state = OP_IN_FLIGHT;
    s->reactor.stats.ops++;
    struct net *n = &s->world->net;
    if (is_file_op(op)) {
        files_start(s, op, linked);
    } else if (op->kind == OP_CANCEL) {
        start_cancel(s, op);
    } else if (op->kind == OP_ACCEPT) {
        struct listener_socket *l = net_listener(n, op->fd);
        assert(l != NULL && l->accept == NULL);
        l->accept = op;
        l->reactor = s;
    } else {
        assert(op->kind == OP_RECV || op->kind == OP_RECV_INTO || op->kind == OP_SEND || op->kind == OP_SENDV);
        struct socket *c = net_socket(n, op->fd);
        if (c != NULL && c->reactor == s)
            start_on_socket(s, c, op);
        else
            world_fail(s->world, "worker %u: op %u on descriptor %d, which is not its own", s->id, op->kind, op->fd);
    }
}

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

// ---- the turn

static bool may_progress(struct world *w, struct socket *c)
{
    if (c->recv_cancel != NULL || net_is_reset(&w->net, c))
        return c->recv != NULL || c->send != NULL || c->recv_cancel != NULL;
    if (c->send != NULL && (c->client_gone || c->server_shut || pipe_room(&c->out) > 0))
        return true;
    return c->recv != NULL && (c->server_shut || c->server_told || pipe_next_ns(&c->in) <= w->now_ns);
}

// Connections in an order of the world's choice: completions of different descriptors owe each other nothing.
static void progress(struct sim_reactor *s)
{
    struct world *w = s->world;
    struct net *n = &w->net;
    int order[SIM_FDS_MAX];
    uint32_t count = 0;
    for (int i = 0; i < SIM_FDS_MAX; i++) {
        if (n->listeners[i] != NULL && n->listeners[i]->reactor == s)
            order[count++] = i;
        else if (n->sockets[i] != NULL && n->sockets[i]->reactor == s && may_progress(w, n->sockets[i]))
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

// Planted faults that need the whole array.
static void misbehave(struct sim_reactor *s)
{
    struct world *w = s->world;
    for (uint32_t i = 0; i + 1 < s->count; i++) {
        struct completion *a = &s->items[i], *b = a + 1;
        bool pair = a->op == b->op && (a->flags & b->flags & COMPLETION_BUFFER) != 0;
        if (pair && strikes(w, BUG_SWAPPED_RECEIVES)) {
            struct completion swapped = *a;
            a->data = b->data, a->result = b->result, a->buffer = b->buffer;
            b->data = swapped.data, b->result = swapped.result, b->buffer = swapped.buffer;
        }
        if (pair && a->result >= b->result && strikes(w, BUG_REUSED_BUFFER))
            memcpy(s->buffers[a->buffer], b->data, (size_t)b->result);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct completion done = s->items[i];
        if ((done.flags & COMPLETION_BUFFER) == 0 || !strikes(w, BUG_DOUBLE_COMPLETION))
            continue;
        int buffer = buffer_take(s, (size_t)done.result);
        if (buffer < 0)
            continue;
        memcpy(s->buffers[buffer], done.data, (size_t)done.result);
        done.data = s->buffers[buffer];
        done.buffer = (uint16_t)buffer;
        s->items[s->count++] = done;
    }
}

static bool has_work(const struct reactor *r)
{
    return r->pending != NULL && r->pending(r->pending_context);
}

static uint32_t turn(struct reactor *r, uint64_t wait_ns, const struct completion **out)
{
    struct sim_reactor *s = (struct sim_reactor *)r;
    struct world *w = s->world;
    s->count = 0;
    bool linked = false;
    for (struct op *op = reactor_take_submitted(r), *next; op != NULL; op = next) {
        next = op->next;
        bool links = is_file_op(op) && (op->flags & OP_LINK) != 0;
        start(s, op, linked);
        linked = links;
    }
    progress_loans(s);
    progress(s);
    files_progress(s);
    if (unlikely(w->bug != BUG_NONE))
        misbehave(s);
    *out = s->items;
    if (s->count == 0 && wait_ns > 0 && !s->sleeping && !has_work(r)) {
        s->sleeping = true;
        s->sleep_until_ns = w->now_ns + wait_ns;
        s->wake_ns = NEVER;
        atomic_store_explicit(&r->asleep, 1, memory_order_relaxed);
        r->stats.sleeps++;
        return 0;
    }
    s->sleeping = false;
    atomic_store_explicit(&r->asleep, 0, memory_order_relaxed);
    r->now_ns = w->now_ns;
    r->wall_ms = world_wall_ms(w);
    if (w->bug == BUG_SLOW_CLOCK && s->id == 0)
        r->wall_ms -= (int64_t)(w->now_ns / NS_PER_MS / 2);
    r->stats.turns++;
    r->stats.enters++;
    return s->count;
}

static void wake(struct reactor *target, struct reactor *from)
{
    struct sim_reactor *s = (struct sim_reactor *)target;
    struct world *w = s->world;
    if (!s->sleeping || s->wake_ns != NEVER)
        return;
    atomic_store_explicit(&target->asleep, 0, memory_order_relaxed);
    if (strikes(w, BUG_LOST_WAKE))
        return;
    s->wake_ns = w->now_ns + (w->knobs.wake_delay_ns > 0 && !w->calm ? prng_below(&w->prng, w->knobs.wake_delay_ns) : 0);
    if (from != NULL)
        from->stats.wakes_sent++;
}

bool world_awake(struct world *w, uint32_t reactor)
{
    return world_awake_ns(w, reactor) <= w->now_ns;
}

uint64_t world_awake_ns(struct world *w, uint32_t reactor)
{
    struct sim_reactor *s = w->reactors[reactor];
    if (!s->sleeping)
        return 0;
    uint64_t until = s->sleep_until_ns < s->wake_ns ? s->sleep_until_ns : s->wake_ns;
    uint64_t file = files_next_ns(s);
    until = file < until ? file : until;
    for (uint32_t i = 0; i < s->loan_count; i++)
        until = s->loans[i].due_ns < until ? s->loans[i].due_ns : until;
    for (int i = 0; i < SIM_FDS_MAX; i++) {
        struct socket *c = w->net.sockets[i];
        struct listener_socket *l = w->net.listeners[i];
        if (l != NULL && l->reactor == s && (l->cancel != NULL || (l->accept != NULL && l->waiting > 0)))
            return 0;
        if (c == NULL || c->reactor != s)
            continue;
        if (may_progress(w, c))
            return 0;
        uint64_t next = c->recv != NULL ? pipe_next_ns(&c->in) : NEVER;
        if ((c->recv != NULL || c->send != NULL) && c->reset_ns < next)
            next = c->reset_ns;
        if (next < until)
            until = next;
    }
    return until;
}

void world_check_sleepers(struct world *w)
{
    for (uint32_t i = 0; i < w->reactor_count; i++) {
        struct sim_reactor *s = w->reactors[i];
        if (s != NULL && s->sleeping && s->wake_ns == NEVER && has_work(&s->reactor))
            world_fail(w, "worker %u sleeps on work that nobody woke it for", i);
    }
}

// ---- the rest of the seam

static int register_buffers(struct reactor *r, const struct slice *buffers, uint32_t count)
{
    return -ENOSYS;
}

static void close_fd(struct reactor *r, int fd)
{
    struct sim_reactor *s = (struct sim_reactor *)r;
    struct socket *c = net_socket(&s->world->net, fd);
    struct listener_socket *l = net_listener(&s->world->net, fd);
    if (c == NULL && l == NULL) {
        world_fail(s->world, "worker %u closed descriptor %d, which is not open", s->id, fd);
        return;
    }
    if (c != NULL && (c->recv != NULL || c->send != NULL || c->recv_cancel != NULL))
        world_fail(s->world, "worker %u closed a connection with an op in flight", s->id);
    net_close(&s->world->net, fd);
}

static struct reactor *reactor_free(struct reactor *r)
{
    struct sim_reactor *s = (struct sim_reactor *)r;
    for (uint32_t i = 0; i < s->world->knobs.buffers; i++)
        if (s->buffers[i] != NULL)
            world_fail(s->world, "worker %u did not return buffer %u", s->id, i);
    for (uint32_t i = 0; i < s->world->knobs.buffers; i++)
        free(s->buffers[i]);
    if (s->file_count > 0)
        world_fail(s->world, "worker %u leaves file ops in flight", s->id);
    free(s->buffers);
    s->world->reactors[s->id] = NULL;
    free(s);
    return NULL;
}

static void shutdown_fd(struct reactor *r, int fd)
{
    struct sim_reactor *s = (struct sim_reactor *)r;
    struct socket *c = net_socket(&s->world->net, fd);
    if (c != NULL)
        net_shutdown(&s->world->net, c);
    else
        world_fail(s->world, "worker %u shut down descriptor %d, which is not a connection", s->id, fd);
}

static void send_now(struct reactor *r, int fd, struct slice bytes)
{
    struct sim_reactor *s = (struct sim_reactor *)r;
    struct socket *c = net_socket(&s->world->net, fd);
    if (c != NULL && send_refusal(s->world, c) == 0)
        (void)net_send(&s->world->net, c, bytes.data, bytes.len);
}

static void names(struct reactor *r, int fd, char *peer, char *own, size_t size)
{
    struct sim_reactor *s = (struct sim_reactor *)r;
    struct socket *c = net_socket(&s->world->net, fd);
    snprintf(peer, size, "10.0.0.1:%u", c != NULL ? 1024 + c->number % 60000 : 0);
    snprintf(own, size, "10.0.0.2:6380");
}

static int hold(struct reactor *r, int fd)
{
    return 0;
}

static const struct reactor_ops SIM_OPS = {
    .name = "simulation",
    .turn = turn,
    .buffer_return = buffer_return,
    .wake = wake,
    .register_buffers = register_buffers,
    .close_fd = close_fd,
    .free = reactor_free,
    .shutdown_fd = shutdown_fd,
    .send_now = send_now,
    .names = names,
    .hold = hold,
};

struct reactor *world_reactor_new(struct world *w)
{
    uint32_t id = 0;
    while (id < w->reactor_count && w->reactors[id] != NULL)
        id++;
    assert(id < WORLD_REACTORS_MAX);
    struct sim_reactor *s = calloc(1, sizeof *s);
    assert(s != NULL);
    reactor_init(&s->reactor, &SIM_OPS, REACTOR_AUTO);
    s->reactor.features = REACTOR_ZEROCOPY_SEND;
    s->reactor.now_ns = w->now_ns;
    s->reactor.wall_ms = world_wall_ms(w);
    s->world = w;
    s->id = id;
    s->wake_ns = NEVER;
    s->buffers = calloc(w->knobs.buffers, sizeof *s->buffers);
    assert(s->buffers != NULL);
    w->reactors[id] = s;
    w->reactor_count = id < w->reactor_count ? w->reactor_count : id + 1;
    return &s->reactor;
}
