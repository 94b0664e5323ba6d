// SPDX-License-Identifier: Apache-2.0
// The keeper of a data directory: what blocks and may take its time, in a thread of its own (in the simulation: an actor that takes turns).
// It loads what is there, makes segments ready and old ones new, writes the manifest, takes in snapshots, forgets what is no longer
// needed, and looks for rot in cold files. Nothing that serves clients ever waits for it, but for the loading.
//
//   keeper_load_step   at start: recover -> pieces -> every worker
//   keeper_begin       then: the origin of the log; the log role is made from it, and keeper_attach brings them together
//   keeper_step        from then on: does what is due; returns for how long it may sleep
//   keeper_end         after the log has stopped and given back its segments
//
// Order of what becomes durable, each before the next begins (a crash anywhere leaves what recovery accepts):
//   segment    filled aside, both headers, fsync, its name, directory, given to the log
//   snapshot   files aside, fsync, their names, directory, read back, manifest, only then what it replaces goes
//   old        manifest that no longer needs them, directory, then they are made new or removed
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "persist/log.h"
#include "persist/manifest.h"
#include "persist/recover.h"
#include "persist/snapshot.h"
#include "reactor/disk.h"

struct keeper;

struct keeper_options {
    struct recover_options recover; // segment_size: of new segments
    uint32_t shards;                // of a new directory
    uint32_t route_mode;
    uint32_t workers;
    uint32_t segments_ready; // kept ready: at least 2
    uint32_t segments_spare; // old ones kept for recycling
    bool log;                // appendonly
    // Both from any thread, with `context`; or NULL. The keeper has something to do; the workers have (pieces, or the end of them).
    void (*wake)(void *context);
    void (*wake_workers)(void *context);
    void (*say)(void *context, int level, const char *text); // log lines; levels as reactor/log.h
    void *context;
};

int keeper_new(struct keeper **out, struct disk *disk, const struct keeper_options *options) warn_unused;
struct keeper *keeper_free(struct keeper *k);

// ---- loading: pieces to workers

// A piece on its way to the workers; each worker applies what belongs to its shards, then says so (keeper_piece_done).
struct load_piece {
    struct recover_item item; // bytes are the piece's own copy
    uint8_t *memory;
    uint64_t size;
    _Atomic uint32_t users;
};
// LOADED once all pieces are done; REFUSED: keeper_report says why.
enum keeper_load { KEEPER_LOADING, KEEPER_LOADED, KEEPER_REFUSED };
// One step of loading: reads the next piece if workers keep up (KEEPER_LOAD_BYTES at most are on their way). *waits: nothing was to be
// done, options.wake will be called.
#define KEEPER_LOAD_BYTES (64u << 20)
enum keeper_load keeper_load_step(struct keeper *k, bool *waits);
// Worker `w`: the next piece, or NULL: none now (keeper_load_state says whether any more will come).
struct load_piece *keeper_piece_take(struct keeper *k, uint32_t w);
void keeper_piece_done(struct keeper *k, struct load_piece *p);
// A piece cannot be applied: the load ends, refused, with this text.
void keeper_piece_refused(struct keeper *k, const char *why);
// Any thread.
enum keeper_load keeper_load_state(const struct keeper *k);
void keeper_load_progress(const struct keeper *k, uint64_t *bytes, uint64_t *total);
// Not while LOADING.
const struct recover_report *keeper_report(const struct keeper *k);
// After LOADED: per shard, the last sequence; NULL: all 0.
const uint64_t *keeper_sequences(const struct keeper *k);

// ---- beginning

// After LOADED: the first manifest of this start and, with a log, its first segment, if there is room for it. *origin: for log_new.
int keeper_begin(struct keeper *k, struct log_origin *origin) warn_unused;
// Where keeper_begin began none: a log is switched on while the server runs. Its first segment is made; no start looks at its segments
// before the set of keeper_base_begin counts, whose cut is where all workers begin to log. *origin: for log_new. Failed: all is as before.
int keeper_log_begin(struct keeper *k, struct log_origin *origin) warn_unused;
// And off, or it never came to count: the log (if one was attached) has stopped and is idle, and is not used any more. What it wrote stays
// what the directory holds, or is removed when it did not count.
void keeper_log_end(struct keeper *k);
// From here on `log` gets segments and gives them back.
void keeper_attach(struct keeper *k, struct log *log);
// Bare timings of a segment that is not begun, before keeper_attach, by the reactor that the log will use: which method is fastest here.
// At most KEEPER_MEASURE_NS. `text`: the figures, for the log and INFO.
#define KEEPER_MEASURE_NS (50 * UINT64_C(1000000))
enum log_method keeper_measure(struct keeper *k, struct reactor *r, uint8_t owner, uint32_t *frames_in_flight, char *text, size_t size);

// ---- running

// Returns ns until it wants to be called again without having been woken.
uint64_t keeper_step(struct keeper *k);

// ---- snapshots: any worker begins one, every worker brings one file

enum keeper_snapshot {
    SNAPSHOT_IDLE,    // none since start
    SNAPSHOT_RUNS,    //
    SNAPSHOT_WRITTEN, // the last one counts
    SNAPSHOT_FAILED,  // the last one does not
};
// A new set of a file for each worker; its id, or 0: another is under way. Before any worker's cut: what the log has written by now is in
// all of the cuts.
uint64_t keeper_snapshot_begin(struct keeper *k, int64_t now_ms);
// The same for the first set under a log of keeper_log_begin: when it counts, so does the log.
uint64_t keeper_base_begin(struct keeper *k, int64_t now_ms);
bool keeper_snapshot_runs(const struct keeper *k, uint64_t set); // has not ended
// Of a file, on their way or being filled.
#define KEEPER_CHUNKS 3u
// Worker `file` (its number): a chunk to be filled for this set, or NULL: too many are on their way (options.wake_workers will be called),
// or the set is no more.
struct snapshot_chunk *keeper_chunk_take(struct keeper *k, uint64_t set, uint32_t file);
// Full; or not used after all. Also of a set that is no more.
void keeper_chunk_give(struct keeper *k, uint64_t set, uint32_t file, struct snapshot_chunk *c);
// The file is whole: its watermarks (copied). With a log: once it is durable beyond what the watermarks hold.
void keeper_file_end(struct keeper *k, uint64_t set, uint32_t file, const struct snapshot_watermark *marks, uint32_t count);
// Or the worker takes no part any more. No set begins as long as a worker has said neither.
void keeper_file_drop(struct keeper *k, uint64_t set, uint32_t file);
// Gives up the set; `why` is static text.
void keeper_snapshot_cancel(struct keeper *k, uint64_t set, const char *why);
struct keeper_snapshot_status {
    enum keeper_snapshot state;
    uint64_t id;             // of the last one, 0: none
    uint64_t entries, bytes; // brought so far
    int64_t began_ms;
    uint64_t count;       // of sets written since start
    int64_t last_save_ms; // Unix; of the newest set that counts, 0: none
    char error[96];       // of the last one, FAILED
};
void keeper_snapshot_status(struct keeper *k, struct keeper_snapshot_status *out); // any thread

struct keeper_stats {
    _Atomic uint64_t segments_made, segments_recycled, segments_removed;
    _Atomic uint64_t manifest_generation;
    _Atomic uint64_t first_segment;
    _Atomic uint64_t scrubbed_bytes, scrub_errors;
    _Atomic uint64_t log_bytes; // of segments that are needed
};
const struct keeper_stats *keeper_stats(const struct keeper *k);

// Writes the clean stop into the manifest; `clean`: the log wrote its own, and is idle.
int keeper_end(struct keeper *k, bool clean) warn_unused;
