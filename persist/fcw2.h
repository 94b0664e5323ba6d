// SPDX-License-Identifier: Apache-2.0
// FCW2: the log of fast-cache 0.1.0, whose data directories skerry imports and in whose frames it exports what changes. Little-endian.
//
//   Frame    0 4 magic `FCW2`   4 1 flags (enum fcw2_flag)   5 4 payload bytes   9 payload   then CRC-32 (base/crc32.h) of all before it
//   Payload  one record; with FCW2_LZ4: bytes of the record (u32), then one LZ4 block of it;
//            with FCW2_EFFECT (ours): one effect, see below
//   Record   0 1 op (enum fcw2_op)   1 4 key bytes   5 4 value bytes   9 8 timestamp, Unix ms   17 8 deadline, Unix ms, negative: none
//            25 key, value, then CRC-32 of all before it
//     Valid: a known op; the lengths add up to exactly the payload; both sums; only SET has a value. EXPIRE without a deadline takes the
//     key's away.
//   Segment  `segment-<number, 20 digits>-<Unix ms>.wal` or `.wal.lz4`: frames, or (it does not begin with the magic) bare records
//   Snapshot `snapshot-<Unix ms>.bin`, or `.bin.lz4`: all of it in one LZ4 block behind its size (u32)
//            0 8 magic `FCSNAP1\0`   8 4 version (1)   12 8 timestamp, Unix ms   20 8 entries
//            then for each: 0 4 key bytes   4 4 value bytes   8 8 deadline, Unix ms, all ones: none   16 key, value
//     Valid: magic, version, as many entries as it says and nothing behind them.
//   Effect   a mutation record of the replication stream (FCRP version 2, op 4):
//            0 4 shard   4 8 sequence   12 8 timestamp   20 1 op (4)   21 8 route hash of the key   29 8 its top byte   37 8 all ones
//            45 4 key bytes   49 4 value bytes   53 key   then the value: arguments (u32), bytes of each (u32) and these
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/crc32.h"
#include "base/slice.h"
#include "persist/source.h"

#define FCW2_HEAD        9u
#define FCW2_RECORD_HEAD 25u
#define FCW2_CRC         4u
#define FCW2_EFFECT_HEAD 53u
#define FCW2_PART_MAX    (512u * 1024 * 1024) // of a key, of a value

enum fcw2_flag { FCW2_LZ4 = 1, FCW2_EFFECT = 2 };
enum fcw2_op { FCW2_SET = 1, FCW2_DELETE = 2, FCW2_EXPIRE = 3 };

struct fcw2_record {
    uint8_t op;
    uint64_t timestamp_ms;
    int64_t deadline_ms; // negative: none
    struct slice key, value;
};

// ---- writing: what is exported

static inline uint64_t fcw2_frame_size(const struct fcw2_record *r)
{
    return FCW2_HEAD + FCW2_RECORD_HEAD + r->key.len + r->value.len + FCW2_CRC + FCW2_CRC;
}
// Writes the frame at `to`, where fcw2_frame_size bytes are; key and value are within FCW2_PART_MAX.
void fcw2_frame_encode(const struct crc32_tables *t, const struct fcw2_record *r, uint8_t *to);

struct fcw2_effect {
    uint32_t shard;
    uint64_t sequence;
    uint64_t timestamp_ms;
    uint64_t hash; // of the key; 0 without one
    struct slice key;
    struct slice argv; // count and arguments as above
};

static inline uint64_t fcw2_effect_size(const struct fcw2_effect *e)
{
    return FCW2_HEAD + FCW2_EFFECT_HEAD + e->key.len + e->argv.len + FCW2_CRC;
}
void fcw2_effect_encode(const struct crc32_tables *t, const struct fcw2_effect *e, uint8_t *to);

// ---- reading: what is imported

struct fcw2_reader {
    struct source *source;
    const struct crc32_tables *tables;
    struct buf plain; // an LZ4 frame's record
    bool begun;
    bool framed;
    bool torn;       // the segment ended inside of a record: what a crash leaves
    const char *why; // of the last -EBADMSG
};

// Of a segment's bytes from the beginning. `s` and `t` outlive it.
void fcw2_reader_init(struct fcw2_reader *r, struct source *s, const struct crc32_tables *t);
void fcw2_reader_deinit(struct fcw2_reader *r);
// The next record, valid until the next call: 0; 1: the end; -EBADMSG (r->why, r->torn; source.offset says where the record began);
// other -errno. Effect frames are passed over.
int fcw2_reader_next(struct fcw2_reader *r, struct fcw2_record *out) warn_unused;

struct fcw2_snapshot {
    uint64_t timestamp_ms;
    uint64_t entries;
    uint64_t taken;
    const char *why;
};

// The head: 0, -EBADMSG or the source's -errno.
int fcw2_snapshot_open(struct fcw2_snapshot *n, struct source *s) warn_unused;
// The next entry (op SET): as fcw2_reader_next.
int fcw2_snapshot_next(struct fcw2_snapshot *n, struct source *s, struct fcw2_record *out) warn_unused;

// One LZ4 block behind its size: the bytes appended to `out`. -EBADMSG, -ENOMEM.
int fcw2_unpack(struct slice packed, uint64_t max, struct buf *out) warn_unused;

// False: no such name. Segments are read in the order of `number`, of snapshots the one of the highest time counts.
bool fcw2_segment_name(const char *name, uint64_t *number);
bool fcw2_snapshot_name(const char *name, uint64_t *time_ms, bool *packed);
