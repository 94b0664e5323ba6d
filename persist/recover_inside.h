// SPDX-License-Identifier: Apache-2.0
// Between the files of recovery.
//
//   recover.c           the order of things: snapshot, then log; what the caller sees
//   recover_files.c     names, manifest, headers: which segments there are, and which follow which (the *line*)
//   recover_window.c    a file's bytes in big reads, with the blocks that cannot be read
//   recover_snapshot.c  the newest set that holds, its watermarks and entries
//   recover_scan.c      the line's frames in order, gathered into units, whose records are checked
//   recover_end.c       the first frame that does not verify: what lies behind it, and the verdict
#pragma once

#include "persist/recover.h"
#include "persist/snapshot.h"

// Devices whose blocks are larger than ours get buffered files (keeper.h, too).
static inline int recover_open_flags(const struct disk *d)
{
    return DISK_READ | (d->align > BLOCK_SIZE ? DISK_BUFFERED : 0);
}

// ---- window

#define WINDOW_BYTES (4u * 1024 * 1024) // of a read, which is more than the largest frame; a smaller file is read at once

struct window {
    struct disk *disk;
    uint8_t *memory;
    size_t cap;
    uint64_t *unreadable; // a bit for each block in memory
    int fd;               // -1: none
    uint64_t size;        // of the file, as far as it may be read
    uint64_t start;       // of what is in memory
    size_t len;
    uint64_t bytes_read;
    uint64_t blocks_failed; // blocks that could not be read, so far
};

int window_init(struct window *w, struct disk *disk, size_t cap) warn_unused;
void window_deinit(struct window *w);
// Takes the descriptor over.
void window_open(struct window *w, int fd, uint64_t size);
void window_close(struct window *w);
// `len` bytes at `offset`, both multiples of a block, len <= FRAME_BLOCKS_MAX blocks; valid until the next call. NULL: the file ends
// before. *unreadable: of one of these blocks nothing is known (it reads as zeros).
const uint8_t *window_view(struct window *w, uint64_t offset, size_t len, bool *unreadable);

// ---- segments

enum segment_state {
    SEGMENT_BEGUN,
    SEGMENT_AHEAD, // its header says that it was made ahead: nothing is in it
    SEGMENT_OTHER, // its header is valid, and another segment's: it was being made new
    SEGMENT_BAD,   // neither header is valid
};

struct segment_file {
    uint64_t id;
    uint64_t size; // of the file
    enum segment_state state;
    bool dead;          // the log went on from before it: a start cut what it holds
    bool has_bound;     // a later one goes on behind `bound`: what is here beyond that was cut
    uint64_t bound;     // LSN
    uint32_t bound_crc; // of that frame
    const char *why;    // BAD
    bool unreadable;    // BAD, and the disk did not give a header's block
    struct segment_header header;
};

struct segment_text {
    char text[SEGMENT_NAME_MAX];
};
static inline struct segment_text segment_text(uint64_t id)
{
    struct segment_text name;
    segment_name(id, name.text);
    return name;
}

// ---- the end

enum hole { // what is where the next frame should be
    HOLE_NONE,
    HOLE_NOTHING,    // the segment's end, or bytes that are no frame of this life of the segment
    HOLE_TORN,       // the beginning of one
    HOLE_UNREADABLE, // the disk did not give its blocks
    HOLE_HEADERS,    // it lies in a segment of which both headers are bad
    HOLE_AHEAD,      // it lies in a segment that nothing was written to
    HOLE_MISSING,    // it lies in a segment that is not there
    HOLES
};

enum phase { PHASE_SNAPSHOT, PHASE_LOG, PHASE_END };

#define LOST_SHARDS_MAX 16 // named in a report

struct recover {
    struct disk *disk;
    struct recover_options options;
    struct recover_report report;
    enum phase phase;
    bool lost;       // salvage: something was
    bool restarting; // the next piece is RECOVER_RESTART

    bool has_manifest;
    struct manifest manifest;
    struct uuid store, history;
    uint32_t shards;

    struct segment_file *segments; // by id
    uint32_t segment_count, segment_cap;
    uint32_t snapshot_files; // names of snapshots that there are
    int names_error;

    // The snapshot in use.
    uint32_t set; // index in the manifest; set_count: none
    uint32_t set_file;
    struct snapshot_reader *reader;
    bool handed_out;
    uint64_t base;          // LSN that it holds
    uint64_t *marks;        // [shards]
    uint64_t *sequences;    // [shards] the last one seen
    uint64_t set_entries;   // handed out or checked
    uint64_t bytes_total;   // of the files that are to be read
    uint64_t snapshot_read; // bytes

    uint8_t *block; // for blocks that are read alone

    // The log.
    struct window window;
    uint32_t on;      // segment that the window is on; UINT32_MAX: none
    uint32_t at;      // segment; segment_count: none
    uint64_t offset;  // in it
    uint64_t lsn;     // of the last frame that is good
    uint32_t crc;     // its CRC
    bool crc_known;   // not behind a hole, nor where the log begins anew
    bool stopped;     // it was a clean stop
    uint64_t sealed;  // LSN of the last seal
    uint16_t flags;   // of the last good frame
    uint64_t *next;   // [shards] sequence that must come; 0: the first one decides
    bool in_chain;    // between its first frame and its last
    bool skip_chain;  // in the rest of one whose beginning is lost, or in a segment that is not needed
    bool first_frame; // the next frame is the first one that is looked at
    struct buf chain; // payloads
    uint64_t chain_first;
    uint32_t batches; // sub-batches that its frames promise
    // Of the last unit: where the next start goes on.
    uint64_t unit_lsn;
    uint32_t unit_crc;
    uint64_t unit_segment; // id
    // Salvage: the highest witness of all, once it is known.
    bool witness_known;
    uint64_t witness;
};

// ---- recover.c

// Ends with this verdict. The text: what was seen, and what to do.
void recover_conclude(struct recover *r, enum recover_verdict verdict, const char *rule, const char *format, ...) printf_like(4, 5);
void recover_warn(struct recover *r, const char *format, ...) printf_like(2, 3);
void recover_place(struct recover *r, const char *file, uint64_t offset);
void recover_place_segment(struct recover *r, uint32_t segment, uint64_t offset);

// ---- recover_files.c: 0, -ENOMEM, or the disk's error of listing
int recover_files(struct recover *r) warn_unused;
// The window is on this segment: 0, or it could not be opened.
int recover_enter(struct recover *r, uint32_t segment) warn_unused;
uint32_t recover_find(const struct recover *r, uint64_t id); // segment_count: none
// Reads a block alone; -errno.
int recover_block(struct recover *r, int fd, uint64_t offset, uint8_t *block) warn_unused;

// ---- recover_snapshot.c
// Finds the newest set that looks whole; refused if there must be one and is none.
int recover_snapshot_choose(struct recover *r) warn_unused;
// 0: *item; 1: no more; -errno.
int recover_snapshot_next(struct recover *r, struct recover_item *item) warn_unused;

// ---- recover_scan.c
void recover_log_begin(struct recover *r);
// Of the segment behind r->at (or at the log's beginning, when that is none), if the next one that was begun does not follow r->at: is it
// missing, headless or empty? HOLE_NONE: there is no such gap. *missing: its id.
enum hole recover_gap(const struct recover *r, uint64_t *missing);
// 0: *item; 1: the end; -errno.
int recover_log_next(struct recover *r, struct recover_item *item) warn_unused;
// What of a frame can be read at this place: 0: it verifies, and h and *frame are set; else what is there instead.
enum hole recover_frame(struct recover *r, uint32_t segment, uint64_t offset, struct frame_head *h, const uint8_t **frame);
// Where frames of this segment end.
uint64_t recover_limit(const struct recover *r, uint32_t segment);
// Goes on with this frame, which does not follow the last one.
void recover_resume(struct recover *r, const struct frame_head *h);

// ---- recover_end.c
// The next frame is not there. Goes on behind it (salvage, or what the snapshot holds anyway), or ends with a verdict.
void recover_hole(struct recover *r, enum hole hole, uint64_t missing);
