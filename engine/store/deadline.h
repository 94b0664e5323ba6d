// SPDX-License-Identifier: Apache-2.0
// When entries fall due: a wheel of references, one for all keyspaces of a store.
//
//   8 levels of 64 places; a place of level 0 is a tick of 16 ms, of level L 64^L ticks. A record stands at the level of the
//   highest 6-bit digit in which its tick differs from now; when now reaches its place it is filed again further down, or is due.
//
// A record is the entry's reference: 4 bytes (4.3 with its share of a chunk). Nothing is unlinked when an entry dies or its
// deadline moves: a record is a claim that is checked when its turn comes. What holds always:
//
//   every live entry with a deadline has a record at or before its deadline's tick
//
// So a deadline that moves later costs nothing now, one that moves earlier costs one record, and a record that finds its entry
// not due yet is filed again. Records that say nothing (dead or repeated) are at most as many as the true ones plus DEADLINE_SLACK
// before a sweep over the wheel, a piece at a time, drops them.
//
// Lateness: an entry is invisible from its deadline on; its memory comes back at most 16 ms later, plus the time from one
// maintenance call to the next, plus what a budget leaves for later calls.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/store/entry.h"
#include "engine/store/slab.h"

#define DEADLINE_LEVELS  8
#define DEADLINE_PLACES  64
#define DEADLINE_TICK_MS 16
#define DEADLINE_SLACK   4096

struct deadlines {
    struct slabs *slabs;
    uint64_t now; // tick
    uint64_t taken[DEADLINE_LEVELS];
    uint32_t places[DEADLINE_LEVELS][DEADLINE_PLACES]; // chunk lists
    uint32_t due;                                      // chunks whose turn has come
    uint32_t spare;                                    // a chunk put aside by deadline_make_room
    uint64_t records;
    uint64_t live; // entries with a deadline
    // The sweep: first pass drops and marks, second unmarks.
    uint8_t sweep_pass; // 0 = none, 1, 2
    uint32_t sweep_place;
    uint32_t sweep_before; // the chunk before the next one to look at, 0 = at the head
};

// An entry is due: true when it was removed, false when nobody knows it (it belongs to something cleared).
typedef bool deadline_expire_fn(void *context, uint32_t ref);

void deadlines_init(struct deadlines *d, struct slabs *slabs);
// The next deadline_add cannot fail.
int deadline_make_room(struct deadlines *d) warn_unused;
// After deadline_make_room.
void deadline_add(struct deadlines *d, uint32_t ref, int64_t deadline_ms);
// An entry at the same place changes its deadline: does it need a new record?
bool deadline_needs_record(int64_t old_ms, int64_t new_ms);

// Goes on to now_ms and expires what is due, until `budget` records were looked at. True: more is due.
bool deadline_advance(struct deadlines *d, int64_t now_ms, uint32_t *budget, deadline_expire_fn *expire, void *context);
// Whoever adds faster than the background sweeps helps it along.
static inline bool deadline_crowded(const struct deadlines *d)
{
    return d->records > 3 * d->live + 2 * DEADLINE_SLACK;
}
// Drops records that say nothing. True: more to do.
bool deadline_sweep(struct deadlines *d, uint32_t *budget);
// Up to `max` entries that have a deadline: from the nearest place when `random` is 0, else from one drawn by it. Drops records that
// say nothing on its way. An entry may be nobody's (cleared).
uint32_t deadline_sample(struct deadlines *d, uint64_t random, uint32_t *refs, uint32_t max);
// Unix ms; INT64_MAX = never.
int64_t deadline_next(const struct deadlines *d);
uint64_t deadline_bytes(const struct deadlines *d);
