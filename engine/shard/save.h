// SPDX-License-Identifier: Apache-2.0
// Snapshots of the whole store at one moment, without fork: SAVE, BGSAVE, save points, the one at shutdown.
//
//   save_begin       a transaction takes all workers' keys, shared; when it has them all, the keeper begins a set and every worker cuts
//   save_cut         a worker: what it holds now is what its file will hold
//   save_turn        each turn some of it: entries in the order of their hashes, into chunks for the keeper
//   (end)            the keeper has written, read back and named all files in the manifest, or the set has failed
//
// A key that is about to change before the walk comes by goes out first, as it is (its *image*), and is remembered, and so is a key that is
// new; the walk leaves both out. Bounds: what is remembered takes 16 bytes a changed key at least two thirds full; images wait in memory
// while the keeper's disk is slower than changes are; chunks: 3 MiB a worker.
//
// A slice takes half as long as everything else did in the turn before, so that who asks waits half as long again, however busy the worker
// is: SAVE_SLICE_LEAST_NS at least, SAVE_SLICE_MOST_NS at most (or one chunk of images).
//
// FLUSHALL and FLUSHDB take the ground from under a walk that has not finished: the set is given up and begun again. SWAPDB does not:
// entries go by the number that their database had at the cut.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/list.h"
#include "engine/shard/save_seen.h"
#include "persist/snapshot.h"

struct call;
struct conn;
struct store_change;
struct worker;

#define SAVE_SLICE_LEAST_NS 20000u
#define SAVE_SLICE_MOST_NS  200000u
#define SAVE_CANCELLED      "cancelled by BGSAVE CANCEL"

// ---- what all workers share

enum save_phase { SAVE_IDLE, SAVE_BEGINS, SAVE_RUNS };

struct saving {
    _Atomic uint32_t phase;
    _Atomic uint64_t set;           // the last one begun
    _Atomic bool again;             // begin as soon as it can be
    _Atomic bool cancel;            // what begins is not wanted any more
    _Atomic uint64_t changes_cut;   // told by all workers' stores when the last set was cut
    _Atomic uint64_t changes_saved; // and when the last one that counts was
    _Atomic int64_t tried_ms;       // when the last one was begun
    _Atomic int64_t took_ms;        // -1: none has ended
    _Atomic bool points;            // there are save points
    _Atomic uint32_t stop;          // enum save_stop: asked for, and not begun
    _Atomic uint32_t stopping;      // the same: the set under way is for it
};

enum save_stop {
    SAVE_STOP_NOT,
    SAVE_STOP_ASKED,  // the server stops when a snapshot counts
    SAVE_STOP_FORCED, // or has failed
};

// ---- a worker's

struct save_image { // of an entry, whole
    struct save_image *next;
    struct snapshot_entry entry;
    struct blob *blob; // the value's pages, pinned; NULL: behind the key
    bool last;         // and the store is about to let go of them
    uint8_t bytes[];
};

struct save {
    uint64_t set;     // under way here; 0: none
    uint64_t changes; // told by the store since start
    bool more;        // there is something to do at once
    bool due;         // a set begins with this turn's end: the worker is alone
    bool base;        // it is a log's, as the one under way here
    bool walked;      // all keyspaces are
    bool ended;       // and the keeper has it all, but the log is not durable that far
    uint32_t number;  // of the keyspace being walked
    uint64_t next;    // hashes below have been seen
    struct snapshot_chunk *chunk;
    struct save_image *images, **images_tail;
    uint64_t image_done, image_bytes; // of the first one, in chunks; of all
    uint64_t let_go_bytes;            // of these: pages that are the images' alone
    uint64_t shared_bytes;            // and those that the store has as well
    struct save_seen seen;
    struct hash_secret secret;
    uint16_t *dbs; // by place: the database at the cut
    struct snapshot_watermark *marks;
    uint32_t mark_count;
    uint64_t position;   // of the log: what the watermarks hold
    struct list waiters; // SAVE and SHUTDOWN (save_commands.c)
    struct save_run *held;
    uint64_t longest_ns;        // slice
    uint64_t slice_ns, took_ns; // of the last slice: what it might take, and took
    uint64_t busy_ns;           // the worker's, when it began
};

void save_init(struct worker *w);
// The worker's last turn: it takes no part any more.
void save_stop(struct worker *w);

// The store's changes are counted: is there a directory to save to?
bool save_counts(const struct worker *w);
// MESH_CUT: what this worker holds now is the set's.
// `base`: and from here on it logs.
void save_cut(struct worker *w, uint64_t set, bool base);
// Each turn that anything is under way here.
void save_turn(struct worker *w);
// Bytes that the snapshot under way takes here, without pages of large values.
uint64_t save_memory(const struct save *s);
static inline bool save_busy(const struct save *s)
{
    return s->set != 0 || s->due || !list_empty(&s->waiters);
}

// ---- sets (save_set.c)

// False: one is under way, there is nowhere to save to, or no memory.
bool save_begin(struct worker *w);
// The first worker's, of a log that is being switched on.
bool save_begin_base(struct worker *w);
// Of a lone worker, between commands: what save.due says.
void save_begin_alone(struct worker *w);
// Ten times a second: ends what has ended; the first worker begins what is due.
void save_tick(struct worker *w);
// Has what was begun ended? Any worker.
bool save_settle(struct worker *w);
// The server stops: a transaction that kept changes out ends.
void save_let_go(struct worker *w);
uint64_t save_changes(const struct worker *w); // since the last set that counts
// The parts of `save` "seconds changes seconds changes"; false: not such a text.
bool save_points_valid(const char *text);
// Asks for a snapshot after which the server stops: true, it will; false: it need not, by the save points. Any thread.
struct server;
bool save_stop_ask(struct server *s);

// What INFO says.
struct save_view {
    bool runs, scheduled, failed;
    uint64_t changes, saves, entries, bytes, image_bytes, seen_bytes;
    uint64_t longest_us; // slice of a turn, of any worker since start
    int64_t last_save_ms, took_ms, current_ms;
    uint64_t scrubbed_bytes, scrub_errors, segments_recycled, log_bytes;
};
void save_view(struct worker *w, struct save_view *v);

// ---- waiting (save_commands.c)
void save_waiters_turn(struct worker *w);
void save_waiters_forget(struct worker *w);
// SHUTDOWN: true, a snapshot comes first and the reply (if any) with its end; false: none is wanted.
bool save_shutdown(struct call *c, bool save, bool force);
