// SPDX-License-Identifier: Apache-2.0
// Reads are big and one at a time: whoever calls recovery is a thread of its own, and those that apply what it hands out work meanwhile.
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "persist/recover_inside.h"

int window_init(struct window *w, struct disk *disk, size_t cap)
{
    assert(cap % BLOCK_SIZE == 0 && cap > 0);
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
    disk_memory_free(w->memory, w->cap);
    free(w->unreadable);
    *w = (struct window){ .fd = -1 };
}

void window_open(struct window *w, int fd, uint64_t size)
{
    window_close(w);
    w->fd = fd;
    w->size = size / BLOCK_SIZE * BLOCK_SIZE;
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

// Once more, block by block: what still fails is unknown.
static void read_by_blocks(struct window *w, size_t at, size_t len)
{
    for (size_t end = at + len; at < end; at += BLOCK_SIZE) {
        bool failed = w->disk->ops->read(w->disk, w->fd, w->memory + at, BLOCK_SIZE, w->start + at) != 0;
        if (failed) {
            memset(w->memory + at, 0, BLOCK_SIZE);
            w->blocks_failed++;
        }
        mark(w, at, BLOCK_SIZE, failed);
    }
}

// Memory from `offset` on, what it holds of that already included.
static void fill(struct window *w, uint64_t offset)
{
    size_t kept = 0;
    if (offset - w->start < w->len) { // and not before it, for that wraps around
        kept = (size_t)(w->start + w->len - offset);
        size_t from = w->len - kept;
        memmove(w->memory, w->memory + from, kept);
        for (size_t block = 0; block < kept / BLOCK_SIZE; block++) {
            size_t old = block + from / BLOCK_SIZE;
            mark(w, block * BLOCK_SIZE, BLOCK_SIZE, (w->unreadable[old / 64] >> old % 64 & 1) != 0);
        }
    }
    w->start = offset;
    size_t len = w->cap - kept;
    if (len > w->size - offset - kept)
        len = (size_t)(w->size - offset - kept);
    if (w->disk->ops->read(w->disk, w->fd, w->memory + kept, len, offset + kept) == 0)
        mark(w, kept, len, false);
    else
        read_by_blocks(w, kept, len);
    w->len = kept + len;
    w->bytes_read += len;
}

const uint8_t *window_view(struct window *w, uint64_t offset, size_t len, bool *unreadable)
{
    assert(len % BLOCK_SIZE == 0 && offset % BLOCK_SIZE == 0);
    *unreadable = false;
    if (offset + len > w->size)
        return NULL;
    assert(len <= w->cap);
    if (offset - w->start > w->len || len > w->len - (offset - w->start)) // the first one if it lies before, too: that wraps around
        fill(w, offset);
    size_t at = (size_t)(offset - w->start);
    for (size_t block = at / BLOCK_SIZE; block < (at + len) / BLOCK_SIZE; block++)
        *unreadable |= (w->unreadable[block / 64] >> block % 64 & 1) != 0;
    return w->memory + at;
}
