// SPDX-License-Identifier: Apache-2.0
// What the files of the log role share. The role's own thread alone touches it, but for what is marked.
//
//   log_cut.c       ports -> unit        which batches belong together
//   log_frames.c    unit -> slots        bytes, checksums, write ops; which frames are written
//   log_method.c    by which way a frame goes
//   log_segments.c  ready -> stretches -> full
//   log_flush.c     written -> durable   by fsync, or because the writes were synced themselves
//   log.c           when each of them is done; what ports are told
//
// A frame goes through a *slot*: memory that does not change until all ops of the frame have completed. Slots are a ring in the order of
// LSNs, so "written" is always a prefix. A *mark* is the end of a unit: its LSN, and how far every port's batches are in it. A *stretch* is
// a segment that was begun and not handed back.
#pragma once

#include "persist/log.h"

#define LOG_GATHER_NS      UINT64_C(200000)    // that a frame waits for company while a flush is under way
#define LOG_GATHER_LAZY_NS UINT64_C(5000000)   // likewise, where nobody waits for it (everysec)
#define LOG_SEAL_NS        UINT64_C(5000000)   // of silence, then a seal
#define LOG_SYNC_NS        UINT64_C(500000000) // everysec
#define LOG_STRETCHES      16                  // begun and not handed back
#define LOG_STOP_ATTEMPTS  2                   // of the keeper to make a segment that a stop waits for
#define LOG_TXN_ROWS       1024                // of the table of transactions; a power of two

enum { LOG_OP_FRAME, LOG_OP_HEADER, LOG_OP_HEADER_COPY, LOG_OP_SYNC, LOG_SLOT_OPS, LOG_TAG_FLUSH = 0xffff };

struct log_mark {
    uint64_t lsn;
    uint64_t bytes;      // of batches, since the start
    uint64_t *positions; // [ports]
};

// A port as the role sees it.
struct log_line {
    struct log_batch *first, **last; // taken from the port, in no unit yet
    uint64_t taken;                  // position of the last of them
    uint64_t sync_to;                // somebody waits until this position is durable
    uint64_t soon_to;                // or was promised, as under everysec, that it soon will be
    bool blocked;                    // its first batch waits for parts of a transaction that have not come
    // The cut's: how far the group that is being closed must reach, and has been looked at.
    uint64_t want, reach;
    struct log_batch *reach_at;
};

struct log_unit {
    bool active;
    bool begun; // its first frame is out: the others follow
    bool txn;
    struct log_batch *first, **last;
    uint64_t bytes; // that are not in a frame yet
    uint64_t at;    // of the first batch: bytes that are
    uint32_t crc;   // of these
    uint32_t batches;
    uint64_t oldest_ns;
};

struct log_stretch {
    struct log_segment *segment;
    uint64_t offset;      // where the next frame goes
    uint64_t last_lsn;    // of the last frame in it
    uint64_t written_lsn; // of the last one that is written, and all before it
    bool fresh;           // its headers go out with the next frame
    struct log_mark end;  // of the last unit that ends in it and is written
};

struct log_slot {
    struct op ops[LOG_SLOT_OPS];
    uint8_t *memory, *header;
    uint32_t waiting; // ops under way
    bool ends_unit;
    bool synced; // once it is written it is on the device
    bool fresh;  // its segment's headers went with it
    uint8_t method;
    uint32_t blocks;
    struct log_stretch *stretch;
    uint64_t lsn;
    uint64_t submitted_ns, oldest_ns;
    struct log_mark mark; // with ends_unit
};

// Of one size of frames: what each way takes; 0: it has not been tried.
#define LOG_WAYS  2
#define LOG_SIZES 5
struct log_ways {
    uint64_t ns[LOG_WAYS];
    uint32_t frames;
};

enum log_stop { LOG_STOP_NONE, LOG_STOP_DRAINS, LOG_STOP_LAST_FRAME, LOG_STOP_DONE };

struct log {
    struct reactor *r;
    struct log_options options;
    struct log_port **ports; // [options.ports], as all arrays here
    struct log_line *lines;
    enum log_sync sync; // in force in this step
    enum log_stop stop;
    uint32_t stop_news; // `news` when it began to stop
    int error;          // that poisoned it; 0: none did
    uint32_t ops;       // under way
    uint64_t *memory;   // of all positions

    // The cut.
    struct log_marker *rows[LOG_TXN_ROWS];
    uint64_t pending; // batches in the lines
    uint64_t pending_bytes, pending_since_ns;
    bool urgent; // somebody waits for one of them
    bool stuck;  // none of them can be cut before more has come
    uint32_t next_port;
    struct log_unit unit;
    uint64_t *cut; // positions that are in units
    uint64_t cut_bytes;

    // Frames.
    uint64_t lsn;
    uint32_t last_crc;
    uint64_t witness;     // durable LSN in the last frame
    uint64_t payload_lsn; // of the last frame that was not a seal
    uint32_t blocks_max;  // of a frame: as many as a segment holds
    uint8_t *arena;
    size_t arena_size, slot_size;
    int16_t fixed_buffer;
    struct log_slot slots[LOG_FRAMES_MAX];
    struct log_ways ways[LOG_SIZES];
    uint32_t slot_first, slot_count;
    uint64_t written_lsn;    // all frames up to it are written
    uint64_t unsynced_lsn;   // the last one that was written without being synced itself
    struct log_mark written; // the last unit of these
    uint64_t active_ns;      // something was written last

    // Flushes.
    struct op flush_op;
    bool flushing;
    uint64_t flush_lsn, flush_submitted_ns; // what the one under way covers
    struct log_mark flush;
    uint64_t durable_lsn; // of frames
    struct log_mark durable;
    uint64_t unflushed_since_ns; // when the first frame was written that no flush covers; 0: none
    uint64_t unflushed_oldest_ns, flushing_oldest_ns;

    // Segments.
    struct log_segment *ready;
    uint64_t last_segment;
    struct log_stretch stretches[LOG_STRETCHES];
    uint32_t stretch_first, stretch_count;

    uint64_t *told; // bits
    bool keeper_told;

    struct log_stats stats;

    // Other threads'.
    _Alignas(64) _Atomic(struct log_segment *) given; // newest first
    _Atomic(struct log_segment *) full;
    struct log_segment *taken; // the keeper's: oldest first
    _Atomic int trouble;
    _Atomic uint32_t news, news_seen; // how often the keeper has spoken of trouble, and of these what a step has looked at
    _Atomic uint32_t wanted_sync;
    _Atomic bool wants_stop;
    _Atomic uint32_t state;   // enum log_state
    _Atomic uint32_t stopped; // 0; 1: it is over; 2: and everything is durable
    // Who need not wake the host. 0: nobody; 1: whose batch nobody waits for; 2: all.
    _Alignas(64) _Atomic uint32_t drowsy;
};

static inline uint64_t log_add(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t sum = atomic_load_explicit(counter, memory_order_relaxed) + more;
    atomic_store_explicit(counter, sum, memory_order_relaxed); // one writer
    return sum;
}

static inline void log_mark_copy(const struct log *l, struct log_mark *to, const struct log_mark *from)
{
    to->lsn = from->lsn;
    to->bytes = from->bytes;
    memcpy(to->positions, from->positions, l->options.ports * sizeof *to->positions);
}

// Earlier of two times, 0 = none.
static inline uint64_t log_earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

// For good.
void log_poison(struct log *l, int error);

// ---- log_cut.c
// Takes what has come in the ports.
void log_cut_pull(struct log *l);
// Makes the next unit of it. False: nothing can be cut (now).
bool log_cut_next(struct log *l);
// After the log was poisoned: all batches go back.
void log_cut_drop(struct log *l);
void log_cut_give_back(struct log *l, struct log_batch *b);

// ---- log_frames.c
bool log_frames_free(const struct log *l);
// Bytes of payload that a frame of at most so many blocks holds.
static inline uint64_t log_frames_capacity(const struct log *l, uint32_t blocks)
{
    return (uint64_t)(blocks < l->blocks_max ? blocks : l->blocks_max) * BLOCK_SIZE - FRAME_HEAD;
}
// Writes a frame of the unit. False: there is no segment for it.
bool log_frames_write(struct log *l);
// Writes a seal or a clean stop. False likewise.
bool log_frames_close(struct log *l, enum frame_flag flag);
void log_frames_done(struct log *l, const struct completion *done);
// Moves `written` on over what has completed.
void log_frames_advance(struct log *l);

// ---- log_method.c
enum log_method log_method_choose(struct log *l, uint32_t blocks);
// Of a slot that is `synced`.
void log_method_note(struct log *l, const struct log_slot *slot, uint64_t took_ns);

// ---- log_segments.c
void log_segments_collect(struct log *l);
// Blocks that are free in the segment in use.
uint32_t log_segments_left(const struct log *l);
// A stretch with room for a frame of so many (> 0) blocks, or NULL: none is ready.
struct log_stretch *log_segments_place(struct log *l, uint32_t blocks);
// Hands back what is full and durable.
void log_segments_hand_back(struct log *l);
void log_segments_hand_back_all(struct log *l);
// Bytes that can still be written without a new one.
uint64_t log_segments_room(const struct log *l);

// ---- log_flush.c
// Durable are the frames that need no flush any more.
void log_flush_catch_up(struct log *l);
// When the next flush is due: 0 = now, UINT64_MAX = it is not.
uint64_t log_flush_due_ns(const struct log *l);
void log_flush_submit(struct log *l);
void log_flush_done(struct log *l, const struct completion *done);
// Statistics of a flush that has returned.
void log_flush_count(struct log *l, uint64_t submitted_ns);
