// SPDX-License-Identifier: Apache-2.0
// The io_uring backend's own parts; who uses reactors wants reactor.h.
//
//   feature                                    found out by                       without it
//   SINGLE_ISSUER, DEFER_TASKRUN    (6.0, 6.1) setup: -EINVAL                     COOP_TASKRUN, then no flag
//   busy polling of network cards        (6.9) asking for it                      polling our own queue alone
//   multishot accept                    (5.19) trying it (uring_trial.c)          one-shot, submitted again by us
//   provided buffer ring                (5.19) registering it                     poll, then recv(2) into a buffer of the pool
//   multishot receive                    (6.0) trying it                          one-shot with a provided buffer
//   CQE_SKIP_SUCCESS                    (5.17) IORING_FEAT_CQE_SKIP               completions of quiet sends are dropped by us
//   registered ring descriptor          (5.18) registering it                     the descriptor itself
//   fixed buffers                              registering them                   plain addresses
//   zero-copy sends, and what became     (6.2) trying one (uring_trial.c)         the owner does not ask for them
//   EXT_ARG, NODROP                     (5.11) feature bits                       epoll
//   ring memory                                setup: -ENOMEM                     half of it, until it works
#pragma once

#include "reactor/backend.h"
#include "reactor/completions.h"
#include "reactor/op_queue.h"
#include "reactor/pool.h"
#include "reactor/uring_compat.h"
#include "reactor/wait.h"

struct uring {
    struct reactor reactor;
    struct io_uring ring;
    struct io_uring_sqe *sqes;
    uint32_t sq_tail; // ours; the kernel learns of it in uring_enter
    uint32_t sq_mask;
    bool setup_defer; // completions appear only inside io_uring_enter
    bool setup_coop;
    bool setup_flag;   // IORING_SQ_TASKRUN tells that there are some
    bool skip_success; // IOSQE_CQE_SKIP_SUCCESS is known
    bool busy_poll;
    bool wake_armed;
    bool woken;
    struct completions done;
    struct op_queue again;   // to be submitted in the next round
    struct op_queue starved; // receives waiting for a buffer
    struct pool pool;
    struct io_uring_buf_ring *buffers; // NULL: receive by polling into buffers of the pool
    uint32_t buffers_mask;
    uint16_t buffers_tail;
    uint32_t buffers_free; // in the ring, as far as completions have told
    struct wait wait;
};

// user_data of what is not an op; ops are aligned.
#define URING_WAKE   1
#define URING_TRIAL  2
#define URING_IGNORE 3

// op->backend while in flight
#define URING_SENT(op)     ((uint32_t)(op)->backend) // bytes of a send that are gone
#define URING_STARVED      (UINT64_C(1) << 32)       // in the queue of that name
#define URING_RESULT_HELD  (UINT64_C(1) << 33)       // a cancel that waits for its target's end; its result in the low half
#define URING_TARGET_ENDED (UINT64_C(1) << 34)       // a cancel whose target ended first

static inline struct uring *uring_of(struct reactor *r)
{
    return (struct uring *)(void *)r;
}

// uring_ring.c: the ring itself
// *why: what is missing; on success it is set only when there is something to tell.
int uring_ring_open(struct uring *u, const struct reactor_options *options, const char **why) warn_unused;
void uring_ring_close(struct uring *u);
// Submits what is queued; waits for a completion for `wait_ns` (0 = not at all) and runs the kernel's pending work of this ring.
// 0, or -errno of a wait that ended early (-ETIME, -EINTR).
int uring_enter(struct uring *u, uint64_t wait_ns);
// Submits what is queued, and looks for no completion.
void uring_submit_now(struct uring *u);
// Lets the kernel move overflowed completions into the queue.
void uring_flush_overflow(struct uring *u);
// A free submission entry, zeroed; submits what is queued when there is none.
struct io_uring_sqe *uring_sqe(struct uring *u);
// Room for `count` entries in one submission, for links.
void uring_sqe_room(struct uring *u, uint32_t count);

static inline uint32_t uring_unsubmitted(const struct uring *u)
{
    return u->sq_tail - __atomic_load_n(u->ring.sq.khead, __ATOMIC_ACQUIRE);
}

static inline uint32_t uring_sq_flags(const struct uring *u)
{
    return __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED);
}

static inline bool uring_has_cqe(const struct uring *u)
{
    return __atomic_load_n(u->ring.cq.ktail, __ATOMIC_ACQUIRE) != *u->ring.cq.khead;
}

// uring_trial.c: features that only trying tells
void uring_trial(struct uring *u);

// uring_buffers.c: provided buffers
int uring_buffers_open(struct uring *u, const struct reactor_options *options) warn_unused;
void uring_buffers_close(struct uring *u);
// Counts it, and adds more as long as there may be more.
cold void uring_out_of_buffers(struct uring *u);
void uring_buffer_return(struct reactor *r, uint16_t buffer);

static inline void uring_buffers_publish(struct uring *u)
{
    if (u->buffers != NULL)
        __atomic_store_n(&u->buffers->tail, u->buffers_tail, __ATOMIC_RELEASE);
}

// uring_submit.c: ops to submission entries
void uring_prepare(struct uring *u);

// uring_complete.c: completion entries to completions
void uring_drain(struct uring *u);
void uring_finish(struct uring *u, struct op *op, int32_t result);
