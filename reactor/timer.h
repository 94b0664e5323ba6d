// SPDX-License-Identifier: Apache-2.0
// A hierarchical timing wheel (Varghese and Lauck, 1987) of timers embedded in their owners. Arming and disarming are O(1);
// whoever owns the wheel pulls what has expired: nobody is called back.
//
// Resolution is TIMER_TICK_NS; a timer is never early. Times are the reactor's now_ns.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/list.h"

#define TIMER_TICK_BITS 20 // about a millisecond
#define TIMER_TICK_NS   (UINT64_C(1) << TIMER_TICK_BITS)
#define TIMER_SLOTS     64
#define TIMER_LEVELS    8 // nine years and more
#define TIMER_NEVER     UINT64_MAX

struct timer {
    struct list link;
    uint64_t at_ns;
    uint8_t owner; // the caller's: what kind of struct this is a field of
    uint8_t level; // TIMER_IDLE when in no list
    uint8_t slot;
};

#define TIMER_IDLE    0xff
#define TIMER_EXPIRED 0xfe // waits to be pulled

struct timers {
    uint64_t now_tick;
    uint64_t occupied[TIMER_LEVELS]; // a bit per slot that is not empty
    struct list expired;
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timers_init(struct timers *w, uint64_t now_ns);
void timer_init(struct timer *t, uint8_t owner);

static inline bool timer_armed(const struct timer *t)
{
    return t->level != TIMER_IDLE;
}

// An armed timer is moved.
void timers_arm(struct timers *w, struct timer *t, uint64_t at_ns);
// Harmless when it is not armed.
void timers_disarm(struct timers *w, struct timer *t);
// The next timer that has expired by `now_ns`, disarmed; NULL when there is none. Call until NULL, or less often to bound a turn.
struct timer *timers_expired(struct timers *w, uint64_t now_ns);
// No timer expires before this; TIMER_NEVER without timers. It may be early for timers far away: then nothing expires, and the
// next answer is nearer. For the bound of a wait.
uint64_t timers_next_ns(const struct timers *w);
