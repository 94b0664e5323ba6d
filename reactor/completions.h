// SPDX-License-Identifier: Apache-2.0
// The array that a turn fills and its owner walks. It keeps its memory, so a turn allocates only when it breaks a record.
#pragma once

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "reactor/reactor.h"

struct completions {
    struct completion *items;
    uint32_t count;
    uint32_t cap;
};

static inline int completions_init(struct completions *c, uint32_t cap)
{
    c->items = malloc(cap * sizeof *c->items);
    c->count = 0;
    c->cap = cap;
    return c->items == NULL ? -ENOMEM : 0;
}

static inline void completions_deinit(struct completions *c)
{
    free(c->items);
    c->items = NULL;
}

// A completion cannot be refused: what it says has already happened.
static inline cold void completions_grow(struct completions *c)
{
    c->cap *= 2;
    c->items = realloc(c->items, c->cap * sizeof *c->items);
    assert(c->items != NULL);
}

static inline struct completion *completions_add(struct completions *c, struct op *op, int32_t result, uint16_t flags)
{
    if (unlikely(c->count == c->cap))
        completions_grow(c);
    struct completion *done = &c->items[c->count++];
    *done = (struct completion){ .op = op, .result = result, .flags = flags };
    return done;
}
