// SPDX-License-Identifier: Apache-2.0
// The frames of one segment as they lie there, without a verdict: for printing and copying. Whether the log as a whole holds is recovery's
// to say (persist/recover.h).
#pragma once

#include "persist/format.h"
#include "reactor/disk.h"

struct frames {
    struct disk *disk;
    int fd;
    uint64_t file_size;
    struct segment_header header;
    uint64_t at; // offset of the next frame
    uint8_t *memory;
    uint64_t memory_from;
    size_t memory_len;
};

// By its first header, or its last one. 0; -EBADMSG: neither holds, *why; other -errno.
int frames_open(struct frames *f, struct disk *d, const char *name, const char **why) warn_unused;
void frames_close(struct frames *f);
// The next frame that verifies, valid until the next call: 0; 1: what is there is none; -errno of the disk. *offset: where it lies.
int frames_next(struct frames *f, struct frame_head *h, const uint8_t **frame, uint64_t *offset) warn_unused;

// Ids of all segments that there are, in order; the caller frees. 0 or -errno.
struct segment_ids {
    uint64_t *ids;
    uint32_t count, cap;
    bool failed;
};
int frames_list(struct disk *d, struct segment_ids *out) warn_unused;
