// SPDX-License-Identifier: Apache-2.0
// Slots of fixed sizes cut from the arena.
//
// Sizes: steps of 8 bytes to 128, then 8 steps a doubling (<= 12.5 % apart) to 64 KiB. Above 576 each has 64 bytes on top: values
// like to be powers of two, and then header and key must not push them into the next class. Above 2112 (SLAB_LARGE) those between two
// powers of two are a granule's or a few granules' whole parts, so that few slots make a slab with nothing left over. A slab is a run of
// granules with slots of one class: the more a class holds, the longer are its new slabs, where that leaves less over at their ends. Freed
// slots are linked through themselves, an empty slab goes back to the arena at once and may serve any class next. Entries have slabs of
// their own (`SLAB_ENTRY`), so that whoever walks a slab finds nothing but entries: the first byte of a slot tells a live entry from a
// freed one (SLAB_FREE_MARK).
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
#define SLAB_EVEN_MAX    2112u // from here on sizes are as in SLAB_LARGE
#define SLAB_EVEN_SIZES  48u
#define SLAB_LIMBO       5u   // the mark and a reference
#define SLAB_FREE_MARK   0x07 // low three bits of a freed slot's first byte; no entry type has this value

static const uint32_t SLAB_LARGE[SLAB_SIZES - SLAB_EVEN_SIZES] = {
    2336,  2520,  2728,  2976,  3272,  3640,  3848,  4160,  //
    4680,  5040,  5456,  5952,  6552,  7280,  7704,  8256,  //
    9288,  10080, 10920, 11912, 13104, 14560, 15416, 16448, //
    18504, 20160, 21840, 23824, 26208, 29120, 30840, 32832, //
    36936, 40328, 43688, 47656, 52424, 58248, 61680, 65600, //
};

struct slab_class {
    uint32_t partial; // slabs with room
    uint32_t size;
    uint32_t slot_inverse; // ceil(2^32 / (size / 8)): slot number without a division
    uint32_t slabs;
    uint32_t slots; // of all slabs
    uint32_t used;
};

struct slabs {
    struct arena arena;
    struct slab_class classes[SLAB_KINDS][SLAB_SIZES];
    uint64_t used[SLAB_KINDS]; // bytes of slots in use
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
// The next class need not have more slots free than one at which draining ends.
static inline void slab_drain_eagerly(struct slabs *s)
{
    s->drain_goes_on = true;
}

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

// The first of SLAB_LARGE that is large enough: never far from where equal steps would have it.
static inline uint32_t slab_large_index(uint32_t size)
{
    uint32_t even = slab_step_index(size - SLAB_EXTRA) + 1 - SLAB_EVEN_SIZES;
    uint32_t i = even > 0 ? even - 1 : 0;
    while (SLAB_LARGE[i] < size)
        i++;
    return SLAB_EVEN_SIZES + i;
}

static inline uint32_t slab_size_index(size_t size)
{
    assert(size <= SLAB_SLOT_MAX);
    if (likely(size <= SLAB_PLAIN_MAX))
        return slab_step_index((uint32_t)size);
    return size <= SLAB_EVEN_MAX ? slab_step_index((uint32_t)size - SLAB_EXTRA) + 1 : slab_large_index((uint32_t)size);
}

static inline uint32_t slab_index_size(uint32_t index)
{
    if (index < SLAB_PLAIN_SIZES)
        return slab_step_size(index);
    return index < SLAB_EVEN_SIZES ? slab_step_size(index - 1) + SLAB_EXTRA : SLAB_LARGE[index - SLAB_EVEN_SIZES];
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
