// SPDX-License-Identifier: Apache-2.0
// Bytes that come from somewhere piece by piece: a file being imported. A window over them that grows as they arrive, never because
// somebody declared a length.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

// Up to `room` bytes to `to`: how many, 0 at the end, -errno.
typedef int64_t source_fn(void *context, uint8_t *to, size_t room);

struct source {
    source_fn *fn;
    void *context;
    uint8_t *data;
    size_t at, len, cap; // what is read and not taken: data[at, len)
    uint64_t offset;     // of data[at], from the beginning
    bool ended;
};

void source_init(struct source *s, source_fn *fn, void *context);
void source_deinit(struct source *s);
// Sees to it that `n` bytes are in the window: 0; 1: the end came before; -ENOMEM; -errno of the source.
int source_need(struct source *s, size_t n) warn_unused;
// Bytes in the window; taken and skipped ones are no longer in it. Valid until the next source_need.
static inline size_t source_left(const struct source *s)
{
    return s->len - s->at;
}

static inline const uint8_t *source_view(const struct source *s)
{
    return s->data + s->at;
}

// Moves on by bytes that are in the window.
static inline void source_take(struct source *s, size_t n)
{
    assert(n <= source_left(s));
    s->at += n;
    s->offset += n;
}
