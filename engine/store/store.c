// SPDX-License-Identifier: Apache-2.0
#include "engine/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/store/compact.h"
#include "engine/store/inside.h"
#include "engine/store/limit.h"

// Entries that a write may evict: so many, and one more for so many bytes beyond the margins (a limit that was lowered is reached step
// by step).
#define EVICT_LEAST    64u
#define EVICT_BYTES    64u
#define EVICT_MOST     1024u
#define MOVES_AN_ENTRY 4  // references moved that take as long as an entry that expires
#define DISCARD_COST   40 // entries touched that take as long as giving a run of pages back: 30 to 100 us

static uint64_t entry_hash(const void *context, const struct entry *e)
{
    const struct store *s = context;
    return keyspace_hash(&s->keyspaces[0], entry_key(e));
}

static int keyspaces_new(struct store *s)
{
    const struct store_options *o = &s->options;
    uint32_t shards = o->route.shards;
    s->local_shards = o->worker < shards ? (shards - o->worker + o->workers - 1) / o->workers : 0;
    size_t count = (size_t)s->local_shards * o->databases;
    // One more than needed: hashing goes through the first, whatever this worker owns.
    s->keyspaces = calloc(count + 1, sizeof *s->keyspaces);
    s->places = calloc(count + 1, sizeof *s->places);
    if (s->keyspaces == NULL || s->places == NULL)
        return -ENOMEM;
    for (size_t i = 0; i <= count; i++) {
        s->keyspaces[i].store = s;
        s->places[i] = &s->keyspaces[i];
    }
    return 0;
}

int store_new(struct store **out, const struct store_options *options)
{
    assert(options->workers > 0 && options->worker < options->workers && options->databases > 0);
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->options = *options;
    hash_keys_init(&s->hash_keys, &options->secret);
    int failed = keyspaces_new(s);
    if (failed == 0)
        failed = slabs_init(&s->world.slabs, options->memory);
    s->blobs = failed == 0 ? blobs_new(options->memory) : NULL;
    if (failed == 0 && s->blobs == NULL) {
        slabs_deinit(&s->world.slabs);
        failed = -ENOMEM;
    }
    if (failed != 0) {
        free(s->keyspaces);
        free(s->places);
        free(s);
        return failed;
    }
    s->world.hash = entry_hash;
    s->world.hash_context = s;
    deadlines_init(&s->deadlines, &s->world.slabs);
    prng_init(&s->prng, options->seed);
    s3fifo_init(&s->s3fifo, &s->world.slabs, options->memory);
    limit_set(s, options->memory_max);
    s->options.policy = STORE_NOEVICTION;
    store_set_policy(s, options->policy);
    *out = s;
    return 0;
}

// Entries.

void store_own_blob(struct store *s, const struct blob *b)
{
    s->blob_bytes += b->cap;
    s->blob_count++;
}

void store_disown_blob(struct store *s, const struct blob *b)
{
    if (b == NULL)
        return;
    s->blob_bytes -= b->cap;
    s->blob_count--;
}

void store_release_entry(struct store *s, uint32_t ref)
{
    const struct entry *e = store_entry(s, ref);
    s->world.work.keys++;
    if (unlikely(s3fifo_tracks(&s->s3fifo, e)))
        s3fifo_forget(s, e);
    if (unlikely(entry_form(e) == ENTRY_OUTSIDE)) {
        struct blob *value = entry_blob(e), *key = entry_key_blob(e);
        store_disown_blob(s, value);
        store_disown_blob(s, key);
        blob_free(value);
        blob_free(key);
    }
    slab_give(&s->world.slabs, ref);
}

static void release_entry(void *context, uint32_t ref)
{
    store_release_entry(context, ref);
}

void store_discard_index(struct store *s, struct index *ix)
{
    struct directory *d = index_detach(&s->world, ix);
    if (d == NULL)
        return;
    d->next = s->garbage;
    s->garbage = d;
}

static bool free_garbage(struct store *s, uint32_t *budget)
{
    while (s->garbage != NULL && *budget > 0) {
        struct directory *d = s->garbage, *next = d->next;
        if (index_free_some(&s->world, d, budget, release_entry, s))
            s->garbage = next;
    }
    return s->garbage != NULL;
}

struct store *store_free(struct store *s)
{
    if (s == NULL)
        return NULL;
    for (size_t i = 0; i < store_keyspace_total(s); i++)
        keyspace_clear(&s->keyspaces[i]);
    // Slots go with the arena; pages outside it are found through their entries.
    uint32_t budget = UINT32_MAX;
    while (s->blob_count + s->world.directory_bytes > 0 && free_garbage(s, &budget))
        budget = UINT32_MAX;
    s3fifo_deinit(&s->s3fifo);
    slabs_deinit(&s->world.slabs);
    s->blobs = blobs_close(s->blobs);
    free(s->keyspaces);
    free(s->places);
    free(s);
    return NULL;
}

struct blobs *store_blobs(struct store *s)
{
    return s->blobs;
}

// Keyspaces

struct keyspace *store_keyspace(struct store *s, uint32_t shard, uint32_t db)
{
    assert(shard < s->options.route.shards && db < s->options.databases);
    uint32_t workers = s->options.workers;
    if (workers == 1)
        return s->places[(size_t)shard * s->options.databases + db];
    if (shard % workers != s->options.worker)
        return NULL;
    return s->places[(size_t)(shard / workers) * s->options.databases + db];
}

uint32_t store_databases(const struct store *s)
{
    return s->options.databases;
}

static void swap_row(struct store *s, uint32_t row, uint32_t db_a, uint32_t db_b)
{
    assert(db_a < s->options.databases && db_b < s->options.databases);
    struct keyspace **places = &s->places[(size_t)row * s->options.databases];
    struct keyspace *a = places[db_a];
    places[db_a] = places[db_b];
    places[db_b] = a;
}

void store_swap(struct store *s, uint32_t db_a, uint32_t db_b)
{
    for (uint32_t i = 0; i < s->local_shards; i++)
        swap_row(s, i, db_a, db_b);
}

void store_swap_shard(struct store *s, uint32_t shard, uint32_t db_a, uint32_t db_b)
{
    assert(shard < s->options.route.shards && shard % s->options.workers == s->options.worker);
    swap_row(s, shard / s->options.workers, db_a, db_b);
}

void store_place(const struct store *s, const struct keyspace *ks, uint32_t *shard, uint32_t *db)
{
    // Databases change places within a shard only.
    uint32_t databases = s->options.databases;
    uint32_t row = (uint32_t)((size_t)(ks - s->keyspaces) / databases);
    struct keyspace *const *places = &s->places[(size_t)row * databases];
    *shard = row * s->options.workers + s->options.worker;
    for (*db = 0; *db < databases && places[*db] != ks;)
        ++*db;
    assert(*db < databases);
}

uint32_t store_keyspaces(const struct store *s)
{
    return (uint32_t)store_keyspace_total(s);
}

struct keyspace *store_keyspace_at(struct store *s, uint32_t number)
{
    assert(number < store_keyspace_total(s));
    return &s->keyspaces[number];
}

uint32_t keyspace_number(const struct keyspace *ks)
{
    return (uint32_t)(ks - ks->store->keyspaces);
}

// Memory

static uint64_t index_bytes(const struct store *s)
{
    return s->world.slabs.used[SLAB_INDEX] + s->world.directory_bytes;
}

static uint64_t order_bytes(const struct store *s)
{
    return s->world.slabs.used[SLAB_ORDER] + s3fifo_bytes(&s->s3fifo);
}

uint64_t store_memory_used(const struct store *s)
{
    uint64_t own = s->world.slabs.used[SLAB_ENTRY] + index_bytes(s) + s->blob_bytes + deadline_bytes(&s->deadlines) + order_bytes(s);
    int64_t used = (int64_t)own + s->charged;
    return used > 0 ? (uint64_t)used : 0;
}

struct store_memory store_memory(const struct store *s)
{
    const struct slabs *slabs = &s->world.slabs;
    return (struct store_memory){
        .reserved = (uint64_t)arena_resident(&slabs->arena) * ARENA_GRANULE + s->world.directory_bytes + blobs_resident(s->blobs) +
                    s3fifo_bytes(&s->s3fifo),
        .entries = slabs->used[SLAB_ENTRY],
        .index = index_bytes(s),
        .blobs = s->blob_bytes,
        .deadlines = deadline_bytes(&s->deadlines),
        .order = order_bytes(s),
        .free_slots = limit_free_in_slabs(s),
    };
}

struct store_work store_work(const struct store *s)
{
    const struct index_work *w = &s->world.work;
    return (struct store_work){ .keys = w->keys, .moved = w->moved, .places = w->places };
}

void store_set_memory_max(struct store *s, uint64_t bytes)
{
    limit_set(s, bytes);
}

void store_listen(struct store *s, store_change_fn *fn, void *context)
{
    s->on_change = fn;
    s->change_context = context;
}

void store_listen_before(struct store *s, store_before_fn *fn, void *context)
{
    s->before_change = fn;
    s->before_context = context;
}

void store_charge(struct store *s, int64_t bytes)
{
    s->charged += bytes;
}

void store_set_policy(struct store *s, enum store_policy policy)
{
    if (policy == s->options.policy)
        return;
    s->options.policy = policy;
    s->has_recency = evict_policy_has_recency(policy);
    s->pool.count = 0;
    if (policy == STORE_ALLKEYS_S3FIFO || policy == STORE_VOLATILE_S3FIFO)
        s3fifo_start(&s->s3fifo, policy == STORE_VOLATILE_S3FIFO);
    else if (s->s3fifo.on)
        s3fifo_stop(&s->s3fifo);
}

bool store_set_touching(struct store *s, bool touching)
{
    bool before = !s->untouching;
    s->untouching = !touching;
    return before;
}

enum store_policy store_policy(const struct store *s)
{
    return s->options.policy;
}

bool store_notes_reads(const struct store *s)
{
    return s->has_recency;
}

// At most `budget` entries are looked at; what was cleared goes before anything alive does. False: nothing more may go.
static bool evict_some(struct store *s, int64_t now_ms, uint32_t *budget)
{
    while (limit_excess(s) > 0 && *budget > 0) {
        if (s->garbage != NULL) {
            (void)free_garbage(s, budget);
            continue;
        }
        if (!evict_one(s, now_ms, budget))
            return false;
    }
    return true;
}

bool store_make_room(struct store *s, int64_t now_ms)
{
    s->now_ms = now_ms;
    if (s->options.memory_max == 0)
        return true;
    limit_relieve(s);
    if (likely(limit_excess(s) == 0))
        return true;
    uint64_t entries = EVICT_LEAST + limit_overrun(s) / EVICT_BYTES;
    uint32_t budget = entries < EVICT_MOST ? (uint32_t)entries : EVICT_MOST;
    return evict_some(s, now_ms, &budget);
}

// Maintenance

struct owner store_owner(struct store *s, uint32_t ref)
{
    const struct entry *e = store_entry(s, ref);
    struct owner o = { .hash = entry_hash(s, e) };
    uint32_t shard = route_shard(&s->options.route, entry_key(e));
    for (uint32_t db = 0; db < s->options.databases; db++) {
        struct keyspace *ks = store_keyspace(s, shard, db);
        if (ks == NULL || ks->index.count == 0)
            continue;
        o.spot = index_find_ref(&s->world, &ks->index, o.hash, ref);
        if (o.spot.bucket == NULL)
            continue;
        o.keyspace = ks;
        break;
    }
    return o;
}

struct expiry {
    struct store *store;
    uint32_t *budget;
};

static bool expire(void *context, uint32_t ref)
{
    const struct expiry *x = context;
    struct owner o = store_owner(x->store, ref);
    if (o.keyspace == NULL)
        return false;
    const uint64_t *moved = &x->store->world.work.moved, before = *moved;
    keyspace_remove_spot(o.keyspace, o.hash, o.spot);
    // A segment that shrank is work as well.
    uint64_t cost = (*moved - before) / MOVES_AN_ENTRY;
    *x->budget -= cost < *x->budget ? (uint32_t)cost : *x->budget;
    o.keyspace->stats.expired++;
    return true;
}

bool store_maintain(struct store *s, int64_t now_ms, uint32_t budget)
{
    s->now_ms = now_ms;
    struct expiry expiry = { .store = s, .budget = &budget };
    bool given = limit_give_back(s);
    if (given) // at most half: what is due goes on
        budget -= DISCARD_COST < budget / 2 ? DISCARD_COST : budget / 2;
    bool more = deadline_advance(&s->deadlines, now_ms, &budget, expire, &expiry);
    if (budget > 0 && free_garbage(s, &budget))
        more = true;
    if (budget > 0 && s->garbage == NULL && deadline_sweep(&s->deadlines, &budget))
        more = true;
    if (budget > 0 && s3fifo_maintain(s, &budget))
        more = true;
    if (budget > 0 && evict_some(s, now_ms, &budget) && limit_excess(s) > 0)
        more = true;
    if (budget > 0 && s->garbage == NULL && compact_some(s, &budget))
        more = true;
    if (blobs_collect(s->blobs))
        more = true;
    return more || given || s->garbage != NULL;
}

void store_reclaim(struct store *s)
{
    for (uint32_t budget = UINT32_MAX; free_garbage(s, &budget);)
        budget = UINT32_MAX;
    while (blobs_collect(s->blobs))
        continue;
    while (limit_give_back(s))
        continue;
}

int64_t store_next_deadline(const struct store *s)
{
    return deadline_next(&s->deadlines);
}
