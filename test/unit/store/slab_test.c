// SPDX-License-Identifier: Apache-2.0
#include "engine/store/slab.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/test.h"
#include "test/unit/store/pages.h"

static void sizes_are_at_most_an_eighth_apart_or_eight_bytes(void)
{
    check_equal(slab_index_size(SLAB_SIZES - 1), SLAB_SLOT_MAX);
    for (uint32_t i = 1; i < SLAB_SIZES; i++) {
        uint32_t below = slab_index_size(i - 1), size = slab_index_size(i);
        check(size > below && size % 8 == 0);
        check(size - below == 8 || (size - below) * 8 <= below);
    }
    for (uint32_t size = 0; size <= SLAB_SLOT_MAX; size++) {
        uint32_t index = slab_size_index(size);
        check(slab_index_size(index) >= size);
        check(index == 0 || slab_index_size(index - 1) < size);
    }
}

#define SLOTS 20000

// Slots of all sizes come and go; each keeps its bytes, and at the end every granule is free again.
static void slots_do_not_overlap_and_all_come_back(void)
{
    static uint32_t refs[SLOTS];
    static uint32_t sizes[SLOTS];
    static struct slabs s;
    struct pages pages;
    struct prng prng;
    pages_init(&pages);
    prng_init(&prng, 1);
    check_equal(slabs_init(&s, &pages.memory), 0);
    for (int i = 0; i < 300000; i++) {
        uint32_t at = (uint32_t)(prng_next(&prng) % SLOTS);
        if (refs[at] != 0) {
            const uint8_t *slot = arena_at(&s.arena, refs[at]);
            check(load_u32(slot + 8) == at && load_u32(slot + sizes[at] - 4) == at);
            check(slab_is_entry(&s, refs[at]));
            check(slab_slot_size(&s, refs[at]) == slab_round(sizes[at]));
            slab_give(&s, refs[at]);
            refs[at] = 0;
            continue;
        }
        sizes[at] = 16 + (uint32_t)(prng_next(&prng) % (i % 50 == 0 ? 60000 : 600));
        refs[at] = slab_take(&s, SLAB_ENTRY, sizes[at]);
        uint8_t *slot = arena_at(&s.arena, refs[at]);
        memset(slot, 0, sizes[at]);
        store_u32(slot + 8, at);
        store_u32(slot + sizes[at] - 4, at);
        if (test_failures > 0)
            return;
    }
    for (uint32_t at = 0; at < SLOTS; at++) {
        if (refs[at] != 0)
            slab_give(&s, refs[at]);
    }
    check_equal(s.used[SLAB_ENTRY], 0);
    check_equal(s.arena.taken_count, 0);
    while (arena_discard(&s.arena, 0))
        continue;
    check_equal(s.arena.touched_count, 0);
    check(s.arena.free[ARENA_DIRTY][ARENA_ORDER_MAX] == ARENA_NONE);
    slabs_deinit(&s);
    check_equal(pages.held, 0);
}

static void a_reference_to_a_freed_slot_is_no_entry(void)
{
    static struct slabs s;
    struct pages pages;
    pages_init(&pages);
    check_equal(slabs_init(&s, &pages.memory), 0);
    uint32_t a = slab_take(&s, SLAB_ENTRY, 100), b = slab_take(&s, SLAB_ENTRY, 100), c = slab_take(&s, SLAB_INDEX, 128);
    memset(arena_at(&s.arena, a), 0, 100);
    memset(arena_at(&s.arena, b), 0, 100);
    memset(arena_at(&s.arena, c), 0, 128);
    check(slab_is_entry(&s, a) && slab_is_entry(&s, b));
    check(!slab_is_entry(&s, a + 1) && !slab_is_entry(&s, b + 13) && !slab_is_entry(&s, c));
    slab_give(&s, a);
    check(!slab_is_entry(&s, a) && slab_is_entry(&s, b));
    slab_give(&s, b);
    check(!slab_is_entry(&s, b));
    slab_give(&s, c);
    slabs_deinit(&s);
}

static void a_full_arena_says_so_and_recovers(void)
{
    static struct slabs s;
    struct pages pages;
    pages_init(&pages);
    pages.range_max = ARENA_EXTENT;
    check_equal(slabs_init(&s, &pages.memory), 0);
    static uint32_t refs[3000];
    uint32_t count = 0;
    while (count < 3000 && (refs[count] = slab_take(&s, SLAB_ENTRY, 1000)) != 0)
        count++;
    check(count > 1900 && count < 2100);
    check_equal(slab_take(&s, SLAB_ENTRY, 60000), 0);
    while (count > 0)
        slab_give(&s, refs[--count]);
    uint32_t large = slab_take(&s, SLAB_ENTRY, 60000);
    check(large != 0);
    slab_give(&s, large);
    slabs_deinit(&s);
}

static uint64_t held(const struct slabs *s)
{
    return (uint64_t)s->arena.taken_count * ARENA_GRANULE;
}

static void few_slots_hold_little_and_many_leave_little_over(void)
{
    for (size_t size = 100; size <= SLAB_SLOT_MAX; size += size / 3) {
        static struct slabs s;
        struct pages pages;
        pages_init(&pages);
        check_equal(slabs_init(&s, &pages.memory), 0);
        check(slab_take(&s, SLAB_ENTRY, size) != 0);
        check(held(&s) <= 2 * ARENA_GRANULE);
        while (s.used[SLAB_ENTRY] < (64u << 20))
            check(slab_take(&s, SLAB_ENTRY, size) != 0);
        check(held(&s) - s.used[SLAB_ENTRY] < s.used[SLAB_ENTRY] / 15);
        slabs_deinit(&s);
        check_equal(pages.held, 0);
    }
}

TESTS(TEST(sizes_are_at_most_an_eighth_apart_or_eight_bytes), TEST(slots_do_not_overlap_and_all_come_back),
      TEST(a_reference_to_a_freed_slot_is_no_entry), TEST(a_full_arena_says_so_and_recovers),
      TEST(few_slots_hold_little_and_many_leave_little_over))
