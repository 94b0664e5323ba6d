// SPDX-License-Identifier: Apache-2.0
#include "persist/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SOURCE_PIECE ((size_t)256 * 1024)

void source_init(struct source *s, source_fn *fn, void *context)
{
    *s = (struct source){ .fn = fn, .context = context };
}

void source_deinit(struct source *s)
{
    free(s->data);
    *s = (struct source){ .ended = true };
}

// Room for another piece: what is taken gives way first, then the window doubles.
static int make_room(struct source *s)
{
    if (s->at > 0) {
        s->len -= s->at;
        if (s->len > 0)
            memmove(s->data, s->data + s->at, s->len);
        s->at = 0;
    }
    if (s->cap - s->len >= SOURCE_PIECE / 2)
        return 0;
    size_t cap = s->cap == 0 ? SOURCE_PIECE : s->cap * 2;
    uint8_t *grown = realloc(s->data, cap);
    if (grown == NULL)
        return -ENOMEM;
    s->data = grown;
    s->cap = cap;
    return 0;
}

int source_need(struct source *s, size_t n)
{
    while (source_left(s) < n) {
        if (s->ended)
            return 1;
        int failed = s->cap > s->len ? 0 : make_room(s);
        if (failed != 0)
            return failed;
        int64_t got = s->fn(s->context, s->data + s->len, s->cap - s->len);
        if (got < 0)
            return (int)got;
        assert((uint64_t)got <= s->cap - s->len);
        s->len += (size_t)got;
        s->ended = got == 0;
    }
    return 0;
}
