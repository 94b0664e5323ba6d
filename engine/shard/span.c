// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/span.h"

#include "engine/shard/command_log.h"

static bool ran_here(const struct conn *c, const struct item *item)
{
    return item->refusal == REFUSE_NOT && !item->spread && item->worker == c->worker->id;
}

static uint64_t request_bytes(const struct item *item)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < item->request.argc; i++)
        bytes += item->request.argv[i].len;
    return bytes;
}

// The request that moved the most bytes, the last one when they are alike.
static const struct item *likely_cause(const struct conn *c, const struct span *span, const struct item *items, uint32_t end)
{
    const struct stopwatch *s = &c->worker->watch;
    const struct item *cause = NULL;
    uint64_t most = 0;
    for (uint32_t i = span->first; i < end; i++) {
        if (!ran_here(c, &items[i]))
            continue;
        uint64_t bytes = request_bytes(&items[i]);
        if (items[i].request.argv == s->heavy_argv)
            bytes += s->heavy_bytes;
        if (bytes < STOPWATCH_REPLY_MIN)
            bytes = 0;
        if (bytes < most)
            continue;
        most = bytes;
        cause = &items[i];
    }
    return cause;
}

void span_slow(struct conn *c, const struct span *span, const struct item *items, uint32_t end, uint64_t ticks)
{
    const struct item *cause = likely_cause(c, span, items, end);
    if (cause == NULL)
        return;
    struct command_entry *e = stopwatch_blame(c->worker, cause->command, cause->request.argv, cause->request.argc, ticks);
    stopwatch_keep(c->worker, LOG_SLOW, e, &c->client);
}

bool span_cut(struct conn *c, struct span *span, const struct item *items, uint32_t i)
{
    struct stopwatch *s = &c->worker->watch;
    const struct item *item = &items[i];
    bool sampled = i == span->sample;
    if (sampled && span->weight != 1)
        span->sample += stopwatch_distance(s);
    bool alone =
        item->command != NULL && (item->command->flags & s->alone) != 0 && stopwatch_times_alone(s, item->command, item->request.argc);
    if (!ran_here(c, item) || (!sampled && !alone))
        return false;
    if (span->first < i) {
        uint64_t now = reactor_ticks(c->worker->reactor);
        uint64_t ticks = ticks_between(span->began, now);
        if (unlikely(ticks >= s->slow_ticks))
            span_slow(c, span, items, i, ticks);
        span->began = now;
    }
    span->first = i;
    return true;
}

void span_single(struct conn *c, struct span *span, const struct item *items, uint32_t i)
{
    struct worker *w = c->worker;
    const struct item *item = &items[i];
    uint64_t now = reactor_ticks(w->reactor);
    bool alone = (item->command->flags & w->watch.alone) != 0 && stopwatch_times_alone(&w->watch, item->command, item->request.argc);
    uint64_t ticks = ticks_between(span->began, now);
    struct command_entry *e = stopwatch_note(w, item->command, item->request.argv, item->request.argc, ticks, alone ? 1 : span->weight);
    span->began = now;
    span->first = i + 1;
    stopwatch_keep(w, LOG_SLOW, e, &c->client);
}

void span_heavy(struct conn *c, const struct item *item, uint64_t bytes)
{
    struct worker *w = c->worker;
    const struct request *rq = &item->request;
    if (!ran_here(c, item))
        return;
    stopwatch_keep(w, LOG_LARGE_REPLY, stopwatch_large(w, LOG_LARGE_REPLY, item->command, rq->argv, rq->argc, bytes), &c->client);
    if (bytes > w->watch.heavy_bytes) {
        w->watch.heavy_argv = rq->argv;
        w->watch.heavy_bytes = bytes;
    }
}

// ---- requests of other workers

uint64_t span_cut_served(struct worker *w, struct span *span, uint32_t i)
{
    uint64_t ticks = 0;
    if (span->first < i) {
        uint64_t now = reactor_ticks(w->reactor);
        ticks = ticks_between(span->began, now);
        span->began = now;
    }
    span->first = i;
    return ticks;
}

struct command_entry *span_served(struct worker *w, struct span *span, const struct command *command, const struct slice *argv,
                                  uint32_t argc)
{
    uint64_t now = reactor_ticks(w->reactor);
    uint64_t ticks = ticks_between(span->began, now);
    bool alone = (command->flags & w->watch.alone) != 0 && stopwatch_times_alone(&w->watch, command, argc);
    span->began = now;
    span->first++;
    return stopwatch_note(w, command, argv, argc, ticks, alone ? 1 : span->weight);
}
