// SPDX-License-Identifier: Apache-2.0
// A worker's snapshot, written by a keeper on the model disk while everything changes, is the state at the cut.
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "base/test.h"
#include "engine/shard/statistics.h"
#include "engine/shard/worker.h"
#include "persist/keeper.h"
#include "test/sim/disk.h"
#include "test/unit/store/pages.h"

#define NOW       INT64_C(1750000000000)
#define SHARDS    4u
#define DATABASES 3u
#define KEYS      2500u

struct seen_entry {
    bool present;
    uint8_t type;
    bool mark;
    int64_t deadline;
    uint64_t value;
    uint64_t len;
};

struct rig {
    struct pages pages;
    struct server server;
    struct reactor reactor;
    struct prng prng;
    struct worker *w;
    struct worker *workers[1];
    struct sim_disk *disk;
    struct seen_entry want[DATABASES][KEYS], got[DATABASES][KEYS];
    uint8_t *bytes;
    uint32_t swaps;
    bool clears;
};
static struct rig rig;

static void keeper_start(struct rig *r)
{
    struct keeper_options o = {
        .recover = { .segment_size = 1 << 16 }, .shards = SHARDS, .workers = 1, .segments_ready = 2, .segments_spare = 2
    };
    struct log_origin origin;
    bool waits;
    r->disk = sim_disk_new(5);
    struct keeper *keeper = NULL;
    check_equal(keeper_new(&keeper, &r->disk->disk, &o), 0);
    r->server.logging.keeper = keeper;
    while (keeper_load_step(r->server.logging.keeper, &waits) == KEEPER_LOADING)
        continue;
    check_equal(keeper_begin(r->server.logging.keeper, &origin), 0);
}

static void rig_start(struct rig *r, uint64_t seed, uint64_t memory_max, enum store_policy policy, bool public_hash)
{
    memset(r, 0, sizeof *r);
    pages_init(&r->pages);
    prng_init(&r->prng, seed);
    struct worker *w = r->w = aligned_alloc(64, (sizeof *r->w + 63) & ~(size_t)63);
    memset(w, 0, sizeof *w);
    r->workers[0] = w;
    r->server.worker_count = 1;
    r->server.workers = r->workers;
    route_init(&w->route, SHARDS, ROUTE_FULL_KEY);
    w->server = &r->server;
    w->reactor = &r->reactor;
    w->now_ms = NOW;
    prng_init(&w->prng, seed);
    struct store_options o = { .route = w->route,
                               .workers = 1,
                               .databases = DATABASES,
                               .memory_max = memory_max,
                               .seed = seed,
                               .policy = policy,
                               .public_hash = public_hash };
    o.memory = &r->pages.memory;
    check_equal(store_new(&w->store, &o), 0);
    check_equal(effects_init(w), 0);
    save_init(w);
    keeper_start(r);
    r->bytes = malloc(512 * 1024);
}

static void rig_stop(struct rig *r)
{
    struct worker *w = r->w;
    save_stop(w);
    r->server.logging.keeper = keeper_free(r->server.logging.keeper);
    sim_disk_free(r->disk);
    effects_deinit(w);
    store_free(w->store);
    free(w);
    free(r->bytes);
}

// ---- the store, and what it holds

static struct slice key_of(uint32_t id, char text[64])
{
    int len = snprintf(text, 64, "%u%s", id, id % 7 == 3 ? ":a longer name for some of the keys" : "");
    return slice_of(text, (size_t)len);
}

static uint32_t id_of(struct slice key)
{
    uint32_t id = 0;
    for (size_t i = 0; i < key.len && key.data[i] >= '0' && key.data[i] <= '9'; i++)
        id = id * 10 + (uint32_t)(key.data[i] - '0');
    return id;
}

static struct keyspace *keyspace_of(struct rig *r, uint32_t db, struct slice key)
{
    return store_keyspace(r->w->store, route_shard(&r->w->route, key), db);
}

static void do_set(struct rig *r, struct keyspace *ks, struct slice key)
{
    uint64_t x = prng_next(&r->prng);
    size_t len = x % 200 == 0 ? 60000 + (x >> 8) % 300000 : (x >> 8) % 6000;
    int64_t deadline = x >> 40 & 1 ? r->w->now_ms + (int64_t)((x >> 42) % 5000) : ENTRY_NO_DEADLINE;
    memset(r->bytes, (int)(x >> 32), len);
    (void)keyspace_set(ks, key, keyspace_hash(ks, key), (enum entry_type)((x >> 50) % 6), slice_of(r->bytes, len), deadline, r->w->now_ms);
}

static void do_change(struct rig *r, struct keyspace *ks, struct slice key)
{
    uint64_t x = prng_next(&r->prng), hash = keyspace_hash(ks, key);
    struct entry *e = keyspace_find(ks, key, hash, r->w->now_ms);
    if (e == NULL)
        return;
    if (x % 3 == 0) {
        (void)keyspace_set_deadline(ks, e, x & 64 ? r->w->now_ms + (int64_t)(x >> 20) % 3000 : ENTRY_NO_DEADLINE);
    } else if (x % 3 == 1) {
        (void)keyspace_resize(ks, e, entry_value(e).len + (x >> 8) % 70);
    } else if (entry_value(e).len > 0) {
        uint8_t *bytes = keyspace_write(ks, e, hash);
        bytes[(x >> 8) % entry_value(e).len]++;
        entry_set_mark(e, !entry_mark(e));
        keyspace_wrote(ks, key, hash, 0, 1);
    }
}

static void step(struct rig *r)
{
    char text[64];
    uint64_t x = prng_next(&r->prng);
    uint32_t db = (uint32_t)(x >> 8) % DATABASES;
    struct slice key = key_of((uint32_t)(x >> 16) % KEYS, text);
    struct keyspace *ks = keyspace_of(r, db, key);
    switch (x % 16) {
    case 0 ... 6:
        do_set(r, ks, key);
        break;
    case 7 ... 10:
        do_change(r, ks, key);
        break;
    case 11 ... 12:
        (void)keyspace_delete(ks, key, keyspace_hash(ks, key), r->w->now_ms);
        break;
    case 13:
        r->w->now_ms += (int64_t)(x >> 40) % 10;
        (void)store_maintain(r->w->store, r->w->now_ms, 64);
        break;
    case 14:
        if ((x >> 40) % 64 == 0) {
            store_swap(r->w->store, db, (db + 1) % DATABASES);
            r->swaps++;
        }
        break;
    default:
        (void)store_make_room(r->w->store, r->w->now_ms);
        break;
    }
}

struct scan {
    struct rig *r;
    uint32_t db;
};

static void note(void *context, uint64_t hash, struct entry *e)
{
    struct scan *s = context;
    (void)hash;
    s->r->want[s->db][id_of(entry_key(e))] = (struct seen_entry){
        .present = true,
        .type = (uint8_t)entry_type(e),
        .mark = entry_mark(e),
        .deadline = entry_deadline(e),
        .value = hash_route(entry_value(e)),
        .len = entry_value(e).len,
    };
}

static void remember(struct rig *r)
{
    memset(r->want, 0, sizeof r->want);
    for (uint32_t i = 0; i < SHARDS * DATABASES; i++) {
        struct scan s = { .r = r, .db = i % DATABASES };
        struct keyspace *ks = store_keyspace(r->w->store, i / DATABASES, s.db);
        uint64_t next = 0;
        do {
            next = keyspace_walk(ks, next, note, &s);
        } while (next != 0);
    }
}

// ---- the snapshot

static void read_set(struct rig *r, uint64_t set)
{
    struct snapshot_reader *reader;
    const char *why = "";
    struct slice run;
    struct uuid store;
    uint8_t block[BLOCK_SIZE];
    struct manifest m;
    sim_disk_peek(r->disk, manifest_name(atomic_load(&keeper_stats(r->server.logging.keeper)->manifest_generation)), 0, block, BLOCK_SIZE);
    check_equal(manifest_decode(&m, block, &why), 0);
    store = m.store;
    memset(r->got, 0, sizeof r->got);
    check_equal(snapshot_reader_open(&reader, &r->disk->disk, set, 0, &store, &why), 0);
    while (snapshot_reader_next(reader, &run, &why) == 0) {
        struct snapshot_entry e;
        while (snapshot_entry_next(&e, &run.data, (uint64_t *)&run.len) == 0) {
            check(e.db < DATABASES && id_of(e.key) < KEYS);
            struct seen_entry *i = &r->got[e.db][id_of(e.key)];
            check(!i->present); // once
            *i = (struct seen_entry){
                .present = true,
                .type = (uint8_t)((e.flags & RECORD_TYPE) >> 4),
                .mark = (e.flags & RECORD_MARK) != 0,
                .deadline = e.deadline_ms,
                .value = hash_route(e.value),
                .len = e.value.len,
            };
        }
    }
    snapshot_reader_free(reader);
}

static void compare(struct rig *r)
{
    uint32_t wrong = 0;
    for (uint32_t db = 0; db < DATABASES; db++)
        for (uint32_t id = 0; id < KEYS; id++) {
            const struct seen_entry *a = &r->want[db][id], *b = &r->got[db][id];
            if (a->present != b->present || a->type != b->type || a->mark != b->mark || a->deadline != b->deadline ||
                a->value != b->value || a->len != b->len)
                wrong++;
        }
    check_equal(wrong, 0);
}

// Images count once: their pages as the store's while it has them too.
static void check_memory(struct rig *r)
{
    const struct save *s = &r->w->save;
    uint64_t before = store_memory_used(r->w->store), charged = statistics_durability(&r->w->stats);
    worker_charge_durability(r->w);
    check_equal(store_memory_used(r->w->store) - before, statistics_durability(&r->w->stats) - charged);
    if (s->set == 0)
        return;
    uint64_t pages = 0, heap = 0;
    for (const struct save_image *i = s->images; i != NULL; i = i->next) {
        uint64_t len = i->entry.value.len;
        heap += sizeof *i + i->entry.key.len + (i->blob == NULL ? len : 0);
        pages += i->blob != NULL && i->last ? len : 0;
    }
    check_equal(r->w->stats.memory_let_go, pages);
    check_equal(r->w->stats.memory_snapshot, heap + s->seen.bytes + (uint64_t)KEEPER_CHUNKS * SNAPSHOT_CHUNK_MAX);
}

// True: it counts.
static bool take(struct rig *r, uint32_t steps_a_turn, uint32_t *turns, uint64_t *images)
{
    struct keeper *k = r->server.logging.keeper;
    struct keeper_snapshot_status status;
    uint64_t set = keeper_snapshot_begin(k, r->w->now_ms);
    check(set != 0);
    remember(r);
    save_cut(r->w, set, false);
    *turns = 0;
    *images = 0;
    do {
        save_turn(r->w);
        *images = r->w->save.image_bytes > *images ? r->w->save.image_bytes : *images;
        check_memory(r);
        for (uint32_t i = 0; i < steps_a_turn; i++)
            step(r);
        if (*turns % 3 != 0)
            (void)keeper_step(k);
        keeper_snapshot_status(k, &status);
        ++*turns;
    } while (status.state == SNAPSHOT_RUNS && *turns < 100000);
    check(!r->w->save.more && r->w->save.set == 0);
    check_equal(r->w->save.image_bytes, 0);
    check_equal(r->w->save.let_go_bytes + r->w->save.shared_bytes, 0);
    check_equal(r->w->save.seen.count, 0);
    worker_charge_durability(r->w);
    check_equal(r->w->stats.memory_snapshot + r->w->stats.memory_let_go, 0);
    if (status.state != SNAPSHOT_WRITTEN)
        return false;
    read_set(r, set);
    compare(r);
    return true;
}

static void run_rig(uint64_t seed, uint64_t memory_max, enum store_policy policy, bool public_hash)
{
    struct rig *r = &rig;
    rig_start(r, seed, memory_max, policy, public_hash);
    uint32_t turns, whole = 0, most = 0;
    uint64_t images, most_images = 0;
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < 12000; i++)
            step(r);
        whole += take(r, round * 40, &turns, &images);
        most = turns > most ? turns : most;
        most_images = images > most_images ? images : most_images;
    }
    check_equal(whole, 4);
    check(most > 20);
    check(most_images > 0);
    check(r->swaps > 10);
    rig_stop(r);
}

static void the_snapshot_is_the_state_at_the_cut(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        run_rig(seed, 0, STORE_NOEVICTION, false);
}

static void also_where_keys_are_evicted(void)
{
    for (uint32_t policy = 0; policy < STORE_POLICIES; policy++)
        run_rig(10 + policy, 12 << 20, (enum store_policy)policy, false);
}

static void also_with_hashes_that_anybody_can_compute(void)
{
    run_rig(40, 0, STORE_NOEVICTION, true);
}

static void a_database_that_is_emptied_ends_it_and_asks_for_another(void)
{
    struct rig *r = &rig;
    rig_start(r, 50, 0, STORE_NOEVICTION, false);
    for (uint32_t i = 0; i < 12000; i++)
        step(r);
    struct keeper *k = r->server.logging.keeper;
    struct keeper_snapshot_status status;
    uint64_t set = keeper_snapshot_begin(k, NOW);
    (void)keeper_step(k);
    save_cut(r->w, set, false);
    save_turn(r->w);
    keyspace_clear(store_keyspace(r->w->store, SHARDS - 1, DATABASES - 1));
    check_equal(r->w->save.set, 0);
    check(atomic_load(&r->server.saving.again));
    for (int i = 0; i < 5; i++)
        (void)keeper_step(k);
    keeper_snapshot_status(k, &status);
    check_equal(status.state, SNAPSHOT_FAILED);
    uint32_t turns;
    uint64_t images;
    check(take(r, 20, &turns, &images));
    rig_stop(r);
}

static void what_was_walked_may_be_emptied(void)
{
    struct rig *r = &rig;
    rig_start(r, 51, 0, STORE_NOEVICTION, false);
    for (uint32_t i = 0; i < 12000; i++)
        step(r);
    struct keeper *k = r->server.logging.keeper;
    struct keeper_snapshot_status status;
    uint64_t set = keeper_snapshot_begin(k, NOW);
    (void)keeper_step(k);
    remember(r);
    save_cut(r->w, set, false);
    while (r->w->save.number < DATABASES) {
        save_turn(r->w);
        (void)keeper_step(k);
    }
    for (uint32_t db = 0; db < DATABASES; db++)
        keyspace_clear(store_keyspace(r->w->store, 0, db));
    check_equal(r->w->save.set, set);
    do {
        save_turn(r->w);
        (void)keeper_step(k);
        keeper_snapshot_status(k, &status);
    } while (status.state == SNAPSHOT_RUNS);
    check_equal(status.state, SNAPSHOT_WRITTEN);
    read_set(r, set);
    compare(r);
    rig_stop(r);
}

static void a_server_that_stops_leaves_the_set(void)
{
    struct rig *r = &rig;
    rig_start(r, 52, 0, STORE_NOEVICTION, false);
    for (uint32_t i = 0; i < 3000; i++)
        step(r);
    uint64_t set = keeper_snapshot_begin(r->server.logging.keeper, NOW);
    (void)keeper_step(r->server.logging.keeper);
    save_cut(r->w, set, false);
    save_turn(r->w);
    save_stop(r->w);
    (void)keeper_step(r->server.logging.keeper);
    struct keeper_snapshot_status status;
    keeper_snapshot_status(r->server.logging.keeper, &status);
    check_equal(status.state, SNAPSHOT_FAILED);
    rig_stop(r);
}

// One more turn, in which everything but the last slice took so long.
static uint64_t slice_behind(struct rig *r, uint64_t others_ns)
{
    r->reactor.stats.busy_ns += r->w->save.took_ns + others_ns;
    save_turn(r->w);
    return r->w->save.slice_ns;
}

static void a_slice_takes_half_of_what_the_turn_before_took_for_others(void)
{
    struct rig *r = &rig;
    rig_start(r, 53, 0, STORE_NOEVICTION, false);
    for (uint32_t i = 0; i < 3000; i++)
        step(r);
    r->reactor.stats.busy_ns = UINT64_C(1) << 40; // before it began
    save_cut(r->w, keeper_snapshot_begin(r->server.logging.keeper, NOW), false);
    check_equal(slice_behind(r, 0), SAVE_SLICE_LEAST_NS); // no chunks yet: nothing is walked
    check_equal(slice_behind(r, 2000), SAVE_SLICE_LEAST_NS);
    check_equal(slice_behind(r, 100000), 50000);
    check_equal(slice_behind(r, 100000), 50000);
    check_equal(slice_behind(r, 50000000), SAVE_SLICE_MOST_NS);
    r->w->save.took_ns = 1000; // by another clock: longer than the turn
    r->reactor.stats.busy_ns -= 1000;
    check_equal(slice_behind(r, 500), SAVE_SLICE_LEAST_NS);
    save_stop(r->w);
    (void)keeper_step(r->server.logging.keeper);
    rig_stop(r);
}

static void marks_of_many_keys_are_kept_apart(void)
{
    struct save_seen s;
    check(save_seen_init(&s));
    for (uint64_t i = 0; i < 300000; i++)
        check(save_seen_add(&s, i * UINT64_C(0x9e3779b97f4a7c15), i + 1));
    for (uint64_t i = 0; i < 300000; i++) {
        check(save_seen_has(&s, i * UINT64_C(0x9e3779b97f4a7c15), i + 1));
        check(!save_seen_has(&s, i * UINT64_C(0x9e3779b97f4a7c15), i + 2)); // another key of the same hash
    }
    check_equal(s.count, 300000);
    check(s.bytes <= 300000 * 16 * 3);
    check(save_seen_add(&s, 0, 1)); // once more
    check_equal(s.count, 300000);
    save_seen_deinit(&s);
}

static void save_points_are_pairs_of_numbers(void)
{
    static const char *const GOOD[] = { "", " ", "3600 1", "3600 1 300 100 60 10000", " 1  0 " };
    static const char *const BAD[] = { "1", "0 1", "x", "1 x", "1 1 1", "-1 1", "1 -1", "1.5 1", "99999999999 1", "1 1x" };
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        check(save_points_valid(GOOD[i]));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        check(!save_points_valid(BAD[i]));
}

TESTS(TEST(the_snapshot_is_the_state_at_the_cut), TEST(also_where_keys_are_evicted), TEST(also_with_hashes_that_anybody_can_compute),
      TEST(a_database_that_is_emptied_ends_it_and_asks_for_another), TEST(what_was_walked_may_be_emptied),
      TEST(a_server_that_stops_leaves_the_set), TEST(a_slice_takes_half_of_what_the_turn_before_took_for_others),
      TEST(marks_of_many_keys_are_kept_apart), TEST(save_points_are_pairs_of_numbers))
