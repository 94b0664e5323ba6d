// SPDX-License-Identifier: Apache-2.0
// Slots of fixed sizes cut from the arena.
//
// Sizes: steps of 8 bytes to 128, then 8 steps a doubling (<= 12.5 % apart) to 64 KiB. Above 576 each has 64 bytes on top: values
// like to be powers of two, and then header and key must not push them into the next class. A slab is a run of granules with slots of
// one class; freed slots are linked through themselves, an empty slab goes back to the arena at once and may serve any class next.
// Entries have slabs of their own (`SLAB_ENTRY`), so that whoever walks a slab finds nothing but entries: the first byte of a
// slot tells a live entry from a freed one (SLAB_FREE_MARK).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/store/arena.h"

enum slab_kind { SLAB_ENTRY, SLAB_INDEX, SLAB_DEADLINE, SLAB_ORDER, SLAB_KINDS };

#define SLAB_SLOT_MIN    16u
#define SLAB_SLOT_MAX    (65536u + SLAB_EXTRA)
#define SLAB_PLAIN_MAX   576u
#define SLAB_PLAIN_SIZES 32u
#define SLAB_EXTRA       64u
#define SLAB_SIZES       88u
#define SLAB_LIMBO       5u   // the mark and a reference
#define SLAB_FREE_MARK   0x07 // low three bits of a freed slot's first byte; no entry type has this value

struct slab_class {
    uint32_t partial; // slabs with room
    uint32_t size;
    uint32_t slot_inverse; // ceil(2^32 / (size / 8)): slot number without a division
    uint16_t capacity;
    uint8_t order;
    uint32_t slabs;
    uint32_t used; // slots
};

struct slabs {
    struct arena arena;
    struct slab_class classes[SLAB_KINDS][SLAB_SIZES];
    uint64_t used[SLAB_KINDS]; // bytes of slots in use
    uint64_t held[SLAB_KINDS]; // bytes of slabs
    uint32_t drain;            // the slab whose entries move away, ARENA_NONE = none
    uint32_t drain_slot;
    bool drain_goes_on; // begun at DRAIN_BEGIN, goes on to DRAIN_END
    // Readers of bytes in slots, see slab_pin.
    uint8_t side; // of new pins
    uint32_t pins[2];
    uint32_t limbo[2]; // slots given back while pinned, linked through themselves
};

int slabs_init(struct slabs *s, struct memory *m) warn_unused;
void slabs_deinit(struct slabs *s);

// 0 = out of memory.
uint32_t slab_take(struct slabs *s, enum slab_kind kind, size_t size);
void slab_give(struct slabs *s, uint32_t ref);

// While anybody pins, what is in entries' slots stays readable behind its first SLAB_LIMBO bytes: slots given back count as free at
// once, but nobody gets them before the readers that may see them have let go. Readers are of two sides, and new ones join the
// current side; when the other side's last reader leaves, that side's slots are given back and the sides change. So readers that
// follow each other without a pause hold back no more than what was given back during two of their lifetimes.
uint8_t slab_pin(struct slabs *s);
void slab_unpin(struct slabs *s, uint8_t side);

static inline bool slab_pinned(const struct slabs *s)
{
    return unlikely((s->pins[0] | s->pins[1]) != 0);
}

// The reference is that of a slot in use that holds an entry. For references that may have outlived their slot.
bool slab_is_entry(const struct slabs *s, uint32_t ref);

// Emptying slabs of entries, where a class has many slots free: the entries of a sparse slab move to others of the class.
// Begins when a class has 7 % (and two slabs' worth) of its slots free, ends at 4 %: coming and going alone starts nothing. False:
// nothing to do.
bool slab_drain_begin(struct slabs *s);
// The next entry to be moved: take a slot of the same size, copy, give this one. 0: the slab is done.
uint32_t slab_drain_next(struct slabs *s);

static inline uint32_t slab_step_index(uint32_t size)
{
    if (size <= 128)
        return size <= SLAB_SLOT_MIN ? 0 : (size + 7) / 8 - 2;
    uint32_t n = size - 1;
    uint32_t top = 31 - (uint32_t)__builtin_clz(n);
    return 15 + (top - 7) * 8 + ((n >> (top - 3)) & 7);
}

static inline uint32_t slab_step_size(uint32_t index)
{
    return index < 15 ? (index + 2) * 8 : (8 + (index - 15) % 8 + 1) << (4 + (index - 15) / 8);
}

static inline uint32_t slab_size_index(size_t size)
{
    assert(size <= SLAB_SLOT_MAX);
    return size <= SLAB_PLAIN_MAX ? slab_step_index((uint32_t)size) : slab_step_index((uint32_t)size - SLAB_EXTRA) + 1;
}

static inline uint32_t slab_index_size(uint32_t index)
{
    return index < SLAB_PLAIN_SIZES ? slab_step_size(index) : slab_step_size(index - 1) + SLAB_EXTRA;
}

// Size of the slot that `size` bytes get.
static inline uint32_t slab_round(size_t size)
{
    return slab_index_size(slab_size_index(size));
}

static inline struct page *slab_page(const struct slabs *s, uint32_t ref)
{
    return &s->arena.pages[arena_lead(&s->arena, arena_granule_of(&s->arena, ref))];
}

static inline uint32_t slab_slot_size(const struct slabs *s, uint32_t ref)
{
    const struct page *p = slab_page(s, ref);
    return s->classes[p->kind][p->class].size;
}
