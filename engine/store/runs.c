// SPDX-License-Identifier: Apache-2.0
// Invariants: a page below the frontier is in a taken run or in exactly one free run; two free runs are never neighbours; a free run is
// in the list of its length; touched pages are below the frontier.
// Failure mode: no address left, or none to be reserved. Then the caller maps each value on its own.
#include "engine/store/runs.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define LOOKS 4u   // runs of the list that may hold one long enough
#define SWEEP 256u // steps looked at in one call
// Pages that the frontier falls back by in one call, and how many must be free for that.
#define RETREAT      (64 * RUNS_STEP)
#define RETREAT_FROM (16 * RUNS_STEP)

static_assert(RUNS_STEP % 64 == 0, "a step is whole words of the bitmaps");

// Lists

static uint32_t bin_of(uint32_t pages)
{
    if (pages < RUNS_EXACT)
        return pages;
    uint32_t top = 31 - (uint32_t)__builtin_clz(pages);
    return RUNS_EXACT + (top - 5) * 8 + (pages >> (top - 3) & 7);
}

static void run_push(struct runs *r, uint32_t run, uint32_t pages)
{
    uint32_t bin = bin_of(pages);
    struct run_tag *t = &r->tags[run];
    r->tags[run + pages - 1].pages = pages;
    *t = (struct run_tag){ .pages = pages, .next = r->bins[bin], .prev = RUNS_NONE };
    if (t->next != RUNS_NONE)
        r->tags[t->next].prev = run;
    r->bins[bin] = run;
    r->filled[bin / 64] |= UINT64_C(1) << bin % 64;
}

static void run_unlink(struct runs *r, uint32_t run)
{
    const struct run_tag *t = &r->tags[run];
    uint32_t bin = bin_of(t->pages);
    if (t->prev == RUNS_NONE)
        r->bins[bin] = t->next;
    else
        r->tags[t->prev].next = t->next;
    if (t->next != RUNS_NONE)
        r->tags[t->next].prev = t->prev;
    if (r->bins[bin] == RUNS_NONE)
        r->filled[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

// A run of at least so many pages, nearly the shortest.
static uint32_t run_find(const struct runs *r, uint32_t pages)
{
    uint32_t bin = bin_of(pages);
    uint32_t run = r->bins[bin];
    for (uint32_t i = 0; i < LOOKS && run != RUNS_NONE; i++, run = r->tags[run].next) {
        if (r->tags[run].pages >= pages)
            return run;
    }
    for (uint32_t word = ++bin / 64; word < sizeof r->filled / sizeof r->filled[0]; word++) {
        uint64_t filled = r->filled[word];
        if (word == bin / 64)
            filled &= UINT64_MAX << bin % 64;
        if (filled != 0)
            return r->bins[word * 64 + (uint32_t)__builtin_ctzll(filled)];
    }
    return RUNS_NONE;
}

// Bitmaps

static bool is_taken(const struct runs *r, uint32_t page)
{
    return (r->taken[page / 64] >> page % 64 & 1) != 0;
}

// The bits of word `word` that stand for pages from `begin` to before `end`.
static uint64_t bits_in(uint32_t word, uint32_t begin, uint32_t end)
{
    uint64_t bits = UINT64_MAX;
    if (word == begin / 64)
        bits &= UINT64_MAX << begin % 64;
    if (word == (end - 1) / 64)
        bits &= UINT64_MAX >> (63 - (end - 1) % 64);
    return bits;
}

// A huge page comes as a whole with its first byte.
static void touch_huge(struct runs *r, uint32_t begin, uint32_t end)
{
    for (uint32_t step = begin / RUNS_STEP; step <= (end - 1) / RUNS_STEP; step++) {
        uint64_t *words = &r->touched[step * (RUNS_STEP / 64)], any = 0;
        for (uint32_t i = 0; i < RUNS_STEP / 64; i++)
            any |= words[i];
        if (any != 0)
            continue;
        memset(words, 0xff, RUNS_STEP / 8);
        r->touched_count += RUNS_STEP;
    }
}

static void mark_taken(struct runs *r, uint32_t begin, uint32_t end)
{
    if (r->memory->huge)
        touch_huge(r, begin, end);
    for (uint32_t word = begin / 64; word <= (end - 1) / 64; word++) {
        uint64_t bits = bits_in(word, begin, end);
        assert((r->taken[word] & bits) == 0);
        r->touched_count += (uint32_t)__builtin_popcountll(bits & ~r->touched[word]);
        r->taken[word] |= bits;
        r->touched[word] |= bits;
    }
    r->taken_count += end - begin;
}

static void mark_given(struct runs *r, uint32_t begin, uint32_t end)
{
    for (uint32_t word = begin / 64; word <= (end - 1) / 64; word++) {
        uint64_t bits = bits_in(word, begin, end);
        assert((r->taken[word] & bits) == bits);
        r->taken[word] &= ~bits;
    }
    r->taken_count -= end - begin;
}

// The range

static size_t books_size(uint32_t pages)
{
    return round_up((size_t)pages * sizeof(struct run_tag) + pages / 4, RUNS_PAGE);
}

int runs_init(struct runs *r, struct memory *m)
{
    *r = (struct runs){ .memory = m, .prepare_below = r->prepare_below };
    memset(r->bins, 0xff, sizeof r->bins);
    for (r->size = RUNS_RANGE; r->size >= RUNS_STEP * RUNS_PAGE; r->size /= 2) {
        r->base = m->reserve(m, r->size, RUNS_STEP * RUNS_PAGE);
        if (r->base != NULL)
            break;
    }
    if (r->base == NULL)
        return -ENOMEM;
    r->pages = (uint32_t)(r->size / RUNS_PAGE);
    r->tags = m->reserve(m, books_size(r->pages), RUNS_PAGE);
    if (r->tags == NULL) {
        m->release(m, r->base, r->size);
        r->base = NULL;
        return -ENOMEM;
    }
    r->taken = (uint64_t *)(void *)(r->tags + r->pages);
    r->touched = r->taken + r->pages / 64;
    return 0;
}

void runs_deinit(struct runs *r)
{
    if (r->base == NULL)
        return;
    r->memory->release(r->memory, r->tags, books_size(r->pages));
    r->memory->release(r->memory, r->base, r->size);
    r->base = NULL;
}

static uint8_t *page_at(const struct runs *r, uint32_t page)
{
    return r->base + page * RUNS_PAGE;
}

static void prepare(struct runs *r)
{
    if (r->memory->prepare == NULL || r->frontier < RUNS_PREPARE_FROM)
        return;
    if (r->prepare_below != 0 && r->touched_count + RUNS_PREPARE > r->prepare_below / RUNS_PAGE)
        return;
    if (r->prepared < r->frontier)
        r->prepared = r->frontier;
    while (r->prepared < r->frontier + RUNS_PREPARE && r->prepared < r->pages) {
        if (!r->memory->prepare(r->memory, page_at(r, r->prepared), RUNS_STEP * RUNS_PAGE))
            return;
        r->prepared += RUNS_STEP;
    }
}

// Joins its free neighbours.
static void run_free(struct runs *r, uint32_t run, uint32_t pages)
{
    if (run > 0 && !is_taken(r, run - 1)) {
        uint32_t before = r->tags[run - 1].pages;
        run -= before;
        pages += before;
        run_unlink(r, run);
    }
    if (run + pages < r->frontier && !is_taken(r, run + pages)) {
        uint32_t behind = run + pages;
        pages += r->tags[behind].pages;
        run_unlink(r, behind);
    }
    run_push(r, run, pages);
}

static bool move_frontier(struct runs *r, uint32_t pages)
{
    uint32_t step = (pages + RUNS_STEP - 1) / RUNS_STEP * RUNS_STEP;
    if (step > r->pages - r->frontier)
        return false;
    uint32_t run = r->frontier;
    r->frontier += step;
    if (r->memory->huge || r->prepared >= r->frontier) { // all of it comes with its first byte, or is there
        memset(&r->touched[run / 64], 0xff, step / 8);
        r->touched_count += step;
    }
    run_free(r, run, step);
    prepare(r);
    return true;
}

uint8_t *runs_take(struct runs *r, uint32_t pages, uint32_t hope)
{
    assert(pages > 0 && pages <= RUNS_MAX && hope <= RUNS_MAX);
    uint32_t run = hope > pages ? run_find(r, hope) : RUNS_NONE;
    if (run == RUNS_NONE)
        run = run_find(r, pages);
    if (run == RUNS_NONE && (move_frontier(r, hope > pages ? hope : pages) || move_frontier(r, pages)))
        run = run_find(r, pages);
    if (run == RUNS_NONE)
        return NULL;
    uint32_t have = r->tags[run].pages;
    run_unlink(r, run);
    mark_taken(r, run, run + pages);
    if (have > pages)
        run_push(r, run + pages, have - pages);
    return page_at(r, run);
}

static uint32_t page_of(const struct runs *r, const uint8_t *run)
{
    assert(run >= r->base && run < r->base + r->size);
    return (uint32_t)((size_t)(run - r->base) / RUNS_PAGE);
}

void runs_give(struct runs *r, uint8_t *run, uint32_t pages)
{
    uint32_t page = page_of(r, run);
    mark_given(r, page, page + pages);
    run_free(r, page, pages);
}

bool runs_grow(struct runs *r, uint8_t *run, uint32_t pages, uint32_t more)
{
    uint32_t behind = page_of(r, run) + pages;
    if (behind >= r->frontier || is_taken(r, behind) || r->tags[behind].pages < more)
        return false;
    uint32_t have = r->tags[behind].pages;
    run_unlink(r, behind);
    mark_taken(r, behind, behind + more);
    if (have > more)
        run_push(r, behind + more, have - more);
    return true;
}

// Giving back

// Free pages with memory of one step: one call for each stretch of them.
static bool discard_step(struct runs *r, uint32_t begin)
{
    bool any = false;
    for (uint32_t page = begin; page < begin + RUNS_STEP;) {
        uint64_t dirty = r->touched[page / 64] & ~r->taken[page / 64] & UINT64_MAX << page % 64;
        if (dirty == 0) {
            page = (page / 64 + 1) * 64;
            continue;
        }
        page = page / 64 * 64 + (uint32_t)__builtin_ctzll(dirty);
        uint32_t end = page;
        while (end < begin + RUNS_STEP && (r->touched[end / 64] & ~r->taken[end / 64]) >> end % 64 & 1)
            end++;
        r->memory->discard(r->memory, page_at(r, page), (end - page) * RUNS_PAGE);
        for (uint32_t word = page / 64; word <= (end - 1) / 64; word++)
            r->touched[word] &= ~bits_in(word, page, end);
        r->touched_count -= end - page;
        page = end;
        any = true;
    }
    return any;
}

// A long free run at the frontier is forgotten, and with it the books of its pages.
static bool retreat(struct runs *r)
{
    uint32_t last = r->frontier;
    if (last == 0 || is_taken(r, last - 1))
        return false;
    uint32_t run = last - r->tags[last - 1].pages;
    uint32_t begin = (uint32_t)round_up(run, RUNS_STEP) + RUNS_STEP;
    if (begin + RETREAT_FROM > last)
        return false;
    begin = last - begin > RETREAT ? last - RETREAT : begin;
    for (uint32_t step = begin; step < last; step += RUNS_STEP) {
        if (discard_step(r, step))
            return true; // first its pages, those to be kept as well
    }
    run_unlink(r, run);
    run_push(r, run, begin - run);
    r->frontier = begin;
    if (r->prepared > last)
        r->memory->discard(r->memory, page_at(r, last), (r->prepared - last) * RUNS_PAGE);
    r->prepared = 0;
    uint8_t *from = (uint8_t *)r->tags + round_up(begin * sizeof(struct run_tag), RUNS_PAGE);
    uint8_t *to = (uint8_t *)r->tags + last * sizeof(struct run_tag) / RUNS_PAGE * RUNS_PAGE;
    r->memory->discard(r->memory, from, (size_t)(to - from));
    return true;
}

bool runs_discard(struct runs *r, uint64_t keep)
{
    if (r->touched_count - r->taken_count <= keep)
        return retreat(r);
    for (uint32_t i = 0; i < SWEEP; i++) {
        if (r->sweep >= r->frontier / RUNS_STEP)
            r->sweep = 0;
        if (discard_step(r, r->sweep++ * RUNS_STEP))
            break;
    }
    return true;
}

// Audits

bool runs_valid(const struct runs *r)
{
    uint64_t taken = 0, touched = 0, listed = 0, listed_runs = 0, free_pages = 0, free_runs = 0;
    for (uint32_t word = 0; word < r->frontier / 64; word++) {
        taken += (uint32_t)__builtin_popcountll(r->taken[word]);
        touched += (uint32_t)__builtin_popcountll(r->touched[word]);
    }
    for (uint32_t page = 0; page < r->frontier; page++) {
        if (is_taken(r, page))
            continue;
        uint32_t pages = r->tags[page].pages;
        if (pages == 0 || pages > r->frontier - page || r->tags[page + pages - 1].pages != pages)
            return false;
        if (page + pages < r->frontier && !is_taken(r, page + pages))
            return false; // a free neighbour
        for (uint32_t i = 0; i < pages; i++) {
            if (is_taken(r, page + i))
                return false;
        }
        free_runs++;
        free_pages += pages;
        page += pages;
    }
    for (uint32_t bin = 0; bin < RUNS_BINS; bin++) {
        if (((r->filled[bin / 64] >> bin % 64 & 1) != 0) != (r->bins[bin] != RUNS_NONE))
            return false;
        for (uint32_t run = r->bins[bin]; run != RUNS_NONE; run = r->tags[run].next, listed_runs++) {
            if (bin_of(r->tags[run].pages) != bin || is_taken(r, run))
                return false;
            listed += r->tags[run].pages;
        }
    }
    return taken == r->taken_count && touched == r->touched_count && listed == free_pages && listed_runs == free_runs &&
           taken + free_pages == r->frontier;
}
