// SPDX-License-Identifier: Apache-2.0
#include "test/sim/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/clock.h"
#include "test/sim/inside.h"

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

bool world_strikes(struct world *w, enum world_bug bug)
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

static bool is_file_op(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_WRITE || op->kind == OP_FSYNC;
}

// `linked`: the one submitted before it has OP_LINK.
static void start(struct sim_reactor *s, struct op *op, bool linked)
{
    op->state = OP_IN_FLIGHT;
    s->reactor.stats.ops++;
    if (is_file_op(op)) {
        files_start(s, op, linked);
    } else if (op->kind == OP_CANCEL && sim_disk_owns(op->target->fd)) {
        files_cancel(s, op);
    } else if (op->kind == OP_CANCEL) {
        sockets_cancel(s, op);
    } else if (op->kind == OP_ACCEPT) {
        sockets_accept(s, op);
    } else {
        assert(op->kind == OP_RECV || op->kind == OP_RECV_INTO || op->kind == OP_SEND || op->kind == OP_SENDV);
        struct socket *c = net_socket(&s->world->net, op->fd);
        if (c != NULL && c->reactor == s)
            sockets_start(s, c, op);
        else
            world_fail(s->world, "worker %u: op %u on descriptor %d, which is not its own", s->id, op->kind, op->fd);
    }
}

// ---- the turn

// Planted faults that need the whole array.
static void misbehave(struct sim_reactor *s)
{
    struct world *w = s->world;
    for (uint32_t i = 0; i + 1 < s->count; i++) {
        struct completion *a = &s->items[i], *b = a + 1;
        bool pair = a->op == b->op && (a->flags & b->flags & COMPLETION_BUFFER) != 0;
        if (pair && world_strikes(w, BUG_SWAPPED_RECEIVES)) {
            struct completion swapped = *a;
            a->data = b->data, a->result = b->result, a->buffer = b->buffer;
            b->data = swapped.data, b->result = swapped.result, b->buffer = swapped.buffer;
        }
        if (pair && a->result >= b->result && world_strikes(w, BUG_REUSED_BUFFER))
            memcpy(s->buffers[a->buffer], b->data, (size_t)b->result);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct completion done = s->items[i];
        if ((done.flags & COMPLETION_BUFFER) == 0 || !world_strikes(w, BUG_DOUBLE_COMPLETION))
            continue;
        int buffer = sockets_buffer(s, (size_t)done.result);
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
    sockets_end_loans(s);
    sockets_progress(s);
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
    if (world_strikes(w, BUG_LOST_WAKE))
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
        if (sockets_may_progress(w, c))
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
    if (c != NULL && sockets_send_refusal(s->world, c) == 0)
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
    .buffer_return = sockets_buffer_return,
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
