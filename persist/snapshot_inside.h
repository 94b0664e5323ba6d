// SPDX-License-Identifier: Apache-2.0
// Offsets and checks that the writer and the reader of snapshot files share. Nobody else includes it.
#pragma once

#include <stdint.h>

#include "base/crc32c.h"
#include "persist/snapshot.h"

#define SNAPSHOT_FORMAT         1u
#define SNAPSHOT_HEADER_CRC     12u // where the field is
#define SNAPSHOT_CHUNK_CRC      4u
#define SNAPSHOT_TRAILER_CRC    8u
#define SNAPSHOT_TRAILER_HEAD   52u
#define SNAPSHOT_WATERMARK      12u
#define SNAPSHOT_ENTRY_HEAD_MAX 20u
#define SNAPSHOT_TYPE_MAX       5u // ENTRY_STREAM
#define SNAPSHOT_TRAILER_MAX    ((SNAPSHOT_TRAILER_HEAD + SNAPSHOT_WATERMARK * SHARDS_MAX + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE)

#define SNAPSHOT_HEADER_MAGIC  "SKRYSNP1"
#define SNAPSHOT_CHUNK_MAGIC   "SKCH"
#define SNAPSHOT_TRAILER_MAGIC "SKRYSNPE"

// What the checksums of chunks and trailer begin with: they are good at their place in their file only.
uint32_t snapshot_seed(const struct snapshot_identity *id, uint64_t offset);
// CRC-32C with the four bytes at `field` as zeros, continued from `crc`.
uint32_t snapshot_crc(uint32_t crc, const uint8_t *bytes, uint64_t len, uint32_t field);

uint64_t snapshot_digest(uint64_t so_far, uint64_t chunk, uint32_t crc);

static inline uint64_t snapshot_trailer_size(uint32_t watermarks)
{
    return (SNAPSHOT_TRAILER_HEAD + (uint64_t)SNAPSHOT_WATERMARK * watermarks + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

static inline uint64_t snapshot_chunk_size(uint32_t payload)
{
    return ((uint64_t)SNAPSHOT_CHUNK_HEAD + payload + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

// A device whose blocks are larger than ours is read and written through the page cache.
static inline int snapshot_open_flags(const struct disk *d)
{
    return d->align > BLOCK_SIZE ? DISK_BUFFERED : 0;
}
