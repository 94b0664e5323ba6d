// SPDX-License-Identifier: Apache-2.0
// A lock for what all workers share and hardly ever touch (the logs of slow commands, latency events): held for some dozen
// instructions, never across an allocation or a copy of anybody's bytes. Zero is free.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct guard {
    _Atomic uint32_t held;
};

static inline void guard_hold(struct guard *g)
{
    while (atomic_exchange_explicit(&g->held, 1, memory_order_acquire) != 0)
        while (atomic_load_explicit(&g->held, memory_order_relaxed) != 0)
            ;
}

static inline void guard_release(struct guard *g)
{
    atomic_store_explicit(&g->held, 0, memory_order_release);
}
