// SPDX-License-Identifier: Apache-2.0
#include "engine/store/deadline.h"

#include "base/prng.h"
#include "base/test.h"
#include "engine/store/inside.h"
#include "test/unit/store/pages.h"

#define NOW INT64_C(1750000000000)

struct world {
    struct pages pages;
    struct store *store;
    struct keyspace *ks;
};

static void world_start(struct world *w)
{
    pages_init(&w->pages);
    struct store_options o = { .workers = 1, .databases = 16, .memory = &w->pages.memory };
    route_init(&o.route, 4, ROUTE_FULL_KEY);
    check_equal(store_new(&w->store, &o), 0);
    w->ks = NULL;
}

static void world_stop(struct world *w)
{
    store_free(w->store);
    check_equal(w->pages.held, 0);
}

static struct keyspace *place(struct world *w, uint64_t *id, uint32_t db)
{
    return store_keyspace(w->store, route_shard(&w->store->options.route, slice_of(id, sizeof *id)), db);
}

static struct entry *put(struct world *w, uint64_t id, int64_t deadline, int64_t now)
{
    struct keyspace *ks = place(w, &id, (uint32_t)id % 3);
    struct slice key = slice_of(&id, sizeof id);
    return keyspace_set(ks, key, keyspace_hash(ks, key), ENTRY_STRING, slice_cstr("value"), deadline, now);
}

static bool there(struct world *w, uint64_t id)
{
    struct keyspace *ks = place(w, &id, (uint32_t)id % 3);
    struct slice key = slice_of(&id, sizeof id);
    return index_find(&w->store->world, &ks->index, keyspace_hash(ks, key), key).bucket != NULL;
}

static uint64_t total(struct world *w)
{
    uint64_t count = 0;
    for (uint32_t shard = 0; shard < 4; shard++) {
        for (uint32_t db = 0; db < 3; db++)
            count += keyspace_count(store_keyspace(w->store, shard, db));
    }
    return count;
}

// From milliseconds to decades, on both sides of the 39-bit range.
static void memory_comes_back_within_a_tick_of_the_deadline(void)
{
    struct world w;
    world_start(&w);
    struct prng prng;
    prng_init(&prng, 3);
    for (uint64_t round = 0; round < 3000; round++) {
        int64_t start = NOW + (int64_t)(round * 1000);
        int64_t deadline = start + 1 + (int64_t)(prng_next(&prng) >> (20 + prng_next(&prng) % 44));
        put(&w, round, deadline, start);
        (void)store_maintain(w.store, deadline - 1, 1000);
        check(there(&w, round));
        check(store_next_deadline(w.store) <= deadline + DEADLINE_TICK_MS);
        (void)store_maintain(w.store, deadline + DEADLINE_TICK_MS, 1000);
        check(!there(&w, round));
        if (test_failures > 0)
            break;
        store_free(w.store);
        world_start(&w);
    }
    world_stop(&w);
}

static void many_deadlines_all_come_in_time_as_the_clock_goes_on(void)
{
    struct world w;
    world_start(&w);
    struct prng prng;
    prng_init(&prng, 4);
    static int64_t deadlines[20000];
    for (uint64_t id = 0; id < 20000; id++) {
        deadlines[id] = NOW + 1 + (int64_t)(prng_next(&prng) % (id % 4 == 0 ? 1000 : 100000));
        put(&w, id, deadlines[id], NOW);
    }
    for (int64_t now = NOW; now <= NOW + 101000 && test_failures == 0; now += 97) {
        while (store_maintain(w.store, now, 64))
            continue;
        for (uint64_t id = 0; id < 20000; id++) {
            if (deadlines[id] > now)
                check(there(&w, id));
            else if (deadlines[id] + DEADLINE_TICK_MS <= now)
                check(!there(&w, id));
        }
    }
    check_equal(total(&w), 0);
    check(store_next_deadline(w.store) == INT64_MAX);
    world_stop(&w);
}

static void a_deadline_that_moves_later_costs_no_record(void)
{
    struct world w;
    world_start(&w);
    for (int64_t i = 0; i < 10000; i++)
        put(&w, 1, NOW + 100000 + i * 100, NOW + i);
    check_equal(w.store->deadlines.records, 1);
    (void)store_maintain(w.store, NOW + 500000, 1000);
    check(there(&w, 1));
    (void)store_maintain(w.store, NOW + 100000 + 9999 * 100 + DEADLINE_TICK_MS, 1000);
    check(!there(&w, 1));
    world_stop(&w);
}

static void records_that_say_nothing_stay_bounded(void)
{
    struct world w;
    world_start(&w);
    uint64_t most = 0;
    for (uint64_t i = 0; i < 400000; i++) {
        uint64_t id = i % 1000;
        put(&w, id, NOW + (i / 1000 % 2 == 0 ? 100000000 : 90000000) + (int64_t)id, NOW);
        if (i % 16 == 0)
            (void)store_maintain(w.store, NOW, 64);
        most = w.store->deadlines.records > most ? w.store->deadlines.records : most;
    }
    check(most < 12000);
    while (store_maintain(w.store, NOW, 64))
        continue;
    check(w.store->deadlines.records <= 2 * 1000 + DEADLINE_SLACK);
    check_equal(total(&w), 1000);
    while (store_maintain(w.store, NOW + 89999999, 64))
        continue;
    check_equal(total(&w), 1000);
    while (store_maintain(w.store, NOW + 100002000, 64))
        continue;
    check_equal(total(&w), 0);
    world_stop(&w);
}

// Records of what was cleared, or of slots that others use now, expire nobody.
static void old_records_hurt_no_other_entry(void)
{
    struct world w;
    world_start(&w);
    for (uint64_t id = 0; id < 5000; id++)
        put(&w, id, NOW + 1000, NOW);
    for (uint32_t shard = 0; shard < 4; shard++) {
        for (uint32_t db = 0; db < 3; db++)
            keyspace_clear(store_keyspace(w.store, shard, db));
    }
    for (uint64_t id = 0; id < 5000; id++)
        put(&w, id, id % 2 == 0 ? NOW + 9000 : ENTRY_NO_DEADLINE, NOW);
    for (int i = 0; i < 3; i++) {
        while (store_maintain(w.store, NOW + 2000, 100))
            continue;
    }
    check_equal(total(&w), 5000);
    while (store_maintain(w.store, NOW + 9100, 100))
        continue;
    check_equal(total(&w), 2500);
    world_stop(&w);
}

static void a_swapped_database_keeps_its_deadlines(void)
{
    struct world w;
    world_start(&w);
    put(&w, 0, NOW + 1000, NOW);
    uint64_t id = 0;
    store_swap(w.store, 0, 9);
    check_equal(keyspace_count(place(&w, &id, 9)), 1);
    check_equal(keyspace_count(place(&w, &id, 0)), 0);
    (void)store_maintain(w.store, NOW + 2000, 100);
    check_equal(keyspace_count(place(&w, &id, 9)), 0);
    check_equal(keyspace_stats(place(&w, &id, 9)).expired, 1);
    world_stop(&w);
}

static void a_clock_that_goes_back_expires_nothing_early_and_forgets_nothing(void)
{
    struct world w;
    world_start(&w);
    (void)store_maintain(w.store, NOW, 1000);
    for (uint64_t id = 0; id < 100; id++)
        put(&w, id, NOW + 5000, NOW);
    int64_t back = NOW - 1000;
    put(&w, 200, back + 500, back); // a small step: waited for
    (void)store_maintain(w.store, back, 1000);
    check(there(&w, 200));
    back = NOW - INT64_C(86400000); // a day
    put(&w, 201, back + 3000, back);
    for (int64_t now = back; now < back + 4000; now += 100) {
        while (store_maintain(w.store, now, 64))
            continue;
        check(there(&w, 201) || now >= back + 3000);
        check(!there(&w, 201) || now < back + 3000 + 2 * DEADLINE_TICK_MS + 100);
    }
    check_equal(total(&w), 101);
    while (store_maintain(w.store, NOW + 5000 + DEADLINE_TICK_MS, 64))
        continue;
    check_equal(total(&w), 0);
    world_stop(&w);
}

static void the_average_is_that_of_all_deadlines(void)
{
    struct world w;
    world_start(&w);
    uint64_t id = 3;
    struct keyspace *ks = place(&w, &id, 0);
    check_equal(keyspace_average_ttl_ms(ks, NOW), 0);
    struct entry *e = put(&w, 3, NOW + 1000, NOW);
    check_equal(keyspace_average_ttl_ms(ks, NOW), 1000);
    check(keyspace_set_deadline(ks, e, NOW + 5000) != NULL);
    check_equal(keyspace_average_ttl_ms(ks, NOW), 5000);
    check_equal(keyspace_deadline_count(ks), 1);
    world_stop(&w);
}

TESTS(TEST(memory_comes_back_within_a_tick_of_the_deadline), TEST(many_deadlines_all_come_in_time_as_the_clock_goes_on),
      TEST(a_deadline_that_moves_later_costs_no_record), TEST(records_that_say_nothing_stay_bounded), TEST(old_records_hurt_no_other_entry),
      TEST(a_swapped_database_keeps_its_deadlines), TEST(a_clock_that_goes_back_expires_nothing_early_and_forgets_nothing),
      TEST(the_average_is_that_of_all_deadlines))
