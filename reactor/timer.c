// SPDX-License-Identifier: Apache-2.0
// A timer for tick t lies at the level of the highest base-64 digit in which t and now differ, in the slot of t's digit there.
//
//   now   ... 3 | 17 | 60       level 0: this round of 64 ticks, exactly one tick a slot
//   t     ... 3 | 19 |  5  ->   level 1, slot 19: moves down to level 0 when now's digit there becomes 19
//
// Invariant: at every level only slots above now's digit are occupied. So the lowest occupied slot of the lowest occupied level
// is the next to be looked at, and advancing takes whole slots, never searches.
#include "reactor/timer.h"

static uint32_t digit(uint64_t tick, int level)
{
    return (uint32_t)(tick >> (6 * level)) & (TIMER_SLOTS - 1);
}

void timers_init(struct timers *w, uint64_t now_ns)
{
    w->now_tick = now_ns >> TIMER_TICK_BITS;
    list_init(&w->expired);
    for (int level = 0; level < TIMER_LEVELS; level++) {
        w->occupied[level] = 0;
        for (int slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
    }
}

void timer_init(struct timer *t, uint8_t owner)
{
    list_init(&t->link);
    t->at_ns = 0;
    t->owner = owner;
    t->level = TIMER_IDLE;
    t->slot = 0;
}

// Rounded up, so never early.
static uint64_t tick_of(uint64_t at_ns)
{
    return (at_ns >> TIMER_TICK_BITS) + ((at_ns & (TIMER_TICK_NS - 1)) != 0);
}

static void place(struct timers *w, struct timer *t)
{
    uint64_t tick = tick_of(t->at_ns);
    if (tick <= w->now_tick) {
        t->level = TIMER_EXPIRED;
        list_append(&w->expired, &t->link);
        return;
    }
    int level = (63 - __builtin_clzll(tick ^ w->now_tick)) / 6;
    uint32_t slot = digit(tick, level);
    if (level >= TIMER_LEVELS) { // beyond the wheel: looked at again when its last slot comes round
        level = TIMER_LEVELS - 1;
        slot = TIMER_SLOTS - 1;
    }
    t->level = (uint8_t)level;
    t->slot = (uint8_t)slot;
    w->occupied[level] |= UINT64_C(1) << slot;
    list_append(&w->slots[level][slot], &t->link);
}

void timers_disarm(struct timers *w, struct timer *t)
{
    if (t->level == TIMER_IDLE)
        return;
    list_remove(&t->link);
    if (t->level != TIMER_EXPIRED && list_empty(&w->slots[t->level][t->slot]))
        w->occupied[t->level] &= ~(UINT64_C(1) << t->slot);
    t->level = TIMER_IDLE;
}

void timers_arm(struct timers *w, struct timer *t, uint64_t at_ns)
{
    timers_disarm(w, t);
    t->at_ns = at_ns;
    place(w, t);
}

// The slots of a level that lie between the two times, the later one included.
static uint64_t passed(uint64_t from, uint64_t to, int level)
{
    int shift = 6 * (level + 1);
    if (from >> shift != to >> shift)
        return UINT64_MAX;
    uint64_t up_to = UINT64_MAX >> (63 - digit(to, level));
    uint64_t before = UINT64_MAX >> (63 - digit(from, level));
    return up_to & ~before;
}

static void take_slots(struct timers *w, int level, uint64_t which, struct list *taken)
{
    which &= w->occupied[level];
    w->occupied[level] &= ~which;
    for (; which != 0; which &= which - 1) {
        struct list *slot = &w->slots[level][__builtin_ctzll(which)];
        while (!list_empty(slot)) {
            struct list *node = list_take_first(slot);
            list_append(taken, node);
        }
    }
}

static void advance(struct timers *w, uint64_t tick)
{
    struct list taken;
    list_init(&taken);
    for (int level = 0; level < TIMER_LEVELS; level++) {
        uint64_t which = passed(w->now_tick, tick, level);
        if (which == 0)
            break; // digits above are the same too
        take_slots(w, level, which, &taken);
    }
    w->now_tick = tick;
    while (!list_empty(&taken)) {
        struct list *node = list_take_first(&taken);
        place(w, container_of(node, struct timer, link));
    }
}

struct timer *timers_expired(struct timers *w, uint64_t now_ns)
{
    uint64_t tick = now_ns >> TIMER_TICK_BITS;
    if (tick > w->now_tick)
        advance(w, tick);
    struct list *node = list_take_first(&w->expired);
    if (node == NULL)
        return NULL;
    struct timer *t = container_of(node, struct timer, link);
    t->level = TIMER_IDLE;
    return t;
}

uint64_t timers_next_ns(const struct timers *w)
{
    if (!list_empty(&w->expired))
        return 0;
    for (int level = 0; level < TIMER_LEVELS; level++) {
        if (w->occupied[level] == 0)
            continue;
        uint64_t slot = (uint64_t)__builtin_ctzll(w->occupied[level]);
        int shift = 6 * level;
        uint64_t round = w->now_tick >> shift >> 6 << 6;
        return (round | slot) << shift << TIMER_TICK_BITS;
    }
    return TIMER_NEVER;
}
