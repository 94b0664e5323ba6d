// SPDX-License-Identifier: Apache-2.0
// Plain GETs and SETs of one connection's batch whose keys are other workers': one message a target instead of one a request, one reply
// that is due, one answer. Each is served at a glance (glance.h); what is not plain there is served as if it had come alone.
//
//   stash      [lead] ?  [after 0] ?  [after 1] ...     local replies, in the order of the requests
//   answers           0            1                    from other workers, each by its position in the bundle
//
// An answer that completes the first bundle that is due is poured from its block into the connection's reply, with the local replies in
// between. Any other (of one of several targets, out of its order, of a request that had to wait) is kept until the bundle is complete.
#pragma once

#include "engine/shard/conn.h"
#include "engine/shard/glance.h"
#include "engine/shard/span.h"

// What travels: MESH_BUNDLE, whose argc says how many of these follow, each with its key and value behind it, padded to MESH_ALIGN.
struct mesh_plain {
    uint16_t key_len;
    uint16_t value_len;
    uint16_t shard;
    uint8_t at;
    uint8_t argc; // 2: GET, 3: SET
};
static_assert(sizeof(struct mesh_plain) == 8, "GET of a 16-byte key: 24 bytes");

// The answer: MESH_PIECE, of replies in RESP, or frames for requests in FCNP, each behind `at` and its length (u16 each). A request that
// was not answered at a glance has its own reply, in RESP, whose cookie also says which one it is.
#define BUNDLE_REPLY_HEAD 4
#define BUNDLE_AT_SHIFT   48

static inline uint64_t bundle_cookie(uint64_t cookie, uint32_t at)
{
    return cookie | (uint64_t)(at + 1) << BUNDLE_AT_SHIFT;
}

struct bundle_answer {
    uint64_t at;  // in `held`
    uint64_t len; // BUNDLE_VALUE: `at` is a struct blob *
};
#define BUNDLE_VALUE UINT64_MAX

struct bundle {
    struct pending pending;
    uint32_t count;
    uint32_t left;   // not answered yet
    uint32_t values; // answers by reference
    uint16_t db;     // of all of them, as are the protocol, pending.frame and the flags (enum mesh_flag)
    uint8_t protocol;
    uint8_t flags;
    uint32_t lead;      // bytes of the stash in front of the first request
    struct slice piece; // answers all of it, for as long as it is poured; else empty
    struct buf held;    // answers that came before the last one
    struct bundle *next_free;
    uint64_t turn;                  // mesh.pushes when it was begun: more may join for as long as that stays
    uint32_t after[BATCH_REQUESTS]; // bytes of the stash behind each but the last: that is pending.after
    struct bundle_answer answers[BATCH_REQUESTS];
};

// Not while replies may have to wait for the log. Requests items[i..end) as far as they are plain: of other workers' keys into bundles, of
// this one's answered behind what is due. Returns where it ends; that one wants its command. `ahead`, `count`: as struct batch's.
uint32_t bundle_range(struct conn *c, struct item *items, uint32_t i, uint32_t end, uint32_t ahead, uint32_t count, bool native);

// A MESH_BUNDLE at `offset`, and what follows of such. Returns the offset behind the last one.
uint32_t bundle_serve(struct worker *w, const struct mesh_block *block, uint32_t offset);

// A MESH_PIECE for this pending.
void bundle_piece(struct worker *w, struct pending *p, struct slice piece);
// One request's own reply: bytes, which are copied, or a value, whose pin is taken.
void bundle_reply(struct worker *w, struct pending *p, uint32_t at, struct slice bytes);
void bundle_value(struct worker *w, struct pending *p, uint32_t at, struct blob *value);

// Appends a complete one's replies. Returns how many bytes of the stash from `stash` on it took.
uint64_t bundle_write(struct conn *c, struct bundle *b, struct buf *out, uint64_t stash);
void bundle_free(struct worker *w, struct bundle *b);
void bundle_pool_free(struct worker *w);

static inline struct bundle *bundle_of(struct pending *p)
{
    return container_of(p, struct bundle, pending);
}
