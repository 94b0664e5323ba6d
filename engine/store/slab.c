// SPDX-License-Identifier: Apache-2.0
// Invariants: a slab is in its class's `partial` list exactly when used < capacity and it is not being drained; used > 0 always (an empty
// slab is no slab); every slot below `fresh` is in use or in the slab's list of freed slots.
#include "engine/store/slab.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define SLAB_SLOTS_MIN  7u
#define SLAB_LEFT_SHARE 32u // what is left over at a slab's end: less than so much of it

// The smallest slab that wastes little: of each class one or two are partly empty, which is much where slots are large.
static uint8_t order_of(uint32_t size)
{
    uint8_t order = 0;
    for (; order < ARENA_ORDER_MAX; order++) {
        size_t bytes = ARENA_GRANULE << order;
        if (bytes / size >= SLAB_SLOTS_MIN && bytes % size < bytes / SLAB_LEFT_SHARE)
            break;
    }
    return order;
}

int slabs_init(struct slabs *s, struct memory *m)
{
    *s = (struct slabs){ .drain = ARENA_NONE };
    for (uint32_t i = 0; i < SLAB_SIZES; i++) {
        uint32_t size = slab_index_size(i);
        uint32_t units = size / 8;
        struct slab_class c = { .partial = ARENA_NONE, .size = size, .order = order_of(size) };
        c.slot_inverse = (uint32_t)(((UINT64_C(1) << 32) + units - 1) / units);
        c.capacity = (uint16_t)((ARENA_GRANULE << c.order) / size);
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
    uint32_t run = arena_take(&s->arena, c->order);
    if (run == ARENA_NONE)
        return ARENA_NONE;
    struct page *p = &s->arena.pages[run];
    p->kind = (uint8_t)kind;
    p->class = (uint8_t) class;
    p->capacity = c->capacity;
    s->held[kind] += ARENA_GRANULE << c->order;
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
    s->held[kind] -= ARENA_GRANULE << c->order;
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

static uint32_t free_slots(const struct slab_class *c)
{
    return c->slabs * c->capacity - c->used;
}

// One slab can be emptied, and its class has some room left. Where slabs are small, two are not much.
static bool worth_draining(const struct slab_class *c, uint32_t share)
{
    uint32_t least = c->order == 0 ? 2u * c->capacity : c->capacity + (c->capacity + 3u) / 4;
    return free_slots(c) >= least && free_slots(c) >= c->used / share;
}

// The class with the most bytes free, among those where it is worth it.
static struct slab_class *drain_class(struct slabs *s)
{
    struct slab_class *best = NULL;
    uint64_t best_bytes = 0;
    uint32_t share = s->drain_goes_on ? DRAIN_END : DRAIN_BEGIN;
    for (uint32_t i = 0; i < SLAB_SIZES; i++) {
        struct slab_class *c = &s->classes[SLAB_ENTRY][i];
        uint64_t bytes = (uint64_t)free_slots(c) * c->size;
        if (bytes <= best_bytes || !worth_draining(c, share))
            continue;
        best = c;
        best_bytes = bytes;
    }
    s->drain_goes_on = best != NULL;
    return best;
}

bool slab_drain_begin(struct slabs *s)
{
    if (s->drain != ARENA_NONE)
        return true;
    struct slab_class *c = drain_class(s);
    if (c == NULL)
        return false;
    struct page *pages = s->arena.pages;
    uint32_t sparsest = c->partial, run = c->partial;
    for (uint32_t i = 0; i < DRAIN_CHOICES && run != ARENA_NONE; i++, run = pages[run].next) {
        if (pages[run].used < pages[sparsest].used)
            sparsest = run;
    }
    partial_unlink(s, c, sparsest);
    pages[sparsest].draining = 1;
    s->drain = sparsest;
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
