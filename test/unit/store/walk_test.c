// SPDX-License-Identifier: Apache-2.0
// A walk with the old images of what changes before it comes by (keyspace_walk, store_listen_before) is the state at its beginning.
#include "test/unit/store/model.h"

struct image {
    bool present;
    int64_t deadline;
    enum entry_type type;
    uint64_t value; // its hash
};

static struct model m;

struct snapshot {
    struct image want[MODEL_KEYS], got[MODEL_KEYS];
    bool gone[MODEL_KEYS]; // changed ahead of the walk, or new
    bool runs, cancelled;
    uint64_t next;
    uint32_t early;
};
static struct snapshot shot;

static uint32_t id_of(struct slice key)
{
    return key.len == 0 ? 0 : load_u32(key.data);
}

static struct image image_of(const struct entry *e)
{
    return (struct image){
        .present = true, .deadline = entry_deadline(e), .type = entry_type(e), .value = hash_route(entry_value(e)) + entry_value(e).len
    };
}

static void emit(struct entry *e)
{
    uint32_t id = id_of(entry_key(e));
    check(!shot.got[id].present);
    shot.got[id] = image_of(e);
}

static void before(void *context, struct keyspace *ks, uint64_t hash, struct slice key, struct entry *e)
{
    check(context == &shot && ks == m.ks);
    if (key.data == NULL) {
        shot.cancelled = true;
        return;
    }
    check(hash == keyspace_hash(ks, key));
    uint32_t id = id_of(key);
    if (!shot.runs || hash < shot.next || shot.gone[id])
        return;
    shot.gone[id] = true;
    shot.early++;
    if (e != NULL)
        emit(e);
}

static void visit(void *context, uint64_t hash, struct entry *e)
{
    check(context == &shot && hash == keyspace_hash(m.ks, entry_key(e)));
    if (!shot.gone[id_of(entry_key(e))])
        emit(e);
}

static void shot_begin(void)
{
    memset(&shot, 0, sizeof shot);
    for (uint32_t id = 0; id < m.keys; id++) {
        struct slice key = model_key(&m, id);
        struct entry *e = keyspace_peek(m.ks, key, keyspace_hash(m.ks, key), INT64_MIN);
        if (e != NULL)
            shot.want[id] = image_of(e);
    }
    shot.runs = true;
    store_listen_before(m.store, before, &shot);
}

static void shot_end(void)
{
    store_listen_before(m.store, NULL, NULL);
    for (uint32_t id = 0; id < m.keys && !shot.cancelled; id++) {
        check_equal(shot.got[id].present, shot.want[id].present);
        check_equal(shot.got[id].deadline, shot.want[id].deadline);
        check_equal(shot.got[id].type, shot.want[id].type);
        check(shot.got[id].value == shot.want[id].value);
    }
}

static void write_in_place(uint32_t id)
{
    struct entry *e = model_find(&m, id);
    if (e == NULL || !m.items[id].present)
        return;
    struct slice key = model_key(&m, id);
    uint8_t *bytes = keyspace_write(m.ks, e, keyspace_hash(m.ks, key));
    if (bytes == NULL)
        return;
    m.items[id].seed++;
    for (size_t i = 0; i < m.items[id].len; i++)
        bytes[i] = model_byte(m.items[id].seed, i);
    keyspace_wrote(m.ks, key, keyspace_hash(m.ks, key), 0, m.items[id].len);
}

static uint32_t run_shot(uint32_t steps_a_bucket)
{
    shot_begin();
    do {
        if (m.may_fail)
            m.pages.fail_in = (int64_t)(prng_next(&m.prng) % 4);
        for (uint32_t i = 0; i < steps_a_bucket; i++)
            model_step(&m);
        if (steps_a_bucket > 0)
            write_in_place((uint32_t)prng_next(&m.prng) % m.keys);
        shot.next = keyspace_walk(m.ks, shot.next, visit, &shot);
    } while (shot.next != 0 && !shot.cancelled);
    shot.runs = false;
    shot_end();
    return shot.early;
}

static void run_model(uint64_t seed, struct store_options *o, bool evicts)
{
    check_equal(model_start(&m, seed, o), 0);
    m.evicts = evicts;
    uint32_t early = 0, whole = 0;
    for (uint32_t round = 0; round < 12; round++) {
        for (uint32_t i = 0; i < 3000; i++)
            model_step(&m);
        early += run_shot(round % 3 * 8);
        whole += !shot.cancelled;
    }
    check(early > 100 && whole > 3);
    model_stop(&m);
}

static void a_walk_with_old_images_is_the_state_at_its_beginning(void)
{
    struct store_options o = { .workers = 1, .databases = 1 };
    for (uint64_t seed = 1; seed <= 8; seed++)
        run_model(seed, &o, false);
}

static void also_when_entries_are_evicted_under_every_policy(void)
{
    for (uint64_t policy = 0; policy < STORE_POLICIES; policy++) {
        struct store_options o = { .workers = 1, .databases = 1, .memory_max = 900 * 1024, .policy = (enum store_policy)policy };
        run_model(100 + policy, &o, true);
    }
}

static void also_when_memory_runs_out(void)
{
    struct store_options o = { .workers = 1, .databases = 1 };
    check_equal(model_start(&m, 7, &o), 0);
    m.may_fail = true;
    m.pages.range_max = MEMORY_HUGE - 1; // each large value is a mapping: many calls that may fail
    for (uint32_t round = 0; round < 10; round++) {
        m.pages.fail_in = -1;
        for (uint32_t i = 0; i < 2000; i++)
            model_step(&m);
        (void)run_shot(8);
    }
    check(m.failures > 0);
    model_stop(&m);
}

// Deep directories, whose buckets are narrower than a scan's positions, cannot be made here; the ends of the steps can be looked at.
struct count {
    uint64_t from, entries;
};

static void count_one(void *context, uint64_t hash, struct entry *e)
{
    struct count *c = context;
    check(e != NULL && hash >= c->from);
    c->entries++;
}

static void steps_meet_without_gap_or_overlap(void)
{
    struct store_options o = { .workers = 1, .databases = 1 };
    check_equal(model_start(&m, 3, &o), 0);
    for (uint32_t i = 0; i < 60000; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%u", i);
        struct slice key = slice_of(text, (size_t)len);
        check(keyspace_set(m.ks, key, keyspace_hash(m.ks, key), ENTRY_STRING, key, ENTRY_NO_DEADLINE, m.now_ms) != NULL);
    }
    struct count c = { 0 };
    uint32_t steps = 0;
    do {
        uint64_t next = keyspace_walk(m.ks, c.from, count_one, &c);
        check(next == 0 || next > c.from);
        c.from = next;
        steps++;
    } while (c.from != 0);
    check_equal(c.entries, 60000);
    check(steps > 60000 / BUCKET_SLOTS);
    model_stop(&m);
}

static void keyspaces_keep_their_numbers_when_databases_change_places(void)
{
    struct pages pages;
    pages_init(&pages);
    struct store_options o = { .workers = 2, .worker = 1, .databases = 4, .memory = &pages.memory };
    route_init(&o.route, 8, ROUTE_FULL_KEY);
    struct store *s;
    check_equal(store_new(&s, &o), 0);
    check_equal(store_keyspaces(s), 16);
    store_swap(s, 1, 3);
    for (uint32_t i = 0; i < store_keyspaces(s); i++) {
        uint32_t shard, db;
        struct keyspace *ks = store_keyspace_at(s, i);
        store_place(s, ks, &shard, &db);
        check(ks == store_keyspace(s, shard, db));
        check_equal(keyspace_number(ks), i);
        check_equal(shard, 2 * (i / 4) + 1);
        check_equal(db, i % 4 == 1 ? 3 : i % 4 == 3 ? 1 : i % 4);
    }
    store_free(s);
    check_equal(pages.held, 0);
}

TESTS(TEST(a_walk_with_old_images_is_the_state_at_its_beginning), TEST(also_when_entries_are_evicted_under_every_policy),
      TEST(also_when_memory_runs_out), TEST(steps_meet_without_gap_or_overlap),
      TEST(keyspaces_keep_their_numbers_when_databases_change_places))
