// SPDX-License-Identifier: Apache-2.0
// Making the ring, and the one system call that drives it.
//
// Flags, best first; each step down is taken when the kernel answers -EINVAL:
//   SINGLE_ISSUER + DEFER_TASKRUN + TASKRUN_FLAG   6.1   completions appear when we enter, never by interrupting us
//   COOP_TASKRUN + TASKRUN_FLAG                    5.19  no interrupts between processors
//   none                                                 loses to epoll, but works
// Sizes are halved while memory is refused (memlock of unprivileged users).
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "reactor/probe.h"
#include "reactor/uring.h"

#define RING_ENTRIES_DEFAULT     1024
#define RING_COMPLETIONS_DEFAULT 8192
#define RING_ENTRIES_MIN         8
#define ENTER_TRIES_MAX          1000000

static const uint32_t SETUP_STEPS[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_SUBMIT_ALL,
    0,
};

static int setup(struct uring *u, uint32_t flags, uint32_t entries, uint32_t completions)
{
    struct io_uring_params p = { .flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = completions };
    int err = io_uring_queue_init_params(entries, &u->ring, &p);
    if (err < 0)
        return err;
    u->setup_defer = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    u->setup_coop = (flags & IORING_SETUP_COOP_TASKRUN) != 0;
    u->setup_flag = (flags & IORING_SETUP_TASKRUN_FLAG) != 0;
    u->skip_success = (p.features & IORING_FEAT_CQE_SKIP) != 0;
    if ((p.features & (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG)) == (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG))
        return 0;
    io_uring_queue_exit(&u->ring);
    return -ENOSYS;
}

static int setup_any_flags(struct uring *u, uint32_t features, uint32_t entries, uint32_t completions)
{
    int err = -EINVAL;
    uint32_t unwanted = 0;
    unwanted |= features & REACTOR_DEFER_TASKRUN ? 0 : IORING_SETUP_DEFER_TASKRUN;
    unwanted |= features & REACTOR_COOP_TASKRUN ? 0 : IORING_SETUP_COOP_TASKRUN;
    for (size_t i = 0; i < sizeof SETUP_STEPS / sizeof *SETUP_STEPS && err == -EINVAL; i++)
        if (!(SETUP_STEPS[i] & unwanted))
            err = setup(u, SETUP_STEPS[i], entries, completions);
    return err;
}

static int setup_any_size(struct uring *u, const struct reactor_options *o, const char **note)
{
    static _Thread_local char text[128];
    uint32_t entries = o->entries != 0 ? o->entries : RING_ENTRIES_DEFAULT;
    uint32_t completions = o->completions != 0 ? o->completions : RING_COMPLETIONS_DEFAULT;
    completions = completions > entries ? completions : entries;
    int err = setup_any_flags(u, o->features, entries, completions);
    while (err == -ENOMEM && entries > RING_ENTRIES_MIN) {
        entries /= 2;
        completions = completions / 2 > entries ? completions / 2 : entries * 2;
        err = setup_any_flags(u, o->features, entries, completions);
        snprintf(text, sizeof text, "with %u entries and %u completions only: the memlock limit allows no more (ulimit -l)", entries,
                 completions);
        *note = text;
    }
    return err;
}

// Entries stay where they are: slot i of the index array always names entry i (liburing before 2.4 would fill it at each flush).
static void adopt(struct uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;
    u->sqes = sq->sqes;
    u->sq_mask = sq->ring_mask;
    u->sq_tail = *sq->ktail;
    if (u->ring.flags & IORING_SETUP_NO_SQARRAY)
        return;
    for (uint32_t i = 0; i <= u->sq_mask; i++)
        sq->array[i] = i;
}

static uint32_t features_possible(const struct uring *u, uint32_t asked)
{
    uint32_t features = asked;
    if (!u->setup_defer)
        features &= ~(uint32_t)REACTOR_DEFER_TASKRUN;
    if (!u->setup_coop)
        features &= ~(uint32_t)REACTOR_COOP_TASKRUN;
    if (!(features & REACTOR_BUFFER_RING))
        features &= ~(uint32_t)REACTOR_MULTISHOT_RECV;
    return features;
}

int uring_ring_open(struct uring *u, const struct reactor_options *options, const char **why)
{
    int err = setup_any_size(u, options, why);
    if (err < 0) {
        *why = probe_uring_refusal(err);
        return err;
    }
    adopt(u);
    const char *missing = probe_uring_opcode_missing(&u->ring);
    if (missing != NULL) {
        *why = missing;
        io_uring_queue_exit(&u->ring);
        return -ENOSYS;
    }
    u->reactor.features = features_possible(u, options->features);
    if ((u->reactor.features & REACTOR_REGISTERED_RING) && io_uring_register_ring_fd(&u->ring) != 1)
        u->reactor.features &= ~(uint32_t)REACTOR_REGISTERED_RING;
    return 0;
}

void uring_ring_close(struct uring *u)
{
    io_uring_queue_exit(&u->ring);
}

static int enter(struct uring *u, uint32_t submit, uint32_t want, uint32_t flags, void *arg, size_t size)
{
    if (u->reactor.features & REACTOR_REGISTERED_RING)
        flags |= IORING_ENTER_REGISTERED_RING;
    u->reactor.stats.enters++;
    u->reactor.stats.syscalls++;
    long n = syscall(__NR_io_uring_enter, u->ring.enter_ring_fd, submit, want, flags, arg, size);
    if (n < 0)
        return -errno;
    u->reactor.stats.sqes += (uint64_t)n;
    return (int)n;
}

// The kernel takes everything at once but when it is short of memory or its completion queue has overflowed.
static cold void submit_rest(struct uring *u)
{
    for (uint32_t i = 0; uring_unsubmitted(u) > 0; i++) {
        assert(i < ENTER_TRIES_MAX);
        uring_drain(u);
        if (i > 0)
            sched_yield();
        (void)enter(u, uring_unsubmitted(u), 0, IORING_ENTER_GETEVENTS, NULL, 0);
    }
}

int uring_enter(struct uring *u, uint64_t wait_ns)
{
    struct __kernel_timespec ts = { .tv_sec = (int64_t)(wait_ns / NS_PER_SEC), .tv_nsec = (int64_t)(wait_ns % NS_PER_SEC) };
    struct io_uring_getevents_arg arg = { .ts = (uint64_t)(uintptr_t)&ts };
    __atomic_store_n(u->ring.sq.ktail, u->sq_tail, __ATOMIC_RELEASE);
    int result;
    if (wait_ns > 0)
        result = enter(u, uring_unsubmitted(u), 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof arg);
    else
        result = enter(u, uring_unsubmitted(u), 0, IORING_ENTER_GETEVENTS, NULL, 0);
    if (unlikely(uring_unsubmitted(u) > 0))
        submit_rest(u);
    return result < 0 ? result : 0;
}

void uring_flush_overflow(struct uring *u)
{
    (void)enter(u, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
}

void uring_submit_now(struct uring *u)
{
    uring_buffers_publish(u);
    __atomic_store_n(u->ring.sq.ktail, u->sq_tail, __ATOMIC_RELEASE);
    (void)enter(u, uring_unsubmitted(u), 0, 0, NULL, 0);
    if (uring_unsubmitted(u) > 0)
        submit_rest(u);
}

void uring_sqe_room(struct uring *u, uint32_t count)
{
    assert(count <= u->sq_mask + 1);
    if (unlikely(uring_unsubmitted(u) + count > u->sq_mask + 1))
        uring_submit_now(u);
}

struct io_uring_sqe *uring_sqe(struct uring *u)
{
    uring_sqe_room(u, 1);
    struct io_uring_sqe *sqe = &u->sqes[u->sq_tail++ & u->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}
