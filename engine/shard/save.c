// SPDX-License-Identifier: Apache-2.0
// A worker's walk over what it holds.
#include "engine/shard/save.h"

#include <stdlib.h>
#include <string.h>

#include "engine/shard/worker.h"
#include "engine/store/blob.h"
#include "persist/keeper.h"
#include "reactor/ticks.h"

#define BUCKETS_A_LOOK 2   // walked between two looks at the clock
#define LOOKS_MAX      512 // a turn, should the clock stand

static struct keeper *keeper_of(const struct worker *w)
{
    return w->server->logging.keeper;
}

bool save_counts(const struct worker *w)
{
    return keeper_of(w) != NULL;
}

void save_init(struct worker *w)
{
    w->save = (struct save){ .set = 0 };
    list_init(&w->save.waiters);
}

// ---- images

static struct save_image *image_new(struct entry *e, bool changes)
{
    struct slice key = entry_key(e), value = entry_value(e);
    struct blob *blob = entry_blob(e);
    struct save_image *i = malloc(sizeof *i + key.len + (blob == NULL ? value.len : 0));
    if (i == NULL)
        return NULL;
    *i = (struct save_image){ .blob = blob != NULL ? blob_pin(blob) : NULL, .last = changes };
    if (key.len > 0)
        memcpy(i->bytes, key.data, key.len);
    if (blob == NULL && value.len > 0)
        memcpy(i->bytes + key.len, value.data, value.len);
    i->entry.key = slice_of(i->bytes, key.len);
    i->entry.value = blob != NULL ? value : slice_of(i->bytes + key.len, value.len);
    return i;
}

static uint64_t image_size(const struct save_image *i)
{
    return sizeof *i + i->entry.key.len + i->entry.value.len;
}

static uint64_t *pages_of(struct save *s, const struct save_image *i)
{
    return i->last ? &s->let_go_bytes : &s->shared_bytes;
}

uint64_t save_memory(const struct save *s)
{
    if (s->set == 0)
        return 0;
    return s->image_bytes - s->let_go_bytes - s->shared_bytes + s->seen.bytes + (uint64_t)KEEPER_CHUNKS * SNAPSHOT_CHUNK_MAX;
}

static void image_free(struct save *s, struct save_image *i)
{
    s->image_bytes -= image_size(i);
    if (i->blob != NULL) {
        *pages_of(s, i) -= i->entry.value.len;
        blob_unpin(i->blob);
    }
    free(i);
}

static struct snapshot_entry entry_of(const struct save *s, const struct keyspace *ks, uint32_t databases, const struct entry *e)
{
    int64_t deadline = entry_deadline(e);
    bool dies = deadline != ENTRY_NO_DEADLINE;
    return (struct snapshot_entry){
        .flags = (uint8_t)(entry_type(e) << 4 | (entry_mark(e) ? RECORD_MARK : 0) | (dies ? RECORD_DEADLINE : 0)),
        .db = s->dbs[keyspace_number(ks) % databases],
        .deadline_ms = dies ? deadline : -1,
        .key = entry_key(e),
        .value = entry_value(e),
    };
}

// ---- chunks

// A chunk with room; false: none is to be had now.
static bool chunk_ready(struct worker *w)
{
    struct save *s = &w->save;
    if (s->chunk != NULL && snapshot_chunk_full(s->chunk)) {
        keeper_chunk_give(keeper_of(w), s->set, w->id, s->chunk);
        s->chunk = NULL;
    }
    if (s->chunk == NULL)
        s->chunk = keeper_chunk_take(keeper_of(w), s->set, w->id);
    return s->chunk != NULL;
}

// Images that wait, as far as there are chunks: false, some are left. One full chunk a call: that is what a turn has time for.
static bool drain_images(struct worker *w)
{
    struct save *s = &w->save;
    while (s->images != NULL) {
        struct save_image *i = s->images;
        if (!chunk_ready(w))
            return false;
        s->image_done = snapshot_chunk_add(s->chunk, &i->entry, s->image_done);
        if (s->image_done < snapshot_entry_size(&i->entry))
            return false;
        s->image_done = 0;
        s->images = i->next;
        if (s->images == NULL)
            s->images_tail = &s->images;
        image_free(s, i);
        if (s->images != NULL && snapshot_chunk_full(s->chunk))
            return false;
    }
    return true;
}

static void leave(struct worker *w)
{
    struct save *s = &w->save;
    store_listen_before(w->store, NULL, NULL);
    while (s->images != NULL) {
        struct save_image *next = s->images->next;
        image_free(s, s->images);
        s->images = next;
    }
    if (s->chunk != NULL)
        keeper_chunk_give(keeper_of(w), s->set, w->id, s->chunk);
    s->chunk = NULL;
    save_seen_deinit(&s->seen);
    free(s->dbs);
    free(s->marks);
    s->dbs = NULL;
    s->marks = NULL;
    s->set = 0;
    s->more = false;
}

static void give_up(struct worker *w, const char *why)
{
    uint64_t set = w->save.set;
    keeper_snapshot_cancel(keeper_of(w), set, why);
    leave(w);
    keeper_file_drop(keeper_of(w), set, w->id);
}

// To the chunk, or behind the images that wait. False: out of memory. `changes`: the entry does.
static bool emit(struct worker *w, struct keyspace *ks, struct entry *e, bool changes)
{
    struct save *s = &w->save;
    struct snapshot_entry entry = entry_of(s, ks, store_databases(w->store), e);
    if (s->images == NULL && entry_blob(e) == NULL && entry.key.len <= ENTRY_KEY_INLINE && chunk_ready(w)) {
        uint64_t done = snapshot_chunk_add(s->chunk, &entry, 0);
        assert(done == snapshot_entry_size(&entry));
        return true;
    }
    struct save_image *i = image_new(e, changes);
    if (i == NULL)
        return false;
    struct slice key = i->entry.key, value = i->entry.value;
    i->entry = entry;
    i->entry.key = key;
    i->entry.value = value;
    s->image_bytes += image_size(i);
    if (i->blob != NULL)
        *pages_of(s, i) += value.len;
    *s->images_tail = i;
    s->images_tail = &i->next;
    return true;
}

// ---- changes ahead of the walk

static uint64_t check_of(const struct save *s, const struct keyspace *ks, struct slice key)
{
    uint64_t check = hash_sip(&s->secret, key) + keyspace_number(ks);
    return check == 0 ? 1 : check;
}

static void before_change(void *context, struct keyspace *ks, uint64_t hash, struct slice key, struct entry *e)
{
    struct worker *w = context;
    struct save *s = &w->save;
    uint32_t number = keyspace_number(ks);
    if (s->walked || number < s->number)
        return;
    if (key.data == NULL) {
        if (keyspace_count(ks) == 0)
            return;
        atomic_store_explicit(&w->server->saving.again, true, memory_order_relaxed);
        give_up(w, "the database was emptied meanwhile");
        return;
    }
    if (number == s->number && hash < s->next)
        return;
    uint64_t check = check_of(s, ks, key);
    if (save_seen_has(&s->seen, hash, check))
        return;
    if (!save_seen_add(&s->seen, hash, check) || (e != NULL && !emit(w, ks, e, true)))
        give_up(w, "out of memory");
}

// ---- the walk

struct visit {
    struct worker *w;
    struct keyspace *ks;
    bool failed;
};

static void visit(void *context, uint64_t hash, struct entry *e)
{
    struct visit *v = context;
    const struct save *s = &v->w->save;
    if (s->seen.count > 0 && save_seen_has(&s->seen, hash, check_of(s, v->ks, entry_key(e))))
        return;
    v->failed |= !emit(v->w, v->ks, e, false);
}

// False: the set was given up.
static bool walk_bucket(struct worker *w)
{
    struct save *s = &w->save;
    struct visit v = { .w = w, .ks = store_keyspace_at(w->store, s->number) };
    s->next = keyspace_walk(v.ks, s->next, visit, &v);
    if (s->next == 0)
        s->walked = ++s->number == store_keyspaces(w->store);
    if (v.failed)
        give_up(w, "out of memory");
    return !v.failed;
}

// What the next slice may take: half of what the turn before took without its own.
static void slice_begin(struct worker *w)
{
    struct save *s = &w->save;
    uint64_t busy = w->reactor->stats.busy_ns - s->busy_ns, others = busy > s->took_ns ? busy - s->took_ns : 0;
    s->busy_ns += busy;
    s->slice_ns = others / 2 < SAVE_SLICE_LEAST_NS ? SAVE_SLICE_LEAST_NS : others / 2;
    if (s->slice_ns > SAVE_SLICE_MOST_NS)
        s->slice_ns = SAVE_SLICE_MOST_NS;
}

static bool time_is_over(const struct worker *w, uint64_t began)
{
    return reactor_ticks_ns(w->reactor, ticks_between(began, reactor_ticks(w->reactor))) >= w->save.slice_ns;
}

// True: there is more to be done at once.
static bool walk_some(struct worker *w, uint64_t began)
{
    struct save *s = &w->save;
    for (uint32_t looks = 0; looks < LOOKS_MAX && !s->walked; looks++) {
        for (uint32_t i = 0; i < BUCKETS_A_LOOK && !s->walked; i++) {
            if (s->images != NULL && !drain_images(w))
                return s->chunk != NULL && keeper_snapshot_runs(keeper_of(w), s->set);
            if (!chunk_ready(w))
                return false; // the keeper wakes us
            if (!walk_bucket(w))
                return false;
            if (s->chunk != NULL && snapshot_chunk_full(s->chunk))
                return true;
        }
        if (time_is_over(w, began))
            return true;
    }
    return true;
}

// ---- the end

// What the watermarks hold is on the device; asks for it otherwise.
static bool log_has_it(struct worker *w)
{
    struct save *s = &w->save;
    const struct effects *e = &w->effects;
    if (e->port == NULL || atomic_load_explicit(&e->port->durable, memory_order_acquire) >= s->position)
        return true;
    if (s->position <= e->position) {
        atomic_store_explicit(&e->port->wants_sync, true, memory_order_release);
        logging_wake(w, true);
    }
    return false;
}

// Everything is walked. True: there is more to be done at once.
static bool end_some(struct worker *w)
{
    struct save *s = &w->save;
    if (!drain_images(w))
        return s->chunk != NULL;
    if (!s->ended) {
        store_listen_before(w->store, NULL, NULL);
        if (s->chunk != NULL)
            keeper_chunk_give(keeper_of(w), s->set, w->id, s->chunk);
        s->chunk = NULL;
        s->ended = true;
    }
    uint32_t state = w->effects.port != NULL ? atomic_load_explicit(&w->effects.port->state, memory_order_relaxed) : LOG_OFF;
    if (state == LOG_POISONED || w->effects.failed) {
        give_up(w, "the log has failed");
        return false;
    }
    if (s->base && state == LOG_FULL) {
        give_up(w, "no space left on device for the log");
        return false;
    }
    if (!log_has_it(w))
        return false;
    uint64_t set = s->set;
    keeper_file_end(keeper_of(w), set, w->id, s->marks, s->mark_count);
    leave(w);
    return false;
}

void save_turn(struct worker *w)
{
    struct save *s = &w->save;
    if (s->set != 0 && !keeper_snapshot_runs(keeper_of(w), s->set)) {
        uint64_t set = s->set;
        leave(w);
        keeper_file_drop(keeper_of(w), set, w->id);
    }
    if (s->due)
        save_begin_alone(w);
    if (s->set != 0) {
        uint64_t began = reactor_ticks(w->reactor);
        slice_begin(w);
        s->more = s->walked ? end_some(w) : walk_some(w, began);
        s->more |= s->set != 0 && s->walked && !s->ended;
        uint64_t took = reactor_ticks_ns(w->reactor, ticks_between(began, reactor_ticks(w->reactor)));
        s->took_ns = took;
        s->longest_ns = took > s->longest_ns ? took : s->longest_ns;
    }
    if (!list_empty(&s->waiters))
        save_waiters_turn(w);
}

// ---- the cut

static bool open_cut(struct worker *w)
{
    struct save *s = &w->save;
    uint32_t databases = store_databases(w->store), shards = w->route.shards, workers = w->server->worker_count;
    s->dbs = calloc(databases, sizeof *s->dbs);
    s->marks = calloc(shards / workers + 1, sizeof *s->marks);
    if (s->dbs == NULL || s->marks == NULL || !save_seen_init(&s->seen))
        return false;
    s->mark_count = 0;
    effects_cut(w);
    for (uint32_t shard = w->id; shard < shards; shard += workers)
        s->marks[s->mark_count++] = (struct snapshot_watermark){ .shard = shard, .sequence = effects_sequence(w, shard) };
    for (uint32_t i = 0; i < databases && s->mark_count > 0; i++) {
        uint32_t shard, db;
        store_place(w->store, store_keyspace_at(w->store, i), &shard, &db);
        s->dbs[i] = (uint16_t)db;
    }
    return true;
}

void save_cut(struct worker *w, uint64_t set, bool base)
{
    struct save *s = &w->save;
    assert(s->set == 0);
    s->base = base;
    if (base)
        logging_switch_attach(w);
    if (!open_cut(w)) {
        leave(w);
        keeper_file_drop(keeper_of(w), set, w->id);
        return;
    }
    s->set = set;
    s->number = 0;
    s->next = 0;
    s->walked = store_keyspaces(w->store) == 0;
    s->ended = false;
    s->more = true;
    s->images_tail = &s->images;
    s->image_done = 0;
    s->took_ns = 0;
    s->busy_ns = w->reactor->stats.busy_ns;
    s->secret = (struct hash_secret){ .k0 = prng_next(&w->prng), .k1 = prng_next(&w->prng) };
    s->position = effects_pending(&w->effects) ? effects_building(&w->effects) : w->effects.position;
    store_listen_before(w->store, before_change, w);
}

void save_stop(struct worker *w)
{
    save_waiters_forget(w);
    uint64_t set = w->save.set;
    if (set == 0)
        return;
    keeper_snapshot_cancel(keeper_of(w), set, "the server stopped");
    leave(w);
    keeper_file_drop(keeper_of(w), set, w->id);
}
