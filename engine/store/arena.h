// SPDX-License-Identifier: Apache-2.0
// One worker's memory: a single reserved range of addresses, handed out in runs of granules.
//
//   | extent 2 MiB                      | extent            | ...      up to 32 GiB
//   | granule 64 KiB | granule | ...    |
//
// An extent is the size of a huge page; inside it a buddy system (orders 0..5) gives runs of 1..32 granules, so a run never
// crosses an extent. A reference is an offset in units of 8 bytes, plus 1: 32 bits reach 32 GiB and 0 means none. (Beyond that:
// more workers, or a unit of 16 bytes, which costs 4 bytes an entry on average.)
// The range is reserved at once because addresses are free: a reference becomes a pointer with one shift and one addition.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/memory.h"

#define ARENA_GRANULE         ((size_t)64 * 1024)
#define ARENA_ORDER_MAX       5
#define ARENA_EXTENT_GRANULES (1u << ARENA_ORDER_MAX)
#define ARENA_EXTENT          (ARENA_GRANULE * ARENA_EXTENT_GRANULES)
#define ARENA_MAX             ((size_t)32 << 30)
#define ARENA_MIN             ARENA_EXTENT
#define ARENA_NONE            UINT32_MAX
// So much memory is prepared beyond what is in use, once an arena has grown to ARENA_PREPARE_FROM granules.
#define ARENA_PREPARE      (2 * ARENA_EXTENT_GRANULES)
#define ARENA_PREPARE_FROM (8 * ARENA_EXTENT_GRANULES)

enum page_state { PAGE_UNUSED, PAGE_FREE, PAGE_TAKEN };

// One per granule. The first of a run tells all about it; the others only state and order, which lead to the first.
struct page {
    uint8_t state;
    uint8_t order;
    uint8_t kind; // of the slab; of a free run: is it clean
    uint8_t class;
    uint8_t touched;  // the system has given memory for it
    uint8_t draining; // of the slab: its entries are being moved away
    uint16_t used;    // slots in use
    uint16_t fresh;   // slots from here on were never used
    uint16_t free;    // first of the freed slots, index + 1
    uint16_t capacity;
    uint32_t next; // in the list of free runs, or of slabs with room
    uint32_t prev;
};
static_assert(sizeof(struct page) == 24, "24 bytes per 64 KiB");

enum { ARENA_DIRTY, ARENA_CLEAN }; // a clean run has no memory behind it

struct arena {
    uintptr_t origin; // address of reference 0
    struct page *pages;
    struct memory *memory;
    uint8_t *base;
    size_t size;
    uint32_t granules; // in the range
    uint32_t frontier; // granules before it have been used at some time
    uint32_t free[2][ARENA_ORDER_MAX + 1];
    uint32_t taken_count;   // granules
    uint32_t touched_count; // granules, of which taken_count are in use
    uint32_t prepared;      // granules before it have been asked for (base/memory.h)
    uint64_t prepare_below; // what is asked for ahead may make so many bytes resident, 0 = any number
};

int arena_init(struct arena *a, struct memory *m) warn_unused;
void arena_deinit(struct arena *a);

// First granule of a run of 2^order; ARENA_NONE = none left. The contents are not defined.
uint32_t arena_take(struct arena *a, uint8_t order);
void arena_give(struct arena *a, uint32_t granule);
// Hands one free run back to the system, the largest there is, while more than `keep` free granules have memory. False: nothing to do.
bool arena_discard(struct arena *a, uint32_t keep);

static inline void arena_prepare_below(struct arena *a, uint64_t bytes)
{
    a->prepare_below = bytes;
}

// Granules that have memory behind them, or soon will.
static inline uint32_t arena_resident(const struct arena *a)
{
    return a->touched_count + (a->prepared > a->frontier ? a->prepared - a->frontier : 0);
}

static inline void *arena_at(const struct arena *a, uint32_t ref)
{
    return (void *)(a->origin + ((uintptr_t)ref << 3)); // NOLINT: the arena is one range
}

static inline uint32_t arena_ref(const struct arena *a, const void *at)
{
    return (uint32_t)(((uintptr_t)at - a->origin) >> 3);
}

static inline void *arena_granule_at(const struct arena *a, uint32_t granule)
{
    return a->base + (size_t)granule * ARENA_GRANULE;
}

static inline uint32_t arena_granule_of(const struct arena *a, uint32_t ref)
{
    return (ref - 1) >> 13;
}

// The run that a granule is part of.
static inline uint32_t arena_lead(const struct arena *a, uint32_t granule)
{
    return granule & (UINT32_MAX << a->pages[granule].order);
}
