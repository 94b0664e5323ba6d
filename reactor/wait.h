// SPDX-License-Identifier: Apache-2.0
// How a reactor waits when nothing is ready, the same on every backend: spin for a while, then sleep.
//
// A spin that finds work saves the 17-40 us of a wake-up; one that does not has burnt CPU. So its length follows what it brings:
// found -> the full length again, not found -> half, down to nothing; with nothing it is tried again every WAIT_RETRY sleeps.
// The core may have other customers: every WAIT_YIELD_NS the spin offers it to them, and if somebody took it, spinning is
// given up as if it had found nothing many times.
//
// Sleeping: show `asleep`, fence, ask `pending`, sleep; reactor_wake: store the message, fence, look at `asleep`. One of the two
// sees the other. Whoever takes `asleep` from 1 to 0 writes the eventfd, so there is one wake-up a sleep.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reactor/clock.h"
#include "reactor/reactor.h"

struct wait {
    uint64_t spin_max_ns;
    uint64_t spin_ns;
    uint32_t unspun; // sleeps since the spin length fell to nothing
    struct clock_pair clock;
};

typedef bool wait_ready_fn(struct reactor *r);

// Spins, when wait_wants_spin, for at most `limit_ns` from `from_ns` on; true when `ready` or the owner's `pending` said so.
bool wait_spin(struct wait *w, struct reactor *r, uint64_t from_ns, uint64_t limit_ns, wait_ready_fn *ready);

// Opens r->wake_fd. 0 or -errno.
int wait_open(struct wait *w, struct reactor *r, uint32_t spin_us) warn_unused;
void wait_close(struct reactor *r);

// Writes the target's eventfd unless somebody else has just done so.
void wait_wake(struct reactor *target, struct reactor *from);

#define WAIT_MAX_NS (3600 * NS_PER_SEC)

static inline bool wait_pending(const struct reactor *r)
{
    return r->pending != NULL && r->pending(r->pending_context);
}

// Shows that the reactor sleeps from now on. False: don't, there is work; the flag is down again.
static inline bool wait_lie_down(struct reactor *r)
{
    atomic_store_explicit(&r->asleep, 1, memory_order_relaxed);
    reactor_fence();
    if (!wait_pending(r)) {
        r->stats.sleeps++;
        return true;
    }
    atomic_store_explicit(&r->asleep, 0, memory_order_relaxed);
    return false;
}

// Acquire: pairs with the wake-up, so that what the waker stored before is seen.
static inline void wait_get_up(struct reactor *r)
{
    (void)atomic_exchange_explicit(&r->asleep, 0, memory_order_acq_rel);
}

#define WAIT_RETRY 64

// Before each wait: is it worth a spin, or should submitting and sleeping be one system call?
static inline bool wait_wants_spin(struct wait *w)
{
    if (w->spin_ns > 0)
        return true;
    if (w->spin_max_ns == 0 || ++w->unspun < WAIT_RETRY)
        return false;
    w->unspun = 0;
    w->spin_ns = w->spin_max_ns / 4 > 0 ? w->spin_max_ns / 4 : w->spin_max_ns;
    return true;
}

// Ends the busy part of a turn: what follows is waiting.
static inline uint64_t wait_begin(struct reactor *r)
{
    uint64_t now = clock_now_ns();
    uint64_t busy = now - r->now_ns;
    r->stats.busy_ns += busy;
    if (busy > r->stats.longest_turn_ns)
        r->stats.longest_turn_ns = busy;
    r->now_ns = now;
    return now;
}

// The turn's clock, read as the last thing. `waited`: the time since wait_begin was waiting, not work.
static inline void wait_turn_end(struct wait *w, struct reactor *r, bool waited)
{
    uint64_t now = clock_now_ns();
    if (!waited) {
        uint64_t busy = now - r->now_ns;
        r->stats.busy_ns += busy;
        if (busy > r->stats.longest_turn_ns)
            r->stats.longest_turn_ns = busy;
    }
    r->waited = waited;
    r->now_ns = now;
    r->wall_ms = clock_pair_wall_ms(&w->clock, now);
    r->stats.turns++;
}
