// SPDX-License-Identifier: Apache-2.0
// The io_uring backend: one turn.
//
//   prepare   the owner's ops (and our own re-arms) become submission entries; returned buffers are told to the kernel
//   enter     once: submits, and runs the kernel's pending work of this ring. Skipped when there is nothing to submit and the
//             kernel says (IORING_SQ_TASKRUN) that there is nothing to run
//   drain     completion entries become completions, until the queue is empty and nothing has overflowed
//   wait      only when nothing came: spin on two words of shared memory, then sleep in enter
//
// Invariant: after a turn no entry is unsubmitted and no completion entry unread, so memory of quiet sends is free again.
#include "reactor/uring.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "reactor/napi.h"
#include "reactor/ticks.h"

// With DEFER_TASKRUN completions come only inside enter; the flag says when it is worth entering.
static bool work_is_waiting(const struct uring *u)
{
    if (uring_has_cqe(u))
        return true;
    return u->setup_flag && (uring_sq_flags(u) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static bool ready(struct reactor *r)
{
    return work_is_waiting(uring_of(r));
}

static void submit_and_take(struct uring *u)
{
    if (uring_unsubmitted(u) > 0 || (u->setup_flag && (uring_sq_flags(u) & IORING_SQ_TASKRUN)))
        (void)uring_enter(u, 0);
    uring_drain(u);
}

// Sleeps until something completes, somebody wakes us, or time is up. The first enter submits what the turn has prepared;
// what our own re-arms need is submitted by the ones after it.
static void sleep_until(struct uring *u, uint64_t deadline_ns)
{
    struct reactor *r = &u->reactor;
    u->woken = false;
    for (uint64_t now = r->now_ns; now < deadline_ns && u->done.count == 0 && !u->woken; now = clock_now_ns()) {
        if (!wait_lie_down(r))
            break;
        int result = uring_enter(u, deadline_ns - now);
        wait_get_up(r);
        uring_drain(u);
        if (result == -EINTR)
            break;
        uring_prepare(u);
        uring_buffers_publish(u);
    }
    if (uring_unsubmitted(u) > 0)
        submit_and_take(u);
}

// Where completions appear only inside enter, the kernel's flag says when to go there; else they are simply seen.
static void poll_busily(struct uring *u, uint64_t deadline_ns)
{
    struct reactor *r = &u->reactor;
    do {
        uring_prepare(u);
        if (uring_unsubmitted(u) > 0 || work_is_waiting(u))
            submit_and_take(u);
    } while (u->done.count == 0 && !wait_pending(r) && clock_now_ns() < deadline_ns);
}

static void wait(struct uring *u, uint64_t wait_ns, bool spin)
{
    struct reactor *r = &u->reactor;
    uint64_t start = wait_begin(r);
    if (u->busy_poll) {
        poll_busily(u, start + wait_ns);
        return;
    }
    uring_prepare(u);
    if (spin) {
        submit_and_take(u);
        if (u->done.count > 0)
            return;
        if (wait_spin(&u->wait, r, start, wait_ns, ready)) {
            submit_and_take(u);
            return;
        }
    }
    sleep_until(u, start + wait_ns);
}

static uint32_t uring_turn(struct reactor *r, uint64_t wait_ns, const struct completion **out)
{
    struct uring *u = uring_of(r);
    u->done.count = 0;
    uring_buffers_publish(u);
    uring_prepare(u);
    bool may_wait = wait_ns > 0 && u->done.count == 0;
    bool spin = may_wait && !u->busy_poll && wait_wants_spin(&u->wait);
    // Without a spin before it, submitting and sleeping are one system call.
    if (!may_wait || spin || u->busy_poll || work_is_waiting(u))
        submit_and_take(u);
    bool waits = may_wait && u->done.count == 0;
    if (waits)
        wait(u, wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS, spin);
    wait_turn_end(&u->wait, r, waits);
    *out = u->done.items;
    return u->done.count;
}

static int uring_register_buffers(struct reactor *r, const struct slice *buffers, uint32_t count)
{
    struct uring *u = uring_of(r);
    if (!(r->features & REACTOR_FIXED_BUFFERS))
        return -EOPNOTSUPP;
    if (count == 0)
        return io_uring_unregister_buffers(&u->ring);
    struct iovec *v = malloc(count * sizeof *v);
    if (v == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        v[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)buffers[i].data, .iov_len = buffers[i].len };
    int err = io_uring_register_buffers(&u->ring, v, count);
    free(v);
    if (err < 0)
        r->features &= ~(uint32_t)REACTOR_FIXED_BUFFERS;
    return err;
}

static void uring_close_fd(struct reactor *r, int fd)
{
    r->stats.syscalls++;
    close(fd);
}

static struct reactor *uring_free(struct reactor *r)
{
    struct uring *u = uring_of(r);
    uring_ring_close(u);
    uring_buffers_close(u);
    completions_deinit(&u->done);
    wait_close(r);
    free(u);
    return NULL;
}

// Registered files belong to the ring, and the ring to its requests: the last of both closes them.
static int uring_hold(struct reactor *r, int fd)
{
    return io_uring_register_files(&uring_of(r)->ring, &fd, 1);
}

static const struct reactor_ops URING_OPS = {
    .name = "io_uring",
    .turn = uring_turn,
    .buffer_return = uring_buffer_return,
    .wake = wait_wake,
    .register_buffers = uring_register_buffers,
    .close_fd = uring_close_fd,
    .free = uring_free,
    .hold = uring_hold,
};

static int open_parts(struct uring *u, const struct reactor_options *options, const char **why)
{
    int err = uring_ring_open(u, options, why);
    if (err < 0)
        return err;
    err = uring_buffers_open(u, options);
    if (err < 0) {
        *why = "no memory for receive buffers";
        goto close_ring;
    }
    err = wait_open(&u->wait, &u->reactor, options->spin_us);
    if (err < 0) {
        *why = "no descriptor to be woken by (raise the limit of open files)";
        goto close_ring;
    }
    err = completions_init(&u->done, 256);
    if (err < 0) {
        *why = "out of memory";
        goto close_wait;
    }
    uring_trial(u);
    u->busy_poll = options->busy_poll;
    if (u->busy_poll)
        (void)!napi_poll_uring(u->ring.ring_fd);
    return 0;

close_wait:
    wait_close(&u->reactor);
close_ring:
    uring_ring_close(u);
    uring_buffers_close(u);
    return err;
}

int uring_open(struct reactor **out, const struct reactor_options *options, const char **why)
{
    struct uring *u = calloc(1, sizeof *u);
    if (u == NULL)
        return -ENOMEM;
    reactor_init(&u->reactor, &URING_OPS, REACTOR_URING);
    op_queue_init(&u->again);
    op_queue_init(&u->starved);
    int err = open_parts(u, options, why);
    if (err < 0) {
        free(u);
        return err;
    }
    ticks_open(&u->reactor);
    u->reactor.now_ns = clock_now_ns();
    u->reactor.wall_ms = clock_wall_ms();
    *out = &u->reactor;
    return 0;
}
