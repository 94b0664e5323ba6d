// SPDX-License-Identifier: Apache-2.0
// Reads a data directory: manifest, snapshot, log; hands out what is in it in order, and gives the verdict on where the log ends
// (spec: docs/PERSISTENCE.md, conditions R1 to R10). It writes nothing: a crash in the middle repeats it. Blocking calls of a disk only,
// for the keeper's thread, the simulation and the offline tools.
//
//   recover_open     manifest, names, headers: what there is, and whether it belongs together
//   recover_next     pieces in order: entries of the snapshot, then units of the log, until the end
//   recover_report   after the end: how it ended; recover_origin: where a new segment has to begin
//
// A torn tail is cut; rot in what was acknowledged is refused, with file, offset, LSNs and shards; nothing is ever guessed.
// A snapshot whose damage shows after some of its entries went out is given up for the next older one that the log still reaches: a piece
// RECOVER_RESTART goes out first.
#pragma once

#include <stdint.h>

#include "persist/format.h"
#include "persist/log.h"
#include "persist/manifest.h"
#include "reactor/disk.h"

#define RECOVER_TEXT_MAX 512

enum recover_verdict {
    RECOVER_EMPTY,    // a new directory
    RECOVER_CLEAN,    // a clean stop, or a seal, or nothing behind the last frame
    RECOVER_CUT,      // R1, R2: a torn tail, or frames out of order that nobody was told of
    RECOVER_ROT,      // R3, R4, R7: an acknowledged range is damaged or lost: refuse
    RECOVER_FOREIGN,  // R8
    RECOVER_BROKEN,   // R9, R10: frames verify, contents do not: our own fault
    RECOVER_SNAPSHOT, // no snapshot set of the manifest verifies
    RECOVER_IO,       // the disk failed (R5, when it did not decide the end)
};

struct recover_report {
    enum recover_verdict verdict;
    const char *rule;            // "R1" ... "R10", or ""
    char text[RECOVER_TEXT_MAX]; // for people: file, offset, LSNs, shards, what to do
    uint64_t lsn;                // last good frame
    uint64_t lost_from, lost_to; // LSNs of a refused range, 0 = none
    char file[64];               // where it was noticed
    uint64_t offset;
    uint32_t warnings; // R6 and the like; said through `warn`
    uint64_t frames, units, records, entries, bytes;
};

// Tests of the tests: what recovery must not do, one at a time (docs/PLANTED.md). Only tests set it.
enum recover_fault {
    RECOVER_FAULT_NONE,
    RECOVER_FAULT_TORN_IS_ROT,  // 24: takes a torn tail for damage
    RECOVER_FAULT_NO_EPOCH,     // 7: frames of an earlier life of the file pass
    RECOVER_FAULT_BACK_TO_LIFE, // 9: goes on with what an earlier start has cut
    RECOVER_FAULT_NO_WITNESS,   // damage in the middle passes for a torn tail
    RECOVER_FAULT_TORN_FRAME,   // a frame passes whatever its checksum says
    RECOVER_FAULTS
};

struct recover_options {
    uint32_t shards;                               // 0: whatever the directory says; else it must say the same
    uint64_t segment_size;                         // of new segments
    void (*warn)(void *context, const char *text); // or NULL
    void *context;
    bool verify_only; // pieces are checked and not handed out
    bool salvage;     // go on behind damage: what verifies is handed out, the rest listed through warn
    uint32_t fault;   // enum recover_fault
};

// What recover_next hands out; valid until the next call.
enum recover_piece {
    RECOVER_ENTRY_RUN,
    RECOVER_UNIT,
    RECOVER_RESTART, // everything that was handed out so far is void: whoever applied it empties his shards
};
struct recover_item {
    enum recover_piece piece;
    struct slice bytes;         // ENTRY_RUN: a snapshot chunk's entries (snapshot.h: snapshot_entry_next); UNIT: sub-batches
    uint64_t lsn;               // UNIT: of its last frame
    const uint64_t *watermarks; // per shard: sequences that the snapshot in use holds (zeros: none); records at or below are to be left out
};

struct recover;
// 0 or -errno (-ENOMEM, or the disk's); a directory that must be refused is no error here but a verdict of recover_next's end.
int recover_open(struct recover **out, struct disk *disk, const struct recover_options *options) warn_unused;
// 0: *item; 1: the end, ask recover_report; -errno: out of memory.
int recover_next(struct recover *r, struct recover_item *item) warn_unused;
const struct recover_report *recover_report(const struct recover *r);
// After an end that is not refused. `origin`: for the log. `manifest`: as found (generation 0: none was there).
void recover_origin(const struct recover *r, struct log_origin *origin, struct manifest *manifest);
// Per shard [shards]: the last sequence seen.
const uint64_t *recover_sequences(const struct recover *r);
// Share of the work that is done, in permille, and bytes to read in all.
uint32_t recover_progress(const struct recover *r, uint64_t *bytes, uint64_t *total);
struct recover *recover_free(struct recover *r);
