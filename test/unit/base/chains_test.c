// SPDX-License-Identifier: Apache-2.0
#include "base/chains.h"

#include "base/list.h"
#include "base/prng.h"
#include "base/test.h"

#define ITEMS 1000

struct item {
    uint64_t hash; // as it should be
    struct chained node;
    bool in, seen;
};

static struct item items[ITEMS];
static bool memory_fails;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return memory_fails ? NULL : __real_calloc(count, size);
}

static struct item *item_of(struct chained *node)
{
    return container_of(node, struct item, node);
}

static void insert(struct chains *t, uint32_t i, uint64_t hash)
{
    items[i] = (struct item){ .hash = hash, .in = true };
    chains_insert(t, &items[i].node, hash);
}

// How many nodes of the hash there are; each is one that should be there.
static uint32_t count_of(const struct chains *t, uint64_t hash)
{
    uint32_t count = 0;
    for (struct chained *node = chains_first(t, hash); node != NULL; node = chains_next(node), count++)
        check(item_of(node)->in && item_of(node)->hash == hash);
    return count;
}

// A walk shows exactly the items that are in the table, each once.
static void check_walk(const struct chains *t)
{
    uint32_t in = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        items[i].seen = false;
        in += items[i].in;
    }
    chains_for_each(node, t)
    {
        check(item_of(node)->in && !item_of(node)->seen);
        item_of(node)->seen = true;
        in--;
    }
    check_equal(in, 0);
}

static void an_empty_table_has_nothing(void)
{
    struct chains t = { 0 };
    check(chains_walk(&t, NULL) == NULL); // not even heads
    check_equal(chains_init(&t, 4), 0);
    check(chains_first(&t, 0) == NULL && chains_walk(&t, NULL) == NULL);
    check_equal(chains_memory(&t), 4 * sizeof(void *));
    chains_deinit(&t);
    chains_deinit(&t);
}

static void nodes_of_one_hash_are_all_found_and_leave_one_by_one(void)
{
    struct chains t;
    check_equal(chains_init(&t, 4), 0);
    for (uint32_t i = 0; i < 40; i++)
        insert(&t, i, i / 4 * UINT64_C(0x900000001));
    for (uint32_t hash = 0; hash < 10; hash++)
        check_equal(count_of(&t, hash * UINT64_C(0x900000001)), 4);
    check_equal(count_of(&t, 1), 0);
    for (uint32_t i = 0; i < 4; i++) {
        items[4 + i].in = false;
        chains_remove(&t, &items[4 + i].node);
        check_equal(count_of(&t, UINT64_C(0x900000001)), 3 - i);
    }
    check_equal(t.count, 36);
    check_walk(&t);
    chains_deinit(&t);
}

static void hashes_that_differ_in_their_upper_bits_alone_do_not_share_a_chain(void)
{
    struct chains t;
    check_equal(chains_init(&t, 64), 0);
    for (uint64_t i = 0; i < 64; i++)
        insert(&t, (uint32_t)i, i << 29);
    for (uint32_t i = 0; i < 64; i++)
        check(t.heads[i] != NULL && t.heads[i]->next == NULL);
    chains_deinit(&t);
}

static void heads_double_when_there_are_more_nodes_than_heads(void)
{
    struct chains t;
    check_equal(chains_init(&t, 4), 0);
    for (uint32_t i = 0; i < 4; i++)
        insert(&t, i, i);
    check_equal(t.mask, 3);
    insert(&t, 4, 4);
    check_equal(t.mask, 7);
    for (uint32_t i = 0; i < 5; i++)
        check_equal(count_of(&t, i), 1);
    check_equal(t.count, 5);
    check_equal(chains_memory(&t), 8 * sizeof(void *));
    chains_deinit(&t);
}

static void without_memory_for_more_heads_the_chains_grow(void)
{
    struct chains t, *volatile seen = &t; // else a compiler may leave out memory that nobody looks at, and say that it was had
    memory_fails = true;
    check_equal(chains_init(seen, 2), -ENOMEM);
    memory_fails = false;
    check_equal(chains_init(&t, 2), 0);
    memory_fails = true;
    for (uint32_t i = 0; i < 100; i++)
        insert(&t, i, i);
    check_equal(t.mask, 1);
    for (uint32_t i = 0; i < 100; i++)
        check_equal(count_of(&t, i), 1);
    memory_fails = false;
    insert(&t, 100, 100);
    check_equal(t.mask, 3);
    check_equal(t.count, 101);
    check_walk(&t);
    chains_deinit(&t);
}

static void a_table_is_what_was_put_in_and_not_taken_out(void)
{
    struct prng prng;
    struct chains t;
    prng_init(&prng, 7);
    check_equal(chains_init(&t, 1), 0);
    for (uint32_t i = 0; i < ITEMS; i++)
        items[i].in = false;
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t i = (uint32_t)prng_below(&prng, ITEMS);
        if (items[i].in) {
            items[i].in = false;
            chains_remove(&t, &items[i].node);
        } else {
            insert(&t, i, prng_below(&prng, 300) * UINT64_C(0x9e3779b97f4a7c15));
        }
        if (step % 500 == 0)
            check_walk(&t);
    }
    uint32_t in = 0;
    for (uint32_t i = 0; i < ITEMS; i++)
        in += items[i].in;
    check_equal(t.count, in);
    check_walk(&t);
    for (uint32_t hash = 0; hash < 300; hash++)
        in -= count_of(&t, hash * UINT64_C(0x9e3779b97f4a7c15));
    check_equal(in, 0);
    chains_deinit(&t);
}

TESTS(TEST(an_empty_table_has_nothing), TEST(nodes_of_one_hash_are_all_found_and_leave_one_by_one),
      TEST(hashes_that_differ_in_their_upper_bits_alone_do_not_share_a_chain), TEST(heads_double_when_there_are_more_nodes_than_heads),
      TEST(without_memory_for_more_heads_the_chains_grow), TEST(a_table_is_what_was_put_in_and_not_taken_out))
