// SPDX-License-Identifier: Apache-2.0
#include "test/sim/pipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void pipe_init(struct pipe *p, size_t window)
{
    *p = (struct pipe){ .window = window };
}

void pipe_deinit(struct pipe *p)
{
    free(p->data);
    free(p->segments);
    *p = (struct pipe){ .window = 0 };
}

size_t pipe_room(const struct pipe *p)
{
    return p->len < p->window ? p->window - p->len : 0;
}

static void grow_data(struct pipe *p, size_t extra)
{
    if (p->start > 0) {
        memmove(p->data, p->data + p->start, p->len);
        p->start = 0;
    }
    if (p->cap - p->len >= extra)
        return;
    p->cap = (p->len + extra) * 2;
    p->data = realloc(p->data, p->cap);
    assert(p->data != NULL);
}

static struct segment *segment_append(struct pipe *p)
{
    if (p->first > 0 && p->first + p->count == p->segments_cap) {
        memmove(p->segments, p->segments + p->first, p->count * sizeof *p->segments);
        p->first = 0;
    }
    if (p->first + p->count == p->segments_cap) {
        p->segments_cap = p->segments_cap == 0 ? 16 : p->segments_cap * 2;
        p->segments = realloc(p->segments, p->segments_cap * sizeof *p->segments);
        assert(p->segments != NULL);
    }
    return &p->segments[p->first + p->count++];
}

void pipe_push(struct pipe *p, const uint8_t *bytes, size_t len, uint64_t at_ns)
{
    assert(!p->fin);
    if (len == 0)
        return;
    if (p->cap - p->start - p->len < len)
        grow_data(p, len);
    memcpy(p->data + p->start + p->len, bytes, len);
    p->len += len;
    if (at_ns > p->last_ns || p->count == 0) {
        p->last_ns = at_ns > p->last_ns ? at_ns : p->last_ns;
        *segment_append(p) = (struct segment){ .at_ns = p->last_ns, .len = len };
    } else {
        p->segments[p->first + p->count - 1].len += len;
    }
}

void pipe_end(struct pipe *p, uint64_t at_ns)
{
    if (p->fin)
        return;
    p->fin = true;
    p->fin_ns = at_ns > p->last_ns ? at_ns : p->last_ns;
}

size_t pipe_arrived(struct pipe *p, uint64_t now_ns)
{
    while (p->count > 0 && p->segments[p->first].at_ns <= now_ns) {
        p->arrived += p->segments[p->first++].len;
        if (--p->count == 0)
            p->first = 0;
    }
    return p->arrived;
}

void pipe_take(struct pipe *p, uint8_t *to, size_t len)
{
    assert(len <= p->arrived);
    memcpy(to, p->data + p->start, len);
    p->start += len;
    p->len -= len;
    p->arrived -= len;
    if (p->len == 0)
        p->start = 0;
}

bool pipe_ended(struct pipe *p, uint64_t now_ns)
{
    return p->len == 0 && p->fin && p->fin_ns <= now_ns;
}

uint64_t pipe_next_ns(const struct pipe *p)
{
    if (p->arrived > 0)
        return 0;
    if (p->count > 0)
        return p->segments[p->first].at_ns;
    return p->fin ? p->fin_ns : NEVER;
}

void pipe_drop(struct pipe *p)
{
    p->start = p->len = p->arrived = 0;
    p->first = p->count = 0;
}
