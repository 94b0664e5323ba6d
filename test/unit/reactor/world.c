// SPDX-License-Identifier: Apache-2.0
#include "test/unit/reactor/world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "reactor/clock.h"
#include "reactor/feature_names.h"
#include "reactor/net.h"

struct world world;

static const char *variant(void)
{
    const char *name = getenv("REACTOR_TEST");
    return name == NULL ? "uring" : name;
}

bool world_is_uring(void)
{
    return strncmp(variant(), "uring", 5) == 0;
}

bool world_is_blocking(void)
{
    return strcmp(variant(), "blocking") == 0;
}

// What comes behind "uring-": "busy", or what it goes without. Fixed buffers have no name of their own: no program registers any.
static uint32_t without(const char *names)
{
    struct slice unknown;
    uint32_t features;
    if (strcmp(names, "fixed-buffers") == 0)
        return REACTOR_FIXED_BUFFERS;
    if (feature_names_parse(slice_cstr(names), &features, &unknown) == 0)
        return features;
    printf("REACTOR_TEST: no feature %s\n", names);
    exit(1);
}

struct reactor_options world_options(void)
{
    struct reactor_options o = { .features = REACTOR_FEATURES_ALL, .cpu = -1 };
    o.backend = world_is_uring() ? REACTOR_URING : world_is_blocking() ? REACTOR_BLOCKING : REACTOR_EPOLL;
    const char *detail = strchr(variant(), '-');
    o.spin_us = 5;
    o.busy_poll = detail != NULL && strcmp(detail, "-busy") == 0;
    if (detail != NULL && !o.busy_poll)
        o.features &= ~without(detail + 1);
    return o;
}

bool world_has(enum reactor_feature feature)
{
    return (world.r->features & (uint32_t)feature) != 0;
}

void world_open(struct reactor_options options)
{
    const char *why = NULL;
    int err = reactor_open(&world.r, &options, &why);
    if (err < 0) {
        printf("cannot open the reactor: %s\n", why);
        exit(1);
    }
    world.hold_buffers = false;
    world_forget();
}

void world_close(void)
{
    world.r = reactor_close_all(world.r);
}

void world_forget(void)
{
    world.count = 0;
    world.byte_count = 0;
}

static void remember(const struct completion *c)
{
    if (world.count < SEEN_MAX)
        world.seen[world.count++] = (struct seen){ c->op, c->result, c->flags, c->buffer };
    if (!(c->flags & COMPLETION_BUFFER))
        return;
    check(c->result > 0);
    if (world.byte_count + (uint32_t)c->result <= BYTES_MAX)
        memcpy(world.bytes + world.byte_count, c->data, (size_t)c->result);
    world.byte_count += (uint32_t)c->result;
    if (!world.hold_buffers)
        reactor_buffer_return(world.r, c->buffer);
}

uint32_t world_turn(uint64_t wait_ms)
{
    const struct completion *done;
    uint32_t n = reactor_turn(world.r, wait_ms * NS_PER_MS, &done);
    for (uint32_t i = 0; i < n; i++)
        remember(&done[i]);
    return n;
}

void world_until(uint32_t count)
{
    uint64_t end = clock_now_ns() + PATIENCE_NS;
    while (world.count < count && clock_now_ns() < end)
        world_turn(100);
    check(world.count >= count);
}

void world_until_bytes(uint32_t bytes)
{
    uint64_t end = clock_now_ns() + PATIENCE_NS;
    while (world.byte_count < bytes && clock_now_ns() < end)
        world_turn(100);
    check_equal(world.byte_count, bytes);
}

void world_until_idle(const struct op *op)
{
    uint64_t end = clock_now_ns() + PATIENCE_NS;
    while (op->state != OP_IDLE && clock_now_ns() < end)
        world_turn(100);
    check_equal(op->state, OP_IDLE);
}

const struct seen *world_last(const struct op *op)
{
    for (uint32_t i = world.count; i > 0; i--)
        if (world.seen[i - 1].op == op)
            return &world.seen[i - 1];
    static const struct seen NONE = { .result = INT32_MIN };
    return &NONE;
}

uint32_t world_count_of(const struct op *op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < world.count; i++)
        n += world.seen[i].op == op;
    return n;
}

void world_cancel(struct op *op)
{
    static struct op cancel;
    cancel = (struct op){ .kind = OP_CANCEL, .target = op };
    reactor_submit(world.r, &cancel);
    world_until_idle(&cancel);
    world_until_idle(op);
}

struct pair pair_open(void)
{
    int listener = net_listen_tcp("127.0.0.1", 0, 16, false);
    struct pair p;
    p.client = net_connect_tcp("127.0.0.1", net_port(listener));
    int flags;
    p.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    flags = fcntl(p.server, F_GETFL);
    fcntl(p.server, F_SETFL, flags | O_NONBLOCK);
    close(listener);
    check(p.client >= 0 && p.server >= 0);
    return p;
}

struct pair pair_open_local(void)
{
    int fds[2] = { -1, -1 };
    check_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    return (struct pair){ .server = fds[0], .client = fds[1] };
}

void pair_close(struct pair *p)
{
    if (p->server >= 0)
        reactor_close(world.r, p->server);
    if (p->client >= 0)
        close(p->client);
}
