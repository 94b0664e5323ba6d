// SPDX-License-Identifier: Apache-2.0
// A source that gives bytes of memory in pieces, and at their end an error if one is wanted.
#pragma once

#include <string.h>

#include "persist/source.h"

struct pieces {
    struct slice bytes;
    size_t piece;
    size_t at;
    int error; // 0: it ends
};

static inline int64_t pieces_read(void *context, uint8_t *to, size_t room)
{
    struct pieces *p = context;
    size_t left = p->bytes.len - p->at, n = p->piece < room ? p->piece : room;
    if (left == 0)
        return p->error;
    if (n > left)
        n = left;
    memcpy(to, p->bytes.data + p->at, n);
    p->at += n;
    return (int64_t)n;
}
