// SPDX-License-Identifier: Apache-2.0
// Who has to go when memory is short, our own way: S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for
// cache eviction", SOSP 2023).
//
//              new                    read twice                     read since its last turn: once more around
//    set ----------------> small ------------------------> main ----+
//     |                      |                              ^  ^----+
//     | remembered           | else: gone                   |  | else: gone
//     |                      v                              |
//     +------------------> ghost: remembered for a while ---+
//
// `small` gets a tenth of the bytes, so that what is asked for only once leaves soon and cheaply. A read does not move anything: it
// counts to three in the entry. Both are queues of references (queue.h), the ghost is fingerprints (ghost.h); all three exist only
// under this policy: 4.1 bytes an entry and 2 for each remembered key, beside the byte in the entry:
//
//   bit 0-1   times read since the last turn, at most 3
//   bit 2     in main
//   bit 3-5   last bits of the number of the chunk that holds the record
//   bit 6     era: changes when the policy is chosen anew, and all that was before counts no more
//   bit 7     0 (entry.h)
//
// Under `volatile-s3fifo` only entries with a deadline have the byte and a record.
// When the policy is chosen while there are entries, a walk over the index takes them into main, a piece at a time. Those
// without the byte can be dropped by their turn, but not counted: they get it when they are written again.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "engine/store/entry.h"
#include "engine/store/ghost.h"
#include "engine/store/queue.h"

#define S3FIFO_READS  0x03u
#define S3FIFO_MAIN   0x04u
#define S3FIFO_NUMBER 0x38u
#define S3FIFO_ERA    0x40u

struct store;

struct s3fifo {
    struct queue small;
    struct queue main;
    struct ghost ghost;
    bool on;
    bool only_volatile;
    bool adopting; // entries of before are being taken in
    uint8_t era;   // 0 or S3FIFO_ERA
    size_t adopt_keyspace;
    uint64_t adopt_cursor;
    uint32_t dropped[2]; // chunks of queues that were given up
};

void s3fifo_init(struct s3fifo *f, struct slabs *slabs, struct memory *m);
void s3fifo_deinit(struct s3fifo *f);
void s3fifo_start(struct s3fifo *f, bool only_volatile);
void s3fifo_stop(struct s3fifo *f);

// An entry with this deadline is to be tracked.
static inline bool s3fifo_wants(const struct s3fifo *f, int64_t deadline)
{
    return !f->only_volatile || deadline != ENTRY_NO_DEADLINE;
}

// It has the byte, and the byte is of this time.
static inline bool s3fifo_tracks(const struct s3fifo *f, const struct entry *e)
{
    if (!f->on || (e->head & ENTRY_HEAD_RECENCY) == 0)
        return false;
    return (*entry_recency(e) & (ENTRY_RECENCY_LONG | S3FIFO_ERA)) == f->era;
}

static inline uint8_t s3fifo_read(uint8_t byte)
{
    return (byte & S3FIFO_READS) < S3FIFO_READS ? byte + 1 : byte;
}

// The next s3fifo_admit cannot fail.
int s3fifo_make_room(struct s3fifo *f) warn_unused;
// After s3fifo_make_room: the entry, which has the byte, joins a queue. `before`: the byte that it had at another place, or -1 for one
// that is new.
void s3fifo_admit(struct store *s, uint32_t ref, uint64_t hash, int before);
// After s3fifo_make_room: an entry of before, which has no byte, is listed in main; also when it is at another place now.
void s3fifo_adopt(struct store *s, uint32_t ref);
// A tracked entry goes, or leaves its slot.
void s3fifo_forget(struct store *s, const struct entry *e);
// The pages of a tracked entry's value changed their number.
void s3fifo_resized(struct store *s, const struct entry *e, int64_t bytes);

// Removes one entry; each one looked at counts 1 of the budget, and when that is used up first, none is removed for now: many in a
// row may have been read. False: there is none that may go.
bool s3fifo_evict(struct store *s, int64_t now_ms, uint32_t *budget);
// A slice of its own background work. True: more to do.
bool s3fifo_maintain(struct store *s, uint32_t *budget);
// Of the ghost; the queues are slabs.
static inline uint64_t s3fifo_bytes(const struct s3fifo *f)
{
    return ghost_bytes(&f->ghost);
}
// Walks all entries: the counts of both queues are right. For audits.
bool s3fifo_valid(struct store *s);
