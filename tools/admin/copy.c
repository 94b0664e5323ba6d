// SPDX-License-Identifier: Apache-2.0
#include "tools/admin/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "persist/snapshot.h"
#include "tools/admin/frames.h"

#define PIECE (1024u * 1024)

// ---- snapshots

static void rename_snapshot(uint8_t *header, const struct uuid *history)
{
    memcpy(header + 32, history->bytes, sizeof history->bytes);
    store_u32(header + 12, 0);
    store_u32(header + 12, crc32c(0, header, BLOCK_SIZE));
}

static int copy_bytes(struct disk *from, int source, uint64_t size, struct disk *to, int target, const struct uuid *history)
{
    uint8_t *memory = disk_memory(PIECE);
    int rc = memory == NULL ? -ENOMEM : 0;
    for (uint64_t at = 0; at < size && rc == 0; at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        rc = from->ops->read(from, source, memory, n, at);
        if (rc == 0 && at == 0 && history != NULL && n >= BLOCK_SIZE)
            rename_snapshot(memory, history);
        if (rc == 0)
            rc = to->ops->write(to, target, memory, n, at);
    }
    if (memory != NULL)
        disk_memory_free(memory, PIECE);
    return rc == 0 ? to->ops->sync(to, target) : rc;
}

int copy_snapshot_file(struct disk *from, struct disk *to, const char *name, const struct uuid *history)
{
    uint64_t size;
    int source = from->ops->open(from, name, DISK_READ | DISK_BUFFERED, &size);
    if (source < 0)
        return source;
    int target = to->ops->open(to, name, DISK_WRITE | DISK_CREATE | DISK_BUFFERED, NULL);
    int rc = target < 0 ? target : copy_bytes(from, source, size, to, target, history);
    from->ops->close(from, source);
    if (target >= 0)
        to->ops->close(to, target);
    return rc;
}

int copy_snapshot_set(struct disk *from, struct disk *to, const struct snapshot_set *set, const struct uuid *history)
{
    char name[SNAPSHOT_NAME_MAX];
    int rc = 0;
    for (uint32_t file = 0; file < set->files && rc == 0; file++) {
        snapshot_name(set->id, file, name);
        rc = copy_snapshot_file(from, to, name, history);
    }
    return rc;
}

// ---- segments

// Both headers, and room for the whole segment.
static int begin_segment(struct disk *to, int fd, const struct segment_header *h)
{
    uint8_t block[BLOCK_SIZE];
    segment_encode(h, block);
    int rc = to->ops->allocate(to, fd, h->size);
    if (rc == 0)
        rc = to->ops->write(to, fd, block, sizeof block, 0);
    return rc == 0 ? to->ops->write(to, fd, block, sizeof block, h->size - BLOCK_SIZE) : rc;
}

static bool beyond(const struct copy_limit *limit, const struct frame_head *h)
{
    return h->lsn > limit->lsn || h->made_ms > limit->time_ms;
}

static int copy_frames(struct frames *f, struct disk *to, int fd, const struct copy_limit *limit, struct copy_state *state)
{
    struct frame_head h;
    const uint8_t *frame;
    uint64_t offset;
    int rc;
    while ((rc = frames_next(f, &h, &frame, &offset)) == 0) {
        if (beyond(limit, &h)) {
            state->limited = true;
            return 0;
        }
        rc = to->ops->write(to, fd, frame, (size_t)h.blocks * BLOCK_SIZE, offset);
        if (rc != 0)
            return rc;
        state->frames++;
        state->last_lsn = h.lsn;
        if ((h.flags & (FRAME_FIRST | FRAME_MIDDLE)) == 0) {
            state->unit_lsn = h.lsn;
            state->unit_ms = h.made_ms;
        }
    }
    return rc == 1 ? 0 : rc;
}

int copy_segment(struct disk *from, struct disk *to, uint64_t id, const struct uuid *history, const struct copy_limit *limit,
                 struct copy_state *state)
{
    char name[SEGMENT_NAME_MAX];
    struct frames f;
    const char *why;
    segment_name(id, name);
    int rc = frames_open(&f, from, name, &why);
    if (rc != 0)
        return rc;
    if (f.header.id != id || f.header.first_lsn == 0) {
        frames_close(&f);
        return f.header.id != id ? -EBADMSG : 0;
    }
    if (history != NULL)
        f.header.history = *history;
    int fd = to->ops->open(to, name, DISK_WRITE | DISK_CREATE | DISK_BUFFERED, NULL);
    rc = fd < 0 ? fd : begin_segment(to, fd, &f.header);
    if (rc == 0)
        rc = copy_frames(&f, to, fd, limit, state);
    if (rc == 0)
        rc = to->ops->sync(to, fd);
    if (fd >= 0)
        to->ops->close(to, fd);
    frames_close(&f);
    return rc;
}

// ---- the line

void copy_line_free(struct copy_line *l)
{
    free(l->ids);
    free(l->bounds);
    free(l->firsts);
    *l = (struct copy_line){ .count = 0 };
}

// From the newest segment that was begun backwards: each says which one it follows, and where that one ended.
static int follow(struct disk *d, const struct segment_ids *ids, const struct manifest *manifest, struct copy_line *out)
{
    uint64_t wanted = 0, bound = UINT64_MAX;
    uint32_t at = ids->count;
    for (uint32_t i = ids->count; i-- > 0 && ids->ids[i] >= manifest->first_segment;) {
        char name[SEGMENT_NAME_MAX];
        struct frames f;
        const char *why;
        if ((wanted != 0 && ids->ids[i] > wanted) || manifest_hides(manifest, ids->ids[i]))
            continue; // passed over
        segment_name(ids->ids[i], name);
        int rc = frames_open(&f, d, name, &why);
        if (rc == -EBADMSG)
            continue;
        if (rc != 0)
            return rc;
        bool begun = f.header.id == ids->ids[i] && f.header.first_lsn != 0;
        if (begun) {
            at--;
            out->ids[at] = ids->ids[i];
            out->bounds[at] = bound;
            out->firsts[at] = f.header.first_lsn;
            wanted = f.header.previous_id;
            bound = f.header.previous_lsn;
        }
        frames_close(&f);
        if (begun && wanted == 0)
            break;
    }
    out->count = ids->count - at;
    memmove(out->ids, out->ids + at, out->count * sizeof *out->ids);
    memmove(out->bounds, out->bounds + at, out->count * sizeof *out->bounds);
    memmove(out->firsts, out->firsts + at, out->count * sizeof *out->firsts);
    return 0;
}

int copy_line_find(struct disk *d, const struct manifest *manifest, struct copy_line *out)
{
    struct segment_ids ids;
    *out = (struct copy_line){ .count = 0 };
    int rc = frames_list(d, &ids);
    if (rc != 0)
        return rc;
    out->ids = calloc(ids.count + 1, sizeof *out->ids);
    out->bounds = calloc(ids.count + 1, sizeof *out->bounds);
    out->firsts = calloc(ids.count + 1, sizeof *out->firsts);
    rc = out->ids == NULL || out->bounds == NULL || out->firsts == NULL ? -ENOMEM : follow(d, &ids, manifest, out);
    free(ids.ids);
    if (rc != 0)
        copy_line_free(out);
    return rc;
}

// ---- wiping

struct names {
    char (*names)[64];
    uint32_t count, cap;
    int failed;
};

static void remember(void *context, const char *name)
{
    struct names *n = context;
    if (strcmp(name, "LOCK") == 0 || n->failed != 0)
        return;
    if (strlen(name) >= sizeof *n->names) {
        n->failed = -ENAMETOOLONG; // nothing that we have written
        return;
    }
    if (n->count == n->cap) {
        uint32_t cap = n->cap == 0 ? 64 : n->cap * 2;
        void *grown = realloc(n->names, cap * sizeof *n->names);
        n->failed = grown == NULL ? -ENOMEM : 0;
        if (grown == NULL)
            return;
        n->names = grown;
        n->cap = cap;
    }
    memcpy(n->names[n->count++], name, strlen(name) + 1);
}

int copy_wipe(struct disk *d)
{
    struct names n = { .count = 0 };
    int rc = d->ops->list(d, remember, &n);
    if (rc == 0)
        rc = n.failed;
    for (uint32_t i = 0; i < n.count && rc == 0; i++)
        rc = d->ops->unlink(d, n.names[i]);
    free(n.names);
    return rc;
}
