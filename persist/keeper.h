// SPDX-License-Identifier: Apache-2.0
// The keeper of a data directory: what blocks and may take its time, in a thread of its own (in the simulation: an actor that takes turns).
// It loads what is there, makes segments ready and old ones new, writes the manifest, takes in snapshots, forgets what is no longer
// needed, and looks for rot in cold files. Nothing that serves clients ever waits for it, but for the loading.
//
//   keeper_load     at start: recover -> pieces -> a loader for each worker
//   keeper_begin    then: the origin of the log; the log role is made from it
//   keeper_step     from then on: does what is due; returns when it wants to be called again
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
    struct recover_options recover;
    uint32_t shards;
    uint32_t route_mode;
    uint32_t workers;
    uint64_t segment_size;
    uint32_t segments_ready;                                 // kept ready: at least 2
    uint32_t segments_spare;                                 // old ones kept for recycling
    bool log;                                                // appendonly
    void (*say)(void *context, int level, const char *text); // log lines; levels as reactor/log.h
    void *context;
};

int keeper_new(struct keeper **out, struct disk *disk, const struct keeper_options *options) warn_unused;
struct keeper *keeper_free(struct keeper *k);

// ---- loading: pieces to workers

// A piece on its way to the workers; each worker applies what belongs to its shards. Counted: the last one to finish gives it back.
struct load_piece {
    struct load_piece *next[1]; // not used by workers
    struct recover_item item;   // bytes are the piece's own copy
    uint8_t *memory;
    uint64_t size;
    _Atomic uint32_t users;
};
enum keeper_load { KEEPER_LOADING, KEEPER_LOADED, KEEPER_REFUSED };
// One step of loading: reads the next pieces as far as workers keep up (pieces on their way are bounded by bytes).
enum keeper_load keeper_load_step(struct keeper *k);
// Worker `w`: the next piece, or NULL: none now (keeper_loaded says whether any more will come).
struct load_piece *keeper_piece_take(struct keeper *k, uint32_t w);
void keeper_piece_done(struct keeper *k, struct load_piece *p);
// Any thread.
enum keeper_load keeper_load_state(const struct keeper *k);
const struct recover_report *keeper_report(const struct keeper *k);
void keeper_load_progress(const struct keeper *k, uint64_t *bytes, uint64_t *total);
// After KEEPER_LOADED.
const uint64_t *keeper_sequences(const struct keeper *k);
void keeper_origin(const struct keeper *k, struct log_origin *origin);
// Prepares the first segments and measures the sync method if that is asked for (not in the simulation: a method is given there).
int keeper_begin(struct keeper *k) warn_unused;
enum log_method keeper_measure(struct keeper *k, uint32_t *frames_in_flight, char *text, size_t size);
void keeper_attach(struct keeper *k, struct log *log);

// ---- running
// Returns ns until it wants to be called again without any event.
uint64_t keeper_step(struct keeper *k);

// Snapshots. Workers bring chunks (keeper_chunk_give, last one with `last`); any worker may ask for the state.
enum keeper_snapshot { SNAPSHOT_IDLE, SNAPSHOT_RUNS, SNAPSHOT_WRITTEN, SNAPSHOT_FAILED };
// A new set of `files` files begins; its id. One at a time: 0 while another runs.
uint64_t keeper_snapshot_begin(struct keeper *k, uint32_t files, int64_t now_ms);
void keeper_chunk_give(struct keeper *k, uint32_t file, struct snapshot_chunk *c);
// A chunk to be filled, or NULL: too many are on their way (the worker's walk waits; it may always keep old images aside).
struct snapshot_chunk *keeper_chunk_take(struct keeper *k, uint32_t file);
// The file is whole: its watermarks. `lsn`s are found by the keeper from the log: the set counts once the log is durable beyond the
// positions that were sent before this call.
void keeper_file_end(struct keeper *k, uint32_t file, const struct snapshot_watermark *marks, uint32_t count, uint64_t log_lsn);
void keeper_snapshot_cancel(struct keeper *k, const char *why);
struct keeper_snapshot_status {
    enum keeper_snapshot state; // of the last one
    uint64_t id;
    uint64_t entries, bytes;
    int64_t began_ms, last_save_ms; // Unix; last_save_ms: of the newest valid set
    char error[128];
};
void keeper_snapshot_status(struct keeper *k, struct keeper_snapshot_status *out); // any thread

struct keeper_stats {
    _Atomic uint64_t segments_made, segments_recycled, segments_removed;
    _Atomic uint64_t manifest_generation;
    _Atomic uint64_t first_segment;
    _Atomic uint64_t scrubbed_bytes, scrub_errors;
};
const struct keeper_stats *keeper_stats(const struct keeper *k);

// Writes the clean stop into the manifest (after the log has stopped).
int keeper_end(struct keeper *k) warn_unused;
