// SPDX-License-Identifier: Apache-2.0
// A change takes all it needs first (slot, room in the index, room in the wheel, pages), and only then changes anything: so that
// running out of memory leaves everything as it was.
#include "engine/store/change.h"

#include <string.h>

#define SET_CLASSES  1u  // a set's slot may be so many classes larger than needed
#define SWEEP_ASSIST 32u // records

void change_count_deadline(struct keyspace *ks, int64_t before, int64_t after)
{
    struct store *s = ks->store;
    uint64_t had = before != ENTRY_NO_DEADLINE, has = after != ENTRY_NO_DEADLINE;
    ks->deadline_sum += (has ? (uint64_t)after : 0) - (had ? (uint64_t)before : 0);
    ks->deadline_count += has - had;
    s->deadlines.live += has - had;
}

static void find_old(struct keyspace *ks, struct change *c, int64_t *deadline_ms, int64_t now_ms)
{
    ks->store->now_ms = now_ms;
    c->spot = index_find(&ks->store->world, &ks->index, c->hash, c->key);
    c->old_deadline = ENTRY_NO_DEADLINE;
    if (c->spot.bucket != NULL) {
        c->old_ref = c->spot.bucket->refs[c->spot.slot];
        c->old_deadline = entry_deadline(store_entry(ks->store, c->old_ref));
    }
    bool expired = c->old_deadline != ENTRY_NO_DEADLINE && c->old_deadline <= now_ms;
    ks->stats.expired += expired;
    if (*deadline_ms != KEYSPACE_KEEP_DEADLINE)
        return;
    *deadline_ms = expired ? ENTRY_NO_DEADLINE : c->old_deadline;
}

bool change_fits(const struct keyspace *ks, const struct change *c, uint32_t classes)
{
    const struct store *s = ks->store;
    if (c->old_ref == 0 || c->plan.form == ENTRY_OUTSIDE || c->moves || slab_pinned(&s->world.slabs))
        return false;
    if (entry_form(store_entry(s, c->old_ref)) == ENTRY_OUTSIDE)
        return false;
    uint32_t have = slab_page(&s->world.slabs, c->old_ref)->class;
    uint32_t need = slab_size_index(c->plan.size);
    return have >= need && have - need <= classes;
}

// Pages that an OUTSIDE entry needs beside its slot.
static bool take_blobs(struct keyspace *ks, struct change *c)
{
    struct blobs *home = ks->store->blobs;
    if (c->plan.form != ENTRY_OUTSIDE)
        return true;
    if (c->plan.key_len > ENTRY_KEY_INLINE && c->key_blob == NULL) {
        c->key_blob = blob_copy(home, c->key);
        if (c->key_blob == NULL)
            return false;
    }
    if (c->value == NULL) {
        c->value = blob_copy(home, slice_of(NULL, 0));
        if (c->value == NULL || !blob_set_len(c->value, c->plan.value_len))
            return false;
    }
    return true;
}

static void drop_blobs(struct change *c)
{
    c->key_blob = blob_free(c->key_blob);
    c->value = blob_free(c->value);
}

bool change_needs_record(const struct change *c, bool in_place)
{
    if (c->plan.deadline == ENTRY_NO_DEADLINE)
        return false;
    return !in_place || deadline_needs_record(c->old_deadline, c->plan.deadline);
}

// The header and the key; the value's place is left for the caller to fill.
static void write_entry(struct keyspace *ks, struct entry *e, const struct change *c, bool in_place)
{
    struct store *s = ks->store;
    const struct entry_plan *plan = &c->plan;
    if (in_place) {
        // The key may be a view of this very entry, and the header may change its length: move it before the header is written.
        const uint8_t *key = entry_key(e).data;
        memmove((uint8_t *)e + plan->head_len, key, plan->key_len);
        entry_write_head(e, plan);
        return;
    }
    entry_write_head(e, plan);
    uint8_t *at = (uint8_t *)e + plan->head_len;
    if (plan->form == ENTRY_OUTSIDE) {
        store_u64(e->rest + 4, (uint64_t)(uintptr_t)c->value);
        store_own_blob(s, c->value);
    }
    if (c->key_blob != NULL) {
        store_u64(at, (uint64_t)(uintptr_t)c->key_blob);
        store_own_blob(s, c->key_blob);
    } else if (plan->key_len > 0) {
        memcpy(at, c->key.data, plan->key_len);
    }
}

struct entry *change_commit(struct keyspace *ks, struct change *c, uint32_t classes, bool keep_old)
{
    struct store *s = ks->store;
    bool in_place = change_fits(ks, c, classes);
    bool record = change_needs_record(c, in_place);
    bool track = s->s3fifo.on && c->plan.recency_len == 1;
    bool admit = track && !(in_place && c->tracked);
    uint32_t ref = c->old_ref;
    if (record && deadline_make_room(&s->deadlines) != 0)
        return NULL;
    if (unlikely(admit) && s3fifo_make_room(&s->s3fifo) != 0)
        return NULL;
    if (!in_place) {
        ref = slab_take(&s->world.slabs, SLAB_ENTRY, c->plan.size);
        if (ref == 0)
            return NULL;
    }
    if (c->old_ref == 0 && index_make_room(&s->world, &ks->index, c->hash) != 0) {
        slab_give(&s->world.slabs, ref);
        return NULL;
    }
    store_changes(ks, c->hash, c->key, c->old_ref == 0 ? NULL : store_entry(s, c->old_ref));
    struct entry *e = store_entry(s, ref);
    if (unlikely(c->tracked) && in_place && !track)
        s3fifo_forget(s, e);
    write_entry(ks, e, c, in_place);
    if (unlikely(admit))
        s3fifo_admit(s, ref, c->hash, c->tracked ? (int)c->plan.recency : -1);
    if (c->old_ref == 0)
        index_insert(&s->world, &ks->index, c->hash, ref);
    else
        c->spot.bucket->refs[c->spot.slot] = ref;
    if (record)
        deadline_add(&s->deadlines, ref, c->plan.deadline);
    change_count_deadline(ks, c->old_deadline, c->plan.deadline);
    if (unlikely(record && deadline_crowded(&s->deadlines))) {
        uint32_t budget = SWEEP_ASSIST;
        (void)deadline_sweep(&s->deadlines, &budget);
    }
    store_changed(ks, c->hash, entry_key(e), c->kind, c->lo, c->hi);
    if (c->old_ref != 0 && !in_place && !keep_old)
        store_release_entry(s, c->old_ref);
    return e;
}

void change_plan_recency(struct keyspace *ks, struct change *c, bool access)
{
    struct store *s = ks->store;
    if (likely(!s->has_recency))
        return;
    const struct entry *old = c->old_ref == 0 ? NULL : store_entry(s, c->old_ref);
    if (s->s3fifo.on) {
        c->tracked = old != NULL && s3fifo_tracks(&s->s3fifo, old);
        c->plan.recency_len = s3fifo_wants(&s->s3fifo, c->plan.deadline);
        if (c->tracked)
            c->plan.recency = access ? s3fifo_read(*entry_recency(old)) : *entry_recency(old);
        // Joining or leaving the queues goes with a new slot, where the value is not overwritten anyway.
        c->moves = !access && c->tracked != (c->plan.recency_len == 1);
        return;
    }
    int64_t before = old == NULL || entry_recency_len(old) != 3 ? -1 : (int64_t)entry_recency_load(entry_recency(old));
    c->plan.recency_len = 3;
    c->plan.recency = access || before < 0 ? evict_recency(s, before, s->now_ms) : (uint32_t)before;
}

struct entry *change_set(struct keyspace *ks, struct change *c, int64_t deadline_ms, int64_t now_ms)
{
    find_old(ks, c, &deadline_ms, now_ms);
    c->plan.deadline = deadline_ms;
    change_plan_recency(ks, c, true);
    entry_plan(&c->plan, c->value != NULL);
    struct entry *e = take_blobs(ks, c) ? change_commit(ks, c, SET_CLASSES, false) : NULL;
    if (e == NULL)
        drop_blobs(c);
    return e;
}

struct change change_of(struct keyspace *ks, struct entry *e)
{
    struct change c = { .key = entry_key(e), .old_ref = store_ref(ks->store, e), .old_deadline = entry_deadline(e) };
    c.hash = keyspace_hash(ks, c.key);
    c.spot = index_find_ref(&ks->store->world, &ks->index, c.hash, c.old_ref);
    assert(c.spot.bucket != NULL);
    c.plan =
        (struct entry_plan){ .key_len = c.key.len, .value_len = entry_value(e).len, .deadline = c.old_deadline, .type = entry_type(e) };
    return c;
}

struct entry *change_move(struct keyspace *ks, struct change *c, struct entry *old, size_t len)
{
    struct store *s = ks->store;
    struct slice value = entry_value(old);
    size_t keep = value.len < len ? value.len : len;
    bool mark = entry_mark(old);
    if (!take_blobs(ks, c))
        goto no_memory;
    struct entry *e = change_commit(ks, c, 0, true);
    if (e == NULL)
        goto no_memory;
    uint8_t *to = c->value != NULL ? c->value->data : (uint8_t *)e + c->plan.head_len + (c->key_blob != NULL ? 8 : c->plan.key_len);
    if (keep > 0)
        memcpy(to, value.data, keep);
    memset(to + keep, 0, len - keep);
    entry_set_mark(e, mark);
    store_release_entry(s, c->old_ref);
    return e;
no_memory:
    drop_blobs(c);
    return NULL;
}

struct entry *change_in_place(struct keyspace *ks, struct change *c, struct entry *e, size_t len)
{
    struct slice value = entry_value(e);
    size_t keep = value.len < len ? value.len : len;
    bool mark = entry_mark(e);
    size_t key_at = entry_head_len(e);
    store_changes(ks, c->hash, c->key, e);
    // The header can change its length: the value moves first when it grows, last when it shrinks.
    uint8_t *to = (uint8_t *)e + c->plan.head_len + c->plan.key_len;
    if (c->plan.head_len > key_at)
        memmove(to, value.data, keep);
    write_entry(ks, e, c, true);
    if (c->plan.head_len < key_at)
        memmove(to, value.data, keep);
    memset(to + keep, 0, len - keep);
    entry_set_mark(e, mark);
    store_changed(ks, c->hash, entry_key(e), c->kind, c->lo, c->hi);
    return e;
}
