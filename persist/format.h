// SPDX-License-Identifier: Apache-2.0
// The log's bytes: segment headers, frames, sub-batches, records. Pure: bytes in, views out. Everything is little-endian.
//
//   segment   | header block | frame | frame | ...                      | header block |      log-<id, 20 digits>.skry
//   frame     | head 56 | sub-batch | sub-batch ... | zeros to a block |
//   sub-batch | shard u16, count u16, bytes u32, first sequence u64 | record | record ... |
//
// A *unit* is what recovery keeps or drops as a whole: one frame, or a chain of frames (FRAME_FIRST ... FRAME_LAST, LSNs without a gap,
// also across segments) whose payloads are one after the other the unit's bytes; a record may be cut anywhere by the frames of a chain.
// A unit holds whole turns of workers and whole transactions, so neither is ever seen by halves.
//
// Segment header (a block, at offset 0 and at the segment's end):
//     0  8  magic `SKRYLOG1`            8  4  format (1)           12  4  CRC-32C of the block with this field zero
//    16 16  store uuid                 32  8  segment id           40  8  epoch: random, new at every creation and recycling
//    48  8  first LSN; 0: made ahead and not begun                 56 16  history id
//    72  8  previous segment's id      80  8  its last LSN         88  4  CRC of its last frame
//    92  4  block size                 96  8  segment size        104  4  shard count        108  zeros
//   Valid: magic, format, CRC; block size = 4096; segment size a multiple of it, >= 4 blocks; shard count a power of two <= 4096; id > 0.
//
// Frame head:
//     0  4  magic `SKRF`                4  4  CRC-32C over the whole frame, padding included, with this field zero, continued from the
//                                             CRC-32C of (store uuid, segment id, epoch, offset of the frame in its segment: 40 bytes)
//     8  4  payload bytes              12  2  blocks               14  2  flags (enum frame_flag)
//    16  8  LSN                        24  8  durable LSN when it was built: of the last frame of a *unit* (never of a chain's first or
//                                             middle frame: a chain that a crash cuts gives its LSNs back, so they witness nothing)
//    32  4  previous frame's CRC       36  4  sub-batches of its unit (0 in all frames of a chain but the first)
//    40  8  epoch                     48  8  Unix ms when it was closed: for people, and for restoring to a time
//   Valid: magic, CRC, epoch; 1 <= blocks <= FRAME_BLOCKS_MAX; 56 + payload <= blocks * 4096, and no block of it is unused; LSN > 0;
//   durable LSN < LSN; padding zero; no unknown flag, at most one of a chain's, and a seal or clean stop has neither another flag nor
//   payload.
//
// Sub-batch, valid: shard < SHARDS_MAX; count > 0; first sequence > 0, and no sequence overflows; its bytes lie in the unit.
//
// Record:
//     0  4  bytes of the record, this field included; a record ends where the next begins
//     4  1  op (enum record_op)         5  1  flags (enum record_flag)       6  2  database
//     8  4  sequence - the sub-batch's first
//    12  8  deadline, Unix ms (only with RECORD_DEADLINE)
//        4  key length                     key, then the value (op SET) or the effect's arguments (op EFFECT: count u32, then length u32
//                                          and bytes of each)
//   Valid: the lengths add up to no more than the record, the record to no more than the sub-batch; op and flags are known; the sequence
//   is one more than the one before it; a deadline is not negative; key <= RECORD_KEY_MAX, value <= RECORD_VALUE_MAX (arguments: less
//   than 64 KiB more); DELETE and EXPIRE have nothing behind the key; EXPIRE without RECORD_DEADLINE takes the deadline away.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/slice.h"

#define BLOCK_SIZE       4096u
#define FRAME_HEAD       56u
#define FRAME_BLOCKS_MAX 256u          // 1 MiB
#define FRAME_TARGET     (256u * 1024) // from so many bytes a frame is closed
#define SUB_BATCH_HEAD   16u
#define RECORD_HEAD      16u // without deadline
#define RECORD_KEY_MAX   (512u * 1024 * 1024)
#define RECORD_VALUE_MAX (512u * 1024 * 1024)
#define RECORD_ARGS_MAX  (RECORD_VALUE_MAX + 0xffff)
#define UNIT_MAX         (UINT64_C(1) << 40) // bytes of a chain; a reader takes memory only for frames that it has verified
#define SEGMENT_NAME_MAX 32
#define SHARDS_MAX       4096u

struct uuid {
    uint8_t bytes[16];
};

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

enum frame_flag {
    FRAME_SEAL = 1,       // no payload: the stream went idle; witnesses all before it
    FRAME_CLEAN_STOP = 2, // no payload: nothing may follow in this segment or a later one, but what a new start appends
    FRAME_TXN = 4,        // holds a transaction's parts
    FRAME_FIRST = 8,      // of a chain
    FRAME_MIDDLE = 16,
    FRAME_LAST = 32,
};

enum record_op { RECORD_SET = 1, RECORD_DELETE = 2, RECORD_EXPIRE = 3, RECORD_EFFECT = 4 };

enum record_flag {
    RECORD_DEADLINE = 1,
    RECORD_MARK = 2,   // the entry's mark (entry.h)
    RECORD_TYPE = 0x70 // enum entry_type << 4
};

// ---- segments

struct segment_header {
    struct uuid store, history;
    uint64_t id, epoch, first_lsn;
    uint64_t previous_id, previous_lsn;
    uint32_t previous_crc;
    uint32_t shards;
    uint64_t size; // bytes of the segment
};

void segment_encode(const struct segment_header *h, uint8_t block[BLOCK_SIZE]);
// 0, or -EBADMSG: not a valid header (the reader's `why` says which condition), whose contents are then not to be used.
int segment_decode(struct segment_header *h, const uint8_t block[BLOCK_SIZE], const char **why) warn_unused;
void segment_name(uint64_t id, char name[SEGMENT_NAME_MAX]);
// 0: not the name of a segment.
uint64_t segment_id_of(const char *name);

// ---- frames

struct frame_head {
    uint32_t crc;
    uint32_t payload; // bytes
    uint16_t blocks;
    uint16_t flags;
    uint64_t lsn, durable;
    uint32_t previous_crc;
    uint32_t batches;
    uint64_t epoch;
    int64_t made_ms;
};

// What a frame's CRC starts from.
struct frame_place {
    const struct uuid *store;
    uint64_t segment;
    uint64_t epoch;
    uint64_t offset; // bytes, in the segment
};

static inline uint32_t frame_blocks(uint64_t payload)
{
    return (uint32_t)((FRAME_HEAD + payload + BLOCK_SIZE - 1) / BLOCK_SIZE);
}

// Writes the head in front of `payload` bytes that are in place at frame + FRAME_HEAD, zeroes the padding, and fills in blocks and crc.
// `parts_crc`: CRC-32C of the payload alone, as its owners computed it (crc32c_join), so that bytes that changed on their way make a
// frame that does not verify. h->blocks and h->crc are set.
void frame_encode(struct frame_head *h, const struct frame_place *place, uint8_t *frame, uint32_t parts_crc);
// Reads a head alone: 0, or -EBADMSG (magic, bounds). The bytes of the frame are then blocks * BLOCK_SIZE.
int frame_peek(struct frame_head *h, const uint8_t head[FRAME_HEAD], uint64_t epoch) warn_unused;
// The whole frame, h from frame_peek: 0 or -EBADMSG.
int frame_verify(const struct frame_head *h, const struct frame_place *place, const uint8_t *frame) warn_unused;

// ---- sub-batches and records

struct sub_batch {
    uint16_t shard;
    uint16_t count;
    uint32_t bytes; // of the records
    uint64_t first; // sequence
    const uint8_t *records;
};

// Takes the next sub-batch from `*at` (of `*left` bytes) and moves on. 0; 1: the end; -EBADMSG.
int sub_batch_next(struct sub_batch *b, const uint8_t **at, uint64_t *left) warn_unused;

struct record {
    uint8_t op;
    uint8_t flags;
    uint16_t db;
    uint64_t sequence;
    int64_t deadline_ms; // -1: none
    struct slice key;
    struct slice value; // or the effect's arguments
};

// The next record of a sub-batch: 0; 1: the end (all of `count` were there, and nothing is left); -EBADMSG. `at` and `taken` begin at
// b->records and 0.
int record_next(struct record *r, const struct sub_batch *b, const uint8_t **at, uint32_t *taken) warn_unused;
// Bytes it will take.
uint64_t record_size(const struct record *r);
// Writes it at `to`, where record_size bytes are; `first`: the sub-batch's first sequence.
void record_encode(const struct record *r, uint64_t first, uint8_t *to);
// Makes the record at `at`, which record_encode has written, say this: only where it is one of the same op, key, database and size. Its
// sequence stays. False: it is another one.
bool record_rewrite(const struct record *r, uint8_t *at) warn_unused;
void sub_batch_encode(const struct sub_batch *b, uint8_t to[SUB_BATCH_HEAD]);

// Arguments of an effect: at most `max`; how many there are, or -EBADMSG.
int effect_args(struct slice value, struct slice *argv, uint32_t max) warn_unused;
