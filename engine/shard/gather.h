// SPDX-License-Identifier: Apache-2.0
// One command under way on several workers: who works on which part, and what came of it.
//
//   fanout.c   decides how a command is split, and begins its transaction
//   merge.c    makes one reply of many
//   steps.c    commands that must see all values at once
//   walk.c     KEYS
//
// A gather lives until its last part has answered and its transaction is released, also when the connection is long gone.
#pragma once

#include "engine/shard/args.h"
#include "engine/shard/conn.h"
#include "engine/shard/forward.h"
#include "engine/shard/run.h"
#include "engine/shard/txn.h"

enum gather_phase { GATHER_QUEUED, GATHER_PARTS, GATHER_FETCH, GATHER_PUT, GATHER_WALK };

struct part {
    uint8_t *bytes; // heap: the answer
    uint64_t len;
    uint64_t cursor;   // of the merge
    uint32_t worker;   // GATHER_PARTS
    uint32_t from, to; // its keys: gather.order[from..to)
    bool more;         // the next part goes to the same worker, when this one has answered
};

struct gather {
    struct txn txn;
    struct list slice; // worker.slices: `next` is to be run here
    uint32_t next;
    struct pending *due;
    const struct command *command;
    uint32_t db;
    uint8_t protocol;
    uint8_t phase;
    bool owns_txn; // else: below a transaction of its connection, or touches no keys
    uint32_t left;
    uint32_t parts;
    struct part *part; // [parts]
    struct args args;
    struct command_keys keys;
    uint32_t *order;       // [keys], by worker
    uint32_t *part_of_key; // [keys]
    uint64_t watcher;      // WATCH
    uint32_t db_second;    // STEPS: of the second key (COPY ... DB n), else `db`
    uint64_t cursor;       // WALK: where to go on
    uint64_t found;        // and the keys so far
    struct buf reply;      // STEPS: what the command answered; WALK: the keys
};

static inline uint32_t keys_count(const struct command_keys *k)
{
    return (k->last - k->first) / k->step + 1;
}

static inline struct slice gather_key(const struct gather *g, uint32_t k)
{
    return g->args.argv[g->keys.first + k * g->keys.step];
}

bool gather_parts(struct gather *g, uint32_t parts) warn_unused;
// A request for part `part`, here or there; its answer comes by gather_part. `f->target` says where.
void gather_send(struct worker *w, struct gather *g, uint32_t part, const struct forward *f);
struct forward gather_forward(const struct gather *g, uint32_t target, const struct slice *argv, uint32_t argc);
// A part's reply. Takes `heap`; `bytes` otherwise are copied.
void gather_part(struct worker *w, struct gather *g, uint32_t part, uint8_t *heap, const uint8_t *bytes, uint64_t len);
// One of `left` has come; the last one makes the reply, and the gather is gone.
void gather_landed(struct worker *w, struct gather *g);
// The reply of all of it. Takes what `answer` holds; frees the gather.
void gather_finish(struct worker *w, struct gather *g, struct buf *answer);
void gather_release(struct worker *w, struct gather *g);

// fanout.c
void fanout_answered(struct worker *w, struct gather *g, uint32_t part);

// merge.c
void merge_parts(struct worker *w, struct gather *g, struct reply *out);

// walk.c
void walk_begin(struct worker *w, struct gather *g);
void walk_on(struct worker *w, struct gather *g);
void walk_answered(struct worker *w, struct gather *g);

// steps.c
void steps_begin(struct worker *w, struct gather *g);
void steps_run(struct worker *w, struct gather *g);
void steps_finish(struct worker *w, struct gather *g);
// The second key's database (COPY ... DB n).
uint32_t steps_second_db(const struct worker *w, const struct gather *g);
// MESH_FETCH and MESH_PUT.
void steps_serve(struct worker *w, const struct mesh_request *head, const struct slice *argv, struct buf *out);
