// SPDX-License-Identifier: Apache-2.0
// Plain frames of GET and SET in one pass over the bytes that came, without a request made of them: the fixed header makes a key
// findable at hardly any cost, so three cursors walk the frames one behind the other, and memory answers meanwhile.
//
//   take   head, route and tag compared, key hashed, the bucket's line asked for
//   ask    the bucket's entry asked for                                              some frames behind
//   serve  key compared, reply written                                               some frames behind that
//
// They also walk on into what the turn's next receive brought: its first frames are taken and asked for while this one's are served.
//
// Invariant: between take and serve nothing runs but this pass, which changes bytes of values and nothing else; so what a slot points to
// is still there. Whatever else runs calls native_glance_forget first.
//
// The pass ends at the first frame that is not plain (glance.h says what is), and nothing has happened for that one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

#define GLANCE_SLOTS 64 // a power of two
#define GLANCE_TAKE  28 // frames that `take` is ahead of `serve`
#define GLANCE_ASK   14 // and `ask`
#define GLANCE_AGAIN 7  // and where an entry that is not in its home bucket is asked for once more
#define GLANCE_NEXT  20 // frames taken of the next receive

struct bucket;
struct completion;
struct conn;
struct entry;
struct keyspace;
struct worker;

// A frame on its way.
struct glance_slot {
    _Alignas(64) uint64_t hash; // of the index
    const uint8_t *key;
    struct keyspace *keyspace;
    const struct bucket *home;
    struct entry *entry; // which may be its own; NULL: none in the home bucket, or not asked for yet
    uint32_t end;        // offset behind the frame
    uint16_t value_len;  // of SET
    uint8_t key_len;
    uint8_t opcode;
    uint8_t tag; // in the bucket
};
static_assert(sizeof(struct glance_slot) == 64, "a line each");

// Frames of one receive.
struct glance_frames {
    const uint8_t *begin; // of the first one; NULL: none are taken
    const struct conn *conn;
    uint32_t taken, asked, again; // so many have been
    uint32_t end;                 // offset behind the last one taken
    struct glance_slot slots[GLANCE_SLOTS];
};

struct native_glance {
    uint32_t now; // frames[now] are of the receive that is handled now, the others of the next one
    struct glance_frames frames[2];
};

// Plain frames at the beginning of `in` are answered. Returns the bytes used.
size_t native_glance_run(struct conn *c, struct slice in);
// The turn's next completion, the one before it being about to be handled. NULL: there is none.
void native_glance_next(struct worker *w, const struct completion *next);
void native_glance_forget(struct worker *w);
