// SPDX-License-Identifier: Apache-2.0
// A data directory being written from nothing: a snapshot set of one file, then a log, and last the manifest. Until that is there, the
// directory is none; so whatever stops us leaves nothing that could be taken for the whole.
#pragma once

#include "persist/manifest.h"
#include "persist/snapshot.h"
#include "reactor/disk.h"

struct out {
    struct disk *disk;
    struct manifest manifest; // identity, shards, segment size, and what has been written so far
    int64_t now_ms;
    // The snapshot.
    struct snapshot_writer *writer;
    struct snapshot_chunk *chunk;
    uint64_t entries;
    // The log.
    int fd; // of the segment being written, -1: none
    struct segment_header segment;
    uint64_t at; // offset of its next frame
    uint64_t lsn;
    uint32_t crc;        // of the last frame
    uint64_t *sequences; // [shards] last ones given
    uint8_t *frame;      // memory of one
    uint64_t records;
};

// A new identity. -ENOMEM.
int out_init(struct out *o, struct disk *d, uint32_t shards, uint32_t route_mode, uint64_t segment_size) warn_unused;
void out_deinit(struct out *o);

// Entries, in any order; the later one of a key counts.
int out_entry(struct out *o, const struct snapshot_entry *e) warn_unused;
// The snapshot so far is void: it begins again.
void out_restart(struct out *o);
// No more entries; also without any.
int out_snapshot_end(struct out *o) warn_unused;

// A unit of the log, behind the snapshot: its sub-batches get sequences and LSNs of this directory. Records at or below `watermarks`
// ([shards]) are left out. `bytes` is changed.
int out_unit(struct out *o, uint8_t *bytes, uint64_t len, const uint64_t *watermarks) warn_unused;

// Everything durable, then the manifest.
int out_finish(struct out *o) warn_unused;

// Both copies and the directory, durably.
int out_manifest(struct disk *d, const struct manifest *m) warn_unused;
