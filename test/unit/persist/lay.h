// SPDX-License-Identifier: Apache-2.0
// Lays a data directory on the model disk, block by block, as the log and the keeper would have: for tests of who reads it.
//
//   struct lay l;
//   lay_init(&l, 4);                  a manifest, 4 shards
//   lay_segment(&l);                  begins the next segment behind the last one
//   lay_set(&l, 1, "key", "value");   a record for the frame to come
//   lay_frame(&l);                    the frame; l.durable is its witness
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "persist/manifest.h"
#include "persist/snapshot.h"
#include "test/sim/disk.h"

#define LAY_SEGMENT (64u * 1024)
#define LAY_SHARDS  64

struct lay {
    struct sim_disk *disk;
    struct manifest manifest;
    uint64_t segment; // id
    uint64_t segment_size;
    uint64_t epoch;
    uint64_t offset;
    uint64_t lsn;     // of the last frame
    uint32_t crc;     // its
    uint64_t durable; // that the next frame will claim
    uint64_t next[LAY_SHARDS];
    struct buf payload;
    uint32_t batches;
    uint64_t last_offset, last_blocks; // of the last frame
};

void lay_init(struct lay *l, uint32_t shards);
void lay_deinit(struct lay *l);
// Writes the next generation of the manifest.
void lay_manifest(struct lay *l);
// The next id, behind the last one.
void lay_segment(struct lay *l);
// With a header of one's own: made by lay_header and changed.
struct segment_header lay_header(const struct lay *l, uint64_t id);
void lay_segment_as(struct lay *l, const struct segment_header *h);
// A segment that was made ahead, under this id.
void lay_ahead(struct lay *l, uint64_t id);
void lay_set(struct lay *l, uint32_t shard, const char *key, const char *value);
// Whatever bytes: part of the payload.
void lay_bytes(struct lay *l, const void *bytes, size_t len);
void lay_frame(struct lay *l);
void lay_frame_as(struct lay *l, uint16_t flags);
// One record of shard 0 in a frame of its own.
void lay_key(struct lay *l, const char *key);
// So many frames of 1 block: keys "1", "2", ... by LSN; `durable` follows `behind` frames behind.
void lay_keys(struct lay *l, uint32_t count, uint64_t behind);
// A snapshot set of `files` files with these keys ("a b c") spread over them; in the manifest, which is not written.
void lay_snapshot(struct lay *l, uint64_t id, uint32_t files, uint64_t lsn, const char *keys);
