// SPDX-License-Identifier: Apache-2.0
// A stretch of a batch between two readings of the tick counter (stopwatch.h says why and what follows).
#pragma once

#include "engine/shard/conn.h"
#include "engine/shard/worker.h"
#include "reactor/ticks.h"

static inline struct span span_begin(struct worker *w, uint32_t count)
{
    struct stopwatch *s = &w->watch;
    struct span span = { .began = s->mark, .sample = s->until_sample, .weight = STOPWATCH_EVERY };
    s->heavy_argv = NULL;
    s->heavy_bytes = 0;
    if (s->mark != 0)
        return span;
    span.began = reactor_ticks(w->reactor);
    if (s->rested && count == 1) {
        span.sample = 0;
        span.weight = 1;
    }
    s->rested = false;
    return span;
}

// Is request `i` timed alone?
static inline bool span_picks(const struct worker *w, const struct span *span, uint32_t i, uint32_t flags)
{
    return unlikely((flags & w->watch.alone) != 0 || i == span->sample);
}

// Of a connection's batch. What ran before `i` was a span; one begins with it.
bool span_cut(struct conn *c, struct span *span, const struct item *items, uint32_t i);
// It has run.
void span_single(struct conn *c, struct span *span, const struct item *items, uint32_t i);
void span_slow(struct conn *c, const struct span *span, const struct item *items, uint32_t end, uint64_t ticks);

// `end` requests have run. The ticks of the span that ends here when somebody ought to look at it, else 0.
static inline uint64_t span_close(struct worker *w, const struct span *span, uint32_t end)
{
    struct stopwatch *s = &w->watch;
    if (span->weight != 1)
        s->until_sample = span->sample - end;
    if (span->first >= end) { // the last one was timed alone, and so was its end
        s->mark = span->began;
        return 0;
    }
    uint64_t now = reactor_ticks(w->reactor);
    uint64_t ticks = ticks_between(span->began, now);
    s->mark = now;
    return unlikely(ticks >= s->slow_ticks) ? ticks : 0;
}

static inline void span_end(struct conn *c, const struct span *span, const struct item *items, uint32_t end)
{
    uint64_t ticks = span_close(c->worker, span, end);
    if (unlikely(ticks > 0))
        span_slow(c, span, items, end, ticks);
}

// The request wrote a reply of `bytes`: large enough to be looked at.
void span_heavy(struct conn *c, const struct item *item, uint64_t bytes);

// Of a batch of another worker: the same. span_cut_served gives the ticks of what was before `i`, 0 when there was nothing;
// span_served the entry for the slow log, to be sent to where the connection is.
uint64_t span_cut_served(struct worker *w, struct span *span, uint32_t i);
struct command_entry *span_served(struct worker *w, struct span *span, const struct command *command, const struct slice *argv,
                                  uint32_t argc);
