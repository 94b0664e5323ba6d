// SPDX-License-Identifier: Apache-2.0
// Chooses a backend; the rest is one indirect call.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/backend.h"
#include "reactor/memory.h"

static _Thread_local char why_text[192];

static int open_auto(struct reactor **out, const struct reactor_options *options, const char **why)
{
    const char *refusal = "the kernel has what it takes";
    int err = uring_open(out, options, &refusal);
    if (err == 0) {
        *why = refusal;
        return 0;
    }
    err = epoll_open(out, options, why);
    if (err == 0) {
        snprintf(why_text, sizeof why_text, "%s", refusal);
        *why = why_text;
    }
    return err;
}

int reactor_open(struct reactor **out, const struct reactor_options *given, const char **why)
{
    struct reactor_options options = *given;
    if (options.memory == NULL)
        options.memory = memory_system(-1, MEMORY_HUGE_OFF);
    *why = "out of memory";
    switch (options.backend) {
    case REACTOR_URING:
        *why = "asked for";
        return uring_open(out, &options, why);
    case REACTOR_EPOLL:
        *why = "asked for";
        return epoll_open(out, &options, why);
    case REACTOR_BLOCKING:
        *why = "asked for";
        return blocking_open(out, &options, why);
    case REACTOR_AUTO:
        return open_auto(out, &options, why);
    }
    return -EINVAL;
}

struct reactor *reactor_close_all(struct reactor *r)
{
    if (r == NULL)
        return NULL;
    if (r->held_fd >= 0)
        close(r->held_fd);
    return r->ops->free(r);
}

uint32_t reactor_turn(struct reactor *r, uint64_t wait_ns, const struct completion **out)
{
    return r->ops->turn(r, wait_ns, out);
}

void reactor_buffer_return(struct reactor *r, uint16_t buffer)
{
    r->ops->buffer_return(r, buffer);
}

void reactor_wake_asleep(struct reactor *target, struct reactor *from)
{
    target->ops->wake(target, from);
}

int reactor_register_buffers(struct reactor *r, const struct slice *buffers, uint32_t count)
{
    return r->ops->register_buffers(r, buffers, count);
}

int reactor_hold(struct reactor *r, int fd)
{
    if (r->ops->hold != NULL)
        return r->ops->hold(r, fd);
    assert(r->held_fd < 0);
    r->held_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return r->held_fd < 0 ? -errno : 0;
}

void reactor_close(struct reactor *r, int fd)
{
    r->ops->close_fd(r, fd);
}
