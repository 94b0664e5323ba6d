// SPDX-License-Identifier: Apache-2.0
// engine/store/slab.c and keyspace.c: values that a reader holds in place.
#include <stdlib.h>

#include "base/test.h"
#include "engine/store/inside.h"
#include "test/unit/store/pages.h"

#define KEYS 300u
#define PINS 40u

static struct pages pages;
static struct store *store;
static struct keyspace *ks;
static struct prng prng;

static void start(void)
{
    struct store_options o = { .workers = 1, .databases = 1, .memory = &pages.memory };
    pages_init(&pages);
    prng_init(&prng, 7);
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    check_equal(store_new(&store, &o), 0);
    ks = store_keyspace(store, 0, 0);
}

static void stop(void)
{
    store = store_free(store);
    check_equal(pages.held, 0);
}

// Keys of 0, 1, 2, ... bytes: the shortest have headers of their own.
static struct slice key_of(uint32_t i)
{
    static char text[KEYS + 1];
    memset(text, 'k', sizeof text);
    return slice_of(text, i);
}

static struct entry *set(uint32_t i, size_t len, uint8_t fill, int64_t deadline)
{
    struct slice key = key_of(i);
    struct entry *e = keyspace_set_len(ks, key, keyspace_hash(ks, key), ENTRY_STRING, len, deadline, 1000);
    if (e != NULL)
        memset(entry_value_bytes(e), fill, len);
    return e;
}

struct held {
    struct keyspace_pin pin;
    struct slice value;
    uint8_t fill;
    bool taken;
};

static bool all_are(struct slice value, uint8_t fill)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] != fill)
            return false;
    }
    return true;
}

static void let_go(struct held *h)
{
    check(all_are(h->value, h->fill));
    keyspace_unpin(ks, h->pin);
    h->taken = false;
}

static void change_something(uint32_t i)
{
    struct slice key = key_of(i);
    uint64_t hash = keyspace_hash(ks, key);
    struct entry *e = keyspace_find(ks, key, hash, 1000);
    size_t len = prng_below(&prng, 50) == 0 ? BLOB_MIN + 10 : prng_below(&prng, 600);
    switch (prng_below(&prng, 5)) {
    case 0:
        keyspace_delete(ks, key, hash, 1000);
        return;
    case 1:
        if (e != NULL && (e = keyspace_set_deadline(ks, e, 5000 + (int64_t)prng_below(&prng, 5000))) != NULL)
            check(entry_deadline(e) > 0);
        return;
    case 2:
        store_maintain(store, 1000, 100);
        return;
    default:
        check(set(i, len, (uint8_t)prng_next(&prng), ENTRY_NO_DEADLINE) != NULL);
    }
}

static void pinned_values_keep_their_bytes_whatever_happens(void)
{
    static struct held held[PINS];
    start();
    for (uint32_t i = 0; i < 300000 && test_failures == 0; i++) {
        struct held *h = &held[prng_below(&prng, PINS)];
        change_something((uint32_t)prng_below(&prng, KEYS));
        if (h->taken) {
            let_go(h);
            continue;
        }
        struct slice key = key_of((uint32_t)prng_below(&prng, KEYS));
        struct entry *e = keyspace_find(ks, key, keyspace_hash(ks, key), 1000);
        if (e == NULL)
            continue;
        struct slice value = entry_value(e);
        *h = (struct held){ .pin = keyspace_pin(ks, e), .value = value, .fill = value.len > 0 ? value.data[0] : 0, .taken = true };
    }
    for (uint32_t i = 0; i < PINS; i++) {
        if (held[i].taken)
            let_go(&held[i]);
    }
    check(index_valid(&store->world, &ks->index));
    stop();
}

static void readers_without_a_pause_hold_back_little(void)
{
    start();
    check(set(8, 100, 1, ENTRY_NO_DEADLINE) != NULL);
    struct entry *e = keyspace_find(ks, key_of(8), keyspace_hash(ks, key_of(8)), 1000);
    struct keyspace_pin last = keyspace_pin(ks, e);
    for (int i = 0; i < 200000; i++) {
        e = set(8, 100, (uint8_t)i, ENTRY_NO_DEADLINE);
        struct keyspace_pin next = keyspace_pin(ks, e);
        keyspace_unpin(ks, last);
        last = next;
    }
    check(store_memory(store).reserved < 1024 * 1024);
    keyspace_unpin(ks, last);
    stop();
}

static void what_is_held_back_does_not_count_as_used(void)
{
    start();
    check(set(8, 500, 1, ENTRY_NO_DEADLINE) != NULL);
    uint64_t one = store_memory_used(store);
    struct entry *e = keyspace_find(ks, key_of(8), keyspace_hash(ks, key_of(8)), 1000);
    struct keyspace_pin pin = keyspace_pin(ks, e);
    for (int i = 0; i < 100; i++)
        check(set(8, 500, 2, ENTRY_NO_DEADLINE) != NULL);
    check_equal(store_memory_used(store), one);
    keyspace_unpin(ks, pin);
    check_equal(store_memory_used(store), one);
    stop();
}

struct still_clock {
    struct keyspace_clock clock;
    int64_t now_ms;
    int reads;
};

static int64_t still_now(struct keyspace_clock *clock)
{
    struct still_clock *c = (struct still_clock *)(void *)clock;
    c->reads++;
    return c->now_ms;
}

static void the_clock_is_read_only_for_keys_with_a_deadline(void)
{
    struct still_clock c = { .clock = { .now_ms = still_now }, .now_ms = 1000 };
    start();
    check(set(1, 10, 1, ENTRY_NO_DEADLINE) != NULL && set(2, 10, 1, 2000) != NULL);
    check(keyspace_find_at(ks, key_of(1), keyspace_hash(ks, key_of(1)), &c.clock) != NULL);
    check(keyspace_find_at(ks, key_of(3), keyspace_hash(ks, key_of(3)), &c.clock) == NULL);
    check_equal(c.reads, 0);
    check(keyspace_find_at(ks, key_of(2), keyspace_hash(ks, key_of(2)), &c.clock) != NULL);
    check_equal(c.reads, 1);
    c.now_ms = 2000;
    check(keyspace_find_at(ks, key_of(2), keyspace_hash(ks, key_of(2)), &c.clock) == NULL);
    check_equal(keyspace_count(ks), 1);
    struct keyspace_stats stats = keyspace_stats(ks);
    check(stats.hits == 2 && stats.misses == 2 && stats.expired == 1);
    stop();
}

TESTS(TEST(pinned_values_keep_their_bytes_whatever_happens), TEST(readers_without_a_pause_hold_back_little),
      TEST(what_is_held_back_does_not_count_as_used), TEST(the_clock_is_read_only_for_keys_with_a_deadline))
