// SPDX-License-Identifier: Apache-2.0
// Snapshot files: a set is one file a worker, written while the worker goes on serving, and named by the manifest once all are durable and
// were read back. Pure bytes and a writer's and reader's state; whoever holds a disk moves the bytes.
//
//   | header block | chunk | chunk | ... | trailer block |
//
// Header:  0  8  magic `SKRYSNP1`   8  4  format (1)    12  4  CRC-32C of the block with this field zero
//         16 16  store uuid        32 16  history      48  8  set id     56  4  file number    60  4  files of the set
//         64  4  shard count       68  4  zero         72  8  made at, Unix ms
// Chunk (starts on a block, at most SNAPSHOT_CHUNK_MAX, zero-padded):
//          0  4  magic `SKCH`       4  4  CRC-32C over head, payload and padding with this field zero, continued from the CRC-32C of
//                                         (store uuid, set id, file number, offset)
//          8  4  payload bytes     12  4  entries       16  8  chunk number, from 0      24  payload
//          An entry that does not fit goes on in the next chunks, which hold nothing else (entries 0 in these). `entries` counts those that
//          begin in the chunk.
// Trailer: 0  8  magic `SKRYSNPE`   8  4  CRC-32C over all its blocks with this field zero, continued as a chunk's    12  4  zero
//         16  8  entries   24  8  chunks   32  8  payload bytes
//         40  8  digest: 0, then with each chunk XXH3 of (digest so far u64, chunk number u32, its CRC u32)
//         48  4  watermarks that follow
//         52     (shard u32, sequence u64) each, of the shards in this file; more blocks where one does not hold them
// Entry:   0  4  bytes of the entry, this field included   4  1  flags (enum record_flag)   5  1  zero   6  2  database
//          8  8  deadline, Unix ms, not negative (only with RECORD_DEADLINE)   4  key length    key    value
// Valid: header and trailer of this store, set and file; shard count as a segment's; file < files; the file ends with the trailer; chunks
//   without a gap between header and trailer, numbered from 0; 1 <= payload, and no block of a chunk unused; totals and digest agree;
//   watermarks of different shards, rising; entries' lengths add up to the payloads; padding zero. Everything but the entries' meaning is
//   checked before a byte of a chunk is handed out.
#pragma once

#include <stdint.h>

#include "persist/format.h"
#include "reactor/disk.h"

#define SNAPSHOT_CHUNK      (256u * 1024) // payload from which a chunk is closed
#define SNAPSHOT_CHUNK_MAX  (1024u * 1024)
#define SNAPSHOT_CHUNK_HEAD 24u
#define SNAPSHOT_ENTRY_MAX  ((uint64_t)20 + RECORD_KEY_MAX + RECORD_VALUE_MAX)
#define SNAPSHOT_NAME_MAX   48

struct snapshot_entry {
    uint8_t flags;
    uint16_t db;
    int64_t deadline_ms; // -1: none
    struct slice key, value;
};

void snapshot_name(uint64_t set, uint32_t file, char name[SNAPSHOT_NAME_MAX]);
// False: not such a name.
bool snapshot_name_parse(const char *name, uint64_t *set, uint32_t *file);

// ---- writing: entries into chunks (a worker), chunks into a file (the keeper)

struct snapshot_identity {
    struct uuid store, history;
    uint64_t set;
    uint32_t file, files, shards;
    int64_t made_ms;
};

// A chunk being filled, or on its way. The memory is direct I/O's (disk_memory), SNAPSHOT_CHUNK_MAX bytes.
struct snapshot_chunk {
    struct snapshot_chunk *next;
    uint64_t set; // it was filled for (keeper.h)
    uint8_t *memory;
    uint32_t payload;
    uint32_t entries;
};
struct snapshot_chunk *snapshot_chunk_new(void);
struct snapshot_chunk *snapshot_chunk_free(struct snapshot_chunk *c);
// Has to be sent before anything else is added.
static inline bool snapshot_chunk_full(const struct snapshot_chunk *c)
{
    return c->payload >= SNAPSHOT_CHUNK || (c->payload > 0 && c->entries == 0);
}
static inline void snapshot_chunk_reset(struct snapshot_chunk *c)
{
    c->payload = c->entries = 0;
}
// Appends as much of the entry as fits, from byte `done` of its encoding on; returns the new `done` (== snapshot_entry_size: all of it).
uint64_t snapshot_chunk_add(struct snapshot_chunk *c, const struct snapshot_entry *e, uint64_t done);
uint64_t snapshot_entry_size(const struct snapshot_entry *e);

struct snapshot_writer; // of one file
// Creates the file under a name that no reader takes for a snapshot (".part") and writes the header. -errno.
int snapshot_writer_open(struct snapshot_writer **out, struct disk *disk, const struct snapshot_identity *id) warn_unused;
// Writes the chunk (its head is filled in); the chunk stays the caller's.
int snapshot_writer_add(struct snapshot_writer *w, struct snapshot_chunk *c) warn_unused;
// Trailer, fsync, rename; `watermarks`: [count] pairs. The directory's fsync is the caller's, once for all files.
struct snapshot_watermark {
    uint32_t shard;
    uint64_t sequence;
};
int snapshot_writer_finish(struct snapshot_writer *w, const struct snapshot_watermark *watermarks, uint32_t count) warn_unused;
uint64_t snapshot_writer_bytes(const struct snapshot_writer *w); // of the file, so far
uint64_t snapshot_writer_entries(const struct snapshot_writer *w);
// Also gives up an unfinished file: it is unlinked.
struct snapshot_writer *snapshot_writer_free(struct snapshot_writer *w);

// ---- reading

struct snapshot_reader; // of one file
// 0; -EBADMSG: not valid, *why says which condition; other -errno of the disk. Reads the trailer first: an unfinished file is not valid.
int snapshot_reader_open(struct snapshot_reader **out, struct disk *disk, uint64_t set, uint32_t file, const struct uuid *store,
                         const char **why) warn_unused;
struct snapshot_totals {
    uint64_t entries, chunks, bytes;
    const struct snapshot_watermark *watermarks;
    uint32_t watermark_count;
    struct snapshot_identity id;
};
void snapshot_reader_totals(const struct snapshot_reader *r, struct snapshot_totals *out);
// The next run of whole entries (views into the reader, until the next call): 0; 1: the end, everything verified against the trailer;
// -EBADMSG with *why; -errno.
int snapshot_reader_next(struct snapshot_reader *r, struct slice *entries, const char **why) warn_unused;
struct snapshot_reader *snapshot_reader_free(struct snapshot_reader *r);

// Takes the next entry from a run: 0; 1: the end; -EBADMSG.
int snapshot_entry_next(struct snapshot_entry *e, const uint8_t **at, uint64_t *left) warn_unused;
