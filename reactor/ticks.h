// SPDX-License-Identifier: Apache-2.0
// A clock cheap enough to be read between two requests: the processor's cycle counter (about 20 cycles, no system call), scaled to
// nanoseconds when somebody looks. Machines whose counter cannot be trusted (not of constant rate) get the monotonic clock instead,
// and the simulation the turn's clock, so that its worlds stay deterministic: there nothing takes any time.
//
// Counters of two cores may be a little apart, so that a thread which moved can see time go back: differences below zero are none.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "reactor/clock.h"
#include "reactor/reactor.h"

#if defined(__x86_64__)
static inline uint64_t ticks_counter(void)
{
    return __builtin_ia32_rdtsc();
}
#elif defined(__aarch64__)
static inline uint64_t ticks_counter(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
}
#else
static inline uint64_t ticks_counter(void)
{
    return clock_now_ns();
}
#endif

// Of this reactor's clock: only differences mean something.
static inline uint64_t reactor_ticks(const struct reactor *r)
{
    if (likely(r->tick_source == REACTOR_TICKS_COUNTER))
        return ticks_counter();
    return r->tick_source == REACTOR_TICKS_CLOCK ? clock_now_ns() : r->now_ns;
}

static inline uint64_t ticks_between(uint64_t from, uint64_t to)
{
    return unlikely((int64_t)(to - from) < 0) ? 0 : to - from;
}

static inline uint64_t reactor_ticks_ns(const struct reactor *r, uint64_t ticks)
{
    return r->tick_source == REACTOR_TICKS_COUNTER ? (uint64_t)((double)ticks * r->ns_per_tick) : ticks;
}

// Ticks in `ns`, for thresholds.
static inline uint64_t reactor_ns_ticks(const struct reactor *r, uint64_t ns)
{
    return r->tick_source == REACTOR_TICKS_COUNTER ? (uint64_t)((double)ns / r->ns_per_tick) : ns;
}

// Chooses the source and measures its rate (once a process, a millisecond). Backends of real machines call it when they open.
void ticks_open(struct reactor *r);
// Stops the calling thread for so long; nothing at all in the simulation (DEBUG SLEEP).
void reactor_nap(struct reactor *r, uint64_t ns);
