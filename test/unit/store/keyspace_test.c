// SPDX-License-Identifier: Apache-2.0
#include "engine/store/keyspace.h"

#include <errno.h>

#include "test/unit/store/model.h"

static const struct store_options PLAIN = { .workers = 1, .databases = 2 };

static void random_operations_agree_with_a_plain_map(void)
{
    static struct model m;
    static const enum store_policy POLICIES[] = { STORE_NOEVICTION, STORE_ALLKEYS_LRU, STORE_ALLKEYS_S3FIFO, STORE_VOLATILE_S3FIFO };
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct store_options o = PLAIN;
        o.public_hash = seed % 2 == 0;
        o.policy = POLICIES[seed % 4];
        check_equal(model_start(&m, seed, &o), 0);
        m.keys = seed == 4 ? 100 : MODEL_KEYS;
        for (int i = 0; i < 150000 && test_failures == 0; i++) {
            model_step(&m);
            if (i % 10000 == 0)
                model_check(&m);
        }
        model_check(&m);
        model_stop(&m);
        if (test_failures > 0)
            printf("seed %d\n", (int)seed);
    }
}

static void random_operations_in_a_full_cache_agree_with_a_plain_map(void)
{
    static struct model m;
    for (uint64_t seed = 21; seed <= 23; seed++) {
        struct store_options o = PLAIN;
        o.policy = seed == 23 ? STORE_VOLATILE_S3FIFO : STORE_ALLKEYS_S3FIFO;
        o.memory_max = 1 << 20;
        check_equal(model_start(&m, seed, &o), 0);
        m.evicts = true;
        for (int i = 0; i < 150000 && test_failures == 0; i++) {
            model_step(&m);
            if (i % 10000 == 0)
                model_check(&m);
        }
        model_check(&m);
        check(keyspace_stats(m.ks).evicted > 1000);
        model_stop(&m);
        if (test_failures > 0)
            printf("seed %d\n", (int)seed);
    }
}

static void out_of_memory_changes_nothing(void)
{
    static struct model m;
    for (uint64_t seed = 11; seed <= 13; seed++) {
        struct store_options o = PLAIN;
        check_equal(model_start(&m, seed, &o), 0);
        store_free(m.store);
        m.pages.range_max = ARENA_EXTENT; // 2 MiB: full all the time
        o.memory = &m.pages.memory;
        route_init(&o.route, 1, ROUTE_FULL_KEY);
        check_equal(store_new(&m.store, &o), 0);
        m.ks = store_keyspace(m.store, 0, 0);
        m.may_fail = true;
        m.value_max = seed == 13 ? 40 : 900;
        for (int i = 0; i < 100000 && test_failures == 0; i++) {
            m.pages.fail_in = i % 3 == 0 ? (int64_t)(prng_next(&m.prng) % 3) : -1;
            m.pages.fail_on = i % 2 == 0;
            model_step(&m);
            if (i % 10000 == 0)
                model_check(&m);
        }
        m.pages.fail_in = -1;
        model_check(&m);
        check(m.failures > 100);
        model_stop(&m);
    }
}

// Every call for pages in a short history fails once, each in a run of its own; with a range for large values, and with a mapping
// for each of them.
static void any_one_failure_changes_nothing_else(void)
{
    static struct model m;
    static const enum store_policy POLICIES[] = { STORE_NOEVICTION, STORE_ALLKEYS_S3FIFO };
    for (int p = 0; p < 4; p++) {
        struct store_options o = PLAIN;
        o.policy = POLICIES[p % 2];
        o.memory_max = p % 2 == 0 ? 0 : 400000;
        bool failed = true;
        int64_t at = 0;
        for (; failed && at < 2000 && test_failures == 0; at++) {
            check_equal(model_start(&m, 31, &o), 0);
            m.may_fail = true;
            m.evicts = o.memory_max != 0;
            m.keys = 600;
            m.pages.range_max = p < 2 ? SIZE_MAX : RUNS_STEP * RUNS_PAGE - 1;
            m.pages.fail_in = at;
            for (int i = 0; i < 6000; i++)
                model_step(&m);
            failed = m.pages.fail_in < 0;
            m.pages.fail_in = -1;
            model_check(&m);
            model_stop(&m);
        }
        check_equal(failed, false);
        check(at > (p < 2 ? 2 : 20));
    }
}

static void a_store_without_memory_is_no_store(void)
{
    struct pages pages;
    pages_init(&pages);
    struct store_options o = PLAIN;
    o.memory = &pages.memory;
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    struct store *s = NULL;
    pages.fail_on = true;
    for (int i = 0; i < 20; i++) { // the arena tries smaller and smaller ranges
        pages.fail_in = i;
        int failed = store_new(&s, &o);
        check(failed == -ENOMEM || failed == 0);
        if (failed == 0)
            store_free(s);
        check_equal(pages.held, 0);
    }
}

struct world {
    struct pages pages;
    struct store *store;
    struct keyspace *ks;
};

static void world_start(struct world *w)
{
    pages_init(&w->pages);
    struct store_options o = PLAIN;
    o.memory = &w->pages.memory;
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    check_equal(store_new(&w->store, &o), 0);
    w->ks = store_keyspace(w->store, 0, 0);
}

static void world_stop(struct world *w)
{
    store_free(w->store);
    check_equal(w->pages.held, 0);
}

static struct entry *put(struct world *w, uint64_t id, size_t len, int64_t deadline)
{
    static uint8_t value[100000];
    struct slice key = slice_of(&id, sizeof id);
    return keyspace_set(w->ks, key, keyspace_hash(w->ks, key), ENTRY_STRING, slice_of(value, len), deadline, MODEL_START);
}

static bool drop(struct world *w, uint64_t id)
{
    struct slice key = slice_of(&id, sizeof id);
    return keyspace_delete(w->ks, key, keyspace_hash(w->ks, key), MODEL_START);
}

#define SCAN_KEYS 50000u

static void mark_seen(void *context, struct entry *e)
{
    uint8_t *seen = context;
    uint64_t id = load_u64(entry_key(e).data);
    if (id < SCAN_KEYS)
        seen[id] = 1;
}

// Keys come and go by tens of thousands between the steps of a scan: those that stay are all seen.
static void the_index_is_right_at_every_step_of_its_directory(void)
{
    struct world w;
    world_start(&w);
    uint64_t ahead = 0, swaps = 0;
    const struct directory *before = NULL;
    for (uint64_t id = 0; id < 60000 && test_failures == 0; id++) {
        struct slice key = slice_of(&id, sizeof id);
        check(keyspace_set(w.ks, key, keyspace_hash(w.ks, key), ENTRY_STRING, slice_of(NULL, 0), ENTRY_NO_DEADLINE, MODEL_START) != NULL);
        if (id % 7 == 0)
            check(keyspace_delete(w.ks, key, keyspace_hash(w.ks, key), MODEL_START));
        ahead += w.ks->index.ahead_slots > 0;
        swaps += before != w.ks->index.directory;
        before = w.ks->index.directory;
        if (id % 300 == 0)
            audit(index_valid(&w.store->world, &w.ks->index));
    }
    check(ahead > 1000 && swaps >= 5);
    world_stop(&w);
}

static void a_scan_sees_what_was_there_from_begin_to_end(void)
{
    static uint8_t seen[SCAN_KEYS];
    struct world w;
    world_start(&w);
    for (int round = 0; round < 6; round++) {
        memset(seen, 0, sizeof seen);
        uint64_t stay = round % 2 == 0 ? 300 : SCAN_KEYS; // growing from few, shrinking from many
        for (uint64_t id = 0; id < stay; id++)
            put(&w, id, 8, ENTRY_NO_DEADLINE);
        uint64_t kept = stay == SCAN_KEYS ? 500 : stay, next = SCAN_KEYS, gone = kept, cursor = 0;
        do {
            cursor = keyspace_scan(w.ks, cursor, 7, MODEL_START, mark_seen, seen);
            for (int i = 0; i < 50; i++) {
                if (stay == SCAN_KEYS && gone < SCAN_KEYS)
                    drop(&w, gone++);
                else if (stay != SCAN_KEYS && next < 3 * SCAN_KEYS)
                    put(&w, next++, 8, ENTRY_NO_DEADLINE);
            }
        } while (cursor != 0);
        uint64_t missing = 0;
        for (uint64_t id = 0; id < kept; id++)
            missing += !seen[id];
        check_equal(missing, 0);
        keyspace_clear(w.ks);
    }
    world_stop(&w);
}

static void reclaiming_gives_all_that_was_cleared_back_at_once(void)
{
    struct world w;
    world_start(&w);
    for (uint64_t id = 0; id < 100000; id++) {
        struct slice key = slice_of(&id, sizeof id);
        check(keyspace_set(w.ks, key, keyspace_hash(w.ks, key), ENTRY_STRING, slice_of(&id, 8), ENTRY_NO_DEADLINE, MODEL_START) != NULL);
    }
    keyspace_clear(w.ks);
    check(store_memory_used(w.store) > 2000000);
    store_reclaim(w.store);
    check_equal(store_memory_used(w.store), 0);
    check(!store_maintain(w.store, MODEL_START, 1));
    world_stop(&w);
}

static void cleared_memory_comes_back_in_pieces(void)
{
    struct world w;
    world_start(&w);
    for (uint64_t id = 0; id < 30000; id++)
        put(&w, id, id % 1000 == 0 ? 70000 : 100, id % 2 == 0 ? MODEL_START + 1000 : ENTRY_NO_DEADLINE);
    uint64_t before = store_memory_used(w.store);
    check(before > 30000u * 100);
    check_equal(keyspace_deadline_count(w.ks), 15000);
    keyspace_clear(w.ks);
    check_equal(keyspace_count(w.ks), 0);
    check_equal(keyspace_deadline_count(w.ks), 0);
    check(put(&w, 5, 10, ENTRY_NO_DEADLINE) != NULL);
    int steps = 0;
    while (store_maintain(w.store, MODEL_START, 256) && steps < 100000)
        steps++;
    check(steps > 20);
    check(steps < 100000);
    struct store_memory m = store_memory(w.store);
    check(m.entries < 100);
    check_equal(m.blobs, 0);
    (void)store_maintain(w.store, MODEL_START + 5000, UINT32_MAX);
    check_equal(keyspace_count(w.ks), 1);
    world_stop(&w);
}

static void an_emptied_store_gives_its_pages_back(void)
{
    struct world w;
    world_start(&w);
    for (uint64_t id = 0; id < 400000; id++)
        put(&w, id, 100, ENTRY_NO_DEADLINE);
    for (uint64_t id = 0; id < 400000; id++)
        check(drop(&w, id));
    while (store_maintain(w.store, MODEL_START, 1000))
        continue;
    struct store_memory m = store_memory(w.store);
    check_equal(m.entries + m.index + m.blobs + m.deadlines, 0);
    check(m.reserved <= 16u << 20);
    check(w.pages.discarded >= 24u << 20);
    world_stop(&w);
}

static void an_append_a_byte_at_a_time_moves_seldom(void)
{
    struct world w;
    world_start(&w);
    struct entry *e = put(&w, 1, 10, ENTRY_NO_DEADLINE);
    uint32_t moves = 0;
    for (size_t len = 11; len <= 200000; len++) {
        struct entry *before = e;
        e = keyspace_resize(w.ks, e, len);
        check(e != NULL);
        if (e == NULL)
            break;
        moves += e != before;
    }
    check(moves < 60);
    world_stop(&w);
}

static struct blob *pin(struct entry *e)
{
    struct blob *b = entry_blob(e);
    assert(b != NULL);
    return blob_pin(b);
}

static void a_pinned_value_outlives_its_entry(void)
{
    struct world w;
    world_start(&w);
    struct entry *e = put(&w, 1, 80000, ENTRY_NO_DEADLINE);
    memset(entry_value_bytes(e), 'a', 80000);
    struct blob *b = pin(e);
    memset(entry_value_bytes(e), 'b', 80000); // copies: the reader keeps its bytes
    check(b->data[0] == 'a' && b->data[79999] == 'a');
    check(entry_value(e).data[79999] == 'b');
    blob_unpin(b);
    b = pin(e);
    e = keyspace_resize(w.ks, e, 90000);
    check(b->data[0] == 'b' && b->len == 80000);
    check(entry_value(e).data[0] == 'b' && entry_value(e).data[89999] == 0);
    blob_unpin(b);
    b = pin(e);
    drop(&w, 1);
    check(b->data[0] == 'b');
    check_equal(store_memory(w.store).blobs, 0);
    blob_unpin(b);
    world_stop(&w);
}

static void random_draws_reach_every_key(void)
{
    struct world w;
    world_start(&w);
    struct prng prng;
    prng_init(&prng, 1);
    static uint32_t drawn[1000];
    for (uint64_t id = 0; id < 1000; id++)
        put(&w, id, 3, ENTRY_NO_DEADLINE);
    for (int i = 0; i < 100000; i++)
        drawn[load_u64(entry_key(keyspace_random(w.ks, &prng, MODEL_START)).data)]++;
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < 1000; i++) {
        least = drawn[i] < least ? drawn[i] : least;
        most = drawn[i] > most ? drawn[i] : most;
    }
    check(least > 40 && most < 200);
    world_stop(&w);
}

static void few_entries_need_a_third_step_of_prefetching(void)
{
    struct world w;
    world_start(&w);
    uint32_t displaced = 0, count = 50000;
    char name[32];
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < count; i++) {
            struct slice key = slice_of(name, (size_t)snprintf(name, sizeof name, "key:%u", i));
            uint64_t hash = keyspace_hash(w.ks, key);
            keyspace_prefetch(w.ks, hash);
            if (pass == 0) {
                check(keyspace_set(w.ks, key, hash, ENTRY_STRING, key, ENTRY_NO_DEADLINE, 1) != NULL);
                continue;
            }
            if (keyspace_prefetch_entry(w.ks, hash)) {
                keyspace_prefetch_displaced(w.ks, hash);
                displaced++;
            }
            check(keyspace_find(w.ks, key, hash, 1) != NULL);
        }
    }
    check(displaced > 0 && displaced < count / 5);
    world_stop(&w);
}

// What other keys one call can have to do with, while a table grows and shrinks.
static void no_call_does_more_than_a_segments_work(void)
{
    struct world w;
    world_start(&w);
    uint32_t most = SEGMENT_MAX * BUCKET_SLOTS * 92 / 100;
    uint64_t splits = 0;
    for (uint64_t step = 0; step < 1000000; step++) {
        struct store_work before = store_work(w.store);
        if (step < 500000)
            check(put(&w, step, 5, ENTRY_NO_DEADLINE) != NULL);
        else
            check(drop(&w, step - 500000));
        struct store_work now = store_work(w.store);
        check(now.keys - before.keys <= most && now.moved - before.moved <= most);
        check(now.places - before.places <= 64 || step < 2000); // while it is small, the directory is copied at once
        splits += now.keys - before.keys > most / 2;
    }
    check(splits > 1000);
    world_stop(&w);
}

static void empty_keyspaces_cost_little(void)
{
    check(sizeof(struct keyspace) + sizeof(struct keyspace *) < 256);
    struct world w;
    world_start(&w);
    check_equal(store_memory_used(w.store), 0);
    put(&w, 1, 10, ENTRY_NO_DEADLINE);
    drop(&w, 1);
    while (store_maintain(w.store, MODEL_START, 100))
        continue;
    check_equal(store_memory_used(w.store), 0);
    world_stop(&w);
}

// Three of four entries go; what is left moves together, and each stays what it was, deadline included.
static void compaction_gives_memory_back_and_harms_no_entry(void)
{
    struct world w;
    world_start(&w);
    const uint64_t count = 200000;
    for (uint64_t id = 0; id < count; id++) {
        struct entry *e = put(&w, id, 40 + id % 160, id % 3 == 0 ? MODEL_START + 100000 + (int64_t)(id % 50000) : ENTRY_NO_DEADLINE);
        assert(e != NULL);
        uint8_t *bytes = entry_value_bytes(e);
        assert(bytes != NULL);
        store_u64(bytes, id * 7);
    }
    struct prng prng;
    prng_init(&prng, 5);
    for (uint64_t id = 0; id < count; id++) {
        if (id % 4 != 0)
            drop(&w, id);
    }
    uint64_t before = store_memory(w.store).reserved;
    while (store_maintain(w.store, MODEL_START, 100))
        continue;
    struct store_memory m = store_memory(w.store);
    check(m.reserved < before * 2 / 3);
    check(m.free_slots < (m.entries + m.index) / 3);
    audit(index_valid(&w.store->world, &w.ks->index));
    for (uint64_t id = 0; id < count && test_failures == 0; id++) {
        struct slice key = slice_of(&id, sizeof id);
        const struct entry *e = keyspace_peek(w.ks, key, keyspace_hash(w.ks, key), MODEL_START);
        check((e != NULL) == (id % 4 == 0));
        if (e == NULL)
            continue;
        check_equal(load_u64(entry_value(e).data), id * 7);
        check_equal(entry_value(e).len, 40 + id % 160);
        check_equal(entry_deadline(e), id % 3 == 0 ? MODEL_START + 100000 + (int64_t)(id % 50000) : ENTRY_NO_DEADLINE);
    }
    while (store_maintain(w.store, MODEL_START + 200000, 100))
        continue;
    check_equal(keyspace_deadline_count(w.ks), 0);
    check_equal(keyspace_count(w.ks), count / 4 - (count + 11) / 12);
    world_stop(&w);
}

static double held_over_used(const struct world *w)
{
    struct store_memory m = store_memory(w->store);
    return (double)m.reserved / (double)(m.entries + m.index + m.blobs);
}

static size_t large_len(uint64_t id)
{
    return 8000 + id * 7919 % 92000;
}

// In slots of up to 64 KiB and on runs of pages: half of them go at random, and as many others come.
static void large_values_leave_few_holes(void)
{
    struct world w;
    world_start(&w);
    const uint64_t count = 3000;
    for (uint64_t id = 0; id < count; id++)
        check(put(&w, id, large_len(id), ENTRY_NO_DEADLINE) != NULL);
    struct prng prng;
    prng_init(&prng, 6);
    uint64_t gone = 0, before = store_memory(w.store).reserved;
    for (uint64_t id = 0; id < count; id++) {
        if (prng_below(&prng, 2) == 0)
            gone += drop(&w, id);
    }
    while (store_maintain(w.store, MODEL_START, 80))
        continue;
    check(store_memory(w.store).reserved < before * 2 / 3);
    check(held_over_used(&w) < 1.25);
    for (uint64_t id = count; id < count + gone; id++) {
        check(put(&w, id, large_len(id), ENTRY_NO_DEADLINE) != NULL);
        (void)store_maintain(w.store, MODEL_START, 80);
    }
    while (store_maintain(w.store, MODEL_START, 80))
        continue;
    check(held_over_used(&w) < 1.08);
    world_stop(&w);
}

TESTS(TEST(compaction_gives_memory_back_and_harms_no_entry), TEST(random_operations_agree_with_a_plain_map),
      TEST(random_operations_in_a_full_cache_agree_with_a_plain_map), TEST(out_of_memory_changes_nothing),
      TEST(any_one_failure_changes_nothing_else), TEST(a_store_without_memory_is_no_store),
      TEST(the_index_is_right_at_every_step_of_its_directory), TEST(a_scan_sees_what_was_there_from_begin_to_end),
      TEST(cleared_memory_comes_back_in_pieces), TEST(reclaiming_gives_all_that_was_cleared_back_at_once),
      TEST(an_emptied_store_gives_its_pages_back), TEST(an_append_a_byte_at_a_time_moves_seldom), TEST(a_pinned_value_outlives_its_entry),
      TEST(random_draws_reach_every_key), TEST(few_entries_need_a_third_step_of_prefetching), TEST(no_call_does_more_than_a_segments_work),
      TEST(empty_keyspaces_cost_little), TEST(large_values_leave_few_holes))
