// SPDX-License-Identifier: Apache-2.0
// Invariants: a slab is in its class's `partial` list exactly when used < capacity and it is not being drained; used > 0 always (an empty
// slab is no slab); every slot below `fresh` is in use or in the slab's list of freed slots.
#include "engine/store/slab.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define SLAB_SLOTS_MAX 512u // of a slab longer than a granule: it shall be emptied some day

// Of the next slab of a class: the one that wastes least, if all of the class's were like it and one of them half empty.
static uint8_t next_order(const struct slab_class *c)
{
    uint64_t in_use = (uint64_t)c->used * c->size, least = UINT64_MAX;
    uint8_t best = 0;
    for (uint8_t order = 0; order <= ARENA_ORDER_MAX; order++) {
        uint64_t bytes = ARENA_GRANULE << order;
        if (bytes < c->size)
            continue;
        if (order > 0 && bytes / c->size > SLAB_SLOTS_MAX)
            break;
        uint64_t waste = in_use * (bytes % c->size) / bytes + bytes / 2;
        if (waste >= least)
            continue;
        least = waste;
        best = order;
    }
    return best;
}

int slabs_init(struct slabs *s, struct memory *m)
{
    *s = (struct slabs){ .drain = ARENA_NONE };
    for (uint32_t i = 0; i < SLAB_SIZES; i++) {
        uint32_t size = slab_index_size(i);
        uint32_t units = size / 8;
        struct slab_class c = { .partial = ARENA_NONE, .size = size };
        c.slot_inverse = (uint32_t)(((UINT64_C(1) << 32) + units - 1) / units);
        for (int kind = 0; kind < SLAB_KINDS; kind++)
            s->classes[kind][i] = c;
    }
    return arena_init(&s->arena, m);
}

void slabs_deinit(struct slabs *s)
{
    arena_deinit(&s->arena);
}

static void partial_push(struct slabs *s, struct slab_class *c, uint32_t run)
{
    struct page *pages = s->arena.pages;
    pages[run].prev = ARENA_NONE;
    pages[run].next = c->partial;
    if (c->partial != ARENA_NONE)
        pages[c->partial].prev = run;
    c->partial = run;
}

static void partial_unlink(struct slabs *s, struct slab_class *c, uint32_t run)
{
    struct page *pages = s->arena.pages;
    if (pages[run].prev == ARENA_NONE)
        c->partial = pages[run].next;
    else
        pages[pages[run].prev].next = pages[run].next;
    if (pages[run].next != ARENA_NONE)
        pages[pages[run].next].prev = pages[run].prev;
}

static uint32_t slab_new(struct slabs *s, enum slab_kind kind, uint32_t class)
{
    struct slab_class *c = &s->classes[kind][class];
    uint8_t order = next_order(c);
    uint32_t run = arena_take(&s->arena, order);
    if (run == ARENA_NONE)
        return ARENA_NONE;
    struct page *p = &s->arena.pages[run];
    p->kind = (uint8_t)kind;
    p->class = (uint8_t) class;
    p->capacity = (uint16_t)((ARENA_GRANULE << order) / c->size);
    c->slots += p->capacity;
    c->slabs++;
    partial_push(s, c, run);
    return run;
}

uint32_t slab_take(struct slabs *s, enum slab_kind kind, size_t size)
{
    uint32_t class = slab_size_index(size);
    struct slab_class *c = &s->classes[kind][class];
    uint32_t run = c->partial;
    if (unlikely(run == ARENA_NONE)) {
        run = slab_new(s, kind, class);
        if (run == ARENA_NONE)
            return 0;
    }
    struct page *p = &s->arena.pages[run];
    uint8_t *first = arena_granule_at(&s->arena, run);
    uint8_t *slot;
    if (p->free != 0) {
        slot = first + (size_t)(p->free - 1) * c->size;
        p->free = load_u16(slot + 2);
    } else {
        slot = first + (size_t)p->fresh * c->size;
        p->fresh++;
    }
    p->used++;
    c->used++;
    s->used[kind] += c->size;
    if (p->used == p->capacity)
        partial_unlink(s, c, run);
    return arena_ref(&s->arena, slot);
}

static uint32_t slot_number(const struct slabs *s, const struct slab_class *c, uint32_t run, uint32_t ref)
{
    uint32_t units = ref - arena_ref(&s->arena, arena_granule_at(&s->arena, run));
    return (uint32_t)((uint64_t)units * c->slot_inverse >> 32);
}

static void give(struct slabs *s, uint32_t ref)
{
    uint32_t run = arena_lead(&s->arena, arena_granule_of(&s->arena, ref));
    struct page *p = &s->arena.pages[run];
    uint32_t kind = p->kind;
    struct slab_class *c = &s->classes[kind][p->class];
    uint32_t number = slot_number(s, c, run, ref);
    uint8_t *slot = arena_at(&s->arena, ref);
    assert(p->state == PAGE_TAKEN && p->used > 0 && number < p->fresh);
    assert(slot == (uint8_t *)arena_granule_at(&s->arena, run) + (size_t)number * c->size);
    if (p->used == p->capacity && !p->draining)
        partial_push(s, c, run);
    p->used--;
    c->used--;
    slot[0] = SLAB_FREE_MARK;
    store_u16(slot + 2, p->free);
    p->free = (uint16_t)(number + 1);
    if (p->used > 0)
        return;
    if (p->draining)
        s->drain = ARENA_NONE;
    else
        partial_unlink(s, c, run);
    c->slabs--;
    c->slots -= p->capacity;
    arena_give(&s->arena, run);
}

void slab_give(struct slabs *s, uint32_t ref)
{
    const struct page *p = slab_page(s, ref);
    s->used[p->kind] -= s->classes[p->kind][p->class].size;
    if (likely(!slab_pinned(s)) || p->kind != SLAB_ENTRY) {
        give(s, ref);
        return;
    }
    uint8_t *slot = arena_at(&s->arena, ref);
    assert((slot[0] & SLAB_FREE_MARK) != SLAB_FREE_MARK);
    slot[0] = SLAB_FREE_MARK;
    store_u32(slot + 1, s->limbo[s->side]);
    s->limbo[s->side] = ref;
}

// Pins

uint8_t slab_pin(struct slabs *s)
{
    // The other side has no readers, so it holds nothing back (slab_unpin): those who come now need not wait for what is in limbo.
    if (s->limbo[s->side] != 0 && s->pins[s->side ^ 1] == 0)
        s->side ^= 1;
    s->pins[s->side]++;
    return s->side;
}

static void give_limbo(struct slabs *s, uint8_t side)
{
    for (uint32_t ref = s->limbo[side]; ref != 0;) {
        uint8_t *slot = arena_at(&s->arena, ref);
        uint32_t next = load_u32(slot + 1);
        if (SKERRY_AUDIT)
            memset(slot + SLAB_LIMBO, 0xdd, slab_slot_size(s, ref) - SLAB_LIMBO);
        give(s, ref);
        ref = next;
    }
    s->limbo[side] = 0;
}

void slab_unpin(struct slabs *s, uint8_t side)
{
    assert(s->pins[side] > 0);
    if (--s->pins[side] > 0)
        return;
    uint8_t other = side ^ 1;
    if (s->pins[other] == 0) {
        give_limbo(s, 0);
        give_limbo(s, 1);
    } else if (side != s->side) {
        // Readers of the current side came after the change of sides: what was given back before it, none of them sees.
        give_limbo(s, side);
        s->side = side;
    }
}

bool slab_is_entry(const struct slabs *s, uint32_t ref)
{
    uint32_t granule = arena_granule_of(&s->arena, ref);
    if (s->arena.pages[granule].state != PAGE_TAKEN)
        return false;
    uint32_t run = arena_lead(&s->arena, granule);
    const struct page *p = &s->arena.pages[run];
    if (p->kind != SLAB_ENTRY)
        return false;
    const struct slab_class *c = &s->classes[SLAB_ENTRY][p->class];
    uint32_t number = slot_number(s, c, run, ref);
    const uint8_t *slot = arena_at(&s->arena, ref);
    if (number >= p->fresh || slot != (const uint8_t *)arena_granule_at(&s->arena, run) + (size_t)number * c->size)
        return false;
    return (slot[0] & SLAB_FREE_MARK) != SLAB_FREE_MARK;
}

// Draining

#define DRAIN_CHOICES 32u
#define DRAIN_BEGIN   14u // one free slot for so many in use
#define DRAIN_END     25u
#define DRAIN_SMALL   9362u // bytes of slots, of which a granule has 7 or more

static uint32_t free_slots(const struct slab_class *c)
{
    return c->slots - c->used;
}

// Enough is free for two slabs' worth, or, where slots are large, for one and a quarter.
static bool worth_draining(const struct slab_class *c, uint32_t share)
{
    uint32_t free = free_slots(c);
    if (c->slabs < 2 || free < c->used / share)
        return false;
    uint32_t each = c->slots / c->slabs;
    return free >= (c->size <= DRAIN_SMALL ? 2 * each : each + (each + 3) / 4);
}

// The slab with the fewest entries, among those whose entries the others have room for; ARENA_NONE: there is none.
static uint32_t sparsest(const struct slabs *s, const struct slab_class *c)
{
    const struct page *pages = s->arena.pages;
    uint32_t best = ARENA_NONE, run = c->partial;
    for (uint32_t i = 0; i < DRAIN_CHOICES && run != ARENA_NONE; i++, run = pages[run].next) {
        const struct page *p = &pages[run];
        if (free_slots(c) >= p->capacity + (p->capacity + 3u) / 4 && (best == ARENA_NONE || p->used < pages[best].used))
            best = run;
    }
    return best;
}

// Of the class with the most bytes free, among those where it is worth it.
static uint32_t drain_choose(struct slabs *s)
{
    uint32_t best = ARENA_NONE;
    uint64_t best_bytes = 0;
    uint32_t share = s->drain_goes_on ? DRAIN_END : DRAIN_BEGIN;
    for (uint32_t i = 0; i < SLAB_SIZES; i++) {
        const struct slab_class *c = &s->classes[SLAB_ENTRY][i];
        uint64_t bytes = (uint64_t)free_slots(c) * c->size;
        if (bytes <= best_bytes || !worth_draining(c, share))
            continue;
        uint32_t run = sparsest(s, c);
        if (run == ARENA_NONE)
            continue;
        best = run;
        best_bytes = bytes;
    }
    s->drain_goes_on = best != ARENA_NONE;
    return best;
}

bool slab_drain_begin(struct slabs *s)
{
    if (s->drain != ARENA_NONE)
        return true;
    uint32_t run = drain_choose(s);
    if (run == ARENA_NONE)
        return false;
    struct page *p = &s->arena.pages[run];
    partial_unlink(s, &s->classes[SLAB_ENTRY][p->class], run);
    p->draining = 1;
    s->drain = run;
    s->drain_slot = 0;
    return true;
}

uint32_t slab_drain_next(struct slabs *s)
{
    if (s->drain == ARENA_NONE)
        return 0;
    struct page *p = &s->arena.pages[s->drain];
    struct slab_class *c = &s->classes[SLAB_ENTRY][p->class];
    uint8_t *first = arena_granule_at(&s->arena, s->drain);
    while (s->drain_slot < p->fresh) {
        uint8_t *slot = first + (size_t)s->drain_slot++ * c->size;
        if ((slot[0] & SLAB_FREE_MARK) != SLAB_FREE_MARK)
            return arena_ref(&s->arena, slot);
    }
    // Some could not be moved, or came back: it is an ordinary slab again.
    p->draining = 0;
    if (p->used < p->capacity)
        partial_push(s, c, s->drain);
    s->drain = ARENA_NONE;
    return 0;
}
