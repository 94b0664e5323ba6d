// SPDX-License-Identifier: Apache-2.0
// Files of a data directory into another one, byte for byte but for what says whose they are.
#pragma once

#include "persist/manifest.h"
#include "reactor/disk.h"

// Returns 0, -ENOENT, -EBADMSG (it is not what its name says), or another -errno of a disk. `history`: what the copy says instead; NULL:
// the same.
int copy_snapshot_file(struct disk *from, struct disk *to, const char *name, const struct uuid *history) warn_unused;
int copy_snapshot_set(struct disk *from, struct disk *to, const struct snapshot_set *set, const struct uuid *history) warn_unused;

// Where a copy of the log ends.
struct copy_limit {
    uint64_t lsn;    // the last one that may be taken
    int64_t time_ms; // frames closed later are not taken
};

// What has been taken so far, over all segments.
struct copy_state {
    uint64_t unit_lsn; // of the last frame that ended a unit
    int64_t unit_ms;   // when that was closed
    uint64_t last_lsn; // of the last frame
    uint64_t frames;
    bool limited; // the limit was met: nothing behind it is taken
};

// Frames of the segment in order, as far as they verify and the limit allows. A segment that was not begun is passed over.
int copy_segment(struct disk *from, struct disk *to, uint64_t id, const struct uuid *history, const struct copy_limit *limit,
                 struct copy_state *state) warn_unused;

// The segments that the log consists of: each follows the one before it; what a restart passed over is left out. `bounds`: the last LSN of
// each that counts. The caller frees both.
struct copy_line {
    uint64_t *ids, *bounds, *firsts;
    uint32_t count;
};
int copy_line_find(struct disk *d, const struct manifest *manifest, struct copy_line *out) warn_unused;
void copy_line_free(struct copy_line *l);

// Empties the directory, but for its LOCK.
int copy_wipe(struct disk *d) warn_unused;
