// SPDX-License-Identifier: Apache-2.0
// A byte queue that grows at its end: replies being written, frames being carried over.
//
// It may start on borrowed memory (a piece of the turn's send arena) and moves to the heap when it outgrows it.
// `limit` bounds it before memory is taken; once an append fails the buffer stays failed and takes no more bytes, so
// that a writer checks once at the end instead of after every append.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t limit;
    bool borrowed;
    bool failed;
};

#define BUF_NO_LIMIT ((size_t)1 << 48)

static inline void buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){ .limit = limit };
}

static inline void buf_init_borrowed(struct buf *b, uint8_t *memory, size_t cap, size_t limit)
{
    *b = (struct buf){ .data = memory, .cap = cap, .limit = limit, .borrowed = true };
}

static inline void buf_deinit(struct buf *b)
{
    if (!b->borrowed)
        free(b->data);
    *b = (struct buf){ .limit = b->limit };
}

static inline cold bool buf_grow(struct buf *b, size_t extra)
{
    if (b->failed || extra > b->limit || b->len > b->limit - extra)
        goto fail;
    size_t cap = b->cap < 256 ? 256 : b->cap;
    while (cap - b->len < extra)
        cap *= 2;
    if (cap > b->limit)
        cap = b->limit;
    uint8_t *grown = b->borrowed ? malloc(cap) : realloc(b->data, cap);
    if (grown == NULL)
        goto fail;
    if (b->borrowed && b->len > 0)
        memcpy(grown, b->data, b->len);
    b->data = grown;
    b->cap = cap;
    b->borrowed = false;
    return true;
fail:
    b->failed = true;
    b->cap = b->len; // so that not even a byte that would fit follows the missing ones
    return false;
}

// Room for `extra` more bytes at the end, NULL when there is none; cost when it fits: one compare.
static inline uint8_t *buf_reserve(struct buf *b, size_t extra)
{
    if (unlikely(b->cap - b->len < extra) && !buf_grow(b, extra))
        return NULL;
    return b->data + b->len;
}

static inline void buf_advance(struct buf *b, size_t written)
{
    assert(written <= b->cap - b->len);
    b->len += written;
}

static inline void buf_append(struct buf *b, const void *bytes, size_t len)
{
    uint8_t *to = len > 0 ? buf_reserve(b, len) : NULL;
    if (to == NULL)
        return;
    memcpy(to, bytes, len);
    b->len += len;
}

static inline void buf_append_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.data, s.len);
}

// Text of any length: names, paths and what clients wrote may be in it.
static inline void printf_like(2, 3) buf_format(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *to = len < 0 ? NULL : buf_reserve(b, (size_t)len + 1);
    if (to != NULL) {
        vsnprintf((char *)to, (size_t)len + 1, format, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

// Drops the first `len` bytes. One move of what is left: call it once a batch, never once an item.
static inline void buf_consume(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len -= len;
    if (b->len > 0 && len > 0)
        memmove(b->data, b->data + len, b->len);
}

static inline struct slice buf_view(const struct buf *b)
{
    return slice_of(b->data, b->len);
}
