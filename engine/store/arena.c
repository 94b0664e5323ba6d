// SPDX-License-Identifier: Apache-2.0
// Invariants: a free run is in exactly one list, free[ARENA_CLEAN] when none of its granules is touched; two free buddies below the
// largest order do not exist; taken_count + granules of free runs = frontier.
#include "engine/store/arena.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

static_assert(ARENA_GRANULE == (size_t)8 << 13, "arena_granule_of shifts by 13");

static size_t pages_size(const struct arena *a)
{
    return round_up((size_t)a->granules * sizeof(struct page), 4096);
}

int arena_init(struct arena *a, struct memory *m)
{
    *a = (struct arena){ .memory = m };
    memset(a->free, 0xff, sizeof a->free);
    for (a->size = ARENA_MAX; a->size >= ARENA_MIN; a->size /= 2) {
        a->base = m->reserve(m, a->size, ARENA_EXTENT);
        if (a->base != NULL)
            break;
    }
    if (a->base == NULL)
        return -ENOMEM;
    a->granules = (uint32_t)(a->size / ARENA_GRANULE);
    a->origin = (uintptr_t)a->base - 8;
    a->pages = m->reserve(m, pages_size(a), 4096);
    if (a->pages == NULL) {
        m->release(m, a->base, a->size);
        return -ENOMEM;
    }
    return 0;
}

void arena_deinit(struct arena *a)
{
    if (a->base == NULL)
        return;
    a->memory->release(a->memory, a->pages, pages_size(a));
    a->memory->release(a->memory, a->base, a->size);
    a->base = NULL;
}

static void free_push(struct arena *a, uint32_t run, uint8_t order)
{
    struct page *p = &a->pages[run];
    uint32_t touched = 0;
    for (uint32_t g = run; g < run + (1u << order); g++)
        touched += a->pages[g].touched;
    p->state = PAGE_FREE;
    p->order = order;
    p->kind = touched == 0 ? ARENA_CLEAN : ARENA_DIRTY;
    uint32_t *head = &a->free[p->kind][order];
    p->prev = ARENA_NONE;
    p->next = *head;
    if (*head != ARENA_NONE)
        a->pages[*head].prev = run;
    *head = run;
}

static void free_unlink(struct arena *a, uint32_t run)
{
    struct page *p = &a->pages[run];
    if (p->prev == ARENA_NONE)
        a->free[p->kind][p->order] = p->next;
    else
        a->pages[p->prev].next = p->next;
    if (p->next != ARENA_NONE)
        a->pages[p->next].prev = p->prev;
    p->state = PAGE_UNUSED;
}

static void mark_taken(struct arena *a, uint32_t run, uint8_t order)
{
    uint32_t count = 1u << order;
    for (uint32_t g = run; g < run + count; g++) {
        a->touched_count += !a->pages[g].touched;
        a->pages[g] = (struct page){ .state = PAGE_TAKEN, .order = order, .touched = 1 };
    }
    a->taken_count += count;
}

static void mark_touched(struct arena *a, uint32_t extent)
{
    for (uint32_t g = extent; g < extent + ARENA_EXTENT_GRANULES; g++)
        a->pages[g].touched = 1;
    a->touched_count += ARENA_EXTENT_GRANULES;
}

// Asks for the extents that come next.
static void prepare(struct arena *a)
{
    if (a->memory->prepare == NULL || a->frontier < ARENA_PREPARE_FROM)
        return;
    if (a->prepare_below != 0 && a->touched_count + ARENA_PREPARE > a->prepare_below / ARENA_GRANULE)
        return;
    if (a->prepared < a->frontier)
        a->prepared = a->frontier;
    while (a->prepared < a->frontier + ARENA_PREPARE && a->prepared < a->granules) {
        if (!a->memory->prepare(a->memory, arena_granule_at(a, a->prepared), ARENA_EXTENT))
            return;
        a->prepared += ARENA_EXTENT_GRANULES;
    }
}

// The smallest free run that is large enough, with memory behind it if possible; else an extent that was never used.
static uint32_t find_free(struct arena *a, uint8_t order)
{
    for (int clean = ARENA_DIRTY; clean <= ARENA_CLEAN; clean++) {
        for (uint8_t have = order; have <= ARENA_ORDER_MAX; have++) {
            if (a->free[clean][have] != ARENA_NONE)
                return a->free[clean][have];
        }
    }
    if (a->frontier >= a->granules)
        return ARENA_NONE;
    uint32_t run = a->frontier;
    a->frontier += ARENA_EXTENT_GRANULES;
    if (a->memory->huge || a->prepared >= a->frontier) // all of it comes with its first byte, or is there
        mark_touched(a, run);
    free_push(a, run, ARENA_ORDER_MAX);
    prepare(a);
    return run;
}

uint32_t arena_take(struct arena *a, uint8_t order)
{
    uint32_t run = find_free(a, order);
    if (run == ARENA_NONE)
        return ARENA_NONE;
    uint8_t have = a->pages[run].order;
    bool clean = a->pages[run].kind == ARENA_CLEAN;
    free_unlink(a, run);
    if (clean && have == ARENA_ORDER_MAX && a->memory->huge) // all of it comes with its first byte, again
        mark_touched(a, run);
    while (have > order) {
        have--;
        free_push(a, run + (1u << have), have);
    }
    mark_taken(a, run, order);
    return run;
}

void arena_give(struct arena *a, uint32_t run)
{
    uint8_t order = a->pages[run].order;
    assert(a->pages[run].state == PAGE_TAKEN && run == arena_lead(a, run));
    uint32_t count = 1u << order;
    a->taken_count -= count;
    for (uint32_t g = run; g < run + count; g++)
        a->pages[g].state = PAGE_UNUSED;
    while (order < ARENA_ORDER_MAX) {
        uint32_t buddy = run ^ (1u << order);
        if (a->pages[buddy].state != PAGE_FREE || a->pages[buddy].order != order)
            break;
        free_unlink(a, buddy);
        run &= ~(1u << order);
        order++;
    }
    free_push(a, run, order);
}

bool arena_discard(struct arena *a, uint32_t keep)
{
    if (a->touched_count - a->taken_count <= keep)
        return false;
    uint8_t order = ARENA_ORDER_MAX;
    while (order > 0 && a->free[ARENA_DIRTY][order] == ARENA_NONE)
        order--;
    uint32_t run = a->free[ARENA_DIRTY][order];
    assert(run != ARENA_NONE);
    free_unlink(a, run);
    a->memory->discard(a->memory, arena_granule_at(a, run), ARENA_GRANULE << order);
    for (uint32_t g = run; g < run + (1u << order); g++) {
        a->touched_count -= a->pages[g].touched;
        a->pages[g].touched = 0;
    }
    free_push(a, run, order);
    return true;
}
