// SPDX-License-Identifier: Apache-2.0
// The epoll backend's own parts; who uses reactors wants reactor.h.
#pragma once

#include <sys/epoll.h>

#include "reactor/backend.h"
#include "reactor/completions.h"
#include "reactor/epoll_files.h"
#include "reactor/op_queue.h"
#include "reactor/pool.h"
#include "reactor/wait.h"

#define EPOLL_EVENTS_MAX 64 // a turn's share; the rest stays ready and comes with the next turn

// What is going on with one descriptor; indexed by it.
struct epoll_slot {
    struct op *in;   // waits for bytes, connections or readiness
    struct op *out;  // waits for room, or for its connection
    uint32_t events; // registered with the kernel
};

struct epoll {
    struct reactor reactor;
    int fd;
    int event_count; // in `events`, not yet handled
    struct epoll_event events[EPOLL_EVENTS_MAX];
    struct epoll_slot *slots;
    uint32_t slot_count;
    bool woken;
    bool busy_poll;
    bool no_pwait2; // kernel before 5.11: whole milliseconds
    struct completions done;
    struct op_queue starved; // receives waiting for a buffer
    struct pool pool;
    struct epoll_files files;
    struct wait wait;
};

// op->backend while in flight: the low half counts bytes of a send or receive that are through.
#define EPOLL_STARVED (UINT64_C(1) << 32)

static inline struct epoll *epoll_of(struct reactor *r)
{
    return (struct epoll *)(void *)r;
}

// epoll_ops.c
// Starts everything that was submitted.
void epoll_start_submitted(struct epoll *e);
// Goes on with whatever the event allows.
void epoll_handle(struct epoll *e, const struct epoll_event *event);
void epoll_finish(struct epoll *e, struct op *op, int32_t result);
void epoll_buffer_return(struct reactor *r, uint16_t buffer);
