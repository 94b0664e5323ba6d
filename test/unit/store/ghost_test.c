// SPDX-License-Identifier: Apache-2.0
#include "engine/store/ghost.h"

#include "base/prng.h"
#include "base/test.h"
#include "test/unit/store/pages.h"

static uint64_t hash_of(uint64_t id)
{
    return prng_splitmix(&id);
}

static uint64_t recalled(struct ghost *g, uint64_t from, uint64_t to)
{
    uint64_t found = 0;
    for (uint64_t id = from; id < to; id++)
        found += ghost_recall(g, hash_of(id));
    return found;
}

static void the_last_ones_are_remembered_once_and_strangers_are_not(void)
{
    struct pages pages;
    pages_init(&pages);
    struct ghost g;
    ghost_init(&g, &pages.memory);
    check(!ghost_recall(&g, hash_of(1)));
    for (uint64_t id = 0; id < 200000; id++)
        ghost_remember(&g, hash_of(id), 50000);
    check(recalled(&g, 1000000, 1100000) < 150); // 1 in 2,100
    check(recalled(&g, 160000, 200000) > 38000);
    check(recalled(&g, 160000, 200000) < 100); // forgotten when recalled
    check(recalled(&g, 0, 100000) < 2000);
    check(ghost_bytes(&g) < 50000 * 21 / 10 + 4096);
    ghost_deinit(&g);
    check_equal(pages.held, 0);
}

static void it_follows_the_number_of_keys_and_forgets_nothing_when_it_grows(void)
{
    struct pages pages;
    pages_init(&pages);
    struct ghost g;
    ghost_init(&g, &pages.memory);
    uint64_t id = 0;
    for (uint64_t wanted = 4000; wanted < 400000; wanted += wanted / 3) {
        for (uint64_t end = id + wanted * 2; id < end; id++) {
            ghost_remember(&g, hash_of(id), wanted);
            while (id % 100 == 0 && ghost_discard(&g))
                continue;
        }
        for (uint64_t end = id + 500; id < end; id++) // and right behind a change of size
            ghost_remember(&g, hash_of(id), wanted + wanted / 3);
        check(recalled(&g, id - wanted / 2, id) > wanted / 2 * 97 / 100);
    }
    uint64_t large = ghost_bytes(&g);
    for (uint64_t end = id + 2000000; id < end; id++) {
        ghost_remember(&g, hash_of(id), 4000);
        while (ghost_discard(&g))
            continue;
    }
    check(ghost_bytes(&g) < large / 10);
    ghost_deinit(&g);
    check_equal(pages.held, 0);
}

static void without_memory_it_forgets(void)
{
    struct pages pages;
    pages_init(&pages);
    struct ghost g;
    ghost_init(&g, &pages.memory);
    pages.fail_in = 0;
    pages.fail_on = true;
    for (uint64_t id = 0; id < 1000; id++)
        ghost_remember(&g, hash_of(id), 1000);
    check(recalled(&g, 0, 1000) == 0 && ghost_bytes(&g) == 0);
    pages.fail_in = -1;
    ghost_remember(&g, hash_of(5), 1000);
    check_equal(recalled(&g, 5, 6), 1);
    ghost_deinit(&g);
    check_equal(pages.held, 0);
}

TESTS(TEST(the_last_ones_are_remembered_once_and_strangers_are_not), TEST(it_follows_the_number_of_keys_and_forgets_nothing_when_it_grows),
      TEST(without_memory_it_forgets))
