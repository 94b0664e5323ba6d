// SPDX-License-Identifier: Apache-2.0
// Plain frames of GET and SET in one pass over the bytes that came, without a request made of them: the fixed header makes a key
// findable at hardly any cost, so three cursors walk the frames one behind the other, and memory answers meanwhile.
//
//   take   head, route and tag compared, key hashed, the bucket's line asked for
//   ask    the bucket's entry asked for                                              some frames behind
//   serve  key compared, reply written                                               some frames behind that
//
// The frames are those of a turn, whichever connections they came on: `take` goes on into the receives that are handled next, so that no
// connection begins with cold memory, and the three keep their distances. (What is asked for in a burst is waited for: the processor
// looks up few pages' addresses at a time.)
//
//   receives   A A A A B B B B B C C C        front is the one that is handled, A; frames of those up to `back` have been taken
//              ^serve   ^ask   ^take
//
// Invariant: between take and serve nothing runs but this pass, which changes bytes of values and nothing else; so what a slot points to
// is still there. Whatever else runs calls native_glance_forget first, and the stream begins anew with the next receive that is handled.
//
// The pass ends at the first frame that is not plain (glance.h says what is), and nothing has happened for that one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

#define GLANCE_SLOTS    64 // a power of two
#define GLANCE_TAKE     28 // frames that `take` is ahead of `serve`
#define GLANCE_ASK      14 // and `ask`
#define GLANCE_AGAIN    7  // and where an entry that is not in its home bucket is asked for once more
#define GLANCE_RECEIVES 32 // a power of two; each that is ahead has a frame taken, or is the last one

static_assert(GLANCE_RECEIVES >= GLANCE_TAKE + 3, "the one that is handled, those of the frames ahead, and one that has none");

struct bucket;
struct completion;
struct conn;
struct entry;
struct keyspace;
struct worker;

// A frame on its way.
struct glance_slot {
    _Alignas(64) uint64_t hash; // of the index
    const uint8_t *key;         // and behind it the value
    struct keyspace *keyspace;
    const struct bucket *home;
    struct entry *entry; // which may be its own; NULL: none in the home bucket, or not asked for yet
    uint32_t end;        // offset behind the frame
    uint16_t value_len;  // of SET
    uint16_t shard;
    uint8_t key_len;
    uint8_t opcode;
    uint8_t tag; // in the bucket
    uint8_t receive;
};
static_assert(sizeof(struct glance_slot) == 64, "a line each");

// Where frames are taken from.
struct glance_taker {
    const struct conn *conn;
    struct slice in;
    uint32_t end; // offset behind the last one taken
    bool clipped; // `in` is not all that was received
    bool direct;  // a port of one shard
    uint32_t shard;
    struct keyspace *keyspace; // its
};

struct glance_receive {
    const uint8_t *begin;
    const struct conn *conn;
};

struct native_glance {
    uint32_t taken, asked, again, served; // so many frames have been
    bool stopped;                         // no more is taken: what comes next is not plain, or nothing comes
    uint8_t front, back;                  // of the receives; the same: there is no stream
    struct glance_taker taker;
    const struct completion *list; // the turn's
    uint32_t count;
    uint32_t now;  // the one that is handled
    uint32_t next; // the one to be taken from next
    struct glance_receive receives[GLANCE_RECEIVES];
    struct glance_slot slots[GLANCE_SLOTS];
};

// Plain frames at the beginning of `in` are answered. Returns the bytes used.
size_t native_glance_run(struct conn *c, struct slice in);
// These completions will be handled now, one after the other; native_glance.now says which. With none: they have been.
void native_glance_over(struct worker *w, const struct completion *list, uint32_t count);
// What was taken is not valid any more: something else is about to run.
void native_glance_forget(struct worker *w);
