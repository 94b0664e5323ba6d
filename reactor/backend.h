// SPDX-License-Identifier: Apache-2.0
// What a backend provides (reactor/uring.c, reactor/epoll.c, reactor/blocking.c, test/sim/world.c). See reactor.h for the rules it must
// keep.
#pragma once

#include "reactor/reactor.h"

struct reactor_ops {
    const char *name;
    uint32_t (*turn)(struct reactor *r, uint64_t wait_ns, const struct completion **out);
    void (*buffer_return)(struct reactor *r, uint16_t buffer);
    void (*wake)(struct reactor *target, struct reactor *from);
    int (*register_buffers)(struct reactor *r, const struct slice *buffers, uint32_t count);
    void (*close_fd)(struct reactor *r, int fd);
    struct reactor *(*free)(struct reactor *r);
    // NULL where descriptors are real sockets (reactor/socket.c does it).
    void (*shutdown_fd)(struct reactor *r, int fd);
    void (*send_now)(struct reactor *r, int fd, struct slice bytes);
    void (*names)(struct reactor *r, int fd, char *peer, char *own, size_t size);
    // NULL where no op outlives the process: a second descriptor does it.
    int (*hold)(struct reactor *r, int fd);
};

int uring_open(struct reactor **out, const struct reactor_options *options, const char **why) warn_unused;
int epoll_open(struct reactor **out, const struct reactor_options *options, const char **why) warn_unused;
int blocking_open(struct reactor **out, const struct reactor_options *options, const char **why) warn_unused;

// Takes the submitted list; the caller walks it by op->next.
static inline struct op *reactor_take_submitted(struct reactor *r)
{
    struct op *first = r->head;
    r->head = NULL;
    r->tail = &r->head;
    return first;
}

static inline void reactor_init(struct reactor *r, const struct reactor_ops *ops, enum reactor_backend backend)
{
    *r = (struct reactor){ .ops = ops, .backend = backend, .wake_fd = -1, .held_fd = -1 };
    r->tail = &r->head;
}
