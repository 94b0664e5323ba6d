// SPDX-License-Identifier: Apache-2.0
// A blob's pages are a run of its home, or else a mapping: when they are or will be more than RUNS_MAX, or the home has no run for them.
// Mappings grow without a copy, whoever asks.
#include "engine/store/blob.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define COLLECT 64u // blobs a call
#define RUN_MAX (RUNS_MAX * RUNS_PAGE)

static uint32_t pages_in(size_t bytes)
{
    return (uint32_t)(bytes / RUNS_PAGE);
}

// Homes

struct blobs *blobs_new(struct memory *m)
{
    struct blobs *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->memory = m;
    atomic_init(&p->users, 1);
    return p;
}

static void home_enter(struct blobs *p)
{
    atomic_fetch_add_explicit(&p->users, 1, memory_order_relaxed);
}

// Whoever is last tears down, so everything others did before they left has to be seen.
static void home_leave(struct blobs *p)
{
    if (atomic_fetch_sub_explicit(&p->users, 1, memory_order_acq_rel) > 1)
        return;
    while (blobs_collect(p))
        continue;
    runs_deinit(&p->runs);
    free(p);
}

struct blobs *blobs_close(struct blobs *p)
{
    if (p != NULL)
        home_leave(p);
    return NULL;
}

bool blobs_collect(struct blobs *p)
{
    if (p->giving == NULL && atomic_load_explicit(&p->returned, memory_order_relaxed) != NULL)
        p->giving = atomic_exchange_explicit(&p->returned, NULL, memory_order_acquire);
    for (uint32_t i = 0; i < COLLECT && p->giving != NULL; i++) {
        struct blob *b = p->giving;
        p->giving = b->next;
        runs_give(&p->runs, b->data - BLOB_GAP, pages_in(b->cap));
        free(b);
    }
    return p->giving != NULL || atomic_load_explicit(&p->returned, memory_order_relaxed) != NULL;
}

bool blobs_discard(struct blobs *p, uint64_t keep)
{
    return p->runs.base != NULL && runs_discard(&p->runs, keep / RUNS_PAGE);
}

uint64_t blobs_free(const struct blobs *p)
{
    return (p->runs.touched_count - p->runs.taken_count) * RUNS_PAGE;
}

uint64_t blobs_taken(const struct blobs *p)
{
    return p->runs.taken_count * RUNS_PAGE;
}

void blobs_prepare_below(struct blobs *p, uint64_t bytes)
{
    p->runs.prepare_below = bytes;
}

uint64_t blobs_resident(const struct blobs *p)
{
    return runs_resident(&p->runs) + atomic_load_explicit(&p->mapped, memory_order_relaxed);
}

static uint8_t *pages_take(struct blobs *p, size_t cap, size_t hope, bool *mapped)
{
    (void)blobs_collect(p);
    *mapped = false;
    if (hope <= RUN_MAX && (p->runs.base != NULL || runs_init(&p->runs, p->memory) == 0)) {
        uint8_t *run = runs_take(&p->runs, pages_in(cap), pages_in(hope));
        if (run != NULL)
            return run;
    }
    uint8_t *pages = p->memory->reserve(p->memory, cap, memory_align(cap));
    if (pages == NULL)
        return NULL;
    *mapped = true;
    atomic_fetch_add_explicit(&p->mapped, cap, memory_order_relaxed);
    return pages;
}

// By any worker. The carcass of a run is what travels home.
static void pages_return(struct blob *b)
{
    struct blobs *home = b->home;
    if (b->mapped) {
        home->memory->release(home->memory, b->data - BLOB_GAP, b->cap);
        atomic_fetch_sub_explicit(&home->mapped, b->cap, memory_order_relaxed);
        free(b);
        return;
    }
    if (SKERRY_AUDIT)
        memset(b->data, 0xdd, b->len); // whoever reads on without a pin shall see it
    b->next = atomic_load_explicit(&home->returned, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&home->returned, &b->next, b, memory_order_release, memory_order_relaxed))
        continue;
}

// Blobs

struct blob *blob_new(struct blobs *home)
{
    struct blob *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->home = b->owner = home;
    atomic_init(&b->holders, 1);
    home_enter(home);
    return b;
}

struct blob *blob_free(struct blob *b)
{
    // The last one's write over the pages comes behind everybody's reads.
    if (b == NULL || atomic_fetch_sub_explicit(&b->holders, 1, memory_order_acq_rel) > 1)
        return NULL;
    struct blobs *home = b->home;
    if (b->data != NULL)
        pages_return(b);
    else
        free(b);
    home_leave(home);
    return NULL;
}

static size_t pages_for(size_t len)
{
    return round_up(len + BLOB_GAP, RUNS_PAGE);
}

// At the owner's, with the same bytes.
static bool move(struct blob *b, size_t cap, size_t hope)
{
    struct blob *old = NULL;
    if (b->data != NULL) {
        old = malloc(sizeof *old);
        if (old == NULL)
            return false;
        *old = *b;
    }
    uint8_t *pages = pages_take(b->owner, cap, hope, &b->mapped);
    if (pages == NULL) {
        b->mapped = old != NULL && old->mapped;
        free(old);
        return false;
    }
    home_enter(b->owner);
    struct blobs *left = b->home;
    b->home = b->owner;
    b->data = pages + BLOB_GAP;
    b->cap = cap;
    if (old != NULL) {
        size_t most = cap - BLOB_GAP;
        memcpy(b->data, old->data, b->len < most ? b->len : most);
        pages_return(old);
    }
    home_leave(left);
    return true;
}

// A run that another worker's store took over changes its size only by a move.
static bool resize_run(struct blob *b, size_t cap)
{
    struct runs *runs = &b->home->runs;
    uint8_t *run = b->data - BLOB_GAP;
    uint32_t have = pages_in(b->cap), want = pages_in(cap);
    if (b->home != b->owner || (want > have && !runs_grow(runs, run, have, want - have)))
        return false;
    if (want < have)
        runs_give(runs, run + cap, have - want);
    b->cap = cap;
    return true;
}

static bool resize_mapping(struct blob *b, size_t cap)
{
    struct memory *m = b->home->memory;
    uint8_t *pages = m->resize(m, b->data - BLOB_GAP, b->cap, cap);
    if (pages == NULL)
        return false;
    atomic_fetch_add_explicit(&b->home->mapped, cap - b->cap, memory_order_relaxed);
    b->data = pages + BLOB_GAP;
    b->cap = cap;
    return true;
}

static bool set_cap(struct blob *b, size_t cap, size_t hope)
{
    if (b->mapped && hope > RUN_MAX)
        return resize_mapping(b, cap);
    bool stays = b->data != NULL && !b->mapped && hope <= RUN_MAX;
    return (stays && resize_run(b, cap)) || move(b, cap, hope);
}

static size_t room_of(const struct blob *b)
{
    return b->cap == 0 ? 0 : b->cap - BLOB_GAP - b->len;
}

size_t blob_reserve(struct blob *b, size_t want)
{
    if (room_of(b) == 0) {
        size_t most = b->cap < BLOB_FIRST / 2 ? BLOB_FIRST : b->cap * 2;
        size_t need = pages_for(b->len + want);
        if (!set_cap(b, need < most ? need : most, need))
            return 0;
    }
    size_t room = room_of(b);
    return room < want ? room : want;
}

bool blob_set_len(struct blob *b, size_t len)
{
    size_t cap = pages_for(len);
    size_t old = b->len;
    // Growing a little often (APPEND) keeps an eighth of room; shrinking gives pages back.
    if (cap > b->cap && b->len > 0)
        cap = round_up(cap + cap / 8, RUNS_PAGE);
    if ((len > b->len + room_of(b) || cap + cap / 4 < b->cap) && !set_cap(b, cap, cap) && len > b->len + room_of(b))
        return false;
    if (len > old)
        memset(b->data + old, 0, len - old);
    b->len = len;
    return true;
}

static struct blob *copy(struct blobs *home, struct slice bytes, size_t cap)
{
    struct blob *b = blob_new(home);
    if (b == NULL)
        return NULL;
    if (!set_cap(b, cap, cap))
        return blob_free(b);
    if (bytes.len > 0)
        memcpy(b->data, bytes.data, bytes.len);
    b->len = bytes.len;
    return b;
}

struct blob *blob_copy(struct blobs *home, struct slice bytes)
{
    return copy(home, bytes, pages_for(bytes.len));
}

struct blob *blob_clone(const struct blob *b)
{
    return copy(b->owner, slice_of(b->data, b->len), b->cap);
}

void blob_trim(struct blob *b)
{
    size_t cap = pages_for(b->len);
    if (b->data == NULL || cap >= b->cap)
        return;
    // Another's run stays as it is unless a move pays.
    if (b->home == b->owner || b->mapped || cap + cap / 4 < b->cap)
        (void)set_cap(b, cap, cap);
}
