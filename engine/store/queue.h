// SPDX-License-Identifier: Apache-2.0
// A first-in first-out order of entries: references in chunks of 1 KiB, 4.07 bytes an entry.
//
//   head -> chunk 7 -> chunk 8 -> chunk 9 <- tail        popped at the head, pushed at the tail
//
// Nothing is unlinked when an entry dies or moves: a record is a claim, and whoever pops it asks the entry whether it is still true.
// So that a claim cannot be taken for that of another entry which got the same slot later, each chunk has a number, and entries keep
// the last bits of the number of the chunk that holds their record.
//
// Claims that say nothing are dropped by a sweep, a piece at a time, before they outnumber the true ones.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/store/slab.h"

#define QUEUE_SLACK 4096u // dead records that are not worth a sweep

struct queue {
    struct slabs *slabs;
    uint32_t head; // chunks; 0 = empty
    uint32_t tail;
    uint32_t spare;  // a chunk put aside by queue_make_room
    uint32_t number; // of the next chunk
    uint64_t records;
    // Kept by the owner, who knows which records are true.
    uint64_t live;
    uint64_t bytes;
    // The sweep.
    bool sweeping;
    uint32_t sweep_before; // the chunk before the next one to look at, 0 = at the head
};

struct queue_record {
    uint32_t ref;
    uint32_t number; // of its chunk
};

// Is the record true? `number` is what the entry has to remember when `moved`: it is in another chunk now.
typedef bool queue_true_fn(void *context, struct queue_record r);
typedef void queue_moved_fn(void *context, struct queue_record r);

void queue_init(struct queue *q, struct slabs *slabs);
// The next queue_push cannot fail.
int queue_make_room(struct queue *q) warn_unused;
// After queue_make_room. Returns the number of the record's chunk.
uint32_t queue_push(struct queue *q, uint32_t ref);
// False: empty.
bool queue_pop(struct queue *q, struct queue_record *r);
// Takes all chunks away: a list to be given back with queue_free_some. The queue is empty then, and its counts are zero.
uint32_t queue_detach(struct queue *q);
// True: all are gone.
bool queue_free_some(struct slabs *slabs, uint32_t *chunks, uint32_t *budget);

static inline bool queue_wants_sweep(const struct queue *q)
{
    return q->sweeping || q->records > 2 * q->live + QUEUE_SLACK;
}
// Drops records that are not true. True: more to do.
bool queue_sweep(struct queue *q, uint32_t *budget, queue_true_fn *is_true, queue_moved_fn *moved, void *context);
