// SPDX-License-Identifier: Apache-2.0
// What a data directory is: two copies of one block, MANIFEST.a and MANIFEST.b; the one with the higher generation counts, and the other is
// written next: generation g lies in manifest_name(g). A write that does not finish leaves the one that counts. Pure bytes; keeper.c
// writes them.
//
//     0  8  magic `SKRYMAN1`    8  4  format (1)     12  4  CRC-32C of the block with this field zero
//    16  8  generation         24 16  store uuid     40 16  history id
//    56  4  shard count        60  4  flags: 1 log in use, 2 stopped cleanly
//    64  8  first segment that is still needed; 0: none has been written
//    72  8  witness: a durable LSN (rewritten at most once a second, and when a snapshot ends)
//    80  8  segment size       88  4  route mode     92  4  snapshot sets (0 to MANIFEST_SETS)
//    96     for each set, newest first: id u64, LSN that it holds u64, files u32, zero u32, bytes u64, made at (Unix ms) i64, entries u64
//   288  8  segments from this id on are of a log whose base is not there yet, and are not looked at; 0: there are none such
//   Valid: magic, format, CRC, a generation, a shard count and segment size as a segment header's, sets (each with an id and files) in
//   falling order of ids, the rest zero.
#pragma once

#include "persist/format.h"

#define MANIFEST_SETS 4
#define MANIFEST_NAMES                                                                                                                     \
    {                                                                                                                                      \
        "MANIFEST.a", "MANIFEST.b"                                                                                                         \
    }

enum manifest_flag { MANIFEST_LOG = 1, MANIFEST_CLEAN = 2 };

struct snapshot_set {
    uint64_t id;  // rises; names its files: snapshot-<id, 20 digits>-<file>.skry
    uint64_t lsn; // the log is needed from the one behind it on (0: no log, or from its beginning)
    uint32_t files;
    uint64_t bytes;
    int64_t made_ms;
    uint64_t entries;
};

struct manifest {
    uint64_t generation;
    struct uuid store, history;
    uint32_t shards;
    uint32_t flags;
    uint64_t first_segment;
    uint64_t witness;
    uint64_t segment_size;
    uint32_t route_mode;
    uint32_t set_count;
    struct snapshot_set sets[MANIFEST_SETS];
    uint64_t hidden_segment; // from here on: not looked at (a log that was switched on and does not count yet); 0: none
};

static inline bool manifest_hides(const struct manifest *m, uint64_t segment)
{
    return m->hidden_segment != 0 && segment >= m->hidden_segment;
}

static inline const char *manifest_name(uint64_t generation)
{
    static const char *const NAMES[2] = MANIFEST_NAMES;
    return NAMES[generation % 2];
}

void manifest_encode(const struct manifest *m, uint8_t block[BLOCK_SIZE]);
int manifest_decode(struct manifest *m, const uint8_t block[BLOCK_SIZE], const char **why) warn_unused;

// Of both copies (NULL: there is none) the one that counts: 0; 1: neither is there; -EBADMSG: what is there is not valid, *why. When one
// of two is not valid, 0 with *why; else *why is NULL.
int manifest_pick(struct manifest *m, const uint8_t *a, const uint8_t *b, const char **why) warn_unused;
