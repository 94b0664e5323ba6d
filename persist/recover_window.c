// SPDX-License-Identifier: Apache-2.0
// Reads are big and one at a time: whoever calls recovery is a thread of its own, and those that apply what it hands out work meanwhile.
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "persist/recover_inside.h"

int window_init(struct window *w, struct disk *disk, size_t cap)
{
    assert(cap % disk->align == 0 && cap >= FRAME_BLOCKS_MAX * BLOCK_SIZE + disk->align);
    *w = (struct window){ .disk = disk, .cap = cap, .fd = -1 };
    w->memory = disk_memory(cap);
    w->unreadable = calloc((cap / BLOCK_SIZE + 63) / 64, sizeof *w->unreadable);
    if (w->memory != NULL && w->unreadable != NULL)
        return 0;
    window_deinit(w);
    return -ENOMEM;
}

void window_deinit(struct window *w)
{
    window_close(w);
    if (w->memory != NULL)
        disk_memory_free(w->memory, w->cap);
    free(w->unreadable);
    *w = (struct window){ .fd = -1 };
}

void window_open(struct window *w, int fd, uint64_t size)
{
    window_close(w);
    w->fd = fd;
    w->size = size / w->disk->align * w->disk->align;
    w->start = w->len = 0;
}

void window_close(struct window *w)
{
    if (w->fd >= 0)
        w->disk->ops->close(w->disk, w->fd);
    w->fd = -1;
    w->len = 0;
}

static void mark(struct window *w, size_t at, size_t len, bool unreadable)
{
    for (size_t block = at / BLOCK_SIZE; block < (at + len) / BLOCK_SIZE; block++) {
        uint64_t bit = UINT64_C(1) << block % 64;
        if (unreadable)
            w->unreadable[block / 64] |= bit;
        else
            w->unreadable[block / 64] &= ~bit;
    }
}

// Once more, in the smallest pieces: what still fails is unknown.
static void read_by_blocks(struct window *w, size_t at, size_t len)
{
    uint32_t piece = w->disk->align;
    for (size_t end = at + len; at < end; at += piece) {
        bool failed = w->disk->ops->read(w->disk, w->fd, w->memory + at, piece, w->start + at) != 0;
        if (failed) {
            memset(w->memory + at, 0, piece);
            w->blocks_failed += piece / BLOCK_SIZE;
        }
        mark(w, at, piece, failed);
    }
}

// Memory from `offset` on, what it holds of that already included.
static void fill(struct window *w, uint64_t offset)
{
    uint64_t start = offset / w->disk->align * w->disk->align;
    size_t kept = 0;
    if (start >= w->start && start < w->start + w->len) {
        kept = (size_t)(w->start + w->len - start);
        size_t from = w->len - kept;
        memmove(w->memory, w->memory + from, kept);
        for (size_t block = 0; block < kept / BLOCK_SIZE; block++) {
            size_t old = block + from / BLOCK_SIZE;
            mark(w, block * BLOCK_SIZE, BLOCK_SIZE, (w->unreadable[old / 64] >> old % 64 & 1) != 0);
        }
    }
    w->start = start;
    size_t len = w->cap - kept;
    if (len > w->size - start - kept)
        len = (size_t)(w->size - start - kept);
    if (w->disk->ops->read(w->disk, w->fd, w->memory + kept, len, start + kept) == 0)
        mark(w, kept, len, false);
    else
        read_by_blocks(w, kept, len);
    w->len = kept + len;
    w->bytes_read += len;
}

const uint8_t *window_view(struct window *w, uint64_t offset, size_t len, bool *unreadable)
{
    assert(len <= FRAME_BLOCKS_MAX * BLOCK_SIZE && len % BLOCK_SIZE == 0 && offset % BLOCK_SIZE == 0);
    *unreadable = false;
    if (offset > w->size || len > w->size - offset)
        return NULL;
    if (offset < w->start || offset + len > w->start + w->len)
        fill(w, offset);
    size_t at = (size_t)(offset - w->start);
    for (size_t block = at / BLOCK_SIZE; block < (at + len) / BLOCK_SIZE; block++)
        *unreadable |= (w->unreadable[block / 64] >> block % 64 & 1) != 0;
    return w->memory + at;
}
