// SPDX-License-Identifier: Apache-2.0
#include "tools/admin/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define WINDOW (4u * 1024 * 1024)

// `len` bytes at `offset`, both whole blocks, from memory; NULL with *rc.
static const uint8_t *view(struct frames *f, uint64_t offset, size_t len, int *rc)
{
    *rc = 0;
    if (offset >= f->memory_from && offset + len <= f->memory_from + f->memory_len)
        return f->memory + (offset - f->memory_from);
    uint64_t from = offset / f->disk->align * f->disk->align;
    uint64_t end = f->file_size / f->disk->align * f->disk->align;
    if (offset + len > end) {
        *rc = -ENODATA;
        return NULL;
    }
    size_t want = end - from < WINDOW ? (size_t)(end - from) : WINDOW;
    f->memory_len = 0;
    *rc = f->disk->ops->read(f->disk, f->fd, f->memory, want, from);
    if (*rc != 0)
        return NULL;
    f->memory_from = from;
    f->memory_len = want;
    return f->memory + (offset - from);
}

static int read_header(struct frames *f, uint64_t offset, const char **why)
{
    int rc;
    const uint8_t *block = view(f, offset, BLOCK_SIZE, &rc);
    *why = rc == -ENODATA ? "it is too short" : "it cannot be read";
    if (rc == -ENODATA) // a file that was cut off is damaged; no trouble of the disk
        return -EBADMSG;
    return block == NULL ? rc : segment_decode(&f->header, block, why);
}

int frames_open(struct frames *f, struct disk *d, const char *name, const char **why)
{
    *f = (struct frames){ .disk = d, .at = BLOCK_SIZE };
    *why = "it cannot be opened";
    f->fd = d->ops->open(d, name, DISK_READ, &f->file_size);
    if (f->fd < 0)
        return f->fd;
    f->memory = disk_memory(WINDOW);
    int rc = f->memory == NULL ? -ENOMEM : read_header(f, 0, why);
    if (rc == -EBADMSG && f->file_size >= 2 * BLOCK_SIZE) {
        const char *second;
        if (read_header(f, f->file_size / BLOCK_SIZE * BLOCK_SIZE - BLOCK_SIZE, &second) == 0)
            rc = 0;
    }
    if (rc != 0)
        frames_close(f);
    return rc;
}

void frames_close(struct frames *f)
{
    if (f->memory != NULL)
        disk_memory_free(f->memory, WINDOW);
    f->disk->ops->close(f->disk, f->fd);
    f->memory = NULL;
}

int frames_next(struct frames *f, struct frame_head *h, const uint8_t **frame, uint64_t *offset)
{
    int rc;
    uint64_t end = f->header.size - BLOCK_SIZE;
    struct frame_place place = { .store = &f->header.store, .segment = f->header.id, .epoch = f->header.epoch, .offset = f->at };
    if (f->header.first_lsn == 0 || f->at >= end)
        return 1;
    const uint8_t *block = view(f, f->at, BLOCK_SIZE, &rc);
    if (block == NULL)
        return rc == -ENODATA ? 1 : rc;
    if (frame_peek(h, block, f->header.epoch) != 0 || f->at + (uint64_t)h->blocks * BLOCK_SIZE > end)
        return 1;
    *frame = view(f, f->at, (size_t)h->blocks * BLOCK_SIZE, &rc);
    if (*frame == NULL)
        return rc == -ENODATA ? 1 : rc;
    if (frame_verify(h, &place, *frame) != 0)
        return 1;
    *offset = f->at;
    f->at += (uint64_t)h->blocks * BLOCK_SIZE;
    return 0;
}

// ---- names

static void found(void *context, const char *name)
{
    struct segment_ids *s = context;
    uint64_t id = segment_id_of(name);
    if (id == 0 || s->failed)
        return;
    if (s->count == s->cap) {
        uint32_t cap = s->cap == 0 ? 64 : s->cap * 2;
        uint64_t *grown = realloc(s->ids, cap * sizeof *grown);
        s->failed = grown == NULL;
        if (s->failed)
            return;
        s->ids = grown;
        s->cap = cap;
    }
    s->ids[s->count++] = id;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int frames_list(struct disk *d, struct segment_ids *out)
{
    *out = (struct segment_ids){ .count = 0 };
    int rc = d->ops->list(d, found, out);
    if (rc == 0 && out->failed)
        rc = -ENOMEM;
    if (rc != 0) {
        free(out->ids);
        out->ids = NULL;
        return rc;
    }
    if (out->count > 1)
        qsort(out->ids, out->count, sizeof *out->ids, by_id);
    return 0;
}
