// SPDX-License-Identifier: Apache-2.0
// The two clocks. Read once a turn by reactors; nobody above them reads a clock.
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_US  UINT64_C(1000)
#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)

static inline uint64_t clock_read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

// Monotonic; its zero means nothing.
static inline uint64_t clock_now_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

// Unix time.
static inline int64_t clock_wall_ms(void)
{
    return (int64_t)(clock_read_ns(CLOCK_REALTIME) / NS_PER_MS);
}

// CPU time of the calling thread.
static inline uint64_t clock_thread_cpu_ns(void)
{
    return clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

// Both clocks for the price of one read a turn: wall time is monotonic time plus an offset, looked up again every few
// milliseconds so that a set clock is noticed.
struct clock_pair {
    int64_t offset_ns;
    uint64_t checked_ns;
};

#define CLOCK_PAIR_RECHECK_NS (8 * NS_PER_MS)

static inline int64_t clock_pair_wall_ms(struct clock_pair *c, uint64_t now_ns)
{
    if (__builtin_expect(c->checked_ns == 0 || now_ns - c->checked_ns > CLOCK_PAIR_RECHECK_NS, 0)) {
        c->offset_ns = (int64_t)(clock_read_ns(CLOCK_REALTIME) - now_ns);
        c->checked_ns = now_ns;
    }
    return ((int64_t)now_ns + c->offset_ns) / (int64_t)NS_PER_MS;
}
