// SPDX-License-Identifier: Apache-2.0
// Records are kept in chunks of 128 bytes. The mark of the sweep is a bit in the entry's own deadline field (ENTRY_FILED): set
// means "a record of this entry was already seen by the sweep and kept". It is cleared by whatever files the entry anew, so that
// an entry can lose a repeated record only while another one is in the wheel.
#include "engine/store/deadline.h"

#include <errno.h>
#include <string.h>

#define CHUNK_RECORDS 30u

struct chunk {
    uint32_t next;
    uint32_t count;
    uint32_t refs[CHUNK_RECORDS];
};
static_assert(sizeof(struct chunk) == 128, "two lines");

#define REWIND_MIN (60000 / DEADLINE_TICK_MS) // smaller steps back are waited for
#define TICK_LAST  ((UINT64_C(1) << (6 * DEADLINE_LEVELS)) - 1)

static struct chunk *chunk_at(const struct deadlines *d, uint32_t ref)
{
    return arena_at(&d->slabs->arena, ref);
}

// The first tick at which the deadline has passed.
static uint64_t tick_of(int64_t deadline_ms)
{
    if (deadline_ms < 0)
        return 0;
    uint64_t tick = (uint64_t)deadline_ms / DEADLINE_TICK_MS + 1;
    return tick < TICK_LAST ? tick : TICK_LAST;
}

void deadlines_init(struct deadlines *d, struct slabs *slabs)
{
    *d = (struct deadlines){ .slabs = slabs };
}

int deadline_make_room(struct deadlines *d)
{
    if (d->spare == 0)
        d->spare = slab_take(d->slabs, SLAB_DEADLINE, sizeof(struct chunk));
    return d->spare == 0 ? -ENOMEM : 0;
}

// Adds to a list; a new chunk is the spare one. False: there is none.
static bool list_add(struct deadlines *d, uint32_t *head, uint32_t ref)
{
    struct chunk *c = *head == 0 ? NULL : chunk_at(d, *head);
    if (c == NULL || c->count == CHUNK_RECORDS) {
        if (deadline_make_room(d) != 0)
            return false;
        uint32_t fresh = d->spare;
        d->spare = 0;
        c = chunk_at(d, fresh);
        *c = (struct chunk){ .next = *head };
        *head = fresh;
    }
    c->refs[c->count++] = ref;
    return true;
}

// The list for a tick, as seen from now.
static uint32_t *list_of(struct deadlines *d, uint64_t tick)
{
    if (tick <= d->now)
        return &d->due;
    uint32_t level = (63 - (uint32_t)__builtin_clzll(tick ^ d->now)) / 6;
    if (level >= DEADLINE_LEVELS)
        level = DEADLINE_LEVELS - 1;
    uint32_t place = (uint32_t)(tick >> (6 * level)) % DEADLINE_PLACES;
    d->taken[level] |= UINT64_C(1) << place;
    return &d->places[level][place];
}

void deadline_add(struct deadlines *d, uint32_t ref, int64_t deadline_ms)
{
    bool added = list_add(d, list_of(d, tick_of(deadline_ms)), ref);
    assert(added);
    d->records++;
}

bool deadline_needs_record(int64_t old_ms, int64_t new_ms)
{
    return old_ms == ENTRY_NO_DEADLINE || tick_of(new_ms) < tick_of(old_ms);
}

static struct entry *entry_of(const struct deadlines *d, uint32_t ref)
{
    return arena_at(&d->slabs->arena, ref);
}

static bool is_true(const struct deadlines *d, uint32_t ref)
{
    return slab_is_entry(d->slabs, ref) && (entry_of(d, ref)->head & ENTRY_HEAD_DEADLINE) != 0;
}

static bool filed(const struct entry *e)
{
    return (load_u40((const uint8_t *)e + entry_deadline_at(e)) & ENTRY_FILED) != 0;
}

static void set_filed(struct entry *e, bool on)
{
    uint8_t *at = (uint8_t *)e + entry_deadline_at(e);
    uint64_t field = load_u40(at);
    store_u40(at, on ? field | ENTRY_FILED : field & ~ENTRY_FILED);
}

// The lowest level with something in it is the next to have its turn. Returns the tick when that place begins, or UINT64_MAX.
static uint64_t next_place(const struct deadlines *d, uint32_t *level, uint32_t *place)
{
    for (uint32_t l = 0; l < DEADLINE_LEVELS; l++) {
        if (d->taken[l] == 0)
            continue;
        *level = l;
        *place = (uint32_t)__builtin_ctzll(d->taken[l]);
        uint64_t above = l + 1 < DEADLINE_LEVELS ? d->now >> (6 * (l + 1)) << (6 * (l + 1)) : 0;
        return above | (uint64_t)*place << (6 * l);
    }
    return UINT64_MAX;
}

// Works on the first chunk of `due`. Its records leave by expiry, by being filed again, or by saying nothing.
static bool drain_chunk(struct deadlines *d, uint32_t *budget, deadline_expire_fn *expire, void *context)
{
    struct chunk *c = chunk_at(d, d->due);
    for (uint32_t i = 0; i < c->count; i++)
        entry_prefetch(entry_of(d, c->refs[i]));
    while (c->count > 0 && *budget > 0) {
        uint32_t ref = c->refs[--c->count];
        --*budget;
        d->records--;
        if (!is_true(d, ref))
            continue;
        struct entry *e = entry_of(d, ref);
        uint64_t tick = tick_of(entry_deadline(e));
        if (tick <= d->now) {
            expire(context, ref);
            continue;
        }
        set_filed(e, false);
        if (!list_add(d, list_of(d, tick), ref)) {
            c->refs[c->count++] = ref; // no memory for a chunk now: its turn stays
            d->records++;
            return false;
        }
        d->records++;
    }
    if (c->count > 0)
        return true;
    uint32_t empty = d->due;
    d->due = c->next;
    slab_give(d->slabs, empty);
    return true;
}

static void take_turn(struct deadlines *d, uint32_t level, uint32_t place)
{
    if (d->sweep_pass != 0 && d->sweep_place == level * DEADLINE_PLACES + place)
        d->sweep_before = 0, d->sweep_place++;
    d->due = d->places[level][place];
    d->places[level][place] = 0;
    d->taken[level] &= ~(UINT64_C(1) << place);
}

// The clock was set back: everything is filed anew, seen from there.
static cold void rewind_to(struct deadlines *d, uint64_t now)
{
    for (uint32_t at = 0; at < DEADLINE_LEVELS * DEADLINE_PLACES; at++) {
        uint32_t *head = &d->places[at / DEADLINE_PLACES][at % DEADLINE_PLACES];
        if (*head == 0)
            continue;
        struct chunk *last = chunk_at(d, *head);
        while (last->next != 0)
            last = chunk_at(d, last->next);
        last->next = d->due;
        d->due = *head;
        *head = 0;
    }
    memset(d->taken, 0, sizeof d->taken);
    d->sweep_pass = 0;
    d->sweep_place = d->sweep_before = 0;
    d->now = now;
}

bool deadline_advance(struct deadlines *d, int64_t now_ms, uint32_t *budget, deadline_expire_fn *expire, void *context)
{
    uint64_t now = now_ms < 0 ? 0 : (uint64_t)now_ms / DEADLINE_TICK_MS;
    if (now >= TICK_LAST)
        now = TICK_LAST - 1;
    if (unlikely(now < d->now)) {
        if (d->now - now < REWIND_MIN)
            return false;
        rewind_to(d, now);
    }
    for (;;) {
        while (d->due != 0) {
            if (*budget == 0)
                return true;
            if (!drain_chunk(d, budget, expire, context))
                return false;
        }
        uint32_t level = 0, place = 0;
        uint64_t tick = next_place(d, &level, &place);
        if (tick > now)
            break;
        d->now = tick;
        take_turn(d, level, place);
    }
    if (now > d->now)
        d->now = now;
    return false;
}

// One chunk of the sweep. Keeps the true records; `before` takes over a chunk that fits into it.
static void sweep_chunk(struct deadlines *d, struct chunk *c)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->count; i++)
        entry_prefetch(entry_of(d, c->refs[i]));
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t ref = c->refs[i];
        if (!is_true(d, ref) || (d->sweep_pass == 1 && filed(entry_of(d, ref)))) {
            d->records--;
            continue;
        }
        set_filed(entry_of(d, ref), d->sweep_pass == 1);
        c->refs[kept++] = ref;
    }
    c->count = kept;
}

// The chunk behind `before` goes when it is empty or fits into `before`. True: it is gone.
static bool sweep_merge(struct deadlines *d, uint32_t *link, struct chunk *before)
{
    uint32_t ref = *link;
    struct chunk *c = chunk_at(d, ref);
    uint32_t room = before == NULL ? 0 : CHUNK_RECORDS - before->count;
    if (c->count > room)
        return false;
    if (c->count > 0)
        memcpy(before->refs + before->count, c->refs, c->count * sizeof c->refs[0]);
    if (before != NULL)
        before->count += c->count;
    *link = c->next;
    slab_give(d->slabs, ref);
    return true;
}

static void sweep_next_place(struct deadlines *d)
{
    d->sweep_before = 0;
    d->sweep_place++;
    if (d->sweep_place < DEADLINE_LEVELS * DEADLINE_PLACES)
        return;
    d->sweep_place = 0;
    d->sweep_pass = d->sweep_pass == 1 ? 2 : 0;
}

bool deadline_sweep(struct deadlines *d, uint32_t *budget)
{
    if (d->sweep_pass == 0) {
        if (d->records <= 2 * d->live + DEADLINE_SLACK)
            return false;
        d->sweep_pass = 1;
    }
    while (d->sweep_pass != 0 && *budget > 0) {
        uint32_t level = d->sweep_place / DEADLINE_PLACES, place = d->sweep_place % DEADLINE_PLACES;
        uint32_t *head = &d->places[level][place];
        struct chunk *before = d->sweep_before == 0 ? NULL : chunk_at(d, d->sweep_before);
        uint32_t *link = before == NULL ? head : &before->next;
        if (*link == 0) {
            if (*head == 0)
                d->taken[level] &= ~(UINT64_C(1) << place);
            sweep_next_place(d);
            --*budget;
            continue;
        }
        struct chunk *c = chunk_at(d, *link);
        *budget -= *budget < c->count + 1 ? *budget : c->count + 1;
        sweep_chunk(d, c);
        if (!sweep_merge(d, link, before))
            d->sweep_before = *link;
    }
    return d->sweep_pass != 0;
}

static uint32_t *sample_list(struct deadlines *d, uint64_t random)
{
    if (d->due != 0)
        return &d->due;
    uint32_t level = 0, place = 0;
    if (random == 0)
        return next_place(d, &level, &place) == UINT64_MAX ? NULL : &d->places[level][place];
    for (uint32_t i = 0; i < DEADLINE_LEVELS * DEADLINE_PLACES; i++) {
        uint32_t at = (uint32_t)(random + i) % (DEADLINE_LEVELS * DEADLINE_PLACES);
        if (d->places[at / DEADLINE_PLACES][at % DEADLINE_PLACES] != 0)
            return &d->places[at / DEADLINE_PLACES][at % DEADLINE_PLACES];
    }
    return NULL;
}

static void clear_taken(struct deadlines *d, const uint32_t *head)
{
    uint32_t at = (uint32_t)(head - &d->places[0][0]);
    d->taken[at / DEADLINE_PLACES] &= ~(UINT64_C(1) << at % DEADLINE_PLACES);
}

static void drop_empty_head(struct deadlines *d, uint32_t *head)
{
    uint32_t ref = *head;
    *head = chunk_at(d, ref)->next;
    if (d->sweep_before == ref)
        d->sweep_before = 0; // the next one to look at is the head now
    slab_give(d->slabs, ref);
    if (*head == 0 && head != &d->due)
        clear_taken(d, head);
}

uint32_t deadline_sample(struct deadlines *d, uint64_t random, uint32_t *refs, uint32_t max)
{
    uint32_t found = 0;
    for (uint32_t looked = 0; looked < 64 && found == 0; looked++) {
        uint32_t *head = sample_list(d, random);
        if (head == NULL)
            return 0;
        if (*head == 0) { // the sweep has emptied it and is still there
            clear_taken(d, head);
            continue;
        }
        struct chunk *c = chunk_at(d, *head);
        for (uint32_t i = c->count; i-- > 0 && found < max;) {
            if (is_true(d, c->refs[i])) {
                refs[found++] = c->refs[i];
                continue;
            }
            c->refs[i] = c->refs[--c->count];
            d->records--;
        }
        if (c->count == 0)
            drop_empty_head(d, head);
    }
    return found;
}

int64_t deadline_next(const struct deadlines *d)
{
    uint32_t level, place;
    uint64_t tick = d->due != 0 ? d->now : next_place(d, &level, &place);
    return tick > TICK_LAST ? INT64_MAX : (int64_t)(tick * DEADLINE_TICK_MS);
}

uint64_t deadline_bytes(const struct deadlines *d)
{
    return d->slabs->used[SLAB_DEADLINE];
}
