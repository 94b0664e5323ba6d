// SPDX-License-Identifier: Apache-2.0
// The live export of what changes, as FCW2 frames (persist/fcw2.h): the queue that all subscribers share, and each one's place in it. No
// sockets, no clock.
//
//   a worker's turn --> block of frames --> queue | block | block | block | block |
//                                                      ^ cursor       ^ cursor     ^ cursor (has seen all)
//                                                      |
//                                                     set: the pieces of what is being sent, which hold their blocks
//
// The queue holds at most so many frames and bytes. Whoever is behind its oldest block when another is pushed loses that block's frames,
// and they are counted; nobody else is touched. A frame of which a part has been sent is always finished: the set holds it. Invariants:
// cursors point into the queue or at its end; a block lives while the queue or a set holds it.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/assert.h"
#include "base/crc32.h"
#include "base/list.h"
#include "base/slice.h"

#define EXPORT_PIECES    32                 // of one send
#define EXPORT_SEND_MAX  (1024 * 1024)      // bytes of one send, but for a frame that is larger
#define EXPORT_AUTH_MAX  1024               // bytes of the line
#define EXPORT_BYTES_MAX (64 * 1024 * 1024) // in the queue, but for a block that is larger

struct export_block {
    struct export_block *next;
    uint32_t frames;
    uint32_t refs;
    uint64_t len;
    uint8_t bytes[];
};

// Version 1 has no word for a change of a part of a string: it is told the whole value, as it is now.
struct export_values {
    // Of a string of database 0; false: it is none any more. The bytes stay until the next call.
    bool (*get)(struct export_values *v, uint32_t shard, struct slice key, struct slice *value, int64_t *deadline_ms);
};

// The frames of a worker's turn: the sub-batches in `turn` (persist/format.h), one frame a record. With `effects` also those that version 1
// has no words for: other databases than 0 (their argv begins with SELECT and the number) and named effects. *out NULL: nothing to be said.
// -ENOMEM; -EBADMSG: not sub-batches.
int export_encode(struct export_block **out, const struct crc32_tables *t, struct slice turn, uint64_t timestamp_ms, bool effects,
                  struct export_values *values) warn_unused;
struct export_block *export_block_free(struct export_block *b);

// ---- the queue

struct export_queue {
    struct export_block *head, *tail;
    uint64_t frames, bytes;
    uint64_t capacity;   // frames
    struct list cursors; // struct export_cursor
    bool keep;           // nothing is dropped below twice the capacity: who pushes asks export_queue_full
};

struct export_cursor {
    struct list link;
    struct export_block *block; // NULL: has seen all
    uint64_t at;                // of the next frame in it
    uint64_t dropped;           // frames that it lost
    bool effects;               // wants them
};

void export_queue_init(struct export_queue *q, uint64_t capacity, bool keep);
void export_queue_deinit(struct export_queue *q); // no cursor is left
// Takes the block. Returns how many frames some cursor lost.
uint64_t export_queue_push(struct export_queue *q, struct export_block *b);
static inline bool export_queue_full(const struct export_queue *q)
{
    return q->frames >= q->capacity || q->bytes >= EXPORT_BYTES_MAX;
}
// Joins at the end: what is pushed from now on.
void export_cursor_join(struct export_queue *q, struct export_cursor *c, bool effects);
void export_cursor_leave(struct export_queue *q, struct export_cursor *c);

// ---- sending

// Runs of whole frames; of the first run's first frame `sent` bytes have left.
struct export_set {
    struct {
        struct export_block *block;
        const uint8_t *data;
        uint64_t len;
    } pieces[EXPORT_PIECES];
    uint32_t count;
    uint64_t sent;
};

// When the set is empty: the next frames of the cursor. False: there is nothing to be sent.
bool export_set_fill(struct export_set *s, struct export_queue *q, struct export_cursor *c);
// What is left of it; returns how many.
uint32_t export_set_view(const struct export_set *s, struct iovec out[EXPORT_PIECES]);
// `n` bytes have left; returns how many frames with them are whole.
uint32_t export_set_sent(struct export_set *s, uint64_t n);
// Another connection: the frame that was cut begins again.
static inline void export_set_rewind(struct export_set *s)
{
    s->sent = 0;
}
void export_set_clear(struct export_set *s);

// ---- who may listen

enum export_auth { EXPORT_AUTH_MORE, EXPORT_AUTH_V1, EXPORT_AUTH_V2, EXPORT_AUTH_WRONG };
// The first line of a subscriber as far as it has come. The token is compared in constant time.
enum export_auth export_auth_check(struct slice in, struct slice token);
