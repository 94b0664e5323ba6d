// SPDX-License-Identifier: Apache-2.0
#include "engine/store/keyspace.h"

#include <string.h>

#include "base/prefetch.h"
#include "engine/store/change.h"
#include "engine/store/find.h"
#include "engine/store/inside.h"

#define RANDOM_TRIES 128u

// Growing by a little, again and again, moves the entry only every fifth of its size.
#define GROW_ROOM(size) ((size) + (size) / 4)
// Slots may be this many classes larger than needed before shrinking moves the entry.
#define SHRINK_CLASSES 4u

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

struct entry *keyspace_set_len(struct keyspace *ks, struct slice key, uint64_t hash, enum entry_type type, size_t len, int64_t deadline_ms,
                               int64_t now_ms)
{
    struct change c = { .key = key, .hash = hash, .plan = { .key_len = key.len, .value_len = len, .type = type } };
    return change_set(ks, &c, deadline_ms, now_ms);
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
    struct entry *e = change_set(ks, &c, deadline_ms, now_ms);
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
    return change_set(ks, &c, deadline_ms, now_ms);
}

// Changing what is there

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
    change_plan_recency(ks, &c, false);
    entry_plan(&c.plan, false);
    if (change_fits(ks, &c, SHRINK_CLASSES))
        return change_in_place(ks, &c, e, len);
    size_t roomy = GROW_ROOM(c.plan.size);
    if (len > old_len && c.plan.form != ENTRY_OUTSIDE && roomy <= SLAB_SLOT_MAX)
        c.plan.size = roomy;
    return change_move(ks, &c, e, len);
}

// The same value behind a header of another length.
static struct entry *rewrite_deadline(struct keyspace *ks, struct change *c, struct entry *e)
{
    struct store *s = ks->store;
    size_t len = c->plan.value_len;
    c->kind = STORE_DEADLINE;
    change_plan_recency(ks, c, false);
    entry_plan(&c->plan, entry_form(e) == ENTRY_OUTSIDE);
    if (entry_form(e) == ENTRY_OUTSIDE) {
        // The pages stay where they are: only the slot is replaced.
        c->value = entry_blob(e);
        c->key_blob = entry_key_blob(e);
        bool mark = entry_mark(e);
        struct entry *moved = change_commit(ks, c, 0, true);
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
    if (!change_fits(ks, c, SHRINK_CLASSES))
        return change_move(ks, c, e, len);
    bool record = change_needs_record(c, true);
    if (record && deadline_make_room(&s->deadlines) != 0)
        return NULL;
    change_in_place(ks, c, e, len);
    if (record)
        deadline_add(&s->deadlines, c->old_ref, c->plan.deadline);
    change_count_deadline(ks, c->old_deadline, c->plan.deadline);
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
    change_count_deadline(ks, old, deadline_ms);
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
