// SPDX-License-Identifier: Apache-2.0
#include "engine/store/evict.h"

#include "test/unit/store/cache_world.h"

static bool put(struct world *w, uint64_t id, size_t len, int64_t deadline, int64_t now)
{
    static uint8_t value[100000];
    struct slice key = slice_of(&id, sizeof id);
    if (!store_make_room(w->store, now))
        return false;
    return keyspace_set(w->ks, key, keyspace_hash(w->ks, key), ENTRY_STRING, slice_of(value, len), deadline, now) != NULL;
}

static struct entry *get(struct world *w, uint64_t id, int64_t now)
{
    struct slice key = slice_of(&id, sizeof id);
    return keyspace_find(w->ks, key, keyspace_hash(w->ks, key), now);
}

static void without_eviction_the_limit_refuses_and_deletes_make_room(void)
{
    struct world w;
    world_start(&w, STORE_NOEVICTION);
    uint64_t id = 0;
    while (put(&w, id, 100, ENTRY_NO_DEADLINE, NOW))
        id++;
    check(store_memory_used(w.store) > LIMIT && store_memory_used(w.store) < LIMIT + 20000);
    check_equal(keyspace_count(w.ks), id);
    for (uint64_t i = 0; i < 200; i++)
        keyspace_remove(w.ks, get(&w, i, NOW));
    check(put(&w, 0, 100, ENTRY_NO_DEADLINE, NOW));
    world_stop(&w);
}

static void every_policy_keeps_the_limit(void)
{
    for (uint32_t policy = STORE_ALLKEYS_LRU; policy < STORE_POLICIES; policy++) {
        struct world w;
        world_start(&w, (enum store_policy)policy);
        for (uint64_t id = 0; id < 60000 && test_failures == 0; id++) {
            check(put(&w, id, id % 500 == 0 ? 70000 : id % 300, NOW + 1000000 + (int64_t)(id % 1000), NOW + (int64_t)id));
            check(store_memory_used(w.store) <= LIMIT + 100000);
        }
        check(keyspace_stats(w.ks).evicted > 10000);
        check(keyspace_count(w.ks) > 5000);
        audit(index_valid(&w.store->world, &w.ks->index));
        audit(s3fifo_valid(w.store));
        world_stop(&w);
    }
}

static void volatile_policies_leave_keys_without_deadline_alone(void)
{
    static const enum store_policy POLICIES[] = { STORE_VOLATILE_LRU, STORE_VOLATILE_LFU, STORE_VOLATILE_RANDOM, STORE_VOLATILE_TTL,
                                                  STORE_VOLATILE_S3FIFO };
    for (int i = 0; i < 5; i++) {
        struct world w;
        world_start(&w, POLICIES[i]);
        uint64_t id = 0;
        for (; id < 20000; id++) // one in a hundred may go
            check(put(&w, id, 60, id % 100 == 0 ? NOW + 1000000 : ENTRY_NO_DEADLINE, NOW));
        while (put(&w, id, 60, ENTRY_NO_DEADLINE, NOW))
            id++;
        check_equal(keyspace_deadline_count(w.ks), 0);
        check_equal(keyspace_count(w.ks), id - 200);
        check_equal(keyspace_stats(w.ks).evicted, 200);
        world_stop(&w);
    }
}

static double survivors(struct world *w, uint64_t from, uint64_t to, int64_t now)
{
    uint64_t there = 0;
    for (uint64_t id = from; id < to; id++) {
        struct slice key = slice_of(&id, sizeof id);
        there += keyspace_peek(w->ks, key, keyspace_hash(w->ks, key), now) != NULL;
    }
    return (double)there / (double)(to - from);
}

static void lru_keeps_what_was_read_lately(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_LRU);
    int64_t now = NOW;
    for (uint64_t id = 0; id < 20000; id++, now += 10)
        put(&w, id, 100, ENTRY_NO_DEADLINE, now);
    for (uint64_t id = 0; id < 20000; id += 2)
        check(get(&w, id, now) != NULL);
    now += 100000;
    for (uint64_t id = 50000; id < 50000 + 22000; id++, now += 10)
        put(&w, id, 100, ENTRY_NO_DEADLINE, now);
    uint64_t even = 0, odd = 0;
    for (uint64_t id = 0; id < 20000; id++)
        *(id % 2 == 0 ? &even : &odd) += survivors(&w, id, id + 1, now) > 0;
    check(10000 - odd > 3 * (10000 - even));
    world_stop(&w);
}

static void lfu_keeps_what_is_read_often(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_LFU);
    for (uint64_t id = 0; id < 1000; id++)
        put(&w, id, 100, ENTRY_NO_DEADLINE, NOW);
    for (int round = 0; round < 100; round++) {
        for (uint64_t id = 0; id < 1000; id++)
            get(&w, id, NOW);
    }
    for (uint64_t id = 10000; id < 100000; id++)
        put(&w, id, 100, ENTRY_NO_DEADLINE, NOW);
    check(survivors(&w, 0, 1000, NOW) > 0.95);
    world_stop(&w);
}

static void ttl_takes_the_nearest_deadline_first(void)
{
    struct world w;
    world_start(&w, STORE_VOLATILE_TTL);
    (void)store_maintain(w.store, NOW, 1);
    uint64_t id = 0;
    for (; store_memory_used(w.store) < LIMIT; id++)
        put(&w, id, 100, NOW + 100000 + (int64_t)id * 1000, NOW);
    for (uint64_t more = 0; more < 3000; more++)
        put(&w, 1000000 + more, 100, NOW + 1000000000, NOW);
    check(survivors(&w, 0, 4000, NOW) < 0.8);
    check(survivors(&w, 16000, id, NOW) > 0.97);
    world_stop(&w);
}

static void others_bytes_and_a_lower_limit_evict_too(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_RANDOM);
    for (uint64_t id = 0; id < 30000; id++)
        put(&w, id, 100, ENTRY_NO_DEADLINE, NOW);
    store_charge(w.store, LIMIT / 2);
    check(store_make_room(w.store, NOW));
    for (int i = 0; i < 1000 && store_maintain(w.store, NOW, 256); i++)
        continue;
    check(store_memory_used(w.store) <= LIMIT);
    store_set_memory_max(w.store, LIMIT / 4); // less than what others hold: all goes, then nothing may
    for (int i = 0; i < 1000 && store_make_room(w.store, NOW); i++)
        continue;
    check_equal(keyspace_count(w.ks), 0);
    check(!store_make_room(w.store, NOW));
    store_charge(w.store, -(int64_t)(LIMIT / 2));
    check(store_make_room(w.store, NOW));
    world_stop(&w);
}

TESTS(TEST(without_eviction_the_limit_refuses_and_deletes_make_room), TEST(every_policy_keeps_the_limit),
      TEST(volatile_policies_leave_keys_without_deadline_alone), TEST(lru_keeps_what_was_read_lately), TEST(lfu_keeps_what_is_read_often),
      TEST(ttl_takes_the_nearest_deadline_first), TEST(others_bytes_and_a_lower_limit_evict_too))
