// SPDX-License-Identifier: Apache-2.0
#include "engine/store/s3fifo.h"

#include "test/unit/store/cache_world.h"

static void settle(struct world *w)
{
    for (int i = 0; store_maintain(w->store, NOW, 256); i++)
        check(i < 100000);
    audit(s3fifo_valid(w->store));
}

static void settle_and_stop(struct world *w)
{
    settle(w);
    world_stop(w);
}

static struct entry *put(struct world *w, uint64_t id, size_t len, int64_t deadline)
{
    static uint8_t value[100000];
    struct slice key = slice_of(&id, sizeof id);
    (void)store_make_room(w->store, NOW);
    struct entry *e = keyspace_set(w->ks, key, keyspace_hash(w->ks, key), ENTRY_STRING, slice_of(value, len), deadline, NOW);
    check(e != NULL);
    return e;
}

static struct entry *get(struct world *w, uint64_t id)
{
    struct slice key = slice_of(&id, sizeof id);
    return keyspace_find(w->ks, key, keyspace_hash(w->ks, key), NOW);
}

static uint64_t there(struct world *w, uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    for (uint64_t id = from; id < to; id++) {
        struct slice key = slice_of(&id, sizeof id);
        count += keyspace_peek(w->ks, key, keyspace_hash(w->ks, key), NOW) != NULL;
    }
    return count;
}

static void what_is_asked_for_once_leaves_what_is_asked_for_again_stays(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_S3FIFO);
    for (uint64_t id = 0; id < 10000; id++)
        put(&w, id, 100, ENTRY_NO_DEADLINE);
    for (int round = 0; round < 3; round++)
        for (uint64_t id = 0; id < 10000; id++)
            check(get(&w, id) != NULL);
    for (uint64_t id = 100000; id < 500000; id++) { // a scan of a dozen times the memory
        put(&w, id, 100, ENTRY_NO_DEADLINE);
        if (id % 16 == 0)
            (void)get(&w, id / 16 % 10000);
    }
    check_equal(there(&w, 0, 10000), 10000);
    settle_and_stop(&w);
}

static void small_keeps_to_a_tenth_of_the_bytes(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_S3FIFO);
    for (uint64_t id = 0; id < 200000; id++) {
        put(&w, id, 20 + id % 400, ENTRY_NO_DEADLINE);
        for (int reads = 0; id % 2 == 0 && reads < 2; reads++)
            (void)get(&w, id);
    }
    const struct s3fifo *f = &w.store->s3fifo;
    check(f->small.bytes * 100 < (f->small.bytes + f->main.bytes) * 12);
    check(f->small.bytes * 100 > (f->small.bytes + f->main.bytes) * 8);
    settle_and_stop(&w);
}

static void a_key_that_comes_back_soon_goes_to_main_at_once(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_S3FIFO);
    uint64_t id = 0;
    for (; keyspace_stats(w.ks).evicted < 5000; id++) {
        put(&w, id, 100, ENTRY_NO_DEADLINE);
        for (int reads = 0; id % 2 == 0 && reads < 2; reads++)
            (void)get(&w, id);
    }
    uint64_t back = 0;
    for (uint64_t old = 6000; old < 9500; old++) {
        if (there(&w, old, old + 1) > 0)
            continue;
        put(&w, old, 100, ENTRY_NO_DEADLINE);
        back += (*entry_recency(get(&w, old)) & S3FIFO_MAIN) != 0;
        if (back == 100)
            break;
    }
    check_equal(back, 100);
    check((*entry_recency(put(&w, id + 1000000, 100, ENTRY_NO_DEADLINE)) & S3FIFO_MAIN) == 0);
    settle_and_stop(&w);
}

static void a_policy_chosen_late_takes_in_what_is_there(void)
{
    struct world w;
    world_start(&w, STORE_NOEVICTION);
    uint64_t id = 0;
    for (; store_memory_used(w.store) < LIMIT; id++)
        put(&w, id, 100, ENTRY_NO_DEADLINE);
    static const enum store_policy TURNS[] = { STORE_ALLKEYS_S3FIFO, STORE_ALLKEYS_LRU, STORE_VOLATILE_S3FIFO, STORE_ALLKEYS_S3FIFO };
    for (int i = 0; i < 4; i++) {
        store_set_policy(w.store, TURNS[i]);
        for (uint64_t end = id + 3000; id < end; id++)
            put(&w, id, 100, id % 2 == 0 ? NOW + 100000 : ENTRY_NO_DEADLINE);
        settle(&w);
    }
    check(store_memory_used(w.store) <= LIMIT);
    store_set_memory_max(w.store, 1); // all may go, whenever it came
    bool more = true;
    for (int i = 0; i < 100000 && more; i++)
        more = store_make_room(w.store, NOW);
    check(!more);
    check_equal(keyspace_count(w.ks), 0);
    store_set_memory_max(w.store, LIMIT);
    settle_and_stop(&w);
}

static void a_deadline_makes_a_key_volatile_and_its_removal_does_not(void)
{
    struct world w;
    world_start(&w, STORE_VOLATILE_S3FIFO);
    for (uint64_t id = 0; id < 1000; id++) {
        put(&w, id, id % 10 == 0 ? 70000 % (id + 1) : 30, id % 2 == 0 ? NOW + 100000 : ENTRY_NO_DEADLINE);
        if (id % 4 < 2) // 0 -> stays, 1 -> may go; 2 may go, 3 stays
            check(keyspace_set_deadline(w.ks, get(&w, id), id % 2 == 0 ? ENTRY_NO_DEADLINE : NOW + 100000) != NULL);
    }
    check_equal(w.store->s3fifo.small.live + w.store->s3fifo.main.live, keyspace_deadline_count(w.ks));
    store_set_memory_max(w.store, 1);
    while (store_make_room(w.store, NOW))
        continue;
    check_equal(keyspace_count(w.ks), 500);
    for (uint64_t id = 0; id < 1000; id++)
        check_equal(there(&w, id, id + 1), id % 4 == 0 || id % 4 == 3);
    settle_and_stop(&w);
}

static void dead_records_do_not_pile_up(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_S3FIFO);
    for (uint64_t i = 0; i < 300000; i++) {
        uint64_t id = i % 1000;
        put(&w, id, i % 3000, ENTRY_NO_DEADLINE); // another slot every time
        if (i % 3 == 0)
            keyspace_remove(w.ks, get(&w, id));
        if (i % 64 == 0)
            (void)store_maintain(w.store, NOW, 256);
    }
    settle(&w);
    const struct s3fifo *f = &w.store->s3fifo;
    check(f->small.records + f->main.records <= 2 * (f->small.live + f->main.live) + 2 * QUEUE_SLACK);
    settle_and_stop(&w);
}

// Slots and everything else that counts; what the system gives for it is measured by skerry-memory.
static void an_entry_of_a_full_cache_costs_28_bytes_at_most(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_S3FIFO);
    store_set_memory_max(w.store, UINT64_C(32) << 20);
    for (uint64_t id = 0; id < 1500000; id++) {
        struct {
            uint64_t id, more;
        } key = { .id = id, .more = ~id };
        static uint8_t value[64];
        struct slice k = slice_of(&key, sizeof key);
        (void)store_make_room(w.store, NOW);
        check(keyspace_set(w.ks, k, keyspace_hash(w.ks, k), ENTRY_STRING, slice_of(value, sizeof value), ENTRY_NO_DEADLINE, NOW) != NULL);
        for (int reads = 0; id % 3 == 0 && reads < 2; reads++)
            (void)keyspace_find(w.ks, k, keyspace_hash(w.ks, k), NOW);
    }
    double each = (double)store_memory_used(w.store) / (double)keyspace_count(w.ks);
    check(each <= 16 + 64 + 28);
    settle_and_stop(&w);
}

TESTS(TEST(what_is_asked_for_once_leaves_what_is_asked_for_again_stays), TEST(small_keeps_to_a_tenth_of_the_bytes),
      TEST(a_key_that_comes_back_soon_goes_to_main_at_once), TEST(a_policy_chosen_late_takes_in_what_is_there),
      TEST(a_deadline_makes_a_key_volatile_and_its_removal_does_not), TEST(dead_records_do_not_pile_up),
      TEST(an_entry_of_a_full_cache_costs_28_bytes_at_most))
