// SPDX-License-Identifier: Apache-2.0
// A reactor's receive buffers: one area of memory cut into equal pieces, numbered. Address space for all of them is taken at once,
// pages only as they are used; `active` of them are in circulation and grow up to `max`.
//
// Who owns a buffer: the pool (stack of free ones, or the kernel's buffer ring) -> the owner of a completion -> the pool.
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/memory.h"
#include "reactor/sanitize.h"

struct pool {
    uint8_t *area;
    uint32_t buffer_size;
    uint32_t active;
    uint32_t max;
    uint32_t free_count;
    uint16_t *free; // a stack: the buffer used last is the warmest
    struct memory *memory;
};

int pool_init(struct pool *p, struct memory *memory, uint32_t active, uint32_t max, uint32_t buffer_size) warn_unused;
void pool_deinit(struct pool *p);
// Doubles what is in circulation, within `max`; returns how many were added, numbered from the old `active` on.
uint32_t pool_grow(struct pool *p);

static inline uint8_t *pool_address(const struct pool *p, uint16_t buffer)
{
    assert(buffer < p->active);
    return p->area + (size_t)buffer * p->buffer_size;
}

// The caller has checked that there is one.
static inline uint16_t pool_take(struct pool *p)
{
    assert(p->free_count > 0);
    uint16_t buffer = p->free[--p->free_count];
    sanitize_show(pool_address(p, buffer), p->buffer_size);
    return buffer;
}

static inline void pool_put(struct pool *p, uint16_t buffer)
{
    assert(p->free_count < p->active);
    sanitize_hide(pool_address(p, buffer), p->buffer_size);
    p->free[p->free_count++] = buffer;
}
