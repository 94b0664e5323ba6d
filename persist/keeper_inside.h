// SPDX-License-Identifier: Apache-2.0
// What the files of the keeper share. Nobody else includes it.
#pragma once

#include "base/assert.h"
#include "persist/keeper.h"
#include "reactor/log.h"

#define KEEPER_RING          1024u          // pieces on their way
#define KEEPER_PIECE         (1024u * 1024) // bytes written or read at a time, at most
#define KEEPER_RETRY_NS      UINT64_C(1000000000)
#define KEEPER_WITNESS_NS    UINT64_C(1000000000)
#define KEEPER_PACE_NS       UINT64_C(5000000) // between pieces of a segment that nobody waits for
#define KEEPER_GIVEN_MAX     64u               // segments at the log
#define KEEPER_SCRUB_STEP_NS UINT64_C(125000000)
#define KEEPER_SCRUB_REST_NS (600 * UINT64_C(1000000000))
#define PART_NAME_MAX        (SNAPSHOT_NAME_MAX + 8)

// ---- loading

struct keeper_loading {
    _Atomic uint32_t state; // enum keeper_load
    bool ended;             // nothing more to read
    struct load_piece *ring[KEEPER_RING];
    _Atomic uint64_t produced, finished; // pieces; they finish in order, because each worker takes them in order
    _Atomic uint64_t bytes;              // on their way
    _Atomic uint64_t progress, total;
    uint64_t *taken;     // by worker
    uint64_t *sequences; // by shard, as recovery saw them
    // A copy of the watermarks for the pieces that were read under them; older ones are kept until the end.
    struct load_marks *marks;
    _Atomic uint32_t refusing; // a worker says why: 1 it writes, 2 it has
    char refusal[RECOVER_TEXT_MAX];
    struct recover_report report;
};

struct load_marks {
    struct load_marks *older;
    uint64_t sequences[];
};

// ---- segments

struct full_segment { // full, and still needed
    uint64_t id, epoch, size;
    uint64_t last_lsn;
};

struct old_segment { // needed no more: its file may become another segment
    uint64_t id, size;
};

struct making {
    int fd; // -1: nothing is being made
    bool recycled;
    uint64_t offset; // zeros up to here
    struct segment_header header;
    char part[PART_NAME_MAX];
};

struct keeper_segments {
    uint64_t next_id;
    struct making making;
    struct log_segment *made; // not given yet
    uint64_t given[KEEPER_GIVEN_MAX];
    uint32_t given_count;
    struct full_segment *full; // by id
    uint32_t full_count, full_cap;
    struct old_segment *old;
    uint32_t old_count, old_cap;
    int trouble;       // that the log was told of
    uint64_t retry_ns; // not before
};

// ---- snapshots

struct keeper_file {
    // The worker.
    _Alignas(64) _Atomic(struct snapshot_chunk *) in; // newest first
    _Atomic uint64_t busy;                            // the set that it has not finished with
    _Atomic bool ended;                               // with marks
    struct snapshot_watermark *marks;
    uint32_t mark_count;
    struct snapshot_chunk *mine; // to be filled
    _Atomic bool hungry;         // it waits for chunks
    // The keeper.
    _Alignas(64) _Atomic(struct snapshot_chunk *) spare;
    struct snapshot_writer *writer;
    bool finished;
};

enum set_phase { SET_NONE, SET_WRITES, SET_VERIFIES };

struct keeper_set {
    _Atomic uint32_t guard; // of status and error
    _Atomic uint32_t state; // enum keeper_snapshot
    _Atomic uint64_t id;    // of the last one
    _Atomic uint64_t cancelled;
    _Atomic(const char *) cancel_why;
    _Atomic uint64_t entries, bytes;
    int64_t began_ms, last_save_ms;
    uint64_t count;
    char error[96];
    uint64_t lsn;
    bool base; // of the log that was switched on
    // The keeper.
    enum set_phase phase;
    struct keeper_file *files; // [workers]
    struct snapshot_reader *reader;
    uint32_t verify_file;
    uint64_t verified, file_bytes;
};

struct scrub {
    uint64_t next_ns;
    uint64_t id; // of the segment that is being, or was last, read in this round; 0: none yet
    int fd;      // -1: none is open
    uint64_t epoch, offset, size, last_lsn;
    struct snapshot_reader *reader;
    uint64_t set; // being read
    uint32_t file;
};

struct keeper {
    struct disk *disk;
    struct keeper_options options;
    struct recover *recover;
    struct log_origin origin;
    struct manifest manifest; // the one that is durable
    bool manifest_new;        // its next copy has to be made anew
    uint64_t manifest_ns;
    _Atomic(struct log *) log; // the keeper's to set
    uint8_t *block;            // KEEPER_PIECE bytes: zeros but while something else is written from or read into it
    struct keeper_loading load;
    struct keeper_segments segments;
    struct keeper_set set;
    struct scrub scrub;
    struct keeper_stats stats;
};

// What sets and the log's coming and going must agree on.
static inline void keeper_hold(struct keeper_set *s)
{
    while (atomic_exchange_explicit(&s->guard, 1, memory_order_acquire) != 0)
        continue;
}

static inline void keeper_let_go(struct keeper_set *s)
{
    atomic_store_explicit(&s->guard, 0, memory_order_release);
}

static inline int keeper_open_flags(const struct keeper *k)
{
    return k->disk->align > BLOCK_SIZE ? DISK_BUFFERED : 0;
}

static inline void keeper_wake(const struct keeper *k)
{
    if (k->options.wake != NULL)
        k->options.wake(k->options.context);
}

void keeper_say(const struct keeper *k, enum log_level level, const char *format, ...) printf_like(3, 4);
void keeper_load_deinit(struct keeper *k);

// keeper_manifest.c: k->manifest, as `next` changes it, becomes durable. On an error the old one counts.
int keeper_manifest_write(struct keeper *k, const struct manifest *next) warn_unused;
// keeper_begin.c
int keeper_files_list(struct keeper *k) warn_unused;

// keeper_segments.c
// One step of what is due; ns until the next.
uint64_t keeper_segments_step(struct keeper *k, uint64_t now_ns);
// The whole of one segment, at once.
int keeper_segments_make(struct keeper *k) warn_unused;
int keeper_segments_full(struct keeper *k, const struct full_segment *s) warn_unused;
int keeper_segments_old(struct keeper *k, uint64_t id, uint64_t size) warn_unused;
// The first segment that is needed when all up to `lsn` is in a snapshot.
uint64_t keeper_segments_first(const struct keeper *k, uint64_t lsn);
// The manifest that says so is durable: what is below may go.
void keeper_segments_forget(struct keeper *k, uint64_t first);
// The log is gone: what was made for it and not given, or half made, needs a place in the lists.
void keeper_segments_put_away(struct keeper *k);
// Removes segments from this id on, of the lists and of the directory.
int keeper_segments_remove(struct keeper *k, uint64_t from) warn_unused;
void keeper_segments_deinit(struct keeper *k);

// keeper_snapshot.c
int keeper_set_init(struct keeper *k) warn_unused;
void keeper_set_deinit(struct keeper *k);
uint64_t keeper_set_step(struct keeper *k);

// keeper_scrub.c
void keeper_scrub_init(struct keeper *k);
void keeper_scrub_deinit(struct keeper *k);
uint64_t keeper_scrub_step(struct keeper *k, uint64_t now_ns);
// The segment is no more.
void keeper_scrub_forget(struct keeper *k, uint64_t id);
