// SPDX-License-Identifier: Apache-2.0
#include "engine/store/limit.h"

#include "base/test.h"
#include "engine/store/inside.h"
#include "test/unit/store/pages.h"

#define NOW         INT64_C(1750000000000)
#define LIMIT       (UINT64_C(24) << 20)
#define MARGINS     (2 * (LIMIT_MARGIN_LEAST + LIMIT / LIMIT_MARGIN_SHARE))
#define SURPRISE    (UINT64_C(3) << 20) // what comes before those who write have made room: slabs, an index's next directory
#define SLICE_EVERY 16u

struct world {
    struct pages pages;
    struct store *store;
    struct keyspace *ks;
    struct prng prng;
    uint64_t ids;
    uint64_t most; // resident
    uint64_t refused;
    uint64_t evicted; // by one write, at most
    double used;      // sum of shares of the limit
    uint64_t samples;
};

static void world_start(struct world *w, enum store_policy policy, uint64_t limit)
{
    *w = (struct world){ .ids = 1 };
    pages_init(&w->pages);
    prng_init(&w->prng, 7);
    struct store_options o = { .workers = 1, .databases = 1, .memory = &w->pages.memory, .policy = policy, .memory_max = limit };
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    check_equal(store_new(&w->store, &o), 0);
    w->ks = store_keyspace(w->store, 0, 0);
}

static void world_stop(struct world *w)
{
    store_free(w->store);
    check_equal(w->pages.held, 0);
}

// Each power of two as likely as any other.
static size_t draw_len(struct world *w, size_t least, size_t most)
{
    size_t len = least;
    while (len < most && prng_below(&w->prng, 8) != 0)
        len += len;
    len += prng_below(&w->prng, (uint32_t)len);
    return len < most ? len : most;
}

static void drop_some(struct world *w)
{
    for (int i = 0; i < 16; i++) {
        uint64_t id = 1 + prng_below(&w->prng, (uint32_t)w->ids);
        struct slice key = slice_of(&id, sizeof id);
        (void)keyspace_delete(w->ks, key, keyspace_hash(w->ks, key), NOW);
    }
}

static void note(struct world *w)
{
    uint64_t resident = store_memory(w->store).reserved;
    w->most = resident > w->most ? resident : w->most;
    if (store_memory_used(w->store) > w->store->options.memory_max)
        return;
    w->used += (double)store_memory_used(w->store) / (double)w->store->options.memory_max;
    w->samples++;
}

// Writes until so many bytes have been written; whoever is refused deletes some keys and comes again.
static void write_sizes(struct world *w, size_t least, size_t most, uint64_t bytes)
{
    static uint8_t value[65536];
    uint64_t ops = 0;
    for (uint64_t written = 0; written < bytes && test_failures == 0;) {
        if (++ops % SLICE_EVERY == 0)
            (void)store_maintain(w->store, NOW, 64 + SLICE_EVERY);
        uint64_t before = keyspace_stats(w->ks).evicted;
        bool room = store_make_room(w->store, NOW);
        uint64_t evicted = keyspace_stats(w->ks).evicted - before;
        w->evicted = evicted > w->evicted ? evicted : w->evicted;
        if (!room) {
            w->refused++;
            drop_some(w);
            continue;
        }
        uint64_t id = w->ids++;
        struct slice key = slice_of(&id, sizeof id);
        size_t len = draw_len(w, least, most);
        check(keyspace_set(w->ks, key, keyspace_hash(w->ks, key), ENTRY_STRING, slice_of(value, len), ENTRY_NO_DEADLINE, NOW) != NULL);
        written += len + 32;
        note(w);
    }
}

// Least share of the limit that was in use, on average over a phase.
static double churn(struct world *w)
{
    static const size_t SIZES[][2] = {
        { 16, 64 }, { 256, 1024 }, { 4096, 16384 }, { 16, 64 }, { 16384, 65000 }, { 16, 65000 }, { 100, 100 }
    };
    double least = 1;
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        w->used = 0;
        w->samples = 0;
        write_sizes(w, SIZES[i][0], SIZES[i][1], 2 * LIMIT);
        double share = w->used / (double)w->samples;
        if (i > 0 && share < least) // the first fills it
            least = share;
    }
    return least;
}

static void what_is_resident_stays_near_the_limit_whatever_sizes_follow_each_other(void)
{
    static const enum store_policy POLICIES[] = { STORE_NOEVICTION, STORE_ALLKEYS_LRU, STORE_ALLKEYS_S3FIFO };
    for (int i = 0; i < 3; i++) {
        struct world w;
        world_start(&w, POLICIES[i], LIMIT);
        check(churn(&w) > 0.7);
        check(w.most <= LIMIT + MARGINS + SURPRISE);
        check_equal(w.refused > 0, POLICIES[i] == STORE_NOEVICTION);
        audit(index_valid(&w.store->world, &w.ks->index));
        audit(s3fifo_valid(w.store));
        world_stop(&w);
    }
}

// A write is as large as up to twenty of the entries that have to go, and what slabs hold counts eight times.
static void no_write_evicts_hundreds_of_entries_because_sizes_have_shifted(void)
{
    static const enum store_policy POLICIES[] = { STORE_ALLKEYS_LRU, STORE_ALLKEYS_RANDOM, STORE_ALLKEYS_S3FIFO };
    for (int i = 0; i < 3; i++) {
        struct world w;
        world_start(&w, POLICIES[i], LIMIT);
        write_sizes(&w, 16, 64, 2 * LIMIT);
        write_sizes(&w, 256, 1024, 2 * LIMIT);
        write_sizes(&w, 100, 100, 2 * LIMIT);
        check(w.evicted > 0 && w.evicted <= 128);
        check(w.most <= LIMIT + MARGINS + SURPRISE);
        check(store_memory_used(w.store) <= LIMIT + LIMIT / 200);
        world_stop(&w);
    }
}

// Sizes that stay alike: the limit is what is in use, as if slots were all there is.
static void no_byte_is_evicted_for_a_slab_half_empty(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_S3FIFO, LIMIT);
    write_sizes(&w, 100, 100, LIMIT);
    uint64_t count = keyspace_count(w.ks);
    write_sizes(&w, 100, 100, LIMIT);
    check(store_memory_used(w.store) > LIMIT - LIMIT / 200);
    check(keyspace_count(w.ks) > count - count / 100);
    world_stop(&w);
}

static void deletes_make_room_at_once_for_another_size(void)
{
    struct world w;
    world_start(&w, STORE_NOEVICTION, LIMIT);
    while (store_make_room(w.store, NOW))
        write_sizes(&w, 64, 64, 1);
    for (uint64_t id = 1; id < w.ids; id += 2) {
        struct slice key = slice_of(&id, sizeof id);
        check(keyspace_delete(w.ks, key, keyspace_hash(w.ks, key), NOW));
    }
    // Nearly a half of the limit of larger values, with hardly anybody refused.
    write_sizes(&w, 2000, 2000, LIMIT / 5 * 2);
    check(w.refused < 100);
    check(w.most <= LIMIT + MARGINS + SURPRISE);
    world_stop(&w);
}

static void a_lower_limit_gives_memory_back(void)
{
    struct world w;
    world_start(&w, STORE_ALLKEYS_LRU, LIMIT);
    write_sizes(&w, 16, 4096, 2 * LIMIT);
    store_set_memory_max(w.store, LIMIT / 4);
    for (int i = 0; i < 3000; i++) {
        check(store_make_room(w.store, NOW));
        (void)store_maintain(w.store, NOW, 64);
    }
    check(store_memory_used(w.store) <= LIMIT / 4);
    check(store_memory(w.store).reserved <= LIMIT / 4 + MARGINS);
    world_stop(&w);
}

TESTS(TEST(what_is_resident_stays_near_the_limit_whatever_sizes_follow_each_other),
      TEST(no_write_evicts_hundreds_of_entries_because_sizes_have_shifted), TEST(no_byte_is_evicted_for_a_slab_half_empty),
      TEST(deletes_make_room_at_once_for_another_size), TEST(a_lower_limit_gives_memory_back))
