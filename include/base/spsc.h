// SPDX-License-Identifier: Apache-2.0
// Single-producer single-consumer ring of pointers (Lamport 1983; cached indices as in Giacomoni et al., FastForward, 2008).
//
//   producer owns tail, reads head     |  line  |     consumer owns head, reads tail
//
// Invariant: 0 <= tail - head <= capacity. A slot belongs to the producer while tail - head < capacity says so, and the
// release store of tail hands it over together with everything written before it.
// Each side keeps its last view of the other's index and looks again only when that view says full or empty, so a ring in
// balance costs one shared cache line per lap of the slower side, not one per item.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#define SPSC_LINE 64

struct spsc {
    _Alignas(SPSC_LINE) _Atomic uint32_t tail;
    uint32_t head_seen; // producer's
    _Alignas(SPSC_LINE) _Atomic uint32_t head;
    uint32_t tail_seen; // consumer's
    _Alignas(SPSC_LINE) uint32_t mask;
    void **slots;
};

// `slots` holds `capacity` pointers, a power of two, and outlives the ring.
static inline void spsc_init(struct spsc *q, void **slots, uint32_t capacity)
{
    assert(capacity > 0 && (capacity & (capacity - 1)) == 0);
    *q = (struct spsc){ .mask = capacity - 1, .slots = slots };
}

// Producer. False when full.
static inline bool spsc_push(struct spsc *q, void *item)
{
    uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    if (unlikely(tail - q->head_seen > q->mask)) {
        q->head_seen = atomic_load_explicit(&q->head, memory_order_acquire);
        if (tail - q->head_seen > q->mask)
            return false;
    }
    q->slots[tail & q->mask] = item;
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
    return true;
}

// Consumer. NULL when empty.
static inline void *spsc_pop(struct spsc *q)
{
    uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head == q->tail_seen) {
        q->tail_seen = atomic_load_explicit(&q->tail, memory_order_acquire);
        if (head == q->tail_seen)
            return NULL;
    }
    void *item = q->slots[head & q->mask];
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return item;
}

// Either side; the other may change it at once.
static inline uint32_t spsc_count(const struct spsc *q)
{
    uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);
    return atomic_load_explicit(&q->tail, memory_order_acquire) - head;
}
