// SPDX-License-Identifier: Apache-2.0
// Mutations: what changed on a worker, made into records of the log, and records made into what they say.
//
//   the store tells a change ---> dirty keys ---> settled: one record each, of what the key is then ---> batch ---> port of the log
//
// A key is settled at the end of the turn in which it changed, so that ten changes are one record (a small value behind its command, and a
// record of it that is in the batch already is written over if it has the same size); before a transaction's share is granted
// it; and, while such a share holds it alone, only when the share is released: together with the share's other keys and a marker, so that
// the log keeps or drops the transaction whole. A batch is one turn's; it goes at the turn's end, before any reply does. As long as a share
// holds all keys of the worker, its batch stays open.
//
// Invariants: sequences of a shard have no gap; a record is of a key's final state (or of a range of it, or of the deadline), so records
// are idempotent and need no clock; a dirty key is in no share but the one that holds it. Failure: no memory for a change that has
// happened: `failed`, and the gate treats the log as lost (gate.h).
//
//   effects.c          changes, and when they are settled
//   effects_dirty.c    the keys that are dirty
//   effects_records.c  the batch
//   effects_lanes.c    and its records of shards that take turns
//   effects_apply.c    records made into what they say
//   effects_begin.c    beginning and end, and the log that comes and goes
#pragma once

#include <stdint.h>

#include "base/assert.h"
#include "base/chains.h"
#include "base/free_list.h"
#include "base/list.h"
#include "engine/shard/effects_lanes.h"
#include "engine/store/store.h"
#include "persist/format.h"
#include "persist/log_port.h"

struct conn;
struct ticket;
struct worker;

struct entry;

#define EFFECTS_RECENT 64

// A SET in the batch being built.
struct recent {
    uint64_t hash;
    uint64_t batch;  // effects.begun of the batch that it is in
    size_t at;       // there
    uint8_t *record; // or where it stands in a lane, whose generation `batch` is then; else NULL
};

// The key that the running command has changed, if it is its only change so far: an entry that stays where it is until the next one.
struct fresh {
    const struct entry *entry; // NULL: none
    struct keyspace *keyspace;
    uint64_t hash;
    bool wanted; // a command runs, and effects_command_ends comes behind it
};

struct effects {
    bool on;          // changes are gathered: for the log, for the live export (export.h), or for both
    bool logs;        // they are sent to the log
    bool failed;      // a change is missing
    bool open;        // a share that holds everything is at work: the batch waits for it
    uint64_t changes; // told so far
    // Dirty keys.
    struct chains dirty;
    struct free_list free; // nodes
    uint64_t key_bytes;    // of keys that their nodes do not hold
    struct list *shards;   // [own shards]: their dirty keys
    struct fresh fresh;
    // The batch being built.
    struct log_port *port;   // NULL: no log; without `logs`: one that is being switched off (logging_switch.h)
    struct log_batch *batch; // NULL: nothing in it yet
    struct log_batch *spare; // came back
    uint64_t batch_bytes;    // memory of all batches, wherever they are; of the one being built: what it had when it was begun
    uint64_t begun_bytes;    // that
    uint64_t let_go;         // memory of batches, since the allocator was last asked to give it back
    uint64_t let_go_before;  // that, at the last tick
    uint32_t quiet_ticks;    // in which it stayed the same
    uint64_t position;       // of the last batch that was sent
    uint64_t sent_bytes;     // so far, as log_port.taken_bytes
    struct sub_batch sub;    // being written
    size_t sub_at;           // its head in the batch; count 0: none is open
    struct effects_lanes lanes;
    uint64_t *sequences; // [own shards]: last given
    struct buf scratch;  // arguments of an effect
    uint64_t begun;      // batches
    size_t recent_from;  // in the batch: records before it are not rewritten
    struct recent recent[EFFECTS_RECENT];
    // Counters.
    uint64_t records, bytes, batches, coalesced;
};

int effects_init(struct worker *w) warn_unused;
void effects_deinit(struct worker *w);

// From now on everything is gathered; `port`, where there is a log, outlives it. Sequences go on behind what was applied. False: no more.
void effects_start(struct worker *w, struct log_port *port);
void effects_stop(struct worker *w);
// The log comes, at a moment when no share is at work here, and goes: from effects_detach on nothing is sent; effects_close: it has ended.
void effects_attach(struct worker *w, struct log_port *port);
void effects_detach(struct worker *w);
void effects_close(struct worker *w);

// The store says so.
void effects_changed(struct worker *w, const struct store_change *change);
// Around a command: if it has changed one key alone, and given it a small value in its place, that is settled while it is in the
// caches; all others when the turn ends.
static inline void effects_command_begins(struct effects *e)
{
    e->fresh.wanted = true;
}
void effects_command_ends(struct worker *w);
// Can a SET of this key become a record at once, without having been told as a change?
bool effects_takes(const struct effects *e, uint64_t hash);
// And it does: a string without deadline and mark, a small one, in the place of another.
void effects_overwritten(struct worker *w, uint32_t shard, uint32_t db, uint64_t hash, struct slice key, struct slice value);
// A snapshot is cut here: what the sequence numbers so far stand for is in it, so those records stay what they are.
void effects_cut(struct worker *w);
// Before the databases change places.
void effects_swapped(struct worker *w, uint32_t a, uint32_t b);

// The keys of the share that is about to be granted, as far as they changed earlier.
void effects_settle_share(struct worker *w, const struct ticket *t);
// The share gives its keys back: they are settled, with a marker when it is one of several parts (parts > 1).
void effects_settle_released(struct worker *w, const struct ticket *t, uint64_t txn, uint32_t parts);
// The coordinator's own part of a transaction that it holds no key of.
void effects_mark(struct worker *w, uint64_t txn, uint32_t parts);
// Everything that no share holds.
void effects_settle_all(struct worker *w);
// The end of a turn: settles, and sends the batch.
void effects_flush(struct worker *w);
// Bytes that changes take: batches on their way or kept for later ones, dirty keys.
uint64_t effects_memory(const struct effects *e);

static inline bool effects_logged(const struct effects *e)
{
    return e->on && e->logs;
}

// The position that a change of this turn will have.
static inline uint64_t effects_building(const struct effects *e)
{
    return e->position + 1;
}

// Something changed and has not been sent.
static inline bool effects_pending(const struct effects *e)
{
    return e->dirty.count > 0 || e->batch != NULL || e->fresh.entry != NULL;
}

// Has the key changed without being settled? And is it held by a share at work (then only the share's transaction sees it)?
bool effects_is_dirty(const struct effects *e, uint64_t hash);
bool effects_is_held(const struct worker *w, uint64_t hash);

// The last sequence of an own shard.
uint64_t effects_sequence(const struct worker *w, uint32_t shard);

// ---- applying

#define EFFECTS_WHY_MAX 160

// A record of `shard` on a store; nothing expires meanwhile. 0; -ENOMEM; -EBADMSG: *why says what is wrong with it.
int effects_apply(struct store *s, uint32_t shard, const struct record *r, int64_t now_ms, char why[EFFECTS_WHY_MAX]) warn_unused;
// The sub-batches of a unit, as far as their shards are this worker's and their sequences above `watermarks` ([shards], or NULL). They must
// go on where the last ones ended.
struct effects_cursor {
    const uint8_t *at;
    uint64_t left;
    struct sub_batch batch; // at work on, if `inside`
    const uint8_t *record;
    uint32_t taken;
    bool inside;
};
struct effects_cursor effects_cursor(struct slice unit);
// At most `*budget` records: 0: all is done; 1: there is more; or as effects_apply.
int effects_apply_some(struct worker *w, struct effects_cursor *c, const uint64_t *watermarks, uint32_t *budget,
                       char why[EFFECTS_WHY_MAX]) warn_unused;
int effects_apply_unit(struct worker *w, struct slice unit, const uint64_t *watermarks, char why[EFFECTS_WHY_MAX]) warn_unused;
