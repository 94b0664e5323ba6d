// SPDX-License-Identifier: Apache-2.0
// A change takes all it needs first (slot, room in the index, room in the wheel, pages), and only then changes anything: so that
// running out of memory leaves everything as it was.
#include <string.h>

#include "base/prefetch.h"
#include "engine/store/find.h"
#include "engine/store/inside.h"

#define RANDOM_TRIES 128u

// Growing by a little, again and again, moves the entry only every fifth of its size.
#define GROW_ROOM(size) ((size) + (size) / 4)
// Slots may be this many classes larger than needed before shrinking moves the entry.
#define SHRINK_CLASSES 4u
#define SET_CLASSES    1u
#define SWEEP_ASSIST   32u // records

uint64_t keyspace_hash(const struct keyspace *ks, struct slice key)
{
    const struct store *s = ks->store;
    if (likely(!s->options.public_hash))
        return hash_keyed(&s->hash_keys, key);
    // Bits of the route are the same for all keys of a shard: mix them, so that the index sees none.
    return route_mix(hash_route(key));
}

void keyspace_prefetch(const struct keyspace *ks, uint64_t hash)
{
    if (likely(ks->index.directory != NULL))
        prefetch(index_home(&ks->store->world, &ks->index, hash));
}

bool keyspace_prefetch_entry(const struct keyspace *ks, uint64_t hash)
{
    const struct directory *d = ks->index.directory;
    if (unlikely(d == NULL))
        return false;
    const struct find_home home = find_home(&ks->store->world.slabs.arena, d, hash);
    struct find_step step = { &home.buckets[home.at], home.tag };
    return keyspace_step_entry(ks, step) == NULL && unlikely(step.bucket->passed != 0);
}

void keyspace_prefetch_displaced(const struct keyspace *ks, uint64_t hash)
{
    if (likely(ks->index.directory != NULL))
        (void)keyspace_step_beyond(ks, hash);
}

static struct entry *spot_entry(const struct keyspace *ks, struct spot spot)
{
    return store_entry(ks->store, spot.bucket->refs[spot.slot]);
}

void keyspace_remove_spot(struct keyspace *ks, uint64_t hash, struct spot spot)
{
    struct store *s = ks->store;
    uint32_t ref = spot.bucket->refs[spot.slot];
    store_changes(ks, hash, entry_key(store_entry(s, ref)), store_entry(s, ref));
    store_changed(ks, hash, entry_key(store_entry(s, ref)), STORE_GONE, 0, 0);
    int64_t deadline = entry_deadline(store_entry(s, ref));
    if (deadline != ENTRY_NO_DEADLINE) {
        ks->deadline_count--;
        ks->deadline_sum -= (uint64_t)deadline;
        s->deadlines.live--;
    }
    index_remove(&s->world, &ks->index, hash, spot);
    store_release_entry(s, ref);
    if (ks->index.count == 0)
        store_discard_index(s, &ks->index);
}

static void touch(struct keyspace *ks, struct entry *e, int64_t now_ms)
{
    struct store *s = ks->store;
    if ((e->head & ENTRY_HEAD_RECENCY) == 0 || s->untouching)
        return;
    uint8_t *at = entry_recency(e);
    bool is_long = (*at & ENTRY_RECENCY_LONG) != 0;
    if (is_long && !s->s3fifo.on)
        entry_recency_store(at, evict_recency(s, entry_recency_load(at), now_ms));
    else if (!is_long && s->s3fifo.on && (*at & S3FIFO_READS) < S3FIFO_READS)
        ++*at;
}

static inline struct entry *found(struct keyspace *ks, struct spot spot, uint64_t hash, int64_t now_ms)
{
    struct entry *e = spot_entry(ks, spot);
    if (entry_expired(e, now_ms)) {
        keyspace_remove_spot(ks, hash, spot);
        ks->stats.expired++;
        ks->stats.misses++;
        return NULL;
    }
    ks->stats.hits++;
    if (unlikely(ks->store->has_recency))
        touch(ks, e, now_ms);
    return e;
}

struct entry *keyspace_find(struct keyspace *ks, struct slice key, uint64_t hash, int64_t now_ms)
{
    struct spot spot = index_find(&ks->store->world, &ks->index, hash, key);
    if (spot.bucket == NULL) {
        ks->stats.misses++;
        return NULL;
    }
    return found(ks, spot, hash, now_ms);
}

struct entry *keyspace_find_at(struct keyspace *ks, struct slice key, uint64_t hash, struct keyspace_clock *clock)
{
    struct spot spot = index_find(&ks->store->world, &ks->index, hash, key);
    if (spot.bucket == NULL) {
        ks->stats.misses++;
        return NULL;
    }
    const struct store *s = ks->store;
    bool sampled = s->has_recency && !s->s3fifo.on; // the time of an access is noted
    if (unlikely((spot_entry(ks, spot)->head & ENTRY_HEAD_DEADLINE) != 0) || unlikely(sampled))
        return found(ks, spot, hash, clock->now_ms(clock));
    return found(ks, spot, hash, INT64_MIN);
}

struct keyspace_pin keyspace_pin(struct keyspace *ks, struct entry *e)
{
    struct blob *b = entry_blob(e);
    if (b != NULL)
        return (struct keyspace_pin){ .blob = blob_pin(b) };
    return (struct keyspace_pin){ .side = slab_pin(&ks->store->world.slabs) };
}

void keyspace_unpin(struct keyspace *ks, struct keyspace_pin pin)
{
    if (pin.blob != NULL)
        blob_unpin(pin.blob);
    else
        slab_unpin(&ks->store->world.slabs, pin.side);
}

struct entry *keyspace_peek(struct keyspace *ks, struct slice key, uint64_t hash, int64_t now_ms)
{
    struct spot spot = index_find(&ks->store->world, &ks->index, hash, key);
    if (spot.bucket == NULL || entry_expired(spot_entry(ks, spot), now_ms))
        return NULL;
    return spot_entry(ks, spot);
}

// Like index_find, but on to the end of the chain: another key may have the same hash.
struct entry *keyspace_find_public(struct keyspace *ks, uint64_t route_hash, size_t key_len, int64_t now_ms, uint32_t *count)
{
    const struct store *s = ks->store;
    assert(s->options.public_hash);
    *count = 0;
    if (ks->index.directory == NULL) {
        ks->stats.misses++;
        return NULL;
    }
    uint64_t hash = route_mix(route_hash);
    struct entry *found = NULL;
    const struct segment *segment = &ks->index.directory->segments[directory_slot(ks->index.directory, hash)];
    struct bucket *buckets = arena_at(&s->world.slabs.arena, segment->ref);
    uint32_t at = segment_home(segment, segment_position(segment, hash));
    uint8_t tag = segment_tag(segment_position(segment, hash));
    for (uint32_t tries = segment->buckets; tries > 0; tries--) {
        const struct bucket *b = &buckets[at];
        for (uint32_t match = bucket_match(b, tag); match != 0; match &= match - 1) {
            struct entry *e = store_entry(s, b->refs[__builtin_ctz(match)]);
            struct slice key = entry_key(e);
            if (key.len != key_len || hash_route(key) != route_hash || entry_expired(e, now_ms))
                continue;
            found = e;
            ++*count;
        }
        if (b->passed == 0)
            break;
        at = at + 1 == segment->buckets ? 0 : at + 1;
    }
    if (found == NULL)
        ks->stats.misses++;
    return found;
}

// Setting

// What a set works with: the key's place, what it will be, and the blobs that an OUTSIDE entry points to.
struct change {
    struct slice key;
    uint64_t hash;
    struct spot spot; // of the old entry
    uint32_t old_ref; // 0 = none
    int64_t old_deadline;
    bool tracked; // the old entry is, by S3-FIFO
    bool moves;   // it has to be written elsewhere, though it may fit where it is
    struct entry_plan plan;
    struct blob *value;          // for OUTSIDE
    struct blob *key_blob;       // for OUTSIDE with a long key
    enum store_change_kind kind; // what whoever listens is told
    uint64_t lo, hi;
};

static void count_deadline(struct keyspace *ks, int64_t before, int64_t after)
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

static bool fits_in_place(const struct keyspace *ks, const struct change *c, uint32_t classes)
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

static bool needs_record(const struct change *c, bool in_place)
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

// Makes the planned entry the key's. The old one is released unless it is reused or `keep_old`. NULL: no memory, nothing changed
// (blobs of the change stay the caller's).
static struct entry *commit(struct keyspace *ks, struct change *c, uint32_t classes, bool keep_old)
{
    struct store *s = ks->store;
    bool in_place = fits_in_place(ks, c, classes);
    bool record = needs_record(c, in_place);
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
    count_deadline(ks, c->old_deadline, c->plan.deadline);
    if (unlikely(record && deadline_crowded(&s->deadlines))) {
        uint32_t budget = SWEEP_ASSIST;
        (void)deadline_sweep(&s->deadlines, &budget);
    }
    store_changed(ks, c->hash, entry_key(e), c->kind, c->lo, c->hi);
    if (c->old_ref != 0 && !in_place && !keep_old)
        store_release_entry(s, c->old_ref);
    return e;
}

// What the policy keeps in the entry; `access`: the change counts as a read of the old one, too.
static void plan_recency(struct keyspace *ks, struct change *c, bool access)
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

// The one way in of all sets. `value` NULL: an uninitialised value of value_len bytes.
static struct entry *set(struct keyspace *ks, struct change *c, int64_t deadline_ms, int64_t now_ms)
{
    find_old(ks, c, &deadline_ms, now_ms);
    c->plan.deadline = deadline_ms;
    plan_recency(ks, c, true);
    entry_plan(&c->plan, c->value != NULL);
    struct entry *e = take_blobs(ks, c) ? commit(ks, c, SET_CLASSES, false) : NULL;
    if (e == NULL)
        drop_blobs(c);
    return e;
}

struct entry *keyspace_set_len(struct keyspace *ks, struct slice key, uint64_t hash, enum entry_type type, size_t len, int64_t deadline_ms,
                               int64_t now_ms)
{
    struct change c = { .key = key, .hash = hash, .plan = { .key_len = key.len, .value_len = len, .type = type } };
    return set(ks, &c, deadline_ms, now_ms);
}

// The entry, where a value of `len` bytes simply takes the place of the old one: the header stays.
static struct entry *find_same(const struct keyspace *ks, struct slice key, uint64_t hash, size_t len)
{
    struct entry *e = keyspace_plain(ks, key, hash);
    return e == NULL || keyspace_plain_value(e).len != len || slab_pinned(&ks->store->world.slabs) ? NULL : e;
}

struct entry *keyspace_set(struct keyspace *ks, struct slice key, uint64_t hash, enum entry_type type, struct slice value,
                           int64_t deadline_ms, int64_t now_ms)
{
    struct entry *same = type == ENTRY_STRING && deadline_ms == ENTRY_NO_DEADLINE ? find_same(ks, key, hash, value.len) : NULL;
    if (likely(same != NULL)) {
        ks->store->now_ms = now_ms;
        store_changes(ks, hash, key, same);
        entry_set_mark(same, false);
        store_changed_at(ks, hash, key, same);
        copy_short((uint8_t *)same + (keyspace_plain_value(same).data - (uint8_t *)same), value.data, value.len);
        return same;
    }
    struct change c = { .key = key, .hash = hash, .plan = { .key_len = key.len, .value_len = value.len, .type = type } };
    if (unlikely(value.len >= BLOB_MIN)) {
        c.value = blob_copy(ks->store->blobs, value);
        if (c.value == NULL)
            return NULL;
    }
    struct entry *e = set(ks, &c, deadline_ms, now_ms);
    if (e != NULL && c.value != NULL && value.len < BLOB_MIN)
        memcpy(c.value->data, value.data, value.len);
    else if (e != NULL && c.value == NULL && value.len > 0)
        memcpy((uint8_t *)e + c.plan.head_len + key.len, value.data, value.len);
    return e;
}

struct entry *keyspace_set_blob(struct keyspace *ks, struct slice key, uint64_t hash, enum entry_type type, struct blob *value,
                                int64_t deadline_ms, int64_t now_ms)
{
    if (value->len < BLOB_MIN) {
        struct entry *e = keyspace_set(ks, key, hash, type, slice_of(value->data, value->len), deadline_ms, now_ms);
        blob_free(value);
        return e;
    }
    value->owner = ks->store->blobs;
    blob_trim(value);
    struct change c = { .key = key, .hash = hash, .plan = { .key_len = key.len, .value_len = value->len, .type = type }, .value = value };
    return set(ks, &c, deadline_ms, now_ms);
}

// Changing what is there

static struct change change_of(struct keyspace *ks, struct entry *e)
{
    struct change c = { .key = entry_key(e), .old_ref = store_ref(ks->store, e), .old_deadline = entry_deadline(e) };
    c.hash = keyspace_hash(ks, c.key);
    c.spot = index_find_ref(&ks->store->world, &ks->index, c.hash, c.old_ref);
    assert(c.spot.bucket != NULL);
    c.plan =
        (struct entry_plan){ .key_len = c.key.len, .value_len = entry_value(e).len, .deadline = c.old_deadline, .type = entry_type(e) };
    return c;
}

// For changes that have no hash at hand.
static void tell(struct keyspace *ks, const struct entry *e, enum store_change_kind kind, uint64_t lo, uint64_t hi)
{
    if (unlikely(ks->store->on_change != NULL))
        store_changed(ks, keyspace_hash(ks, entry_key(e)), entry_key(e), kind, lo, hi);
}

// The same before them.
static void tell_before(struct keyspace *ks, struct entry *e)
{
    if (unlikely(ks->store->before_change != NULL))
        store_changes(ks, keyspace_hash(ks, entry_key(e)), entry_key(e), e);
}

uint8_t *keyspace_write(struct keyspace *ks, struct entry *e, uint64_t hash)
{
    store_changes(ks, hash, entry_key(e), e);
    return entry_value_bytes(e);
}

// What a value has grown by is a range of it.
static enum store_change_kind resized_kind(size_t before, size_t after)
{
    return after < before ? STORE_SET : STORE_RANGE;
}

void keyspace_wrote(struct keyspace *ks, struct slice key, uint64_t hash, uint64_t lo, uint64_t hi)
{
    store_changed(ks, hash, key, STORE_RANGE, lo, hi);
}

void keyspace_marked(struct keyspace *ks, struct slice key, uint64_t hash)
{
    store_changed(ks, hash, key, STORE_MARK, 0, 0);
}

// A large value stays on its pages: they change their length, the slot does not.
static struct entry *resize_blob(struct keyspace *ks, struct entry *e, size_t len)
{
    struct store *s = ks->store;
    tell_before(ks, e);
    struct blob *b = entry_pointer(e->rest + 4);
    size_t cap = b->cap, before = b->len;
    if (blob_pinned(b) && !entry_own_blob(e))
        return NULL;
    b = entry_pointer(e->rest + 4);
    bool done = blob_set_len(b, len);
    s->blob_bytes += b->cap - cap;
    if (unlikely(s3fifo_tracks(&s->s3fifo, e)))
        s3fifo_resized(s, e, (int64_t)(b->cap - cap));
    tell(ks, e, resized_kind(before, len), before, len);
    return done ? e : NULL;
}

// From slot to pages or back, or to a larger or smaller slot: the value is copied, the old slot released last.
static struct entry *resize_move(struct keyspace *ks, struct change *c, struct entry *old, size_t len)
{
    struct store *s = ks->store;
    struct slice value = entry_value(old);
    size_t keep = value.len < len ? value.len : len;
    bool mark = entry_mark(old);
    if (!take_blobs(ks, c))
        goto no_memory;
    struct entry *e = commit(ks, c, 0, true);
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

static struct entry *resize_in_place(struct keyspace *ks, struct change *c, struct entry *e, size_t len)
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

struct entry *keyspace_resize(struct keyspace *ks, struct entry *e, size_t len)
{
    if (entry_form(e) == ENTRY_OUTSIDE && (len >= BLOB_MIN || entry_key_blob(e) != NULL))
        return resize_blob(ks, e, len);
    struct change c = change_of(ks, e);
    size_t old_len = c.plan.value_len;
    c.plan.value_len = len;
    c.kind = resized_kind(old_len, len);
    c.lo = old_len;
    c.hi = len;
    plan_recency(ks, &c, false);
    entry_plan(&c.plan, false);
    if (fits_in_place(ks, &c, SHRINK_CLASSES))
        return resize_in_place(ks, &c, e, len);
    size_t roomy = GROW_ROOM(c.plan.size);
    if (len > old_len && c.plan.form != ENTRY_OUTSIDE && roomy <= SLAB_SLOT_MAX)
        c.plan.size = roomy;
    return resize_move(ks, &c, e, len);
}

// The same value behind a header of another length.
static struct entry *rewrite_deadline(struct keyspace *ks, struct change *c, struct entry *e)
{
    struct store *s = ks->store;
    size_t len = c->plan.value_len;
    c->kind = STORE_DEADLINE;
    plan_recency(ks, c, false);
    entry_plan(&c->plan, entry_form(e) == ENTRY_OUTSIDE);
    if (entry_form(e) == ENTRY_OUTSIDE) {
        // The pages stay where they are: only the slot is replaced.
        c->value = entry_blob(e);
        c->key_blob = entry_key_blob(e);
        bool mark = entry_mark(e);
        struct entry *moved = commit(ks, c, 0, true);
        if (moved == NULL)
            return NULL;
        entry_set_mark(moved, mark);
        store_disown_blob(s, c->value);
        store_disown_blob(s, c->key_blob);
        if (unlikely(c->tracked))
            s3fifo_forget(s, e);
        slab_give(&s->world.slabs, c->old_ref);
        return moved;
    }
    if (!fits_in_place(ks, c, SHRINK_CLASSES))
        return resize_move(ks, c, e, len);
    bool record = needs_record(c, true);
    if (record && deadline_make_room(&s->deadlines) != 0)
        return NULL;
    resize_in_place(ks, c, e, len);
    if (record)
        deadline_add(&s->deadlines, c->old_ref, c->plan.deadline);
    count_deadline(ks, c->old_deadline, c->plan.deadline);
    return e;
}

struct entry *keyspace_set_deadline(struct keyspace *ks, struct entry *e, int64_t deadline_ms)
{
    struct store *s = ks->store;
    int64_t old = entry_deadline(e);
    if (old == deadline_ms)
        return e;
    bool same_shape =
        old != ENTRY_NO_DEADLINE && deadline_ms != ENTRY_NO_DEADLINE && entry_deadline_wide(old) == entry_deadline_wide(deadline_ms);
    if (!same_shape) {
        struct change c = change_of(ks, e);
        c.plan.deadline = deadline_ms;
        return rewrite_deadline(ks, &c, e);
    }
    if (deadline_needs_record(old, deadline_ms)) {
        if (deadline_make_room(&s->deadlines) != 0)
            return NULL;
        deadline_add(&s->deadlines, store_ref(s, e), deadline_ms);
    }
    tell_before(ks, e);
    entry_write_deadline(e, deadline_ms);
    tell(ks, e, STORE_DEADLINE, 0, 0);
    count_deadline(ks, old, deadline_ms);
    return e;
}

// Removing

bool keyspace_delete(struct keyspace *ks, struct slice key, uint64_t hash, int64_t now_ms)
{
    struct spot spot = index_find(&ks->store->world, &ks->index, hash, key);
    if (spot.bucket == NULL)
        return false;
    bool expired = entry_expired(spot_entry(ks, spot), now_ms);
    ks->stats.expired += expired;
    keyspace_remove_spot(ks, hash, spot);
    return !expired;
}

void keyspace_remove(struct keyspace *ks, struct entry *e)
{
    uint64_t hash = keyspace_hash(ks, entry_key(e));
    struct spot spot = index_find_ref(&ks->store->world, &ks->index, hash, store_ref(ks->store, e));
    assert(spot.bucket != NULL);
    keyspace_remove_spot(ks, hash, spot);
}

void keyspace_clear(struct keyspace *ks)
{
    store_changes(ks, 0, slice_of(NULL, 0), NULL);
    store_changed(ks, 0, slice_of(NULL, 0), STORE_CLEAR, 0, 0);
    ks->store->deadlines.live -= ks->deadline_count;
    ks->deadline_count = 0;
    ks->deadline_sum = 0;
    store_discard_index(ks->store, &ks->index);
}

// Looking around

uint64_t keyspace_count(const struct keyspace *ks)
{
    return ks->index.count;
}

uint64_t keyspace_deadline_count(const struct keyspace *ks)
{
    return ks->deadline_count;
}

int64_t keyspace_average_ttl_ms(const struct keyspace *ks, int64_t now_ms)
{
    if (ks->deadline_count == 0)
        return 0;
    // The sum of the distances fits 63 bits for any real mixture; a sum that wrapped shows as negative.
    int64_t sum = (int64_t)(ks->deadline_sum - (uint64_t)now_ms * ks->deadline_count);
    return sum > 0 ? sum / (int64_t)ks->deadline_count : 0;
}

struct keyspace_stats keyspace_stats(const struct keyspace *ks)
{
    return ks->stats;
}

struct scan_view {
    const struct store *store;
    keyspace_visit_fn *visit;
    void *context;
    int64_t now_ms;
};

static void scan_visit(void *context, uint32_t ref)
{
    const struct scan_view *view = context;
    struct entry *e = store_entry(view->store, ref);
    if (!entry_expired(e, view->now_ms))
        view->visit(view->context, e);
}

uint64_t keyspace_scan(struct keyspace *ks, uint64_t cursor, uint32_t count, int64_t now_ms, keyspace_visit_fn *visit, void *context)
{
    struct scan_view view = { .store = ks->store, .visit = visit, .context = context, .now_ms = now_ms };
    return index_scan(&ks->store->world, &ks->index, cursor, count, scan_visit, &view);
}

struct walk_view {
    const struct store *store;
    keyspace_walk_fn *visit;
    void *context;
};

static void walk_visit(void *context, uint64_t hash, uint32_t ref)
{
    const struct walk_view *view = context;
    view->visit(view->context, hash, store_entry(view->store, ref));
}

uint64_t keyspace_walk(struct keyspace *ks, uint64_t from, keyspace_walk_fn *visit, void *context)
{
    struct walk_view view = { .store = ks->store, .visit = visit, .context = context };
    return index_walk(&ks->store->world, &ks->index, from, walk_visit, &view);
}

static void take_first(void *context, struct entry *e)
{
    struct entry **first = context;
    if (*first == NULL)
        *first = e;
}

struct entry *keyspace_random(struct keyspace *ks, struct prng *prng, int64_t now_ms)
{
    if (ks->index.directory == NULL)
        return NULL;
    for (uint32_t i = 0; i < RANDOM_TRIES; i++) {
        uint32_t ref = index_random(&ks->store->world, &ks->index, prng_next(prng));
        if (ref != 0 && !entry_expired(store_entry(ks->store, ref), now_ms))
            return store_entry(ks->store, ref);
    }
    // Few are left, or most have expired: the first alive behind a random place, around the end once.
    struct entry *first = NULL;
    uint64_t start = prng_next(prng) >> 16;
    uint64_t cursor = start;
    do {
        cursor = keyspace_scan(ks, cursor, 16, now_ms, take_first, &first);
    } while (first == NULL && cursor != 0);
    while (first == NULL && cursor <= start) {
        cursor = keyspace_scan(ks, cursor, 16, now_ms, take_first, &first);
        if (cursor == 0)
            break;
    }
    return first;
}
