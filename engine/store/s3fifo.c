// SPDX-License-Identifier: Apache-2.0
// Invariant: every entry with a byte of this era has a true record in the queue that its byte names (a dead record passes for a second
// one only where slot, queue and the number's last three bits agree: then the entry's turn comes early); `live` and `bytes` of a
// queue are those of its tracked entries.
// Failure mode: no memory for a record. Then a set fails as for any other memory; an entry whose turn would take it around goes.
#include "engine/store/s3fifo.h"

#include <errno.h>

#include "engine/store/inside.h"

#define SMALL_SHARE  10u // a tenth of the bytes
#define PROMOTE      2u  // reads in small that lead to main
#define SWEEP_ASSIST 32u // records
#define ADOPT_VISITS 16u
#define ADOPT_COST   16u

void s3fifo_init(struct s3fifo *f, struct slabs *slabs, struct memory *m)
{
    *f = (struct s3fifo){ 0 };
    queue_init(&f->small, slabs);
    queue_init(&f->main, slabs);
    ghost_init(&f->ghost, m);
}

void s3fifo_deinit(struct s3fifo *f)
{
    ghost_deinit(&f->ghost);
}

static void drop_all(struct s3fifo *f)
{
    struct queue *queues[2] = { &f->small, &f->main };
    for (int i = 0; i < 2; i++) {
        uint32_t budget = UINT32_MAX;
        (void)queue_free_some(queues[i]->slabs, &f->dropped[i], &budget); // of the time before, if it was not over yet
        f->dropped[i] = queue_detach(queues[i]);
    }
    ghost_deinit(&f->ghost);
}

void s3fifo_start(struct s3fifo *f, bool only_volatile)
{
    drop_all(f);
    f->on = true;
    f->only_volatile = only_volatile;
    f->era ^= S3FIFO_ERA;
    f->adopting = true;
    f->adopt_keyspace = 0;
    f->adopt_cursor = 0;
}

void s3fifo_stop(struct s3fifo *f)
{
    drop_all(f);
    f->on = f->adopting = false;
}

static struct queue *queue_of(struct s3fifo *f, uint8_t byte)
{
    return (byte & S3FIFO_MAIN) != 0 ? &f->main : &f->small;
}

static uint8_t number_bits(uint32_t number)
{
    return (uint8_t)(number << 3) & S3FIFO_NUMBER;
}

// Bytes that go when the entry goes.
static uint64_t held_by(const struct store *s, const struct entry *e)
{
    uint64_t bytes = slab_slot_size(&s->world.slabs, store_ref(s, e));
    if (unlikely(entry_form(e) == ENTRY_OUTSIDE)) {
        const struct blob *key = entry_key_blob(e);
        bytes += entry_blob(e)->cap + (key == NULL ? 0 : key->cap);
    }
    return bytes;
}

int s3fifo_make_room(struct s3fifo *f)
{
    return queue_make_room(&f->small) != 0 || queue_make_room(&f->main) != 0 ? -ENOMEM : 0;
}

// The entry's record goes to the end of the queue that `byte` names.
static void file(struct store *s, uint32_t ref, uint8_t byte)
{
    struct entry *e = store_entry(s, ref);
    struct queue *q = queue_of(&s->s3fifo, byte);
    byte = (uint8_t)(byte & ~(S3FIFO_NUMBER | S3FIFO_ERA)) | s->s3fifo.era;
    *entry_recency(e) = byte | number_bits(queue_push(q, ref));
    q->live++;
    q->bytes += held_by(s, e);
}

void s3fifo_forget(struct store *s, const struct entry *e)
{
    struct queue *q = queue_of(&s->s3fifo, *entry_recency(e));
    assert(q->live > 0);
    q->live--;
    q->bytes -= held_by(s, e);
}

void s3fifo_resized(struct store *s, const struct entry *e, int64_t bytes)
{
    queue_of(&s->s3fifo, *entry_recency(e))->bytes += (uint64_t)bytes;
}

// What a record says

struct claims {
    struct store *store;
    struct queue *queue;
};

// Entries of before have a record in main, but no byte to confirm it.
static bool is_adopted(const struct s3fifo *f, const struct queue *q, const struct entry *e)
{
    return q == &f->main && !s3fifo_tracks(f, e) && s3fifo_wants(f, entry_deadline(e));
}

static bool is_true(const struct store *s, const struct queue *q, struct queue_record r)
{
    const struct s3fifo *f = &s->s3fifo;
    if (!slab_is_entry(&s->world.slabs, r.ref))
        return false;
    const struct entry *e = store_entry(s, r.ref);
    if (!s3fifo_tracks(f, e))
        return is_adopted(f, q, e);
    uint8_t byte = *entry_recency(e);
    return ((byte & S3FIFO_MAIN) != 0) == (q == &f->main) && (byte & S3FIFO_NUMBER) == number_bits(r.number);
}

static bool claim_true(void *context, struct queue_record r)
{
    const struct claims *c = context;
    return is_true(c->store, c->queue, r);
}

static void claim_moved(void *context, struct queue_record r)
{
    const struct claims *c = context;
    struct entry *e = store_entry(c->store, r.ref);
    if (s3fifo_tracks(&c->store->s3fifo, e))
        *entry_recency(e) = (uint8_t)(*entry_recency(e) & ~S3FIFO_NUMBER) | number_bits(r.number);
}

static bool sweep(struct store *s, struct queue *q, uint32_t *budget)
{
    struct claims c = { .store = s, .queue = q };
    return queue_sweep(q, budget, claim_true, claim_moved, &c);
}

void s3fifo_admit(struct store *s, uint32_t ref, uint64_t hash, int before)
{
    struct s3fifo *f = &s->s3fifo;
    uint8_t byte = before >= 0 ? (uint8_t)before : ghost_recall(&f->ghost, hash) ? S3FIFO_MAIN : 0;
    struct queue *q = queue_of(f, byte);
    file(s, ref, byte);
    // Whoever adds faster than the background sweeps helps it along.
    if (unlikely(q->records > 3 * q->live + 2 * QUEUE_SLACK) && !f->adopting) {
        uint32_t budget = SWEEP_ASSIST;
        (void)sweep(s, q, &budget);
    }
}

// Taking entries of before in

void s3fifo_adopt(struct store *s, uint32_t ref)
{
    (void)queue_push(&s->s3fifo.main, ref);
}

struct adoption {
    struct store *store;
    bool failed;
};

static void adopt(void *context, uint32_t ref)
{
    struct adoption *a = context;
    struct store *s = a->store;
    struct s3fifo *f = &s->s3fifo;
    struct entry *e = store_entry(s, ref);
    if (s3fifo_tracks(f, e) || !s3fifo_wants(f, entry_deadline(e)))
        return;
    if (a->failed || queue_make_room(&f->main) != 0) {
        a->failed = true;
        return;
    }
    if (entry_recency_len(e) == 1)
        file(s, ref, S3FIFO_MAIN);
    else
        s3fifo_adopt(s, ref);
}

// Some more. False: all have been taken in.
static bool adopt_some(struct store *s)
{
    struct s3fifo *f = &s->s3fifo;
    struct adoption a = { .store = s };
    size_t count = store_keyspace_total(s);
    while (f->adopt_keyspace < count && s->keyspaces[f->adopt_keyspace].index.directory == NULL)
        f->adopt_keyspace++;
    if (f->adopt_keyspace < count) {
        struct index *ix = &s->keyspaces[f->adopt_keyspace].index;
        uint64_t next = index_scan(&s->world, ix, f->adopt_cursor, ADOPT_VISITS, adopt, &a);
        if (a.failed)
            return true;
        f->adopt_cursor = next;
        f->adopt_keyspace += next == 0;
    }
    f->adopting = f->adopt_keyspace < count;
    return f->adopting;
}

// Evicting

// The queue whose turn it is: small when it has more than its share.
static struct queue *choose(struct s3fifo *f)
{
    bool small = f->small.bytes * SMALL_SHARE > f->small.bytes + f->main.bytes || f->main.records == 0;
    return small && f->small.records > 0 ? &f->small : &f->main;
}

// Goes around, or on to main; false: it has to go.
static bool spare(struct store *s, const struct queue *q, struct entry *e, uint32_t ref)
{
    struct s3fifo *f = &s->s3fifo;
    uint8_t byte = *entry_recency(e);
    uint32_t reads = byte & S3FIFO_READS;
    if (reads < (q == &f->small ? PROMOTE : 1u) || queue_make_room(&f->main) != 0)
        return false;
    s3fifo_forget(s, e);
    file(s, ref, (uint8_t)(S3FIFO_MAIN | (q == &f->small ? 0 : reads - 1)));
    return true;
}

static bool remove_entry(struct store *s, const struct queue *q, uint32_t ref, int64_t now_ms)
{
    struct owner o = store_owner(s, ref);
    if (o.keyspace == NULL)
        return false; // of something that was cleared: its memory is on its way back already
    bool expired = entry_expired(store_entry(s, ref), now_ms);
    if (q == &s->s3fifo.small && !expired)
        ghost_remember(&s->s3fifo.ghost, o.hash, s->s3fifo.main.live);
    keyspace_remove_spot(o.keyspace, o.hash, o.spot);
    o.keyspace->stats.evicted += !expired;
    o.keyspace->stats.expired += expired;
    return true;
}

bool s3fifo_evict(struct store *s, int64_t now_ms, uint32_t *budget)
{
    struct s3fifo *f = &s->s3fifo;
    for (; *budget > 0; --*budget) {
        struct queue *q = choose(f);
        struct queue_record r;
        if (!queue_pop(q, &r)) {
            if (!f->adopting)
                return false;
            (void)adopt_some(s);
            *budget -= *budget > ADOPT_COST ? ADOPT_COST : *budget - 1;
            continue;
        }
        if (!is_true(s, q, r))
            continue;
        struct entry *e = store_entry(s, r.ref);
        if (s3fifo_tracks(f, e) && !entry_expired(e, now_ms) && spare(s, q, e, r.ref))
            continue;
        if (remove_entry(s, q, r.ref, now_ms)) {
            --*budget;
            return true;
        }
    }
    return true;
}

bool s3fifo_maintain(struct store *s, uint32_t *budget)
{
    struct s3fifo *f = &s->s3fifo;
    bool more = false;
    for (int i = 0; i < 2; i++)
        more |= !queue_free_some(&s->world.slabs, &f->dropped[i], budget);
    while (f->adopting && *budget > 0) {
        *budget -= *budget < ADOPT_COST ? *budget : ADOPT_COST;
        more |= adopt_some(s);
    }
    struct queue *queues[2] = { &f->small, &f->main };
    for (int i = 0; i < 2 && f->on && !f->adopting && *budget > 0; i++) {
        if (queue_wants_sweep(queues[i]))
            more |= sweep(s, queues[i], budget);
    }
    return ghost_discard(&f->ghost) || more;
}

// Audits

struct walk {
    struct store *store;
    uint64_t live[2];
    uint64_t bytes[2];
};

static void walk_entry(void *context, uint32_t ref)
{
    struct walk *w = context;
    const struct entry *e = store_entry(w->store, ref);
    if (!s3fifo_tracks(&w->store->s3fifo, e))
        return;
    bool in_main = (*entry_recency(e) & S3FIFO_MAIN) != 0;
    w->live[in_main]++;
    w->bytes[in_main] += held_by(w->store, e);
}

bool s3fifo_valid(struct store *s)
{
    struct s3fifo *f = &s->s3fifo;
    struct walk w = { .store = s };
    if (!f->on || f->adopting || s->garbage != NULL)
        return true;
    for (size_t i = 0; i < store_keyspace_total(s); i++)
        for (uint64_t at = 0, first = 1; first || at != 0; first = 0)
            at = index_scan(&s->world, &s->keyspaces[i].index, at, 64, walk_entry, &w);
    struct queue *queues[2] = { &f->small, &f->main };
    for (int i = 0; i < 2; i++) {
        if (queues[i]->live != w.live[i] || queues[i]->bytes != w.bytes[i] || queues[i]->records < queues[i]->live)
            return false;
    }
    return true;
}
