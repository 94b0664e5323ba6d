// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/stopwatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/shard/command_log.h"
#include "engine/shard/latency.h"
#include "engine/shard/worker.h"
#include "engine/store/blob.h"
#include "reactor/ticks.h"

int stopwatch_init(struct worker *w)
{
    struct stopwatch *s = &w->watch;
    s->times = calloc(command_count(), sizeof *s->times);
    if (s->times == NULL)
        return -ENOMEM;
    s->random = prng_next(&w->prng);
    s->until_sample = stopwatch_distance(s);
    stopwatch_set_limits(w);
    return 0;
}

void stopwatch_deinit(struct worker *w)
{
    for (uint32_t i = 0; w->watch.times != NULL && i < command_count(); i++)
        free(w->watch.times[i]);
    free(w->watch.times);
}

void stopwatch_set_limits(struct worker *w)
{
    const struct options *o = &w->options;
    struct stopwatch *s = &w->watch;
    uint64_t ns = UINT64_MAX;
    if (o->slowlog_log_slower_than >= 0)
        ns = (uint64_t)o->slowlog_log_slower_than * NS_PER_US;
    if (o->latency_monitor_threshold > 0 && (uint64_t)o->latency_monitor_threshold * NS_PER_MS < ns)
        ns = (uint64_t)o->latency_monitor_threshold * NS_PER_MS;
    s->slow_ticks = ns == UINT64_MAX ? UINT64_MAX : reactor_ns_ticks(w->reactor, ns);
    s->alone = ns < STOPWATCH_EXACT_US * NS_PER_US ? UINT32_MAX : CMD_TIMED;
    s->request_min = o->commandlog_request_larger_than < 0 ? UINT64_MAX : (uint64_t)o->commandlog_request_larger_than;
    s->reply_min = o->commandlog_reply_larger_than < 0 ? UINT64_MAX : (uint64_t)o->commandlog_reply_larger_than;
    if (s->reply_min > STOPWATCH_REPLY_MIN)
        s->reply_min = STOPWATCH_REPLY_MIN;
}

void stopwatch_reset(struct worker *w)
{
    for (uint32_t i = 0; i < command_count(); i++)
        if (w->watch.times[i] != NULL)
            memset(w->watch.times[i], 0, sizeof *w->watch.times[i]);
}

static struct durations *times_of(struct worker *w, const struct command *command)
{
    struct durations **at = &w->watch.times[command_index(command)];
    if (likely(*at != NULL))
        return *at;
    struct durations *fresh = calloc(1, sizeof *fresh);
    __atomic_store_n(at, fresh, __ATOMIC_RELEASE); // INFO of other workers looks
    return fresh;
}

static bool is_quick(const struct command *command)
{
    return (command->flags & CMD_FAST) != 0;
}

struct command_entry *stopwatch_blame(struct worker *w, const struct command *command, const struct slice *argv, uint32_t argc,
                                      uint64_t ticks)
{
    const struct options *o = &w->options;
    uint64_t ns = reactor_ticks_ns(w->reactor, ticks);
    stopwatch_event(w, is_quick(command) ? LATENCY_FAST_COMMAND : LATENCY_COMMAND, ns);
    if (o->slowlog_log_slower_than < 0 || ns / NS_PER_US < (uint64_t)o->slowlog_log_slower_than || o->slowlog_max_len == 0 ||
        (command->flags & CMD_SKIP_SLOWLOG) != 0)
        return NULL;
    return command_entry_new(command, argv, argc, ns / NS_PER_US, w->now_ms, BLOB_MIN);
}

struct command_entry *stopwatch_note(struct worker *w, const struct command *command, const struct slice *argv, uint32_t argc,
                                     uint64_t ticks, uint32_t weight)
{
    if (likely(w->options.latency_tracking)) {
        struct durations *d = times_of(w, command);
        if (d != NULL)
            durations_add(d, reactor_ticks_ns(w->reactor, ticks), weight);
    }
    return likely(ticks < w->watch.slow_ticks) ? NULL : stopwatch_blame(w, command, argv, argc, ticks);
}

void stopwatch_keep(struct worker *w, int kind, struct command_entry *e, const struct client *client)
{
    const struct options *o = &w->options;
    const int64_t lengths[LOG_KINDS] = { [LOG_SLOW] = o->slowlog_max_len,
                                         [LOG_LARGE_REQUEST] = o->commandlog_large_request_max_len,
                                         [LOG_LARGE_REPLY] = o->commandlog_large_reply_max_len };
    if (likely(e == NULL))
        return;
    command_entry_sender(e, client);
    command_log_add(&w->server->logs[kind], e, (uint64_t)lengths[kind]);
}

void stopwatch_event(struct worker *w, int event, uint64_t ns)
{
    uint64_t ms = ns / NS_PER_MS;
    if (w->options.latency_monitor_threshold > 0 && ms >= (uint64_t)w->options.latency_monitor_threshold)
        latency_add(&w->server->latency, (enum latency_event)event, w->now_ms, ms);
}

struct command_entry *stopwatch_large(struct worker *w, int kind, const struct command *command, const struct slice *argv, uint32_t argc,
                                      uint64_t bytes)
{
    const struct options *o = &w->options;
    bool reply = kind == LOG_LARGE_REPLY;
    int64_t least = reply ? o->commandlog_reply_larger_than : o->commandlog_request_larger_than;
    int64_t length = reply ? o->commandlog_large_reply_max_len : o->commandlog_large_request_max_len;
    if (least < 0 || bytes < (uint64_t)least || length == 0 || (command->flags & CMD_SKIP_SLOWLOG) != 0)
        return NULL;
    return command_entry_new(command, argv, argc, bytes, w->now_ms, reply ? BLOB_MIN : SIZE_MAX);
}
